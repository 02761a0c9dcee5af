from __future__ import annotations

import math

import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.features import Autocorrelation, Beta, Correlation, Estimator

NAN = math.nan


def run(estimator: Estimator, *bars: float | tuple[float, ...]) -> list[float]:
    running = estimator.start()
    return [running.update(*(bar if isinstance(bar, tuple) else (bar,))) for bar in bars]


PAIRS = ((1.0, 2.0), (2.0, 4.0), (3.0, 7.0))
"""Sums of squares 2 and 38/3, of products 5."""


def test_correlation_and_beta_of_three_pairs() -> None:
    assert run(Correlation(3), *PAIRS)[-1] == pytest.approx(5 / math.sqrt(2 * 38 / 3), rel=1e-14)
    assert run(Beta(3), *PAIRS)[-1] == pytest.approx(5 / (38 / 3), rel=1e-14)


def test_correlation_of_a_line_is_one_and_never_more() -> None:
    values = run(Correlation(5), *((0.1 * at, -0.3 * at + 7) for at in range(50)))
    assert values[4:] == pytest.approx([-1.0] * 46, rel=1e-13)
    assert min(values[4:]) >= -1.0


def test_correlation_and_beta_of_equal_values_are_no_numbers() -> None:
    flat = [(float(at), 0.1) for at in range(9)]
    assert all(map(math.isnan, run(Correlation(3), *flat)))
    assert all(map(math.isnan, run(Beta(3), *flat)))
    assert run(Beta(3), *((y, x) for x, y in flat))[2:] == [0.0] * 7


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1])
def test_pairs_with_a_bad_value_have_no_value_until_it_has_left(bad: float, at: int) -> None:
    hurt = (bad, 1.0) if at == 0 else (1.0, bad)
    for make in (Correlation, Beta):
        values = run(make(2), (1.0, 2.0), (2.0, 5.0), hurt, (2.0, 5.0), (3.0, 1.0))
        assert list(map(math.isnan, values)) == [True, False, True, True, False]


def test_autocorrelation_is_of_the_pairs_inside_the_window() -> None:
    assert run(Autocorrelation(4), 1, -1, 1, -1)[-1] == pytest.approx(-1)
    assert run(Autocorrelation(6, 2), 1, -1, 1, -1, 1, -1)[-1] == pytest.approx(1)
    # Pairs (2, 1), (4, 2), (7, 4): products 23/3, squares 14/3 and 38/3.
    expected = (23 / 3) / math.sqrt(14 / 3 * 38 / 3)
    values = run(Autocorrelation(4), 1, 2, 4, 7)
    assert values == pytest.approx([NAN, NAN, NAN, expected], nan_ok=True, rel=1e-14)


def test_autocorrelation_without_two_pairs_is_refused() -> None:
    with pytest.raises(StrategyError, match="a window of 5 has no two pairs 4 bars apart"):
        Autocorrelation(5, 4)


def test_beta_with_an_infinity_is_no_number_whatever_stands_beside_it() -> None:
    for seed in range(60):
        ys = np.random.default_rng(seed).normal(0, 1, 6).tolist()
        pairs = [(float(at), y) for at, y in enumerate(ys)]
        hurt = seed % 3 + 1
        pairs[hurt] = (math.inf if seed % 2 else -math.inf, ys[hurt])
        values = run(Beta(3), *pairs)
        assert all(map(math.isnan, values[hurt : hurt + 3]))
        assert math.isnan(values[-1]) == (hurt == 3)
