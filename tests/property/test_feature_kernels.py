"""A kernel gives the bits of the loop over `update`, on every prefix, whatever the data."""

from __future__ import annotations

import math
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from onetape.features import (
    AccumulationDistribution,
    Atr,
    Beta,
    Bollinger,
    ChaikinOscillator,
    Correlation,
    Dema,
    Donchian,
    Ema,
    Estimator,
    FastStochastic,
    Kama,
    Lag,
    Mfi,
    Momentum,
    Obv,
    RateOfChange,
    RollingMax,
    RollingMin,
    RollingStd,
    RollingVariance,
    SimpleReturn,
    Sma,
    Tema,
    TrueRange,
    Vwap,
    WilderAverage,
    WilliamsR,
    Wma,
    ZScore,
)
from onetape.features.columns import compute_column, select_inputs
from onetape.features.compiled import PackedState, compute_column_compiled, fill_column
from onetape.features.estimator import Combined, CombinedWithNumber, Expression
from onetape.features.kernels import KERNELS
from onetape.features.kernels.extremes import SHORT
from onetape.features.kernels.lanes import LANES
from onetape.features.kernels.memory import WIDE_CHUNK, kernel
from onetape.features.kernels.quotient import divide, is_extreme

Column = npt.NDArray[np.float64]

CASES: dict[type[Estimator], Callable[[int], Estimator]] = {
    Sma: Sma,
    Wma: Wma,
    Vwap: Vwap,
    Mfi: Mfi,
    RollingVariance: lambda n: RollingVariance(max(n, 2), n % 2),
    RollingStd: lambda n: RollingStd(max(n, 2), n % 2),
    ZScore: lambda n: ZScore(max(n, 2), n % 2),
    Bollinger: lambda n: Bollinger(max(n, 2), 1.5, BANDS[n % 5]),
    RollingMax: RollingMax,
    RollingMin: RollingMin,
    Donchian: lambda n: Donchian(n, ENDS[n % 3]),
    FastStochastic: FastStochastic,
    WilliamsR: WilliamsR,
    Correlation: lambda n: Correlation(max(n, 2)),
    Beta: lambda n: Beta(max(n, 2)),
    Lag: Lag,
    Momentum: Momentum,
    SimpleReturn: SimpleReturn,
    RateOfChange: RateOfChange,
    Ema: Ema,
    WilderAverage: WilderAverage,
    Dema: Dema,
    Tema: Tema,
    TrueRange: lambda _: TrueRange(),
    Atr: Atr,
    Kama: lambda n: Kama(n, 2, 9),
    Obv: lambda _: Obv(),
    AccumulationDistribution: lambda _: AccumulationDistribution(),
    ChaikinOscillator: lambda n: ChaikinOscillator((n + 1) // 2, n + 1),
    Combined: lambda n: Combined(OPERATIONS[n % 4]),
    CombinedWithNumber: lambda n: CombinedWithNumber(NUMBERED[n % 6], n % 3 - 1.5 * (n % 2)),
}
"""Each class with a kernel, made for a window."""

BANDS: Any = ("upper", "middle", "lower", "bandwidth", "percent_b")
ENDS: Any = ("upper", "lower", "middle")
OPERATIONS: Any = ("+", "-", "*", "/")
NUMBERED: Any = ("+", "-", "*", "/", "number -", "number /")
WINDOWS = (1, 2, 3, 4, 5, 7, 8, 20, 33, 64, 255, 256, 257, 600, 3000)

every = pytest.mark.parametrize("kind", CASES, ids=lambda each: each.__name__)
wild = st.one_of(
    st.floats(),
    st.floats(0.5, 2),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 1.0, 1e12, 1e-12]),
)


def make_columns(rows: int, seed: int = 1) -> dict[str, Column]:
    """A random walk of prices on a grid, so that equal ones occur, with volumes."""
    rng = np.random.default_rng(seed)
    close: Column = (50 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))).round(1)
    reach: Column = np.round(rng.exponential(0.2, (2, rows)), 1)
    volume: Column = np.round(rng.exponential(100, rows))
    return {
        "high": close + reach[0], "low": close - reach[1], "close": close, "volume": volume,
        "left": close, "right": reach[0], "value": reach[1],
    }  # fmt: skip


def loop(feature: Estimator, inputs: tuple[Column, ...]) -> Column:
    """The loop over `update`, compiled; that it is as in Python is shown elsewhere."""
    if isinstance(feature, Expression):
        return feature.plan.compute(inputs, loop)
    out = np.empty(len(inputs[0]))
    fill_column(PackedState(feature), inputs, out)
    return out


def find_end_of_chunk(window: int) -> int:
    """The row where the second chunk of an extreme ends; the first is one window."""
    rows = WIDE_CHUNK // window * window if window <= SHORT else LANES * window
    return window + rows


