"""The Hurst exponent: whether moves go on, or turn back."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State
from onetape.features.logarithm import compute_log

NAN = math.nan

RangeWindow = Annotated[int, msgspec.Meta(ge=8, le=100_000)]
"""A count of bars that a rescaled range is of."""


class HurstState(State):
    """State of `Hurst`: the last `window` log returns, the oldest at `at`."""

    window: int
    scale: float
    ring: list[float]
    at: int = 0
    previous: float = NAN


@rule
def update_hurst(state: HurstState, close: float) -> float:
    """Logarithm of the rescaled range of the last `window` log returns, times `scale`."""
    window = state.window
    ring = state.ring
    at = state.at
    ring[at] = compute_log(close / state.previous) if state.previous > 0.0 else NAN
    state.previous = close
    start = at + 1 if at + 1 < window else 0
    state.at = start
    anchor = ring[at]
    at = 0
    total = 0.0
    while at < window:
        total += ring[at] - anchor
        at += 1
    mean = anchor + total / window
    if math.isnan(mean):
        return NAN
    path = 0.0
    highest = 0.0
    lowest = 0.0
    square = 0.0
    at = start
    while at < window:
        delta = ring[at] - mean
        path += delta
        square += delta * delta
        highest = max(highest, path)
        lowest = min(lowest, path)
        at += 1
    at = 0
    while at < start:
        delta = ring[at] - mean
        path += delta
        square += delta * delta
        highest = max(highest, path)
        lowest = min(lowest, path)
        at += 1
    deviation = math.sqrt(square / window)
    if deviation > 0.0:
        return state.scale * compute_log((highest - lowest) / deviation)
    return NAN


class Hurst(Estimator, frozen=True):
    """Hurst exponent of the last `window` log returns: 0.5 for independent ones, above it trending.

    The rescaled range of one window, H = ln(R / S) / ln(window / 2): Hurst (1951), "Long-Term
    Storage Capacity of Reservoirs". R is the range of the running sum of deviations from the mean
    (which begins at 0), S the population standard deviation. One window estimates coarsely, and of
    few returns too high: of 100 independent ones it is 0.6 on average. Takes time in proportion to
    `window` at each bar.

    NaN policy: a value that is not positive, or not finite, gives NaN until no return from or to it
    is in the window; equal returns have none: NaN.
    """

    window: RangeWindow = 100

    update = staticmethod(update_hurst)

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first bar has no return."""
        return self.window + 1

    def start_state(self) -> HurstState:
        """No return yet."""
        scale = 1.0 / math.log(self.window / 2)
        return HurstState(window=self.window, scale=scale, ring=[NAN] * self.window)
