from __future__ import annotations

import math

import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.features import (
    Estimator,
    Hysteresis,
    Levels,
    Rsi,
    TrendRegime,
    VolatilityRegime,
)

NAN = math.nan


def run(estimator: Estimator, *values: float) -> list[float]:
    running = estimator.start()
    return [running.update(value) for value in values]


def test_hysteresis_holds_between_its_edges() -> None:
    values = run(Hysteresis(30, 70), 50, 70, 71, 50, 30, 29, 50, 71)
    assert values == [0, 0, 1, 1, 1, 0, 0, 1]


def test_hysteresis_with_nan_skips_it() -> None:
    values = run(Hysteresis(30, 70), 71, NAN, 50, math.inf, -math.inf, 50)
    assert values == pytest.approx([1, NAN, 1, NAN, NAN, 1], nan_ok=True)


def test_levels_are_entered_beyond_and_left_below_their_edges() -> None:
    levels = Levels((1.0, 2.0), 0.25)
    assert run(levels, 1.1, 1.3, 0.8, 0.7, 9.0, 1.8, 1.7, -5) == [0, 1, 1, 0, 2, 2, 1, 0]


def test_hysteresis_of_a_feature_waits_for_it() -> None:
    regime = Hysteresis(30, 70).of(Rsi(2))
    assert regime.warm_up == 3
    assert run(regime, 1, 2, 3, 2, 1, 0)[2:] == [1, 1, 0, 0]


def test_volatility_regime_sees_a_storm_come_and_go() -> None:
    rng = np.random.default_rng(3)
    calm, usual, wild = (rng.normal(0, size, 300) for size in (0.002, 0.01, 0.05))
    closes = np.exp(np.cumsum(np.concatenate([usual, calm[:60], usual, wild[:60], usual])))
    regimes = run(VolatilityRegime(20, 250), *closes.tolist())
    assert all(map(math.isnan, regimes[:250]))
    assert set(regimes[250:]) == {0.0, 1.0, 2.0}
    assert set(regimes[330:360]) == {0.0}
    assert set(regimes[690:720]) == {2.0}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Hysteresis(70, 30), "Hysteresis: edges 70.0, 30.0 do not ascend"),
        (lambda: Hysteresis(NAN, 30), "Hysteresis: edges nan, 30.0 do not ascend"),
        (lambda: Levels(()), "Levels: has no edges"),
        (lambda: Levels((1.0, math.inf)), "Levels: edges 1.0, inf do not ascend"),
        (lambda: Levels((1.0,), -1.0), "Levels: margin -1.0 is not valid"),
        (lambda: TrendRegime(14, 20, 25), "TrendRegime: edges 25.0, 20.0 do not ascend"),
        (lambda: TrendRegime(14, 101), "TrendRegime: enter 101 is not valid"),
        (
            lambda: VolatilityRegime(50, 50),
            "VolatilityRegime: window 50 is not below baseline 50",
        ),
        (lambda: VolatilityRegime(20, 250, 2.0, 1.0), "Levels: edges 2.0, 1.0 do not ascend"),
    ],
)
def test_regime_with_impossible_edges_is_refused(make: object, message: str) -> None:
    with pytest.raises(StrategyError) as caught:
        make()  # pyright: ignore[reportCallIssue]
    assert str(caught.value).startswith(message)
