"""Averages of a column, and the smoothing that other estimators share."""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State, Window

NAN = math.nan


class SmaState(State):
    """State of `Sma`: `ring[at:]` holds sums of the block before, `ring[:at]` this block's values.

    Updates come in blocks of `window`. When a block is full its values become suffix sums, so the
    window's sum is always one suffix sum plus one prefix sum: values are only ever added, nothing
    is subtracted, nothing can drift, and a NaN or a huge value is gone when it leaves the window.
    """

    window: int
    ring: list[float]
    at: int = 0
    prefix: float = 0.0


@rule
def update_sma(state: SmaState, close: float) -> float:
    """Mean of the last `window` values. Two-stack sliding sum, amortized O(1). Ours."""
    ring = state.ring
    at = state.at
    prefix = state.prefix + close
    ring[at] = close
    at += 1
    if at < state.window:
        state.at = at
        state.prefix = prefix
        return (ring[at] + prefix) / state.window
    state.at = 0
    state.prefix = 0.0
    suffix = 0.0
    while at > 0:
        at -= 1
        suffix += ring[at]
        ring[at] = suffix
    return prefix / state.window


class Sma(Estimator, frozen=True):
    """Simple moving average: the mean of the last `window` bars, in the unit of its input.

    NaN policy: a NaN gives NaN, an infinity gives NaN or infinity, until it has left the window.
    """

    window: Window

    update = staticmethod(update_sma)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> SmaState:
        """A block before of NaN, so that there is no value until the first block is full."""
        return SmaState(window=self.window, ring=[NAN] * self.window)


@rule
def compute_smoothed(average: float, value: float, count: int, window: int, weight: float) -> float:
    """The next state of an exponential average that is seeded with a simple mean.

    `count` is how many values there were, with this one. Below `window` the result is their sum, at
    `window` their mean, then it moves by `weight` towards each value. Wilder (1978), "New Concepts
    in Technical Trading Systems", with weight 1/window; 2/(window + 1) makes the usual EMA.
    """
    if count < window:
        return average + value
    if count == window:
        return (average + value) / window
    return average + weight * (value - average)


class EmaState(State):
    """State of `Ema`, `WilderAverage`: `average` is the values' sum while `count` < `window`."""

    window: int
    weight: float
    count: int = 0
    average: float = 0.0


@rule
def update_ema(state: EmaState, close: float) -> float:
    """Exponential average of the values so far."""
    if close - close != 0.0:  # NaN or infinite: the difference is NaN
        return NAN
    state.count += 1
    state.average = compute_smoothed(state.average, close, state.count, state.window, state.weight)
    if state.count < state.window:
        return NAN
    return state.average


class Ema(Estimator, frozen=True):
    """Exponential moving average, weight 2/(window + 1), in the unit of its input.

    Seeded with the simple mean of the first `window` values.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the average is held.
    """

    window: Window

    update = staticmethod(update_ema)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> EmaState:
        """No value yet."""
        return EmaState(window=self.window, weight=2.0 / (self.window + 1))


class WilderAverage(Estimator, frozen=True):
    """Wilder's smoothing: an exponential average of weight 1/window, in the unit of its input.

    Wilder (1978), "New Concepts in Technical Trading Systems". Seeded with the simple mean
    of the first `window` values.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the average is held.
    """

    window: Window

    update = staticmethod(update_ema)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> EmaState:
        """No value yet."""
        return EmaState(window=self.window, weight=1.0 / self.window)


class ChainState(State):
    """State of `Dema` and `Tema`: an average, the average of that, and the average of that."""

    window: int
    weight: float
    count: int = 0
    first: float = 0.0
    second: float = 0.0
    third: float = 0.0


@rule
def update_dema(state: ChainState, close: float) -> float:
    """2 * average - average of the average."""
    if close - close != 0.0:  # NaN or infinite: the difference is NaN
        return NAN
    window = state.window
    weight = state.weight
    count = state.count + 1
    state.count = count
    state.first = compute_smoothed(state.first, close, count, window, weight)
    if count < window:
        return NAN
    count -= window - 1
    state.second = compute_smoothed(state.second, state.first, count, window, weight)
    if count < window:
        return NAN
    return 2.0 * state.first - state.second


class Dema(Estimator, frozen=True):
    """Double exponential moving average, in the unit of its input.

    Mulloy (1994), "Smoothing Data with Faster Moving Averages", Stocks & Commodities. Each of the
    two averages is seeded with the simple mean of its first `window` values.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the averages are held.
    """

    window: Window

    update = staticmethod(update_dema)

    @property
    def warm_up(self) -> int:
        """`2 * window - 1`."""
        return 2 * self.window - 1

    def start_state(self) -> ChainState:
        """No value yet."""
        return ChainState(window=self.window, weight=2.0 / (self.window + 1))


@rule
def update_tema(state: ChainState, close: float) -> float:
    """3 * (average - average of it) + average of that."""
    double = update_dema(state, close)
    if math.isnan(double):
        return NAN
    window = state.window
    count = state.count - 2 * (window - 1)
    state.third = compute_smoothed(state.third, state.second, count, window, state.weight)
    if count < window:
        return NAN
    return 3.0 * (state.first - state.second) + state.third


class Tema(Estimator, frozen=True):
    """Triple exponential moving average, in the unit of its input.

    Mulloy (1994), "Smoothing Data with Less Lag", Stocks & Commodities. Each of the three
    averages is seeded with the simple mean of its first `window` values.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the averages are held.
    """

    window: Window

    update = staticmethod(update_tema)

    @property
    def warm_up(self) -> int:
        """`3 * window - 2`."""
        return 3 * self.window - 2

    def start_state(self) -> ChainState:
        """No value yet."""
        return ChainState(window=self.window, weight=2.0 / (self.window + 1))
