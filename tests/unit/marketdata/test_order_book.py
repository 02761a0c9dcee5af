"""The depth of a venue, against a dict, and the numbering of its updates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_spot
from onetape.domain.market import BookDelta
from onetape.marketdata.order_book import BookSync, NumberedUpdate, OrderBook
from onetape.marketdata.standing_book import StandingBook

CHANGES = st.lists(st.tuples(st.booleans(), st.integers(1, 12), st.integers(0, 3)), max_size=60)


@given(CHANGES)
def test_book_equals_a_plain_mapping_of_levels(changes: list[tuple[bool, int, int]]) -> None:
    book = OrderBook()
    naive: dict[bool, dict[int, int]] = {True: {}, False: {}}
    for number, (is_bid, ticks, lots) in enumerate(changes):
        delta = BookDelta(
            instrument=InstrumentId("BTC-USD.TEST"), ts_event=0, ts_known=0, is_bid=is_bid,
            price=ticks * 0.1, size=lots * 0.001, update_id=number,
        )  # fmt: skip
        book.apply(delta, 0.1, 0.001)
        naive[is_bid][ticks] = lots
        left = {side: {at: size for at, size in naive[side].items() if size} for side in naive}
        for side in (True, False):
            ordered = sorted(left[side].items(), reverse=side)
            assert book.levels(is_bid=side, count=5) == ordered[:5]
            assert book.best(is_bid=side) == (ordered[0] if ordered else None)
            assert all(book.lots_at(at, is_bid=side) == left[side].get(at, 0) for at in range(14))
        is_crossed = bool(left[True] and left[False]) and max(left[True]) >= min(left[False])
        assert book.is_crossed == is_crossed
        assert book.update_id == number


@pytest.mark.parametrize(
    ("size", "lots"), [(0.0004, 0), (0.0006, 0), (0.0019, 1), (0.3, 300), (0.3 - 1e-12, 300)]
)
def test_size_between_lots_counts_its_whole_lots_in_every_book(size: float, lots: int) -> None:
    """Nobody can take the rest; what float64 makes of a whole size is whole."""
    coin = make_spot("BTC-USD.TEST", base="BTC", quote="USD", tick_size="0.1", lot_size="0.001")
    book, standing = OrderBook(), StandingBook(coin)
    delta = BookDelta(instrument=coin.id, ts_event=0, ts_known=0, is_bid=True, price=10.0,
                      size=size)  # fmt: skip
    book.apply(delta, coin.tick_float, coin.lot_float)
    standing.change(10.0, size, is_bid=True)
    assert book.levels(is_bid=True, count=1) == ([(100, lots)] if lots else [])
    assert list(standing.levels()) == ([(True, 100, lots, 10.0)] if lots else [])


def test_level_of_negative_size_is_refused() -> None:
    with pytest.raises(DataError, match="a level of -1 lots"):
        OrderBook().set_level(is_bid=True, ticks=1, lots=-1)


def update(first: int, last: int, ticks: int) -> NumberedUpdate:
    return NumberedUpdate(first, last, [(ticks, last)], [])


def test_updates_wait_for_the_snapshot_and_those_that_it_holds_are_dropped() -> None:
    sync = BookSync()
    assert [sync.follow(update(first, first + 4, 1)) for first in (1, 6, 11)] == [False] * 3
    sync.take_snapshot([(5, 50)], [(6, 60)], 8)
    assert sync.is_synced
    assert sync.book.update_id == 15
    assert sync.book.levels(is_bid=True, count=9) == [(5, 50), (1, 15)]
    assert not sync.follow(update(11, 15, 2))
    assert sync.follow(update(16, 16, 2))


def test_gap_waits_for_a_new_snapshot() -> None:
    sync = BookSync()
    sync.take_snapshot([(5, 50)], [], 10)
    assert not sync.follow(update(12, 13, 1))
    assert (sync.gaps, sync.is_synced) == (1, False)
    assert not sync.follow(update(14, 15, 2))
    sync.take_snapshot([(4, 40)], [], 13)
    assert sync.is_synced
    assert sync.book.levels(is_bid=True, count=9) == [(4, 40), (2, 15)]
