"""Four blocks abreast: sums, moments and extremes of windows.

Each function computes rows from `start` on, `LANES` windows of them at a time, in the operations
and the order of `update`, and returns where it stopped: where too few rows are left before `stop`,
or a sum is too extreme for a division without dividing. The caller does what follows block by
block.

`suffix` has room for the lanes of a window for each sum.
"""

from __future__ import annotations

import math
from typing import Any

from onetape.features.kernels.lanes import (
    LANES,
    choose,
    gather,
    is_all,
    load_lanes,
    root,
    scatter,
    size_of,
    spread,
    store_lanes,
)
from onetape.features.kernels.memory import kernel
from onetape.features.kernels.quotient import divide_lanes, have_room

NAN = math.nan


@kernel
def pick_lanes(one: Any, other: Any, is_max: bool) -> Any:
    """The greater or the lesser of plain values."""
    if is_max:
        return choose(other > one, other, one)
    return choose(other < one, other, one)


@kernel
def find_abreast(values: Any, is_max: bool, start: int, window: int, suffix: Any, top: Any) -> bool:
    """The extremes of `LANES` windows of rows; whether all of these rows were plain and not zero.

    At `start` begins a block, with one of plain values before it.
    """
    best = gather(values, start - 1, window)
    for row in range(window - 1):
        best = pick_lanes(best, gather(values, start - 1 - row, window), is_max)
        store_lanes(suffix, LANES * (window - 2 - row), best)
    best = gather(values, start, window)
    fits = best == best
    for row in range(window):
        value = gather(values, start + row, window)
        fits &= size_of(value) > 0.0
        best = pick_lanes(best, value, is_max)
        both = best
        if row < window - 1:
            both = pick_lanes(load_lanes(suffix, LANES * row), best, is_max)
        scatter(top, row, window, both)
    return is_all(fits)


@kernel
def average_abreast(
    values: Any, start: int, stop: int, window: int, suffix: Any, result: Any
) -> int:
    """As `fill_sma`; at `start` begins a block, with one before it."""
    divisor = spread(float(window))
    inverse = spread(1.0 / window)
    while start + LANES * window <= stop:
        total = spread(0.0)
        fits = total == 0.0
        for row in range(window):
            store_lanes(suffix, LANES * (window - 1 - row), total)
            total += gather(values, start - 1 - row, window)
        forward = spread(0.0)
        for row in range(window):
            forward += gather(values, start + row, window)
            total = load_lanes(suffix, LANES * row) + forward
            fits &= have_room(total)
            scatter(result, start + row, window, divide_lanes(total, divisor, inverse))
        if not is_all(fits):
            break
        start += LANES * window
    return start


@kernel
def weigh_abreast(
    values: Any, start: int, stop: int, window: int, divisor: float, suffix: Any, result: Any
) -> int:
    """As `fill_wma`; at `start` begins a block, with one before it."""
    whole = spread(divisor)
    inverse = spread(1.0 / divisor)
    while start + LANES * window <= stop:
        backward = spread(0.0)
        total = spread(0.0)
        fits = total == 0.0
        for row in range(window):
            store_lanes(suffix, LANES * (window - 1 - row), total)
            backward += gather(values, start - 1 - row, window)
            total += backward
        forward = spread(0.0)
        weighted = spread(0.0)
        for row in range(window):
            value = gather(values, start + row, window)
            forward += value
            weighted += value * float(row + 1)
            total = load_lanes(suffix, LANES * row) + weighted + forward * float(window - 1 - row)
            fits &= have_room(total)
            scatter(result, start + row, window, divide_lanes(total, whole, inverse))
        if not is_all(fits):
            break
        start += LANES * window
    return start


