"""Distances between a price and its averages."""

from __future__ import annotations

import math
from typing import Literal

from onetape.domain.errors import StrategyError
from onetape.domain.rules import rule
from onetape.features.average import compute_smoothed
from onetape.features.dispersion import SpreadWindow
from onetape.features.estimator import Estimator, State, Window

NAN = math.nan

LINE = 0
SIGNAL = 1


class MacdState(State):
    """State of `Macd`: the two averages of the close, and the one of their difference."""

    output: int
    fast: int
    slow: int
    signal: int
    fast_weight: float
    slow_weight: float
    signal_weight: float
    count: int = 0
    fast_average: float = 0.0
    slow_average: float = 0.0
    signal_average: float = 0.0


@rule
def update_macd(state: MacdState, close: float) -> float:
    """Fast minus slow average, the average of that, or the distance between the two."""
    if close - close != 0.0:  # NaN or infinite: the difference is NaN
        return NAN
    count = state.count + 1
    state.count = count
    state.fast_average = compute_smoothed(
        state.fast_average, close, count, state.fast, state.fast_weight
    )
    state.slow_average = compute_smoothed(
        state.slow_average, close, count, state.slow, state.slow_weight
    )
    if count < state.slow:
        return NAN
    line = state.fast_average - state.slow_average
    if state.output == LINE:
        return line
    count -= state.slow - 1
    signal = compute_smoothed(state.signal_average, line, count, state.signal, state.signal_weight)
    state.signal_average = signal
    if count < state.signal:
        return NAN
    return signal if state.output == SIGNAL else line - signal


class Macd(Estimator, frozen=True):
    """Moving average convergence divergence, in the unit of its input.

    Appel (1979), "The Moving Average Convergence-Divergence Method". `output`: "line" is the fast
    minus the slow exponential average, "signal" the exponential average of the line, "histogram"
    line minus signal. Each average is seeded with the simple mean of its first values; TA-Lib lets
    the fast one begin later, so its first values differ.

    NaN policy: a NaN or infinite input gives NaN at its bar and is skipped; the averages are held.

    Raises:
        StrategyError: `fast` is not below `slow`.
    """

    fast: Window = 12
    slow: Window = 26
    signal: Window = 9
    output: Literal["line", "signal", "histogram"] = "line"

    update = staticmethod(update_macd)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fast >= self.slow:
            raise StrategyError(
                f"fast {self.fast} is not below slow {self.slow}",
                where="Macd",
                remedy="give fast fewer bars than slow",
            )

    @property
    def warm_up(self) -> int:
        """`slow`, and `slow + signal - 1` for signal and histogram."""
        return self.slow if self.output == "line" else self.slow + self.signal - 1

    def start_state(self) -> MacdState:
        """No value yet."""
        return MacdState(
            output=("line", "signal", "histogram").index(self.output),
            fast=self.fast,
            slow=self.slow,
            signal=self.signal,
            fast_weight=2.0 / (self.fast + 1),
            slow_weight=2.0 / (self.slow + 1),
            signal_weight=2.0 / (self.signal + 1),
        )


class CciState(State):
    """State of `Cci`: the last `window` typical prices, and their two-stack sum (as in `SmaState`).

    Prices are counted from `anchor`, the last one of the block before, which is in the window: so
    equal prices deviate by exactly zero.
    """

    window: int
    ring: list[float]
    sums: list[float]
    at: int = 0
    anchor: float = 0.0
    prefix: float = 0.0


@rule
def update_cci(state: CciState, high: float, low: float, close: float) -> float:
    """Deviation of the typical price from its mean, in 0.015 mean deviations."""
    window = state.window
    ring = state.ring
    at = state.at
    price = (high + low + close) / 3.0
    ring[at] = price
    at += 1
    total = state.prefix + (price - state.anchor)
    if at < window:
        state.at = at
        state.prefix = total
        total += state.sums[at]
    else:
        state.at = 0
        state.anchor = price
        state.prefix = 0.0
        total = 0.0
        while at > 0:
            at -= 1
            total += ring[at] - price
            state.sums[at] = total
    mean = total / window
    if math.isnan(mean):
        return NAN
    anchor = state.anchor
    spread = 0.0
    at = 0
    while at < window:
        spread += abs(ring[at] - anchor - mean)
        at += 1
    if spread > 0.0:
        return (price - anchor - mean) / (0.015 * (spread / window))
    return 0.0


class Cci(Estimator, frozen=True):
    """Commodity channel index: deviation of (high + low + close) / 3 from its mean over `window`.

    Lambert (1980), "Commodity Channel Index: Tool for Trading Cyclic Trends", Commodities: the unit
    is 0.015 mean absolute deviations, so most values lie between -100 and 100. 0 where nothing has
    moved. Takes time in proportion to `window` at each bar.

    NaN policy: a NaN or infinite input gives NaN until it has left the window.
    """

    window: SpreadWindow = 20

    update = staticmethod(update_cci)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> CciState:
        """A block before of NaN."""
        nothing = [NAN] * self.window
        return CciState(window=self.window, ring=nothing, sums=list(nothing))
