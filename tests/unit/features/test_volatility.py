from __future__ import annotations

import math

import numpy as np
import pytest

from onetape.features import (
    Estimator,
    GarmanKlassVolatility,
    Hurst,
    ParkinsonVolatility,
    RealizedVolatility,
    YangZhangVolatility,
)
from onetape.features.compiled import compute_column_compiled

NAN = math.nan
LN2 = math.log(2)


def run(estimator: Estimator, *bars: float | tuple[float, ...]) -> list[float]:
    running = estimator.start()
    return [running.update(*(bar if isinstance(bar, tuple) else (bar,))) for bar in bars]


def test_realized_volatility_of_one_doubling_and_two() -> None:
    # Log returns ln 2 and 2 ln 2: sample deviation ln 2 / root of 2.
    values = run(RealizedVolatility(2), 1, 2, 8)
    assert values == pytest.approx([NAN, NAN, LN2 / math.sqrt(2)], nan_ok=True, rel=1e-14)


def test_parkinson_of_a_range_of_two() -> None:
    values = run(ParkinsonVolatility(2), (2.0, 1.0), (6.0, 3.0))
    assert values == pytest.approx([NAN, math.sqrt(LN2 / 4)], nan_ok=True, rel=1e-14)


def test_garman_klass_of_a_range_of_two_without_a_body_and_with_a_whole_one() -> None:
    still = run(GarmanKlassVolatility(1), (1.5, 2.0, 1.0, 1.5))[-1]
    whole = run(GarmanKlassVolatility(1), (1.0, 2.0, 1.0, 2.0))[-1]
    assert still == pytest.approx(math.sqrt(0.5) * LN2, rel=1e-14)
    assert whole == pytest.approx(math.sqrt(1.5 - 2 * LN2) * LN2, rel=1e-13)


def test_yang_zhang_of_three_bars_by_hand() -> None:
    # Overnight 0 and ln 2, open to close ln 2 and -ln 2, within bars 0 and 0: k = 0.34 / 4.34.
    bars = [(1.0, 1.0, 1.0, 1.0), (1.0, 2.0, 1.0, 2.0), (4.0, 4.0, 2.0, 2.0)]
    share = 0.34 / (1.34 + 3)
    expected = math.sqrt(0.5 * LN2**2 + share * 2 * LN2**2)
    values = run(YangZhangVolatility(2), *bars)
    assert values == pytest.approx([NAN, NAN, expected], nan_ok=True, rel=1e-14)


def test_range_estimators_find_the_volatility_of_a_simulated_walk() -> None:
    """Bars of 400 steps of a driftless walk of 2 % a bar: 10,000 bars tell it within 3 %.

    A walk in steps does not reach as high as one without: the estimators from ranges read up to
    5 % low; Garman and Klass (1980) tabulate that.
    """
    rng = np.random.default_rng(5)
    rows, steps = 10_000, 400
    path = np.cumsum(rng.normal(0, 0.02 / math.sqrt(steps), rows * steps)).reshape(rows, steps)
    prices = np.exp(path - path.mean())
    bars = {
        "open": np.concatenate([[prices[0, 0]], prices[:-1, -1]]),
        "high": prices.max(axis=1),
        "low": prices.min(axis=1),
        "close": prices[:, -1],
    }
    bars["high"] = np.maximum(bars["high"], bars["open"])
    bars["low"] = np.minimum(bars["low"], bars["open"])
    for kind in (
        RealizedVolatility, ParkinsonVolatility, GarmanKlassVolatility, YangZhangVolatility,
    ):  # fmt: skip
        feature = kind(9_000)
        value = compute_column_compiled(feature, tuple(bars[each] for each in feature.inputs))[-1]
        assert 0.0188 < value < 0.0206, kind


@pytest.mark.parametrize("bad", [NAN, 0.0, -1.0, math.inf])
def test_volatility_with_a_bad_price_has_no_value_until_it_has_left(bad: float) -> None:
    values = run(RealizedVolatility(2), 1, 2, 8, bad, 1, 2, 8)
    assert list(map(math.isnan, values)) == [True, True, False, True, True, True, False]
    bars = [(1.0, 2.0, 1.0, 1.5)] * 3 + [(1.0, 2.0, bad, 1.5)] + [(1.0, 2.0, 1.0, 1.5)] * 3
    values = run(GarmanKlassVolatility(2), *bars)
    assert list(map(math.isnan, values)) == [True, False, False, True, True, False, False]


def test_hurst_of_moves_that_turn_back_is_zero_and_of_one_turn_is_one() -> None:
    # Range over deviation is 1, and 4 of 8 returns: ln 1 / ln 4 and ln 4 / ln 4.
    back = run(Hurst(8), *[1.0, 2.0] * 4, 1.0)[-1]
    turn = run(Hurst(8), *[2.0**at for at in (0, 1, 2, 3, 4, 3, 2, 1, 0)])[-1]
    assert back == pytest.approx(0.0, abs=1e-14)
    assert turn == pytest.approx(1.0, rel=1e-14)


def test_hurst_of_independent_returns_is_as_high_as_its_docstring_says() -> None:
    closes = np.exp(np.cumsum(np.random.default_rng(8).normal(0, 0.01, 200_000)))
    values = compute_column_compiled(Hurst(100), (closes,))
    assert 0.55 < np.nanmean(values) < 0.65
