"""The rows of a session: all of them (a `Timeline`), or those that a live session has got so far.

A live session holds the rows of its newest time slice only; what is older lives on in the marks,
histories and features that it moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, overload

import numpy as np

from onetape.domain.instrument import Instrument
from onetape.domain.legs import make_legs
from onetape.domain.market import BAR_FLOAT_COLUMNS, BAR_INT_COLUMNS, BarBlock
from onetape.domain.venue import BarClosed
from onetape.marketdata.timeline import TimelineKind

T = TypeVar("T")


class SessionRows(Protocol):
    """What the stages of a session ask of its rows.

    Attributes:
        kind: What the rows are.
        instruments: In the order that breaks ties.
        legs: Both legs of each where positions are held as legs; else none.
    """

    kind: TimelineKind
    instruments: tuple[Instrument, ...]
    legs: tuple[Instrument, ...]

    @property
    def tradable(self) -> tuple[Instrument, ...]:
        """Everything of which there can be a position: `instruments`, then `legs`."""
        ...

    @property
    def row_ends(self) -> Sequence[bool]:
        """Whether each row is the last of its time slice."""
        ...

    @property
    def row_owners(self) -> Sequence[int]:
        """Position of the instrument of each row."""
        ...

    def find_slice_end(self, row: int) -> int:
        """The first row from `row` on that ends a time slice."""
        ...


class SliceWindow(Sequence[T]):
    """Values of the rows of the newest slice, found by the number of the row in the session."""

    def __init__(self) -> None:
        self._first = 0
        self._values: list[T] = []

    def begin(self, first_row: int, values: list[T]) -> None:
        """From now on it holds these, of the rows from `first_row` on."""
        self._first = first_row
        self._values = values

    def __len__(self) -> int:
        return self._first + len(self._values)

    @overload
    def __getitem__(self, row: int, /) -> T: ...
    @overload
    def __getitem__(self, row: slice, /) -> list[T]: ...
    def __getitem__(self, row: int | slice, /) -> T | list[T]:
        first = self._first
        if isinstance(row, slice):
            start, stop, _ = row.indices(len(self))
            if start < min(first, stop):
                raise IndexError(f"row {start} is before the newest slice, from {first} on")
            return self._values[start - first : stop - first] if start < stop else []
        if row < first:
            raise IndexError(f"row {row} is before the newest slice, from {first} on")
        return self._values[row - first]


class LiveRows:
    """Rows as they come, a time slice after the other.

    Args:
        instruments: In the order that breaks ties.
        timeframe: Length of the bars.
        source: Provenance, as bars tell it.
        has_legs: Positions are held as legs.

    Attributes:
        total: How many rows have come.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        timeframe: str,
        source: str,
        *,
        has_legs: bool = False,
    ) -> None:
        self.kind: TimelineKind = "bars"
        self.instruments = tuple(instruments)
        self.legs = make_legs(instruments) if has_legs else ()
        self.timeframe = timeframe
        self.source = source
        self.total = 0
        self.row_ends = SliceWindow[bool]()
        self.row_owners = SliceWindow[int]()
        self._index = {each.id: at for at, each in enumerate(instruments)}

    @property
    def tradable(self) -> tuple[Instrument, ...]:
        """Everything of which there can be a position: `instruments`, then `legs`."""
        return (*self.instruments, *self.legs)

    def order(self, bars: Sequence[BarClosed]) -> list[BarClosed]:
        """Bars of one slice in the order of their rows."""
        return sorted(bars, key=lambda each: self._index[each.instrument])

    def find_slice_end(self, row: int) -> int:
        """The first row from `row` on that ends a time slice."""
        return self.row_ends.index(True, row)

    def add(self, bars: Sequence[BarClosed]) -> tuple[BarBlock, list[int]]:
        """Take the bars of the next slice, at least one, ordered; their block and owners."""
        owners = [self._index[each.instrument] for each in bars]
        self.row_owners.begin(self.total, owners)
        self.row_ends.begin(self.total, [False] * (len(bars) - 1) + [True])
        self.total += len(bars)
        columns: dict[str, np.ndarray[Any, Any]] = {
            name: np.array([getattr(each, name) for each in bars], dtype=np.int64)
            for name in BAR_INT_COLUMNS
        }
        for name in BAR_FLOAT_COLUMNS:
            columns[name] = np.array([getattr(each, name) for each in bars], dtype=np.float64)
        ids = [each.instrument for each in bars]
        return BarBlock(ids, columns, self.source, self.timeframe), owners
