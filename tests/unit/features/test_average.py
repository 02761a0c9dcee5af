from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from onetape.features import Ema, Estimator, Sma
from onetape.features.compiled import compute_column_compiled

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_sma_of_three_is_the_mean_of_the_last_three() -> None:
    values = run(Sma(3), 1, 2, 6, 3, 9, 0, 3, 3)
    assert values == pytest.approx([NAN, NAN, 3, 11 / 3, 6, 4, 4, 2], nan_ok=True, rel=1e-15)


def test_sma_of_one_is_the_value_itself() -> None:
    assert run(Sma(1), 5.0, 0.1, -3.0) == [5.0, 0.1, -3.0]


def test_sma_with_nan_has_no_value_until_it_has_left() -> None:
    values = run(Sma(2), 1, 2, NAN, 4, 6, 8)
    assert values == pytest.approx([NAN, 1.5, NAN, NAN, 5, 7], nan_ok=True, rel=0)


def test_sma_after_a_huge_value_has_left_shows_no_trace() -> None:
    for position in range(5):
        values = [0.1] * 12
        values[position] = 1e300
        assert run(Sma(4), *values)[-4:] == pytest.approx([0.1] * 4, rel=1e-15)


def test_sma_over_ten_million_values_of_mixed_scale_does_not_drift() -> None:
    window = 50
    rng = np.random.default_rng(7)
    values = 10.0 ** rng.uniform(-12, 12, 10_000_000)
    values[1_000_000:] *= 1e-12
    means = compute_column_compiled(Sma(window), (values,))
    for last in map(int, rng.integers(window, len(values), 300)):
        exact = sum(map(Fraction, values[last - window + 1 : last + 1].tolist())) / window
        assert abs(Fraction(float(means[last])) - exact) <= exact * Fraction(1e-14)


def test_ema_is_seeded_with_the_mean_of_its_first_window() -> None:
    assert run(Ema(3), 1, 2, 6, 5, 1) == pytest.approx([NAN, NAN, 3, 4, 2.5], nan_ok=True, rel=0)


def test_ema_of_a_constant_is_the_constant_exactly() -> None:
    assert set(run(Ema(2), *[0.1] * 50)[1:]) == {0.1}


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_ema_with_a_bad_value_skips_it(bad: float) -> None:
    values = run(Ema(2), 1, bad, 3, bad, 5)
    assert values == pytest.approx([NAN, NAN, 2, NAN, 4], nan_ok=True, rel=1e-15)
