"""Every estimator on random series: against its formula on each prefix, live against batch, Python
host against compiled host, with and without a checkpoint."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import pairwise
from statistics import fmean

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.domain.rules import rule
from onetape.features import (
    Atr,
    Ema,
    Estimator,
    LogReturn,
    RollingStd,
    Rsi,
    SimpleReturn,
    Sma,
    State,
    ZScore,
)
from onetape.features.columns import compute_column
from onetape.features.compiled import compute_column_compiled

Column = npt.NDArray[np.float64]
Rows = Sequence[tuple[float, ...]]

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class DrawdownState(State):
    peak: float = -math.inf


@rule
def update_drawdown(state: DrawdownState, close: float) -> float:
    state.peak = max(state.peak, close)
    return close - state.peak


class Drawdown(Estimator, frozen=True):
    """The example of the estimator contract: what a user writes."""

    update = staticmethod(update_drawdown)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> DrawdownState:
        return DrawdownState()


windows = st.integers(1, 12)
estimators = st.one_of(
    windows.map(Sma),
    windows.map(Ema),
    windows.map(Rsi),
    windows.map(Atr),
    windows.map(SimpleReturn),
    windows.map(LogReturn),
    st.builds(RollingStd, st.integers(2, 12), st.integers(0, 1)),
    st.builds(ZScore, st.integers(2, 12), st.integers(0, 1)),
    st.just(Drawdown()),
)
scales = st.sampled_from([1e-12, 1e-6, 1.0, 1e6, 1e12])
wild = st.one_of(
    st.floats(),
    st.floats(-1e3, 1e3),
    st.builds(operator.mul, st.floats(0.1, 10), scales),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 7.0]),
)
"""Any float, and often the ones that hurt."""


@st.composite
def prices(draw: st.DrawFn) -> list[float]:
    """Positive values of one kind: constant runs, one scale, all scales, or a jump of scale."""
    kind = draw(st.sampled_from(["constant", "scale", "mixed", "jump"]))
    count = draw(st.integers(0, 60))
    scale = draw(scales)
    digits = draw(st.lists(st.floats(0.1, 10), min_size=count, max_size=count))
    if kind == "constant":
        return [digits[row // 20] * scale for row in range(count)]
    if kind == "mixed":
        return [each * draw(scales) for each in digits]
    if kind == "jump":
        return [each * (1e12 if row < count // 2 else scale) for row, each in enumerate(digits)]
    return [each * scale for each in digits]


def to_columns(estimator: Estimator, values: list[float]) -> tuple[Column, ...]:
    count = len(estimator.inputs)
    rows = len(values) // count
    return tuple(np.array(values[at * rows : (at + 1) * rows]) for at in range(count))


def assert_same_bits(ours: Column, theirs: Column) -> None:
    """Equal bit for bit; any NaN equals any NaN, because only `isnan` is a promise."""
    one, other = (np.where(np.isnan(each), np.nan, each).view(np.int64) for each in (ours, theirs))
    np.testing.assert_array_equal(one, other)


@quick
@given(estimators, st.lists(wild, max_size=90))
def test_python_and_compiled_host_give_the_same_bits(
    estimator: Estimator, values: list[float]
) -> None:
    inputs = to_columns(estimator, values)
    expected = compute_column(estimator, inputs)
    assert_same_bits(compute_column_compiled(estimator, inputs), expected)


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1.0, 1e12, 1e150])
@pytest.mark.parametrize("window", [2, 7, 20, 100])
def test_python_and_compiled_host_give_the_same_bits_on_long_series(
    window: int, scale: float
) -> None:
    rng = np.random.default_rng(window)
    values = scale * np.exp(np.cumsum(rng.normal(0, 0.5, 6000)))
    values[rng.integers(0, 6000, 20)] = np.nan
    values[rng.integers(0, 6000, 20)] *= 1e20
    for make in (Sma, Ema, Rsi, Atr, SimpleReturn, LogReturn, RollingStd, ZScore):
        estimator = make(window)
        inputs = to_columns(estimator, values.tolist())
        expected = compute_column(estimator, inputs)
        assert_same_bits(compute_column_compiled(estimator, inputs), expected)


@quick
@given(estimators, st.lists(wild, max_size=60), st.integers(0, 60))
def test_live_with_a_checkpoint_anywhere_gives_the_bits_of_batch(
    estimator: Estimator, values: list[float], checkpoint: int
) -> None:
    inputs = to_columns(estimator, values)
    running = estimator.start()
    live: list[float] = []
    for row, bar in enumerate(zip(*(column.tolist() for column in inputs), strict=True)):
        if row == checkpoint:
            plain = msgspec.msgpack.decode(msgspec.msgpack.encode(running.snapshot()))
            running = estimator.start()
            running.restore(plain)
        live.append(running.update(*bar))
        assert running.value is live[-1]
    assert_same_bits(np.array(live), compute_column(estimator, inputs))


@quick
@given(estimators, st.lists(st.floats(0.1, 10), min_size=75, max_size=75, unique=True))
def test_first_value_stands_at_the_last_row_of_the_warm_up(
    estimator: Estimator, values: list[float]
) -> None:
    column = compute_column(estimator, to_columns(estimator, values))
    assert np.flatnonzero(~np.isnan(column))[0] == estimator.warm_up - 1


# The formulas, each on a whole prefix. A result is (value, allowed absolute error).

Formula = Callable[[Rows, int], tuple[float, float]]
NOTHING = (math.nan, 0.0)


def exact_mean(values: Sequence[float | Fraction]) -> Fraction:
    return sum((Fraction(each) for each in values), Fraction(0)) / len(values)


def naive_sma(rows: Rows, window: int) -> tuple[float, float]:
    values = [row[0] for row in rows[-window:]]
    if len(values) < window:
        return NOTHING
    return float(exact_mean(values)), 1e-14 * fmean(map(abs, values))


def naive_std(rows: Rows, window: int) -> tuple[float, float]:
    values = [row[0] for row in rows[-window:]]
    if len(values) < window:
        return NOTHING
    mean = exact_mean(values)
    value = math.sqrt(exact_mean([(Fraction(each) - mean) ** 2 for each in values]))
    return value, 1e-12 * value + 1e-15 * max(map(abs, values))


def naive_sample_std(rows: Rows, window: int) -> tuple[float, float]:
    factor = math.sqrt(window / (window - 1))
    value, error = naive_std(rows, window)
    return value * factor, error * factor


def naive_zscore(rows: Rows, window: int) -> tuple[float, float]:
    deviation, _ = naive_std(rows, window)
    if not deviation > 0:
        return NOTHING
    mean, size = naive_sma(rows, window)[0], max(abs(row[0]) for row in rows[-window:])
    score = (rows[-1][0] - mean) / deviation
    return score, 1e-12 + 1e-14 * size / deviation


def naive_smoothed(values: Sequence[float], window: int, weight: float) -> float:
    if len(values) < window:
        return math.nan
    average = fmean(values[:window])
    for value in values[window:]:
        average = weight * value + (1 - weight) * average
    return average


def naive_ema(rows: Rows, window: int) -> tuple[float, float]:
    values = [row[0] for row in rows]
    return naive_smoothed(values, window, 2 / (window + 1)), 1e-13 * max(map(abs, values))


def naive_rsi(rows: Rows, window: int) -> tuple[float, float]:
    changes = [now[0] - before[0] for before, now in pairwise(rows)]
    gain = naive_smoothed([max(each, 0.0) for each in changes], window, 1 / window)
    loss = naive_smoothed([max(-each, 0.0) for each in changes], window, 1 / window)
    if gain + loss == 0:
        return 50.0, 0.0
    size = max(map(abs, changes), default=0.0)
    return 100 - 100 / (1 + gain / loss) if loss else 100 + 0 * gain, (
        1e-9 + 1e-11 * size / (gain + loss)
    )


def naive_atr(rows: Rows, window: int) -> tuple[float, float]:
    ranges = [
        max(high - low, abs(high - before[2]), abs(low - before[2]))
        for before, (high, low, _) in pairwise(rows)
    ]
    return naive_smoothed(ranges, window, 1 / window), 1e-13 * max(ranges, default=0.0)


def naive_simple_return(rows: Rows, bars: int) -> tuple[float, float]:
    if len(rows) <= bars:
        return NOTHING
    ratio = rows[-1][0] / rows[-1 - bars][0]
    return ratio - 1, 1e-15 * max(ratio, 1)


def naive_log_return(rows: Rows, bars: int) -> tuple[float, float]:
    if len(rows) <= bars:
        return NOTHING
    value = math.log(rows[-1][0]) - math.log(rows[-1 - bars][0])
    return value, 1e-14 * max(abs(value), 30)


@pytest.mark.parametrize(
    ("make", "formula"),
    [
        (Sma, naive_sma),
        (Ema, naive_ema),
        (RollingStd, naive_std),
        (partial(RollingStd, ddof=1), naive_sample_std),
        (ZScore, naive_zscore),
        (Rsi, naive_rsi),
        (Atr, naive_atr),
        (SimpleReturn, naive_simple_return),
        (LogReturn, naive_log_return),
    ],
)
@quick
@given(window=st.integers(2, 12), values=prices())
def test_estimator_equals_its_formula_on_every_prefix(
    make: Callable[[int], Estimator], formula: Formula, window: int, values: list[float]
) -> None:
    running = make(window).start()
    rows = [(value,) for value in values]
    if len(running.estimator.inputs) == 3:
        rows = [(value * 1.5, value * 0.5, value) for value in values]
    for row in range(len(rows)):
        ours = running.update(*rows[row])
        expected, error = formula(rows[: row + 1], window)
        assert math.isnan(ours) if math.isnan(expected) else abs(ours - expected) <= error


@pytest.mark.parametrize(
    ("make", "formula"), [(Sma, naive_sma), (RollingStd, naive_std), (ZScore, naive_zscore)]
)
@quick
@given(window=st.integers(2, 8), values=prices(), gaps=st.sets(st.integers(0, 60), max_size=6))
def test_windowed_estimator_over_gaps_has_a_value_where_its_window_has_none(
    make: Callable[[int], Estimator],
    formula: Formula,
    window: int,
    values: list[float],
    gaps: set[int],
) -> None:
    running = make(window).start()
    rows = [(math.nan if row in gaps else value,) for row, value in enumerate(values)]
    for row in range(len(rows)):
        ours = running.update(*rows[row])
        last = rows[max(row + 1 - window, 0) : row + 1]
        if any(math.isnan(value) for (value,) in last):
            assert math.isnan(ours)
        else:
            expected, error = formula(last, window)
            assert math.isnan(ours) if math.isnan(expected) else abs(ours - expected) <= error


@pytest.mark.parametrize(("make", "inputs"), [(Ema, 1), (Rsi, 1), (Atr, 3)])
@quick
@given(window=st.integers(1, 8), values=prices(), gaps=st.sets(st.integers(0, 60), max_size=6))
def test_recursive_estimator_over_gaps_is_the_one_without_them(
    make: Callable[[int], Estimator],
    inputs: int,
    window: int,
    values: list[float],
    gaps: set[int],
) -> None:
    gappy = make(window).start()
    clean = make(window).start()
    for row, value in enumerate(values):
        if row in gaps:
            assert math.isnan(gappy.update(*[math.nan] * inputs))
        ours, expected = gappy.update(*[value] * inputs), clean.update(*[value] * inputs)
        assert ours == expected or (math.isnan(ours) and math.isnan(expected))
