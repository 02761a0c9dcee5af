"""What holds for every shipped feature: the same bits in both hosts, in batch and live, with a
checkpoint anywhere; a first value at the end of the warm-up; no exception, whatever the data."""

from __future__ import annotations

import csv
import math
from typing import Any, get_args

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import onetape.features as features
from onetape.features import (
    AccumulationDistribution,
    Adx,
    Atr,
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
    Fundamental,
    GarmanKlassVolatility,
    Hurst,
    Hysteresis,
    Kama,
    Keltner,
    Kurtosis,
    Lag,
    Levels,
    LogReturn,
    Macd,
    MarkovRegime,
    Median,
    Mfi,
    MicroPrice,
    Momentum,
    Obv,
    OrderFlow,
    ParkinsonVolatility,
    PriceEarnings,
    Quantile,
    QuotedSpread,
    QuoteImbalance,
    RateOfChange,
    RealizedVolatility,
    RollingMax,
    RollingMin,
    RollingStd,
    RollingVariance,
    Rsi,
    SessionVwap,
    SimpleReturn,
    Skewness,
    Sma,
    Stochastic,
    Tema,
    TradeFlow,
    TrendRegime,
    TrueRange,
    VolatilityRegime,
    Vwap,
    WilderAverage,
    WilliamsR,
    Wma,
    YangZhangVolatility,
    ZScore,
)
from onetape.features.columns import compute_column, select_inputs
from onetape.features.compiled import compute_column_compiled
from tests.support.shared_data import SHARED, needs_shared

Column = npt.NDArray[np.float64]
Bars = dict[str, npt.NDArray[Any]]

LIBRARY: dict[str, Estimator] = {
    repr(each): each
    for each in (
        Sma(1), Sma(7), Ema(1), Ema(7), WilderAverage(7), Dema(1), Dema(5), Tema(1), Tema(4),
        Wma(1), Wma(7), Kama(1), Kama(5, 2, 9),
        RollingVariance(6), RollingStd(6), RollingStd(2, ddof=1), ZScore(6), ZScore(6, ddof=1),
        Skewness(6), Kurtosis(6), Skewness(3),
        SimpleReturn(), SimpleReturn(4), LogReturn(3), Momentum(5), RateOfChange(5), Lag(1), Lag(6),
        RollingMax(1), RollingMax(6), RollingMin(6), BarsSinceMax(1), BarsSinceMax(6),
        BarsSinceMin(6), Quantile(1, 0.3), Quantile(6, 0.0), Quantile(6, 0.3), Quantile(6, 1.0),
        Median(5), Median(6),
        Rsi(5), TrueRange(), Atr(5), Adx(4), Adx(4, "plus"), Adx(4, "minus"),
        Bollinger(6, 2.0, "upper"), Bollinger(6, 2.0, "lower"), Bollinger(6),
        Bollinger(6, 2.0, "bandwidth"), Bollinger(6, 2.0, "percent_b"),
        Keltner(6, 4, 2.0, "upper"), Keltner(6, 4, 2.0, "lower"), Keltner(6),
        Donchian(6, "upper"), Donchian(6, "lower"), Donchian(6), Donchian(1),
        FastStochastic(6), Stochastic(6, 3, 2), Stochastic(6, 3, 2, "d"), WilliamsR(6),
        Macd(3, 6, 4), Macd(3, 6, 4, "signal"), Macd(3, 6, 4, "histogram"), Cci(6), Cci(2),
        Vwap(6), SessionVwap(), Obv(), AccumulationDistribution(), ChaikinOscillator(2, 5), Mfi(5),
        RealizedVolatility(6), ParkinsonVolatility(6), GarmanKlassVolatility(6),
        YangZhangVolatility(6), YangZhangVolatility(2),
        Correlation(6), Beta(6), Autocorrelation(8, 2), Autocorrelation(3), Hurst(8), Hurst(11),
        Hysteresis(0.9, 1.1), Levels((0.9, 1.0, 1.1), 0.01), TrendRegime(4),
        VolatilityRegime(4, 9),
        Fundamental(), PriceEarnings(), QuotedSpread(), QuotedSpread("price"), QuoteImbalance(),
        MicroPrice(), OrderFlow(1), OrderFlow(6), TradeFlow(6),
        MarkovRegime((0.9, 1.1), (0.1, 0.3), ((0.9, 0.1), (0.2, 0.8))),
        MarkovRegime((0.0, 1.0, 2.0), (1.0, 1.5, 9.0), ((0.9, 0.1, 0.0), (0.1, 0.8, 0.1),
                     (0.0, 0.5, 0.5)), "probability"),
        Ema(3) - Ema(6), 2 * Rsi(5) - 100, 1 / Atr(3), 3 - Sma(2), -Sma(2) / 7.0, Sma(3) + Sma(2),
        Sma(3) * Obv(), Ema(3).of(Rsi(4)), Lag(2).of(Donchian(4, "upper")),
        Correlation(6).of(SimpleReturn(), "volume"),
    )
}  # fmt: skip

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
every = pytest.mark.parametrize("name", LIBRARY)

