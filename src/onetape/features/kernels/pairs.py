"""Two columns over a window: `Correlation`, `Beta`; groups as in `moments`."""

from __future__ import annotations

import math
from typing import Any

from onetape.features.kernels.memory import kernel, slots_of
from onetape.features.kernels.quotient import divide, is_extreme
from onetape.features.state import FloatColumn

NAN = math.nan


@kernel
def sum_pairs(xs: Any, ys: Any, start: int, rows: int, window: int, parts: Any, chunk: int) -> None:
    """The parts of five sums of `rows` windows; at `start` ends a block.

    `parts` are chunks: of x, y, xx, yy and xy, first their prefixes and then their suffixes.
    """
    at = 0
    while at < rows:
        end = start + at
        x_anchor = xs[end]
        y_anchor = ys[end]
        x = 0.0
        y = 0.0
        xx = 0.0
        yy = 0.0
        xy = 0.0
        for row in range(min(window, rows - at)):
            place = at + row
            if row > 0:
                dx = xs[end + row] - x_anchor
                dy = ys[end + row] - y_anchor
                x += dx
                y += dy
                xx += dx * dx
                yy += dy * dy
                xy += dx * dy
            parts[place] = x
            parts[place + chunk] = y
            parts[place + 2 * chunk] = xx
            parts[place + 3 * chunk] = yy
            parts[place + 4 * chunk] = xy
        x = 0.0
        y = 0.0
        xx = 0.0
        yy = 0.0
        xy = 0.0
        for row in range(window):
            place = at + window - 1 - row + 5 * chunk
            dx = xs[end - row] - x_anchor
            dy = ys[end - row] - y_anchor
            x += dx
            y += dy
            xx += dx * dx
            yy += dy * dy
            xy += dx * dy
            parts[place] = x
            parts[place + chunk] = y
            parts[place + 2 * chunk] = xx
            parts[place + 3 * chunk] = yy
            parts[place + 4 * chunk] = xy
        at += window


@kernel
def fill_pair(
    one: FloatColumn,
    other: FloatColumn,
    window: int,
    is_beta: bool,
    scratch: FloatColumn,
    out: FloatColumn,
) -> None:
    """The column of `Correlation` or `Beta`. `scratch` has room for 17 chunks."""
    count = len(one)
    chunk = len(scratch) // 17
    xs = slots_of(one, 0)
    ys = slots_of(other, 0)
    parts = slots_of(scratch, 0)
    result = slots_of(out, 0)
    for row in range(min(window - 1, count)):
        result[row] = NAN
    sums = slots_of(scratch, 10 * chunk)
    x = slots_of(scratch, 10 * chunk)
    y = slots_of(scratch, 11 * chunk)
    xx = slots_of(scratch, 12 * chunk)
    yy = slots_of(scratch, 13 * chunk)
    xy = slots_of(scratch, 14 * chunk)
    x_mean = slots_of(scratch, 15 * chunk)
    y_mean = slots_of(scratch, 16 * chunk)
    divisor = float(window)
    inverse = 1.0 / divisor
    start = window - 1
    while start < count:
        rows = min(chunk, count - start)
        sum_pairs(xs, ys, start, rows, window, parts, chunk)
        for row in range(5 * chunk):
            sums[row] = parts[row] + parts[row + 5 * chunk]
        odd = 0
        for row in range(rows):
            odd |= int(is_extreme(x[row])) | int(is_extreme(y[row]))
            x_mean[row] = divide(x[row], divisor, inverse)
            y_mean[row] = divide(y[row], divisor, inverse)
        if odd:
            for row in range(rows):
                x_mean[row] = x[row] / divisor
                y_mean[row] = y[row] / divisor
        if is_beta:
            for row in range(rows):
                square = yy[row] - y[row] * y_mean[row]
                product = xy[row] - x_mean[row] * y[row]
                slope = product / square
                result[start + row] = slope if (square > 0.0) & (product - product == 0.0) else NAN
        else:
            for row in range(rows):
                square = xx[row] - x[row] * x_mean[row]
                square = 0.0 if square < 0.0 else square
                other_square = yy[row] - y[row] * y_mean[row]
                other_square = 0.0 if other_square < 0.0 else other_square
                product = xy[row] - x_mean[row] * y[row]
                scale = math.sqrt(square) * math.sqrt(other_square)
                share = product / scale
                share = 1.0 if share > 1.0 else share
                share = -1.0 if share < -1.0 else share
                result[start + row] = share if scale > 0.0 else NAN
        start += chunk
