"""What a bar gives under each option: market price, path, same close. Numbers by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderCanceled, OrderExpired, OrderFilled, OrderTriggered
from onetape.domain.orders import Side, TimeInForce
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.bar_paths import compute_market_price
from onetape.execution.simulated.fill_terms import BarPath, FillTerms, MarketPrice
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage
from onetape.marketdata.timeline import build_timeline
from onetape.strategy.context import Context
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    at_rows,
    closes,
    make_columns,
    make_timeline,
    make_trade_timeline,
    opens,
)

FLAT = (100.0, 100.0, 100.0, 100.0)
Action = Callable[[Context], object]


def buy(lots: float = 10, **how: Any) -> Action:
    return lambda ctx: ctx.order(AAPL, Side.BUY, lots, **how)


def run(rows: list[Any], actions: dict[int, Action], fill: FillTerms, **how: Any) -> SessionRun:
    return run_session(make_timeline(rows), at_rows(actions), fill=fill, **how)


def told(done: SessionRun) -> list[tuple[float, int]]:
    """(price, bar number where positive; time) of each fill."""
    return [(each.ticks / 100, each.ts_fill) for each in done.fills]


BAR = (101.0, 107.0, 99.0, 104.0)


@pytest.mark.parametrize(
    ("market", "price", "at"),
    [
        (MarketPrice.NEXT_OPEN, 101.0, opens(1)),
        (MarketPrice.SAME_CLOSE, 100.0, closes(0)),
        (MarketPrice.MID, 103.0, closes(1)),
        (MarketPrice.TYPICAL, 103.34, closes(1)),  # 310 / 3, up for a buy
        (MarketPrice.VWAP, 103.34, closes(1)),  # the bars have none
    ],
)
def test_market_order_fills_where_the_setting_says(
    market: MarketPrice, price: float, at: int
) -> None:
    done = run([FLAT, BAR], {0: buy()}, FillTerms(market=market))
    assert told(done) == [(price, at)]


def test_market_order_fills_at_the_vwap_of_bars_that_have_one() -> None:
    columns = make_columns([FLAT, BAR])
    columns["vwap"] = columns["close"] - 2.5
    timeline = build_timeline([(EQUITY, columns)], source="test", timeframe="1m")
    done = run_session(timeline, at_rows({0: buy()}), fill=FillTerms(market=MarketPrice.VWAP))
    assert told(done) == [(101.5, closes(1))]


def test_market_price_without_a_vwap_is_the_typical_one() -> None:
    typical = compute_market_price(3, *BAR, math.nan)
    assert typical == 310 / 3
    assert compute_market_price(4, *BAR, math.nan) == typical
    assert compute_market_price(4, *BAR, 102.5) == 102.5


@pytest.mark.parametrize("market", list(MarketPrice))
def test_market_order_that_arrives_inside_a_bar_fills_at_its_close(market: MarketPrice) -> None:
    done = run([FLAT, BAR], {0: buy()}, FillTerms(market=market), latency=LatencyModel(mean_ms=1))
    assert told(done) == [(104.0, closes(1))]


def test_same_close_waits_for_the_first_close_where_the_bar_is_known_late() -> None:
    timeline = make_timeline([FLAT, BAR, FLAT], delay=1)
    done = run_session(timeline, at_rows({0: buy()}), fill=FillTerms(market=MarketPrice.SAME_CLOSE))
    assert told(done) == [(104.0, closes(1))]


def test_same_close_fills_between_two_bars_at_the_close_of_the_next() -> None:
    timeline = make_timeline([FLAT, BAR], step=2 * MINUTE, length=MINUTE)
    done = run_session(
        timeline, at_rows({0: buy()}), fill=FillTerms(market=MarketPrice.SAME_CLOSE),
        latency=LatencyModel(mean_ms=1),
    )  # fmt: skip
    assert told(done) == [(104.0, opens(2) + MINUTE)]


def test_same_close_pays_slippage_and_shares_the_volume_of_its_bar() -> None:
    """100 lots trade in bar 0, a tenth is ours: 6 of the first order, 4 of the second."""

    def two(ctx: Context) -> None:
        ctx.buy(AAPL, 6)
        ctx.buy(AAPL, 6)

    done = run(
        [(*FLAT, 100.0), (*BAR, 1000.0)], {0: two}, FillTerms(market=MarketPrice.SAME_CLOSE),
        max_volume_ratio=0.1, slippage=FixedSlippage(ticks=2),
    )  # fmt: skip
    fills = [(each.lots, each.ticks / 100, each.ts_fill) for each in done.fills]
    assert fills == [(6, 100.02, closes(0)), (4, 100.02, closes(0)), (2, 104.02, closes(1))]


def test_same_close_counts_what_the_bar_has_given_to_resting_orders() -> None:
    rows = [(*FLAT, 100.0), (100.0, 100.0, 90.0, 95.0, 100.0), (*FLAT, 100.0)]
    actions = {0: buy(7, limit=99.0), 1: buy(7)}
    done = run(rows, actions, FillTerms(market=MarketPrice.SAME_CLOSE), max_volume_ratio=0.1)
    fills = [(each.lots, each.ticks / 100) for each in done.fills]
    assert fills == [(7, 99.0), (3, 95.0), (4, 100.0)]


def test_same_close_entry_of_a_bracket_frees_its_exits_for_the_next_bar() -> None:
    def enter(ctx: Context) -> None:
        ctx.bracket(AAPL, Side.BUY, 10, take_profit=106, stop_loss=90)

    done = run([FLAT, BAR, FLAT], {0: enter}, FillTerms(market=MarketPrice.SAME_CLOSE))
    assert told(done) == [(100.0, closes(0)), (106.0, closes(1))]


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK, TimeInForce.DAY])
@pytest.mark.parametrize("market", list(MarketPrice))
def test_market_order_of_any_time_in_force_fills(
    market: MarketPrice, time_in_force: TimeInForce
) -> None:
    action = buy(time_in_force=time_in_force)
    assert len(run([FLAT, BAR, FLAT], {0: action}, FillTerms(market=market)).fills) == 1


def exits(ctx: Context) -> None:
    """A long position from bar 1, with a stop at 95 and a target at 105."""
    ctx.bracket(AAPL, Side.BUY, 10, take_profit=105, stop_loss=95)


WIDE = (100.0, 110.0, 90.0, 101.0)


@pytest.mark.parametrize(
    ("path", "price"),
    [
        (BarPath.PESSIMISTIC, 95.0),
        (BarPath.OPTIMISTIC, 105.0),
        (BarPath.OPEN_HIGH_LOW_CLOSE, 105.0),
        (BarPath.OPEN_LOW_HIGH_CLOSE, 95.0),
    ],
)
def test_path_tells_which_exit_of_a_bar_comes_first(path: BarPath, price: float) -> None:
    entry_before = run([FLAT, FLAT, WIDE], {0: exits}, FillTerms(path=path))
    assert [each.ticks / 100 for each in entry_before.fills] == [100.0, price]
    entry_in_it = run([FLAT, WIDE], {0: exits}, FillTerms(path=path))
    assert [each.ticks / 100 for each in entry_in_it.fills] == [100.0, price]


@pytest.mark.parametrize(
    ("path", "prices"),
    [
        (BarPath.PESSIMISTIC, [104.0, 97.0]),
        (BarPath.OPTIMISTIC, [104.0, 108.0]),
        (BarPath.OPEN_HIGH_LOW_CLOSE, [104.0, 108.0]),
        (BarPath.OPEN_LOW_HIGH_CLOSE, [104.0, 108.0]),  # the low was before the entry
    ],
)
def test_path_behind_an_entry_inside_the_bar(path: BarPath, prices: list[float]) -> None:
    def enter(ctx: Context) -> None:
        entry = ctx.order(AAPL, Side.BUY, 10, stop=104)
        exit_ = {"parent": entry, "reduce_only": True}
        ctx.order(AAPL, Side.SELL, 10, limit=108, **exit_)
        ctx.order(AAPL, Side.SELL, 10, stop=97, **exit_)

    done = run([FLAT, WIDE], {0: enter}, FillTerms(path=path))
    assert [each.ticks / 100 for each in done.fills] == prices


def test_straight_way_runs_orders_in_the_order_of_their_prices() -> None:
    """Up from 100 to 110: the sell at 103 before the buy stop at 105, though it came later."""

    def both(ctx: Context) -> None:
        ctx.order(AAPL, Side.BUY, 1, stop=105)
        ctx.order(AAPL, Side.SELL, 1, limit=103)

    done = run([FLAT, WIDE], {0: both}, FillTerms(path=BarPath.OPEN_HIGH_LOW_CLOSE))
    assert [each.ticks / 100 for each in done.fills] == [103.0, 105.0]


@pytest.mark.parametrize(
    ("path", "low_close", "fills"),
    [
        (BarPath.PESSIMISTIC, 101.0, []),
        (BarPath.OPTIMISTIC, 101.0, [100.5]),
        (BarPath.OPEN_HIGH_LOW_CLOSE, 101.0, [100.5]),
        (BarPath.OPEN_LOW_HIGH_CLOSE, 101.0, []),
        (BarPath.OPEN_LOW_HIGH_CLOSE, 100.2, [100.5]),
    ],
)
def test_stop_limit_on_each_path(path: BarPath, low_close: float, fills: list[float]) -> None:
    """Triggered at 101 on the way up; the limit 100.50 needs the price to come back."""
    bar = (100.8, 102.0, 100.0, low_close)
    action = buy(stop=101, limit=100.5)
    done = run([FLAT, bar], {0: action}, FillTerms(path=path, limit_reach=LIMIT_TOUCHED))
    assert [each.ticks / 100 for each in done.fills] == fills
    assert len(done.of_type(OrderTriggered)) == 1


@pytest.mark.parametrize("market", [MarketPrice.NEXT_OPEN, MarketPrice.SAME_CLOSE])
def test_order_that_arrives_when_its_time_is_over_does_not_fill(market: MarketPrice) -> None:
    action = buy(time_in_force=TimeInForce.GTD, ts_expire=closes(0))
    done = run([FLAT, FLAT, FLAT], {0: action}, FillTerms(market=market))
    assert told(done) == []
    assert len(done.of_type(OrderExpired)) == 1


@pytest.mark.parametrize(
    ("path", "price"),
    [(BarPath.OPEN_HIGH_LOW_CLOSE, 108.0), (BarPath.OPEN_LOW_HIGH_CLOSE, 90.5)],
)
def test_trailing_stop_follows_the_straight_way(path: BarPath, price: float) -> None:
    """Held from 100: up to 110 first it is hit 2 behind that, down first at its old stop."""

    def enter(ctx: Context) -> None:
        ctx.order(AAPL, Side.BUY, 10)

    def trail(ctx: Context) -> None:
        ctx.order(AAPL, Side.SELL, 10, trail=9.5)

    def trail_close(ctx: Context) -> None:
        ctx.order(AAPL, Side.SELL, 10, trail=2)

    last = trail_close if path is BarPath.OPEN_HIGH_LOW_CLOSE else trail
    done = run([FLAT, FLAT, WIDE], {0: enter, 1: last}, FillTerms(path=path))
    assert [each.ticks / 100 for each in done.fills] == [100.0, price]


def test_orders_that_end_with_the_bar_see_all_parts_of_it() -> None:
    """A DAY order whose session ends with the bar fills on the last of its three parts."""
    timeline = make_timeline([FLAT, (100.0, 103.0, 99.0, 105.0)], session=1)
    action = buy(stop=104, time_in_force=TimeInForce.DAY)
    timeline.columns["high"][1] = 105.0
    fill = FillTerms(path=BarPath.OPEN_HIGH_LOW_CLOSE)
    assert len(run_session(timeline, at_rows({0: action}), fill=fill).fills) == 1
    late = make_timeline([FLAT, (100.0, 103.0, 99.0, 102.0)], session=1)
    done = run_session(late, at_rows({0: action}), fill=fill)
    assert not done.fills
    assert len(done.of_type(OrderCanceled, OrderFilled)) == 0


@pytest.mark.parametrize("time_in_force", [TimeInForce.IOC, TimeInForce.FOK])
def test_order_that_may_not_wait_looks_at_the_open_of_a_straight_way(
    time_in_force: TimeInForce,
) -> None:
    fill = FillTerms(path=BarPath.OPEN_LOW_HIGH_CLOSE)
    done = run([FLAT, WIDE], {0: buy(limit=95, time_in_force=time_in_force)}, fill)
    assert [each.reason for each in done.of_type(OrderCanceled)] == ["not filled at once"]


def test_bar_options_are_refused_where_the_rows_are_no_bars() -> None:
    fill = FillTerms(market=MarketPrice.SAME_CLOSE)
    with pytest.raises(ConfigError, match="same_close on the pessimistic path of bars"):
        run_session(make_trade_timeline([100.0, 101.0]), at_rows({0: buy()}), fill=fill)