wild = st.one_of(
    st.floats(),
    st.floats(0.5, 2),
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, 1.0, 1e12, 1e-12]),
)
"""Any float, and often the ones that hurt."""


def make_bars(rows: int, seed: int, scale: float = 1.0) -> Bars:
    """A random walk with sessions of 40 bars, and no trouble."""
    rng = np.random.default_rng(seed)
    close: Column = scale * np.exp(np.cumsum(rng.normal(0, 0.02, rows)))
    open_: Column = close * np.exp(rng.normal(0, 0.01, rows))
    return {
        "open": open_,
        "high": np.maximum(open_, close) * (1 + 0.01 * rng.random(rows)),
        "low": np.minimum(open_, close) * (1 - 0.01 * rng.random(rows)),
        "close": close,
        "volume": np.round(rng.exponential(1000, rows), 2),
        "bid": close * (1 - 0.001 * rng.random(rows)),
        "ask": close * (1 + 0.001 * rng.random(rows)),
        "bid_size": 1 + np.round(rng.exponential(100, rows)),
        "ask_size": 1 + np.round(rng.exponential(100, rows)),
        "aggressor": rng.integers(-1, 2, rows).astype(np.float64),
        "eps": 0.05 * close,
        "eps_ttm": 0.2 * close,
        "session_close": 1.7e18 + np.arange(rows) // 40 * 86_400e9,
    }


