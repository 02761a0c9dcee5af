"""Realized volatility of a window, a bar's worth each: times the root of bars a year is a year's.

`252**0.5 * RealizedVolatility(20)` of daily bars is annualized.
"""

from __future__ import annotations

import math

from onetape.domain.rules import rule
from onetape.features.comovement import PairState, update_pair
from onetape.features.dispersion import MomentsState, SpreadWindow, update_moments
from onetape.features.estimator import Estimator, Window
from onetape.features.logarithm import compute_log
from onetape.features.sums import SumState, update_sum

NAN = math.nan

PARKINSON = 0.36067376022224085
"""1 / (4 ln 2)."""

OPEN_CLOSE_WEIGHT = 0.3862943611198906
"""2 ln 2 - 1."""


class RealizedVolatilityState(MomentsState):
    """State of `RealizedVolatility`: the moments of the returns, and the last close."""

    previous: float = NAN


@rule
def update_realized_volatility(state: RealizedVolatilityState, close: float) -> float:
    """Sample standard deviation of the last `window` log returns."""
    previous = state.previous
    state.previous = close
    log_return = compute_log(close / previous) if previous > 0.0 else NAN
    return math.sqrt(update_moments(state, log_return) / (state.window - 1))


class RealizedVolatility(Estimator, frozen=True):
    """Standard deviation of the last `window` log returns from close to close, a bar's worth.

    Of the sample (`window - 1`), around its mean: the classical estimator.

    NaN policy: a value that is not positive, or not finite, gives NaN until no return from or to it
    is in the window.
    """

    window: SpreadWindow = 20

    update = staticmethod(update_realized_volatility)

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first bar has no return."""
        return self.window + 1

    def start_state(self) -> RealizedVolatilityState:
        """No return yet."""
        nothing = [NAN] * self.window
        return RealizedVolatilityState(
            window=self.window, ddof=1, sums=nothing, squares=list(nothing)
        )


@rule
def compute_root(mean: float) -> float:
    """Square root of a mean; NaN of a negative one, which bad bars can make."""
    return math.sqrt(mean) if mean >= 0.0 else NAN


@rule
def compute_log_ratio(value: float, reference: float) -> float:
    """ln(value / reference); NaN unless both are positive and finite."""
    return compute_log(value / reference) if reference > 0.0 else NAN


@rule
def update_parkinson(state: SumState, high: float, low: float) -> float:
    """Root of the mean squared log range over 4 ln 2."""
    span = compute_log_ratio(high, low)
    return compute_root(PARKINSON * (update_sum(state, span * span) / state.window))


class ParkinsonVolatility(Estimator, frozen=True):
    """Volatility from the high-low ranges of `window` bars, a bar's worth.

    Parkinson (1980), "The Extreme Value Method for Estimating the Variance of the Rate of Return",
    Journal of Business 53(1). Sees no moves between bars, and no drift.

    NaN policy: a high or low that is not positive and finite gives NaN until it has left the
    window.
    """

    window: Window = 20

    update = staticmethod(update_parkinson)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> SumState:
        """A block before of NaN."""
        return SumState(window=self.window, ring=[NAN] * self.window)


@rule
def update_garman_klass(
    state: SumState,
    open: float,  # noqa: A002
    high: float,
    low: float,
    close: float,
) -> float:
    """Root of the mean of half the squared log range minus (2 ln 2 - 1) squared log body."""
    span = compute_log_ratio(high, low)
    body = compute_log_ratio(close, open)
    square = 0.5 * (span * span) - OPEN_CLOSE_WEIGHT * (body * body)
    return compute_root(update_sum(state, square) / state.window)


class GarmanKlassVolatility(Estimator, frozen=True):
    """Volatility from open, high, low and close of `window` bars, a bar's worth.

    Garman and Klass (1980), "On the Estimation of Security Price Volatilities from Historical
    Data", Journal of Business 53(1): the mean of half the squared ln(high / low) minus 2 ln 2 - 1
    times the squared ln(close / open). Sees no moves between bars, and no drift.

    NaN policy: a price that is not positive and finite gives NaN until it has left the window.
    """

    window: Window = 20

    update = staticmethod(update_garman_klass)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> SumState:
        """A block before of NaN."""
        return SumState(window=self.window, ring=[NAN] * self.window)


class YangZhangState(PairState, kw_only=True):
    """State of `YangZhangVolatility`: moments of the log moves overnight and from open to close.

    `ring`, `at` and `prefix` sum the variance within bars, as in `SumState`.
    """

    share: float
    ring: list[float]
    at: int = 0
    prefix: float = 0.0
    previous: float = NAN


@rule
def update_yang_zhang(
    state: YangZhangState,
    open: float,  # noqa: A002
    high: float,
    low: float,
    close: float,
) -> float:
    """Root of the variance overnight plus a mix of those from open to close and within bars."""
    window = state.window
    night = compute_log_ratio(open, state.previous)
    state.previous = close
    up = compute_log_ratio(high, open)
    down = compute_log_ratio(low, open)
    body = compute_log_ratio(close, open)
    square = up * (up - body) + down * (down - body)
    within = update_sum(state, square) / window  # pyright: ignore[reportArgumentType]
    if math.isnan(update_pair(state, night, body)):
        return NAN
    between = (state.xx + state.share * state.yy) / (window - 1)
    return compute_root(between + (1.0 - state.share) * within)


class YangZhangVolatility(Estimator, frozen=True):
    """Volatility from all prices of `window` bars and the moves between them, a bar's worth.

    Yang and Zhang (2000), "Drift-Independent Volatility Estimation Based on High, Low, Open, and
    Close Prices", Journal of Business 73(3): the variance of the moves from close to open, plus
    k of that from open to close and 1 - k of that of Rogers and Satchell (1991) within bars, with
    k = 0.34 / (1.34 + (n + 1) / (n - 1)).

    NaN policy: a price that is not positive and finite gives NaN until no move from or to it is in
    the window.
    """

    window: SpreadWindow = 20

    update = staticmethod(update_yang_zhang)

    @property
    def warm_up(self) -> int:
        """`window + 1`: the first bar has no move from the bar before."""
        return self.window + 1

    def start_state(self) -> YangZhangState:
        """No bar yet."""
        window = self.window
        return YangZhangState(
            window=window,
            xs=[NAN] * window,
            ys=[NAN] * window,
            xxs=[NAN] * window,
            yys=[NAN] * window,
            xys=[NAN] * window,
            ring=[NAN] * window,
            share=0.34 / (1.34 + (window + 1) / (window - 1)),
        )
