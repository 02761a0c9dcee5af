"""Averages that go on from the one before: `Ema`, `WilderAverage`, `Dema`, `Tema`, `Atr`, `Kama`.

A value that is no number is skipped by `update`, which costs a look at each of them. Here they are
taken as they come: such a value turns the average into none, and it stays so. Then the column was
not computed, and the loop over `update` has to do it.
"""

from __future__ import annotations

import math
from typing import Any

from onetape.features.average import compute_smoothed as _compute_smoothed
from onetape.features.kernels.memory import CHAIN_CHUNK, kernel, slots_of
from onetape.features.kernels.sums import keep_block, sum_blocks
from onetape.features.state import FloatColumn

NAN = math.nan

compute_smoothed = kernel(_compute_smoothed)


@kernel
def skip_bad(values: Any, count: int) -> int:
    """The row of the first finite value."""
    row = 0
    while row < count and values[row] - values[row] != 0.0:
        row += 1
    return row


@kernel
def fill_average(close: FloatColumn, window: int, weight: float, out: FloatColumn) -> bool:
    """The column of `Ema` or `WilderAverage`; whether it was computed."""
    count = len(close)
    values = slots_of(close, 0)
    result = slots_of(out, 0)
    first = skip_bad(values, count)
    ready = min(count, first + window)
    average = 0.0
    for row in range(first):
        result[row] = NAN
    for row in range(first, ready):
        average = compute_smoothed(average, values[row], row - first + 1, window, weight)
        result[row] = average if row - first + 1 == window else NAN
    for row in range(ready, count):
        average += weight * (values[row] - average)
        result[row] = average
    return average - average == 0.0


@kernel
def fill_chain(
    close: FloatColumn, window: int, weight: float, is_triple: bool, out: FloatColumn
) -> bool:
    """The column of `Dema` or `Tema`; whether it was computed."""
    count = len(close)
    values = slots_of(close, 0)
    result = slots_of(out, 0)
    begin = skip_bad(values, count)
    one = 0.0
    two = 0.0
    three = 0.0
    for row in range(begin):
        result[row] = NAN
    ready = min(count, begin + 3 * window)
    for row in range(begin, ready):
        result[row] = NAN
        age = row - begin + 1
        one = compute_smoothed(one, values[row], age, window, weight)
        if age < window:
            continue
        age -= window - 1
        two = compute_smoothed(two, one, age, window, weight)
        if age < window:
            continue
        age -= window - 1
        if is_triple:
            three = compute_smoothed(three, two, age, window, weight)
            if age >= window:
                result[row] = 3.0 * (one - two) + three
        else:
            result[row] = 2.0 * one - two
    if is_triple:
        for row in range(ready, count):
            one += weight * (values[row] - one)
            two += weight * (one - two)
            three += weight * (two - three)
            result[row] = 3.0 * (one - two) + three
    else:
        for row in range(ready, count):
            one += weight * (values[row] - one)
            two += weight * (one - two)
            result[row] = 2.0 * one - two
    return one - one == 0.0


@kernel
def find_ranges(highs: Any, lows: Any, closes: Any, start: int, stop: int, result: Any) -> bool:
    """The true ranges of some rows, 1 or later; whether all three prices were numbers."""
    bad = 0
    for row in range(start, stop):
        total = highs[row] + lows[row] + closes[row]
        bad |= int(total - total != 0.0)
        before = closes[row - 1]
        top = before if before > highs[row] else highs[row]
        bottom = before if before < lows[row] else lows[row]
        result[row] = top - bottom
    return bad == 0


@kernel
def begin_ranges(highs: Any, lows: Any, closes: Any, count: int, result: Any) -> bool:
    """The first row, which has no true range; whether all three prices were numbers."""
    if count == 0:
        return True
    result[0] = NAN
    total = highs[0] + lows[0] + closes[0]
    return total - total == 0.0


@kernel
def fill_ranges(high: FloatColumn, low: FloatColumn, close: FloatColumn, out: FloatColumn) -> bool:
    """The column of `TrueRange`; whether it was computed."""
    count = len(close)
    highs = slots_of(high, 0)
    lows = slots_of(low, 0)
    closes = slots_of(close, 0)
    result = slots_of(out, 0)
    if not begin_ranges(highs, lows, closes, count, result):
        return False
    return find_ranges(highs, lows, closes, 1, count, result)


@kernel
def fill_atr(
    high: FloatColumn,
    low: FloatColumn,
    close: FloatColumn,
    window: int,
    weight: float,
    out: FloatColumn,
) -> bool:
    """The column of `Atr`; whether it was computed."""
    count = len(close)
    highs = slots_of(high, 0)
    lows = slots_of(low, 0)
    closes = slots_of(close, 0)
    result = slots_of(out, 0)
    if not begin_ranges(highs, lows, closes, count, result):
        return False
    average = 0.0
    start = 1
    while start < count:
        stop = min(start + CHAIN_CHUNK, count)
        if not find_ranges(highs, lows, closes, start, stop, result):
            return False
        for row in range(start, min(stop, window + 1)):
            average = compute_smoothed(average, result[row], row, window, weight)
            result[row] = average if row == window else NAN
        for row in range(max(start, window + 1), stop):
            average += weight * (result[row] - average)
            result[row] = average
        start = stop
    return True


@kernel
def fill_kama(
    close: FloatColumn,
    window: int,
    slow: float,
    fast: float,
    scratch: FloatColumn,
    out: FloatColumn,
) -> bool:
    """The column of `Kama`; whether it was computed.

    `scratch` has room for three chunks and a window.
    """
    count = len(close)
    chunk = (len(scratch) - window) // 3
    values = slots_of(close, 0)
    result = slots_of(out, 0)
    prefix = slots_of(scratch, 0)
    suffix = slots_of(scratch, chunk)
    moves = slots_of(scratch, 2 * chunk)
    for row in range(min(window, count)):
        result[row] = NAN
    for row in range(min(window + 1, count)):
        if values[row] - values[row] != 0.0:
            return False
    if count <= window:
        return True
    for row in range(window):
        moves[row] = NAN
    average = values[window - 1]
    start = 1  # the first move ends here
    while start < count:
        rows = min(chunk, count - start)
        for row in range(rows):
            moves[window + row] = abs(values[start + row] - values[start + row - 1])
        sum_blocks(moves, window, rows, window, prefix, suffix)
        keep_block(moves, window, chunk)
        ready = max(window, start)
        for row in range(ready, start + rows):
            path = suffix[row - start] + prefix[row - start]
            distance = abs(values[row] - values[row - window])
            share = distance / path
            share = share if path > distance else 1.0
            weight = slow + share * (fast - slow)
            prefix[row - start] = weight * weight
        for row in range(ready, start + rows):
            average += prefix[row - start] * (values[row] - average)
            result[row] = average
        start += chunk
    return average - average == 0.0
