"""A value beside the one some bars before: `Lag`, `Momentum`, `SimpleReturn`, `RateOfChange`."""

from __future__ import annotations

import math

from onetape.features.kernels.memory import kernel, slots_of
from onetape.features.state import FloatColumn

NAN = math.nan

LAG = 0
MOMENTUM = 1
RETURN = 2
PERCENT = 3


@kernel
def fill_lag(close: FloatColumn, bars: int, output: int, out: FloatColumn) -> None:
    """The column of one of the four, by `output`."""
    count = len(close)
    values = slots_of(close, 0)
    result = slots_of(out, 0)
    for row in range(min(bars, count)):
        result[row] = NAN
    if output == LAG:
        for row in range(bars, count):
            result[row] = values[row - bars]
    elif output == MOMENTUM:
        for row in range(bars, count):
            result[row] = values[row] - values[row - bars]
    else:
        scale = 100.0 if output == PERCENT else 1.0
        for row in range(bars, count):
            before = values[row - bars]
            change = (values[row] - before) / before
            change = change if before > 0.0 else NAN
            result[row] = scale * change
