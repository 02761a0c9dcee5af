from __future__ import annotations

import math

import pytest

from onetape.features import Estimator, RollingStd, ZScore

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_rolling_std_population_divides_by_n() -> None:
    values = run(RollingStd(4), 2, 4, 4, 6, 8, 4)
    expected = [NAN, NAN, NAN, math.sqrt(2), math.sqrt(2.75), math.sqrt(2.75)]
    assert values == pytest.approx(expected, nan_ok=True, rel=1e-15)


def test_rolling_std_sample_divides_by_n_minus_one() -> None:
    values = run(RollingStd(4, ddof=1), 2, 4, 4, 6, 8)
    expected = [NAN, NAN, NAN, math.sqrt(8 / 3), math.sqrt(11 / 3)]
    assert values == pytest.approx(expected, nan_ok=True, rel=1e-15)


@pytest.mark.parametrize("constant", [0.1, -1e12 / 3, 1e-300, 1e150])
@pytest.mark.parametrize("window", [2, 3, 7, 64])
def test_rolling_std_of_a_constant_is_exactly_zero(constant: float, window: int) -> None:
    noise = [1e9, -1e9 / 7, 3.0]
    values = run(RollingStd(window), *noise, *[constant] * 200)
    assert set(values[len(noise) + window - 1 :]) == {0.0}


def test_rolling_std_after_a_huge_value_has_left_shows_no_trace() -> None:
    for position in range(5):
        values = [1.0, 2.0] * 6
        values[position] = 1e100
        assert run(RollingStd(4), *values)[-3:] == [0.5] * 3


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_rolling_std_with_a_bad_value_has_no_value_until_it_has_left(bad: float) -> None:
    values = run(RollingStd(2), 1, 3, bad, 3, 5, 9)
    assert values == pytest.approx([NAN, 1, NAN, NAN, 1, 2], nan_ok=True, rel=0)


def test_rolling_std_beyond_the_range_of_floats_is_no_number_and_does_not_raise() -> None:
    values = run(RollingStd(2), -1e308, 1e308, 1e308, 1e308)
    assert not math.isfinite(values[1])
    assert values[2:] == [0.0, 0.0]


def test_zscore_is_the_distance_from_the_mean_in_deviations() -> None:
    values = run(ZScore(4), 2, 4, 4, 6, 8)
    expected = [NAN, NAN, NAN, 2 / math.sqrt(2), 2.5 / math.sqrt(2.75)]
    assert values == pytest.approx(expected, nan_ok=True, rel=1e-15)
    assert run(ZScore(4, ddof=1), 2, 4, 4, 6)[-1] == pytest.approx(2 / math.sqrt(8 / 3))


def test_zscore_of_equal_values_is_no_number() -> None:
    assert all(map(math.isnan, run(ZScore(3), *[0.1] * 10)))
