"""The greatest and least of a window, and how long ago they were."""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State, Window

NAN = math.nan
INFINITY = math.inf


class ExtremeState(State):
    """State of `RollingMax` and `RollingMin`, the latter with `sign` -1 and all values negated.

    Blocks of `window` as in `SmaState`: `ring[at:]` holds the greatest of each suffix of the block
    before, `ring[:at]` this block's values, `prefix` the greatest of those.
    """

    window: int
    sign: float
    ring: list[float]
    at: int = 0
    prefix: float = -INFINITY


@rule
def update_extreme(state: ExtremeState, close: float) -> float:
    """The greatest of the last `window` values times `sign`. Two stacks, amortized O(1). Ours."""
    value = state.sign * close
    ring = state.ring
    at = state.at
    ring[at] = value
    at += 1
    top = state.prefix
    if value > top or math.isnan(value):
        top = value
    if at < state.window:
        state.at = at
        state.prefix = top
        value = ring[at]
        if value > top or math.isnan(value):
            top = value
    else:
        state.at = 0
        state.prefix = -INFINITY
        suffix = -INFINITY
        while at > 0:
            at -= 1
            value = ring[at]
            if value > suffix or math.isnan(value):
                suffix = value
            ring[at] = suffix
    return state.sign * top


class RollingMax(Estimator, frozen=True):
    """The greatest of the last `window` bars, in the unit of its input.

    NaN policy: a NaN gives NaN until it has left the window; an infinity is a value.
    """

    window: Window

    update = staticmethod(update_extreme)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ExtremeState:
        """A block before of NaN."""
        return ExtremeState(window=self.window, sign=1.0, ring=[NAN] * self.window)


class RollingMin(Estimator, frozen=True):
    """The least of the last `window` bars, in the unit of its input.

    NaN policy: a NaN gives NaN until it has left the window; an infinity is a value.
    """

    window: Window

    update = staticmethod(update_extreme)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ExtremeState:
        """A block before of NaN."""
        return ExtremeState(window=self.window, sign=-1.0, ring=[NAN] * self.window)


class ExtremeAgeState(State):
    """State of `BarsSinceMax` and `BarsSinceMin`: as `ExtremeState`, and where each extreme stands.

    `spots[at:]` are the places in the block before, `spot` the one of `prefix` in this block.
    """

    window: int
    sign: float
    ring: list[float]
    spots: list[float]
    at: int = 0
    prefix: float = -INFINITY
    spot: float = 0.0


@rule
def update_extreme_age(state: ExtremeAgeState, close: float) -> float:
    """Bars since the greatest of the last `window` values times `sign`; the newest of equals."""
    value = state.sign * close
    window = state.window
    ring = state.ring
    spots = state.spots
    at = state.at
    ring[at] = value
    top = state.prefix
    spot = state.spot
    if value >= top or math.isnan(value):
        top = value
        spot = float(at)
    age = at - spot
    at += 1
    if at < window:
        state.at = at
        state.prefix = top
        state.spot = spot
        value = ring[at]
        if value > top:
            age = at - 1 + window - spots[at]
        return NAN if math.isnan(value) or math.isnan(top) else age
    state.at = 0
    state.prefix = -INFINITY
    suffix = -INFINITY
    spot = window - 1.0
    while at > 0:
        at -= 1
        value = ring[at]
        if value > suffix or math.isnan(value):
            suffix = value
            spot = float(at)
        ring[at] = suffix
        spots[at] = spot
    return NAN if math.isnan(top) else age


class BarsSinceMax(Estimator, frozen=True):
    """How many bars ago the greatest of the last `window` bars was, 0 to `window - 1`.

    Of equal ones the newest; 0 is this bar. The argmax of a window, told so that it doesn't depend
    on where the history begins.

    NaN policy: a NaN gives NaN until it has left the window; an infinity is a value.
    """

    window: Window

    update = staticmethod(update_extreme_age)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ExtremeAgeState:
        """A block before of NaN."""
        return _start_age(self.window, 1.0)


class BarsSinceMin(Estimator, frozen=True):
    """How many bars ago the least of the last `window` bars was, 0 to `window - 1`.

    Of equal ones the newest; 0 is this bar. The argmin of a window.

    NaN policy: a NaN gives NaN until it has left the window; an infinity is a value.
    """

    window: Window

    update = staticmethod(update_extreme_age)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ExtremeAgeState:
        """A block before of NaN."""
        return _start_age(self.window, -1.0)


def _start_age(window: int, sign: float) -> ExtremeAgeState:
    return ExtremeAgeState(window=window, sign=sign, ring=[NAN] * window, spots=[0.0] * window)
