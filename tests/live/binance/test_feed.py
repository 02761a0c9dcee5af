"""The feed through the real client: closed bars, each once and in order, whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from onetape.domain.errors import DataError, SourceUnavailable
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BookDelta, Quality, QuoteTick, TradeTick
from onetape.domain.venue import BarClosed, ConnectionChanged, ConnectionPart
from onetape.marketdata.feeds.binance import BinanceFeed
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline
from onetape.runtime.local_venues.faults import Fault, FaultKind, FaultSchedule, make_plan
from tests.live.binance.test_trouble import Script
from tests.support.binance_live import COIN, World, make_settings, run
from tests.support.ticks import make_book_timeline, make_deltas, make_quote_timeline
from tests.support.timelines import MINUTE, T0, Prices, make_prints

ROWS: list[Prices] = [(100.0 + n, 101.5 + n, 99.0 + n, 100.5 + n, 7.25 + n) for n in range(30)]


class Listener:
    """A feed that runs, and what it says."""

    def __init__(self, world: World, **settings) -> None:
        self.world = world
        self.heard: list = []
        silent_s = settings.pop("instrument_silent_s", 60.0)
        self.feed = BinanceFeed(make_settings(world.server, key=None, **settings), silent_s)

    async def take(self, event) -> None:
        self.heard.append(event)

    @property
    def bars(self) -> list[BarClosed]:
        return [each for each in self.heard if isinstance(each, BarClosed)]

    @property
    def changes(self) -> list[ConnectionChanged]:
        return [each for each in self.heard if isinstance(each, ConnectionChanged)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(world: World, timeframe: str = "1m", *, history: int = 0, before: int = 0,
                    **settings):  # fmt: skip
    async with world.serve():
        await world.play(before)
        listener = Listener(world, **settings)
        instruments = await listener.feed.define([COIN.id])
        if history:
            told = await listener.feed.read_history(instruments, timeframe, history)
            listener.heard += told
        task = asyncio.create_task(listener.feed.run(instruments, timeframe, listener.take))
        try:
            async with asyncio.timeout(30):
                while not any(each.streams for each in world.server._sockets):
                    await asyncio.sleep(0.01)
            yield listener
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def opens(bars: list[BarClosed]) -> list[int]:
    return [(each.ts_open - T0) // MINUTE for each in bars]


def start(test: Callable[[], Awaitable[None]]) -> None:
    run(test)


def test_history_and_what_closes_behind_it_make_one_series() -> None:
    async def test() -> None:
        world = World(ROWS)
        await world.play(8)
        async with listening(world, history=5) as listener:
            await world.play(4)
            await listener.until(lambda: len(listener.bars) == 9)
            assert opens(listener.bars) == list(range(3, 12))
            assert [each.is_history for each in listener.bars] == [True] * 5 + [False] * 4
            bar = listener.bars[-1]
            assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == ROWS[11]
            assert (bar.ts_close, bar.ts_known) == (bar.ts_open + MINUTE, 0)
            assert bar.session_close % (24 * 60 * MINUTE) == 0
            assert (bar.source, listener.bars[0].source) == ("binance/stream", "binance/rest")
            assert bar.ts_ingest > 0

    start(test)


def test_what_a_lost_connection_left_out_is_filled_in_order() -> None:
    async def test() -> None:
        world = World(ROWS)
        await world.play(2)
        async with listening(world, history=2) as listener:
            await world.play(3)
            await listener.until(lambda: len(listener.bars) == 5)
            await world.server.restart(0.2)
            await world.play(5)
            await listener.until(lambda: len(listener.bars) == 10)
            await listener.until(lambda: len(listener.changes) == 2)
            await world.play(2)
            await listener.until(lambda: len(listener.bars) == 12)
            assert opens(listener.bars) == list(range(12))
            assert [each.source for each in listener.bars[5:10]] == ["binance/rest"] * 5
            assert [(each.is_up, each.part) for each in listener.changes] == [
                (False, ConnectionPart.FEED), (True, ConnectionPart.FEED),
            ]  # fmt: skip

    start(test)


def test_lost_repeated_and_swapped_messages_leave_one_series() -> None:
    kinds = {2: FaultKind.DROP, 3: FaultKind.DROP, 5: FaultKind.DUPLICATE, 7: FaultKind.REORDER}
    stream = "btcusdt@kline_1m"

    async def test() -> None:
        faults = Script({("message", stream, n): Fault(kind) for n, kind in kinds.items()})
        world = World(ROWS, faults=faults)
        async with listening(world) as listener:
            await world.play(10)
            await listener.until(lambda: len(listener.bars) == 10)
            assert opens(listener.bars) == list(range(10))
            assert [listener.bars[n].source for n in (1, 2, 3)] == [
                "binance/rest", "binance/rest", "binance/stream",
            ]  # fmt: skip
            assert listener.changes == []

    start(test)


@pytest.mark.parametrize("seed", range(4))
def test_any_faults_leave_one_series(seed: int) -> None:
    async def test() -> None:
        faults = FaultSchedule(seed, make_plan(time_scale=0.01, often=3.0))
        world = World(ROWS, faults=faults)
        await world.play(2)
        faults._ts_end, end = 0, faults._ts_end
        async with listening(world, history=2, timeout_s=0.5) as listener:
            faults._ts_end = end
            for _ in range(24):
                await world.play(1)
                await asyncio.sleep(0.005)
            faults.stop()
            world.server._silent_rows = 0
            await asyncio.sleep(0.3)
            await world.play(4)
            await listener.until(lambda: len(listener.bars) == 30)
            assert opens(listener.bars) == list(range(30)), faults.describe()
            assert [each.close for each in listener.bars] == [row[3] for row in ROWS]

    start(test)


def test_silent_instrument_is_told_and_heard_again() -> None:
    async def test() -> None:
        world = World(ROWS)
        async with listening(world, instrument_silent_s=0.2) as listener:
            await world.play()
            await listener.until(lambda: len(listener.changes) == 1)
            (silent,) = listener.changes
            assert (silent.is_up, silent.instruments) == (False, [COIN.id])
            await world.play()
            await listener.until(lambda: len(listener.changes) >= 2 and len(listener.bars) == 2)
            again = listener.changes[1]
            assert (again.is_up, again.instruments) == (True, [COIN.id])
            assert opens(listener.bars) == [0, 1]

    start(test)


def test_bar_that_no_further_one_follows_is_fetched_when_it_is_silent() -> None:
    async def test() -> None:
        stream = "btcusdt@kline_1m"
        faults = Script({("message", stream, n): Fault(FaultKind.DROP) for n in (3, 4)})
        world = World(ROWS, faults=faults)
        async with listening(world, instrument_silent_s=0.3) as listener:
            await world.play(4)
            await listener.until(lambda: len(listener.bars) == 4)
            assert opens(listener.bars) == [0, 1, 2, 3]
            assert not listener.changes[-1].is_up

    start(test)


def test_prints_come_once_and_missed_ones_are_filled() -> None:
    prints = [(100.0 + n, 0.5) for n in range(12)]

    async def test() -> None:
        stream = "btcusdt@trade"
        kinds = {3: FaultKind.DROP, 4: FaultKind.DROP, 6: FaultKind.DUPLICATE}
        faults = Script({("message", stream, n): Fault(kind) for n, kind in kinds.items()})
        world = World(faults=faults, timeline=make_trades_timeline(prints))
        async with listening(world, "trades") as listener:
            await world.play(12)
            await listener.until(lambda: len(listener.heard) == 12)
            assert all(isinstance(each, TradeTick) for each in listener.heard)
            assert [int(each.trade_id) for each in listener.heard] == list(range(1, 13))
            assert [each.price for each in listener.heard] == [price for price, _ in prints]
            assert [listener.heard[n].source for n in (1, 2, 3, 4)] == [
                "binance/stream", "binance/rest", "binance/rest", "binance/stream",
            ]  # fmt: skip

    start(test)


def make_trades_timeline(prints: list[tuple[float, float]]) -> Timeline:
    return build_trade_timeline([(COIN, make_prints(prints))], source="test")


def test_unknown_names_and_nobody_there_are_told() -> None:
    async def test() -> None:
        world = World(ROWS)
        await world.play(2)
        async with world.serve():
            listener = Listener(world)
            with pytest.raises(DataError, match="did you mean 'BTCUSDT'"):
                await listener.feed.define([InstrumentId("BTCUSD.BINANCE")])
            with pytest.raises(DataError, match="no bars of 7m"):
                await listener.feed.read_history([COIN], "7m", 3)
            with pytest.raises(DataError, match="no bars of 7m"):
                await listener.feed.run([COIN], "7m", listener.take)
        nobody = Listener(world)
        with pytest.raises(SourceUnavailable):
            await nobody.feed.define([COIN.id])

    start(test)


def test_prints_that_a_lost_connection_left_out_are_filled_at_once() -> None:
    prints = [(100.0 + n, 0.5) for n in range(12)]

    async def test() -> None:
        world = World(timeline=make_trades_timeline(prints))
        async with listening(world, "trades", history=2, before=3) as listener:
            await world.play(2)
            await listener.until(lambda: len(listener.heard) == 4)
            await world.server.drop_clients()
            await world.play(3)  # nobody listens, and no further print comes
            await listener.until(lambda: len(listener.heard) == 9)
        told = [each for each in listener.heard if isinstance(each, TradeTick)]
        assert [int(each.trade_id) for each in told] == [2, 3, 4, 5, 6, 7, 8]
        assert {each.quality for each in told} == {0}

    start(test)


def test_quotes_behind_a_lost_connection_are_behind_a_gap() -> None:
    async def test() -> None:
        rows = [(100.0 + n, 101.0 + n) for n in range(8)]
        world = World(timeline=make_quote_timeline(rows, instrument=COIN))
        async with listening(world, "quotes") as listener:
            await world.play(2)
            await listener.until(lambda: len(listener.heard) == 2)
            await world.server.drop_clients()
            await listener.until(lambda: len(listener.changes) == 2)
            await world.play(2)
            await listener.until(lambda: len(listener.heard) == 6)
        told = [each for each in listener.heard if isinstance(each, QuoteTick)]
        assert [each.quality for each in told] == [0, 0, int(Quality.GAP_BEFORE), 0]

    start(test)


def test_size_finer_than_a_lot_is_told_as_what_can_be_taken() -> None:
    """By the snapshot and by the stream, as the venue's matching counts it."""
    lot = COIN.lot_float

    def levels(listener: Listener) -> list[BookDelta]:
        return [each for told in listener.heard if isinstance(told, tuple) for each in told]

    async def test() -> None:
        rows = [(0.0, 1, 99.0, 1.6 * lot), (0.0, 0, 101.0, 0.6 * lot), (0.0, 0, 102.0, 3 * lot),
                (1.0, 1, 99.5, 2.9 * lot)]  # fmt: skip
        world = World(timeline=make_book_timeline(make_deltas(rows), instrument=COIN))
        async with listening(world, "book", before=3) as listener:
            await world.player.play_slice()
            await listener.until(lambda: len(levels(listener)) == 3)
        told = [(each.is_bid, each.price, round(each.size / lot, 3)) for each in levels(listener)]
        assert told == [(True, 99.0, 1), (True, 99.5, 2), (False, 102.0, 3)]

    start(test)


