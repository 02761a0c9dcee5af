"""Timelines of quotes and of the depth: shapes, standing sides, marks, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.market import BookDelta, QuoteTick, TickBlock, TradeTick
from onetape.marketdata.order_book import OrderBook
from onetape.marketdata.recorded_depth import RecordedDepth
from onetape.marketdata.tick_timeline import build_book_timeline, build_quote_timeline
from onetape.research.perturbation import Change, Perturbation, Perturber
from tests.support.ticks import make_book_timeline, make_deltas, make_quote_timeline, make_quotes
from tests.support.timelines import AAPL, EQUITY, MSFT, OTHER, SECOND, T0, make_prints


def test_quote_rows_are_heard_as_quotes_and_prints_between_them_as_trades() -> None:
    timeline = make_quote_timeline(
        [(99.0, 101.0), (100.0, 102.0, 3.0, 4.0)], prints=([100.5], [SECOND // 2])
    )
    (block,) = timeline.blocks(10)
    assert isinstance(block, TickBlock)
    assert list(block.events()) == [block.event(row) for row in range(3)]
    first, trade, second = block.events()
    assert first == QuoteTick(
        instrument=AAPL, ts_event=T0, ts_known=T0, bid=99.0, ask=101.0, bid_size=1e6,
        ask_size=1e6, source="test",
    )  # fmt: skip
    assert isinstance(trade, TradeTick)
    assert (trade.price, trade.ts_event) == (100.5, T0 + SECOND // 2)
    assert isinstance(second, QuoteTick)
    assert (second.bid_size, second.ask_size) == (3.0, 4.0)
    assert timeline.columns["bid"].tolist() == [99.0, 99.0, 100.0]
    assert timeline.columns["close"].tolist() == [100.0, 100.0, 101.0]
    assert timeline.columns["volume"].tolist() == [0.0, 1e9, 0.0]
    assert (timeline.kind, timeline.timeframe) == ("quotes", "quotes")


def test_mark_keeps_the_last_middle_where_a_side_is_empty() -> None:
    rows = [(99.0, 0.0, 5.0, 0.0), (99.0, 101.0), (98.0, 7.0, 1.0, 0.0)]
    timeline = make_quote_timeline(rows)
    assert timeline.columns["close"].tolist() == [99.0, 100.0, 100.0]
    assert timeline.columns["ask"].tolist() == [0.0, 101.0, 0.0]


def test_prints_of_the_time_of_a_quote_come_before_it() -> None:
    timeline = make_quote_timeline([(99.0, 101.0), (100.0, 102.0)], prints=([101.0], [SECOND]))
    assert timeline.columns["what"].tolist() == [0, 1, 0]


def test_an_update_of_several_levels_stands_when_it_is_whole() -> None:
    deltas = make_deltas(
        [(0, 1, 99.0, 5), (0, 0, 101.0, 5), (1, 0, 101.0, 0), (1, 1, 101.0, 2), (1, 0, 102.0, 4)]
    )
    timeline = make_book_timeline(deltas)
    assert timeline.columns["is_whole"].tolist() == [0, 1, 0, 0, 1]
    assert timeline.columns["bid"].tolist() == [0.0, 99.0, 99.0, 99.0, 101.0]
    assert timeline.columns["ask"].tolist() == [0.0, 101.0, 101.0, 101.0, 102.0]
    assert timeline.columns["close"].tolist()[1:] == [100.0, 100.0, 100.0, 101.5]
    (block,) = timeline.blocks(9)
    event = block.event(3)
    assert isinstance(event, BookDelta)
    assert (event.is_bid, event.price, event.size) == (True, 101.0, 2.0)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4), st.integers(0, 5)), min_size=1))
def test_standing_sides_are_those_of_a_book(changes: list[tuple[bool, int, int]]) -> None:
    rows = [
        (at, int(is_bid), 100.0 + (-step if is_bid else step), lots)
        for at, (is_bid, step, lots) in enumerate(changes)
    ]
    rows = [(0, 1, 90.0, 1), *((at + 1, *rest) for at, *rest in rows)]
    timeline = make_book_timeline(make_deltas(rows))
    book = OrderBook()
    for row, (_, is_bid, price, lots) in enumerate(rows):
        book.set_level(is_bid=bool(is_bid), ticks=round(price * 100), lots=lots)
        for side, name in ((True, "bid"), (False, "ask")):
            ticks, size = book.best(is_bid=side) or (0, 0)
            assert timeline.columns[name][row] == ticks / 100
            assert timeline.columns[f"{name}_size"][row] == size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bid": np.array([102.0])}, "bid is above its ask"),
        ({"bid_size": np.array([-1.0])}, "bid_size is negative"),
        ({"ask": np.array([np.inf])}, "ask is negative or not finite"),
        ({"ts_known": np.array([T0 - 1])}, "known before it happened"),
        ({"ask": np.array([100])}, "column 'ask' is not float64"),
        ({"asks": np.array([100.0])}, "no column 'asks'"),
        ({"bid_size": np.array([0.0]), "ask_size": np.array([0.0])}, "without a price"),
    ],
)
def test_quotes_that_can_not_be_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_quote_timeline([(EQUITY, make_quotes([(99.0, 101.0)]) | change)], source="test")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, 1, 99.0, 1), (0, 0, 99.0, 1)], "depth is crossed"),
        ([(0, 1, 99.001, 1)], "price is no multiple of 0.01"),
        ([(0, 2, 99.0, 1)], "of no side"),
    ],
)
def test_depth_that_can_not_be_is_refused(rows: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        build_book_timeline([(EQUITY, make_deltas(rows))], source="test")


def test_level_of_less_than_a_lot_is_none_and_a_queue_is_rounded_up() -> None:
    timeline = make_book_timeline(make_deltas([(0, 1, 99.0, 0.5), (0, 1, 98.0, 2.5)]))
    assert timeline.columns["bid"].tolist()[-1] == 98.0
    depth = RecordedDepth(EQUITY, timeline.columns, timeline.rows_of(AAPL), has_levels=True)
    depth.sync(1)
    assert depth.best(is_bid=True) == (9800, 2)
    assert depth.lots_at(9800, is_bid=True) == 3


def test_prints_that_are_known_out_of_order_or_of_nobody_are_refused() -> None:
    quotes = make_quotes([(99.0, 101.0), (99.0, 101.0)])
    late = make_prints([100.0], at=[0], delay=2 * SECOND)
    with pytest.raises(DataError, match="known after a later one"):
        build_quote_timeline([(EQUITY, quotes)], source="test", trades={AAPL: late})
    with pytest.raises(DataError, match=r"prints of MSFT\.XNAS, which has no quotes"):
        build_quote_timeline([(EQUITY, quotes)], source="test", trades={MSFT: late})


def test_two_instruments_keep_their_own_sides() -> None:
    timeline = build_quote_timeline(
        [(EQUITY, make_quotes([(99.0, 101.0)] * 2)), (OTHER, make_quotes([(49.0, 51.0)] * 2))],
        source="test",
    )
    assert timeline.instrument_index.tolist() == [0, 1, 0, 1]
    assert timeline.columns["close"].tolist() == [100.0, 50.0, 100.0, 50.0]
    assert timeline.slice_end.tolist() == [False, True, False, True]


def test_changed_depth_is_a_book_and_its_past_is_the_same() -> None:
    rows = [(at, at % 2, 101.0 - 2 * (at % 2), 5 + at) for at in range(12)]
    timeline = make_book_timeline(make_deltas(rows), prints=([100.0] * 3, [SECOND * 3 + 1] * 3))
    perturber = Perturber(timeline)
    changed = perturber.apply(Perturbation(Change.CHANGED), 6)
    for name, column in timeline.columns.items():
        assert changed.columns[name][:6].tolist() == column[:6].tolist(), name
    assert changed.columns["ask_size"][-1] != timeline.columns["ask_size"][-1]
    thinned = perturber.apply(Perturbation(Change.GAPS), 0)
    assert (thinned.columns["what"] == 2).sum() == 12
