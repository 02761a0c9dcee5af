"""A tape somebody listens to: each event is told when it has been appended."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onetape.domain.events import Payload
from onetape.domain.ports import TapeWriter

Listen = Callable[[int, int, Payload], None]
"""Told the time (ns UTC), the seq and the event. It changes nothing and must not raise."""


class HeardTape:
    """Passes the steps of a session on to its tape, and their events to a listener.

    Args:
        tape: Where they go.
        listen: Who is told.
    """

    def __init__(self, tape: TapeWriter, listen: Listen) -> None:
        self._tape = tape
        self._listen = listen

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Remember a step, and tell its events."""
        self._tape.append(first_seq, ts, market_index, events)
        for at, (payload, _, _) in enumerate(events):
            self._listen(ts, first_seq + at, payload)

    def commit(self) -> None:
        """Make everything appended so far durable."""
        self._tape.commit()
