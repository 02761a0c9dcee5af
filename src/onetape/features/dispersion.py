"""How far values spread around their mean, over a window."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State

NAN = math.nan

SpreadWindow = Annotated[int, msgspec.Meta(ge=2, le=1_000_000)]
"""A count of bars that can spread."""

DeltaDegrees = Annotated[int, msgspec.Meta(ge=0, le=1)]
"""Delta degrees of freedom: 0 divides by n (population), 1 by n - 1 (sample)."""


class MomentsState(State):
    """State of a window's mean and sum of squared deviations (`squares`).

    Blocks of `window` as in `SmaState`: `means[at:]` and `squares[at:]` describe the suffixes of
    the block before, `means[:at]` holds this block's values, `prefix_*` describes those values.
    `mean` and `square` are the result, for the whole window.
    """

    window: int
    ddof: int
    means: list[float]
    squares: list[float]
    at: int = 0
    prefix_mean: float = 0.0
    prefix_square: float = 0.0
    mean: float = NAN
    square: float = NAN


@rule
def update_moments(state: MomentsState, value: float) -> float:
    """Move the window by one value; the sum of squared deviations from its mean.

    Within a block by Welford (1962), "Note on a method for calculating corrected sums of squares
    and products"; suffix and prefix joined by Chan, Golub, LeVeque (1979), "Updating formulae and a
    pairwise algorithm for computing sample variances". Nothing is subtracted from a sum of squares,
    so it is never negative, and exactly zero for equal values.
    """
    window = state.window
    means = state.means
    squares = state.squares
    at = state.at
    means[at] = value
    at += 1
    delta = value - state.prefix_mean
    step = delta / at
    mean = state.prefix_mean + step
    square = state.prefix_square + delta * (delta - step)
    if at < window:
        state.at = at
        state.prefix_mean = mean
        state.prefix_square = square
        share = (window - at) / window
        delta = means[at] - mean
        state.mean = mean + delta * share
        state.square = squares[at] + square + delta * delta * (share * at)
        return state.square
    state.mean = mean
    state.square = square
    state.at = 0
    state.prefix_mean = 0.0
    state.prefix_square = 0.0
    mean = 0.0
    square = 0.0
    while at > 0:
        at -= 1
        delta = means[at] - mean
        step = delta / (window - at)
        mean += step
        square += delta * (delta - step)
        means[at] = mean
        squares[at] = square
    return state.square


@rule
def update_rolling_std(state: MomentsState, close: float) -> float:
    """Standard deviation of the last `window` values."""
    return math.sqrt(update_moments(state, close) / (state.window - state.ddof))


@rule
def update_zscore(state: MomentsState, close: float) -> float:
    """Distance of the value from its window's mean in standard deviations."""
    deviation = update_rolling_std(state, close)
    if deviation > 0.0:
        return (close - state.mean) / deviation
    return NAN


def _start_moments(window: int, ddof: int) -> MomentsState:
    """A block before of NaN, so that there is no value until the first block is full."""
    return MomentsState(window=window, ddof=ddof, means=[NAN] * window, squares=[NAN] * window)


class RollingStd(Estimator, frozen=True):
    """Standard deviation of the last `window` bars, in the unit of its input.

    Population (`ddof=0`, divides by n) unless told otherwise; `ddof=1` is the sample's.

    NaN policy: a NaN or infinite input gives NaN until it has left the window.
    """

    window: SpreadWindow
    ddof: DeltaDegrees = 0

    update = staticmethod(update_rolling_std)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> MomentsState:
        """No value yet."""
        return _start_moments(self.window, self.ddof)


class ZScore(Estimator, frozen=True):
    """(value - mean) / standard deviation of the last `window` bars, this one included.

    Population standard deviation (`ddof=0`) unless told otherwise.

    NaN policy: a NaN or infinite input gives NaN until it has left the window; equal values have no
    score: NaN.
    """

    window: SpreadWindow
    ddof: DeltaDegrees = 0

    update = staticmethod(update_zscore)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> MomentsState:
        """No value yet."""
        return _start_moments(self.window, self.ddof)
