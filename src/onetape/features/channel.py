"""The highest high and lowest low of a window, and where the close stands between them."""

from __future__ import annotations

import math
from typing import Literal

from onetape.domain.rules import rule
from onetape.features.average import Sma
from onetape.features.estimator import Estimator, Expression, State, Window

NAN = math.nan
INFINITY = math.inf


class ChannelState(State):
    """State of the highest high and the lowest low of a window.

    Blocks of `window` as in `ExtremeState`, one ring each. `highest` and `lowest` are the result,
    `output` says which number of the channel the estimator gives.
    """

    window: int
    output: int
    highs: list[float]
    lows: list[float]
    at: int = 0
    prefix_high: float = -INFINITY
    prefix_low: float = INFINITY
    highest: float = NAN
    lowest: float = NAN


@rule
def update_channel(state: ChannelState, high: float, low: float) -> float:
    """Move the window by one bar; its range."""
    highs = state.highs
    lows = state.lows
    at = state.at
    highs[at] = high
    lows[at] = low
    at += 1
    highest = state.prefix_high
    if high > highest or math.isnan(high):
        highest = high
    lowest = state.prefix_low
    if low < lowest or math.isnan(low):
        lowest = low
    if at < state.window:
        state.at = at
        state.prefix_high = highest
        state.prefix_low = lowest
        high = highs[at]
        if high > highest or math.isnan(high):
            highest = high
        low = lows[at]
        if low < lowest or math.isnan(low):
            lowest = low
    else:
        state.at = 0
        state.prefix_high = -INFINITY
        state.prefix_low = INFINITY
        top = -INFINITY
        bottom = INFINITY
        while at > 0:
            at -= 1
            high = highs[at]
            if high > top or math.isnan(high):
                top = high
            highs[at] = top
            low = lows[at]
            if low < bottom or math.isnan(low):
                bottom = low
            lows[at] = bottom
    state.highest = highest
    state.lowest = lowest
    return highest - lowest


def start_channel(window: int, output: int) -> ChannelState:
    """A block before of NaN, so that there is no value until the first block is full."""
    nothing = [NAN] * window
    return ChannelState(window=window, output=output, highs=nothing, lows=list(nothing))


UPPER = 0
LOWER = 1


@rule
def update_donchian(state: ChannelState, high: float, low: float) -> float:
    """The upper or lower end of the channel, or halfway between them."""
    if math.isnan(update_channel(state, high, low)):
        return NAN
    if state.output == UPPER:
        return state.highest
    if state.output == LOWER:
        return state.lowest
    return 0.5 * state.highest + 0.5 * state.lowest


class Donchian(Estimator, frozen=True):
    """Donchian channel: highest high, lowest low, or halfway between, of the last `window` bars.

    In the unit of the price; `output` is "upper", "lower" or "middle". This bar is included, so a
    close can touch the channel but not break it: `Lag(1).of(Donchian(20, "upper"))` is the one
    before this bar. Donchian (1960), "High Finance in Copper", Financial Analysts Journal.

    NaN policy: a NaN in high or low gives NaN until it has left the window.
    """

    window: Window = 20
    output: Literal["upper", "lower", "middle"] = "middle"

    update = staticmethod(update_donchian)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ChannelState:
        """A block before of NaN."""
        return start_channel(self.window, ("upper", "lower", "middle").index(self.output))


@rule
def update_fast_stochastic(state: ChannelState, high: float, low: float, close: float) -> float:
    """Where the close stands in the channel, in percent from its lower end on."""
    span = update_channel(state, high, low)
    if 0.0 < span < INFINITY:
        return 100.0 * ((close - state.lowest) / span)
    return 50.0 if span == 0.0 and close - close == 0.0 else NAN


class FastStochastic(Estimator, frozen=True):
    """Fast stochastic %K: the close between the lowest low (0) and highest high (100) of a window.

    Lane (1984), "Lane's Stochastics", Stocks & Commodities 2(3). Where nothing has moved it is 50
    (ours; TA-Lib says 0, which a reversal strategy would take for a signal).

    NaN policy: a NaN gives NaN until it has left the window, a NaN or infinite close at its bar.
    """

    window: Window = 14

    update = staticmethod(update_fast_stochastic)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ChannelState:
        """A block before of NaN."""
        return start_channel(self.window, 0)


@rule
def update_williams_r(state: ChannelState, high: float, low: float, close: float) -> float:
    """How far the close stands below the upper end of the channel, in percent, negative."""
    span = update_channel(state, high, low)
    if 0.0 < span < INFINITY:
        return -100.0 * ((state.highest - close) / span)
    return -50.0 if span == 0.0 and close - close == 0.0 else NAN


class WilliamsR(Estimator, frozen=True):
    """Williams %R: the close between the highest high (0) and lowest low (-100) of a window.

    Williams (1973), "How I Made One Million Dollars Last Year Trading Commodities". Where nothing
    has moved it is -50 (ours; TA-Lib says 0).

    NaN policy: a NaN gives NaN until it has left the window, a NaN or infinite close at its bar.
    """

    window: Window = 14

    update = staticmethod(update_williams_r)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> ChannelState:
        """A block before of NaN."""
        return start_channel(self.window, 0)


class Stochastic(Expression, frozen=True):
    """Slow stochastic, 0 to 100: %K is the mean of `smooth` fast %K, %D that of `signal` %K.

    Lane (1984), as `FastStochastic`. `output` is "k" or "d"; `Stochastic(14, 1, 3, "d")` is the
    fast %D.

    NaN policy: a NaN gives NaN until it has left all windows.
    """

    window: Window = 14
    smooth: Window = 3
    signal: Window = 3
    output: Literal["k", "d"] = "k"

    def build(self) -> Estimator:
        """Means of the fast %K."""
        slow = Sma(self.smooth).of(FastStochastic(self.window))
        return slow if self.output == "k" else Sma(self.signal).of(slow)
