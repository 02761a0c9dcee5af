"""What stands at a venue at a row of a timeline: the newest quote, or the levels of the book."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import Instrument
from onetape.domain.market import TickKind
from onetape.domain.numbers import compute_ticks
from onetape.marketdata.order_book import OrderBook

_QUOTE, _PRINT, _DELTA = TickKind.QUOTE.value, TickKind.PRINT.value, TickKind.DELTA.value


class Depth:
    """One instrument at one of its rows; it only goes forward. Whole ticks and lots.

    A price that hits us is rounded against us where it is off the grid, a size is rounded down.

    Args:
        instrument: Whose.
        columns: Of the whole timeline: of quotes or depth, or of prints alone.
        rows: The rows of the instrument, rising.
        has_levels: Whether there are changes of the depth among them.

    Attributes:
        row: The newest row that is in it; -1 before any.
        what: What that row is, a `TickKind`; -1 before any.
        ts_event: When it happened (ns UTC); -1 before any.
        is_late: Whether it was known later than it happened.
        is_whole: Whether no more of the same update follows.
        has_quotes: Whether the rows are more than prints.
    """

    __slots__ = (
        "_at", "_book", "_changed", "_columns", "_instrument", "_quote", "_rest", "_rows",
        "has_quotes", "is_late", "is_whole", "row", "ts_event", "what",
    )  # fmt: skip

    def __init__(
        self,
        instrument: Instrument,
        columns: Mapping[str, npt.NDArray[Any]],
        rows: npt.NDArray[np.int64],
        *,
        has_levels: bool = False,
    ) -> None:
        self.has_quotes = "what" in columns
        if not self.has_quotes:
            bare = dict.fromkeys(("bid", "ask", "bid_size", "ask_size"), np.float64(0.0))
            told = {**bare, "is_whole": np.int64(1), "what": np.int64(_PRINT)}
            shape = columns["ts_event"].shape
            same = {name: np.broadcast_to(value, shape) for name, value in told.items()}
            columns = {**columns, **same, "side": columns["aggressor"]}
        self._instrument = instrument
        self._columns: Mapping[str, npt.NDArray[Any]] = columns
        self._rows: Sequence[int] = rows.data
        self._book = OrderBook() if has_levels else None
        self._quote = (-1, -1)
        self._rest: dict[tuple[bool, int], int] = {}
        self._changed: dict[tuple[bool, int], int] = {}
        self._at = -1
        self.row = -1
        self.what: int = -1
        self.ts_event: int = -1
        self.is_late = False
        self.is_whole = True

    @property
    def has_levels(self) -> bool:
        """Whether it tells more than the best price of a side."""
        return self._book is not None

    def sync(self, row: int) -> None:
        """Go to the newest row of the instrument up to `row` of the timeline."""
        if self._book is None:
            at = self._at
            stop = bisect_right(self._rows, row) - 1
            if stop > at:
                self._at = stop - 1
                self.step()
            return
        while self._at + 1 < len(self._rows) and self._rows[self._at + 1] <= row:
            self.step()

    def step(self) -> None:
        """Go on by one row."""
        self._at += 1
        columns = self._columns
        self.row = row = self._rows[self._at]
        self.what = int(columns["what"].item(row))
        self.ts_event = int(columns["ts_event"].item(row))
        self.is_late = columns["ts_known"].item(row) != self.ts_event
        self.is_whole = columns["is_whole"].item(row) != 0
        if self.what == _DELTA and self._book is not None:
            is_bid, ticks, lots = self.change()
            self._book.set_level(is_bid=is_bid, ticks=ticks, lots=lots)
            self._changed[is_bid, ticks] = row
            size, lot = columns["size"].item(row), self._instrument.lot_float
            self._rest[is_bid, ticks] = compute_ticks(size, lot, 1) - lots

    def change(self) -> tuple[bool, int, int]:
        """(is_bid, ticks, lots) of the newest row, a change of the depth."""
        columns, row = self._columns, self.row
        ticks = round(columns["price"].item(row) / self._instrument.tick_float)
        lots = compute_ticks(columns["size"].item(row), self._instrument.lot_float, -1)
        return columns["side"].item(row) > 0, ticks, lots

    def trade(self) -> tuple[float, int, int]:
        """(price in ticks, lots, aggressor) of the newest row, a print."""
        columns, row = self._columns, self.row
        price = columns["price"].item(row) / self._instrument.tick_float
        lots = compute_ticks(columns["size"].item(row), self._instrument.lot_float, -1)
        return price, lots, int(columns["side"].item(row))

    def mark(self) -> float:
        """The mark, in ticks; not rounded."""
        return self._columns["close"].item(self.row) / self._instrument.tick_float

    def best(self, *, is_bid: bool) -> tuple[int, int] | None:
        """(ticks, lots) of the best level of a side; None where it is empty."""
        if self._book is not None:
            return self._book.best(is_bid=is_bid)
        if self.row < 0:
            return None
        name = "bid" if is_bid else "ask"
        columns, row = self._columns, self.row
        lots = compute_ticks(columns[f"{name}_size"].item(row), self._instrument.lot_float, -1)
        if lots <= 0:
            return None
        side = -1 if is_bid else 1
        return compute_ticks(columns[name].item(row), self._instrument.tick_float, side), lots

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
            rest = self._rest.get((is_bid, ticks), 0)
            return self._book.lots_at(ticks, is_bid=is_bid) + rest
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
        found, seen = self._quote  # the newest quote, and up to where it was looked for
        what = self._columns["what"]
        for at in range(self._at, seen, -1):
            if what.item(self._rows[at]) == _QUOTE:
                found = self._rows[at]
                break
        self._quote = (found, self._at)
        return found
