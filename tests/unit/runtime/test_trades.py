"""Sessions on trade prints: who hears them, when orders fill from them, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onetape.domain.events import (
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderTriggered,
    SignalRecorded,
)
from onetape.domain.market import TradeTick
from onetape.domain.numbers import E8
from onetape.domain.orders import Side, TimeInForce
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.fees import BpsFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.marketdata.timeline import Timeline
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import (
    AAPL,
    MSFT,
    SECOND,
    T0,
    at_rows,
    flat,
    make_prints,
    make_timeline,
    make_trade_timeline,
    scripted,
)

Action = Callable[[Context], object]


def buy(quantity: float = 10, **how: Any) -> Action:
    return lambda ctx: ctx.buy(AAPL, quantity, **how)


def sell(quantity: float = 10, **how: Any) -> Action:
    return lambda ctx: ctx.sell(AAPL, quantity, **how)


def fills(session: SessionRun) -> list[tuple[int, int, int]]:
    """(signed lots, ticks, ns after T0) of each fill."""
    return [(fill.lots * fill.side, fill.ticks, fill.ts_fill - T0) for fill in session.fills]


def ends(session: SessionRun) -> list[tuple[str, int]]:
    """(kind, ns after T0) of each order that ended without a fill."""
    return [
        (each.type, each.ts_event - T0) for each in session.events
        if isinstance(each.payload, OrderCanceled | OrderExpired)
    ]  # fmt: skip


class Flip(Strategy):
    """Ten long, then ten short, changing at every second print."""

    seen: int = state(0)

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        self.seen += 1
        if self.seen % 2 == 0:
            ctx.target(trade.instrument, 10 if self.seen % 4 else -10)


# Market orders.


def test_flips_fill_at_the_next_print_and_the_books_are_those_by_hand() -> None:
    timeline = make_trade_timeline([100, 101, 102, 103, 104, 105, 106])
    session = run_session(timeline, Flip(), fees=BpsFees(maker_bps=0, taker_bps=10))

    assert fills(session) == [
        (10, 10_200, 2 * SECOND), (-20, 10_400, 4 * SECOND), (20, 10_600, 6 * SECOND),
    ]  # fmt: skip
    # Bought 10 at 102, sold 20 at 104, bought 20 at 106: fees 1.02 + 2.08 + 2.12.
    cash = 100_000 - 1_020 + 2_080 - 2_120 - 5.22
    assert session.ledger().cash == round(cash * E8)
    assert session.equity() == round((cash + 10 * 106) * E8)


def test_order_of_on_start_fills_at_the_first_print() -> None:
    session = run_session(make_trade_timeline([100, 101]), scripted(on_start=buy(limit=105)))
    assert fills(session) == [(10, 10_000, 0)]


def test_market_order_pays_slippage_on_the_print() -> None:
    session = run_session(
        make_trade_timeline([100, 101.5]), at_rows({0: buy()}), slippage=FixedSlippage(ticks=3)
    )
    assert fills(session) == [(10, 10_153, SECOND)]


def test_print_between_ticks_is_rounded_against_us() -> None:
    session = run_session(make_trade_timeline([100, 99.994]), at_rows({0: buy()}))
    assert fills(session) == [(10, 10_000, SECOND)]


# Which print is later.


def test_print_at_the_arrival_can_not_fill_and_one_a_nanosecond_later_can() -> None:
    timeline = make_trade_timeline([100, 101, 102, 103], at=[0, SECOND, SECOND + 1, 2 * SECOND])
    session = run_session(timeline, at_rows({0: buy()}), latency=LatencyModel(mean_ms=1_000))
    assert fills(session) == [(10, 10_200, SECOND + 1)]


def test_prints_of_the_time_of_the_decision_can_not_fill() -> None:
    timeline = make_trade_timeline([100, 101, 102, 103], at=[0, 0, 0, 1])
    heard: list[float] = []

    def on_trade(trade: TradeTick, ctx: Context) -> None:
        heard.append(trade.price)
        if len(heard) == 1:
            ctx.buy(AAPL, 10)

    session = run_session(timeline, scripted(on_trade=on_trade))
    assert heard == [100, 101, 102, 103]
    assert fills(session) == [(10, 10_300, 1)]


def test_print_that_was_before_the_decision_can_not_fill_though_it_is_known_later() -> None:
    """Known 1.5 s late: what is decided at 1.5 s meets the print of 2 s, known at 3.5 s."""
    timeline = make_trade_timeline([100, 101, 102, 103], delay=3 * SECOND // 2)
    session = run_session(timeline, at_rows({0: buy()}))
    assert fills(session) == [(10, 10_200, 2 * SECOND)]
    [filled] = [each for each in session.events if isinstance(each.payload, OrderFilled)]
    assert filled.ts_event == T0 + 7 * SECOND // 2


def test_order_for_another_instrument_of_the_same_time_waits_for_its_next_print() -> None:
    timeline = make_trade_timeline([100, 101, 102], [50, 51, 52])
    session = run_session(timeline, at_rows({1: lambda ctx: ctx.buy(MSFT, 10)}))
    assert [fill.instrument for fill in session.fills] == [MSFT]
    assert fills(session) == [(10, 5_200, 2 * SECOND)]


@pytest.mark.parametrize(
    ("at", "filled"), [(SECOND, False), (SECOND + 1, True), (SECOND + 2, False)]
)
def test_cancel_takes_effect_on_prints_later_than_its_arrival(at: int, filled: bool) -> None:
    """The order arrives at 1 s, the cancel a nanosecond later."""
    names: list[str] = []
    session = run_session(
        make_trade_timeline([100, 100, 90], at=[0, 1, at]),
        at_rows({
            0: lambda ctx: names.append(ctx.buy(AAPL, 10, limit=95)),
            1: lambda ctx: ctx.cancel(names[0]),
        }),
        latency=LatencyModel(mean_ms=1_000),
    )  # fmt: skip
    assert bool(session.fills) is filled
    assert ends(session) == ([("order.canceled", at)] if at > SECOND + 1 else [])


# Limits, stops, sizes, lifetimes.


@pytest.mark.parametrize(("how", "at"), [({}, 3), ({"limit_reach": LIMIT_TOUCHED}, 2)])
def test_limit_fills_at_a_print_beyond_it_or_by_setting_at_it(how: Any, at: int) -> None:
    timeline = make_trade_timeline([100, 99.5, 99, 98.9, 98])
    session = run_session(timeline, at_rows({0: buy(limit=99)}), **how)
    price = {2: 9_900, 3: 9_890}[at]
    assert fills(session) == [(10, price, at * SECOND)]


def test_stop_is_triggered_by_a_touch_and_fills_at_that_print() -> None:
    timeline = make_trade_timeline([100, 99.5, 99, 98])
    session = run_session(timeline, at_rows({0: sell(stop=99)}))
    assert fills(session) == [(-10, 9_900, 2 * SECOND)]


def test_stop_that_prices_jump_over_fills_at_the_print_behind_it() -> None:
    timeline = make_trade_timeline([100, 99.5, 98, 97])
    session = run_session(timeline, at_rows({0: sell(stop=99)}), slippage=FixedSlippage(ticks=1))
    assert [each.stop_ticks for each in session.of_type(OrderTriggered)] == [9_900]
    assert fills(session) == [(-10, 9_799, 2 * SECOND)]


def test_stop_limit_waits_at_its_limit_once_it_is_triggered() -> None:
    timeline = make_trade_timeline([100, 101.5, 101.2, 100.9])
    session = run_session(timeline, at_rows({0: buy(stop=101, limit=101)}))
    [triggered] = [each for each in session.events if isinstance(each.payload, OrderTriggered)]
    assert triggered.ts_event == T0 + SECOND
    assert fills(session) == [(10, 10_090, 3 * SECOND)]


def test_sizes_of_prints_bound_what_all_orders_together_fill() -> None:
    timeline = make_trade_timeline([(100, 50), (101, 12), (102, 0), (103, 5), (104, 100)])

    def two(ctx: Context) -> None:
        ctx.buy(AAPL, 7)
        ctx.buy(AAPL, 4)

    session = run_session(timeline, at_rows({0: two}), max_volume_ratio=0.5)
    assert fills(session) == [
        (6, 10_100, SECOND), (1, 10_300, 3 * SECOND), (1, 10_300, 3 * SECOND),
        (3, 10_400, 4 * SECOND),
    ]  # fmt: skip
    assert [type(fill) is OrderPartiallyFilled for fill in session.fills] == [
        True, False, True, False,
    ]  # fmt: skip


def test_order_that_may_not_wait_meets_one_print() -> None:
    timeline = make_trade_timeline([(100, 50), (101, 6), (101, 50)])

    def two(ctx: Context) -> None:
        ctx.buy(AAPL, 10, time_in_force=TimeInForce.IOC)
        ctx.buy(AAPL, 10, limit=99, time_in_force=TimeInForce.FOK)

    session = run_session(timeline, at_rows({0: two}), max_volume_ratio=1)
    assert fills(session) == [(6, 10_100, SECOND)]
    assert ends(session) == [("order.canceled", SECOND)] * 2


@pytest.mark.parametrize(("expire", "filled"), [(SECOND - 1, False), (SECOND, True)])
def test_gtd_order_may_fill_from_a_print_at_its_end_and_none_later(
    expire: int, filled: bool
) -> None:
    session = run_session(
        make_trade_timeline([100, 101, 102]),
        at_rows({0: buy(time_in_force=TimeInForce.GTD, ts_expire=T0 + expire)}),
    )
    assert fills(session) == ([(10, 10_100, SECOND)] if filled else [])
    assert ends(session) == ([] if filled else [("order.expired", SECOND)])


@pytest.mark.parametrize(("last", "filled"), [(3 * SECOND, True), (3 * SECOND + 1, False)])
def test_day_order_behind_a_close_lives_through_the_session_of_the_first_print_it_met(
    last: int, filled: bool
) -> None:
    close = np.array([0, 3, 3, 9], dtype=np.int64) * SECOND + T0
    timeline = make_trade_timeline(
        [100, 100, 100, 90], at=[0, SECOND * 2 + 1, SECOND * 2 + 2, last], session_close=close
    )
    session = run_session(timeline, at_rows({0: buy(limit=95, time_in_force=TimeInForce.DAY)}))
    assert fills(session) == ([(10, 9_000, last)] if filled else [])
    assert ends(session) == ([] if filled else [("order.expired", last)])


@pytest.mark.parametrize(("next_", "filled"), [(2 * SECOND, True), (2 * SECOND + 1, False)])
def test_day_order_inside_a_session_ends_with_it_whether_it_met_a_print_or_not(
    next_: int, filled: bool
) -> None:
    close = np.array([2, 2 if filled else 3], dtype=np.int64) * SECOND + T0
    timeline = make_trade_timeline([100, 90], at=[0, next_], session_close=close)
    session = run_session(timeline, at_rows({0: buy(limit=95, time_in_force=TimeInForce.DAY)}))
    assert fills(session) == ([(10, 9_000, next_)] if filled else [])
    assert ends(session) == ([] if filled else [("order.expired", next_)])


# Who hears what.


class Hears(Strategy):
    """Overrides one callback for everything."""

    def on_market_event(self, event: object, ctx: Context) -> None:
        assert isinstance(event, TradeTick)
        ctx.signal("price", event.price)


def test_market_event_callback_hears_prints_and_no_slices() -> None:
    session = run_session(make_trade_timeline([100, 101]), Hears())
    assert [each.value for each in session.of_type(SignalRecorded)] == [100, 101]
    assert session.quarantined == []


def test_callbacks_of_bars_hear_no_print_and_that_of_prints_no_bar() -> None:
    def fail(*_: object) -> None:
        raise AssertionError

    deaf = scripted(on_bar=fail, on_slice=fail)
    session = run_session(make_trade_timeline([100, 101], [50, 51]), deaf)
    assert session.quarantined == []
    assert session.events[-1].payload.market_events == 4
    assert run_session(make_timeline(flat(1, 2)), scripted(on_trade=fail)).quarantined == []


@pytest.mark.parametrize(
    ("neighbors", "orders"), [(0, False), (0, True), (1, True)], ids=["quiet", "busy", "general"]
)
def test_strategy_that_raises_at_a_print_is_quarantined_by_the_name_of_its_callback(
    neighbors: int, orders: bool
) -> None:
    def on_trade(trade: TradeTick, ctx: Context) -> None:
        if orders:
            ctx.buy(AAPL, 10)
        if trade.price == 101:
            raise ValueError("no")

    idle = [scripted(on_trade=lambda trade, ctx: None) for _ in range(neighbors)]
    session = run_session(make_trade_timeline([100, 101, 102]), scripted(on_trade=on_trade), *idle)
    assert [(each.strategy, each.callback) for each in session.quarantined] == [("s0", "on_trade")]
    assert fills(session) == ([(10, 10_100, SECOND)] if orders else [])


@pytest.mark.parametrize("general", [False, True])
def test_strategy_hears_the_prints_of_its_instruments_only(general: bool) -> None:
    heard: list[tuple[str, float]] = []

    def on_trade(trade: TradeTick, ctx: Context) -> None:
        heard.append((trade.instrument, trade.price))

    strategies = [scripted(on_trade=on_trade), scripted(on_trade=lambda trade, ctx: None)]
    run_session(
        make_trade_timeline([100, 101], [50, 51]), *strategies[: 1 + general],
        instruments=[(MSFT,), None][: 1 + general],
    )  # fmt: skip
    assert heard == [(MSFT, 50), (MSFT, 51)]


# What a strategy sees.


class Looks(Strategy):
    """Features and context at each print."""

    def features(self) -> FeatureMap:
        return {
            "close": Sma(2), "price": Sma(2, inputs=("price",)), "size": Sma(1, inputs=("size",)),
            "volume": Sma(1, inputs=("volume",)),
        }  # fmt: skip

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        row = ctx.features
        name = trade.instrument
        seen.append((name, row.close, row.price, row.size, row.volume, ctx.mark(name),
                     *(ctx.history(name, 2, each).tolist() for each in ("price", "close", "size")),
                     ctx.now - T0))  # fmt: skip


seen: list[Any] = []


def test_features_history_and_marks_are_of_the_newest_print() -> None:
    seen.clear()
    nan = pytest.approx(float("nan"), nan_ok=True)
    timeline = make_trade_timeline([(100, 5), (103, 6)], [(50, 7), (52, 8)], delay=9)
    session = run_session(timeline, Looks())
    assert session.quarantined == []
    assert seen == [
        (AAPL, nan, nan, 5, 5, 100, [100], [100], [5], 9),
        (MSFT, nan, nan, 7, 7, 50, [50], [50], [7], 9),
        (AAPL, 101.5, 101.5, 6, 6, 103, [100, 103], [100, 103], [5, 6], SECOND + 9),
        (MSFT, 51, 51, 8, 8, 52, [50, 52], [50, 52], [7, 8], SECOND + 9),
    ]


def test_history_of_an_unknown_column_names_the_nearest() -> None:
    looks = scripted(on_trade=lambda trade, ctx: ctx.history(AAPL, 1, "prize"))
    [failure] = run_session(make_trade_timeline([100]), looks).quarantined
    assert "no column 'prize'" in failure.error
    assert "'price'" in failure.error


# What a session on prints comes to.


def test_equity_curve_has_a_point_for_each_time_and_returns_are_of_days() -> None:
    timeline = make_trade_timeline(
        [100, 101, 102, 104, 103], at=[0, SECOND, SECOND, NS_PER_DAY, NS_PER_DAY + 1]
    )
    session = run_session(timeline, at_rows({0: buy()}))
    summary = summarize_run(timeline, session.events, digest=session.digest)

    curve = summary.curves.account
    assert (curve.ts - T0).tolist() == [0, SECOND, NS_PER_DAY, NS_PER_DAY + 1]
    gains = [0, 10 * (102 - 101), 10 * (104 - 101), 10 * (103 - 101)]
    assert curve.equity.tolist() == [(100_000 + gain) * E8 for gain in gains]
    assert curve.equity[-1] == session.equity()
    account = summary.account
    assert (account.returns_clock, account.periods_per_year, account.slices) == ("1d", 252, 4)
    assert (account.fills, account.round_trips, account.open_round_trips) == (1, 0, 1)


def test_daily_loss_limit_looks_at_the_sessions_of_prints() -> None:
    """10 % are lost at once; on the next session the limit counts from there."""
    close = np.array([5, 5, 5, 9, 9], dtype=np.int64) * SECOND + T0
    timeline = make_trade_timeline(
        [100, 100, 90, 90, 90], at=[k * SECOND for k in (0, 1, 2, 6, 7)], session_close=close
    )
    session = run_session(
        timeline,
        at_rows({0: buy(1_000), 2: buy(1), 3: buy(2)}),
        limits=RiskLimits(max_leverage=4, max_daily_loss_pct=5),
    )
    assert [fill.lots for fill in session.fills] == [1_000, 2]
    assert [each.code.name for each in session.denied] == ["DAILY_LOSS"]


def timeline_of_one_side(side: Side) -> Timeline:
    return make_trade_timeline(make_prints([100, 101], aggressor=np.full(2, int(side))))


@pytest.mark.parametrize("side", list(Side))
def test_strategy_is_told_who_crossed_the_spread(side: Side) -> None:
    told: list[int] = []
    strategy = scripted(on_trade=lambda trade, ctx: told.append(trade.aggressor))
    run_session(timeline_of_one_side(side), strategy)
    assert told == [side, side]
