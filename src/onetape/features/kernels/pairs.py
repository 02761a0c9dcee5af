"""Two columns over a window: `Correlation`, `Beta`; groups as in `moments`."""

from __future__ import annotations

import math
from typing import Any

from onetape.features.kernels.abreast import relate_abreast
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
def find_slopes(parts: Any, chunk: int, rows: int, window: int, is_fast: bool, result: Any) -> bool:
    """`Beta` from the parts of the sums.

    Returns:
        Whether no sum was too extreme for `divide`, which takes the place of `/` if `is_fast`.
    """
    divisor = float(window)
    inverse = 1.0 / divisor
    odd = 0
    for row in range(rows):
        x = parts[row] + parts[row + 5 * chunk]
        y = parts[row + chunk] + parts[row + 6 * chunk]
        yy = parts[row + 3 * chunk] + parts[row + 8 * chunk]
        xy = parts[row + 4 * chunk] + parts[row + 9 * chunk]
        odd |= int(is_extreme(x)) | int(is_extreme(y))
        x_mean = divide(x, divisor, inverse) if is_fast else x / divisor
        y_mean = divide(y, divisor, inverse) if is_fast else y / divisor
        square = yy - y * y_mean
        product = xy - x_mean * y
        slope = product / square
        result[row] = slope if (square > 0.0) & (product - product == 0.0) else NAN
    return odd == 0


@kernel
def find_shares(parts: Any, chunk: int, rows: int, window: int, is_fast: bool, result: Any) -> bool:
    """As `find_slopes`, for `Correlation`."""
    divisor = float(window)
    inverse = 1.0 / divisor
    odd = 0
    for row in range(rows):
        x = parts[row] + parts[row + 5 * chunk]
        y = parts[row + chunk] + parts[row + 6 * chunk]
        xx = parts[row + 2 * chunk] + parts[row + 7 * chunk]
        yy = parts[row + 3 * chunk] + parts[row + 8 * chunk]
        xy = parts[row + 4 * chunk] + parts[row + 9 * chunk]
        odd |= int(is_extreme(x)) | int(is_extreme(y))
        x_mean = divide(x, divisor, inverse) if is_fast else x / divisor
        y_mean = divide(y, divisor, inverse) if is_fast else y / divisor
        square = xx - x * x_mean
        square = 0.0 if square < 0.0 else square
        other_square = yy - y * y_mean
        other_square = 0.0 if other_square < 0.0 else other_square
        product = xy - x_mean * y
        scale = math.sqrt(square) * math.sqrt(other_square)
        share = product / scale
        share = 1.0 if share > 1.0 else share
        share = -1.0 if share < -1.0 else share
        result[row] = share if scale > 0.0 else NAN
    return odd == 0


@kernel
def fill_pair(
    one: FloatColumn,
    other: FloatColumn,
    window: int,
    is_beta: bool,
    scratch: FloatColumn,
    lanes: FloatColumn,
    out: FloatColumn,
) -> None:
    """The column of `Correlation` or `Beta`.

    `scratch` has room for ten chunks, `lanes` for those of five windows.
    """
    count = len(one)
    chunk = len(scratch) // 10
    xs = slots_of(one, 0)
    ys = slots_of(other, 0)
    parts = slots_of(scratch, 0)
    for row in range(min(window - 1, count)):
        out[row] = NAN
    side = slots_of(lanes, 0)
    whole = slots_of(out, 0)
    start = window - 1
    while start < count:
        start = relate_abreast(xs, ys, start, count, window, is_beta, side, whole)
        rows = min(chunk, count - start)
        sum_pairs(xs, ys, start, rows, window, parts, chunk)
        result = slots_of(out, start)
        if is_beta:
            if not find_slopes(parts, chunk, rows, window, True, result):
                find_slopes(parts, chunk, rows, window, False, result)
        elif not find_shares(parts, chunk, rows, window, True, result):
            find_shares(parts, chunk, rows, window, False, result)
        start += chunk
