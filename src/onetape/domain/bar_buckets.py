"""Which longer bar a moment belongs to, and what that bar is made of.

The one home of both rules: features of longer timeframes and the aggregation of market data ask
here, for one moment or for a whole column.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

Moments = TypeVar("Moments", int, Ints)


def compute_bucket(ts: Moments, length_ns: int, origin_ns: int = 0) -> Moments:
    """Number of the interval `[n, n + 1) * length_ns` after `origin_ns` that holds `ts` (ns)."""
    return (ts - origin_ns) // length_ns


def compute_bucket_open(bucket: Moments, length_ns: int, origin_ns: int = 0) -> Moments:
    """When the interval with that number begins, ns UTC."""
    return bucket * length_ns + origin_ns


def fold_column(name: str, before: float, now: float) -> float:
    """Value of a longer bar's column after one more of its bars.

    First open, highest high, lowest low, sum of volumes, the last of any other column. A NaN among
    highs or lows stays.
    """
    match name:
        case "open":
            return before
        case "high":
            return now if now > before or now != now else before
        case "low":
            return now if now < before or now != now else before
        case "volume":
            return before + now
        case _:
            return now


def reduce_column(name: str, column: Floats, starts: Ints, last: Ints) -> Floats:
    """`fold_column` over each of the ranges `starts` to `last` (inclusive), bit for bit the same.

    Args:
        name: The column's name.
        column: Its values, shape (rows,).
        starts: First row of each range; the ranges follow each other and fill the column.
        last: Last row of each range.
    """
    match name:
        case "open":
            return column[starts]
        case "high":
            return np.maximum.reduceat(column, starts)
        case "low":
            return np.minimum.reduceat(column, starts)
        case "volume":
            return _sum_in_order(column, starts, last - starts + 1)
        case _:
            return column[last]


def _sum_in_order(column: Floats, starts: Ints, lengths: Ints) -> Floats:
    """Sums of ranges, each added from its first value on, as bar by bar."""
    longest = int(lengths.max())
    if longest > len(starts):  # few long ranges: one running sum each
        ranges = zip(starts.tolist(), lengths.tolist(), strict=True)
        return np.array([np.cumsum(column[at : at + count])[-1] for at, count in ranges])
    total = column[starts]
    for at in range(1, longest):
        more = np.flatnonzero(lengths > at)
        total[more] += column[starts[more] + at]
    return total
