from __future__ import annotations

import math

import pytest

from onetape.features import Atr, Rsi

NAN = math.nan


def run_rsi(window: int, *values: float) -> list[float]:
    running = Rsi(window).start()
    return [running.update(value) for value in values]


def run_atr(window: int, *bars: tuple[float, float, float]) -> list[float]:
    running = Atr(window).start()
    return [running.update(*bar) for bar in bars]


def test_rsi_is_seeded_with_simple_means_then_smoothed() -> None:
    # changes +2, -1, +1: gains 2, 0 | losses 0, 1; then gain (1 + 1)/2 = 1, loss (0.5 + 0)/2
    values = run_rsi(2, 10, 12, 11, 12)
    assert values == pytest.approx([NAN, NAN, 100 * 2 / 3, 80], nan_ok=True, rel=1e-15)


def test_rsi_of_only_gains_is_100_and_of_only_losses_0() -> None:
    assert run_rsi(3, 1, 2, 3, 4, 5)[3:] == [100.0, 100.0]
    assert run_rsi(3, 5, 4, 3, 2, 1)[3:] == [0.0, 0.0]


def test_rsi_of_a_price_that_never_moved_is_50() -> None:
    assert run_rsi(2, 7, 7, 7, 7)[2:] == [50.0, 50.0]


@pytest.mark.parametrize("bad", [NAN, math.inf])
def test_rsi_with_a_bad_close_goes_on_from_the_last_good_one(bad: float) -> None:
    values = run_rsi(2, 10, bad, 12, 11, bad, 12)
    expected = [NAN, NAN, NAN, 100 * 2 / 3, NAN, 80]
    assert values == pytest.approx(expected, nan_ok=True, rel=1e-15)


def test_atr_true_range_reaches_the_previous_close() -> None:
    # gap up: 15 - 10; gap down: 13 - 8; inside: 10 - 8
    values = run_atr(2, (11, 9, 10), (15, 13, 13), (9, 8, 9), (10, 8, 9))
    assert values == pytest.approx([NAN, NAN, 5, 3.5], nan_ok=True, rel=1e-15)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_atr_with_a_bad_bar_goes_on_from_the_last_good_close(place: int, bad: float) -> None:
    broken = [99.0, 98.0, 99.0]
    broken[place] = bad
    bars = [(11.0, 9.0, 10.0), (broken[0], broken[1], broken[2]), (15.0, 13.0, 13.0)]
    assert run_atr(1, *bars) == pytest.approx([NAN, NAN, 5], nan_ok=True, rel=0)
