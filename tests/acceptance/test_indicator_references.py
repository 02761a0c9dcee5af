"""Our estimators against published indicator columns, and against TA-Lib."""

from __future__ import annotations

import csv
import math

import numpy as np
import numpy.typing as npt
import pytest

from onetape.features import (
    AccumulationDistribution,
    Adx,
    Atr,
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
    FastStochastic,
    FeatureMap,
    Kama,
    Macd,
    Mfi,
    Momentum,
    Obv,
    RateOfChange,
    RollingMax,
    RollingMin,
    RollingStd,
    RollingVariance,
    Rsi,
    SimpleReturn,
    Sma,
    Stochastic,
    Tema,
    TrueRange,
    WilliamsR,
    Wma,
    ZScore,
    compute_feature_columns,
)
from tests.support.shared_data import SHARED, needs_shared

Column = npt.NDArray[np.float64]

K = Stochastic(14, 3, 3, "k")
D = Stochastic(14, 3, 3, "d")

PUBLISHED: FeatureMap = {
    "sma.sma": Sma(20),
    "ema.ema": Ema(20),
    "rsi.rsi": Rsi(14),
    "atr.tr": TrueRange(),
    "atr.atr": Atr(14),
    "bb.sma": Bollinger(20, 2, "middle"),
    "bb.upperband": Bollinger(20, 2, "upper"),
    "bb.lowerband": Bollinger(20, 2, "lower"),
    "bb.percentb": Bollinger(20, 2, "percent_b"),
    "bb.width": Bollinger(20, 2, "bandwidth"),
    "bb.zscore": ZScore(20),
    "macd.macd": Macd(12, 26, 9, "line"),
    "macd.signal": Macd(12, 26, 9, "signal"),
    "macd.histogram": Macd(12, 26, 9, "histogram"),
    "macd.fastema": Ema(12),
    "macd.slowema": Ema(26),
    "obv.obv": Obv(),
    "stoch.oscillator": K,
    "stoch.signal": D,
    "stoch.percentj": 3 * K - 2 * D,
}
"""Columns of the reference files, by file and name."""

FIRST_ROWS = {
    "sma.sma": 19, "ema.ema": 19, "rsi.rsi": 14, "atr.atr": 14, "bb.zscore": 19, "macd.macd": 25,
    "macd.signal": 33, "stoch.oscillator": 15, "stoch.signal": 17, "obv.obv": 0,
}  # fmt: skip
"""As the README beside the files says."""


def read_columns(name: str) -> dict[str, Column]:
    with (SHARED / "indicators" / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        column.lower(): np.array([float(row[column] or "nan") for row in rows])
        for column in rows[0]
        if column not in ("timestamp", "date")
    }


@needs_shared
@pytest.mark.parametrize("name", PUBLISHED)
def test_feature_on_spy_equals_published_column(name: str) -> None:
    feature = PUBLISHED[name]
    quotes = read_columns("quotes_daily_2017_2018.csv")
    ours = compute_feature_columns({name: feature}, quotes)[name]
    file, _, column = name.partition(".")
    expected = read_columns(f"expected_{file}.csv")[column]
    assert len(expected) == 502
    first = np.flatnonzero(~np.isnan(ours))[0]
    assert first == feature.warm_up - 1 == FIRST_ROWS.get(name, first)
    # Differences of two prices of about 260, and of percents, hold their digits only absolutely.
    absolute = {"macd": 1e-11, "stoch": 1e-9, "bb": 1e-11}.get(file, 0.0)
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=absolute)


def make_walk(seed: int, rows: int = 3000) -> dict[str, Column]:
    """Bars of a random walk."""
    rng = np.random.default_rng(seed)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    return {
        "high": close * (1 + rng.random(rows) * 0.02),
        "low": close * (1 - rng.random(rows) * 0.02),
        "close": close,
        "volume": np.round(rng.exponential(1e4, rows)) + 1,
    }


