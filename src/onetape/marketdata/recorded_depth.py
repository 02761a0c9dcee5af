"""What stands at a venue at a row of a timeline."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import Instrument
from onetape.domain.market import TickKind
from onetape.marketdata.depth import Depth

_QUOTE, _PRINT = TickKind.QUOTE.value, TickKind.PRINT.value


class RecordedDepth(Depth):
    """One instrument of a timeline.

    Args:
        instrument: Whose.
        columns: Of the whole timeline: of quotes or depth, or of prints alone.
        rows: The rows of the instrument, rising.
        has_levels: Whether there are changes of the depth among them.
    """

    __slots__ = ("_at", "_columns", "_quote", "_rows")

    def __init__(
        self,
        instrument: Instrument,
        columns: Mapping[str, npt.NDArray[Any]],
        rows: npt.NDArray[np.int64],
        *,
        has_levels: bool = False,
    ) -> None:
        super().__init__(instrument, has_quotes="what" in columns, has_levels=has_levels)
        if not self.has_quotes:
            bare = dict.fromkeys(("bid", "ask", "bid_size", "ask_size"), np.float64(0.0))
            told = {**bare, "is_whole": np.int64(1), "what": np.int64(_PRINT)}
            shape = columns["ts_event"].shape
            same = {name: np.broadcast_to(value, shape) for name, value in told.items()}
            columns = {**columns, **same, "side": columns["aggressor"]}
        self._columns: Mapping[str, npt.NDArray[Any]] = columns
        self._rows: Sequence[int] = rows.data
        self._quote = (-1, -1)
        self._at = -1

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
        self.is_late = columns["ts_known"].item(row) != columns["ts_event"].item(row)
        self.is_whole = columns["is_whole"].item(row) != 0
        self._follow()

    def _tell(self, name: str) -> float:
        return self._columns[name].item(self.row)

    def _find_quote(self) -> int:
        found, seen = self._quote  # the newest quote, and up to where it was looked for
        what = self._columns["what"]
        for at in range(self._at, seen, -1):
            if what.item(self._rows[at]) == _QUOTE:
                found = self._rows[at]
                break
        self._quote = (found, self._at)
        return found
