from __future__ import annotations

import math

import numpy as np
import pytest

from onetape.features.distribution import (
    compute_correlation,
    compute_correlation_shift,
    compute_ks,
    compute_mean_shift,
    compute_psi,
    compute_variance_shift,
    count_bins,
    cut_bins,
    describe_sample,
    effective_count,
    ks_bound,
    psi_bound,
    shift_bound,
)

stats = pytest.importorskip("scipy.stats")

CHANCE = np.random.default_rng(5)
ONE = CHANCE.normal(size=300)
OTHER = CHANCE.normal(0.3, 1.2, size=120)


def test_stability_index_by_hand() -> None:
    """Shares (10.5, 20.5)/31 and (20.5, 10.5)/31 of two bins, with a half added to each."""
    a, b = 10.5 / 31, 20.5 / 31
    assert compute_psi([10, 20], [20, 10]) == pytest.approx(2 * (b - a) * math.log(b / a))
    assert compute_psi([10, 20], [10, 20]) == 0.0


def test_ks_is_that_of_scipy() -> None:
    found = compute_ks(describe_sample(ONE.tolist()), describe_sample(OTHER.tolist()))
    assert found == pytest.approx(stats.ks_2samp(ONE, OTHER).statistic, rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_ks_of_values_that_repeat_is_the_greatest_of_all_distances(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(-2, 3 + seed % 4, rng.integers(1, 40)) * 1.0 for _ in range(2))
    naive = max(abs((one <= each).mean() - (other <= each).mean()) for each in (*one, *other))
    found = compute_ks(describe_sample(one.tolist()), describe_sample(other.tolist()))
    assert found == pytest.approx(naive, abs=1e-15)


def test_figures_are_those_of_scipy() -> None:
    sample = describe_sample(ONE.tolist())
    assert sample.mean == pytest.approx(ONE.mean(), rel=1e-12)
    assert sample.variance == pytest.approx(ONE.var(), rel=1e-12)
    assert sample.kurtosis == pytest.approx(stats.kurtosis(ONE, fisher=False), rel=1e-12)
    both = compute_correlation(ONE[:120].tolist(), OTHER.tolist())
    assert both == pytest.approx(stats.pearsonr(ONE[:120], OTHER).statistic, rel=1e-12)


def test_mean_shift_is_welchs() -> None:
    """scipy's takes n - 1 as the divisor of the variance, ours n."""
    one, other = np.array([1.0, -1.0] * 60), np.array([1.5, -0.5] * 40)  # not alike in time
    found = compute_mean_shift(describe_sample(one.tolist()), describe_sample(other.tolist()))
    welch = 0.5 / math.sqrt(one.var() / len(one) + other.var() / len(other))
    assert found == pytest.approx(welch, rel=1e-12)


def test_variance_and_correlation_shift_by_hand() -> None:
    one = describe_sample([1.0, -1.0] * 50)
    other = describe_sample([3.0, -1.0, 1.0, -3.0] * 25)
    spread = max(one.kurtosis, other.kurtosis) - 1.0
    assert compute_variance_shift(one, other) == pytest.approx(
        math.log(other.variance / one.variance) / math.sqrt(spread * (1 / 100 + 1 / 100))
    )
    assert compute_correlation_shift(0.0, 0.5, 103.0, 53.0) == pytest.approx(
        math.atanh(0.5) / math.sqrt(1 / 100 + 1 / 50), rel=1e-9
    )
    assert math.isnan(compute_correlation_shift(0.0, 0.5, 103.0, 3.0))
    assert math.isnan(compute_variance_shift(one, describe_sample([1.0] * 30)))


@pytest.mark.parametrize("level", [0.05, 0.01, 0.001])
@pytest.mark.parametrize("count", [8, 30, 400])
def test_bounds_are_near_the_quantiles_of_scipy(level: float, count: int) -> None:
    assert shift_bound(level, count) == pytest.approx(
        stats.t.ppf(1 - level / 2, count - 1), rel=0.06 if count == 8 else 0.005
    )
    assert psi_bound(level, 10, count, count) == pytest.approx(
        stats.chi2.ppf(1 - level, 9) * 2 / count, rel=0.01
    )
    expected = math.sqrt(-math.log(level / 2) / count)
    assert ks_bound(level, count, count) == pytest.approx(expected, abs=1e-6)


def test_values_that_resemble_the_one_before_count_less() -> None:
    """An AR(1) process of 0.5 tells a third as much: Bartlett 1946."""
    assert effective_count(300, 0.5) == pytest.approx(100.0)
    chance = np.random.default_rng(1)
    values = [0.0]
    for step in chance.normal(size=20_000):
        values.append(0.5 * values[-1] + step)
    assert describe_sample(values).autocorrelation == pytest.approx(0.5, abs=0.02)


def test_bins_hold_every_value_once() -> None:
    sample = describe_sample(ONE.tolist())
    edges = cut_bins(sample)
    assert count_bins(edges, sample) == [30] * 10
    assert sum(count_bins(edges, describe_sample(OTHER.tolist()))) == 120
    few = describe_sample([0.0] * 80 + [1.0] * 20)
    assert count_bins(cut_bins(few), few) == [0, 80, 20]
