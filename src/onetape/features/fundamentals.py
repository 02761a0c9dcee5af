"""Features of fundamentals: columns of figures that companies have published.

A session with `data.fundamentals` has them beside the columns of its bars, as they were known.
"""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State

NAN = math.nan
INFINITY = math.inf


class FigureState(State):
    """State of features of figures: they remember nothing."""

    unused: int = 0


@rule
def update_figure(state: FigureState, eps: float) -> float:  # noqa: ARG001
    """The figure itself."""
    return NAN if abs(eps) == INFINITY else eps


class Fundamental(Estimator, frozen=True):
    """A published figure of the newest period that was known, in its own unit.

    By default earnings per share; `Fundamental(inputs=("revenue_ttm",))` is the revenue of the last
    four quarters.

    NaN policy: NaN before the first figure was known, and where it is not finite.
    """

    update = staticmethod(update_figure)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> FigureState:
        """Nothing."""
        return FigureState()


@rule
def update_price_earnings(state: FigureState, close: float, eps_ttm: float) -> float:  # noqa: ARG001
    """Price over earnings; NaN of a loss."""
    if not (eps_ttm > 0.0 and close > 0.0) or abs(eps_ttm) == INFINITY or abs(close) == INFINITY:
        return NAN
    return close / eps_ttm


class PriceEarnings(Estimator, frozen=True):
    """Close over the earnings per share of the last four quarters, as they were known.

    Both have to be of the same shares: prices that are adjusted for later splits need earnings
    that are adjusted alike. Graham, Dodd (1934), "Security Analysis".

    NaN policy: NaN where a figure is missing or not finite, and where earnings are not positive.
    """

    update = staticmethod(update_price_earnings)

    @property
    def warm_up(self) -> int:
        """1."""
        return 1

    def start_state(self) -> FigureState:
        """Nothing."""
        return FigureState()
