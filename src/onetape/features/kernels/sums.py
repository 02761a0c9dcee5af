"""Sums over a window, in blocks: `Sma`, `Wma`, `Vwap`, `Mfi`.

As their `update`: a sum is the suffix of the block before plus the prefix of this one. Here all
prefixes and suffixes of a chunk come first, and what is made of them after, a vector at a time.
"""

from __future__ import annotations

import math
from typing import Any

from onetape.features.kernels.abreast import average_abreast, weigh_abreast
from onetape.features.kernels.memory import kernel, slots_of
from onetape.features.kernels.quotient import divide, is_extreme
from onetape.features.state import FloatColumn

NAN = math.nan
INFINITY = math.inf


@kernel
def sum_blocks(values: Any, start: int, rows: int, window: int, prefix: Any, suffix: Any) -> None:
    """The two parts of the sums of `rows` windows, the first of which ends at `start`.

    `start` begins a block, with a block before it. Where a block ends the suffix is 0: a prefix
    that is added to it stays what it is.
    """
    at = 0
    while at < rows:
        count = min(window, rows - at)
        before = start + at - 1
        last = at + window - 1
        forward = 0.0
        backward = 0.0
        if count == window:  # both at once: neither waits for the other
            for row in range(window):
                forward += values[start + at + row]
                prefix[at + row] = forward
                suffix[last - row] = backward
                backward += values[before - row]
        else:
            for row in range(count):
                forward += values[start + at + row]
                prefix[at + row] = forward
            for row in range(window):
                suffix[last - row] = backward
                backward += values[before - row]
        at += window


@kernel
def fill_sma(
    close: FloatColumn, window: int, scratch: FloatColumn, lanes: FloatColumn, out: FloatColumn
) -> None:
    """The column of `Sma`. `scratch` has room for two chunks, `lanes` for those of a window."""
    count = len(close)
    chunk = len(scratch) // 2
    values = slots_of(close, 0)
    prefix = slots_of(scratch, 0)
    suffix = slots_of(scratch, chunk)
    result = slots_of(out, 0)
    divisor = float(window)
    inverse = 1.0 / divisor
    forward = 0.0
    for row in range(min(window, count)):
        forward += values[row]
        result[row] = NAN
    if count >= window:
        result[window - 1] = forward / window
    side = slots_of(lanes, 0)
    start = window
    while start < count:
        start = average_abreast(values, start, count, window, side, result)
        rows = min(chunk, count - start)
        sum_blocks(values, start, rows, window, prefix, suffix)
        odd = 0
        for row in range(rows):
            total = suffix[row] + prefix[row]
            odd |= int(is_extreme(total))
            result[start + row] = divide(total, divisor, inverse)
        if odd:
            for row in range(rows):
                result[start + row] = (suffix[row] + prefix[row]) / divisor
        start += chunk


@kernel
def fill_wma(
    close: FloatColumn,
    window: int,
    divisor: float,
    scratch: FloatColumn,
    lanes: FloatColumn,
    out: FloatColumn,
) -> None:
    """The column of `Wma`. `scratch` has room for four chunks, `lanes` for those of a window."""
    count = len(close)
    chunk = len(scratch) // 4
    values = slots_of(close, 0)
    prefix = slots_of(scratch, 0)
    weighted = slots_of(scratch, chunk)
    suffix = slots_of(scratch, 2 * chunk)
    left = slots_of(scratch, 3 * chunk)
    result = slots_of(out, 0)
    inverse = 1.0 / divisor
    for row in range(chunk):
        left[row] = float(window - 1 - row % window)
    for row in range(window):
        suffix[row] = NAN
    side = slots_of(lanes, 0)
    start = 0
    while start < count:
        if start > 0:
            start = weigh_abreast(values, start, count, window, divisor, side, result)
        rows = min(window if start == 0 else chunk, count - start)
        at = 0
        while at < rows:
            first = start + at
            before = first - 1
            last = at + window - 1
            forward = 0.0
            forward_weighted = 0.0
            weight = 0.0
            backward = 0.0
            backward_weighted = 0.0
            if rows - at >= window and before > 0:  # all four at once: none waits for another
                for row in range(window):
                    value = values[first + row]
                    forward += value
                    weight += 1.0
                    forward_weighted += weight * value
                    prefix[at + row] = forward
                    weighted[at + row] = forward_weighted
                    suffix[last - row] = backward_weighted
                    backward += values[before - row]
                    backward_weighted += backward
            else:
                for row in range(min(window, rows - at)):
                    value = values[first + row]
                    forward += value
                    weight += 1.0
                    forward_weighted += weight * value
                    prefix[at + row] = forward
                    weighted[at + row] = forward_weighted
                if before > 0:
                    for row in range(window):
                        suffix[last - row] = backward_weighted
                        backward += values[before - row]
                        backward_weighted += backward
            at += window
        odd = 0
        for row in range(rows):
            total = suffix[row] + weighted[row] + left[row] * prefix[row]
            odd |= int(is_extreme(total))
            result[start + row] = divide(total, divisor, inverse)
        if odd:
            for row in range(rows):
                total = suffix[row] + weighted[row] + left[row] * prefix[row]
                result[start + row] = total / divisor
        end = window - 1
        while end < rows:  # where a block ends it is the window
            result[start + end] = weighted[end] / divisor
            end += window
        start += rows


