"""Performance statistics: pure functions of float64 arrays, each stating its clock.

Conventions of all of them: returns are simple returns of equal periods, as fractions; NaN
observations are left out of every sum, and count only as a period that has passed; what is not
defined (0/0, too few observations) is NaN, never infinite and never a warning. `docs/metrics.md`
has every definition in one place.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

NAN = float("nan")

_NOISE = 1e-15
"""A spread of returns below this is rounding: a return near zero is known to about 2e-16."""


def cumulative_return(returns: Floats) -> float:
    """Total growth less one: `prod(1 + r) - 1`. NaN without observations.

    Source: definition (GIPS 2020, time-weighted return).
    """
    growth = _compound(returns)
    return float(growth[-1]) - 1.0 if len(growth) else NAN


def annual_return(returns: Floats, *, periods_per_year: float) -> float:
    """Geometric mean growth a year: `(1 + total) ** (periods_per_year / n) - 1`.

    `n` counts all periods, NaN ones too. NaN when more than everything was lost.
    Source: compound annual growth rate (GIPS 2020, annualized return).
    """
    growth = 1.0 + cumulative_return(returns)
    if not growth >= 0.0:
        return NAN
    try:
        return growth ** (periods_per_year / len(returns)) - 1.0
    except OverflowError:
        return NAN


def annual_volatility(returns: Floats, *, periods_per_year: float) -> float:
    """Standard deviation (ddof=1) times `sqrt(periods_per_year)`. NaN below two observations.

    Source: square-root-of-time rule for independent returns (Hull, Options, Futures, ch. 15).
    """
    return _deviation(_known(returns)) * math.sqrt(periods_per_year)


def sharpe_ratio(
    returns: Floats, *, periods_per_year: float, risk_free_per_period: float = 0.0
) -> float:
    """`mean(r - rf) / std(r - rf, ddof=1) * sqrt(periods_per_year)`. NaN without spread.

    Source: Sharpe (1994), The Sharpe Ratio, Journal of Portfolio Management 21(1), ex post.
    """
    excess = _known(returns) - risk_free_per_period
    deviation = _deviation(excess)
    if not deviation > _NOISE:
        return NAN
    return float(excess.mean()) / deviation * math.sqrt(periods_per_year)


def downside_risk(
    returns: Floats, *, periods_per_year: float, required_return_per_period: float = 0.0
) -> float:
    """Root mean square of what falls short of the required return, over all periods, a year.

    `sqrt(mean(min(r - required, 0) ** 2)) * sqrt(periods_per_year)`. NaN without observations.
    Source: Sortino & van der Meer (1991), Downside Risk, Journal of Portfolio Management 17(4).
    """
    known = _known(returns)
    if not len(known):
        return NAN
    shortfall = np.minimum(known - required_return_per_period, 0.0)
    return math.sqrt(float(np.mean(shortfall * shortfall)) * periods_per_year)


def sortino_ratio(
    returns: Floats, *, periods_per_year: float, required_return_per_period: float = 0.0
) -> float:
    """`mean(r - required) * periods_per_year / downside_risk`. NaN when nothing fell short.

    Source: Sortino & Price (1994), Performance Measurement in a Downside Risk Framework, Journal of
    Investing 3(3).
    """
    risk = downside_risk(
        returns,
        periods_per_year=periods_per_year,
        required_return_per_period=required_return_per_period,
    )
    if not risk > _NOISE:
        return NAN
    mean = float(np.mean(_known(returns) - required_return_per_period))
    return mean * periods_per_year / risk


def max_drawdown(returns: Floats) -> float:
    """Deepest fall of the compounded growth below its highest level so far, as a negative fraction.

    The start counts as a level. 0.0 when it never fell, NaN without observations.
    Source: Magdon-Ismail & Atiya (2004), Maximum Drawdown, Risk 17(10).
    """
    return deepest_drawdown(_compound(returns)).depth


class Drawdown(NamedTuple):
    """The deepest fall of a growth curve: `depth` as a negative fraction, places as row numbers.

    `peak` is the last row at the high before the fall (-1: the start), `trough` the row of the
    depth, `end` the first row at or above the high again, or the last row.
    """

    depth: float
    peak: int
    trough: int
    end: int


def drawdowns(growth: Floats) -> Floats:
    """How far each row lies below the highest level so far (fraction <= 0); it starts at 1.0."""
    return growth / np.maximum(np.maximum.accumulate(growth), 1.0) - 1.0


def deepest_drawdown(growth: Floats) -> Drawdown:
    """The deepest drawdown of a growth curve that started at 1.0.

    Args:
        growth: Money made of one unit of money, shape (rows,). A NaN makes the answer NaN.
    """
    if not len(growth) or np.isnan(growth).any():
        return Drawdown(NAN, -1, -1, -1)
    below = drawdowns(growth)
    trough = int(np.argmin(below))
    if below[trough] == 0.0:
        return Drawdown(0.0, -1, -1, -1)
    at_high = np.flatnonzero(below[:trough] == 0.0)
    recovered = np.flatnonzero(below[trough:] == 0.0)
    return Drawdown(
        depth=float(below[trough]),
        peak=int(at_high[-1]) if len(at_high) else -1,
        trough=trough,
        end=trough + int(recovered[0]) if len(recovered) else len(growth) - 1,
    )


def calmar_ratio(returns: Floats, *, periods_per_year: float) -> float:
    """Annual return over the size of the maximum drawdown. NaN when there was none.

    Source: Young (1991), Calmar Ratio: A Smoother Tool, Futures 20; over the whole period.
    """
    depth = max_drawdown(returns)
    if not depth < -_NOISE:
        return NAN
    return annual_return(returns, periods_per_year=periods_per_year) / -depth


def value_at_risk(returns: Floats, *, cutoff: float) -> float:
    """The `cutoff` quantile of the returns, linear between observations; 0.05: 5 % were below.

    Source: historical simulation (Jorion, Value at Risk, ch. 5); quantile type 7 of Hyndman & Fan.
    """
    known = _known(returns)
    return float(np.quantile(known, cutoff)) if len(known) else NAN


def beta(returns: Floats, benchmark: Floats) -> float:
    """Covariance with the benchmark over its variance. NaN below two pairs or without spread.

    Both arrays have the same shape; a pair with a NaN is left out.
    Source: Sharpe (1964), Capital Asset Prices, Journal of Finance 19(3).
    """
    paired = np.isfinite(returns) & np.isfinite(benchmark)
    ours, theirs = returns[paired], benchmark[paired]
    if not _deviation(theirs) > _NOISE:
        return NAN
    centered = theirs - theirs.mean()
    return float(np.dot(centered, ours - ours.mean()) / np.dot(centered, centered))


def sum_exposure(gross: Floats, equity: Floats) -> float:
    """Sum of gross exposure over equity, slice by slice from the first to the last. Ours.

    Both in the same unit, over the slices whose equity is positive. One order of adding, so every
    host and machine gets the same bits.
    """
    ratios = gross / equity
    return float(np.cumsum(ratios)[-1]) if len(ratios) else 0.0


def annual_turnover(traded: float, average: float, *, years: float) -> float:
    """Traded notional over average equity, a year; a full exchange of the portfolio makes 2.

    `traded` counts buys and sells, in the unit of `average`. NaN when the average is not positive
    or no time has passed. Source: ours, two-sided.
    """
    return traded / average / years if average > 0 and years > 0 else NAN


def _known(returns: Floats) -> Floats:
    return returns[np.isfinite(returns)]


def _compound(returns: Floats) -> Floats:
    """Growth after each known return; all NaN when it is beyond float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        growth = np.cumprod(1.0 + _known(returns), dtype=np.float64)
    return growth if np.isfinite(growth).all() else np.full(len(growth), NAN)


def _deviation(known: Floats) -> float:
    return float(np.std(known, ddof=1)) if len(known) > 1 else NAN
