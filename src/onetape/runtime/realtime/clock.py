"""Where a realtime session has its time from."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import Protocol


class Clock(Protocol):
    """Time of a session, ns UTC."""

    def now(self) -> int:
        """What time it is."""
        ...

    def hear(self, ts: int) -> None:
        """Something happened at `ts`, as its source says."""
        ...


class MachineClock:
    """The machine's clock, which never goes back here: a step back of the machine stands still."""

    def __init__(self) -> None:
        self._newest = time_ns()

    def now(self) -> int:
        """What time it is."""
        self._newest = max(self._newest, time_ns())
        return self._newest

    def hear(self, ts: int) -> None:
        """Others' times are theirs."""


class FeedClock:
    """The newest time that the feed has told, running on in between at the machine's pace.

    For a local venue that replays another day, slower or faster than it was.
    """

    def __init__(self) -> None:
        self._ts = 0
        self._heard = monotonic_ns()

    def now(self) -> int:
        """What time it is; 0 before the feed has told any."""
        return self._ts + monotonic_ns() - self._heard if self._ts else 0

    def hear(self, ts: int) -> None:
        """The feed tells a time."""
        if ts > self._ts:
            self._ts = ts
            self._heard = monotonic_ns()


def outside(clock: Clock) -> Callable[[], int]:
    """Time for questions to the world: the machine's where the session has none yet."""
    return lambda: clock.now() or time_ns()
