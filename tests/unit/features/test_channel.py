from __future__ import annotations

import math

import pytest

from onetape.domain.errors import StrategyError
from onetape.features import Donchian, Estimator, FastStochastic, Lag, Stochastic, WilliamsR

NAN = math.nan


def run(estimator: Estimator, *bars: tuple[float, ...]) -> list[float]:
    running = estimator.start()
    return [running.update(*bar) for bar in bars]


def same(ours: list[float], expected: list[float]) -> bool:
    return ours == pytest.approx(expected, nan_ok=True, rel=1e-14)


BARS = ((10.0, 8.0, 9.0), (12.0, 9.0, 12.0), (11.0, 7.0, 7.0), (10.0, 9.0, 9.0))
"""High, low, close."""


def test_donchian_is_the_range_of_highs_and_lows() -> None:
    ranges = [bar[:2] for bar in BARS]
    assert same(run(Donchian(2, "upper"), *ranges), [NAN, 12, 12, 11])
    assert same(run(Donchian(2, "lower"), *ranges), [NAN, 8, 7, 7])
    assert same(run(Donchian(2), *ranges), [NAN, 10, 9.5, 9])
    assert same(run(Lag(1).of(Donchian(2, "upper")), *ranges), [NAN, NAN, 12, 12])


def test_fast_stochastic_and_williams_r_place_the_close_in_the_range() -> None:
    assert same(run(FastStochastic(2), *BARS), [NAN, 100, 0, 50])
    assert same(run(WilliamsR(2), *BARS), [NAN, 0, -100, -50])


def test_stochastic_is_a_mean_of_the_fast_one_and_d_a_mean_of_that() -> None:
    assert same(run(Stochastic(2, 2, 2, "k"), *BARS), [NAN, NAN, 50, 25])
    assert same(run(Stochastic(2, 2, 2, "d"), *BARS), [NAN, NAN, NAN, 37.5])


def test_stochastic_where_nothing_has_moved_is_neutral() -> None:
    flat = [(7.0, 7.0, 7.0)] * 4
    assert run(FastStochastic(2), *flat)[1:] == [50.0] * 3
    assert run(WilliamsR(2), *flat)[1:] == [-50.0] * 3
    assert math.isnan(run(FastStochastic(2), *flat, (7.0, 7.0, NAN))[-1])


def test_output_that_does_not_exist_names_the_ones_that_do() -> None:
    wrong: object = "top"
    with pytest.raises(StrategyError) as caught:
        Donchian(20, wrong)  # pyright: ignore[reportArgumentType]
    assert str(caught.value) == (
        "Donchian: output 'top' is not valid (one of 'upper', 'lower', 'middle')"
    )


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("position", range(6))
def test_channel_with_nan_in_one_column_has_no_value_until_it_has_left(
    at: int, position: int
) -> None:
    ranges = [[10.0, 8.0], [12.0, 9.0], [11.0, 7.0], [10.0, 9.0], [13.0, 8.0], [9.0, 8.0]] * 2
    for output in (Donchian(3, "upper"), Donchian(3, "lower"), Donchian(3)):
        clean = run(output, *map(tuple, ranges))
        hurt = [list(each) for each in ranges]
        hurt[position][at] = NAN
        values = run(output, *map(tuple, hurt))
        for row, (ours, expected) in enumerate(zip(values, clean, strict=True)):
            assert (
                math.isnan(ours)
                if row < 2 or position <= row <= position + 2
                else (ours == expected)
            )
