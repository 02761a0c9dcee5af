from __future__ import annotations

import math

import pytest

from onetape.domain.errors import StrategyError
from onetape.features import Estimator, Median, Quantile

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_quantile_is_linear_between_the_nearest_values() -> None:
    # Type 7 of Hyndman and Fan: rank 0.75 of 1, 2, 3, 10.
    assert run(Quantile(4, 0.25), 3, 1, 2, 10)[-1] == 1.75
    assert run(Quantile(4, 0.0), 3, 1, 2, 10)[-1] == 1
    assert run(Quantile(4, 1.0), 3, 1, 2, 10)[-1] == 10


def test_median_of_odd_and_even_windows() -> None:
    assert run(Median(3), 5, 1, 9, 2, 2) == pytest.approx([NAN, NAN, 5, 2, 2], nan_ok=True)
    assert run(Median(2), 5, 1, 9) == pytest.approx([NAN, 3, 5], nan_ok=True)
    assert run(Median(1), 5, 1) == [5, 1]


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_median_with_a_bad_value_has_no_value_until_it_has_left(bad: float) -> None:
    values = run(Median(2), 1, 3, bad, 5, 7, bad, bad, 1, 2)
    expected = [NAN, 2, NAN, NAN, 6, NAN, NAN, NAN, 1.5]
    assert values == pytest.approx(expected, nan_ok=True, rel=0)


def test_quantile_of_a_share_beyond_one_is_refused() -> None:
    for share in (-0.1, 1.1, NAN):
        with pytest.raises(StrategyError, match="Quantile: share"):
            Quantile(5, share)
