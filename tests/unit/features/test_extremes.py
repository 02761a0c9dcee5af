from __future__ import annotations

import math

import pytest

from onetape.features import BarsSinceMax, BarsSinceMin, Estimator, RollingMax, RollingMin

NAN = math.nan
VALUES = (3, 1, 4, 1, 5, 9, 2, 6, 5, 3)


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def same(ours: list[float], expected: list[float]) -> bool:
    return ours == pytest.approx(expected, nan_ok=True, rel=1e-14)


def test_rolling_max_and_min_of_three() -> None:
    assert same(run(RollingMax(3), *VALUES), [NAN, NAN, 4, 4, 5, 9, 9, 9, 6, 6])
    assert same(run(RollingMin(3), *VALUES), [NAN, NAN, 1, 1, 1, 1, 2, 2, 2, 3])


def test_bars_since_extremes_take_the_newest_of_equals() -> None:
    assert same(run(BarsSinceMax(3), *VALUES), [NAN, NAN, 0, 1, 0, 0, 1, 2, 1, 2])
    assert same(run(BarsSinceMin(3), *VALUES), [NAN, NAN, 1, 0, 1, 2, 0, 1, 2, 0])
    assert run(BarsSinceMax(3), *[7.0] * 6)[2:] == [0.0] * 4


def test_extremes_with_nan_have_no_value_until_it_has_left() -> None:
    for make, expected in ((RollingMax, 6.0), (RollingMin, 4.0), (BarsSinceMax, 0.0)):
        values = run(make(2), 1, 2, NAN, 4, 6, 8)
        assert list(map(math.isnan, values)) == [True, False, True, True, False, False]
        assert values[4] == expected


def test_extremes_know_infinities_and_forget_them() -> None:
    assert run(RollingMax(2), 1, math.inf, 2, 3)[1:] == [math.inf, math.inf, 3]
    assert run(RollingMin(2), 1, -math.inf, 2, 3)[1:] == [-math.inf, -math.inf, 2]
