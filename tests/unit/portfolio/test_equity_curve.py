from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import CapitalDeposited, OrderFilled
from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.numbers import E8, compute_ticks
from onetape.domain.orders import LiquiditySide, Side
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.equity_curve import (
    EquityCurve,
    Marks,
    TimedAccountEvent,
    compute_equity_curves,
    mark_ticks,
)
from tests.support.runs import make_timeline

A = make_equity("A.X")
B = make_spot("B.X", base="B", quote="USD", tick_size="0.5", lot_size="0.001")
C = make_equity("C.X", tick_size="0.05")
INSTRUMENTS = (A, B, C)


def fill(
    strategy: str, instrument: Instrument, side: Side, lots: int, ticks: int, fee: int = 0
) -> OrderFilled:
    notional = lots * ticks * instrument.minor_per_tick_lot
    return OrderFilled("o", strategy, instrument.id, side, lots, ticks, notional, fee,
                       LiquiditySide.TAKER, 0, 0)  # fmt: skip


def naive_fold(
    timeline: Timeline, events: list[TimedAccountEvent]
) -> dict[str, list[tuple[int, ...]]]:
    """Row by row, event by event, with the rule of the books: (ts, equity, cash, ...) a slice."""
    names = list(dict.fromkeys(event.strategy for _, event in events))
    cash, capital = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    held: dict[tuple[str, str], int] = {}
    marks: dict[str, int] = {}
    out: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    waiting = list(events)
    columns = timeline.columns
    factors = {each.id: each.minor_per_tick_lot for each in timeline.instruments}
    for row in range(len(timeline)):
        instrument = timeline.instruments[timeline.instrument_index[row]]
        close = float(columns["close"][row])
        marks[instrument.id] = compute_ticks(close, instrument.tick_float, 0)
        ts = int(columns["ts_known"][row])
        if not timeline.slice_end[row]:
            continue
        while waiting and waiting[0][0] <= ts:
            event = waiting.pop(0)[1]
            if isinstance(event, CapitalDeposited):
                cash[event.strategy] += event.amount
                capital[event.strategy] += event.amount
            else:
                key = (event.strategy, event.instrument)
                held[key] = held.get(key, 0) + event.side * event.lots
                cash[event.strategy] -= event.side * event.notional + event.fee
        for name in names:
            values = [
                lots * marks[each] * factors[each]  # pyright: ignore[reportArgumentType]
                for (owner, each), lots in held.items()
                if owner == name and lots
            ]
            out[name].append((ts, cash[name] + sum(values), cash[name], sum(map(abs, values)),
                              sum(values), len(values), capital[name]))  # fmt: skip
    return out


def rows_of(curve: EquityCurve) -> list[tuple[int, ...]]:
    columns = [getattr(curve, name).tolist() for name in EquityCurve.__struct_fields__]
    return list(zip(*columns, strict=True))


@st.composite
def sessions(draw: st.DrawFn) -> tuple[Timeline, list[TimedAccountEvent]]:
    """Bars with gaps, then deposits, fills and flips of two strategies at slices or between."""
    slices = draw(st.integers(1, 12))
    prices = st.floats(0.01, 1e6, allow_nan=False)
    bars = [(at, 10, draw(prices)) for at in range(3)]
    for number in range(1, slices):
        present = draw(st.sets(st.integers(0, 2), min_size=1))
        bars += [(at, 10 * (number + 1), draw(prices)) for at in sorted(present)]
    events: list[TimedAccountEvent] = [(1, CapitalDeposited("s", "USD", 1_000 * E8))]
    for ts in sorted(draw(st.lists(st.integers(1, 10 * slices), max_size=15))):
        name = draw(st.sampled_from(["s", "t"]))
        if draw(st.integers(0, 5)) == 0:
            events.append((ts, CapitalDeposited(name, "USD", draw(st.integers(1, 10**15)))))
            continue
        side = draw(st.sampled_from([Side.BUY, Side.SELL]))
        instrument = draw(st.sampled_from(INSTRUMENTS))
        lots, ticks = draw(st.integers(1, 10_000)), draw(st.integers(1, 10**6))
        events.append(
            (ts, fill(name, instrument, side, lots, ticks, draw(st.integers(-99, 10**9))))
        )
    return make_timeline(INSTRUMENTS, bars), events


@settings(max_examples=150, deadline=None)
@given(sessions())
def test_equity_curve_equals_the_fold_event_by_event(
    session: tuple[Timeline, list[TimedAccountEvent]],
) -> None:
    timeline, events = session
    curves = compute_equity_curves(Marks(timeline), events)
    expected = naive_fold(timeline, events)
    assert {name: rows_of(curve) for name, curve in curves.strategies.items()} == expected
    account = [
        (ts[0], *(sum(column) for column in zip(*(row[1:] for row in rows), strict=True)))
        for rows in zip(*expected.values(), strict=True)
        for ts in [rows[0]]
    ]
    assert rows_of(curves.account) == account


@settings(max_examples=300)
@given(
    st.lists(
        st.one_of(st.floats(0, 1e9), st.integers(0, 10**7).map(lambda n: n / 200)), min_size=1
    ),
    st.sampled_from(["0.01", "0.05", "0.25", "0.5", "1", "0.00001", "3"]),
)
def test_mark_ticks_is_the_rule_elementwise(closes: list[float], tick: str) -> None:
    instrument = make_equity("A.X", tick_size=tick)
    marks = mark_ticks(np.array(closes), instrument).tolist()
    assert marks == [compute_ticks(each, float(tick), 0) for each in closes]


