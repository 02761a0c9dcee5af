"""What stands at a venue while ticks come: what `Depth` tells of a timeline of the same ticks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.market import TickKind
from onetape.domain.numbers import compute_ticks
from onetape.marketdata.order_book import OrderBook
from onetape.marketdata.standing_ticks import TickRow

_QUOTE, _DELTA = TickKind.QUOTE.value, TickKind.DELTA.value


class LiveDepthState(msgspec.Struct, frozen=True, array_like=True):
    """What a `LiveDepth` remembers when it is at its newest row.

    `levels` of the depth: (is_bid, ticks, lots, rest of a lot, row that has told it).
    """

    row: int
    quote_row: int
    newest: TickRow | None
    levels: list[tuple[bool, int, int, int, int]]


class LiveDepth:
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
        "_book", "_changed", "_coming", "_instrument", "_newest", "_quote_row", "_rest",
        "has_quotes", "is_late", "is_whole", "row", "what",
    )  # fmt: skip

    def __init__(self, instrument: Instrument, *, has_quotes: bool, has_levels: bool) -> None:
        self._instrument = instrument
        self._book = OrderBook() if has_levels else None
        self._coming: deque[tuple[int, TickRow]] = deque()
        self._newest: TickRow | None = None
        self._quote_row = -1
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

    def expect(self, row: int, tick: TickRow) -> None:
        """A row that it will come to."""
        self._coming.append((row, tick))

    def sync(self, row: int) -> None:
        """Go to the newest row of the instrument up to `row` of the session."""
        while self._coming and self._coming[0][0] <= row:
            self.step()

    def step(self) -> None:
        """Go on by one row."""
        self.row, tick = self._coming.popleft()
        self._stand_at(tick)
        if self.what == _QUOTE:
            self._quote_row = self.row
        elif self.what == _DELTA and self._book is not None:
            one, is_bid = self._instrument, tick.side > 0
            ticks = round(tick.price / one.tick_float)
            lots = compute_ticks(tick.size, one.lot_float, -1)
            rest = compute_ticks(tick.size, one.lot_float, 1) - lots
            self._set_level(is_bid, ticks, lots, rest, self.row)

    def _stand_at(self, tick: TickRow) -> None:
        self._newest = tick
        self.what = tick.what
        self.is_late = tick.ts_known != tick.ts_event
        self.is_whole = tick.is_whole != 0

    def _set_level(self, is_bid: bool, ticks: int, lots: int, rest: int, row: int) -> None:
        if self._book is None:
            return
        self._book.set_level(is_bid=is_bid, ticks=ticks, lots=lots)
        level = (is_bid, ticks)
        if lots or rest:
            self._rest[level], self._changed[level] = rest, row
        else:  # nobody asks for it before it is told again
            self._rest.pop(level, None)
            self._changed.pop(level, None)

    def trade(self) -> tuple[float, int, int]:
        """(price in ticks, lots, aggressor) of the newest row, a print."""
        tick, one = self._row, self._instrument
        return (
            tick.price / one.tick_float, compute_ticks(tick.size, one.lot_float, -1), tick.side
        )  # fmt: skip

    def mark(self) -> float:
        """The mark, in ticks; not rounded."""
        return self._row.close / self._instrument.tick_float

    @property
    def _row(self) -> TickRow:
        if self._newest is None:
            raise LookupError(f"{self._instrument.id} has no tick yet")
        return self._newest

    def best(self, *, is_bid: bool) -> tuple[int, int] | None:
        """(ticks, lots) of the best level of a side; None where it is empty."""
        if self._book is not None:
            return self._book.best(is_bid=is_bid)
        tick, one = self._newest, self._instrument
        if tick is None:
            return None
        price, size = (tick.bid, tick.bid_size) if is_bid else (tick.ask, tick.ask_size)
        lots = compute_ticks(size, one.lot_float, -1)
        if lots <= 0:
            return None
        return compute_ticks(price, one.tick_float, -1 if is_bid else 1), lots

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
        return self._quote_row

    def save(self) -> LiveDepthState:
        """What is needed to go on from here; at its newest row."""
        levels = [] if self._book is None else [
            (is_bid, ticks, self._book.lots_at(ticks, is_bid=is_bid), rest,
             self._changed[is_bid, ticks])
            for (is_bid, ticks), rest in sorted(self._rest.items())
        ]  # fmt: skip
        return LiveDepthState(self.row, self._quote_row, self._newest, levels)

    def load(self, state: LiveDepthState) -> None:
        """Go on where `state` was saved."""
        self.row, self._quote_row = state.row, state.quote_row
        if state.newest is not None:
            self._stand_at(state.newest)
        for level in state.levels:
            self._set_level(*level)
