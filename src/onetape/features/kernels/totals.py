"""Totals of all bars so far: `Obv`, `AccumulationDistribution`."""

from __future__ import annotations

from onetape.features.kernels.memory import CHAIN_CHUNK, kernel, slots_of
from onetape.features.state import FloatColumn


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
def fill_accumulation(
    high: FloatColumn, low: FloatColumn, close: FloatColumn, volume: FloatColumn, out: FloatColumn
) -> bool:
    """The column of `AccumulationDistribution`; whether it was computed."""
    count = len(close)
    highs = slots_of(high, 0)
    lows = slots_of(low, 0)
    closes = slots_of(close, 0)
    volumes = slots_of(volume, 0)
    result = slots_of(out, 0)
    bad = 0
    total = 0.0
    lost = 0.0
    start = 0
    while start < count:
        stop = min(start + CHAIN_CHUNK, count)
        for row in range(start, stop):
            price = closes[row]
            all_four = highs[row] + lows[row] + price + volumes[row]
            span = highs[row] - lows[row]
            flow = ((price - lows[row]) - (highs[row] - price)) / span * volumes[row]
            flow = flow if span > 0.0 else 0.0
            bad |= int((all_four - all_four != 0.0) | (flow - flow != 0.0))
            result[row] = flow
        for row in range(start, stop):
            flow = result[row]
            after = total + flow
            part = after - total
            lost += (total - (after - part)) + (flow - part)
            total = after
            result[row] = total + lost
        start = stop
    return (bad == 0) & (total - total == 0.0)
