"""Wilder's indicators (1978), "New Concepts in Technical Trading Systems"."""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.average import compute_smoothed
from onetape.features.estimator import Estimator, State, Window

NAN = math.nan


class RsiState(State):
    """State of `Rsi`: Wilder averages of the gains and losses, `count` changes so far."""

    window: int
    weight: float
    previous: float = NAN
    count: int = 0
    gain: float = 0.0
    loss: float = 0.0


@rule
def update_rsi(state: RsiState, close: float) -> float:
    """100 * average gain / (average gain + average loss)."""
    if close - close != 0.0:  # NaN or infinite: the difference is NaN
        return NAN
    change = close - state.previous
    state.previous = close
    if math.isnan(change):
        return NAN
    count = state.count + 1
    window = state.window
    gain = compute_smoothed(state.gain, max(change, 0.0), count, window, state.weight)
    loss = compute_smoothed(state.loss, max(-change, 0.0), count, window, state.weight)
    state.count = count
    state.gain = gain
    state.loss = loss
    if count < window:
        return NAN
    if gain + loss > 0.0:
        return 100.0 * (gain / (gain + loss))
    return 50.0


class Rsi(Estimator, frozen=True):
    """Relative strength index, 0 to 100, averages seeded with the simple means of `window` changes.

    Where the price has never moved there is neither strength nor weakness: 50 (ours; TA-Lib says 0,
    which a reversal strategy would take for a signal).

    NaN policy: a NaN or infinite close gives NaN at its bar and is skipped; the next change is
    from the last good close.
    """

    window: Window = 14

    update = staticmethod(update_rsi)

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first bar has no change."""
        return self.window + 1

    def start_state(self) -> RsiState:
        """No close yet."""
        return RsiState(window=self.window, weight=1.0 / self.window)


class TrueRangeState(State):
    """State of `TrueRange`: the last good close."""

    previous: float = NAN


@rule
def update_true_range(state: TrueRangeState, high: float, low: float, close: float) -> float:
    """The bar's range, widened to reach the previous close."""
    total = high + low + close
    if total - total != 0.0:  # one is NaN or infinite: the difference is NaN
        return NAN
    previous = state.previous
    state.previous = close
    if math.isnan(previous):
        return NAN
    return max(high, previous) - min(low, previous)


class TrueRange(Estimator, frozen=True):
    """True range, in the unit of the price: from high to low, and to the previous close if outside.

    The first bar has no previous close and so no true range.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped; the next true range
    reaches to the last good close.
    """

    update = staticmethod(update_true_range)

    @property
    def warm_up(self) -> int:
        """2: the first bar has no previous close."""
        return 2

    def start_state(self) -> TrueRangeState:
        """No close yet."""
        return TrueRangeState()


class AtrState(TrueRangeState, kw_only=True):
    """State of `Atr`: the last good close, `count` true ranges so far, their Wilder average."""

    window: int
    weight: float
    count: int = 0
    average: float = 0.0


@rule
def update_atr(state: AtrState, high: float, low: float, close: float) -> float:
    """Wilder average of the true range."""
    true_range = update_true_range(state, high, low, close)
    if math.isnan(true_range):
        return NAN
    count = state.count + 1
    average = compute_smoothed(state.average, true_range, count, state.window, state.weight)
    state.count = count
    state.average = average
    return average if count >= state.window else NAN


class Atr(Estimator, frozen=True):
    """Average true range, in the unit of the price, seeded with the simple mean of `window` ranges.

    The first bar has no previous close and so no true range.

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped; the next true range
    reaches to the last good close.
    """

    window: Window = 14

    update = staticmethod(update_atr)

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first bar has no true range."""
        return self.window + 1

    def start_state(self) -> AtrState:
        """No close yet."""
        return AtrState(window=self.window, weight=1.0 / self.window)
