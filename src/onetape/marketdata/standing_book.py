"""The levels of a depth that stand, with their prices as they came."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from onetape.domain.instrument import Instrument
from onetape.marketdata.order_book import OrderBook, to_level

StandingLevel = tuple[bool, int, int, float]
"""A level: (is_bid, ticks, lots, price as it came)."""


class StandingBook:
    """Levels of one instrument, changed by price (currency) and size (units)."""

    __slots__ = ("_book", "_fed", "_lot", "_tick")

    def __init__(self, instrument: Instrument) -> None:
        self._tick = instrument.tick_float
        self._lot = instrument.lot_float
        self._book = OrderBook()
        self._fed: dict[int, float] = {}

    @property
    def is_crossed(self) -> bool:
        """Whether the best bid is at the best ask or above: such a book can't be."""
        return self._book.is_crossed

    def change(self, price: float, size: float, *, is_bid: bool) -> None:
        """The size of a level is now `size`; 0 removes it.

        Raises:
            DataError: The size is negative.
        """
        book = self._book
        ticks, lots = to_level(price, size, self._tick, self._lot)
        book.set_level(is_bid=is_bid, ticks=ticks, lots=lots)
        if lots or book.lots_at(ticks, is_bid=not is_bid):
            self._fed[ticks] = price
        else:
            self._fed.pop(ticks, None)

    def tops(self) -> tuple[float, float, float, float]:
        """Best bid and ask, and their sizes; zeros where a side is empty."""
        bid, bid_lots = self._book.best(is_bid=True) or (0, 0)
        ask, ask_lots = self._book.best(is_bid=False) or (0, 0)
        return (
            self._fed[bid] if bid_lots else 0.0, self._fed[ask] if ask_lots else 0.0,
            bid_lots * self._lot, ask_lots * self._lot,
        )  # fmt: skip

    def levels(self) -> Iterator[StandingLevel]:
        """Every level, bids before asks, the best of a side first; the book must not change."""
        for is_bid in (True, False):
            for ticks, lots in self._book.iterate(is_bid=is_bid):
                yield is_bid, ticks, lots, self._fed[ticks]

    def load(self, levels: Iterable[StandingLevel]) -> None:
        """Take over levels of `levels`, into an empty book."""
        for is_bid, ticks, lots, price in levels:
            self._book.set_level(is_bid=is_bid, ticks=ticks, lots=lots)
            self._fed[ticks] = price
