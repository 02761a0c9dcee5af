"""Execution of orders against market data that can be read: each figure by hand, and as a sum."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.events import OrderFilled
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide, OrderType, Side
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.equity_curve import Marks
from onetape.portfolio.execution_analytics import (
    OrderExecution,
    OrderRecord,
    measure_executions,
    summarize_executions,
)

SPY = make_equity("SPY.ARCX")  # cents, whole shares: 1,000,000 minor units a tick and lot
CENT = 1_000_000
MINUTE = 60 * NS_PER_SECOND

BARS = """
 open    high    low     close   volume
100.00  100.60   99.80  100.20    1000
100.50  101.00  100.10  100.80    2000
100.90  101.50  100.60  101.30    1000
101.40  101.60  100.90  101.00    4000
101.20  101.90  101.10  101.70    1000
"""
"""Bars of a minute; bar k is known at (k + 1) minutes, and the next opens ten seconds later."""


def make_timeline(text: str = BARS) -> Timeline:
    rows = np.array([line.split() for line in text.split("\n")[2:-1]], dtype=np.float64)
    ts_close = (np.arange(len(rows), dtype=np.int64) + 1) * MINUTE
    columns: dict[str, Any] = {
        "ts_open": ts_close - 50 * NS_PER_SECOND,
        "ts_close": ts_close,
        "ts_known": ts_close,
        "session_close": ts_close,
        "quality": np.zeros(len(rows), dtype=np.int64),
        **dict(zip(("open", "high", "low", "close", "volume"), rows.T, strict=True)),
    }
    return build_timeline([(SPY, columns)], source="made", timeframe="1m")


def fill(lots: int, price: str, step: int, *, side: Side = Side.BUY, fee: str = "0") -> Any:
    """A fill at the open of the bar that is known at `step` minutes."""
    ticks = int(Decimal(price) * 100)
    return step * MINUTE, OrderFilled(
        "s-1", "s", SPY.id, side, lots, ticks, lots * ticks * CENT, int(Decimal(fee) * E8),
        LiquiditySide.TAKER, 0, step * MINUTE - 50 * NS_PER_SECOND,
    )  # fmt: skip


def order(lots: int, *fills: Any, **terms: Any) -> OrderRecord:
    """An order that is decided when the first bar is known, and arrives at once."""
    given: dict[str, Any] = {
        "client_order_id": "s-1", "strategy": "s", "instrument": SPY.id, "side": Side.BUY,
        "order_type": OrderType.MARKET, "ts_decision": MINUTE, "ts_arrival": MINUTE,
        "ts_end": fills[-1][0] if fills else None, "fills": fills,
    }  # fmt: skip
    return OrderRecord(lots=lots, **(given | terms))


def measure(record: OrderRecord, text: str = BARS) -> OrderExecution:
    timeline = make_timeline(text)
    (found,) = measure_executions([record], Marks(timeline), timeline)
    return found


def money(amount: int) -> str:
    return f"{Decimal(amount).scaleb(-8).normalize():f}"


def test_buy_that_fills_whole_pays_delay_and_execution() -> None:
    """Decided at 100.20, arrived at the open 100.50, filled at 100.53."""
    found = measure(order(100, fill(100, "100.53", 2, fee="1.25")))
    assert (found.decision_ticks, found.arrival_ticks) == (10020, 10050)
    assert money(found.delay) == "30"
    assert money(found.execution) == "3"
    assert money(found.opportunity) == "0"
    assert money(found.fees) == "1.25"
    assert money(found.shortfall) == "34.25"
    assert money(found.decision_slippage) == "33"
    assert found.is_whole
    assert found.ts_first_fill == found.ts_last_fill == 2 * MINUTE - 50 * NS_PER_SECOND
    # One bar: (101.00 + 100.10 + 100.80) / 3 = 100.6333..., 10.33 below it.
    assert found.vwap == pytest.approx(302.0 / 3.0 - 0.1 / 3.0)
    assert found.vwap_slippage == pytest.approx((100.53 - 301.9 / 3.0) * 100)


def test_sell_is_the_mirror() -> None:
    sold = measure(order(100, fill(100, "100.47", 2, side=Side.SELL), side=Side.SELL))
    assert money(sold.delay) == "-30"  # the market rose while the order was under way
    assert money(sold.execution) == "3"
    assert money(sold.shortfall) == "-27"


def test_order_that_is_filled_in_part_pays_for_what_it_missed() -> None:
    """Perold's paper portfolio holds 300 from 100.20; ours 100 at 100.50 and 100 at 100.95."""
    fills = (fill(100, "100.50", 2, fee="1"), fill(100, "100.95", 3, fee="0.5"))
    found = measure(order(300, *fills, ts_end=4 * MINUTE, order_type=OrderType.LIMIT))
    assert found.end_ticks == 10100
    assert money(found.delay) == "60"  # 200 * 0.30
    assert money(found.execution) == "45"  # 100 * 0 + 100 * 0.45
    assert money(found.opportunity) == "80"  # 100 * (101.00 - 100.20)
    assert money(found.shortfall) == "186.5"
    paper = 300 * (10100 - 10020)
    ours = 200 * 10100 - 100 * 10050 - 100 * 10095
    assert found.shortfall == (paper - ours) * CENT + int(1.5 * E8)
    assert not found.is_whole
    # Typical prices 301.9 / 3 and 303.4 / 3, volumes 2,000 and 1,000.
    assert found.vwap == pytest.approx((2 * 301.9 + 303.4) / 9)


