"""Numbers the events of each engine step and hands them to the tape."""

from __future__ import annotations

from onetape.domain.events import Payload
from onetape.domain.numbers import INT64_MAX
from onetape.domain.ports import TapeWriter


class StepLog:
    """The events of the current step, and where the session's numbering stands.

    A pinned market event takes the next seq without standing on the tape, so the seq of row r is
    the number of events emitted before it plus r.

    Attributes:
        now: Engine time of the current step, ns UTC; before the first, the smallest.
        market_seq: Seq of the newest market event; 0 before the first.
        origin: Correlation id of what is decided now: where its chain began.
        cause: Causation id of what is decided now.
        emitted: Events emitted by finished steps.
        events: (payload, correlation id, causation id) of the current step.
        first_seq: Seq of the first of them.
    """

    __slots__ = ("_append", "_market_index", "_row", "cause", "emitted", "events", "first_seq",
                 "market_seq", "now", "origin")  # fmt: skip

    def __init__(self, tape: TapeWriter) -> None:
        self._append = tape.append
        self._market_index = -1
        self._row = -1
        self.events: list[tuple[Payload, int, int]] = []
        self.first_seq = 0
        self.emitted = 0
        self.market_seq = 0
        self.origin = 0
        self.cause = 0
        self.now = -INT64_MAX

    def begin_market(self, row: int, ts: int) -> None:
        """Begin the step of a market row."""
        self.now = ts
        self._row = row
        self._market_index = row
        self.market_seq = self.origin = self.cause = seq = self.emitted + row
        self.first_seq = seq + 1

    def begin(self, ts: int, row: int) -> None:
        """Begin a step without a market event; `row` is the newest that is over, -1 before any.

        Time never goes back: what was due before the last step happens at its time.
        """
        if ts > self.now:
            self.now = ts
        if row > self._row:  # rows without events have passed since the last step
            self._row = row
            self.market_seq = self.emitted + row
        self._market_index = -1
        self.origin = self.cause = self.market_seq
        self.first_seq = self.emitted + row + 1

    def emit(self, payload: Payload, correlation_id: int, causation_id: int) -> int:
        """Add an event to the step and return its seq."""
        events = self.events
        seq = self.first_seq + len(events)
        events.append((payload, correlation_id, causation_id))
        return seq

    def finish(self) -> None:
        """Hand the step to the tape, if it has caused anything."""
        events = self.events
        if events:
            self._append(self.first_seq, self.now, self._market_index, events)
            self.emitted += len(events)
            self.events = []
