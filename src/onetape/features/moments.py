"""The shape of the distribution of a window: how lopsided, how heavy its tails."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State

NAN = math.nan

LEAST_SQUARE = 1e-280
"""Below this the square of a sum of squares would lose digits."""

ShapeWindow = Annotated[int, msgspec.Meta(ge=3, le=1_000_000)]
"""A count of bars whose distribution has a shape."""


class ShapeState(State):
    """State of a window's first four moments: blocks of `window`, counted from `anchor`.

    As in `MomentsState`, with the sums of the third and fourth powers.
    """

    window: int
    sums: list[float]
    squares: list[float]
    cubes: list[float]
    fourths: list[float]
    at: int = 0
    anchor: float = 0.0
    prefix_sum: float = 0.0
    prefix_square: float = 0.0
    prefix_cube: float = 0.0
    prefix_fourth: float = 0.0
    cube: float = NAN
    fourth: float = NAN


@rule
def update_shape(state: ShapeState, value: float) -> float:
    """Move the window by one value; the sum of squared deviations from its mean.

    `state.cube` and `state.fourth` are the sums of their third and fourth powers. As
    `update_moments`, and the powers of (value - mean) written out in those of (value - anchor).
    """
    window = state.window
    sums = state.sums
    at = state.at
    sums[at] = value
    at += 1
    if at < window:
        delta = value - state.anchor
        power = delta * delta
        total = state.prefix_sum + delta
        square = state.prefix_square + power
        cube = state.prefix_cube + power * delta
        fourth = state.prefix_fourth + power * power
        state.at = at
        state.prefix_sum = total
        state.prefix_square = square
        state.prefix_cube = cube
        state.prefix_fourth = fourth
        total += sums[at]
        square += state.squares[at]
        cube += state.cubes[at]
        fourth += state.fourths[at]
    else:
        state.at = 0
        state.anchor = value
        state.prefix_sum = 0.0
        state.prefix_square = 0.0
        state.prefix_cube = 0.0
        state.prefix_fourth = 0.0
        total = 0.0
        square = 0.0
        cube = 0.0
        fourth = 0.0
        while at > 0:
            at -= 1
            delta = sums[at] - value
            power = delta * delta
            total += delta
            square += power
            cube += power * delta
            fourth += power * power
            sums[at] = total
            state.squares[at] = square
            state.cubes[at] = cube
            state.fourths[at] = fourth
    mean = total / window
    power = total * mean
    state.cube = cube - mean * (3.0 * square - 2.0 * power)
    state.fourth = fourth - mean * (4.0 * cube - mean * (6.0 * square - 3.0 * power))
    return square - power


@rule
def update_skewness(state: ShapeState, close: float) -> float:
    """Third central moment in cubed standard deviations."""
    square = update_shape(state, close) / state.window
    if square > 0.0 and square * square > LEAST_SQUARE:
        return state.cube / state.window / (square * math.sqrt(square))
    return NAN


@rule
def update_kurtosis(state: ShapeState, close: float) -> float:
    """Fourth central moment in squared variances, minus 3."""
    square = update_shape(state, close) / state.window
    if square > 0.0 and square * square > LEAST_SQUARE:
        return state.fourth / state.window / (square * square) - 3.0
    return NAN


class Skewness(Estimator, frozen=True):
    """Skewness of the last `window` bars, 0 for a symmetric distribution, a pure number.

    The population's: mean of the cubed deviations over the cubed population standard deviation
    (Fisher's g1, as `scipy.stats.skew`; no correction for small samples).

    NaN policy: a NaN or infinite input gives NaN until it has left the window; equal values, or
    ones that differ by less than about 1e-70, have none: NaN.
    """

    window: ShapeWindow

    update = staticmethod(update_skewness)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ShapeState:
        """A block before of NaN."""
        return _start_shape(self.window)


class Kurtosis(Estimator, frozen=True):
    """Excess kurtosis of the last `window` bars, 0 for a normal distribution, -2 or more.

    The population's: mean of the fourth powers of the deviations over the squared population
    variance, minus 3 (Fisher's g2, as `scipy.stats.kurtosis`; no correction for small samples).

    NaN policy: a NaN or infinite input gives NaN until it has left the window; equal values, or
    ones that differ by less than about 1e-70, have none: NaN.
    """

    window: ShapeWindow

    update = staticmethod(update_kurtosis)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ShapeState:
        """A block before of NaN."""
        return _start_shape(self.window)


def _start_shape(window: int) -> ShapeState:
    """A block before of NaN, so that there is no value until the first block is full."""
    return ShapeState(
        window=window,
        sums=[NAN] * window,
        squares=[NAN] * window,
        cubes=[NAN] * window,
        fourths=[NAN] * window,
    )
