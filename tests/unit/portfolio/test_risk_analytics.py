"""Risk figures by hand, against other definitions of the same, and against the standard library."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId, make_equity, make_spot
from onetape.portfolio.performance import beta
from onetape.portfolio.risk_analytics import (
    Exposure,
    cornish_fisher_var,
    correlation_matrix,
    exposure_by_currency,
    exposure_by_instrument,
    factor_exposure,
    historical_cvar,
    historical_var,
    normal_cvar,
    normal_var,
)

NAN = math.nan
Figure = Callable[..., float]

series = st.lists(st.integers(-500, 500).map(lambda each: each / 1000), min_size=2, max_size=40)
confidences = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.999])


def floats(*values: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


TEN = floats(-0.10, -0.08, -0.05, -0.02, 0.0, 0.01, 0.02, 0.03, 0.04, 0.05)
"""Mean -0.01, deviation 0.05099 (sum of squares 0.0248 - 10 * 0.01 ** 2 = 0.0238, over 9)."""


@pytest.mark.parametrize(
    ("figure", "confidence", "loss"),
    [
        # Type 7: place 9 * 0.1 = 0.9 between -0.10 and -0.08.
        (historical_var, 0.9, 0.082),
        (historical_var, 0.5, -0.005),
        # The worst 10 * 0.1 = 1 of ten; 2.5 of ten: (0.10 + 0.08 + 0.05 / 2) / 2.5.
        (historical_cvar, 0.9, 0.10),
        (historical_cvar, 0.75, 0.205 / 2.5),
        (historical_cvar, 0.99, 0.10),
        # 1.2815515655 * 0.0514241... + 0.01, with deviation sqrt(0.0238 / 9).
        (normal_var, 0.9, 1.2815515655446004 * math.sqrt(0.0238 / 9) + 0.01),
        # density(z) = 0.17549833, over 0.1.
        (normal_cvar, 0.9, 1.7549833193248685 * math.sqrt(0.0238 / 9) + 0.01),
    ],
)
def test_loss_is_the_number_by_hand(figure: Figure, confidence: float, loss: float) -> None:
    assert figure(TEN, confidence=confidence) == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize(
    ("confidence", "var", "cvar"),
    # Quantiles of the standard normal distribution, and its expected shortfall (McNeil, Frey &
    # Embrechts, table 2.1, has 2.06 and 2.67 at 95 % and 99 %).
    [(0.95, 1.6448536269514722, 2.0627128), (0.99, 2.3263478740408408, 2.6652142)],
)
def test_normal_losses_of_a_standard_distribution(
    confidence: float, var: float, cvar: float
) -> None:
    unit = floats(-1.0, 1.0) / math.sqrt(2.0)  # mean 0, deviation 1
    assert normal_var(unit, confidence=confidence) == pytest.approx(var, rel=1e-12)
    assert normal_cvar(unit, confidence=confidence) == pytest.approx(cvar, abs=1e-7)


@given(series, confidences)
def test_cvar_is_the_minimum_of_rockafellar_and_uryasev(
    values: list[float], confidence: float
) -> None:
    """Optimization of Conditional Value-at-Risk (2000): min of t + mean(max(loss - t, 0)) / p."""
    losses = [-each for each in values]
    least = min(
        t + statistics.fmean(max(loss - t, 0.0) for loss in losses) / (1.0 - confidence)
        for t in losses
    )
    assert historical_cvar(floats(*values), confidence=confidence) == pytest.approx(least, abs=1e-9)


@given(series, confidences, st.floats(-0.1, 0.1), st.floats(0.1, 3))
def test_losses_move_with_the_returns_and_grow_with_their_size(
    values: list[float], confidence: float, shift: float, scale: float
) -> None:
    returns = floats(*values)
    for figure in (historical_var, historical_cvar, normal_var, normal_cvar, cornish_fisher_var):
        loss = figure(returns, confidence=confidence)
        moved = figure(returns * scale + shift, confidence=confidence)
        if math.isfinite(loss):
            assert moved == pytest.approx(loss * scale - shift, abs=1e-8)


@given(series, confidences, st.data())
def test_cvar_is_coherent_where_var_is_not(
    values: list[float], confidence: float, data: st.DataObject
) -> None:
    other = data.draw(st.lists(st.floats(-0.5, 0.5), min_size=len(values), max_size=len(values)))
    ours, theirs = floats(*values), floats(*other)
    both = historical_cvar(ours + theirs, confidence=confidence)
    apart = historical_cvar(ours, confidence=confidence) + historical_cvar(
        theirs, confidence=confidence
    )
    assert both <= apart + 1e-9
    assert historical_cvar(ours, confidence=confidence) >= statistics.fmean(-ours) - 1e-9


def test_cornish_fisher_is_the_formula_in_plain_numbers() -> None:
    """Moments of `TEN` from sums: m2 0.00238, m3 -0.000042, m4 in the text of the formula."""
    centered = [float(each) + 0.01 for each in TEN]
    m2, m3, m4 = (sum(each**power for each in centered) / 10 for power in (2, 3, 4))
    assert m2 == pytest.approx(0.00238)
    skewness, excess = m3 / m2**1.5, m4 / m2**2 - 3
    z = -1.6448536269514722
    corrected = z + (z**2 - 1) * skewness / 6 + (z**3 - 3 * z) * excess / 24
    corrected -= (2 * z**3 - 5 * z) * skewness**2 / 36
    loss = -(-0.01 + corrected * math.sqrt(0.0238 / 9))
    assert cornish_fisher_var(TEN, confidence=0.95) == pytest.approx(loss, rel=1e-12)


def test_cornish_fisher_of_a_long_left_tail_is_above_the_normal_figure() -> None:
    skewed = floats(*([0.01] * 30), *([0.0] * 30), *([-0.01] * 20), -0.05, -0.06, -0.09)
    assert cornish_fisher_var(skewed, confidence=0.99) > normal_var(skewed, confidence=0.99)


@pytest.mark.parametrize(
    "figure", [historical_var, historical_cvar, normal_var, normal_cvar, cornish_fisher_var]
)
def test_losses_leave_nan_out_and_are_nan_where_they_are_not_defined(figure: Figure) -> None:
    holes = np.concatenate((TEN[:5], [NAN, NAN], TEN[5:], [NAN]))
    assert figure(holes, confidence=0.9) == figure(TEN, confidence=0.9)
    assert math.isnan(figure(floats(), confidence=0.9))
    for confidence in (0.0, 1.0, 95.0, NAN):
        with pytest.raises(DataError, match="confidence is"):
            figure(TEN, confidence=confidence)


def test_parametric_losses_need_two_observations_and_cornish_fisher_a_spread() -> None:
    assert math.isnan(normal_var(floats(0.1), confidence=0.9))
    assert math.isnan(normal_cvar(floats(0.1), confidence=0.9))
    assert math.isnan(cornish_fisher_var(floats(0.1, 0.1), confidence=0.9))


@given(series, st.data())
def test_correlation_is_that_of_the_standard_library(
    values: list[float], data: st.DataObject
) -> None:
    other = data.draw(
        st.lists(st.integers(-99, 99).map(float), min_size=len(values), max_size=len(values))
    )
    assume(len(set(values)) > 1 and len(set(other)) > 1)
    matrix = correlation_matrix(np.column_stack([values, other]))
    assert (
        matrix[0, 1]
        == matrix[1, 0]
        == pytest.approx(statistics.correlation(values, other), abs=1e-9)
    )
    assert matrix.diagonal() == pytest.approx([1.0, 1.0])


def test_correlation_uses_the_periods_of_each_pair_and_is_nan_without_spread() -> None:
    returns = np.array([[0.1, 0.2, 0.5], [0.2, 0.4, 0.5], [0.3, NAN, 0.5], [0.4, -9.0, NAN]])
    matrix = correlation_matrix(returns[:3])
    assert matrix[0, 1] == pytest.approx(1.0)
    assert correlation_matrix(returns[:3, ::-1])[1, 2] == pytest.approx(1.0)
    assert np.isnan(matrix[2]).all()
    assert matrix[0, 0] == 1.0
    assert np.isnan(correlation_matrix(returns[:1])).all()
    assert correlation_matrix(np.empty((5, 0))).shape == (0, 0)


@given(series, st.data())
def test_exposure_to_one_factor_is_the_regression_of_the_standard_library(
    values: list[float], data: st.DataObject
) -> None:
    factor = data.draw(
        st.lists(st.integers(-99, 99).map(float), min_size=len(values), max_size=len(values))
    )
    assume(len(set(factor)) > 1)
    found = factor_exposure(floats(*values), floats(*factor)[:, None])
    slope, intercept = statistics.linear_regression(factor, values)
    assert found.betas[0] == pytest.approx(slope, abs=1e-10)
    assert found.alpha == pytest.approx(intercept, abs=1e-10)
    assert found.betas[0] == pytest.approx(beta(floats(*values), floats(*factor)), abs=1e-10)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.integers(0, 30))
def test_residuals_of_a_regression_are_orthogonal_to_its_factors(
    seed: int, count: int, more: int
) -> None:
    chance = np.random.default_rng(seed)
    factors = chance.normal(size=(count + 2 + more, count)) * 10.0 ** chance.integers(-3, 3, count)
    returns = chance.normal(size=len(factors)) + 5.0
    found = factor_exposure(returns, factors)
    residuals = returns - found.alpha - factors @ found.betas
    assert residuals.sum() == pytest.approx(0.0, abs=1e-9)
    assert factors.T @ residuals == pytest.approx(0.0, abs=1e-6 * np.abs(factors).max())
    assert 0.0 <= found.r_squared <= 1.0 + 1e-12
    plain = np.column_stack([np.ones(len(returns)), factors])
    solved = np.linalg.lstsq(plain, returns, rcond=None)[0]
    assert [found.alpha, *found.betas] == pytest.approx(solved.tolist(), rel=1e-5, abs=1e-7)
    variance = float(residuals @ residuals) / (len(returns) - count - 1)
    errors = np.sqrt(variance * np.diag(np.linalg.inv(plain.T @ plain)))
    assert [found.alpha_error, *found.errors] == pytest.approx(errors.tolist(), rel=1e-4)


def test_regression_leaves_out_periods_with_holes_and_says_nothing_it_can_not_know() -> None:
    returns = floats(1.0, 3.0, NAN, 5.0)
    factor = floats(0.0, 1.0, 2.0, 2.0)[:, None]
    found = factor_exposure(returns, factor)
    assert (found.alpha, found.betas[0], found.periods) == pytest.approx((1.0, 2.0, 3))
    assert found.r_squared == pytest.approx(1.0)
    constant = factor_exposure(floats(1, 2, 3), floats(5, 5, 5)[:, None])
    twice = factor_exposure(TEN, np.column_stack([TEN, 2.0 * TEN]))
    few = factor_exposure(floats(1, 2), np.array([[1.0, 2.0], [2.0, 1.0]]))
    for unknown in (constant, twice, few):
        assert math.isnan(unknown.alpha)
        assert np.isnan(unknown.betas).all()
        assert math.isnan(unknown.alpha_t)
    just = factor_exposure(floats(1, 2), floats(1, 3)[:, None])
    assert just.betas[0] == pytest.approx(0.5)
    assert np.isnan(just.errors).all()
    assert np.isnan(just.t_values).all()
    mean = factor_exposure(TEN, np.empty((10, 0)))
    assert mean.alpha == pytest.approx(-0.01)
    assert mean.alpha_error == pytest.approx(math.sqrt(0.0238 / 9 / 10))
    assert mean.alpha_t == pytest.approx(-0.01 / math.sqrt(0.0238 / 90))


def test_exposure_sums_by_instrument_and_by_currency() -> None:
    spy, eur = make_equity("SPY.ARCX"), make_spot("BTC-EUR.X", base="BTC", quote="EUR",
                                                  tick_size="0.01", lot_size="0.001")  # fmt: skip
    values: list[tuple[InstrumentId, int]] = [(spy.id, 100), (eur.id, -40), (spy.id, -30)]
    assert exposure_by_instrument(values) == {
        eur.id: Exposure(net=-40, gross=40),
        spy.id: Exposure(net=70, gross=130),
    }
    by_currency = exposure_by_currency(values, {each.id: each for each in (spy, eur)})
    assert by_currency == {"EUR": Exposure(-40, 40), "USD": Exposure(70, 130)}
    assert list(by_currency) == ["EUR", "USD"]
