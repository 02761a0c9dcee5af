"""Risk of a series of returns, after the fact: losses in the tail, correlation, factor exposure.

Reports, not gates. Conventions as in `performance`: returns are simple returns of equal periods, as
fractions; a NaN observation is left out; what is not defined is NaN. A risk here is a loss over one
period as a positive fraction (a negative one is a gain), and `confidence` the share of the periods
that are expected to be better, between 0 and 1: 0.95 leaves 5 % beyond. Another raises `DataError`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.portfolio.performance import NAN, Floats, value_at_risk

Key = TypeVar("Key", bound=str)

_NOISE = 1e-15
_RANK = 1e-10
"""A factor whose part of its own is below this share of it is a mix of the others."""


def historical_var(returns: Floats, *, confidence: float) -> float:
    """Value at risk: the loss that the quantile `1 - confidence` of the returns is.

    Linear between observations (quantile type 7 of Hyndman & Fan).
    Source: Jorion, Value at Risk, ch. 5 (historical simulation).
    """
    return -value_at_risk(returns, cutoff=1.0 - _check(confidence))


def historical_cvar(returns: Floats, *, confidence: float) -> float:
    """Conditional value at risk: the mean loss of the worst `1 - confidence` of the periods.

    With `n` observations the worst `n * (1 - confidence)` count, the last of them in part, so it
    is the average of value at risk beyond `confidence` and coherent.
    Source: Acerbi & Tasche (2002), On the Coherence of Expected Shortfall, Journal of Banking &
    Finance 26(7), Proposition 4.1.
    """
    known = np.sort(_known(returns))
    weight = len(known) * (1.0 - _check(confidence))
    if not len(known):
        return NAN
    whole = min(math.floor(weight), len(known) - 1)
    part = weight - whole
    tail = math.fsum(known[:whole].tolist()) + part * float(known[whole])
    return -tail / weight


def normal_var(returns: Floats, *, confidence: float) -> float:
    """Value at risk of a normal distribution with the mean and deviation (ddof=1) of the returns.

    `z * deviation - mean`, z the quantile `confidence`. NaN below two observations.
    Source: Jorion, Value at Risk, ch. 5 (parametric).
    """
    mean, deviation = _moments(returns)
    return _quantile(confidence) * deviation - mean


def normal_cvar(returns: Floats, *, confidence: float) -> float:
    """Conditional value at risk of that normal distribution.

    `deviation * density(z) / (1 - confidence) - mean`. NaN below two observations.
    Source: McNeil, Frey & Embrechts, Quantitative Risk Management, example 2.14.
    """
    mean, deviation = _moments(returns)
    density = NormalDist().pdf(_quantile(confidence))
    return deviation * density / (1.0 - confidence) - mean


def cornish_fisher_var(returns: Floats, *, confidence: float) -> float:
    """Value at risk with the normal quantile corrected for skewness and excess kurtosis.

    Moments of the sample (ddof=0 in the third and fourth, ddof=1 in the deviation). NaN below two
    observations or without spread. Far from normal the correction is not monotone in `confidence`.
    Source: Zangari (1996), A VaR Methodology for Portfolios that Include Options, RiskMetrics
    Monitor; Favre & Galeano (2002), Mean-Modified Value-at-Risk Optimization with Hedge Funds.
    """
    known = _known(returns)
    mean, deviation = _moments(known)
    if not deviation > _NOISE:
        return NAN
    centered = known - known.mean()
    variance = float(np.mean(centered**2))
    skewness = float(np.mean(centered**3)) / variance**1.5
    excess = float(np.mean(centered**4)) / variance**2 - 3.0
    z = -_quantile(confidence)
    corrected = (
        z
        + (z * z - 1.0) * skewness / 6.0
        + (z**3 - 3.0 * z) * excess / 24.0
        - (2.0 * z**3 - 5.0 * z) * skewness**2 / 36.0
    )
    return -(mean + corrected * deviation)


def correlation_matrix(returns: Floats) -> Floats:
    """Pearson correlation of every pair of series.

    Each pair uses the periods in which both are known. NaN below two such periods or without
    spread; 1.0 on the diagonal where it is defined.

    Args:
        returns: Shape (periods, series).

    Returns:
        Shape (series, series), symmetric.
    """
    count = returns.shape[1]
    matrix = np.full((count, count), NAN)
    for row in range(count):
        for column in range(row + 1):
            value = _correlate(returns[:, row], returns[:, column])
            matrix[row, column] = matrix[column, row] = value
    return matrix


class Regression(NamedTuple):
    """A linear regression: `alpha` is the return that no factor explains, a period.

    Arrays have an item a factor. `deviation` is that of the residuals (ddof = 1 + factors),
    `r_squared` the share of the variance that is explained, `periods` how many were used.
    """

    alpha: float
    alpha_error: float
    betas: Floats
    errors: Floats
    deviation: float
    r_squared: float
    periods: int

    @property
    def alpha_t(self) -> float:
        """`alpha` over its standard error."""
        return self.alpha / self.alpha_error if self.alpha_error > 0.0 else NAN

    @property
    def t_values(self) -> Floats:
        """Betas over their standard errors; NaN where there is no error."""
        t_values = np.full(len(self.betas), NAN)
        np.divide(self.betas, self.errors, out=t_values, where=self.errors > 0.0)
        return t_values


def factor_exposure(returns: Floats, factors: Floats) -> Regression:
    """Ordinary least squares of returns on factor returns and a constant.

    Errors are those of equal and independent residuals. Everything is NaN where it can't be told:
    with fewer periods than unknowns, or factors of which one is a mix of the others or constant;
    errors also need a period more. Solved by Householder QR.
    Source: Greene, Econometric Analysis, ch. 3 and 4.

    Args:
        returns: Shape (periods,). A period with a NaN anywhere is left out.
        factors: Shape (periods, factors).
    """
    used = np.isfinite(returns) & np.isfinite(factors).all(axis=1)
    ours = returns[used]
    periods, unknowns = len(ours), factors.shape[1] + 1
    if periods < unknowns:
        return _unknown(unknowns - 1, periods)
    # Centered and scaled, which keeps digits of factors of different sizes.
    means = factors[used].mean(axis=0)
    centered = factors[used] - means
    sizes = np.sqrt((centered * centered).sum(axis=0))
    raw = np.sqrt((factors[used] ** 2).sum(axis=0))
    if not (sizes > _RANK * raw).all():
        return _unknown(unknowns - 1, periods)
    q, r = np.linalg.qr(centered / sizes)
    if unknowns > 1 and not (np.abs(np.diag(r)) > _RANK).all():
        return _unknown(unknowns - 1, periods)
    inverse = np.linalg.inv(r)
    mean = float(ours.mean())
    scaled: Floats = inverse @ (q.T @ (ours - mean))
    betas: Floats = scaled / sizes
    alpha = mean - float(means @ betas)
    residuals = ours - mean - centered @ betas
    total = float(np.dot(ours - mean, ours - mean))
    unexplained = float(np.dot(residuals, residuals))
    free = periods - unknowns
    variance = unexplained / free if free > 0 else NAN
    spread: Floats = (inverse @ inverse.T) / np.outer(sizes, sizes)
    return Regression(
        alpha=alpha,
        alpha_error=math.sqrt(variance * (1.0 / periods + float(means @ spread @ means))),
        betas=betas,
        errors=np.sqrt(variance * np.diag(spread)),
        deviation=math.sqrt(variance),
        r_squared=1.0 - unexplained / total if total > 0.0 else NAN,
        periods=periods,
    )


class Exposure(msgspec.Struct, frozen=True):
    """Value of what is held, in minor units: signed, and without signs."""

    net: int
    gross: int


def exposure_by_instrument(
    values: Iterable[tuple[InstrumentId, int]],
) -> dict[InstrumentId, Exposure]:
    """Sum signed values (minor) by instrument, by name. Values of both signs don't net in gross."""
    return _sum_by(values)


