"""Numbers the events of each engine step and hands them to the tape."""

from __future__ import annotations

from onetape.domain.events import Payload
from onetape.domain.ports import TapeWriter


class StepLog:
    """The events of the current step, and where the session's numbering stands.

    A pinned market event takes the next seq without standing on the tape, so the seq of row r is
    the number of events emitted before it plus r.

    Attributes:
        now: Engine time of the current step, ns UTC.
        market_seq: Seq of the newest market event; 0 before the first.
        emitted: Events emitted by finished steps.
        events: (payload, correlation id, causation id) of the current step.
        first_seq: Seq of the first of them.
    """

    __slots__ = ("_market_index", "_rows", "_tape", "emitted", "events", "first_seq", "market_seq",
                 "now")  # fmt: skip

    def __init__(self, tape: TapeWriter) -> None:
        self._tape = tape
        self.events: list[tuple[Payload, int, int]] = []
        self.first_seq = 0
        self._market_index = -1
        self._rows = 0
        self.emitted = 0
        self.market_seq = 0
        self.now = 0

    def begin_market(self, row: int, ts: int) -> None:
        """Begin the step of a market row."""
        self.now = ts
        self._rows = row + 1
        self._market_index = row
        self.market_seq = self.emitted + row
        self.first_seq = self.market_seq + 1

    def begin(self, ts: int) -> None:
        """Begin a step without a market event."""
        self.now = ts
        self._market_index = -1
        self.first_seq = self.emitted + self._rows

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
            self._tape.append(self.first_seq, self.now, self._market_index, events)
            self.emitted += len(events)
            self.events = []
