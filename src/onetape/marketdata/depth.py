"""What stands at a venue at a row of its market data: the newest quote, or the levels of the book.

The rows are those of a timeline (`recorded_depth`) or come one by one (`live_depth`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

from onetape.domain.instrument import Instrument
from onetape.domain.market import TickKind
from onetape.domain.numbers import compute_ticks
from onetape.marketdata.order_book import OrderBook, to_level

_DELTA = TickKind.DELTA.value


class Depth(ABC):
    """One instrument at one of its rows; it only goes forward. Whole ticks and lots.

    A price that hits us is rounded against us where it is off the grid, a size is rounded down.

    Args:
        instrument: Whose.
        has_quotes: Whether the rows are more than prints.
        has_levels: Whether they tell more than the best price of a side.

    Attributes:
        row: The newest row that is in it; -1 before any.
        what: What that row is, a `TickKind`; -1 before any.
        is_late: Whether it was known later than it happened.
        is_whole: Whether no more of the same update follows.
        has_quotes: As given.
    """

    __slots__ = (
        "_book", "_changed", "_instrument", "_rest", "has_quotes", "is_late", "is_whole", "row",
        "what",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, *, has_quotes: bool, has_levels: bool) -> None:
        self._instrument = instrument
        self._book = OrderBook() if has_levels else None
        self._rest: dict[tuple[bool, int], int] = {}
        self._changed: dict[tuple[bool, int], int] = {}
        self.has_quotes = has_quotes
        self.row = -1
        self.what: int = -1
        self.is_late = False
        self.is_whole = True

    @property
    def has_levels(self) -> bool:
        """Whether it tells more than the best price of a side."""
        return self._book is not None

    @abstractmethod
    def sync(self, row: int) -> None:
        """Go to the newest row of the instrument up to `row` of the session."""

    @abstractmethod
    def step(self) -> None:
        """Go on by one row."""

    @abstractmethod
    def _tell(self, name: str) -> float:
        """A column of the newest row."""

    @abstractmethod
    def _find_quote(self) -> int:
        """The newest row that is a quote; -1 before any."""

    def _follow(self) -> None:
        """Have a change of the depth, the newest row, in the levels."""
        if self.what != _DELTA or self._book is None:
            return
        one, size = self._instrument, self._tell("size")
        ticks, lots = to_level(self._tell("price"), size, one.tick_float, one.lot_float)
        rest = compute_ticks(size, one.lot_float, 1) - lots
        self._set_level(self._book, (self._tell("side") > 0, ticks), lots, rest, self.row)

    def _set_level(
        self, book: OrderBook, level: tuple[bool, int], lots: int, rest: int, row: int
    ) -> None:
        """A level (is_bid, ticks) has so many lots and a `rest` of one since `row`."""
        book.set_level(is_bid=level[0], ticks=level[1], lots=lots)
        if lots or rest:
            self._rest[level], self._changed[level] = rest, row
        else:  # nobody asks for it before it is told again
            self._rest.pop(level, None)
            self._changed.pop(level, None)

    def trade(self) -> tuple[float, int, int]:
        """(price in ticks, lots, aggressor) of the newest row, a print."""
        one = self._instrument
        lots = compute_ticks(self._tell("size"), one.lot_float, -1)
        return self._tell("price") / one.tick_float, lots, int(self._tell("side"))

    def mark(self) -> float:
        """The mark, in ticks; not rounded."""
        return self._tell("close") / self._instrument.tick_float

    def best(self, *, is_bid: bool) -> tuple[int, int] | None:
        """(ticks, lots) of the best level of a side; None where it is empty."""
        if self._book is not None:
            return self._book.best(is_bid=is_bid)
        if self.row < 0:
            return None
        one, name = self._instrument, "bid" if is_bid else "ask"
        lots = compute_ticks(self._tell(f"{name}_size"), one.lot_float, -1)
        if lots <= 0:
            return None
        return compute_ticks(self._tell(name), one.tick_float, -1 if is_bid else 1), lots

    def levels(self, *, is_bid: bool) -> Iterator[tuple[int, int]]:
        """(ticks, lots) of a side, the best first; of a quote only that."""
        if self._book is not None:
            yield from self._book.iterate(is_bid=is_bid)
            return
        best = self.best(is_bid=is_bid)
        if best is not None:
            yield best

    def lots_at(self, ticks: int, *, is_bid: bool) -> int | None:
        """Size of a level; None where that is not known: behind the best price of a quote.

        Of a level of the book rounded up, since it is asked for by those who stand behind it.
        """
        if self._book is not None:
            return self._book.lots_at(ticks, is_bid=is_bid) + self._rest.get((is_bid, ticks), 0)
        best = self.best(is_bid=is_bid)
        if best is None:
            return None
        if best[0] == ticks:
            return best[1]
        is_inside = (ticks > best[0]) is is_bid
        return 0 if is_inside else None

    def stamp(self, ticks: int, *, is_bid: bool) -> int:
        """The row that has told the size of a level; another row tells another size."""
        if self._book is not None:
            return self._changed.get((is_bid, ticks), -1)
        return self._find_quote()
