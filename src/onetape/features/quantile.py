"""Values of a window in order: median and quantiles."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State

NAN = math.nan
INFINITY = math.inf

OrderWindow = Annotated[int, msgspec.Meta(ge=1, le=100_000)]
"""A count of bars that are kept in order; each bar moves up to so many numbers."""

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
"""A part of 1."""


class QuantileState(State):
    """State of a quantile: the last `window` values as they came and in order.

    A value that is no number stands in `order` as infinity; `bad` counts those. The quantile stands
    `fraction` of the way from `order[low]` to the next.
    """

    window: int
    low: int
    fraction: float
    ring: list[float]
    order: list[float]
    bad: int
    at: int = 0


@rule
def update_quantile(state: QuantileState, close: float) -> float:
    """Put the newest value in the place of the oldest, and move what is between. Ours."""
    window = state.window
    ring = state.ring
    order = state.order
    at = state.at
    oldest = ring[at]
    ring[at] = close
    state.at = at + 1 if at + 1 < window else 0
    value = close
    if oldest - oldest != 0.0:  # NaN or infinite: the difference is NaN
        state.bad -= 1
        oldest = INFINITY
    if close - close != 0.0:
        state.bad += 1
        value = INFINITY
    at = 0
    last = window - 1
    while at < last:
        middle = (at + last) // 2
        if order[middle] < oldest:
            at = middle + 1
        else:
            last = middle
    last = window - 1
    while at < last and order[at + 1] < value:
        order[at] = order[at + 1]
        at += 1
    while at > 0 and order[at - 1] > value:
        order[at] = order[at - 1]
        at -= 1
    order[at] = value
    if state.bad > 0:
        return NAN
    below = order[state.low]
    if state.fraction > 0.0:
        return below + state.fraction * (order[state.low + 1] - below)
    return below


class Quantile(Estimator, frozen=True):
    """The value that `share` of the last `window` bars are below, in the unit of its input.

    Linear between the two nearest values: type 7 of Hyndman and Fan (1996), "Sample Quantiles in
    Statistical Packages", as NumPy and pandas. Moves up to `window` numbers at each bar.

    NaN policy: a NaN or infinite input gives NaN until it has left the window.
    """

    window: OrderWindow
    share: Share

    update = staticmethod(update_quantile)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> QuantileState:
        """Only NaN."""
        return _start_quantile(self.window, self.share)


class Median(Estimator, frozen=True):
    """The median of the last `window` bars, in the unit of its input.

    Halfway between the two in the middle of an even window. Moves up to `window` numbers at each
    bar.

    NaN policy: a NaN or infinite input gives NaN until it has left the window.
    """

    window: OrderWindow

    update = staticmethod(update_quantile)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> QuantileState:
        """Only NaN."""
        return _start_quantile(self.window, 0.5)


def _start_quantile(window: int, share: float) -> QuantileState:
    rank = share * (window - 1)
    low = math.floor(rank)
    return QuantileState(
        window=window,
        low=low,
        fraction=rank - low,
        ring=[NAN] * window,
        order=[INFINITY] * window,
        bad=window,
    )
