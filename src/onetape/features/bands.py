"""Bands around an average."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from onetape.domain.rules import rule
from onetape.features.average import Ema
from onetape.features.dispersion import MomentsState, SpreadWindow, update_rolling_std
from onetape.features.estimator import Estimator, Expression, Window
from onetape.features.wilder import Atr

NAN = math.nan

BandWidth = Annotated[float, msgspec.Meta(gt=0, le=1_000)]
"""How far a band is from its average, as a multiple of a deviation or a range."""

UPPER = 0
MIDDLE = 1
LOWER = 2
BANDWIDTH = 3


class BollingerState(MomentsState, kw_only=True):
    """State of `Bollinger`: a window's moments, the width in deviations, and which number."""

    width: float
    output: int


@rule
def update_bollinger(state: BollingerState, close: float) -> float:
    """One of the bands, or where they stand."""
    reach = state.width * update_rolling_std(state, close)
    middle = state.anchor + state.mean
    output = state.output
    if output == UPPER:
        return middle + reach
    if output == MIDDLE:
        return middle
    if output == LOWER:
        return middle - reach
    if output == BANDWIDTH:
        return (reach + reach) / middle if middle > 0.0 else NAN
    if reach > 0.0:
        return 0.5 + 0.5 * ((close - state.anchor - state.mean) / reach)
    return NAN


class Bollinger(Estimator, frozen=True):
    """Bollinger band: the mean of `window` bars, `width` population standard deviations away.

    Bollinger (2001), "Bollinger on Bollinger Bands". `output`: "upper", "middle" and "lower" are in
    the unit of the input; "bandwidth" is (upper - lower) / middle, "percent_b" is
    (close - lower) / (upper - lower), both fractions.

    NaN policy: a NaN or infinite input gives NaN until it has left the window; a middle that is not
    positive has no bandwidth, equal values have no percent_b: NaN.
    """

    window: SpreadWindow = 20
    width: BandWidth = 2.0
    output: Literal["upper", "middle", "lower", "bandwidth", "percent_b"] = "middle"

    update = staticmethod(update_bollinger)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> BollingerState:
        """A block before of NaN."""
        outputs = ("upper", "middle", "lower", "bandwidth", "percent_b")
        nothing = [NAN] * self.window
        return BollingerState(
            window=self.window,
            ddof=0,
            sums=nothing,
            squares=list(nothing),
            width=float(self.width),
            output=outputs.index(self.output),
        )


class Keltner(Expression, frozen=True):
    """Keltner channel: the exponential average of the close, `width` average true ranges away.

    Keltner (1960), "How to Make Money in Commodities", in the form with true ranges. In the unit of
    the price; `output` is "upper", "middle" or "lower".

    NaN policy: a bar with a NaN or infinite input gives NaN and is skipped.
    """

    window: Window = 20
    ranges: Window = 10
    width: BandWidth = 2.0
    output: Literal["upper", "middle", "lower"] = "middle"

    def build(self) -> Estimator:
        """The average, and a multiple of the range added or taken away."""
        middle = Ema(self.window)
        reach = self.width * Atr(self.ranges)
        match self.output:
            case "upper":
                return middle + reach
            case "lower":
                return middle - reach
            case _:
                return middle