def test_depth_is_told_by_the_update_and_a_gap_by_its_snapshot() -> None:
    """What changed while nobody listened is told as one update, which is flagged."""

    async def test() -> None:
        rows = [(0.0, 1, 99.0, 1.0), (0.0, 0, 101.0, 1.0), (1.0, 1, 99.5, 2.0), (1.0, 0, 101.0, 0),
                (1.0, 0, 100.5, 3.0), (2.0, 1, 99.5, 0.0), (2.0, 1, 98.0, 4.0),
                (3.0, 0, 100.0, 5.0)]  # fmt: skip
        world = World(timeline=make_book_timeline(make_deltas(rows), instrument=COIN))
        async with listening(world, "book", before=2) as listener:
            await world.player.play_slice()
            await listener.until(lambda: len(listener.heard) == 1)
            await world.server.drop_clients()
            await world.player.play_slice()
            await listener.until(lambda: len(listener.changes) == 2)
            await world.player.play_slice()
            await listener.until(lambda: len(listener.heard) == 4)
        updates = [each for each in listener.heard if isinstance(each, tuple)]
        told = [[(each.is_bid, each.price, each.size) for each in update] for update in updates]
        assert told == [
            [(True, 99.0, 1.0), (True, 99.5, 2.0), (False, 100.5, 3.0)],
            [(True, 99.5, 0.0), (True, 98.0, 4.0), (False, 100.0, 5.0)],
        ]
        assert [update[0].quality for update in updates] == [0, int(Quality.GAP_BEFORE)]
        assert all(each.quality == 0 for update in updates for each in update[1:])
        assert all(len({each.update_id for each in update}) == 1 for update in updates)

    start(test)
