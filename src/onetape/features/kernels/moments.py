"""Variances of a window: `RollingVariance`, `RollingStd`, `ZScore`, `Bollinger`.

As their `update`: deviations are counted from the last value of the block before. Here a group is
the end of a block and the rows of the next one but its end, because all of them have one anchor.
"""

from __future__ import annotations

import math
from typing import Any

from onetape.features.kernels.abreast import vary_abreast
from onetape.features.kernels.memory import kernel, slots_of
from onetape.features.kernels.quotient import divide, is_extreme
from onetape.features.state import FloatColumn

NAN = math.nan

VARIANCE = 0
DEVIATION = 1
SCORE = 2
UPPER = 3
MIDDLE = 4
LOWER = 5
BANDWIDTH = 6
PERCENT_B = 7


@kernel
def sum_deviations(
    values: Any,
    start: int,
    rows: int,
    window: int,
    prefix: Any,
    suffix: Any,
    prefix_square: Any,
    suffix_square: Any,
) -> None:
    """The parts of the sums of `rows` windows; at `start` ends a block."""
    at = 0
    while at < rows:
        end = start + at
        anchor = values[end]
        forward = 0.0
        square = 0.0
        prefix[at] = 0.0
        prefix_square[at] = 0.0
        for row in range(1, min(window, rows - at)):
            delta = values[end + row] - anchor
            forward += delta
            square += delta * delta
            prefix[at + row] = forward
            prefix_square[at + row] = square
        forward = 0.0
        square = 0.0
        last = at + window - 1
        for row in range(window):
            delta = values[end - row] - anchor
            forward += delta
            square += delta * delta
            suffix[last - row] = forward
            suffix_square[last - row] = square
        at += window


@kernel
def find_variances(
    rows: int,
    window: int,
    degrees: int,
    prefix: Any,
    suffix: Any,
    prefix_square: Any,
    suffix_square: Any,
    means: Any,
    result: Any,
) -> None:
    """Means of deviations, and variances, from the parts of their sums."""
    by_window = 1.0 / window
    by_degrees = 1.0 / degrees
    odd = 0
    for row in range(rows):
        total = prefix[row] + suffix[row]
        mean = divide(total, float(window), by_window)
        square = prefix_square[row] + suffix_square[row] - total * mean
        square = 0.0 if square < 0.0 else square
        odd |= int(is_extreme(total)) | int(is_extreme(square))
        means[row] = mean
        result[row] = divide(square, float(degrees), by_degrees)
    if odd:
        for row in range(rows):
            total = prefix[row] + suffix[row]
            mean = total / window
            square = prefix_square[row] + suffix_square[row] - total * mean
            means[row] = mean
            result[row] = (0.0 if square < 0.0 else square) / degrees


@kernel
def place_values(
    values: Any,
    start: int,
    rows: int,
    window: int,
    width: float,
    output: int,
    means: Any,
    result: Any,
) -> None:
    """Scores and bands in place of standard deviations; means are counted from the anchors."""
    for at in range(0, rows, window):
        anchor = values[start + at]
        for row in range(at, min(at + window, rows)):
            deviation = result[row]
            reach = width * deviation
            middle = anchor + means[row]
            if output == SCORE:
                score = (values[start + row] - anchor - means[row]) / deviation
                value = score if deviation > 0.0 else NAN
            elif output == UPPER:
                value = middle + reach
            elif output == MIDDLE:
                value = middle
            elif output == LOWER:
                value = middle - reach
            elif output == BANDWIDTH:
                value = (reach + reach) / middle if middle > 0.0 else NAN
            else:
                place = values[start + row] - anchor - means[row]
                value = 0.5 + 0.5 * (place / reach) if reach > 0.0 else NAN
            result[row] = value


@kernel
def fill_moments(
    close: FloatColumn,
    window: int,
    ddof: int,
    width: float,
    output: int,
    scratch: FloatColumn,
    lanes: FloatColumn,
    out: FloatColumn,
) -> None:
    """The column of one of the four, by `output`.

    `scratch` has room for five chunks, `lanes` for those of two windows where `output` is
    `VARIANCE` or `DEVIATION`.
    """
    count = len(close)
    chunk = len(scratch) // 5
    values = slots_of(close, 0)
    prefix = slots_of(scratch, 0)
    suffix = slots_of(scratch, chunk)
    prefix_square = slots_of(scratch, 2 * chunk)
    suffix_square = slots_of(scratch, 3 * chunk)
    means = slots_of(scratch, 4 * chunk)
    for row in range(min(window - 1, count)):
        out[row] = NAN
    degrees = window - ddof
    is_root = output == DEVIATION
    side = slots_of(lanes, 0)
    whole = slots_of(out, 0)
    start = window - 1
    while start < count:
        if output <= DEVIATION:
            start = vary_abreast(values, start, count, window, degrees, is_root, side, whole)
        rows = min(chunk, count - start)
        result = slots_of(out, start)
        sum_deviations(values, start, rows, window, prefix, suffix, prefix_square, suffix_square)
        find_variances(
            rows, window, degrees, prefix, suffix, prefix_square, suffix_square, means, result
        )
        if output != VARIANCE:
            for row in range(rows):
                result[row] = math.sqrt(result[row])
        if output > DEVIATION:
            place_values(values, start, rows, window, width, output, means, result)
        start += chunk
