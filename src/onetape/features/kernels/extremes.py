"""The greatest and least of a window: `RollingMax`, `RollingMin`, and what stands on a channel.

The greatest of a short window is that of parts of it that may overlap, and a part is made of parts:
one look at a chunk for a window of 5, two for one of 16. That of a longer one is made as `update`
makes it, four blocks abreast. It does not matter in which order numbers are compared, but for NaN
and for zeros of both signs: a chunk with a NaN or a zero below zero before or in it goes the way of
`update`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from onetape.features.kernels.abreast import find_abreast
from onetape.features.kernels.lanes import LANES
from onetape.features.kernels.memory import kernel, slots_of
from onetape.features.state import FloatColumn

NAN = math.nan
INFINITY = math.inf
LONGEST = 512
"""The longest window whose parts are compared."""
SHORT = 16
"""The longest window for which comparing parts is faster than four blocks abreast."""
BELOW_ZERO = -(2**63)
"""The bits of a zero below zero."""

UPPER = 0
LOWER = 1
MIDDLE = 2
PERCENT = 3
PERCENT_BELOW = 4


@kernel
def is_plain(values: Any, bits: Any, first: int, rows: int) -> bool:
    """Whether there is neither a NaN nor a zero below zero among `rows` values."""
    odd = 0
    for row in range(first, first + rows):
        odd |= int(not abs(values[row]) > 0.0)
    if odd:
        odd = 0
        for row in range(first, first + rows):
            value = values[row]
            odd |= int(value != value) | int(bits[row] == BELOW_ZERO)
    return odd == 0


@kernel
def pick(one: float, other: float, is_max: bool) -> float:
    """The greater or the lesser of two plain values."""
    if is_max:
        return other if other > one else one
    return other if other < one else one


@kernel
def compare_parts(
    values: Any, is_max: bool, start: int, rows: int, window: int, one: Any, other: Any, top: Any
) -> None:
    """The greatest or least of windows of plain values, the first of `rows` ends at `start`."""
    source = values
    first = start - window + 1
    left = rows + window - 1
    span = 1
    while 5 * span < window:
        left -= 3 * span
        for row in range(left):
            a = pick(source[first + row], source[first + row + span], is_max)
            b = pick(source[first + row + 2 * span], source[first + row + 3 * span], is_max)
            one[row] = pick(a, b, is_max)
        source = one
        one, other = other, one
        first = 0
        span *= 4
    second = first + min(span, window - span)
    third = first + min(2 * span, window - span)
    fourth = first + min(3 * span, window - span)
    last = first + window - span
    for row in range(rows):
        a = pick(source[first + row], source[second + row], is_max)
        b = pick(source[third + row], source[fourth + row], is_max)
        top[row] = pick(pick(a, b, is_max), source[last + row], is_max)


@kernel
def scan_blocks(
    values: Any, sign: float, start: int, rows: int, window: int, suffix: Any, top: Any
) -> None:
    """As `compare_parts`, whatever the values; `start` begins a block."""
    at = 0
    while at < rows:
        for row in range(window):
            suffix[row] = NAN
        if start + at > 0:
            best = -INFINITY
            for row in range(window):
                value = sign * values[start + at - 1 - row]
                if value > best or math.isnan(value):
                    best = value
                suffix[window - 1 - row] = best
        best = -INFINITY
        for row in range(min(window, rows - at)):
            value = sign * values[start + at + row]
            if value > best or math.isnan(value):
                best = value
            result = best
            if row < window - 1:
                value = suffix[row + 1]
                if value > result or math.isnan(value):
                    result = value
            top[at + row] = sign * result
        at += window


@kernel
def find_top(
    values: Any,
    bits: Any,
    sign: float,
    start: int,
    rows: int,
    window: int,
    plain: int,
    one: Any,
    other: Any,
    top: Any,
) -> int:
    """As `scan_blocks`, in the faster way where all values are plain.

    They are from row `plain` on, as far as they were looked at; the same is returned.
    """
    is_known = plain <= start - window
    is_abreast = window > SHORT and rows == LANES * window and is_known
    if is_abreast and find_abreast(values, sign > 0.0, start, window, one, top):
        return plain
    if not is_plain(values, bits, start, rows):
        plain = start + rows
    elif window <= LONGEST and is_known:
        compare_parts(values, sign > 0.0, start, rows, window, one, other, top)
        return plain
    scan_blocks(values, sign, start, rows, window, one, top)
    return plain


@kernel
def fill_extreme(
    close: FloatColumn, window: int, sign: float, scratch: FloatColumn, out: FloatColumn
) -> None:
    """The column of `RollingMax`, of `RollingMin` with `sign` -1.

    `scratch` has room for two chunks and two windows.
    """
    count = len(close)
    chunk = len(scratch) // 2 - window
    values = slots_of(close, 0)
    bits = slots_of(close.view(np.int64), 0)
    one = slots_of(scratch, 0)
    other = slots_of(scratch, chunk + window)
    plain = 0
    start = 0
    while start < count:
        rows = min(chunk if start > 0 else window, count - start)
        top = slots_of(out, start)
        plain = find_top(values, bits, sign, start, rows, window, plain, one, other, top)
        start += rows


@kernel
def fill_channel(
    high: FloatColumn,
    low: FloatColumn,
    close: FloatColumn,
    window: int,
    output: int,
    scratch: FloatColumn,
    out: FloatColumn,
) -> None:
    """The column of `Donchian`, `FastStochastic` or `WilliamsR`, by `output`.

    `scratch` has room for four chunks and two windows.
    """
    count = len(high)
    chunk = (len(scratch) - 2 * window) // 4
    highs = slots_of(high, 0)
    lows = slots_of(low, 0)
    closes = slots_of(close, 0)
    high_bits = slots_of(high.view(np.int64), 0)
    low_bits = slots_of(low.view(np.int64), 0)
    one = slots_of(scratch, 0)
    other = slots_of(scratch, chunk + window)
    top = slots_of(scratch, 2 * (chunk + window))
    bottom = slots_of(scratch, 3 * chunk + 2 * window)
    result = slots_of(out, 0)
    plain_high = 0
    plain_low = 0
    start = 0
    while start < count:
        rows = min(chunk if start > 0 else window, count - start)
        plain_high = find_top(
            highs, high_bits, 1.0, start, rows, window, plain_high, one, other, top
        )
        plain_low = find_top(
            lows, low_bits, -1.0, start, rows, window, plain_low, one, other, bottom
        )
        if output >= PERCENT:
            still = 50.0 if output == PERCENT else -50.0
            for row in range(rows):
                span = top[row] - bottom[row]
                price = closes[start + row]
                if output == PERCENT:
                    share = 100.0 * ((price - bottom[row]) / span)
                else:
                    share = -100.0 * ((top[row] - price) / span)
                flat = still if (span == 0.0) & (price - price == 0.0) else NAN
                result[start + row] = share if (span > 0.0) & (span < INFINITY) else flat
        elif output == MIDDLE:
            for row in range(rows):
                span = top[row] - bottom[row]
                middle = 0.5 * top[row] + 0.5 * bottom[row]
                result[start + row] = NAN if span != span else middle
        else:
            end = top if output == UPPER else bottom
            for row in range(rows):
                span = top[row] - bottom[row]
                result[start + row] = NAN if span != span else end[row]
        start += rows
