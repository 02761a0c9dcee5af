"""Numbers the events of each engine step and hands them to the tape."""

from __future__ import annotations

import msgspec

from onetape.domain.events import Payload
from onetape.domain.ports import TapeWriter


class StepLogState(msgspec.Struct, frozen=True):
    """Where a `StepLog` stands between two steps."""

    now: int
    row: int
    emitted: int
    market_seq: int


class StepLog:
    """The events of the current step, and where the session's numbering stands.

    A pinned market event takes the next seq without standing on the tape, so the seq of row r is
    the number of events emitted before it plus r.

    Attributes:
        now: Engine time of the current step, ns UTC.
        market_seq: Seq of the newest market event; 0 before the first.
        origin: Correlation id of what is decided now: where its chain began.
        cause: Causation id of what is decided now.
        emitted: Events emitted by finished steps.
        events: (payload, correlation id, causation id) of the current step.
        first_seq: Seq of the first of them.
    """

    __slots__ = ("_market_index", "_row", "_tape", "cause", "emitted", "events", "first_seq",
                 "market_seq", "now", "origin")  # fmt: skip

    def __init__(self, tape: TapeWriter) -> None:
        self._tape = tape
        self._market_index = -1
        self._row = -1
        self.events: list[tuple[Payload, int, int]] = []
        self.first_seq = 0
        self.emitted = 0
        self.market_seq = 0
        self.origin = 0
        self.cause = 0
        self.now = 0

    @property
    def row(self) -> int:
        """The row of the current step, or the newest that is over; -1 before any."""
        return self._row

    def save(self) -> StepLogState:
        """Where the numbering stands between two steps."""
        return StepLogState(self.now, self._row, self.emitted, self.market_seq)

    def restore(self, state: StepLogState) -> None:
        """Go on numbering where `state` was saved."""
        self.now, self._row, self.emitted, self.market_seq = msgspec.structs.astuple(state)

    def begin_market(self, row: int, ts: int) -> None:
        """Begin the step of a market row."""
        self.now = ts
        self._row = row
        self._market_index = row
        self.market_seq = self.origin = self.cause = seq = self.emitted + row
        self.first_seq = seq + 1

    def begin(self, ts: int, row: int) -> None:
        """Begin a step without a market event; `row` is the newest that is over, -1 before any."""
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
            self._tape.append(self.first_seq, self.now, self._market_index, events)
            self.emitted += len(events)
            self.events = []
