"""Do two providers' prices stand on one footing, or is one adjusted for splits and dividends?"""

from __future__ import annotations

import msgspec
import numpy as np

from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BarColumns, FloatArray

SMALLEST_STEP_RATIO = 5e-4
"""Dividends move a factor by more; what moves it less is rounding."""

_ROWS_TO_JUDGE = 5
_SETTLED_RATIO = 0.9


class Step(msgspec.Struct, frozen=True):
    """From `ts_from` on (ns UTC) the second price is `factor` times the first."""

    ts_from: int
    factor: float

    def __str__(self) -> str:
        return f"x {self.factor:.6g} from {to_iso(self.ts_from)[:10]} on"


def find_footing(first: BarColumns, second: BarColumns, tolerance_ratio: float) -> list[Step]:
    """The steps of the factor between two series; empty when they stand on one footing.

    An adjustment shows as a factor that stays the same for a time, other than 1, and moves at
    splits and dividends. So: of the closes that both have, at least nine of ten factors are that
    of the bar before within the tolerance, and some stretch of at least five bars has a factor
    other than 1. Noise moves the factor at most bars, a wrong bar moves it for one. A tolerance
    below `SMALLEST_STEP_RATIO` counts as that. Ours.
    """
    tolerance_ratio = max(tolerance_ratio, SMALLEST_STEP_RATIO)
    both = np.intersect1d(first["ts_open"], second["ts_open"])
    if len(both) < _ROWS_TO_JUDGE:
        return []
    ours, theirs = (
        each["close"][np.searchsorted(each["ts_open"], both)] for each in (first, second)
    )
    factor: FloatArray = theirs / ours
    moved = np.abs(np.diff(factor)) > tolerance_ratio * factor[:-1]
    if moved.mean() > 1 - _SETTLED_RATIO:
        return []
    starts = np.concatenate([[0], np.flatnonzero(moved) + 1])
    lengths = np.diff(np.concatenate([starts, [len(both)]]))
    steps = [
        Step(int(both[start]), float(np.median(factor[start : start + length])))
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)
        if length >= _ROWS_TO_JUDGE
    ]
    if all(abs(step.factor - 1) <= tolerance_ratio for step in steps):
        return []
    return [
        step
        for before, step in zip([None, *steps], steps, strict=False)
        if before is None or abs(step.factor / before.factor - 1) > tolerance_ratio
    ]
