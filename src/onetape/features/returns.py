"""A value beside the one a number of bars ago: lag, difference, return."""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.estimator import Estimator, State, Window
from onetape.features.logarithm import compute_log

NAN = math.nan


class ReturnState(State):
    """State of a lag or a return: the last `bars` values, the oldest at `at`."""

    bars: int
    ring: list[float]
    at: int = 0


@rule
def exchange_oldest(state: ReturnState, value: float) -> float:
    """Put `value` into the ring and give the one it replaces, `bars` bars old."""
    at = state.at
    oldest = state.ring[at]
    state.ring[at] = value
    at += 1
    state.at = at if at < state.bars else 0
    return oldest


@rule
def update_lag(state: ReturnState, close: float) -> float:
    """The value `bars` bars ago."""
    return exchange_oldest(state, close)


@rule
def update_momentum(state: ReturnState, close: float) -> float:
    """Difference to the value `bars` bars ago."""
    return close - exchange_oldest(state, close)


@rule
def update_simple_return(state: ReturnState, close: float) -> float:
    """Change from the value `bars` bars ago, as a fraction of it."""
    previous = exchange_oldest(state, close)
    if previous > 0.0:
        return (close - previous) / previous
    return NAN


@rule
def update_rate_of_change(state: ReturnState, close: float) -> float:
    """Change from the value `bars` bars ago, in percent of it."""
    return 100.0 * update_simple_return(state, close)


@rule
def update_log_return(state: ReturnState, close: float) -> float:
    """Logarithm of the ratio to the value `bars` bars ago."""
    previous = exchange_oldest(state, close)
    if previous > 0.0:
        return compute_log(close / previous)
    return NAN


class SimpleReturn(Estimator, frozen=True):
    """Change over `bars` bars as a fraction of the value then.

    NaN policy: NaN where either value is NaN, or the earlier one is not positive.
    """

    bars: Window = 1

    update = staticmethod(update_simple_return)

    @property
    def warm_up(self) -> int:
        """`bars + 1`."""
        return self.bars + 1

    def start_state(self) -> ReturnState:
        """Only NaN to compare with."""
        return ReturnState(bars=self.bars, ring=[NAN] * self.bars)


class LogReturn(Estimator, frozen=True):
    """Natural logarithm of the ratio to the value `bars` bars ago.

    NaN policy: NaN where either value is NaN or not positive.
    """

    bars: Window = 1

    update = staticmethod(update_log_return)

    @property
    def warm_up(self) -> int:
        """`bars + 1`."""
        return self.bars + 1

    def start_state(self) -> ReturnState:
        """Only NaN to compare with."""
        return ReturnState(bars=self.bars, ring=[NAN] * self.bars)


class Lag(Estimator, frozen=True):
    """The value `bars` bars ago, in the unit of its input; `Lag(3).of(Rsi(14))` lags a feature.

    NaN policy: a NaN then is a NaN now.
    """

    bars: Window = 1

    update = staticmethod(update_lag)

    @property
    def warm_up(self) -> int:
        """`bars + 1`."""
        return self.bars + 1

    def start_state(self) -> ReturnState:
        """Only NaN to compare with."""
        return ReturnState(bars=self.bars, ring=[NAN] * self.bars)


class Momentum(Estimator, frozen=True):
    """Change over `bars` bars, in the unit of its input.

    NaN policy: NaN where either value is NaN.
    """

    bars: Window = 10

    update = staticmethod(update_momentum)

    @property
    def warm_up(self) -> int:
        """`bars + 1`."""
        return self.bars + 1

    def start_state(self) -> ReturnState:
        """Only NaN to compare with."""
        return ReturnState(bars=self.bars, ring=[NAN] * self.bars)


class RateOfChange(Estimator, frozen=True):
    """Change over `bars` bars in percent of the value then.

    NaN policy: NaN where either value is NaN, or the earlier one is not positive.
    """

    bars: Window = 10

    update = staticmethod(update_rate_of_change)

    @property
    def warm_up(self) -> int:
        """`bars + 1`."""
        return self.bars + 1

    def start_state(self) -> ReturnState:
        """Only NaN to compare with."""
        return ReturnState(bars=self.bars, ring=[NAN] * self.bars)
