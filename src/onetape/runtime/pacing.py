"""How fast history passes: at once, or so many times faster than it was."""

from __future__ import annotations

import time
from typing import Literal

from onetape.domain.timestamps import NS_PER_SECOND


class Pacer:
    """Waits so that `speed` seconds of history pass in one second; never when `speed` is `max`.

    Only the shell waits: what a session decides does not depend on it.
    """

    __slots__ = ("_begun", "_speed", "_ts_first")

    def __init__(self, speed: Literal["max"] | int) -> None:
        self._speed = 0 if speed == "max" else int(speed)
        self._ts_first = 0
        self._begun = 0.0

    @property
    def is_paced(self) -> bool:
        """Whether it ever waits."""
        return self._speed > 0

    def wait_until(self, ts: int) -> None:
        """Return when the moment `ts` of history (ns UTC) has come."""
        if not self._speed:
            return
        if not self._ts_first:
            self._ts_first, self._begun = ts, time.monotonic()
        due = self._begun + (ts - self._ts_first) / NS_PER_SECOND / self._speed
        time.sleep(max(0.0, due - time.monotonic()))
