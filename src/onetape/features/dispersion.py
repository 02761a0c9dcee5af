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
    """State of a window's mean and sum of squared deviations.

    Blocks of `window` as in `SmaState`. Values are counted from `anchor`, the last value of the
    block before: `sums` and `squares` hold at `[at:]` the sums of (value - anchor) and of its
    square over the suffixes of that block, `sums[:at]` this block's values as they are, `prefix_*`
    the sums over those. `mean` (from the anchor on) and `anchor` make the mean of the window.
    """

    window: int
    ddof: int
    sums: list[float]
    squares: list[float]
    at: int = 0
    anchor: float = 0.0
    prefix_sum: float = 0.0
    prefix_square: float = 0.0
    mean: float = NAN


@rule
def update_moments(state: MomentsState, value: float) -> float:
    """Move the window by one value; the sum of squared deviations from its mean.

    The shifted sums of Chan, Golub, LeVeque (1983), "Algorithms for computing the sample variance:
    analysis and recommendations". The anchor is a value of the window itself, so (mean - anchor)^2
    is at most twice the sum of squared deviations: what cancels costs a factor of 2n of rounding at
    the worst, and equal values give exactly zero, at any scale.
    """
    window = state.window
    sums = state.sums
    squares = state.squares
    at = state.at
    sums[at] = value
    at += 1
    if at < window:
        delta = value - state.anchor
        total = state.prefix_sum + delta
        square = state.prefix_square + delta * delta
        state.at = at
        state.prefix_sum = total
        state.prefix_square = square
        total += sums[at]
        square += squares[at]
    else:
        state.at = 0
        state.anchor = value
        state.prefix_sum = 0.0
        state.prefix_square = 0.0
        total = 0.0
        square = 0.0
        while at > 0:
            at -= 1
            delta = sums[at] - value
            total += delta
            square += delta * delta
            sums[at] = total
            squares[at] = square
    mean = total / window
    state.mean = mean
    square -= total * mean
    return 0.0 if square < 0.0 else square


@rule
def update_rolling_variance(state: MomentsState, close: float) -> float:
    """Mean squared deviation of the last `window` values from their mean."""
    return update_moments(state, close) / (state.window - state.ddof)


@rule
def update_rolling_std(state: MomentsState, close: float) -> float:
    """Standard deviation of the last `window` values."""
    return math.sqrt(update_moments(state, close) / (state.window - state.ddof))


@rule
def update_zscore(state: MomentsState, close: float) -> float:
    """Distance of the value from its window's mean in standard deviations."""
    deviation = update_rolling_std(state, close)
    if deviation > 0.0:
        return (close - state.anchor - state.mean) / deviation
    return NAN


class RollingVariance(Estimator, frozen=True):
    """Variance of the last `window` bars, in the squared unit of its input.

    Population (`ddof=0`) unless told otherwise; `ddof=1` divides by `window - 1`. Exactly zero for
    equal values.

    NaN policy: a NaN or infinite input gives NaN until it has left the window.
    """

    window: SpreadWindow
    ddof: DeltaDegrees = 0

    update = staticmethod(update_rolling_variance)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> MomentsState:
        """No value yet."""
        return start_moments(self.window, self.ddof)


class RollingStd(Estimator, frozen=True):
    """Standard deviation of the last `window` bars, in the unit of its input.

    Population (`ddof=0`) unless told otherwise; `ddof=1` divides by `window - 1`. Exactly zero for
    equal values.

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
        return start_moments(self.window, self.ddof)


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
        return start_moments(self.window, self.ddof)


def start_moments(window: int, ddof: int) -> MomentsState:
    """A block before of NaN, so that there is no value until the first block is full."""
    nothing = [NAN] * window
    return MomentsState(window=window, ddof=ddof, sums=nothing, squares=list(nothing))