def assert_same_bits(ours: Column, theirs: Column) -> None:
    one, other = (np.where(np.isnan(each), np.nan, each).view(np.int64) for each in (ours, theirs))
    np.testing.assert_array_equal(one, other)


def test_every_kernel_has_a_case() -> None:
    assert set(KERNELS) == set(CASES)


@every
def test_kernel_computes_plain_data_itself_to_the_bits_of_the_loop(kind: type[Estimator]) -> None:
    columns = make_columns(2000)
    for window in WINDOWS:
        feature = CASES[kind](window)
        inputs = select_inputs("it", feature, columns)
        out = np.full(2000, -1.0)
        assert KERNELS[kind](feature, inputs, out)
        assert_same_bits(out, loop(feature, inputs))


@every
def test_kernel_gives_the_bits_of_the_loop_where_data_are_bad(kind: type[Estimator]) -> None:
    rng = np.random.default_rng(5)
    bad = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e300, 1e-310, 1e20]
    for window, holes in ((1, 3), (3, 40), (7, 1), (20, 6), (100, 2), (300, 1)):
        feature = CASES[kind](window)
        columns = make_columns(1500, seed=window)
        for name, column in columns.items():
            each = column * rng.choice([1.0, -1.0, 1e-300, 1e-150, 1e150])
            each[: rng.integers(0, 9)] = math.nan  # as a feature of features begins
            each[rng.integers(0, 1500, holes)] = rng.choice(bad, holes)
            columns[name] = each
        inputs = select_inputs("it", feature, columns)
        assert_same_bits(compute_column_compiled(feature, inputs), loop(feature, inputs))


@every
@settings(max_examples=15, deadline=None)
@given(window=st.integers(1, 9), values=st.lists(wild, max_size=80))
def test_kernel_gives_the_bits_of_python_on_every_prefix(
    kind: type[Estimator], window: int, values: list[float]
) -> None:
    feature = CASES[kind](window)
    count = len(feature.inputs)
    rows = len(values) // count
    inputs = tuple(np.array(values[at * rows : (at + 1) * rows]) for at in range(count))
    expected = compute_column(feature, inputs)
    for stop in range(rows + 1):
        part = tuple(each[:stop].copy() for each in inputs)
        assert_same_bits(compute_column_compiled(feature, part), expected[:stop])


@every
def test_kernel_gives_the_bits_of_the_loop_on_prefixes_around_the_ends_of_chunks(
    kind: type[Estimator],
) -> None:
    columns = make_columns(800, seed=2)
    for window in (7, 20):
        feature = CASES[kind](window)
        inputs = select_inputs("it", feature, columns)
        expected = loop(feature, inputs)
        for stop in (*range(60, 70), *range(236, 282), *range(475, 535), 799):
            part = tuple(each[:stop].copy() for each in inputs)
            assert_same_bits(compute_column_compiled(feature, part), expected[:stop])


@pytest.mark.parametrize("kind", [RollingMax, RollingMin, Donchian, Sma, Lag])
def test_kernel_keeps_the_signs_of_zeros(kind: type[Estimator]) -> None:
    rng = np.random.default_rng(3)
    for other in (1.0, -1.0):
        columns = {name: rng.choice([0.0, -0.0, other], 1500) for name in ("high", "low", "close")}
        for window in (2, 3, 7, 20):
            feature = CASES[kind](window)
            inputs = select_inputs("it", feature, columns)
            assert_same_bits(compute_column_compiled(feature, inputs), loop(feature, inputs))


