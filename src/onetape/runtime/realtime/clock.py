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
    """The machine's clock, which never goes back here and never stands still.

    Where the machine's has been set back, this one goes on at half its pace until the machine's has
    caught up: a step back of an hour is over after two. A step ahead is followed at once.

    Args:
        wall: The machine's time, ns UTC.
        steady: A clock that nobody sets, ns.
    """

    def __init__(
        self, wall: Callable[[], int] = time_ns, steady: Callable[[], int] = monotonic_ns
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._newest = wall()
        self._at = steady()

    def now(self) -> int:
        """What time it is."""
        at = self._steady()
        slowly = self._newest + (at - self._at) // 2
        self._newest, self._at = max(slowly, self._wall()), at
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
