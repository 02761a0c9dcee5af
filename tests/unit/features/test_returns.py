from __future__ import annotations

import math

import pytest

from onetape.features import Estimator, LogReturn, SimpleReturn

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_simple_return_is_the_change_as_a_fraction_of_the_value_then() -> None:
    assert run(SimpleReturn(), 8, 10, 5) == pytest.approx([NAN, 0.25, -0.5], nan_ok=True, rel=0)
    assert run(SimpleReturn(2), 8, 10, 5, 20) == pytest.approx(
        [NAN, NAN, -0.375, 1], nan_ok=True, rel=0
    )


def test_log_returns_of_single_bars_add_up_to_that_of_all() -> None:
    values = [100.0, 101.5, 99.0, 104.0]
    single = run(LogReturn(), *values)
    assert math.isnan(single[0])
    assert sum(single[1:]) == pytest.approx(run(LogReturn(3), *values)[3], rel=1e-14)
    assert single[1] == pytest.approx(math.log(1.015), rel=1e-14)


@pytest.mark.parametrize("estimator", [SimpleReturn(), LogReturn()])
def test_return_from_a_value_that_is_not_positive_is_no_number(estimator: Estimator) -> None:
    assert all(map(math.isnan, run(estimator, 0.0, 5.0, NAN, 5.0)))
    assert all(map(math.isnan, run(estimator, -1.0, 5.0) + run(estimator, -1.0, -2.0)))


def test_simple_return_to_zero_is_minus_one_and_log_return_has_none() -> None:
    assert run(SimpleReturn(), 5.0, 0.0)[1] == -1.0
    assert math.isnan(run(LogReturn(), 5.0, 0.0)[1])


def test_simple_return_of_a_tiny_change_keeps_all_its_digits() -> None:
    after = math.nextafter(3.0, 4.0)
    assert run(SimpleReturn(), 3.0, after)[1] == (after - 3.0) / 3.0 != after / 3.0 - 1.0