def test_fill_counts_from_the_slice_of_its_step() -> None:
    timeline = make_timeline([A], [(0, 10, 1.0), (0, 20, 2.0), (0, 30, 3.0)])
    events: list[TimedAccountEvent] = [
        (5, CapitalDeposited("s", "USD", 100 * E8)),
        (20, fill("s", A, Side.BUY, 10, 150, fee=E8)),
    ]
    curve = compute_equity_curves(Marks(timeline), events).account
    assert curve.equity.tolist() == [100 * E8, 104 * E8, 114 * E8]
    assert curve.cash.tolist() == [100 * E8, 84 * E8, 84 * E8]
    assert curve.positions.tolist() == [0, 1, 1]


def test_marks_cut_at_a_time_leave_out_what_was_known_later() -> None:
    timeline = make_timeline([A, B], [(0, 10, 1.0), (1, 10, 5.0), (0, 20, 2.0), (1, 30, 7.0)])
    marks = Marks(timeline, 20)
    assert marks.slice_ts.tolist() == [10, 20]
    assert marks.of(A.id).ticks.tolist() == [100, 200]
    assert marks.of(B.id).ticks.tolist() == [10]


def test_curve_without_slices_is_empty() -> None:
    timeline = make_timeline([A], [(0, 10, 1.0)])
    curve = compute_equity_curves(Marks(timeline, 5), [(5, CapitalDeposited("s", "USD", E8))])
    assert [len(getattr(curve.account, name)) for name in EquityCurve.__struct_fields__] == [0] * 7


def test_curve_without_events_is_flat_zero() -> None:
    timeline = make_timeline([A], [(0, 10, 1.0), (0, 20, 1.0)])
    account = compute_equity_curves(Marks(timeline), []).account
    assert rows_of(account) == [(10, 0, 0, 0, 0, 0, 0), (20, 0, 0, 0, 0, 0, 0)]


GOOD = (0, 10, 1.0), (0, 20, 1.0), (1, 20, 1.0)
STRANGER = make_equity("Z.X")
HUGE = make_equity("H.X", tick_size="1")


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ((30, fill("s", A, Side.BUY, 1, 100)), "after the last bar"),
        ((10, fill("s", B, Side.BUY, 1, 100)), "B.X before its first bar"),
        ((10, fill("s", STRANGER, Side.BUY, 1, 100)), "Z.X, which the timeline does not hold"),
    ],
)
def test_fill_that_does_not_fit_the_timeline_is_refused(event: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        compute_equity_curves(Marks(make_timeline([A, B], GOOD)), [event])


def test_fill_of_a_real_venue_behind_the_last_bar_counts_with_it() -> None:
    events = [(5, CapitalDeposited("s", "USD", 10 * E8)), (30, fill("s", A, Side.BUY, 1, 100))]
    marks = Marks(make_timeline([A], [(0, 10, 1.0), (0, 20, 1.0)]), counts_later=True)
    account = compute_equity_curves(marks, events).account
    assert account.positions.tolist() == [0, 1]


def test_events_that_go_back_in_time_are_refused() -> None:
    events = [(20, CapitalDeposited("s", "USD", E8)), (10, CapitalDeposited("s", "USD", E8))]
    with pytest.raises(InvariantBroken, match="out of time order"):
        compute_equity_curves(Marks(make_timeline([A], [(0, 20, 1.0)])), events)


@pytest.mark.parametrize("close", [float("nan"), float("inf"), 1e300])
def test_close_that_no_tick_count_holds_is_refused_with_its_bar(close: float) -> None:
    marks = Marks(make_timeline([A], [(0, 10, 1.0), (0, 20, close)]))
    with pytest.raises(DataError, match=r"bar 1: close .* of A.X"):
        marks.of(A.id)


@pytest.mark.parametrize(
    "events",
    [
        [(10, CapitalDeposited("s", "USD", 2**62)), (10, CapitalDeposited("s", "USD", 2**62))],
        [(10, CapitalDeposited("s", "USD", 2**62)), (10, CapitalDeposited("t", "USD", 2**62))],
        [(10, fill("s", HUGE, Side.BUY, 10**6, 1)), (10, fill("s", HUGE, Side.SELL, 10, 1))],
    ],
    ids=["cash", "account", "value"],
)  # fmt: skip
def test_numbers_beyond_int64_are_refused_rather_than_wrapped(events: Any) -> None:
    timeline = make_timeline([HUGE], [(0, 10, 1e6)])
    with pytest.raises(InvariantBroken, match="int64 minor units"):
        compute_equity_curves(Marks(timeline), events)


def test_value_below_the_guard_is_exact_to_the_last_unit() -> None:
    tiny = msgspec.structs.replace(A, id="T.X", tick_size=Decimal("0.00000001"))
    timeline = make_timeline([tiny], [(0, 10, 9_000_000.12345679)])
    ticks = compute_ticks(9_000_000.12345679, tiny.tick_float, 0)
    curve = compute_equity_curves(Marks(timeline), [(10, fill("s", tiny, Side.BUY, 10_007, 1))])
    assert curve.account.net_exposure.tolist() == [10_007 * ticks]
    assert curve.account.equity.tolist() == [10_007 * (ticks - 1)]
