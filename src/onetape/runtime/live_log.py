"""The step log of a session whose rows stand on its tape."""

from __future__ import annotations

from collections.abc import Sequence

from onetape.domain.ports import TapeWriter
from onetape.domain.venue import RowHeard
from onetape.runtime.step_log import StepLog


class LiveLog(StepLog):
    """Writes each row as a record of its own, before the record of what it caused.

    So what a row causes is numbered and written as in a backtest, where rows are pinned: the tapes
    of both hold the same records, and this one those of the rows besides.

    Attributes:
        steps: How many steps have begun in this process.
    """

    __slots__ = ("_first_row", "_heard", "_writer", "steps")

    def __init__(self, tape: TapeWriter) -> None:
        super().__init__(tape)
        self._writer = tape
        self._first_row = 0
        self._heard: Sequence[RowHeard] = ()
        self.steps = 0

    def begin_slice(self, first_row: int, heard: Sequence[RowHeard]) -> None:
        """The rows from `first_row` on are these."""
        self._first_row = first_row
        self._heard = heard

    def ts_of(self, row: int) -> int:
        """When a row of the newest slice was known, ns UTC."""
        return self._heard[row - self._first_row].ts_known

    def begin_market(self, row: int, ts: int) -> None:
        """Write the row, and begin its step."""
        self.steps += 1
        super().begin_market(row, ts)
        self._writer.append(self.market_seq, ts, row, [(self._heard[row - self._first_row], 0, 0)])

    def begin(self, ts: int, row: int) -> None:
        """Begin a step without a market event."""
        self.steps += 1
        super().begin(ts, row)

    @property
    def step(self) -> tuple[int, int]:
        """(first seq, market index) of the record of the current step, which no other one has."""
        return self.first_seq, self._market_index