@pytest.mark.parametrize("kind", [RollingMax, RollingMin, Donchian, FastStochastic, WilliamsR])
@pytest.mark.parametrize("odd", [(math.nan, 1.0), (0.0, -0.0), (-0.0, 0.0)], ids=str)
def test_extremes_have_the_bits_of_the_loop_around_what_is_not_plain(
    kind: type[Estimator], odd: tuple[float, float]
) -> None:
    """One pair of odd values, wherever it stands to a chunk and to its window."""
    for window in (1, 2, 5, 6, 21, 100):
        feature = CASES[kind](window)
        end = find_end_of_chunk(window)
        near = (1 - window, -window // 2, -4, -3, -1, 0, 1, window - 1)
        for sign, spot in ((s, end + n) for s in (1.0, -1.0) for n in near):
            columns = {name: sign * each for name, each in make_columns(2000, window).items()}
            for column in columns.values():
                column[spot], column[spot + 3] = odd
            inputs = select_inputs("it", feature, columns)
            assert_same_bits(compute_column_compiled(feature, inputs), loop(feature, inputs))


@pytest.mark.parametrize("kind", [RollingMax, RollingMin, Donchian])
def test_extremes_have_the_bits_of_the_loop_for_every_window_and_around_the_end_of_a_chunk(
    kind: type[Estimator],
) -> None:
    columns = make_columns(2700, seed=3)
    for window in (*range(1, 90), 255, 256, 257, 320, 321, 511, 512, 513):
        feature = CASES[kind](window)
        inputs = select_inputs("it", feature, columns)
        expected = loop(feature, inputs)
        end = find_end_of_chunk(window)
        for stop in (end - 1, end, end + 1, end + 2, 2700):
            part = tuple(each[:stop].copy() for each in inputs)
            assert_same_bits(compute_column_compiled(feature, part), expected[:stop])


@pytest.mark.parametrize(
    "kind", [Sma, Wma, RollingVariance, RollingStd, Correlation, Beta, RollingMax, Donchian]
)
def test_blocks_abreast_have_the_bits_of_the_loop_wherever_one_value_is_extreme(
    kind: type[Estimator],
) -> None:
    """One odd value in any lane, before them, or behind: that group goes block by block."""
    for window in (2, 7, 20):
        feature = CASES[kind](window)
        for value in (math.nan, math.inf, -math.inf, 1e302, -1e308, 5e-324, 0.0, -0.0):
            for spot in range(window - 1, 12 * window, 2 * window - 1):
                columns = make_columns(13 * window, seed=spot)
                for column in columns.values():
                    column[spot] = value
                inputs = select_inputs("it", feature, columns)
                assert_same_bits(compute_column_compiled(feature, inputs), loop(feature, inputs))


@pytest.mark.parametrize("kind", [Sma, Wma, RollingVariance, RollingStd, Correlation, Beta])
def test_blocks_abreast_have_the_bits_of_the_loop_where_one_sum_is_too_small(
    kind: type[Estimator],
) -> None:
    """Squares, or the second column alone, below what a fused rest can hold."""
    for window in (3, 7, 20):
        feature = CASES[kind](window)
        for scale, other in ((1e-156, 1.0), (1e-158, 1e-158), (1.0, 1e-318), (1e-318, 1.0)):
            columns = make_columns(400, seed=window)
            columns["close"] = columns["close"] * scale
            columns["volume"] = columns["volume"] * other
            inputs = select_inputs("it", feature, columns)
            assert_same_bits(compute_column_compiled(feature, inputs), loop(feature, inputs))


def test_subclass_that_computes_something_else_has_no_kernel() -> None:
    class Twice(Sma, frozen=True):
        def start_state(self) -> Any:
            state = super().start_state()
            state.ring = [1.0] * self.window
            return state

    close = np.ones(3)
    assert compute_column_compiled(Twice(2), (close,)).tolist() == [1.0, 1.0, 1.0]
    assert np.isnan(compute_column_compiled(Sma(2), (close,))[0])


@njit
def divide_here(dividend: float, divisor: float) -> float:
    return divide(dividend, divisor, 1.0 / divisor)


@njit
def is_extreme_here(dividend: float) -> bool:
    return is_extreme(dividend)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.floats(), st.integers(-(2**60), 2**60).map(float)),
    st.one_of(st.integers(1, 2**40 - 1), st.integers(1, 2000)),
)
def test_quotient_has_the_bits_of_a_division(dividend: float, divisor: int) -> None:
    if not is_extreme_here(dividend):
        expected = abs(dividend) / divisor  # no sum is -0.0
        assert divide_here(abs(dividend), float(divisor)) == expected
        assert divide_here(-abs(dividend), float(divisor)) == -expected


def test_quotient_has_the_bits_of_a_division_where_it_is_nearest_to_halfway() -> None:
    """Dividends next to b (m + half a unit), where a wrong last bit shows most easily."""
    rng = np.random.default_rng(9)
    for divisor in [*range(1, 400), *rng.integers(1, 10**6, 400).tolist()]:
        for mantissa in rng.integers(2**52, 2**53, 20).tolist():
            near = float(divisor * (2 * mantissa + 1))
            for dividend in (math.nextafter(near, 0.0), near, math.nextafter(near, math.inf)):
                assert divide_here(dividend, float(divisor)) == dividend / divisor


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e302, 1e-272, 5e-324, -1e308])
def test_quotient_leaves_out_what_has_no_room_for_the_rest(value: float) -> None:
    assert is_extreme_here(value)
    assert not is_extreme_here(1e300 if value > 1 else 0.0)


def test_kernel_on_disk_is_another_one_when_what_it_calls_has_changed() -> None:
    def inner(value: float) -> float:
        return value

    def other(value: float) -> float:
        return -value

    def outer(value: float) -> float:
        return called(value)  # pyright: ignore[reportUndefinedVariable] # noqa: F821

    names: list[str] = []
    for each in (inner, other, inner):
        scope = {"called": kernel(types.FunctionType(each.__code__, {}, each.__name__))}
        made: Any = kernel(types.FunctionType(outer.__code__, scope, "outer"))
        names.append(made.py_func.__qualname__)
    assert names[0] == names[2] != names[1]
