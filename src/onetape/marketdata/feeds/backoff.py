"""How long to wait before the next attempt to connect."""

from __future__ import annotations

from random import Random


class Backoff:
    """Waits that double, half of each by chance, so that programs do not come back together.

    Wait n (from 0) lies between half of `first_s` x 2**n and all of it, at most `longest_s`.

    Args:
        first_s: The first wait, seconds.
        longest_s: No wait is longer.
        seed: Of the part that is left to chance.
    """

    def __init__(self, first_s: float, longest_s: float, seed: int) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._chance = Random(seed)
        self._failures = 0

    def next_wait(self) -> float:
        """Seconds to wait behind one more failure."""
        whole = min(self._longest_s, self._first_s * 2.0 ** min(self._failures, 30))
        self._failures += 1
        return whole * (0.5 + 0.5 * self._chance.random())

    def reset(self) -> None:
        """It has worked: the next wait is the first again."""
        self._failures = 0