def test_order_that_is_never_filled_costs_what_the_market_went_away() -> None:
    bought = measure(order(10, ts_end=3 * MINUTE))
    assert (money(bought.delay), money(bought.execution)) == ("0", "0")
    assert money(bought.opportunity) == money(bought.shortfall) == "11"  # 10 * (101.30 - 100.20)
    assert (bought.ts_first_fill, bought.filled_notional) == (None, 0)
    assert math.isnan(bought.vwap)
    sold = measure(order(10, ts_end=3 * MINUTE, side=Side.SELL))
    assert money(sold.shortfall) == "-11"
    still_open = measure(order(10, ts_end=None))
    assert still_open.end_ticks == 10170


def test_arrival_inside_a_bar_is_at_its_close() -> None:
    found = measure(order(10, fill(10, "100.80", 2), ts_arrival=MINUTE + 20 * NS_PER_SECOND))
    assert found.arrival_ticks == 10080
    at_open = measure(order(10, fill(10, "100.50", 2), ts_arrival=MINUTE + 10 * NS_PER_SECOND))
    assert at_open.arrival_ticks == 10050
    closed = measure(order(10, fill(10, "100.90", 3), ts_arrival=2 * MINUTE))
    assert closed.arrival_ticks == 10090


def test_fill_that_was_told_before_the_arrival_is_no_earlier_than_its_bar() -> None:
    """A venue may confirm an order after it has filled it."""
    found = measure(order(10, fill(10, "100.50", 2), ts_arrival=4 * MINUTE))
    assert found.arrival_ticks == 10080
    assert found.vwap == pytest.approx(301.9 / 3)


def test_order_that_the_venue_never_took_has_no_arrival() -> None:
    found = measure(order(10, ts_arrival=None, ts_end=MINUTE))
    assert (found.arrival_ticks, found.shortfall) == (None, 0)
    late = measure(order(10, ts_arrival=5 * MINUTE, ts_decision=5 * MINUTE))
    assert late.arrival_ticks is None


def test_order_that_was_never_sized_wanted_nothing() -> None:
    found = measure(order(0, ts_end=3 * MINUTE))
    assert (found.paper_notional, found.shortfall, found.is_whole) == (0, 0, False)


def test_decision_before_any_price_begins_at_the_arrival() -> None:
    found = measure(order(10, fill(10, "100.05", 1), ts_decision=0, ts_arrival=0))
    assert found.decision_ticks == found.arrival_ticks == 10000
    assert money(found.shortfall) == "0.5"


def test_bars_without_volume_have_no_average() -> None:
    dry = BARS.replace("2000\n", "0\n")
    found = measure(order(10, fill(10, "100.50", 2)), dry)
    assert math.isnan(found.vwap)
    assert math.isnan(found.vwap_slippage)
    both = measure(order(20, fill(10, "100.50", 2), fill(10, "100.90", 3)), dry)
    assert both.vwap == pytest.approx(303.4 / 3)


def test_bars_without_a_price_are_passed_over() -> None:
    torn = BARS.replace("100.90  101.50  100.60  101.30", "100.90  101.50     nan  101.30")
    found = measure(order(10, ts_end=3 * MINUTE), torn)
    assert found.end_ticks == 10080
    late = measure(order(10, fill(10, "101.40", 4), ts_arrival=2 * MINUTE), torn)
    assert late.arrival_ticks == 10140


def test_run_that_broke_off_knows_no_later_prices() -> None:
    timeline = make_timeline()
    record = order(10, ts_end=None)
    (found,) = measure_executions([record], Marks(timeline, 2 * MINUTE), timeline)
    assert found.end_ticks == 10080
    assert found.arrival_ticks == 10050


def test_run_that_broke_off_before_its_first_bar_knows_no_prices() -> None:
    timeline = make_timeline()
    (found,) = measure_executions([order(10, ts_decision=0)], Marks(timeline, 1), timeline)
    assert (found.decision_ticks, found.arrival_ticks, found.shortfall) == (0, None, 0)


def test_unknown_instrument_is_an_error() -> None:
    timeline = make_timeline()
    with pytest.raises(DataError, match="does not hold"):
        measure_executions([order(10, instrument=InstrumentId("X.Y"))], Marks(timeline), timeline)


