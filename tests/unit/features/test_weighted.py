from __future__ import annotations

import math

import pytest

from onetape.domain.errors import StrategyError
from onetape.features import Estimator, Kama, Wma

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_wma_of_three_weighs_one_two_three() -> None:
    values = run(Wma(3), 1, 2, 6, 3, 0)
    expected = [NAN, NAN, (1 + 4 + 18) / 6, (2 + 12 + 9) / 6, (6 + 6 + 0) / 6]
    assert values == pytest.approx(expected, nan_ok=True, rel=1e-15)


def test_wma_with_nan_or_a_huge_value_has_no_trace_of_it_once_it_has_left() -> None:
    for bad in (NAN, math.inf, 1e300):
        for position in range(5):
            values = [3.0, 1.0] * 6
            values[position] = bad
            assert run(Wma(4), *values)[-3:] == run(Wma(4), *[3.0, 1.0] * 6)[-3:]


def test_kama_moves_by_the_squared_weight_of_the_efficiency() -> None:
    fast, slow = 2 / 3, 2 / 31
    weight = (1 / 3 * (fast - slow) + slow) ** 2
    first = 3 + weight * (2 - 3)
    straight = fast**2
    expected = [NAN, NAN, first, first + straight * (1 - first)]
    assert run(Kama(2), 1, 3, 2, 1) == pytest.approx(expected, nan_ok=True, rel=1e-14)


def test_kama_of_a_flat_price_is_the_price() -> None:
    assert run(Kama(3), *[0.1] * 9)[3:] == [0.1] * 6


@pytest.mark.parametrize("bad", [NAN, math.inf])
def test_kama_with_a_bad_value_skips_it(bad: float) -> None:
    clean = run(Kama(2), 1, 3, 2, 1, 5)
    gappy = run(Kama(2), 1, bad, 3, 2, 1, bad, 5)
    assert [each for each in gappy if not math.isnan(each)] == clean[2:]


def test_kama_with_fast_not_below_slow_is_refused() -> None:
    with pytest.raises(StrategyError, match="Kama: fast 9 is not below slow 9"):
        Kama(5, 9, 9)
