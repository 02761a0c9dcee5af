"""Wilder's directional movement (1978), "New Concepts in Technical Trading Systems"."""

from __future__ import annotations

import math
from typing import Literal

from onetape.domain.rules import rule
from onetape.features.average import compute_smoothed
from onetape.features.estimator import Estimator, State, Window

NAN = math.nan

ADX = 0
PLUS = 1
MINUS = 2


class AdxState(State):
    """State of `Adx`: the last good bar, `count` movements so far, and their Wilder averages.

    `rises` and `falls` are averages of the movement up and down, `ranges` of the true range,
    `strength` of the directional index. `plus` and `minus` are the indicators at the last bar.
    """

    output: int
    window: int
    weight: float
    high: float = NAN
    low: float = NAN
    close: float = NAN
    count: int = 0
    rises: float = 0.0
    falls: float = 0.0
    ranges: float = 0.0
    strength: float = 0.0
    plus: float = NAN
    minus: float = NAN


@rule
def compute_share(part: float, whole: float) -> float:
    """`part` in percent of `whole`, and 0 of nothing."""
    return 100.0 * (part / whole) if whole > 0.0 else 0.0


@rule
def update_adx(state: AdxState, high: float, low: float, close: float) -> float:
    """Average directional index, or one of the two indicators that it is made of."""
    total = high + low + close
    if total - total != 0.0:  # one is NaN or infinite: the difference is NaN
        return NAN
    rise = high - state.high
    fall = state.low - low
    previous = state.close
    state.high = high
    state.low = low
    state.close = close
    if math.isnan(previous):
        return NAN
    true_range = max(high, previous) - min(low, previous)
    count = state.count + 1
    window = state.window
    weight = state.weight
    up = rise if rise > fall and rise > 0.0 else 0.0
    down = fall if fall > rise and fall > 0.0 else 0.0
    state.rises = compute_smoothed(state.rises, up, count, window, weight)
    state.falls = compute_smoothed(state.falls, down, count, window, weight)
    state.ranges = compute_smoothed(state.ranges, true_range, count, window, weight)
    state.count = count
    if count < window:
        return NAN
    plus = compute_share(state.rises, state.ranges)
    minus = compute_share(state.falls, state.ranges)
    state.plus = plus
    state.minus = minus
    count -= window - 1
    index = compute_share(abs(plus - minus), plus + minus)
    state.strength = compute_smoothed(state.strength, index, count, window, weight)
    if state.output == PLUS:
        return plus
    if state.output == MINUS:
        return minus
    return state.strength if count >= window else NAN


class Adx(Estimator, frozen=True):
    """Average directional index, or +DI or -DI, each 0 to 100.

    `output`: "adx" tells how strong a trend is, "plus" (+DI) and "minus" (-DI) where it goes. All
    averages are Wilder's, seeded with the simple mean of `window` values; TA-Lib seeds with one
    value less, so its first values differ. Without any movement all are 0.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped; the next movement is
    from the last good bar.
    """

    window: Window = 14
    output: Literal["adx", "plus", "minus"] = "adx"

    update = staticmethod(update_adx)

    @property
    def warm_up(self) -> int:
        """`2 * window`, and `window + 1` for +DI and -DI: the first bar has no movement."""
        return 2 * self.window if self.output == "adx" else self.window + 1

    def start_state(self) -> AdxState:
        """No bar yet."""
        return AdxState(
            output=("adx", "plus", "minus").index(self.output),
            window=self.window,
            weight=1.0 / self.window,
        )
