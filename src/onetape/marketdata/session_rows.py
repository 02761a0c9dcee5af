"""The rows of a session: all of them (a `Timeline`), or those that a live session has got so far.

A live session holds the rows of its newest time slice only; what is older lives on in the marks,
histories and features that it moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, overload

import numpy as np

from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import Instrument
from onetape.domain.legs import make_legs
from onetape.domain.market import (
    BAR_FLOAT_COLUMNS,
    BAR_INT_COLUMNS,
    BOOK,
    QUOTES,
    TICK_FLOAT_COLUMNS,
    TICK_INT_COLUMNS,
    TRADE_FLOAT_COLUMNS,
    TRADE_INT_COLUMNS,
    TRADES,
    BarBlock,
    BookDelta,
    ContractStep,
    TickBlock,
    TradeBlock,
    TradeTick,
)
from onetape.domain.venue import BarClosed, RowHeard, TickHeard
from onetape.marketdata.standing_ticks import (
    StandingState,
    StandingTicks,
    TickRow,
    is_same_update,
    make_print_row,
)
from onetape.marketdata.timeline import TimelineKind

BAR_ROW = (*BAR_INT_COLUMNS, *BAR_FLOAT_COLUMNS)
TRADE_ROW = tuple(dict.fromkeys((*TRADE_INT_COLUMNS, *TRADE_FLOAT_COLUMNS, *BAR_ROW)))
TICK_ROW = tuple(dict.fromkeys((*TICK_INT_COLUMNS, *TICK_FLOAT_COLUMNS, *BAR_ROW)))

T = TypeVar("T")


class SessionRows(Protocol):
    """What the stages of a session ask of its rows.

    Attributes:
        kind: What the rows are.
        instruments: In the order that breaks ties.
        steps: What happens to contracts between them, and when trading is halted.
        legs: Both legs of each where positions are held as legs; else none.
    """

    kind: TimelineKind
    instruments: tuple[Instrument, ...]
    steps: tuple[ContractStep, ...]
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


Row = BarClosed | TickRow
"""A row as marks, histories and features read it."""


class RowSlice(NamedTuple):
    """The rows of a time slice: as they were heard, as they are read, and as strategies hear them.

    `owners` are the positions of their instruments.
    """

    heard: Sequence[RowHeard]
    rows: Sequence[Row]
    block: BarBlock
    owners: list[int]


class LiveRows:
    """Rows as they come, a time slice after the other.

    Args:
        instruments: In the order that breaks ties.
        timeframe: Length of the bars; of ticks as a configuration says it.
        source: Provenance, as strategies see it.
        has_legs: Positions are held as legs.

    Attributes:
        kind: What the rows are.
        timeframe: As rows tell it.
        columns: Numbers that each row has.
        steps: Trading statuses and the like: none.
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
        what = timeframe.partition("+")[0]
        self.kind: TimelineKind = _KINDS.get(what, "bars")
        self.columns = {"bars": BAR_ROW, "trades": TRADE_ROW}.get(self.kind, TICK_ROW)
        self.instruments = tuple(instruments)
        self.legs = make_legs(instruments) if has_legs else ()
        self.timeframe = what
        self.source = source
        self.steps: tuple[ContractStep, ...] = ()
        self.total = 0
        self.row_ends = SliceWindow[bool]()
        self.row_owners = SliceWindow[int]()
        self._index = {each.id: at for at, each in enumerate(instruments)}
        self._standing = [StandingTicks(each) for each in instruments]

    @property
    def tradable(self) -> tuple[Instrument, ...]:
        """Everything of which there can be a position: `instruments`, then `legs`."""
        return (*self.instruments, *self.legs)

    def take(self, heard: Sequence[RowHeard]) -> RowSlice:
        """Take the rows of the next slice, at least one."""
        bars = [each for each in heard if isinstance(each, BarClosed)]
        ticks = [each for each in heard if isinstance(each, TickHeard)]
        if (ticks if self.kind == "bars" else bars) or not heard:
            raise InvariantBroken(f"{len(bars)} bars and {len(ticks)} ticks are a slice of "
                                  f"{self.kind}")  # fmt: skip
        if bars:
            bars = sorted(bars, key=lambda each: self._index[each.instrument])
            return self._begin(bars, bars)
        # As in a timeline, of one time the prints of an instrument come first.
        ticks = sorted(ticks, key=lambda each: (self._index[each.instrument],
                                                not isinstance(each.tick, TradeTick)))  # fmt: skip
        return self._begin(ticks, self._follow(ticks))

    def find_slice_end(self, row: int) -> int:
        """The first row from `row` on that ends a time slice."""
        return self.row_ends.index(True, row)

    def _follow(self, ticks: Sequence[TickHeard]) -> list[TickRow]:
        if self.kind == "trades":
            return [make_print_row(each) for each in ticks]
        following = [*(each.tick for each in ticks[1:]), None]
        return [
            self._standing[self._index[each.instrument]].follow(
                each, is_whole=not is_same_update(each.tick, after)
            )
            for each, after in zip(ticks, following, strict=True)
        ]

    def _begin(self, heard: Sequence[RowHeard], rows: Sequence[Row]) -> RowSlice:
        owners = [self._index[each.instrument] for each in rows]
        self.row_owners.begin(self.total, owners)
        self.row_ends.begin(self.total, [False] * (len(owners) - 1) + [True])
        self.total += len(owners)
        columns: dict[str, np.ndarray[Any, Any]] = {
            name: np.array([getattr(each, name) for each in rows], dtype=_TYPES[name])
            for name in self.columns
        }
        ids = [each.instrument for each in rows]
        block = _BLOCKS[self.kind](ids, columns, self.source, self.timeframe)
        return RowSlice(heard, rows, block, owners)

    def clear_depth(self, ts: int) -> list[tuple[BookDelta, ...]]:
        """An update of each instrument at `ts` (ns UTC) that leaves no level of its depth."""
        cleared = [each.clear(ts) for each in self._standing]
        return [each for each in cleared if each]

    def save(self) -> list[StandingState]:
        """What stands behind the newest tick of each instrument; of bars nothing."""
        return [] if self.kind in ("bars", "trades") else [each.save() for each in self._standing]

    def load(self, states: Sequence[StandingState]) -> None:
        """Go on where `states` were saved."""
        for standing, state in zip(self._standing, states, strict=False):
            standing.load(state)


_KINDS: dict[str, TimelineKind] = {TRADES: "trades", QUOTES: "quotes", BOOK: "book"}
_BLOCKS: dict[TimelineKind, type[BarBlock]] = {
    "bars": BarBlock, "trades": TradeBlock, "quotes": TickBlock, "book": TickBlock,
}  # fmt: skip
_INTS = (*BAR_INT_COLUMNS, *TRADE_INT_COLUMNS, *TICK_INT_COLUMNS)
_FLOATS = (*BAR_FLOAT_COLUMNS, *TRADE_FLOAT_COLUMNS, *TICK_FLOAT_COLUMNS)
_TYPES: dict[str, type[np.int64] | type[np.float64]] = {
    **dict.fromkeys(_INTS, np.int64), **dict.fromkeys(_FLOATS, np.float64),
}  # fmt: skip
