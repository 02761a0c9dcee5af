"""Longer bars: a history at once, piece by piece, and one bar after the other by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BAR_FLOAT_COLUMNS, BAR_INT_COLUMNS, Bar
from onetape.domain.timestamps import from_iso
from onetape.marketdata.aggregation import Aggregated, LatePolicy, aggregate
from onetape.marketdata.bar_builder import BarBuilder, Piece
from onetape.marketdata.bar_rule import BarKind, BarRule, parse_bar_rule
from onetape.marketdata.bars import BAR_COLUMNS
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.pieces import PRICES, Pieces, bars_as_pieces, trades_as_pieces
from tests.unit.marketdata.csv_files import NEW_YORK_HOURS

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
FRIDAY = from_iso("2024-03-08T20:50:00Z")  # ten minutes before New York closes; clocks change
CALENDARS = {
    name: build_calendar(name, "America/New_York") for name in ("24/7", NEW_YORK_HOURS, "XNYS")
}
RULES = ("15s", "5m", "1h", "1d", "1w", "3tick", "20volume", "0.5dollar", "2range")

prices = st.integers(900, 1_100).map(lambda each: each / 10)
sizes = st.integers(0, 30).map(lambda each: each / 7)


@st.composite
def make_trades(draw: st.DrawFn) -> dict[str, Any]:
    """Prints with delays, so that some overtake others; now and then a night lies between."""
    steps = draw(st.lists(st.sampled_from((0, 1, 7, 40, 200, 64_000)), min_size=1, max_size=40))
    ts_event = FRIDAY + np.cumsum(steps) * SECOND
    count = len(steps)
    delays = draw(st.lists(st.sampled_from((0, 0, 1, 30, 90)), min_size=count, max_size=count))
    ts_known = ts_event + np.array(delays) * SECOND
    order = np.argsort(ts_known, kind="stable")
    return {
        "ts_event": ts_event[order],
        "ts_known": ts_known[order],
        "price": np.array(draw(st.lists(prices, min_size=count, max_size=count))),
        "size": np.array(draw(st.lists(sizes, min_size=count, max_size=count))),
        "quality": np.array(draw(st.lists(st.sampled_from((0, 1, 4)), min_size=count,
                                          max_size=count))),
    }  # fmt: skip


@st.composite
def make_bars(draw: st.DrawFn) -> dict[str, Any]:
    """Bars of 15 seconds with gaps and one publication delay."""
    steps = draw(st.lists(st.sampled_from((1, 1, 1, 2, 9, 4_300)), min_size=1, max_size=60))
    ts_open = FRIDAY + np.cumsum(steps) * 15 * SECOND
    count, delay = len(steps), draw(st.sampled_from((0, 4))) * SECOND
    table = np.array([draw(st.tuples(prices, prices, prices, prices)) for _ in steps])
    ts_close = ts_open + 15 * SECOND
    return {
        "ts_open": ts_open,
        "ts_close": ts_close,
        "ts_known": ts_close + delay,
        "session_close": ts_close,
        "quality": np.zeros(count, dtype=np.int64),
        "open": table[:, 0].copy(),
        "high": table.max(axis=1),
        "low": table.min(axis=1),
        "close": table[:, 3].copy(),
        "volume": np.array([draw(sizes) for _ in steps]),
    }


def one_by_one(pieces: Pieces, rule: BarRule, calendar: str, grace: int) -> tuple[list[Bar], int]:
    builder = BarBuilder(InstrumentId("A.B"), rule, CALENDARS[calendar], grace_ns=grace,
                         late=LatePolicy.DROP)  # fmt: skip
    columns = {name: each.tolist() for name, each in pieces.columns.items()}
    bars: list[Bar] = []
    for row in range(len(pieces)):
        values = tuple(columns[name][row] for name in (*PRICES, "volume"))
        times = ("ts_from", "ts_to", "ts_known", "session_close", "quality")
        piece = Piece(**{name: columns[name][row] for name in times}, values=values,
                      is_bar=pieces.are_bars)  # fmt: skip
        over = builder.push(piece)
        assert all(each.ts_known <= piece.ts_known for each in over if rule.kind is BarKind.TIME)
        bars += over
    return bars + builder.advance(columns["ts_known"][-1]), builder.late + builder.outside


def as_rows(aggregated: Aggregated) -> list[tuple[Any, ...]]:
    columns = [aggregated.columns[name].tolist() for name in BAR_COLUMNS]
    return list(zip(*columns, strict=True))


def as_row(bar: Bar) -> tuple[Any, ...]:
    ints = (bar.ts_open, bar.ts_close, bar.ts_known, bar.session_close, int(bar.quality))
    return (*ints, bar.open, bar.high, bar.low, bar.close, bar.volume)


pieces_of = st.one_of(
    make_trades().map(lambda each: trades_as_pieces(each, "t")),
    make_bars().map(lambda each: bars_as_pieces(each, "t")),
)


@given(pieces_of, st.sampled_from(RULES), st.booleans(), st.sampled_from(sorted(CALENDARS)),
       st.sampled_from((0, 5, 60)))  # fmt: skip
@settings(max_examples=100, deadline=None)
def test_history_at_once_equals_piece_by_piece_bit_for_bit(
    pieces: Pieces, name: str, by_session: bool, calendar: str, grace: int
) -> None:
    activity = parse_bar_rule(name).kind is not BarKind.TIME
    rule = parse_bar_rule(name, by_session=None if activity else by_session)
    try:
        batch = aggregate(pieces, rule, CALENDARS[calendar], grace_ns=grace * SECOND,
                          late=LatePolicy.DROP)  # fmt: skip
    except DataError:
        with pytest.raises(DataError, match="goes over"):
            one_by_one(pieces, rule, calendar, grace * SECOND)
        return

    bars, left_out = one_by_one(pieces, rule, calendar, grace * SECOND)

    assert [as_row(each) for each in bars] == as_rows(batch)
    assert left_out == batch.late + batch.outside


def naive_time_bars(trades: dict[str, Any], length: int, grace: int) -> list[tuple[Any, ...]]:
    """Bars of the clock, each made from all prints that are its own, over at the end of the data.

    Written down from the table in `aggregation.py`.
    """
    now = int(trades["ts_known"][-1])
    buckets: dict[int, list[int]] = {}
    for row, ts in enumerate(trades["ts_event"].tolist()):
        opens = ts - ts % length
        if trades["ts_known"][row] <= opens + length + grace:
            buckets.setdefault(opens, []).append(row)
    bars: list[tuple[Any, ...]] = []
    for opens, rows in sorted(buckets.items()):
        if opens + length + grace > now:
            continue
        rows.sort(key=lambda row: int(trades["ts_event"][row]))
        price = [float(trades["price"][row]) for row in rows]
        size = [float(trades["size"][row]) for row in rows]
        total = size[0]
        for each in size[1:]:
            total += each
        bars.append((opens, opens + length, opens + length + grace, price[0], max(price),
                     min(price), price[-1], total))  # fmt: skip
    return bars


@given(make_trades(), st.sampled_from((15, 300, 3_600)), st.sampled_from((0, 5, 60)))
@settings(max_examples=30, deadline=None)
def test_time_bars_of_prints_equal_those_made_by_hand(
    trades: dict[str, Any], seconds: int, grace: int
) -> None:
    made = aggregate(
        trades_as_pieces(trades, "t"), parse_bar_rule(f"{seconds}s"), CALENDARS["24/7"],
        grace_ns=grace * SECOND, late=LatePolicy.DROP,
    )  # fmt: skip

    names = ("ts_open", "ts_close", "ts_known", "open", "high", "low", "close", "volume")
    rows = list(zip(*(made.columns[name].tolist() for name in names), strict=True))
    assert rows == naive_time_bars(trades, seconds * SECOND, grace * SECOND)


@given(make_trades(), st.sampled_from(("4tick", "9volume", "300dollar", "1.5range")))
@settings(max_examples=30, deadline=None)
def test_bars_by_activity_equal_those_made_by_hand(trades: dict[str, Any], name: str) -> None:
    order = np.argsort(trades["ts_event"], kind="stable")
    trades = {key: column[order] for key, column in trades.items()}
    trades["ts_known"] = trades["ts_event"]
    rule = parse_bar_rule(name)
    expected: list[tuple[float, ...]] = []
    price: list[float] = []
    volume = turnover = 0.0
    for each, size in zip(trades["price"].tolist(), trades["size"].tolist(), strict=True):
        price.append(each)
        volume += size
        turnover += each * size
        measure = {
            BarKind.TICK: len(price), BarKind.VOLUME: volume, BarKind.DOLLAR: turnover,
            BarKind.RANGE: max(price) - min(price),
        }[rule.kind]  # fmt: skip
        if measure >= rule.threshold:
            expected.append((price[0], max(price), min(price), price[-1], volume))
            price, volume, turnover = [], 0.0, 0.0

    made = aggregate(trades_as_pieces(trades, "t"), rule, CALENDARS["24/7"])

    found = list(zip(*(made.columns[key].tolist() for key in BAR_FLOAT_COLUMNS), strict=True))
    assert found == expected
    assert made.unfinished == len(price)
    assert all(math.isfinite(each) for row in found for each in row)


@given(make_bars())
@settings(max_examples=30, deadline=None)
def test_chain_of_timeframes_gives_the_bars_of_one_step(bars: dict[str, Any]) -> None:
    bars["volume"] = np.round(bars["volume"])  # sums of floats depend on their order
    calendar = CALENDARS["24/7"]
    grace = int(bars["ts_known"][0] - bars["ts_close"][0])
    step = bars_as_pieces(bars, "t")
    for name in ("1m", "5m", "1h", "4h"):
        chained = aggregate(step, parse_bar_rule(name), calendar, grace_ns=grace).columns
        step = bars_as_pieces(chained, name)
    day = aggregate(step, parse_bar_rule("1d"), calendar, grace_ns=grace).columns
    direct = aggregate(bars_as_pieces(bars, "t"), parse_bar_rule("1d"), calendar, grace_ns=grace)

    rows = len(day["ts_open"])
    assert rows <= len(direct.columns["ts_open"])  # each step sees later that its last bar is over
    for name in (*BAR_INT_COLUMNS, *BAR_FLOAT_COLUMNS):
        assert day[name].tolist() == direct.columns[name][:rows].tolist(), name


@pytest.mark.parametrize(("after", "late"), [(0, 0), (1, 1)])
def test_print_known_with_the_end_of_its_grace_is_in_time_and_a_nanosecond_later_is_not(
    after: int, late: int
) -> None:
    opens = FRIDAY - FRIDAY % (15 * SECOND)
    known = opens + 15 * SECOND + 2 * SECOND + after
    trades = {
        "ts_event": np.array([opens, opens + SECOND, opens + 58 * SECOND]),
        "ts_known": np.array([opens, known, opens + 60 * SECOND]),
        "price": np.array([10.0, 11.0, 12.0]),
        "size": np.ones(3),
    }
    pieces, rule = trades_as_pieces(trades, "t"), parse_bar_rule("15s")

    made = aggregate(pieces, rule, CALENDARS["24/7"], grace_ns=2 * SECOND, late=LatePolicy.DROP)
    bars, left_out = one_by_one(pieces, rule, "24/7", 2 * SECOND)

    assert made.late == left_out == late
    assert made.columns["close"].tolist()[0] == bars[0].close == 11.0 - late
    assert int(made.columns["ts_known"][0]) == opens + 17 * SECOND
    if late:
        with pytest.raises(DataError, match=r"1 row came after .* grace of 2\.000000001 s"):
            aggregate(pieces, rule, CALENDARS["24/7"], grace_ns=2 * SECOND)