def test_summary_adds_up_what_the_orders_cost() -> None:
    timeline = make_timeline()
    records = [
        order(100, fill(100, "100.53", 2, fee="1.25")),
        order(300, fill(100, "100.50", 2, fee="1"), fill(100, "100.95", 3, fee="0.5"),
              ts_end=4 * MINUTE, order_type=OrderType.LIMIT),
        order(10, ts_end=3 * MINUTE),
    ]  # fmt: skip
    executions = measure_executions(records, Marks(timeline), timeline)
    summary = summarize_executions(executions)
    assert (summary.orders, summary.filled, summary.partly_filled, summary.unfilled) == (3, 1, 1, 1)
    assert summary.shortfall == Decimal("34.25") + Decimal("186.5") + Decimal(11)
    assert summary.shortfall == (
        summary.delay + summary.execution + summary.opportunity + summary.fees
    )
    assert summary.decision_slippage == Decimal(138)
    assert summary.decision_slippage_bps == pytest.approx(138 / (300 * 100.20) * 10_000)
    assert summary.arrival_slippage == Decimal(48)
    assert summary.arrival_slippage_bps == pytest.approx(48 / (300 * 100.50) * 10_000)
    assert summary.paper_notional == Decimal("41082")
    assert summary.shortfall_bps == pytest.approx(231.75 / 41082 * 10_000)
    assert summary.fill_ratio == pytest.approx(300 / 410)
    assert summary.mean_time_to_fill_ns == summary.median_time_to_fill_ns == 10 * NS_PER_SECOND
    vwap = sum(each.vwap_value for each in executions[:2])
    paid = (10053 + 10050 + 10095) * 1.0
    assert summary.vwap_slippage == pytest.approx(paid - vwap)
    assert summary.vwap_slippage_bps == pytest.approx((paid - vwap) / vwap * 10_000)


@pytest.mark.parametrize(
    ("steps", "mean", "median"),
    [((2,), 10, 10), ((4, 2), 70, 70), ((2, 5, 2), 70, 10), ((2, 3, 3, 5), 85, 70)],
)
def test_time_to_fill_runs_from_the_decision_to_the_first_fill(
    steps: tuple[int, ...], mean: int, median: int
) -> None:
    timeline = make_timeline()
    records = [order(20, fill(10, "100", step), fill(10, "100", 5)) for step in steps]
    records.append(order(10))  # one that waits for ever says nothing of it
    summary = summarize_executions(measure_executions(records, Marks(timeline), timeline))
    assert summary.mean_time_to_fill_ns == mean * NS_PER_SECOND
    assert summary.median_time_to_fill_ns == median * NS_PER_SECOND


def test_summary_of_nothing_says_nothing() -> None:
    summary = summarize_executions([])
    assert (summary.orders, summary.shortfall, summary.mean_time_to_fill_ns) == (0, 0, None)
    assert math.isnan(summary.fill_ratio)
    assert math.isnan(summary.shortfall_bps)
    assert math.isnan(summary.vwap_slippage_bps)
    assert summary.vwap_slippage == 0.0


@given(
    st.sampled_from([Side.BUY, Side.SELL]),
    st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(1, 10**7), st.integers(2, 5),
                  st.integers(-(10**9), 10**12)),
        max_size=5,
    ),
    st.integers(0, 10**6),
    st.integers(0, 5 * MINUTE),
    st.integers(0, 5 * MINUTE),
    st.one_of(st.none(), st.integers(0, 6 * MINUTE)),
)  # fmt: skip
def test_parts_add_up_to_paper_less_real_to_the_last_unit(
    side: Side,
    trades: list[tuple[int, int, int, int]],
    more: int,
    decided: int,
    delay: int,
    end: int | None,
) -> None:
    """The naive twin values both portfolios at the end."""
    fills = tuple(
        (step * MINUTE, OrderFilled("s-1", "s", SPY.id, side, lots, ticks, lots * ticks * CENT, fee,
                                    LiquiditySide.TAKER, 0, step * MINUTE))
        for lots, ticks, step, fee in sorted(trades, key=lambda each: each[2])
    )  # fmt: skip
    filled = sum(each.lots for _, each in fills)
    found = measure(
        order(filled + more, *fills, side=side, ts_decision=decided, ts_arrival=decided + delay,
              ts_end=end)
    )  # fmt: skip
    paper = (filled + more) * side * (found.end_ticks - found.decision_ticks) * CENT
    real = sum(
        each.lots * side * (found.end_ticks - each.ticks) * CENT - each.fee for _, each in fills
    )
    assert found.shortfall == paper - real
    assert found.delay + found.execution == side * (
        found.filled_notional - filled * found.decision_ticks * CENT
    )
