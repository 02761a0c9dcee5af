"""The live feed through ib_async against a local TWS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.market import Bar, Quality
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.domain.venue import BarClosed, ConnectionChanged
from onetape.marketdata.feeds import ibkr
from onetape.marketdata.feeds.ibkr import IbkrFeed
from onetape.marketdata.feeds.ibkr_history import Pace
from onetape.marketdata.feeds.port import FeedEvent
from onetape.runtime.local_venues.ibkr_wire import show_error
from tests.live.ibkr.test_commands import run_with
from tests.support.alpaca_venue import MINUTE
from tests.support.ibkr_venue import AAPL, MSFT, LocalTws, haunt, make_minutes


class Heard(list[FeedEvent]):
    """What a feed has told."""

    async def take(self, event: FeedEvent) -> None:
        self.append(event)

    @property
    def bars(self) -> list[BarClosed]:
        return [each for each in self if isinstance(each, BarClosed)]

    @property
    def changes(self) -> list[ConnectionChanged]:
        return [each for each in self if isinstance(each, ConnectionChanged)]


@asynccontextmanager
async def running(
    world: LocalTws, timeframe: str = "1m", *, history: int = 0, **changes: Any
) -> AsyncGenerator[tuple[IbkrFeed, Heard]]:
    """A feed that has subscribed."""
    feed, heard = world.make_feed(**changes), Heard()
    if history:
        await feed.read_history(world.instruments, timeframe, history)
    task = asyncio.create_task(feed.run(world.instruments, timeframe, heard.take))
    try:
        await world.until(lambda: bool(heard.changes) or task.done(), "a subscription")
        if task.done():
            task.result()
        wanted = len(world.instruments)
        await world.until(lambda: len(subscribed(world)) >= wanted, "bars are wanted")
        yield feed, heard
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def subscribed(world: LocalTws) -> list[int]:
    """Numbers of the requests for bars."""
    connections = world.server._connections.values()  # pyright: ignore[reportPrivateUsage]
    return [number for each in connections for number in each.bars]


def played(world: LocalTws) -> list[tuple[Any, ...]]:
    """The bars of the venue so far."""
    rows = [each.event for one in world.exchange.instruments for each in world.exchange.rows(one)]
    return [show(each) for each in rows if isinstance(each, Bar)]


def show(bar: Bar | BarClosed) -> tuple[Any, ...]:
    return (bar.instrument, bar.ts_open, bar.ts_close, bar.session_close, bar.open, bar.high,
            bar.low, bar.close, bar.volume)  # fmt: skip


async def tell(world: LocalTws, ts_open: int, *values: float) -> None:
    """Five seconds of the first instrument, as TWS tells them."""
    (number,) = subscribed(world)
    (connection,) = world.server._connections.values()  # pyright: ignore[reportPrivateUsage]
    connection.tell([50, 3, number, ts_open // NS_PER_SECOND, *values, values[3], 1])
    await connection.drained()


def test_bars_are_those_of_the_venue_and_history_is_marked() -> None:
    async def test(world: LocalTws) -> None:
        async with running(world, history=5) as (feed, heard):
            await world.play(6)
            await world.until(lambda: len(heard.bars) == 6)
            first = heard.bars[0].ts_open
            late = [each for each in played(world) if each[-8] >= first]
            assert sorted(show(each) for each in heard.bars) == sorted(late)
            assert not any(each.is_history for each in heard.bars)
            assert all(each.quality == Quality.GOOD for each in heard.bars)
            before = await feed.read_history(world.instruments, "1m", 3)
            assert all(each.is_history for each in before)
            assert len(before) == 6

    run_with(test, timeline=make_minutes(AAPL, MSFT), rows=12, is_open=False)


def test_longer_bars_are_made_of_the_same_pieces() -> None:
    """Against a fold by hand of the minutes."""

    async def test(world: LocalTws) -> None:
        async with running(world, "5m") as (_, heard):
            await world.play(14)
            await world.until(lambda: len(heard.bars) == 2)
            minutes = [each.event for each in world.exchange.rows("AAPL")]
            for bar in heard.bars:
                own = [each for each in minutes if isinstance(each, Bar)
                       and bar.ts_open <= each.ts_open < bar.ts_close]  # fmt: skip
                assert len(own) == 5
                assert bar.ts_close - bar.ts_open == 5 * MINUTE
                assert (bar.open, bar.close) == (own[0].open, own[-1].close)
                assert bar.high == max(each.high for each in own)
                assert bar.low == min(each.low for each in own)
                assert bar.volume == sum(each.volume for each in own)

    run_with(test, rows=5, is_open=False)


def test_bar_whose_last_seconds_never_come_is_over_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ibkr, "_TICK_S", 0.05)

    async def test(world: LocalTws) -> None:
        async with running(world, late_s=2.0) as (_, heard):
            start = world.exchange.now
            await tell(world, start, 10.0, 11.0, 9.0, 10.5, 7.0)
            await tell(world, start + 20 * NS_PER_SECOND, 10.5, 12.0, 10.5, 11.0, 5.0)
            await asyncio.sleep(0.25)
            assert not heard.bars  # its time is not over
            await tell(world, start + MINUTE, 11.0, 11.0, 11.0, 11.0, 1.0)
            await tell(world, start + MINUTE + 5 * NS_PER_SECOND, 11.0, 11.0, 11.0, 11.0, 1.0)
            await world.until(lambda: len(heard.bars) == 1)
            bar = heard.bars[0]
            assert (bar.open, bar.high, bar.low, bar.close, bar.volume) == (10, 12, 9, 11, 12)
            assert bar.ts_close == start + MINUTE

    run_with(test, is_open=False)


def test_bar_that_had_begun_before_the_connection_is_asked_for_from_history() -> None:
    async def test(world: LocalTws) -> None:
        async with running(world, history=2) as (_, heard):
            middle = world.exchange.now + 30 * NS_PER_SECOND
            await tell(world, middle, 1.0, 1.0, 1.0, 1.0, 1.0)  # half of a bar, all of it wrong
            world.exchange.step()
            await world.until(lambda: len(heard.bars) == 1)
            assert show(heard.bars[0]) == played(world)[-1]
            assert heard.bars[0].source == "ibkr:history"

    run_with(test, is_open=False)


def test_bar_that_history_does_not_have_is_told_with_a_gap() -> None:
    async def test(world: LocalTws) -> None:
        async with running(world) as (_, heard):
            start = world.exchange.now
            await tell(world, start + 30 * NS_PER_SECOND, 1.0, 2.0, 0.5, 1.5, 1.0)
            await tell(world, start + 55 * NS_PER_SECOND, 1.5, 1.5, 1.5, 1.5, 1.0)
            await world.until(lambda: len(heard.bars) == 1)
            assert heard.bars[0].quality == Quality.GAP_BEFORE
            assert heard.bars[0].volume == 2.0

    run_with(test, is_open=False)


def test_bars_that_were_missed_come_from_history_in_order() -> None:
    async def test(world: LocalTws) -> None:
        async with running(world, history=3) as (_, heard):
            await world.play(2)
            await world.until(lambda: len(heard.bars) == 2)
            await world.server.restart(60)
            await world.until(lambda: [each.is_up for each in heard.changes] == [True, False])
            await world.play(3)
            await world.server.restart(0)
            await world.until(lambda: heard.changes[-1].is_up)
            await world.until(lambda: len(heard.bars) == 5)
            await world.until(lambda: bool(subscribed(world)))
            await world.play(1)
            await world.until(lambda: len(heard.bars) == 6)
            assert [show(each) for each in heard.bars] == played(world)[-6:]
            assert {each.source for each in heard.bars[2:5]} == {"ibkr:history"}
            assert heard.bars[5].source == "ibkr:stream"

    run_with(test, rows=6, is_open=False)


def test_silence_in_an_open_market_is_told_and_ends_with_the_next_bar() -> None:
    async def test(world: LocalTws) -> None:
        async with running(world, history=3, silence_s=0.15) as (_, heard):
            await world.until(lambda: len(heard.changes) == 2)
            assert "no market data for 0.15 s" in heard.changes[1].reason
            while len(heard.changes) == 2:  # it connects again and again, and may miss a bar
                await world.play(1)
                await asyncio.sleep(0.05)
            assert heard.changes[2].is_up
            await world.until(lambda: bool(heard.bars))

    run_with(test, rows=6, is_open=False)


def test_data_that_tws_has_lost_is_subscribed_to_anew() -> None:
    async def test(world: LocalTws) -> None:
        async with running(world, history=3) as (_, heard):
            first = subscribed(world)
            world.server.tell_all(1100, "Connectivity between IB and TWS has been lost.")
            await world.until(lambda: len(heard.changes) == 2)
            world.server.tell_all(1101, "Connectivity restored, data lost.")
            await world.until(lambda: len(heard.changes) == 3)
            await world.until(lambda: bool(subscribed(world)) and subscribed(world) != first)
            assert [each.is_up for each in heard.changes] == [True, False, True]

    run_with(test, rows=6, is_open=False)


def test_feed_refuses_what_it_can_not_give() -> None:
    async def test(world: LocalTws) -> None:
        feed = world.make_feed()
        for timeframe in ("1h", "trades", "7s"):
            with pytest.raises(DataError, match="choose one of 5s, "):
                await feed.run(world.instruments, timeframe, Heard().take)
        nobody = IbkrFeed(world.access(port=1), lambda: world.exchange.now)
        with pytest.raises(SourceUnavailable, match="can't be reached"):
            await nobody.define([AAPL.id])
        taken = world.make_feed(client_id=1)
        with pytest.raises(ConfigError, match="a client 1 already"):
            await taken.read_history(world.instruments, "1m", 3)

    run_with(test)


@pytest.mark.parametrize("logins", [4, 1_000])
def test_client_id_of_the_connection_before_is_waited_for_and_told_when_it_stays(
    logins: int,
) -> None:
    """Between the history and the first bar the connection was lost, and TWS has it still."""

    async def test(world: LocalTws) -> None:
        feed, heard = world.make_feed(), Heard()
        await feed.read_history(world.instruments, "1m", 3)
        ghosts = haunt(world, 2, logins)
        await world.server.restart(0.0)
        await world.until(lambda: not feed._link.is_up)  # pyright: ignore[reportPrivateUsage]
        task = asyncio.create_task(feed.run(world.instruments, "1m", heard.take))
        await world.until(lambda: bool(heard.changes) or task.done())
        if logins > 100:
            assert "a client 2 already" in heard.changes[0].reason
            ghosts.logins = 0
        await world.until(lambda: heard.changes[-1].is_up or task.done())
        assert not task.done()
        assert len(heard.changes) == (2 if logins > 100 else 1)
        assert ghosts.logins == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_with(test, is_open=False, first_wait_s=0.001, longest_wait_s=0.002)


def test_account_without_market_data_is_one_config_error() -> None:
    async def test(world: LocalTws) -> None:
        feed = world.make_feed()
        task = asyncio.create_task(feed.run(world.instruments, "1m", Heard().take))
        await world.until(lambda: bool(subscribed(world)))
        (number,) = subscribed(world)
        (connection,) = world.server._connections.values()  # pyright: ignore[reportPrivateUsage]
        words = "Requested market data is not subscribed."
        connection.tell(show_error(number, 354, words))
        with pytest.raises(ConfigError, match="no market data for this account"):
            await asyncio.wait_for(task, 30)

    run_with(test, is_open=False)


def test_instrument_is_defined_as_the_venue_has_it() -> None:
    async def test(world: LocalTws) -> None:
        feed = world.make_feed()
        found = await feed.define([each.id for each in world.instruments])
        assert [msgspec.structs.asdict(each) for each in found] == [
            msgspec.structs.asdict(each) for each in world.instruments
        ]

    run_with(test, timeline=make_minutes(AAPL, MSFT), is_open=False)


def test_history_of_many_bars_is_asked_for_in_several_requests() -> None:
    async def test(world: LocalTws) -> None:
        feed = world.make_feed()
        bars = await feed.read_history(world.instruments, "30s", 3_000)
        assert not bars  # the venue has minutes only
        bars = await feed.read_history(world.instruments, "1m", 3_000)
        assert [show(each) for each in bars] == played(world)

    run_with(test, rows=190, is_open=False)


def test_pace_lets_so_many_through_and_holds_the_next_until_the_window_is_over() -> None:
    async def run() -> list[float]:
        loop = asyncio.get_running_loop()
        pace, began, came = Pace(3, 0.1), loop.time(), []
        for _ in range(7):
            await pace.wait()
            came.append(loop.time() - began)
        return came

    came = asyncio.run(run())
    assert came[2] < 0.09
    assert came[3] >= 0.099
    assert came[6] >= 0.199
