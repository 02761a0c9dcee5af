"""What stands at a venue while ticks come, one row after the other."""

from __future__ import annotations

from collections import deque

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.market import TickKind
from onetape.marketdata.depth import Depth
from onetape.marketdata.standing_ticks import TickRow

_QUOTE = TickKind.QUOTE.value


class LiveDepthState(msgspec.Struct, frozen=True, array_like=True):
    """What a `LiveDepth` remembers when it is at its newest row.

    `levels` of the depth: (is_bid, ticks, lots, rest of a lot, row that has told it).
    """

    row: int
    quote_row: int
    newest: TickRow | None
    levels: list[tuple[bool, int, int, int, int]]


class LiveDepth(Depth):
    """One instrument whose rows are told before it comes to them."""

    __slots__ = ("_coming", "_newest", "_quote_row")

    def __init__(self, instrument: Instrument, *, has_quotes: bool, has_levels: bool) -> None:
        super().__init__(instrument, has_quotes=has_quotes, has_levels=has_levels)
        self._coming: deque[tuple[int, TickRow]] = deque()
        self._newest: TickRow | None = None
        self._quote_row = -1

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
        self._follow()

    def _stand_at(self, tick: TickRow) -> None:
        self._newest = tick
        self.what = tick.what
        self.is_late = tick.ts_known != tick.ts_event
        self.is_whole = tick.is_whole != 0

    def _tell(self, name: str) -> float:
        if self._newest is None:
            raise LookupError(f"{self._instrument.id} has no tick yet")
        return getattr(self._newest, name)

    def _find_quote(self) -> int:
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
        if self._book is not None:
            for is_bid, ticks, lots, rest, row in state.levels:
                self._set_level(self._book, (is_bid, ticks), lots, rest, row)