@pytest.mark.parametrize("window", [2, 3, 14, 50, 333])
def test_features_on_random_walks_equal_talib(window: int) -> None:
    talib = pytest.importorskip("talib")
    walk = make_walk(window)
    high, low, close, volume = (walk[name] for name in ("high", "low", "close", "volume"))
    returns = {name: SimpleReturn(inputs=(name,)) for name in ("close", "volume")}
    upper, middle, lower = talib.BBANDS(close, window)
    fast_k, fast_d = talib.STOCHF(high, low, close, window, 3, 0)
    slow_k, slow_d = talib.STOCH(high, low, close, window, 3, 0, 4, 0)
    rows = np.where(np.arange(len(close)) < window - 1, np.nan, np.arange(len(close)))
    cases = {
        "sma": (Sma(window), talib.SMA(close, window)),
        "ema": (Ema(window), talib.EMA(close, window)),
        "wma": (Wma(window), talib.WMA(close, window)),
        "dema": (Dema(window), talib.DEMA(close, window)),
        "tema": (Tema(window), talib.TEMA(close, window)),
        "kama": (Kama(window), talib.KAMA(close, window)),
        "std": (RollingStd(window), talib.STDDEV(close, window)),
        "variance": (RollingVariance(window), talib.VAR(close, window)),
        "upper": (Bollinger(window, 2.0, "upper"), upper),
        "middle": (Bollinger(window, 2.0, "middle"), middle),
        "lower": (Bollinger(window, 2.0, "lower"), lower),
        "momentum": (Momentum(window), talib.MOM(close, window)),
        "roc": (RateOfChange(window), talib.ROC(close, window)),
        "max": (RollingMax(window), talib.MAX(close, window)),
        "min": (RollingMin(window), talib.MIN(close, window)),
        "since max": (BarsSinceMax(window), rows - talib.MAXINDEX(close, window)),
        "since min": (BarsSinceMin(window), rows - talib.MININDEX(close, window)),
        "channel": (Donchian(window), talib.MIDPRICE(high, low, window)),
        "rsi": (Rsi(window), talib.RSI(close, window)),
        "true range": (TrueRange(), talib.TRANGE(high, low, close)),
        "atr": (Atr(window), talib.ATR(high, low, close, window)),
        "williams": (WilliamsR(window), talib.WILLR(high, low, close, window)),
        "fast k": (FastStochastic(window), fast_k),
        "fast d": (Stochastic(window, 1, 3, "d"), fast_d),
        "slow k": (Stochastic(window, 3, 4, "k"), slow_k),
        "slow d": (Stochastic(window, 3, 4, "d"), slow_d),
        "cci": (Cci(window), talib.CCI(high, low, close, window)),
        "mfi": (Mfi(window), talib.MFI(high, low, close, volume, window)),
        "ad": (AccumulationDistribution(), talib.AD(high, low, close, volume)),
        "obv": (Obv() + volume[0], talib.OBV(close, volume)),
        "correlation": (Correlation(window), talib.CORREL(close, volume, window)),
        "beta": (
            Beta(window).of(returns["close"], returns["volume"]),
            talib.BETA(volume, close, window),
        ),
    }
    ours = compute_feature_columns({name: each[0] for name, each in cases.items()}, walk)
    # What passes through zero, and TA-Lib's sums and differences of squares, hold fewer digits.
    relative = {"std": 1e-6, "variance": 1e-6, "correlation": 1e-4, "beta": 1e-4}
    absolute = {"cci": 1e-7, "mfi": 1e-9, "ad": 1e-6, "since max": 0.0, "since min": 0.0,
                "correlation": 1e-6, "beta": 1e-8, "upper": 1e-7, "lower": 1e-7}  # fmt: skip
    for name, (feature, theirs) in cases.items():
        first = int(np.flatnonzero(~np.isnan(theirs))[0])
        # TA-Lib gives %K from the row on where %D begins too.
        assert first == feature.warm_up - 1 + {"fast k": 2, "slow k": 3}.get(name, 0), name
        seen = slice(first, None)
        np.testing.assert_allclose(
            ours[name][seen], theirs[seen], rtol=relative.get(name, 1e-9),
            atol=absolute.get(name, 1e-10), err_msg=name,
        )  # fmt: skip


@pytest.mark.parametrize("window", [3, 14, 20])
def test_features_with_other_seeds_come_to_equal_talib(window: int) -> None:
    talib = pytest.importorskip("talib")
    walk = make_walk(window)
    high, low, close, volume = (walk[name] for name in ("high", "low", "close", "volume"))
    line, signal, histogram = talib.MACD(close, window, 2 * window, 9)
    cases = {
        "macd": (Macd(window, 2 * window, 9, "line"), line),
        "signal": (Macd(window, 2 * window, 9, "signal"), signal),
        "histogram": (Macd(window, 2 * window, 9, "histogram"), histogram),
        "+di": (Adx(window, "plus"), talib.PLUS_DI(high, low, close, window)),
        "-di": (Adx(window, "minus"), talib.MINUS_DI(high, low, close, window)),
        "adx": (Adx(window), talib.ADX(high, low, close, window)),
        "chaikin": (
            ChaikinOscillator(window, 2 * window),
            talib.ADOSC(high, low, close, volume, window, 2 * window),
        ),
    }
    ours = compute_feature_columns({name: each[0] for name, each in cases.items()}, walk)
    for name, (_, theirs) in cases.items():
        start = 40 * window
        scale = np.abs(theirs[start:]).max()
        np.testing.assert_allclose(
            ours[name][start:], theirs[start:], rtol=1e-9, atol=1e-11 * scale, err_msg=name
        )
        assert np.nanmax(np.abs(ours[name] - theirs)[:start]) > 1e-6 * scale, name


def test_rsi_of_a_flat_price_is_neutral_where_talib_says_zero() -> None:
    talib = pytest.importorskip("talib")
    flat = np.full(20, 7.0)
    assert compute_feature_columns({"rsi": Rsi(3)}, {"close": flat})["rsi"][-1] == 50.0
    assert talib.RSI(flat, 3)[-1] == 0.0
    assert math.isnan(talib.RSI(flat, 3)[0])


def test_channel_oscillators_of_a_flat_price_are_neutral_where_talib_says_zero() -> None:
    talib = pytest.importorskip("talib")
    flat = np.full(20, 7.0)
    columns = {"high": flat, "low": flat, "close": flat, "volume": flat}
    ours = compute_feature_columns(
        {"k": FastStochastic(3), "r": WilliamsR(3), "mfi": Mfi(3)}, columns
    )
    assert [ours[name][-1] for name in ("k", "r", "mfi")] == [50.0, -50.0, 50.0]
    assert talib.STOCHF(flat, flat, flat, 3, 3, 0)[0][-1] == 0.0
    assert talib.WILLR(flat, flat, flat, 3)[-1] == 0.0
    assert talib.MFI(flat, flat, flat, flat, 3)[-1] == 0.0
