from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.portfolio import performance
from onetape.portfolio.performance import Drawdown, deepest_drawdown

NAN = float("nan")
RETURNS = st.lists(
    st.one_of(st.floats(-1.0, 10.0), st.just(NAN), st.just(0.0), st.just(-1.0)), max_size=300
).map(lambda values: np.array(values, dtype=np.float64))
POSITIVE_PERIODS = st.sampled_from([1.0, 12.0, 52.0, 252.0, 365.0])


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


@given(RETURNS, POSITIVE_PERIODS)
def test_statistics_of_any_returns_are_never_infinite_and_never_warn(
    returns: np.ndarray, periods: float
) -> None:
    values = [
        performance.cumulative_return(returns),
        performance.annual_return(returns, periods_per_year=periods),
        performance.annual_volatility(returns, periods_per_year=periods),
        performance.sharpe_ratio(returns, periods_per_year=periods),
        performance.sortino_ratio(returns, periods_per_year=periods),
        performance.calmar_ratio(returns, periods_per_year=periods),
        performance.downside_risk(returns, periods_per_year=periods),
        performance.max_drawdown(returns),
        performance.value_at_risk(returns, cutoff=0.05),
        performance.beta(returns, returns[::-1]),
    ]
    assert not any(math.isinf(value) for value in values)


@given(st.lists(st.floats(-0.5, 0.5), min_size=3, max_size=60))
def test_ratios_of_ordinary_returns_are_the_textbook_sums(values: list[float]) -> None:
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    shortfall = math.sqrt(statistics.fmean(min(each, 0.0) ** 2 for each in values))
    returns = array(*values)
    sharpe = performance.sharpe_ratio(returns, periods_per_year=252)
    sortino = performance.sortino_ratio(returns, periods_per_year=252)
    if deviation > 1e-9:
        assert sharpe == pytest.approx(mean / deviation * math.sqrt(252), rel=1e-6, abs=1e-6)
    if shortfall > 1e-9:
        assert sortino == pytest.approx(mean / shortfall * math.sqrt(252), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "returns"),
    [
        ("sharpe_ratio", array()),
        ("sharpe_ratio", array(0.01)),
        ("sharpe_ratio", array(0.01, 0.01, 0.01)),
        ("sharpe_ratio", np.diff(1.01 ** np.arange(50)) / 1.01 ** np.arange(49)),
        ("sortino_ratio", array(0.01, 0.02)),
        ("sortino_ratio", array(NAN, NAN)),
        ("calmar_ratio", array(0.01, 0.0)),
        ("annual_return", array()),
        ("annual_return", array(0.5, -1.5)),
        ("annual_volatility", array(0.01)),
    ],
)
def test_ratio_of_what_is_not_defined_is_nan(name: str, returns: np.ndarray) -> None:
    assert math.isnan(getattr(performance, name)(returns, periods_per_year=252))


def test_sharpe_ratio_takes_the_risk_free_rate_off_each_period() -> None:
    returns = array(0.02, 0.0, 0.03, -0.01)
    shifted = performance.sharpe_ratio(returns - 0.001, periods_per_year=12)
    given_rate = performance.sharpe_ratio(returns, periods_per_year=12, risk_free_per_period=0.001)
    assert given_rate == pytest.approx(shifted)


def test_annual_return_counts_undefined_periods_as_time() -> None:
    assert performance.annual_return(array(NAN, 0.21), periods_per_year=1) == pytest.approx(0.1)


def test_annual_return_when_all_is_lost_is_minus_one() -> None:
    assert performance.annual_return(array(0.1, -1.0), periods_per_year=252) == -1.0


@pytest.mark.parametrize(
    ("growth", "expected"),
    [
        ([1.1, 1.2, 1.3], Drawdown(0.0, -1, -1, -1)),
        ([1.0, 0.9, 1.0, 1.1], Drawdown(-0.1, 0, 1, 2)),
        ([0.9, 0.8], Drawdown(-0.2, -1, 1, 1)),
        ([1.0, 2.0, 1.0, 1.5, 1.9], Drawdown(-0.5, 1, 2, 4)),
        ([1.0, 0.9, 1.2, 1.2, 0.6, 1.2, 0.7], Drawdown(-0.5, 3, 4, 5)),
        ([1.0, 0.5, -0.5, 2.0], Drawdown(-1.5, 0, 2, 3)),
    ],
)  # fmt: skip
def test_deepest_drawdown_of_a_curve_has_peak_trough_and_end(
    growth: list[float], expected: Drawdown
) -> None:
    found = deepest_drawdown(array(*growth))
    assert found == (pytest.approx(expected.depth), *expected[1:])


@given(st.lists(st.floats(0.01, 100.0), min_size=1, max_size=60))
def test_deepest_drawdown_equals_the_search_over_all_pairs(growth: list[float]) -> None:
    levels = [1.0, *growth]
    depth = min(
        (low / high - 1.0 for at, high in enumerate(levels) for low in levels[at:]), default=0.0
    )
    assert deepest_drawdown(array(*growth)).depth == pytest.approx(depth, abs=1e-12)


def test_deepest_drawdown_of_nothing_or_of_nan_is_nan() -> None:
    assert math.isnan(deepest_drawdown(array()).depth)
    assert math.isnan(deepest_drawdown(array(1.0, NAN)).depth)


def test_beta_leaves_out_pairs_with_a_nan() -> None:
    benchmark = array(0.01, NAN, -0.02, 0.03, 0.5)
    returns = array(0.02, 9.0, -0.04, 0.06, NAN)
    assert performance.beta(returns, benchmark) == pytest.approx(2.0)
    assert math.isnan(performance.beta(returns, np.full(5, 0.01)))


def test_turnover_of_nothing_is_nan() -> None:
    assert math.isnan(performance.annual_turnover(5.0, NAN, years=1.0))
    assert math.isnan(performance.annual_turnover(5.0, -1.0, years=1.0))
    assert math.isnan(performance.annual_turnover(5.0, 1.0, years=0.0))


def test_exposure_and_turnover_on_a_hand_made_curve() -> None:
    gross, equity = array(0.0, 50.0, 300.0), array(100.0, 100.0, 100.0)
    assert performance.sum_exposure(gross, equity) == 3.5
    assert performance.sum_exposure(array(), array()) == 0.0
    assert performance.annual_turnover(600.0, 150.0, years=2.0) == 2.0


def test_exposure_is_added_in_the_order_of_the_slices() -> None:
    gross = np.random.default_rng(3).uniform(0.0, 1.0, 10_000)
    total = 0.0
    for each in gross.tolist():
        total += each
    assert performance.sum_exposure(gross, np.ones(10_000)) == total
