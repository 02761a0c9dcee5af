from __future__ import annotations

import math

import pytest

from onetape.domain.errors import StrategyError
from onetape.features import Atr, Bollinger, Ema, Estimator, Keltner

NAN = math.nan
ROOT = math.sqrt(2)


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("upper", 4 + 2 * ROOT),
        ("middle", 4),
        ("lower", 4 - 2 * ROOT),
        ("bandwidth", ROOT),
        ("percent_b", 0.5 + 2 / (4 * ROOT)),
    ],
)
def test_bollinger_of_2_4_4_6_with_mean_4_and_deviation_root_2(
    output: object, expected: float
) -> None:
    band = Bollinger(4, 2, output)  # pyright: ignore[reportArgumentType]
    values = run(band, 100, 2, 4, 4, 6)
    assert list(map(math.isnan, values)) == [True, True, True, False, False]
    assert values[-1] == pytest.approx(expected, rel=1e-14)


def test_bollinger_of_equal_values_has_no_width_and_no_place() -> None:
    flat = [0.1] * 9
    assert run(Bollinger(3, 2, "upper"), *flat)[2:] == [0.1] * 7
    assert run(Bollinger(3, 2, "bandwidth"), *flat)[2:] == [0.0] * 7
    assert all(map(math.isnan, run(Bollinger(3, 2, "percent_b"), *flat)))


def test_bollinger_bandwidth_of_a_middle_that_is_not_positive_is_no_number() -> None:
    assert math.isnan(run(Bollinger(2, 2, "bandwidth"), -1, 1)[-1])
    assert math.isnan(run(Bollinger(2, 2, "bandwidth"), -3, 1)[-1])


def test_bollinger_width_as_a_whole_number_is_the_same_version() -> None:
    assert Bollinger(20, 2).version == Bollinger(20, 2.0).version


@pytest.mark.parametrize("width", [0, -1.0, NAN, math.inf])
def test_bollinger_of_an_impossible_width_is_refused(width: float) -> None:
    with pytest.raises(StrategyError, match="Bollinger: width"):
        Bollinger(20, width)


def test_keltner_is_an_average_and_multiples_of_the_range() -> None:
    bars = [(10.0, 8.0, 9.0), (12.0, 9.0, 11.0), (13.0, 11.0, 12.0)]
    average, reach = Ema(2).start(), Atr(2).start()
    upper, lower = Keltner(2, 2, 1.5, "upper").start(), Keltner(2, 2, 1.5, "lower").start()
    assert upper.estimator.inputs == ("close", "high", "low")
    for high, low, close in bars:
        middle, width = average.update(close), reach.update(high, low, close)
        for sign, band in ((1, upper), (-1, lower)):
            value, expected = band.update(close, high, low), middle + sign * 1.5 * width
            assert value == expected or math.isnan(value + expected)
    assert (average.value, reach.value) == (10 + 2 / 3 * 2, 2.5)
    assert upper.value == 10 + 2 / 3 * 2 + 3.75
