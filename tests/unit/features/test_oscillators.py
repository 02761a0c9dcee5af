from __future__ import annotations

import math

import pytest

from onetape.domain.errors import StrategyError
from onetape.features import Cci, Ema, Estimator, Macd

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(*[value] * len(estimator.inputs)) for value in values]


def test_macd_of_one_and_two_bars_by_hand() -> None:
    closes = (1, 3, 5, 4)  # averages of two: 2, 4, 4
    expected = {
        "line": [NAN, 1, 1, 0],
        "signal": [NAN, NAN, 1, 1 / 3],
        "histogram": [NAN, NAN, 0, -1 / 3],
    }
    lines = [Macd(1, 2, 2, "line"), Macd(1, 2, 2, "signal"), Macd(1, 2, 2, "histogram")]
    for macd in lines:
        ours = run(macd, *closes)
        assert ours == pytest.approx(expected[macd.output], nan_ok=True, abs=1e-15)


def test_macd_has_the_bits_of_the_expression_that_it_is() -> None:
    closes = [math.sin(at) + 2 for at in range(80)]
    line = Ema(5) - Ema(9)
    for macd, expression in (
        (Macd(5, 9, 4), line),
        (Macd(5, 9, 4, "signal"), Ema(4).of(line)),
        (Macd(5, 9, 4, "histogram"), line - Ema(4).of(line)),
    ):
        assert macd.warm_up == expression.warm_up
        ours, theirs = run(macd, *closes), run(expression, *closes)
        assert str(ours) == str(theirs)


def test_macd_with_fast_not_below_slow_is_refused() -> None:
    with pytest.raises(StrategyError, match="Macd: fast 26 is not below slow 12"):
        Macd(26, 12)


def test_cci_of_1_2_6_is_100() -> None:
    # Mean 3, mean absolute deviation 2: (6 - 3) / (0.015 * 2).
    assert run(Cci(3), 1, 2, 6) == pytest.approx([NAN, NAN, 100], nan_ok=True, rel=1e-14)


def test_cci_of_equal_prices_is_zero_at_any_scale() -> None:
    for price in (0.1, 1e12 / 3, 1e-12 / 3):
        assert run(Cci(3), 5.0, 7.0, *[price] * 9)[4:] == [0.0] * 7