@kernel
def keep_block(values: Any, window: int, chunk: int) -> None:
    """Move the last block of a chunk to where the block before the next chunk is looked for."""
    for row in range(window):
        values[row] = values[chunk + row]


@kernel
def fill_vwap(
    high: FloatColumn,
    low: FloatColumn,
    close: FloatColumn,
    volume: FloatColumn,
    window: int,
    scratch: FloatColumn,
    out: FloatColumn,
) -> None:
    """The column of `Vwap`. `scratch` has room for six chunks and two windows."""
    count = len(close)
    chunk = (len(scratch) - 2 * window) // 6
    highs = slots_of(high, 0)
    lows = slots_of(low, 0)
    closes = slots_of(close, 0)
    volumes = slots_of(volume, 0)
    result = slots_of(out, 0)
    prefix = slots_of(scratch, 0)
    suffix = slots_of(scratch, chunk)
    prefix_volume = slots_of(scratch, 2 * chunk)
    suffix_volume = slots_of(scratch, 3 * chunk)
    money = slots_of(scratch, 4 * chunk)
    traded = slots_of(scratch, 5 * chunk + window)
    for row in range(window):
        money[row] = NAN
        traded[row] = NAN
    start = 0
    while start < count:
        rows = min(chunk, count - start)
        for row in range(rows):
            at = start + row
            money[window + row] = (highs[at] + lows[at] + closes[at]) / 3.0 * volumes[at]
            traded[window + row] = volumes[at]
        sum_blocks(money, window, rows, window, prefix, suffix)
        sum_blocks(traded, window, rows, window, prefix_volume, suffix_volume)
        for row in range(rows):
            total = suffix_volume[row] + prefix_volume[row]
            mean = (suffix[row] + prefix[row]) / total
            result[start + row] = mean if total > 0.0 else NAN
        keep_block(money, window, chunk)
        keep_block(traded, window, chunk)
        start += chunk


@kernel
def fill_mfi(
    high: FloatColumn,
    low: FloatColumn,
    close: FloatColumn,
    volume: FloatColumn,
    window: int,
    scratch: FloatColumn,
    out: FloatColumn,
) -> None:
    """The column of `Mfi`. `scratch` has room for seven chunks, two windows and a number."""
    count = len(close)
    chunk = (len(scratch) - 2 * window - 1) // 7
    highs = slots_of(high, 0)
    lows = slots_of(low, 0)
    closes = slots_of(close, 0)
    volumes = slots_of(volume, 0)
    result = slots_of(out, 0)
    prefix_rise = slots_of(scratch, 0)
    suffix_rise = slots_of(scratch, chunk)
    prefix_fall = slots_of(scratch, 2 * chunk)
    suffix_fall = slots_of(scratch, 3 * chunk)
    rises = slots_of(scratch, 4 * chunk)
    falls = slots_of(scratch, 5 * chunk + window)
    prices = slots_of(scratch, 6 * chunk + 2 * window)
    for row in range(window):
        rises[row] = NAN
        falls[row] = NAN
    prices[0] = NAN
    start = 0
    while start < count:
        rows = min(chunk, count - start)
        for row in range(rows):
            at = start + row
            prices[row + 1] = (highs[at] + lows[at] + closes[at]) / 3.0
        for row in range(rows):
            price = prices[row + 1]
            size = volumes[start + row]
            change = price - prices[row]
            money = price * size
            still = (change == 0.0) & (size - size == 0.0)
            rise = money if change > 0.0 else 0.0
            fall = money if change < 0.0 else 0.0
            known = (change > 0.0) | (change < 0.0) | still
            rises[window + row] = rise if known else NAN
            falls[window + row] = fall if known else NAN
        sum_blocks(rises, window, rows, window, prefix_rise, suffix_rise)
        sum_blocks(falls, window, rows, window, prefix_fall, suffix_fall)
        for row in range(rows):
            rise = suffix_rise[row] + prefix_rise[row]
            total = rise + (suffix_fall[row] + prefix_fall[row])
            share = 100.0 * (rise / total)
            still = 50.0 if total == 0.0 else NAN
            result[start + row] = share if (total > 0.0) & (total < INFINITY) else still
        keep_block(rises, window, chunk)
        keep_block(falls, window, chunk)
        prices[0] = prices[chunk]
        start += chunk
