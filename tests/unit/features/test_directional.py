from __future__ import annotations

import math

import pytest

from onetape.features import Adx, Estimator, TrendRegime

NAN = math.nan
BARS = ((10.0, 8.0, 9.0), (12.0, 9.0, 11.0), (13.0, 11.0, 12.0), (12.0, 9.0, 9.0))
"""High, low, close. Movements +2, +1, -2; true ranges 3, 2, 3."""


def run(estimator: Estimator, *bars: tuple[float, ...]) -> list[float]:
    running = estimator.start()
    return [running.update(*bar) for bar in bars]


def test_directional_indicators_of_two_bars_by_hand() -> None:
    plus = [NAN, NAN, 100 * 1.5 / 2.5, 100 * 0.75 / 2.75]
    minus = [NAN, NAN, 0, 100 * 1.0 / 2.75]
    assert run(Adx(2, "plus"), *BARS) == pytest.approx(plus, nan_ok=True, rel=1e-14)
    assert run(Adx(2, "minus"), *BARS) == pytest.approx(minus, nan_ok=True, rel=1e-14)


def test_adx_is_the_average_of_the_index() -> None:
    # The index is 100 and then 100 * 0.25 / 1.75.
    expected = [NAN, NAN, NAN, (100 + 100 / 7) / 2]
    assert run(Adx(2), *BARS) == pytest.approx(expected, nan_ok=True, rel=1e-14)


def test_directional_indicators_without_movement_are_zero() -> None:
    flat = [(7.0, 7.0, 7.0)] * 9
    for output in (Adx(2), Adx(2, "plus"), Adx(2, "minus")):
        values = run(output, *flat)
        assert set(values[output.warm_up - 1 :]) == {0.0}


@pytest.mark.parametrize("bad", [NAN, math.inf])
def test_adx_with_a_bad_bar_skips_it(bad: float) -> None:
    gappy = run(Adx(2), BARS[0], (bad, 1.0, 1.0), *BARS[1:3], (9.0, bad, 9.0), BARS[3])
    assert gappy[-1] == run(Adx(2), *BARS)[-1]
    assert all(map(math.isnan, gappy[:-1]))


def test_trend_regime_follows_a_rise_a_fall_and_a_range() -> None:
    closes = [100.0 + 2 * at for at in range(30)] + [160.0 - 2 * at for at in range(30)]
    closes += [100.0, 101.0] * 40
    bars = [(close + 1, close - 1, close) for close in closes]
    regimes = run(TrendRegime(5), *bars)
    assert all(map(math.isnan, regimes[:9]))
    assert regimes[9:30] == [1.0] * 21
    assert regimes[45:60] == [-1.0] * 15
    assert regimes[-30:] == [0.0] * 30
    assert set(regimes[9:]) == {1.0, -1.0, 0.0}


def test_trend_regime_is_left_later_than_it_is_entered() -> None:
    closes = [100.0 + 2 * at for at in range(20)] + [138.0, 139.0] * 20
    bars = [(close + 1, close - 1, close) for close in closes]
    strength, regimes = run(Adx(5), *bars), run(TrendRegime(5, 60.0, 30.0), *bars)
    held = [each for each, regime in zip(strength, regimes, strict=True) if regime == 1.0]
    assert min(held) < 60.0
    assert min(held) >= 30.0
    assert regimes[-1] == 0.0
