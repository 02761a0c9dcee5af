"""How far two samples of a feature are apart, and how far chance alone would put them.

All sums are exact (`math.fsum`) and logarithms our own, so that a number is the same on every
machine. Values follow each other in time and resemble each other, so a window of n values tells as
much as n (1 - r) / (1 + r) independent ones: r is the correlation of a value with the one before
(Bartlett 1946, "On the Theoretical Specification and Sampling Properties of Autocorrelated
Time-Series"; exact for an AR(1) process, and too careful for moving averages).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import msgspec

from onetape.features.logarithm import compute_log

BINS = 10
"""Bins of a histogram, each with a tenth of the reference."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one window of values, NaN left out.

    `autocorrelation` is that of a value with the one before, 0 where it is negative or there is
    none. `kurtosis` is 3 for a normal distribution.
    """

    count: int
    ordered: tuple[float, ...]
    mean: float
    variance: float
    kurtosis: float
    autocorrelation: float


def describe_sample(values: Sequence[float]) -> Sample:
    """The figures of a window of finite values, in their order in time."""
    count = len(values)
    mean = math.fsum(values) / count if count else math.nan
    deltas = [each - mean for each in values]
    squares = math.fsum(each * each for each in deltas)
    variance = squares / count if count else math.nan
    fourth = math.fsum(each**4 for each in deltas) / count if count else math.nan
    lagged = math.fsum(a * b for a, b in pairwise(deltas))
    return Sample(
        count=count,
        ordered=tuple(sorted(values)),
        mean=mean,
        variance=variance,
        kurtosis=fourth / (variance * variance) if variance > 0.0 else 1.0,
        autocorrelation=_unbias(lagged / squares, count) if squares > 0.0 else 0.0,
    )


def _unbias(autocorrelation: float, count: int) -> float:
    """The correlation, 0 to 0.999, without what an estimate of it is too low by: (1 + 4 r) / n.

    Marriott, Pope (1954), "Bias in the Estimation of Autocorrelations".
    """
    if autocorrelation <= 0.0:
        return 0.0
    return min(autocorrelation + (1.0 + 4.0 * autocorrelation) / count, 0.999)


def effective_count(count: int, autocorrelation: float) -> float:
    """How many independent values `count` are worth; at least 1."""
    return max(1.0, count * (1.0 - autocorrelation) / (1.0 + autocorrelation))


def cut_bins(reference: Sample) -> list[float]:
    """Inner edges of the bins: quantiles of the reference, rising; fewer where values repeat."""
    ordered = reference.ordered
    edges = [ordered[min(len(ordered) - 1, len(ordered) * at // BINS)] for at in range(1, BINS)]
    return sorted(set(edges))


def count_bins(edges: Sequence[float], sample: Sample) -> list[int]:
    """Values in each bin; a value on an edge counts above it."""
    below = [bisect.bisect_left(sample.ordered, edge) for edge in edges]
    return [b - a for a, b in zip([0, *below], [*below, sample.count], strict=True)]


def compute_psi(reference: Sequence[int], recent: Sequence[int]) -> float:
    """Population stability index of two histograms of the same bins; half a value is added to each.

    Sum of (a - b) ln(a / b) over shares a and b: Siddiqi (2006), "Credit Risk Scorecards"; it is
    the symmetric divergence of Jeffreys (1946).
    """
    bins = len(reference)
    of_reference, of_recent = sum(reference) + 0.5 * bins, sum(recent) + 0.5 * bins
    terms: list[float] = []
    for one, other in zip(reference, recent, strict=True):
        a, b = (other + 0.5) / of_recent, (one + 0.5) / of_reference
        terms.append((a - b) * compute_log(a / b))
    return math.fsum(terms)


def compute_ks(reference: Sample, recent: Sample) -> float:
    """Kolmogorov-Smirnov distance: the most that two distribution functions differ, 0 to 1."""
    one, other = reference.ordered, recent.ordered
    most = 0.0
    at = to = 0
    while at < len(one) and to < len(other):
        value = min(one[at], other[to])
        while at < len(one) and one[at] == value:
            at += 1
        while to < len(other) and other[to] == value:
            to += 1
        most = max(most, abs(at / reference.count - to / recent.count))
    return most  # where one has no more values, the distance only falls


def compute_mean_shift(reference: Sample, recent: Sample) -> float:
    """Difference of the means in standard errors (Welch 1938); NaN where nothing varies."""
    likeness = max(reference.autocorrelation, recent.autocorrelation)
    error = reference.variance / effective_count(reference.count, likeness)
    error += recent.variance / effective_count(recent.count, likeness)
    return _over(recent.mean - reference.mean, error)


def compute_variance_shift(reference: Sample, recent: Sample) -> float:
    """Logarithm of the ratio of the variances in standard errors; NaN where one does not vary.

    The error of a variance is sqrt((kurtosis - 1) / n) of it (Layard 1973, "Robust Large-Sample
    Tests for Homogeneity of Variances"); squares of values r alike are r^2 alike.
    """
    if not (reference.variance > 0.0 and recent.variance > 0.0):
        return math.nan
    spread = max(reference.kurtosis, recent.kurtosis) - 1.0
    likeness = max(reference.autocorrelation, recent.autocorrelation)
    error = math.fsum(
        spread / effective_count(each.count, likeness * likeness) for each in (reference, recent)
    )
    return _over(compute_log(recent.variance / reference.variance), error)


def compute_correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's correlation of two windows of finite values; NaN where one does not vary."""
    count = len(one)
    if not count:
        return math.nan
    mean, other_mean = math.fsum(one) / count, math.fsum(other) / count
    pairs = [(a - mean, b - other_mean) for a, b in zip(one, other, strict=True)]
    both = math.fsum(a * a for a, _ in pairs) * math.fsum(b * b for _, b in pairs)
    if not both > 0.0:
        return math.nan
    return min(max(math.fsum(a * b for a, b in pairs) / math.sqrt(both), -1.0), 1.0)


def compute_correlation_shift(
    reference: float, recent: float, reference_count: float, recent_count: float
) -> float:
    """Difference of two correlations in standard errors of Fisher's z (Fisher 1921).

    `reference_count` and `recent_count` are effective ones; NaN where one is 3 or fewer.
    """
    if not (reference_count > 3.0 and recent_count > 3.0):
        return math.nan
    error = 1.0 / (reference_count - 3.0) + 1.0 / (recent_count - 3.0)
    return _over(_fisher(recent) - _fisher(reference), error)


def _fisher(correlation: float) -> float:
    inside = min(max(correlation, -0.999999), 0.999999)
    return 0.5 * compute_log((1.0 + inside) / (1.0 - inside))


def _over(difference: float, variance: float) -> float:
    return difference / math.sqrt(variance) if variance > 0.0 else math.nan


@cache
def normal_quantile(probability: float) -> float:
    """What a standard normal value is below with `probability`, 0 to 1 exclusive; within 1e-12."""
    low, high = -40.0, 40.0
    while high - low > 1e-12:
        middle = 0.5 * (low + high)
        if 0.5 * math.erfc(-middle / math.sqrt(2.0)) < probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def shift_bound(level: float, count: float) -> float:
    """What a difference in standard errors exceeds, either way, with probability `level`.

    Student's distribution of `count` - 1 degrees, by its first terms around the normal one (Fisher,
    Cornish 1960). Rounded to 6 digits, as all bounds here, so that it is the same on every machine.
    """
    bound = normal_quantile(1.0 - level / 2.0)
    degrees = max(count - 1.0, 3.0)
    cube, fifth = bound**3, bound**5
    first = (cube + bound) / (4.0 * degrees)
    second = (5.0 * fifth + 16.0 * cube + 3.0 * bound) / (96.0 * degrees * degrees)
    return round(bound + first + second, 6)


def psi_bound(level: float, bins: int, reference: float, recent: float) -> float:
    """What the index exceeds by chance with probability `level`, of so many effective values.

    It is (1/n + 1/m) times a chi-square of `bins` - 1 degrees (Yurdakul, Naranjo 2020, "Statistical
    Properties of the Population Stability Index"), whose quantile is that of Wilson and Hilferty
    (1931).
    """
    degrees = max(bins - 1, 1)
    spread = 2.0 / (9.0 * degrees)
    upper = normal_quantile(1.0 - level)
    quantile = degrees * (1.0 - spread + upper * math.sqrt(spread)) ** 3
    return round(quantile * (1.0 / reference + 1.0 / recent), 6)


def ks_bound(level: float, reference: float, recent: float) -> float:
    """What the distance exceeds by chance with probability `level`, of so many effective values.

    sqrt(-ln(level / 2) / 2 (1/n + 1/m)): Smirnov (1948), "Table for Estimating the Goodness of Fit
    of Empirical Distributions".
    """
    return round(math.sqrt(-math.log(level / 2.0) / 2.0 * (1.0 / reference + 1.0 / recent)), 6)
