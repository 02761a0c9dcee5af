"""The formulas of the shipped features, each written a second time and naively, on random bars.

A feature of a window is compared with the formula on exactly the bars of its warm-up, at every
prefix, with gaps; a recursive one with the formula on all good bars so far. Window sums are exact
fractions. A formula gives (value, allowed absolute error).
"""

# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.features import (
    AccumulationDistribution,
    Adx,
    Autocorrelation,
    BarsSinceMax,
    BarsSinceMin,
    Beta,
    Bollinger,
    Cci,
    ChaikinOscillator,
    Correlation,
    Dema,
    Donchian,
    Ema,
    Estimator,
    FastStochastic,
    GarmanKlassVolatility,
    Hurst,
    Hysteresis,
    Kama,
    Keltner,
    Kurtosis,
    Lag,
    Levels,
    Macd,
    Median,
    Mfi,
    Momentum,
    Obv,
    ParkinsonVolatility,
    Quantile,
    RateOfChange,
    RealizedVolatility,
    RollingMax,
    RollingMin,
    RollingVariance,
    SessionVwap,
    Skewness,
    Sma,
    Stochastic,
    Tema,
    TrendRegime,
    TrueRange,
    VolatilityRegime,
    Vwap,
    WilderAverage,
    WilliamsR,
    Wma,
    YangZhangVolatility,
)

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Row(NamedTuple):
    open: float
    high: float
    low: float
    close: float
    volume: float
    session_close: float


Rows = Sequence[Row]
Value = tuple[float, float]
Formula = Callable[[Rows, int], Value]
NOTHING = (math.nan, 0.0)

scales = st.sampled_from([1e-12, 1e-6, 1.0, 1e6, 1e12])
parts = st.floats(0.1, 10)