def exposure_by_currency(
    values: Iterable[tuple[InstrumentId, int]], instruments: Mapping[InstrumentId, Instrument]
) -> dict[str, Exposure]:
    """Sum signed values (minor) by the quote currency of their instrument, by name.

    The value of a position moves with its quote currency; cash is not among it.
    """
    return _sum_by((instruments[name].settlement_currency, value) for name, value in values)


def _sum_by(values: Iterable[tuple[Key, int]]) -> dict[Key, Exposure]:
    sums: dict[Key, Exposure] = {}
    for key, value in values:
        before = sums.get(key, Exposure(0, 0))
        sums[key] = Exposure(before.net + value, before.gross + abs(value))
    return dict(sorted(sums.items()))


def _known(returns: Floats) -> Floats:
    return returns[np.isfinite(returns)]


def _moments(returns: Floats) -> tuple[float, float]:
    known = _known(returns)
    if len(known) < 2:
        return NAN, NAN
    return float(known.mean()), float(known.std(ddof=1))


def _quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(_check(confidence))


def _check(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise DataError(
            f"confidence is {confidence!r}", remedy="give a share between 0 and 1, such as 0.95"
        )
    return confidence


def _correlate(ours: Floats, theirs: Floats) -> float:
    paired = np.isfinite(ours) & np.isfinite(theirs)
    if np.count_nonzero(paired) < 2:
        return NAN
    a, b = ours[paired], theirs[paired]
    a, b = a - a.mean(), b - b.mean()
    sizes = float(np.dot(a, a)), float(np.dot(b, b))
    if not min(sizes) > _NOISE * _NOISE * len(a):
        return NAN
    return min(1.0, max(-1.0, float(np.dot(a, b)) / math.sqrt(sizes[0] * sizes[1])))


def _unknown(factors: int, periods: int) -> Regression:
    none: npt.NDArray[np.float64] = np.full(factors, NAN)
    return Regression(NAN, NAN, none, none, NAN, NAN, periods)
