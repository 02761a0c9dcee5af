from __future__ import annotations

import math

import pytest

from onetape.domain.errors import StrategyError
from onetape.features import (
    AccumulationDistribution,
    ChaikinOscillator,
    Ema,
    Estimator,
    Mfi,
    Obv,
    SessionVwap,
    Vwap,
)

NAN = math.nan


def run(estimator: Estimator, *bars: tuple[float, ...]) -> list[float]:
    running = estimator.start()
    return [running.update(*bar) for bar in bars]


def flat(price: float, volume: float) -> tuple[float, float, float, float]:
    return (price, price, price, volume)


def test_vwap_weighs_typical_prices_by_volume() -> None:
    values = run(Vwap(2), flat(10, 1), flat(20, 3), (33.0, 27.0, 30.0, 1.0), flat(7, 0))
    assert values == pytest.approx([NAN, 17.5, 22.5, 30], nan_ok=True, rel=1e-15)


def test_vwap_without_volume_has_no_value() -> None:
    values = run(Vwap(2), flat(10, 1), flat(20, 0), flat(30, 0), flat(40, 2))
    assert values == pytest.approx([NAN, 10, NAN, 40], nan_ok=True)


def test_session_vwap_begins_anew_with_each_session() -> None:
    monday, tuesday = 1_700_000_000_000_000_000.0, 1_700_086_400_000_000_000.0
    assert monday != tuesday
    values = run(
        SessionVwap(),
        (*flat(10, 1), monday), (*flat(20, 3), monday), (*flat(NAN, 1), monday),
        (*flat(14, 4), monday), (*flat(50, 0), tuesday), (*flat(40, 2), tuesday),
    )  # fmt: skip
    expected = [10, 17.5, NAN, 15.75, NAN, 40]
    assert values == pytest.approx(expected, nan_ok=True, rel=1e-15)


def test_session_closes_of_nanoseconds_stay_apart_as_float64() -> None:
    """What `SessionVwap` says of its column: float64 steps by 256 ns until the year 2043."""
    for close in (1_600_000_000_000_000_000, 2_300_000_000_000_000_000):
        assert float(close) == float(close)
        assert float(close) != float(close + 512)
        assert math.ulp(float(close)) == 256.0


def test_obv_adds_volume_when_the_close_rises_and_takes_it_when_it_falls() -> None:
    bars = [(10.0, 5.0), (11.0, 7.0), (11.0, 3.0), (9.0, 2.0)]
    assert run(Obv(), *bars) == [0, 7, 7, 5]


def test_obv_keeps_small_volume_beside_huge_volume() -> None:
    bars = [(1.0, 0.0), (2.0, 1e17), *[(float(3 + at), 0.25) for at in range(400)]]
    assert run(Obv(), *bars)[-1] == 1e17 + 100


def test_accumulation_counts_volume_by_where_the_bar_closes() -> None:
    bars = [(10.0, 0.0, close, 5.0) for close in (10.0, 0.0, 5.0, 7.5)] + [flat(5, 100)]
    assert run(AccumulationDistribution(), *bars) == [5, 0, 0, 2.5, 2.5]


def test_accumulation_of_a_hopeless_bar_skips_it() -> None:
    bars = [(10.0, 0.0, 10.0, 5.0), (5e-324, 0.0, 9.0, 1e300), (NAN, 0.0, 1.0, 1.0)]
    values = run(AccumulationDistribution(), *bars, (10.0, 0.0, 10.0, 5.0))
    assert values == pytest.approx([5, NAN, NAN, 10], nan_ok=True)


def test_chaikin_oscillator_is_the_difference_of_two_averages_of_the_line() -> None:
    line = AccumulationDistribution()
    assert ChaikinOscillator(3, 10).plan.nodes == (Ema(3).of(line) - Ema(10).of(line)).plan.nodes
    with pytest.raises(StrategyError, match="fast 10 is not below slow 3"):
        ChaikinOscillator(10, 3)


def test_mfi_is_the_money_of_rises_in_percent() -> None:
    bars = [flat(10, 1), flat(11, 2), flat(10, 3), flat(10, 9)]
    values = run(Mfi(2), *bars)
    expected = [NAN, NAN, 100 * 22 / 52, 0]
    assert values == pytest.approx(expected, nan_ok=True, rel=1e-15)


def test_mfi_without_moves_is_neutral_and_with_bad_volume_no_number() -> None:
    assert run(Mfi(2), *[flat(10, 1)] * 3)[-1] == 50.0
    for bad in (NAN, math.inf):
        values = run(Mfi(2), *[flat(10, 1)] * 3, flat(10, bad), *[flat(10, 1)] * 2)
        assert list(map(math.isnan, values)) == [True, True, False, True, True, False]
        values = run(Mfi(2), *[flat(10, 1)] * 3, flat(9, bad), flat(9, 1), flat(9, 1))
        assert list(map(math.isnan, values)) == [True, True, False, True, True, False]