def make_trouble(rows: int, seed: int, scale: float) -> Bars:
    """Bars with NaN, infinities, huge values, flat stretches, no volume, negative prices."""
    bars = make_bars(rows, seed, scale)
    rng = np.random.default_rng(seed)
    for name in (
        "open",
        "high",
        "low",
        "close",
        "volume",
        "bid",
        "ask",
        "bid_size",
        "ask_size",
        "eps_ttm",
    ):
        column = bars[name]
        for value in (math.nan, math.inf, -math.inf, -1.0, 0.0):
            column[rng.integers(0, rows, 3)] = value
        column[rng.integers(0, rows, 3)] *= 1e20
    for name in bars:
        bars[name][rows // 3 : rows // 3 + 60] = bars[name][rows // 3]
    bars["volume"][-80:-40] = 0.0
    return bars


def assert_same_bits(ours: Column, theirs: Column) -> None:
    """Equal bit for bit; any NaN equals any NaN, because only `isnan` is a promise."""
    one, other = (np.where(np.isnan(each), np.nan, each).view(np.int64) for each in (ours, theirs))
    np.testing.assert_array_equal(one, other)


def test_library_has_every_shipped_feature_and_every_output() -> None:
    shipped = {
        kind
        for kind in map(vars(features).get, features.__all__)
        if isinstance(kind, type) and issubclass(kind, Estimator)
    } - {Estimator, features.Timeframed, features.CrossSection}
    covered = {type(each) for each in LIBRARY.values()}
    assert shipped <= covered
    for kind in shipped:
        for field in msgspec.structs.fields(kind):
            outputs = {getattr(each, field.name) for each in LIBRARY.values() if type(each) is kind}
            choices = {each for each in get_args(field.type) if isinstance(each, str)}
            assert field.name != "output" or outputs == choices


@every
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_hosts_and_live_with_checkpoints_give_the_same_bits(name: str, scale: float) -> None:
    feature = LIBRARY[name]
    for bars in (make_bars(300, 1, scale), make_trouble(300, 2, scale)):
        inputs = select_inputs("it", feature, bars)
        expected = compute_column(feature, inputs)
        assert_same_bits(compute_column_compiled(feature, inputs), expected)
        running = feature.start()
        live: list[float] = []
        for row, bar in enumerate(zip(*(column.tolist() for column in inputs), strict=True)):
            if row % 7 == 3:
                plain = msgspec.msgpack.decode(msgspec.msgpack.encode(running.snapshot()))
                running = feature.start()
                running.restore(plain)
            live.append(running.update(*bar))
        assert_same_bits(np.array(live), expected)


@every
@quick
@given(data=st.data())
def test_no_data_makes_it_raise_or_the_hosts_differ(name: str, data: st.DataObject) -> None:
    feature = LIBRARY[name]
    count = len(feature.inputs)
    rows = data.draw(st.lists(st.tuples(*[wild] * count), max_size=30))
    inputs = tuple(np.array([row[at] for row in rows], dtype=np.float64) for at in range(count))
    expected = compute_column(feature, inputs)
    assert_same_bits(compute_column_compiled(feature, inputs), expected)


@every
def test_first_value_stands_at_the_end_of_the_warm_up(name: str) -> None:
    feature = LIBRARY[name]
    bars = make_bars(60, 3)
    column = compute_column(feature, select_inputs("it", feature, bars))
    assert np.flatnonzero(~np.isnan(column)).tolist() == list(range(feature.warm_up - 1, 60))


@every
def test_no_data_and_less_than_the_warm_up_have_no_value(name: str) -> None:
    feature = LIBRARY[name]
    for rows in (0, feature.warm_up - 1):
        inputs = select_inputs("it", feature, make_bars(rows, 4))
        assert compute_column(feature, inputs).shape == (rows,)
        assert np.isnan(compute_column(feature, inputs)).all()


def read_intraday() -> Bars:
    """SPY by the minute, four sessions."""
    path = SHARED / "indicators" / "quotes_intraday_1min_202012.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    bars: Bars = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("open", "high", "low", "close", "volume")
    }
    days = [row["date"].partition(" ")[0] for row in rows]
    closes = np.array(days, dtype="datetime64[ns]") + np.timedelta64(21, "h")
    return {**bars, "session_close": closes.astype(np.int64)}


def widen(bars: Bars, minutes: int) -> Bars:
    """Bars of so many minutes each."""
    starts = np.arange(0, len(bars["close"]), minutes)
    ends = np.append(starts[1:], len(bars["close"])) - 1
    return {
        "open": bars["open"][starts],
        "high": np.maximum.reduceat(bars["high"], starts),
        "low": np.minimum.reduceat(bars["low"], starts),
        "close": bars["close"][ends],
        "volume": np.add.reduceat(bars["volume"], starts),
        "session_close": bars["session_close"][ends],
    }


@needs_shared
@pytest.mark.parametrize("minutes", [1, 5])
def test_hosts_and_live_give_the_same_bits_on_intraday_bars(minutes: int) -> None:
    bars = widen(read_intraday(), minutes)
    assert len(bars["close"]) == (1564 if minutes == 1 else 313)
    of_bars = [each for each in LIBRARY.values() if set(each.inputs) <= set(bars)]
    assert len(of_bars) > 80  # the others are of quotes and fundamentals
    for feature in of_bars:
        inputs = select_inputs("it", feature, bars)
        expected = compute_column(feature, inputs)
        assert not np.isnan(expected[-100:]).all()
        assert_same_bits(compute_column_compiled(feature, inputs), expected)
        running = feature.start()
        for row, bar in enumerate(zip(*(column.tolist() for column in inputs), strict=True)):
            if row == len(expected) // 2:
                plain = msgspec.msgpack.decode(msgspec.msgpack.encode(running.snapshot()))
                running = feature.start()
                running.restore(plain)
            running.update(*bar)
            assert running.value == expected[row] or math.isnan(running.value + expected[row])


def test_versions_differ() -> None:
    versions = {each.version for each in LIBRARY.values()}
    assert len(versions) == len(LIBRARY)
