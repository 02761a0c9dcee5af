from __future__ import annotations

import math

import pytest

from onetape.features import Estimator, Kurtosis, Skewness

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_skewness_and_kurtosis_of_1_2_3_10() -> None:
    # Deviations -3, -2, -1, 6: second moment 12.5, third 45, fourth 348.5.
    skewness, kurtosis = run(Skewness(4), 99, 1, 2, 3, 10), run(Kurtosis(4), 99, 1, 2, 3, 10)
    assert skewness[-1] == pytest.approx(45 / 12.5**1.5, rel=1e-14)
    assert kurtosis[-1] == pytest.approx(348.5 / 12.5**2 - 3, rel=1e-14)


@pytest.mark.parametrize("make", [Skewness, Kurtosis])
def test_shape_does_not_depend_on_unit_or_place(make: type[Skewness | Kurtosis]) -> None:
    values = [1.0, 2.0, 3.0, 10.0, 4.0, 4.0, 7.0, 1.0]
    plain = run(make(5), *values)
    for factor, shift in ((1e-30, 0.0), (1e30, 0.0), (1.0, 1e6), (2.0**40, 2.0**50)):
        moved = run(make(5), *(each * factor + shift for each in values))
        assert moved == pytest.approx(plain, nan_ok=True, rel=1e-9)


@pytest.mark.parametrize("make", [Skewness, Kurtosis])
def test_shape_of_equal_values_is_no_number(make: type[Skewness | Kurtosis]) -> None:
    assert all(map(math.isnan, run(make(3), 1e9, *[0.1] * 9)[3:]))


@pytest.mark.parametrize("make", [Skewness, Kurtosis])
def test_shape_of_differences_too_small_to_raise_to_powers_is_no_number(
    make: type[Skewness | Kurtosis],
) -> None:
    assert all(map(math.isnan, run(make(3), *[1e-80, 2e-80, 4e-80, 9e-80])))


def test_shape_with_nan_has_no_value_until_it_has_left() -> None:
    values = run(Skewness(3), 1, 2, 4, NAN, 1, 2, 4, 9)
    assert list(map(math.isnan, values)) == [True, True, False, True, True, True, False, False]
    assert values[6] == pytest.approx(values[2], rel=1e-13)