@st.composite
def bars(draw: st.DrawFn) -> list[Row]:
    """Constant runs, one scale, a jump of scale, or all scales; some bars without volume."""
    kind = draw(st.sampled_from(["constant", "scale", "jump", "mixed"]))
    count = draw(st.integers(0, 36))
    scale = draw(scales)
    rows: list[Row] = []
    for row in range(count):
        first, last, over = draw(parts), draw(parts), draw(st.floats(0, 1))
        volume = float(draw(st.integers(0, 1000)))
        size = scale
        if kind == "constant" and row % 12:
            rows.append(rows[-1]._replace(volume=volume))
            continue
        if kind == "jump" and row < count // 2:
            size = 1e12
        elif kind == "mixed":
            size = draw(scales)
        first, last = first * size, last * size
        high, low = max(first, last) * (1 + over), min(first, last) * (1 - over / 2)
        rows.append(Row(first, high, low, last, volume, float(row // 7)))
    return rows


def exact(values: Sequence[float]) -> list[Fraction]:
    return [Fraction(each) for each in values]


def mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def closes(rows: Rows) -> list[float]:
    return [row.close for row in rows]


def typical(rows: Rows) -> list[float]:
    return [(row.high + row.low + row.close) / 3.0 for row in rows]


def moment(values: Sequence[float], power: int) -> Fraction:
    middle = mean(exact(values))
    return mean([(each - middle) ** power for each in exact(values)])


def root(value: Fraction) -> float:
    """Square root of a fraction that may be beyond the range of floats."""
    return math.sqrt(value.numerator / value.denominator) if value else 0.0


# Of a window: the rows are those of the warm-up.


def naive_wma(rows: Rows, window: int) -> Value:
    weighted = sum(age * value for age, value in enumerate(exact(closes(rows)), 1))
    value = float(Fraction(weighted) / (window * (window + 1) // 2))
    return value, 1e-14 * value


def naive_variance(rows: Rows, window: int) -> Value:
    value = float(moment(closes(rows), 2))
    return value, 1e-13 * value


def naive_skewness(rows: Rows, window: int) -> Value:
    square = moment(closes(rows), 2)
    if not square:
        return NOTHING
    cube = moment(closes(rows), 3)
    return math.copysign(root(cube**2 / square**3), cube), 1e-11


def naive_kurtosis(rows: Rows, window: int) -> Value:
    square = moment(closes(rows), 2)
    if not square:
        return NOTHING
    return float(moment(closes(rows), 4) / square**2) - 3, 1e-10


def naive_max(rows: Rows, window: int) -> Value:
    return max(closes(rows)), 0.0


def naive_min(rows: Rows, window: int) -> Value:
    return min(closes(rows)), 0.0


def naive_since_max(rows: Rows, window: int) -> Value:
    return float(np.argmax(closes(rows)[::-1])), 0.0


def naive_since_min(rows: Rows, window: int) -> Value:
    return float(np.argmin(closes(rows)[::-1])), 0.0


def naive_quantile(share: float) -> Formula:
    def formula(rows: Rows, window: int) -> Value:
        return float(np.quantile(closes(rows), share)), 1e-14 * max(closes(rows))

    return formula


def naive_lag(rows: Rows, bars: int) -> Value:
    return rows[0].close, 0.0


def naive_momentum(rows: Rows, bars: int) -> Value:
    return rows[-1].close - rows[0].close, 0.0


def naive_rate_of_change(rows: Rows, bars: int) -> Value:
    ratio = rows[-1].close / rows[0].close
    return 100 * (ratio - 1), 1e-13 * max(ratio, 1)


def naive_bollinger(output: str) -> Formula:
    def formula(rows: Rows, window: int) -> Value:
        values = closes(rows)
        middle, reach = mean(exact(values)), 2 * Fraction(root(moment(values, 2)))
        size = 1e-13 * max(values)
        upper, lower = middle + reach, middle - reach
        if output == "percent_b":
            if not reach:
                return NOTHING
            share = (Fraction(values[-1]) - lower) / (upper - lower)
            return float(share), 1e-12
        if output == "bandwidth":
            return float((upper - lower) / middle), 1e-13 * (1 + float(reach / middle))
        return float({"upper": upper, "middle": middle, "lower": lower}[output]), size

    return formula


def naive_donchian(output: str) -> Formula:
    def formula(rows: Rows, window: int) -> Value:
        high, low = max(row.high for row in rows), min(row.low for row in rows)
        return {"upper": high, "lower": low, "middle": (high + low) / 2}[output], 1e-15 * high

    return formula


def naive_fast_stochastic(rows: Rows, window: int) -> Value:
    high, low = max(row.high for row in rows), min(row.low for row in rows)
    if high == low:
        return 50.0, 0.0
    return 100 * (rows[-1].close - low) / (high - low), 1e-12


def naive_williams_r(rows: Rows, window: int) -> Value:
    return naive_fast_stochastic(rows, window)[0] - 100, 1e-12


def naive_stochastic(output: str) -> Formula:
    def formula(rows: Rows, window: int) -> Value:
        fast = [
            naive_fast_stochastic(rows[at : at + window], window)[0]
            for at in range(len(rows) - window + 1)
        ]
        slow = [fmean(each) for each in zip(fast, fast[1:], fast[2:], strict=False)]
        return slow[-1] if output == "k" else fmean(slow[-2:]), 1e-11

    return formula


def naive_cci(rows: Rows, window: int) -> Value:
    prices = exact(typical(rows))
    middle = mean(prices)
    spread = mean([abs(each - middle) for each in prices])
    return (float((prices[-1] - middle) / spread) / 0.015 if spread else 0.0), 1e-9


def naive_vwap(rows: Rows, window: int) -> Value:
    volume = sum(row.volume for row in rows)
    if volume == 0:
        return NOTHING
    value = math.fsum(p * row.volume for p, row in zip(typical(rows), rows, strict=True)) / volume
    return value, 1e-13 * value


def naive_mfi(rows: Rows, window: int) -> Value:
    prices = typical(rows)
    rises = [now * row.volume for (before, now), row in zip(pairwise(prices), rows[1:], strict=True)
             if now > before]  # fmt: skip
    falls = [now * row.volume for (before, now), row in zip(pairwise(prices), rows[1:], strict=True)
             if now < before]  # fmt: skip
    total = math.fsum(rises) + math.fsum(falls)
    return (100 * math.fsum(rises) / total if total else 50.0), 1e-11


def log_returns(values: Sequence[float]) -> list[float]:
    return [math.log(now) - math.log(before) for before, now in pairwise(values)]


def square_root(square: float, size: float) -> Value:
    """A root whose square may be off by 1e-12 of `size`."""
    value = math.sqrt(max(square, 0.0))
    return value, 1e-12 * size / value if value > 1e-5 * math.sqrt(size) else 1e-5


def naive_realized_volatility(rows: Rows, window: int) -> Value:
    returns = log_returns(closes(rows))
    square = float(moment(returns, 2)) * window / (window - 1)
    return square_root(square, max(max(map(abs, returns)) ** 2, 1e-12))


def naive_parkinson(rows: Rows, window: int) -> Value:
    spans = [math.log(row.high / row.low) ** 2 for row in rows]
    return square_root(fmean(spans) / (4 * math.log(2)), max(*spans, 1e-12))


def naive_garman_klass(rows: Rows, window: int) -> Value:
    squares = [
        0.5 * math.log(row.high / row.low) ** 2
        - (2 * math.log(2) - 1) * math.log(row.close / row.open) ** 2
        for row in rows
    ]
    return square_root(fmean(squares), max(*squares, 1e-12))


def naive_yang_zhang(rows: Rows, window: int) -> Value:
    nights = [math.log(now.open / before.close) for before, now in pairwise(rows)]
    days = [math.log(row.close / row.open) for row in rows[1:]]
    within = [
        math.log(row.high / row.close) * math.log(row.high / row.open)
        + math.log(row.low / row.close) * math.log(row.low / row.open)
        for row in rows[1:]
    ]
    share = 0.34 / (1.34 + (window + 1) / (window - 1))
    night, day = (float(moment(each, 2)) * window / (window - 1) for each in (nights, days))
    size = max(*(each**2 for each in nights + days), *within, 1e-12)
    return square_root(night + share * day + (1 - share) * fmean(within), size)


def correlate(xs: Sequence[float], ys: Sequence[float]) -> tuple[Fraction, Fraction, Fraction]:
    """Variance, covariance, variance."""
    x_mean, y_mean = mean(exact(xs)), mean(exact(ys))
    products = [(x - x_mean) * (y - y_mean) for x, y in zip(exact(xs), exact(ys), strict=True)]
    return moment(xs, 2), mean(products), moment(ys, 2)


def naive_correlation(rows: Rows, window: int) -> Value:
    xx, xy, yy = correlate(closes(rows), [row.volume for row in rows])
    return (math.copysign(root(xy**2 / xx / yy), xy), 1e-12) if xx and yy else NOTHING


def naive_beta(rows: Rows, window: int) -> Value:
    xx, xy, yy = correlate(closes(rows), [row.volume for row in rows])
    return (float(xy / yy), 1e-12 * root(xx / yy)) if yy else NOTHING


def naive_autocorrelation(rows: Rows, window: int) -> Value:
    xx, xy, yy = correlate(closes(rows)[2:], closes(rows)[:-2])
    return (math.copysign(root(xy**2 / xx / yy), xy), 1e-12) if xx and yy else NOTHING


def naive_hurst(rows: Rows, window: int) -> Value:
    returns = log_returns(closes(rows))
    deviations = np.array(returns) - fmean(returns)
    deviation = float(np.sqrt(np.mean(deviations**2)))
    size = max(map(abs, returns))
    if deviation < 1e-6 * max(size, 1e-6):
        return math.nan, math.inf  # equal but for rounding: anything goes
    path = np.concatenate([[0.0], np.cumsum(deviations)])
    return math.log(float(np.ptp(path)) / deviation) / math.log(window / 2), 1e-8


class Case(NamedTuple):
    make: Callable[[int], Estimator]
    formula: Formula
    least: int = 2
    reads: tuple[int, ...] = ()
    """The bars of the window that matter; empty for all."""


WINDOWED = [
    Case(Wma, naive_wma), Case(RollingVariance, naive_variance),
    Case(Skewness, naive_skewness, 3), Case(Kurtosis, naive_kurtosis, 3),
    Case(RollingMax, naive_max), Case(RollingMin, naive_min),
    Case(BarsSinceMax, naive_since_max), Case(BarsSinceMin, naive_since_min),
    Case(Median, naive_quantile(0.5)), Case(lambda n: Quantile(n, 0.3), naive_quantile(0.3)),
    Case(Lag, naive_lag, reads=(0,)), Case(Momentum, naive_momentum, reads=(0, -1)),
    Case(RateOfChange, naive_rate_of_change, reads=(0, -1)),
    Case(lambda n: Bollinger(n, 2, "upper"), naive_bollinger("upper")),
    Case(lambda n: Bollinger(n, 2, "middle"), naive_bollinger("middle")),
    Case(lambda n: Bollinger(n, 2, "lower"), naive_bollinger("lower")),
    Case(lambda n: Bollinger(n, 2, "bandwidth"), naive_bollinger("bandwidth")),
    Case(lambda n: Bollinger(n, 2, "percent_b"), naive_bollinger("percent_b")),
    Case(lambda n: Donchian(n, "upper"), naive_donchian("upper")),
    Case(lambda n: Donchian(n, "lower"), naive_donchian("lower")),
    Case(lambda n: Donchian(n, "middle"), naive_donchian("middle")),
    Case(FastStochastic, naive_fast_stochastic), Case(WilliamsR, naive_williams_r),
    Case(lambda n: Stochastic(n, 3, 2), naive_stochastic("k")),
    Case(lambda n: Stochastic(n, 3, 2, "d"), naive_stochastic("d")),
    Case(Cci, naive_cci), Case(Vwap, naive_vwap), Case(Mfi, naive_mfi),
    Case(RealizedVolatility, naive_realized_volatility),
    Case(ParkinsonVolatility, naive_parkinson), Case(GarmanKlassVolatility, naive_garman_klass),
    Case(YangZhangVolatility, naive_yang_zhang), Case(Correlation, naive_correlation),
    Case(Beta, naive_beta), Case(lambda n: Autocorrelation(n, 2), naive_autocorrelation, 4),
    Case(Hurst, naive_hurst, 8),
]  # fmt: skip


def name_case(case: Any) -> str | None:
    return repr(case.make(9)).replace(" ", "") if isinstance(case, Case) else None


def is_near(ours: float, expected: Value) -> bool:
    value, error = expected
    if error == math.inf:
        return True
    return math.isnan(ours) if math.isnan(value) else abs(ours - value) <= error


@pytest.mark.parametrize("case", WINDOWED, ids=name_case)
@quick
@given(data=st.data(), rows=bars(), gaps=st.sets(st.integers(0, 36), max_size=4))
def test_feature_of_a_window_is_its_formula_at_every_prefix_and_over_gaps(
    case: Case, data: st.DataObject, rows: list[Row], gaps: set[int]
) -> None:
    window = data.draw(st.integers(case.least, 10))
    feature = case.make(window)
    bars = feature.warm_up
    running = feature.start()
    for row in gaps:
        if row < len(rows):
            rows[row] = Row(*[math.nan] * 6)
    for end, row in enumerate(rows, 1):
        ours = running.update(*(getattr(row, name) for name in feature.inputs))
        seen = rows[max(end - bars, 0) : end]
        needed = [seen[at] for at in case.reads] or seen
        if len(seen) < bars or any(math.isnan(each.close) for each in needed):
            assert math.isnan(ours)
        else:
            expected = case.formula(seen, window)
            assert is_near(ours, expected), (ours, expected, seen)


# Recursive: the rows are all good ones so far.


def smoothed(values: Sequence[float], window: int, weight: float) -> list[float]:
    """Exponential averages, NaN before the seed."""
    if len(values) < window:
        return [math.nan] * len(values)
    result = [math.nan] * (window - 1) + [fmean(values[:window])]
    for value in values[window:]:
        result.append(weight * value + (1 - weight) * result[-1])
    return result


def ema(values: Sequence[float], window: int) -> list[float]:
    """Of the values from the first that is one on."""
    start = sum(map(math.isnan, values))
    return [math.nan] * start + smoothed(values[start:], window, 2 / (window + 1))


def last(values: Sequence[float], size: float) -> Value:
    return (values[-1], 1e-12 * size) if values else NOTHING


def naive_wilder_average(rows: Rows, window: int) -> Value:
    return last(smoothed(closes(rows), window, 1 / window), max(closes(rows)))


def naive_dema(rows: Rows, window: int) -> Value:
    first = ema(closes(rows), window)
    second = ema(first, window)
    return 2 * first[-1] - second[-1], 1e-12 * max(closes(rows))


def naive_tema(rows: Rows, window: int) -> Value:
    first = ema(closes(rows), window)
    second = ema(first, window)
    third = ema(second, window)
    return 3 * first[-1] - 3 * second[-1] + third[-1], 1e-12 * max(closes(rows))


def naive_kama(rows: Rows, window: int) -> Value:
    values = closes(rows)
    average = values[window - 1] if len(values) > window else math.nan
    for at in range(window, len(values)):
        path = math.fsum(
            abs(now - before) for before, now in pairwise(values[at - window : at + 1])
        )
        distance = abs(values[at] - values[at - window])
        efficiency = min(distance / path, 1.0) if path else 1.0
        average += (efficiency * (2 / 3 - 2 / 31) + 2 / 31) ** 2 * (values[at] - average)
    return average, 1e-12 * max(values)


def true_ranges(rows: Rows) -> list[float]:
    return [
        max(now.high - now.low, abs(now.high - before.close), abs(now.low - before.close))
        for before, now in pairwise(rows)
    ]


def naive_true_range(rows: Rows, window: int) -> Value:
    return last(true_ranges(rows), max(row.high for row in rows))


def directional(rows: Rows, window: int) -> tuple[list[float], list[float], list[float]]:
    """+DI, -DI, ADX."""
    rises: list[float] = []
    falls: list[float] = []
    for before, now in pairwise(rows):
        rise, fall = now.high - before.high, before.low - now.low
        rises.append(rise if rise > max(fall, 0) else 0.0)
        falls.append(fall if fall > max(rise, 0) else 0.0)
    means = [smoothed(each, window, 1 / window) for each in (rises, falls, true_ranges(rows))]
    plus = [100 * up / whole if whole else 0 * up for up, _, whole in zip(*means, strict=True)]
    minus = [
        100 * down / whole if whole else 0 * down for _, down, whole in zip(*means, strict=True)
    ]
    index = [
        100 * abs(p - m) / (p + m) if p + m else 0 * p for p, m in zip(plus, minus, strict=True)
    ]
    start = sum(map(math.isnan, index))
    return plus, minus, [math.nan] * start + smoothed(index[start:], window, 1 / window)


def naive_directional(output: str) -> Formula:
    def formula(rows: Rows, window: int) -> Value:
        plus, minus, adx = directional(rows, window)
        values = {"plus": plus, "minus": minus, "adx": adx}[output]
        ranges = true_ranges(rows)
        steep = max(ranges, default=0) > 1e6 * min(ranges, default=0)
        # After a fall in scale the averages hold rests of the old one that only cancel roughly.
        return (math.nan, math.inf) if steep else last(values, 1e4)

    return formula


def naive_trend_regime(rows: Rows, window: int) -> Value:
    plus, minus, adx = directional(rows, window)
    if not adx or math.isnan(adx[-1]):
        return NOTHING
    edge = min(min(abs(each - 25), abs(each - 20)) for each in adx if not math.isnan(each))
    if (
        edge < 1e-6
        or abs(plus[-1] - minus[-1]) < 1e-6
        or naive_directional("adx")(rows, window)[1] == math.inf
    ):
        return math.nan, math.inf  # rounding decides
    enters = [at for at, each in enumerate(adx) if each > 25]
    leaves = [at for at, each in enumerate(adx) if each < 20]
    trending = bool(enters) and enters[-1] > max(leaves, default=-1)
    return (0.0 if not trending else 1.0 if plus[-1] > minus[-1] else -1.0), 0.0


def naive_macd(output: str) -> Formula:
    def formula(rows: Rows, window: int) -> Value:
        fast, slow = ema(closes(rows), window), ema(closes(rows), window + 3)
        line = [one - other for one, other in zip(fast, slow, strict=True)]
        signal = ema(line, 4)
        value = {"line": line[-1], "signal": signal[-1], "histogram": line[-1] - signal[-1]}[output]
        return value, 1e-12 * max(closes(rows))

    return formula


def naive_keltner(output: str) -> Formula:
    def formula(rows: Rows, window: int) -> Value:
        middle = ema(closes(rows), window)[-1]
        if output == "middle":
            return middle, 1e-12 * max(closes(rows))
        reach = last(smoothed(true_ranges(rows), window + 1, 1 / (window + 1)), 0)[0]
        sign = 1 if output == "upper" else -1
        return middle + sign * 1.5 * reach, 1e-12 * max(row.high for row in rows)

    return formula


def naive_obv(rows: Rows, window: int) -> Value:
    return math.fsum(
        math.copysign(now.volume, now.close - before.close)
        for before, now in pairwise(rows)
        if now.close != before.close
    ), 0.0


def accumulate(rows: Rows) -> list[float]:
    flows = [
        row.volume * ((row.close - row.low) - (row.high - row.close)) / (row.high - row.low)
        if row.high > row.low
        else 0.0
        for row in rows
    ]
    return [math.fsum(flows[: end + 1]) for end in range(len(flows))]


def naive_accumulation(rows: Rows, window: int) -> Value:
    return last(accumulate(rows), 1e3 * len(rows))


def naive_chaikin(rows: Rows, window: int) -> Value:
    line = accumulate(rows)
    return ema(line, window)[-1] - ema(line, window + 4)[-1], 1e-9 * len(rows)


def naive_session_vwap(rows: Rows, window: int) -> Value:
    return naive_vwap([row for row in rows if row.session_close == rows[-1].session_close], 1)


def naive_hysteresis(rows: Rows, window: int) -> Value:
    ups = [at for at, row in enumerate(rows) if row.close > 2 * window]
    downs = [at for at, row in enumerate(rows) if row.close < window]
    return float(bool(ups) and ups[-1] > max(downs, default=-1)), 0.0


def naive_levels(rows: Rows, window: int) -> Value:
    """As many hysteresis switches as there are edges, each on its own."""
    count = 0
    for edge in (float(window), window + 1.0, window + 5.0):
        ups = [at for at, row in enumerate(rows) if row.close > edge + 0.75]
        downs = [at for at, row in enumerate(rows) if row.close < edge - 0.75]
        count += bool(ups) and ups[-1] > max(downs, default=-1)
    return float(count), 0.0


RECURSIVE = [
    Case(WilderAverage, naive_wilder_average), Case(Dema, naive_dema), Case(Tema, naive_tema),
    Case(Kama, naive_kama), Case(lambda n: TrueRange(), naive_true_range),
    Case(lambda n: Adx(n, "plus"), naive_directional("plus")),
    Case(lambda n: Adx(n, "minus"), naive_directional("minus")),
    Case(Adx, naive_directional("adx")), Case(TrendRegime, naive_trend_regime),
    Case(lambda n: Macd(n, n + 3, 4, "line"), naive_macd("line")),
    Case(lambda n: Macd(n, n + 3, 4, "signal"), naive_macd("signal")),
    Case(lambda n: Macd(n, n + 3, 4, "histogram"), naive_macd("histogram")),
    Case(lambda n: Keltner(n, n + 1, 1.5, "upper"), naive_keltner("upper")),
    Case(lambda n: Keltner(n, n + 1, 1.5, "lower"), naive_keltner("lower")),
    Case(lambda n: Keltner(n, n + 1, 1.5), naive_keltner("middle")),
    Case(lambda n: Obv(), naive_obv),
    Case(lambda n: AccumulationDistribution(), naive_accumulation),
    Case(lambda n: ChaikinOscillator(n, n + 4), naive_chaikin),
    Case(lambda n: SessionVwap(), naive_session_vwap),
    Case(lambda n: Hysteresis(n, 2 * n), naive_hysteresis),
    Case(lambda n: Levels((n, n + 1, n + 5), 0.75), naive_levels),
]  # fmt: skip


@pytest.mark.parametrize("case", RECURSIVE, ids=name_case)
@quick
@given(data=st.data(), rows=bars(), gaps=st.sets(st.integers(0, 36), max_size=4))
def test_recursive_feature_is_its_formula_on_the_good_bars_so_far(
    case: Case, data: st.DataObject, rows: list[Row], gaps: set[int]
) -> None:
    window = data.draw(st.integers(2, 7))
    feature = case.make(window)
    running = feature.start()
    good: list[Row] = []
    for at, row in enumerate(rows):
        if at in gaps:
            gap = [
                row.session_close if name == "session_close" else math.nan
                for name in feature.inputs
            ]
            assert math.isnan(running.update(*gap))
            continue
        good.append(row)
        ours = running.update(*(getattr(row, name) for name in feature.inputs))
        if len(good) < feature.warm_up:
            assert math.isnan(ours)
        else:
            expected = case.formula(good, window)
            assert is_near(ours, expected), (ours, expected, good)


# Expressions.


@quick
@given(rows=bars())
def test_arithmetic_of_features_is_that_of_their_values(rows: list[Row]) -> None:
    mean, lag = Sma(3), Lag(2)
    made = {
        "+": mean + lag, "-": mean - lag, "*": mean * lag, "/": mean / lag, "2+": 2 + mean,
        "-2": mean - 2, "2-": 2 - mean, "2*": 2 * mean, "/2": mean / 2, "2/": 2 / mean,
        "neg": -mean,
    }  # fmt: skip
    parts = mean.start(), lag.start()
    running = {name: each.start() for name, each in made.items()}
    for row in rows:
        a, b = (each.update(row.close) for each in parts)
        expected = {
            "+": a + b, "-": a - b, "*": a * b, "/": a / b, "2+": 2 + a, "-2": a - 2, "2-": 2 - a,
            "2*": 2 * a, "/2": a / 2, "2/": 2 / a, "neg": -a,
        }  # fmt: skip
        for name, each in running.items():
            ours = each.update(row.close)
            assert ours == expected[name] or math.isnan(ours + expected[name])


@quick
@given(rows=bars(), window=st.integers(1, 5))
def test_volatility_regime_is_the_level_of_a_ratio(rows: list[Row], window: int) -> None:
    regime = VolatilityRegime(window + 1, window + 3).start()
    short, long = RealizedVolatility(window + 1).start(), RealizedVolatility(window + 3).start()
    level = Levels((0.75, 1.5), 0.05).start()
    for row in rows:
        ours = regime.update(row.close)
        one, other = short.update(row.close), long.update(row.close)
        expected = level.update(one / other if other else math.nan)
        assert ours == expected or (math.isnan(ours) and math.isnan(expected))


@quick
@given(rows=bars())
def test_chain_with_gaps_is_the_outer_feature_of_the_inner_values(rows: list[Row]) -> None:
    chain = Ema(3).of(FastStochastic(2)).start()
    inner, outer = FastStochastic(2).start(), Ema(3).start()
    for at, row in enumerate(rows):
        bar = (row.high, row.low, math.nan if at % 5 == 4 else row.close)
        ours, expected = chain.update(*bar), outer.update(inner.update(*bar))
        assert ours == expected or (math.isnan(ours) and math.isnan(expected))
