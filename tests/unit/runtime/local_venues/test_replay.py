"""The player: virtual time by wall time, as fast as it goes, and in lock-step."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType, Side
from onetape.execution.simulated.latency import LatencyModel
from onetape.marketdata.timeline import build_timeline
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.messages import Happening, MarketRow, NewOrder
from onetape.runtime.local_venues.replay import Player
from tests.support.local_venues import ME, SHARES, hear, make_exchange, placed
from tests.support.timelines import (
    MINUTE,
    SECOND,
    T0,
    closes,
    flat,
    make_columns,
    make_timeline,
)

BUY = NewOrder(
    symbol="AAPL", client_order_id="a", side=Side.BUY, order_type=OrderType.MARKET,
    quantity=Decimal(1),
)  # fmt: skip


class HandClock:
    """Real time that only moves while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 5_000
        self.slept: list[float] = []

    def monotonic_ns(self) -> int:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += round(seconds * SECOND)
        await asyncio.sleep(0)


def make(*prices: float, late_ms: int = 0) -> LocalExchange:
    timeline = make_timeline(flat(*prices))
    return make_exchange(timeline, SHARES, latency=LatencyModel(mean_ms=late_ms))


def rows_of(heard: list[Happening]) -> list[int]:
    return [each.row for each in heard if isinstance(each, MarketRow)]


def test_rows_come_when_the_wall_clock_says_at_a_speed() -> None:
    exchange, clock = make(1, 2, 3), HandClock()
    heard = hear(exchange)
    player = Player(exchange, speed=60, clock=clock)
    asyncio.run(player.run())
    assert clock.slept == pytest.approx([1.0, 1.0, 1.0])
    assert rows_of(heard) == [0, 1, 2]
    assert player.is_over


def test_command_arrives_at_the_virtual_time_of_its_receipt() -> None:
    exchange, clock = make(1, 2, 3), HandClock()
    player = Player(exchange, speed=60, clock=clock)

    async def play() -> int:
        task = asyncio.create_task(player.run())
        while exchange.rows_played < 1:
            await asyncio.sleep(0)
        clock.now += SECOND // 2
        ts = player.sync()
        placed(exchange.submit(ME, BUY))
        await task
        return ts

    ts = asyncio.run(play())
    assert ts == pytest.approx(closes(0) + MINUTE // 2, abs=SECOND)
    (order,) = exchange.orders(ME)
    assert order.ts_created == ts
    (execution,) = exchange.executions(ME)
    assert execution.ts == closes(1)


def test_long_pauses_of_the_data_are_passed_quickly() -> None:
    columns = make_columns(flat(1, 2, 3), step=3_600 * SECOND, length=MINUTE)
    timeline = build_timeline(
        [(make_timeline(flat(1)).instruments[0], columns)], source="t", timeframe="1m"
    )
    exchange, clock = make_exchange(timeline, SHARES), HandClock()
    asyncio.run(Player(exchange, speed=1, gap_max_s=10, clock=clock).run())
    assert sum(clock.slept) == pytest.approx(30.0)
    assert exchange.now == pytest.approx(T0 + 7_200 * SECOND + MINUTE)


def test_test_control_stands_where_it_was_told() -> None:
    exchange = make(1, 2, 3, 4, late_ms=1_500)
    player = Player(exchange)

    async def play() -> None:
        assert await player.play_rows() == 1
        placed(exchange.submit(ME, BUY))
        await player.play_until(closes(0) + SECOND)
        assert (exchange.now, exchange.rows_played) == (closes(0) + SECOND, 1)
        assert exchange.next_ts == closes(0) + SECOND + SECOND // 2
        await player.play_until(closes(1))
        assert len(exchange.executions(ME)) == 1
        assert player.sync() == closes(1)
        assert await player.play_slice() == 1
        assert await player.play_rows(9) == 1
        assert (await player.play_slice(), await player.play_rows()) == (0, 0)

    asyncio.run(play())
    assert player.is_over


def test_slice_is_all_rows_of_a_time() -> None:
    exchange = make_exchange(make_timeline(flat(1, 2), flat(3, 4)), SHARES)
    heard = hear(exchange)
    assert asyncio.run(Player(exchange).play_slice()) == 2
    assert [each.ends_slice for each in heard if isinstance(each, MarketRow)] == [False, True]


def test_barrier_is_awaited_after_reports_and_after_each_row() -> None:
    """So a client can have heard of a fill before it hears the bar, as strategies do."""
    exchange = make(1, 2, 3)
    heard = hear(exchange)
    player = Player(exchange)
    seen: list[int] = []

    async def caught_up() -> None:
        seen.append(len(heard))

    async def play() -> None:
        player.barriers.append(caught_up)
        await player.play_rows()
        placed(exchange.submit(ME, BUY))
        await player.run()

    asyncio.run(play())
    # row 0; accepted (at the receipt) and filled; row 1; row 2
    assert seen == [1, 3, 4, 5]


def test_row_is_told_once_though_a_command_comes_while_its_reports_are_heard() -> None:
    """The command brings the clock past the next row before this one was told."""
    exchange, clock = make(1, 2, 3, 4, 5), HandClock()
    heard = hear(exchange)
    player = Player(exchange, speed=60, clock=clock)

    async def command() -> None:
        if exchange.rows_played == 2:
            clock.now += 2 * SECOND
            player.sync()

    async def play() -> None:
        player.barriers.append(command)
        await player.play_rows()
        placed(exchange.submit(ME, BUY))
        await player.run()

    asyncio.run(play())
    assert rows_of(heard) == [0, 1, 2, 3, 4]
    filled = next(n for n, each in enumerate(heard) if getattr(each, "execution", None))
    assert filled < next(n for n, e in enumerate(heard) if getattr(e, "row", -1) == 1)


def test_run_goes_on_where_it_was_canceled() -> None:
    exchange = make(*range(1, 50))
    player = Player(exchange)

    async def play() -> None:
        task = asyncio.create_task(player.run())
        while exchange.rows_played < 10:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not player.is_over
        await player.run()

    asyncio.run(play())
    assert player.is_over
    assert exchange.books(ME).balances["USD"].total == 100_000 * E8


@pytest.mark.parametrize(("speed", "gap"), [(-1, 0), (float("inf"), 0), (1, -1), (float("nan"), 0)])
def test_speed_that_is_none_is_refused(speed: float, gap: float) -> None:
    with pytest.raises(ConfigError, match="0 or more"):
        Player(make(1), speed, gap_max_s=gap)
