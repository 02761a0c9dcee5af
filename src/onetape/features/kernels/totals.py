"""Totals of all bars so far: `Obv`, `AccumulationDistribution`, `ChaikinOscillator`."""

from __future__ import annotations

import math
from typing import Any

from onetape.features.kernels.memory import kernel, slots_of
from onetape.features.kernels.smoothed import compute_smoothed
from onetape.features.state import FloatColumn

NAN = math.nan


@kernel
def fill_obv(close: FloatColumn, volume: FloatColumn, out: FloatColumn) -> bool:
    """The column of `Obv`; whether it was computed."""
    count = len(close)
    closes = slots_of(close, 0)
    volumes = slots_of(volume, 0)
    result = slots_of(out, 0)
    bad = 0
    total = 0.0
    lost = 0.0
    for row in range(count):
        both = closes[row] + volumes[row]
        bad |= int(both - both != 0.0)
        size = volumes[row]
        before = closes[max(row - 1, 0)]
        flow = size if closes[row] > before else 0.0
        flow = -size if closes[row] < before else flow
        after = total + flow
        # The error of the sum, whichever is greater (Knuth): what Neumaier's has by comparing.
        part = after - total
        lost += (total - (after - part)) + (flow - part)
        total = after
        result[row] = total + lost
    return (bad == 0) & (total - total == 0.0)


@kernel
def find_flows(
    highs: Any, lows: Any, closes: Any, volumes: Any, start: int, stop: int, flows: Any
) -> bool:
    """What some rows add to the accumulation/distribution line; whether all were numbers."""
    bad = 0
    for row in range(start, stop):
        price = closes[row]
        all_four = highs[row] + lows[row] + price + volumes[row]
        span = highs[row] - lows[row]
        flow = ((price - lows[row]) - (highs[row] - price)) / span * volumes[row]
        flow = flow if span > 0.0 else 0.0
        bad |= int((all_four - all_four != 0.0) | (flow - flow != 0.0))
        flows[row - start] = flow
    return bad == 0


@kernel
def fill_oscillator(
    high: FloatColumn,
    low: FloatColumn,
    close: FloatColumn,
    volume: FloatColumn,
    fast: int,
    slow: int,
    scratch: FloatColumn,
    out: FloatColumn,
) -> bool:
    """The column of `ChaikinOscillator`, with `fast` and `slow` 0 that of the line.

    `scratch` has room for a chunk.

    Returns:
        Whether it was computed.
    """
    count = len(close)
    highs = slots_of(high, 0)
    lows = slots_of(low, 0)
    closes = slots_of(close, 0)
    volumes = slots_of(volume, 0)
    flows = slots_of(scratch, 0)
    result = slots_of(out, 0)
    fast_weight = 2.0 / (fast + 1)
    slow_weight = 2.0 / (slow + 1)
    total = 0.0
    lost = 0.0
    one = 0.0
    other = 0.0
    start = 0
    while start < count:
        stop = min(start + len(scratch), count)
        if not find_flows(highs, lows, closes, volumes, start, stop, flows):
            return False
        for row in range(start, stop):
            flow = flows[row - start]
            after = total + flow
            part = after - total
            lost += (total - (after - part)) + (flow - part)
            total = after
            line = total + lost
            if slow == 0:
                result[row] = line
            elif row >= slow:
                one += fast_weight * (line - one)
                other += slow_weight * (line - other)
                result[row] = one - other
            else:
                one = compute_smoothed(one, line, row + 1, fast, fast_weight)
                other = compute_smoothed(other, line, row + 1, slow, slow_weight)
                result[row] = one - other if row + 1 == slow else NAN
        start = stop
    return total - total == 0.0
