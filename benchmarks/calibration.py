"""The loop that every speed is told against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

ADDITIONS = 10_000_000
REFERENCE_SECONDS = 0.5
"""What the calibration loop takes on the machine that the targets of DESIGN 13 are stated for."""


def _add() -> int:
    total = 0
    for number in range(ADDITIONS):
        total += number
    return total


def measure_calibration(
    runs: int = 3, clock: Callable[[], float] = time.perf_counter
) -> float:  # fmt: skip
    """Median seconds, by `clock`, of ten million additions in a Python `for`."""
    seconds: list[float] = []
    for _ in range(runs):
        begun = clock()
        _add()
        seconds.append(clock() - begun)
    return statistics.median(seconds)
