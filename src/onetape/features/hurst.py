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
    """State of `Hurst`: blocks of `window` log returns, counted from the last of the block before.

    A path is a sum of returns less `anchor`, and its points stand at places 0 to `window`. `after`
    and `squares` hold the suffix sums of the block before, and of squares; `above` and `below` the
    next corner to the right in the upper and lower hull of the path from a place on (the path of a
    suffix is minus `after`, up to its start). `returns` and `path` are those of this block up to
    `at`, `square` a sum of squares, `tops` and `bottoms` the corners of its hulls.
    """

    window: int
    scale: float
    returns: list[float]
    after: list[float]
    squares: list[float]
    above: list[float]
    below: list[float]
    path: list[float]
    tops: list[float]
    bottoms: list[float]
    at: int = 0
    tops_count: int = 1
    bottoms_count: int = 1
    previous: float = NAN
    anchor: float = NAN
    square: float = 0.0


@rule
def start_hurst_block(state: HurstState) -> float:
    """Make the full block the block before, its last return the anchor; its sum from there."""
    window = state.window
    after = state.after
    above = state.above
    below = state.below
    anchor = state.returns[window - 1]
    total = 0.0
    square = 0.0
    at = window
    while at > 0:
        at -= 1
        delta = state.returns[at] - anchor
        total += delta
        square += delta * delta
        after[at] = total
        state.squares[at] = square
        corner = at + 1
        while corner < window:
            further = int(above[corner])
            step = (total - after[corner]) * (further - corner)
            if step > (after[corner] - after[further]) * (corner - at):
                break
            corner = further
        above[at] = float(corner)
        corner = at + 1
        while corner < window:
            further = int(below[corner])
            step = (total - after[corner]) * (further - corner)
            if step < (after[corner] - after[further]) * (corner - at):
                break
            corner = further
        below[at] = float(corner)
    state.anchor = anchor
    state.square = 0.0
    state.at = 0
    state.tops_count = 1
    state.bottoms_count = 1
    return total


@rule
def extend_hurst_path(state: HurstState, change: float) -> float:
    """Add a return to this block, and its point to the hulls; the sum of the block so far."""
    path = state.path
    at = state.at
    state.returns[at] = change
    delta = change - state.anchor
    state.square += delta * delta
    end = path[at] + delta
    at += 1
    state.at = at
    path[at] = end
    corners = state.tops
    count = state.tops_count
    while count > 1:
        corner = int(corners[count - 1])
        before = int(corners[count - 2])
        height = path[corner]
        if (height - path[before]) * (at - corner) > (end - height) * (corner - before):
            break
        count -= 1
    corners[count] = float(at)
    state.tops_count = count + 1
    corners = state.bottoms
    count = state.bottoms_count
    while count > 1:
        corner = int(corners[count - 1])
        before = int(corners[count - 2])
        height = path[corner]
        if (height - path[before]) * (at - corner) < (end - height) * (corner - before):
            break
        count -= 1
    corners[count] = float(at)
    state.bottoms_count = count + 1
    return end


@rule
def update_hurst(state: HurstState, close: float) -> float:
    """Logarithm of the rescaled range of the last `window` log returns, times `scale`. Ours.

    The path less its mean is highest at a corner of the upper hull of the path, and along a hull it
    rises up to there and then falls: from the start of the window to the right in the block
    before, from its end to the left in this one. Few of the points are corners.
    """
    window = state.window
    change = compute_log(close / state.previous) if state.previous > 0.0 else NAN
    state.previous = close
    end = extend_hurst_path(state, change)
    at = state.at
    square = state.square
    after = state.after
    if at == window:
        total = start_hurst_block(state)
        end = 0.0
        square = 0.0
        at = 0
    else:
        total = end + after[at]
    mean = total / window
    square += state.squares[at] - total * mean
    if not square > 0.0:
        return NAN
    place = at
    highest = mean * (window - at) - after[at]
    lowest = highest
    corners = state.above
    while place < window:
        place = int(corners[place])
        height = mean * (window - place) - after[place]
        if height <= highest:
            break
        highest = height
    place = at
    corners = state.below
    while place < window:
        place = int(corners[place])
        height = mean * (window - place) - after[place]
        if height >= lowest:
            break
        lowest = height
    path = state.path
    top = end - mean * at
    bottom = top
    corners = state.tops
    count = state.tops_count - 1
    while count > 0:
        count -= 1
        place = int(corners[count])
        height = path[place] - mean * place
        if height <= top:
            break
        top = height
    corners = state.bottoms
    count = state.bottoms_count - 1
    while count > 0:
        count -= 1
        place = int(corners[count])
        height = path[place] - mean * place
        if height >= bottom:
            break
        bottom = height
    reach = max(highest, top) - min(lowest, bottom)
    return state.scale * compute_log(reach / math.sqrt(square / window))


class Hurst(Estimator, frozen=True):
    """Hurst exponent of the last `window` log returns: 0.5 for independent ones, above it trending.

    The rescaled range of one window, H = ln(R / S) / ln(window / 2): Hurst (1951), "Long-Term
    Storage Capacity of Reservoirs". R is the range of the running sum of deviations from the mean
    (which begins at 0), S the population standard deviation. One window estimates coarsely, and of
    few returns too high: of 100 independent ones it is 0.6 on average. One bar in
    `window` takes time in proportion to it, the others as long as the path's hull has corners.

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
        places = self.window + 1
        return HurstState(
            window=self.window,
            scale=scale,
            returns=[NAN] * self.window,
            after=[NAN] * self.window + [0.0],
            squares=[NAN] * self.window + [0.0],
            above=[0.0] * places,
            below=[0.0] * places,
            path=[0.0, *[NAN] * self.window],
            tops=[0.0] * places,
            bottoms=[0.0] * places,
        )
