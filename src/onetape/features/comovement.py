"""How two columns move together over a window."""

from __future__ import annotations

import math

from onetape.domain.errors import StrategyError
from onetape.domain.rules import rule
from onetape.features.dispersion import SpreadWindow
from onetape.features.estimator import Estimator, State, Window

NAN = math.nan


class PairState(State, kw_only=True):
    """State of the moments of two columns x and y: blocks of `window` as in `MomentsState`.

    `xs`, `ys`, `xxs`, `yys` and `xys` hold from `spot` on the sums of x - `x_anchor`,
    y - `y_anchor`, and their products over the suffixes of the block before; `xs` and `ys` before
    that hold this block's values. `prefix_*` are the sums over those, `xx`, `yy` and `xy` the
    result: sums of squared deviations and of their product.
    """

    window: int
    xs: list[float]
    ys: list[float]
    xxs: list[float]
    yys: list[float]
    xys: list[float]
    spot: int = 0
    x_anchor: float = 0.0
    y_anchor: float = 0.0
    prefix_x: float = 0.0
    prefix_y: float = 0.0
    prefix_xx: float = 0.0
    prefix_yy: float = 0.0
    prefix_xy: float = 0.0
    xx: float = NAN
    yy: float = NAN


@rule
def update_pair(state: PairState, x: float, y: float) -> float:
    """Move the window by one pair; the sum of the products of their deviations from the means.

    The shifted sums of `update_moments`, for two columns: equal values deviate by exactly zero.
    """
    window = state.window
    xs = state.xs
    ys = state.ys
    at = state.spot
    xs[at] = x
    ys[at] = y
    at += 1
    if at < window:
        x -= state.x_anchor
        y -= state.y_anchor
        sum_x = state.prefix_x + x
        sum_y = state.prefix_y + y
        sum_xx = state.prefix_xx + x * x
        sum_yy = state.prefix_yy + y * y
        sum_xy = state.prefix_xy + x * y
        state.spot = at
        state.prefix_x = sum_x
        state.prefix_y = sum_y
        state.prefix_xx = sum_xx
        state.prefix_yy = sum_yy
        state.prefix_xy = sum_xy
        sum_x += xs[at]
        sum_y += ys[at]
        sum_xx += state.xxs[at]
        sum_yy += state.yys[at]
        sum_xy += state.xys[at]
    else:
        state.spot = 0
        state.x_anchor = x
        state.y_anchor = y
        state.prefix_x = 0.0
        state.prefix_y = 0.0
        state.prefix_xx = 0.0
        state.prefix_yy = 0.0
        state.prefix_xy = 0.0
        sum_x = 0.0
        sum_y = 0.0
        sum_xx = 0.0
        sum_yy = 0.0
        sum_xy = 0.0
        while at > 0:
            at -= 1
            dx = xs[at] - x
            dy = ys[at] - y
            sum_x += dx
            sum_y += dy
            sum_xx += dx * dx
            sum_yy += dy * dy
            sum_xy += dx * dy
            xs[at] = sum_x
            ys[at] = sum_y
            state.xxs[at] = sum_xx
            state.yys[at] = sum_yy
            state.xys[at] = sum_xy
    mean = sum_x / window
    square = sum_xx - sum_x * mean
    state.xx = 0.0 if square < 0.0 else square
    square = sum_yy - sum_y * (sum_y / window)
    state.yy = 0.0 if square < 0.0 else square
    return sum_xy - mean * sum_y


@rule
def update_correlation(state: PairState, close: float, volume: float) -> float:
    """Covariance over the product of the standard deviations, -1 to 1."""
    product = update_pair(state, close, volume)
    scale = math.sqrt(state.xx) * math.sqrt(state.yy)
    if scale > 0.0:
        share = product / scale
        if share > 1.0:
            return 1.0
        return -1.0 if share < -1.0 else share
    return NAN


@rule
def update_beta(state: PairState, close: float, volume: float) -> float:
    """Covariance over the variance of the second column."""
    product = update_pair(state, close, volume)
    if state.yy > 0.0 and product - product == 0.0:
        return product / state.yy
    return NAN


class Correlation(Estimator, frozen=True):
    """Pearson correlation of two columns over the last `window` bars, -1 to 1.

    Of close and volume unless told otherwise: `Correlation(20).of(LogReturn(), Rsi(14))`.

    NaN policy: a NaN or infinite input gives NaN until it has left the window; so do equal values.
    """

    window: SpreadWindow

    update = staticmethod(update_correlation)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> PairState:
        """A block before of NaN."""
        return _start_pair(self.window)


class Beta(Estimator, frozen=True):
    """Slope of the first column over the second in the last `window` bars, in their units.

    The least squares slope: covariance over the variance of the second. Of close over volume unless
    told otherwise; a beta in the usual sense is of two columns of returns. TA-Lib's BETA takes
    prices, and the other one first.

    NaN policy: a NaN or infinite input gives NaN until it has left the window; so do equal values
    of the second column.
    """

    window: SpreadWindow

    update = staticmethod(update_beta)

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> PairState:
        """A block before of NaN."""
        return _start_pair(self.window)


class AutocorrelationState(PairState, kw_only=True):
    """State of `Autocorrelation`: of pairs, and the last `lag` values, the oldest at `at`."""

    lag: int
    ring: list[float]
    at: int = 0


@rule
def update_autocorrelation(state: AutocorrelationState, close: float) -> float:
    """Correlation of the values of a window with those `lag` bars before."""
    ring = state.ring
    at = state.at
    earlier = ring[at]
    ring[at] = close
    at += 1
    state.at = at if at < state.lag else 0
    return update_correlation(state, close, earlier)


class Autocorrelation(Estimator, frozen=True):
    """Correlation of a column with itself `lag` bars before, over `window` bars, -1 to 1.

    Pearson's correlation of the `window - lag` pairs of values within the window (as
    `pandas.Series.autocorr` of the window). Most useful of returns:
    `Autocorrelation(100).of(LogReturn())`.

    NaN policy: a NaN or infinite input gives NaN until it has left the window; so do equal values.

    Raises:
        StrategyError: The window has less than two pairs.
    """

    window: SpreadWindow
    lag: Window = 1

    update = staticmethod(update_autocorrelation)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window - self.lag < 2:
            raise StrategyError(
                f"a window of {self.window} has no two pairs {self.lag} bars apart",
                where="Autocorrelation",
                remedy="make the window at least 2 bars longer than the lag",
            )

    @property
    def warm_up(self) -> int:
        """`window`."""
        return self.window

    def start_state(self) -> AutocorrelationState:
        """A block before of NaN."""
        pairs = self.window - self.lag
        return AutocorrelationState(
            window=pairs,
            xs=[NAN] * pairs,
            ys=[NAN] * pairs,
            xxs=[NAN] * pairs,
            yys=[NAN] * pairs,
            xys=[NAN] * pairs,
            lag=self.lag,
            ring=[NAN] * self.lag,
        )


def _start_pair(window: int) -> PairState:
    """A block before of NaN, so that there is no value until the first block is full."""
    return PairState(
        window=window,
        xs=[NAN] * window,
        ys=[NAN] * window,
        xxs=[NAN] * window,
        yys=[NAN] * window,
        xys=[NAN] * window,
    )
