from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import CapitalDeposited, OrderFilled
from onetape.domain.instrument import make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide, PositionSide, Side
from onetape.portfolio.equity_curve import Marks, TimedAccountEvent, compute_equity_curves
from onetape.portfolio.round_trips import RoundTrip, average_price, pair_round_trips
from tests.support.runs import make_timeline

A = make_equity("A.X")
B = make_equity("B.X", tick_size="0.25", lot_size="0.01")
BARS = [(at, 10 * slice_, 10.0 + slice_) for slice_ in range(1, 11) for at in (0, 1)]
TIMELINE = make_timeline([A, B], BARS, length_ns=5)


def fills_of(
    *orders: tuple[int, int, int, int], instrument=A, strategy="s"
) -> list[TimedAccountEvent]:
    """(ts, signed lots, ticks, fee) each."""
    events: list[TimedAccountEvent] = []
    for ts, signed, ticks, fee in orders:
        side, lots = Side(1 if signed > 0 else -1), abs(signed)
        notional = lots * ticks * instrument.minor_per_tick_lot
        events.append((ts, OrderFilled("o", strategy, instrument.id, side, lots, ticks, notional,
                                       fee, LiquiditySide.TAKER, 0, ts)))  # fmt: skip
    return events


def trips_of(*orders: tuple[int, int, int, int]) -> list[RoundTrip]:
    return pair_round_trips(Marks(TIMELINE), fills_of(*orders))


LONG, SHORT = PositionSide.LONG, PositionSide.SHORT
# side, open, entry ts, exit ts, lots, open lots, entry, exit, gross, fees; money in cents
CASES = {
    "long": (
        [(20, 10, 1000, 3), (40, -10, 1100, 4)],
        [(LONG, False, 20, 40, 10, 0, 10.0, 11.0, 1000, 7)],
    ),
    "short": (
        [(20, -10, 1000, 3), (40, 10, 1100, 4)],
        [(SHORT, False, 20, 40, 10, 0, 10.0, 11.0, -1000, 7)],
    ),
    "scaled in and out": (
        [(20, 10, 1000, 1), (30, 30, 1100, 1), (40, -25, 1200, 1), (50, -15, 1000, 1)],
        [(LONG, False, 20, 50, 40, 0, 10.75, 11.25, 2000, 4)],
    ),
    "flip splits the fill and its fee": (
        [(20, 10, 1000, 0), (30, -15, 1100, 3), (40, 5, 1000, 0)],
        [(LONG, False, 20, 30, 10, 0, 10.0, 11.0, 1000, 2),
         (SHORT, False, 30, 40, 5, 0, 11.0, 10.0, 500, 1)],
    ),
    "twice": (
        [(20, 1, 1000, 0), (20, -1, 1001, 0), (30, 1, 1002, 0), (40, -1, 1000, 0)],
        [(LONG, False, 20, 20, 1, 0, 10.0, 10.01, 1, 0),
         (LONG, False, 30, 40, 1, 0, 10.02, 10.0, -2, 0)],
    ),
    "open at the newest mark": (
        [(20, 10, 1000, 5), (30, -4, 1200, 0)],
        [(LONG, True, 20, 100, 10, 6, 10.0, 12.0, 4 * 200 + 6 * 1000, 5)],
    ),
    "open short": (
        [(20, -10, 1000, 5)],
        [(SHORT, True, 20, 100, 10, -10, 10.0, 0.0, -10 * 1000, 5)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_round_trips_of_fills_are_from_flat_to_flat(case: str) -> None:
    orders, expected = CASES[case]
    cents = E8 // 100
    trips = trips_of(*((ts, lots, ticks, fee * cents) for ts, lots, ticks, fee in orders))
    found = [
        (t.side, t.is_open, t.ts_entry, t.ts_exit, t.lots, t.open_lots, t.entry_price, t.exit_price,
         t.pnl_gross // cents, t.fees // cents)
        for t in trips
    ]  # fmt: skip
    assert found == expected
    assert all(trip.pnl_net == trip.pnl_gross - trip.fees for trip in trips)


def test_round_trip_counts_bars_that_end_after_the_entry() -> None:
    closed, opened = trips_of((20, 1, 1000, 0), (50, -1, 1000, 0), (75, 1, 1000, 0))
    assert (closed.bars, closed.duration_ns) == (3, 30)
    assert (opened.bars, opened.duration_ns) == (3, 25)


def test_return_ratio_is_net_over_entry_notional() -> None:
    (trip,) = trips_of((20, 10, 1000, E8), (40, -10, 1100, E8))
    assert trip.return_ratio == pytest.approx((10.0 - 2.0) / 100.0)
    (free,) = trips_of((20, 10, 0, 0), (40, -10, 1100, 0))
    assert math.isnan(free.return_ratio)


def test_round_trips_are_apart_by_strategy_and_instrument() -> None:
    events = [
        *fills_of((20, 10, 1000, 0), strategy="s"),
        *fills_of((20, -10, 1000, 0), strategy="t"),
        *fills_of((20, 10, 4000, 0), instrument=B),
        *fills_of((30, -10, 1000, 0), strategy="s"),
    ]
    trips = pair_round_trips(Marks(TIMELINE), events)
    assert [(t.strategy, t.instrument, t.is_open) for t in trips] == [
        ("s", "A.X", False), ("t", "A.X", True), ("s", "B.X", True),
    ]  # fmt: skip


def test_average_price_is_the_nearest_float_of_the_exact_price() -> None:
    for ticks in (15037, 1, 99999, 7919):
        assert average_price(A, 3 * ticks * A.minor_per_tick_lot, 3) == ticks / 100
    assert average_price(A, 0, 0) == 0.0


@settings(max_examples=200)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["s", "t"]),
            st.sampled_from([A, B]),
            st.integers(-50, 50).filter(bool),
            st.integers(1, 5000),
            st.integers(-100, 10**9),
        ),
        max_size=40,
    )
)
def test_net_pnl_of_all_trips_is_the_change_of_equity(orders: list) -> None:
    events: list[TimedAccountEvent] = [(1, CapitalDeposited("s", "USD", 777 * E8))]
    for number, (strategy, instrument, signed, ticks, fee) in enumerate(orders):
        ts = 10 + number * 90 // max(len(orders), 1)
        events += fills_of((ts, signed, ticks, fee), instrument=instrument, strategy=strategy)
    marks = Marks(TIMELINE)
    equity = int(compute_equity_curves(marks, events).account.equity[-1])
    trips = pair_round_trips(marks, events)
    assert sum(trip.pnl_net for trip in trips) == equity - 777 * E8
    assert sum(trip.fees for trip in trips) == sum(fee for *_, fee in orders)