@kernel
def vary_abreast(
    values: Any,
    start: int,
    stop: int,
    window: int,
    degrees: int,
    is_deviation: bool,
    suffix: Any,
    result: Any,
) -> int:
    """As `fill_moments`, variances or standard deviations; at `start` ends a block."""
    squares = LANES * window
    count = spread(float(window))
    by_count = spread(1.0 / window)
    divisor = spread(float(degrees))
    by_divisor = spread(1.0 / degrees)
    while start + LANES * window <= stop:
        anchor = gather(values, start, window)
        total = spread(0.0)
        square = spread(0.0)
        fits = total == 0.0
        for row in range(window):
            place = LANES * (window - 1 - row)
            delta = gather(values, start - row, window) - anchor
            total += delta
            square += delta * delta
            store_lanes(suffix, place, total)
            store_lanes(suffix, place + squares, square)
        forward = spread(0.0)
        forward_square = spread(0.0)
        for row in range(window):
            delta = gather(values, start + row, window) - anchor
            forward += delta
            forward_square += delta * delta
            total = forward + load_lanes(suffix, LANES * row)
            square = forward_square + load_lanes(suffix, LANES * row + squares)
            square = square - total * divide_lanes(total, count, by_count)
            square = choose(square < 0.0, 0.0, square)
            fits &= have_room(total) & have_room(square)
            variance = divide_lanes(square, divisor, by_divisor)
            if is_deviation:
                variance = root(variance)
            scatter(result, start + row, window, variance)
        if not is_all(fits):
            break
        start += LANES * window
    return start


@kernel
def relate_abreast(
    xs: Any, ys: Any, start: int, stop: int, window: int, is_beta: bool, suffix: Any, result: Any
) -> int:
    """As `fill_pair`; at `start` ends a block."""
    size = LANES * window
    count = spread(float(window))
    by_count = spread(1.0 / window)
    while start + LANES * window <= stop:
        x_anchor = gather(xs, start, window)
        y_anchor = gather(ys, start, window)
        x = spread(0.0)
        y = spread(0.0)
        xx = spread(0.0)
        yy = spread(0.0)
        xy = spread(0.0)
        fits = x == 0.0
        for row in range(window):
            place = LANES * (window - 1 - row)
            dx = gather(xs, start - row, window) - x_anchor
            dy = gather(ys, start - row, window) - y_anchor
            x += dx
            y += dy
            xx += dx * dx
            yy += dy * dy
            xy += dx * dy
            store_lanes(suffix, place, x)
            store_lanes(suffix, place + size, y)
            store_lanes(suffix, place + 2 * size, xx)
            store_lanes(suffix, place + 3 * size, yy)
            store_lanes(suffix, place + 4 * size, xy)
        x = spread(0.0)
        y = spread(0.0)
        xx = spread(0.0)
        yy = spread(0.0)
        xy = spread(0.0)
        for row in range(window):
            place = LANES * row
            dx = gather(xs, start + row, window) - x_anchor
            dy = gather(ys, start + row, window) - y_anchor
            x += dx
            y += dy
            xx += dx * dx
            yy += dy * dy
            xy += dx * dy
            x_sum = x + load_lanes(suffix, place)
            y_sum = y + load_lanes(suffix, place + size)
            x_mean = divide_lanes(x_sum, count, by_count)
            fits &= have_room(x_sum) & have_room(y_sum)
            y_square = yy + load_lanes(suffix, place + 3 * size)
            y_square = y_square - y_sum * divide_lanes(y_sum, count, by_count)
            product = xy + load_lanes(suffix, place + 4 * size) - x_mean * y_sum
            if is_beta:
                known = (y_square > 0.0) & (product - product == 0.0)
                share = choose(known, product / y_square, NAN)
            else:
                x_square = xx + load_lanes(suffix, place + 2 * size) - x_sum * x_mean
                x_square = choose(x_square < 0.0, 0.0, x_square)
                y_square = choose(y_square < 0.0, 0.0, y_square)
                scale = root(x_square) * root(y_square)
                share = product / scale
                share = choose(share > 1.0, 1.0, share)
                share = choose(share < -1.0, -1.0, share)
                share = choose(scale > 0.0, share, NAN)
            scatter(result, start + row, window, share)
        if not is_all(fits):
            break
        start += LANES * window
    return start
