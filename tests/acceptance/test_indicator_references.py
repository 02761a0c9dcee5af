"""Our estimators against published indicator columns, and against TA-Lib."""

from __future__ import annotations

import csv
import math

import numpy as np
import numpy.typing as npt
import pytest

from onetape.features import (
    Atr,
    Ema,
    FeatureMap,
    RollingStd,
    Rsi,
    Sma,
    ZScore,
    compute_feature_columns,
)
from tests.support.shared_data import SHARED, needs_shared

Column = npt.NDArray[np.float64]

FEATURES: FeatureMap = {
    "sma": Sma(20),
    "ema": Ema(20),
    "rsi": Rsi(14),
    "atr": Atr(14),
    "std": RollingStd(20),
    "zscore": ZScore(20),
}


def read_columns(name: str) -> dict[str, Column]:
    with (SHARED / "indicators" / name).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {
        column.lower(): np.array([float(row[column] or "nan") for row in rows])
        for column in rows[0]
        if column not in ("timestamp", "date")
    }


@needs_shared
@pytest.mark.parametrize(
    ("feature", "file", "column", "first_row"),
    [
        ("sma", "expected_sma.csv", "sma", 19),
        ("ema", "expected_ema.csv", "ema", 19),
        ("rsi", "expected_rsi.csv", "rsi", 14),
        ("atr", "expected_atr.csv", "atr", 14),
        ("sma", "expected_bb.csv", "sma", 19),
        ("zscore", "expected_bb.csv", "zscore", 19),
    ],
)
def test_estimator_on_spy_equals_published_column(
    feature: str, file: str, column: str, first_row: int
) -> None:
    ours = compute_feature_columns(FEATURES, read_columns("quotes_daily_2017_2018.csv"))[feature]
    expected = read_columns(file)[column]
    assert len(expected) == 502
    assert np.flatnonzero(~np.isnan(ours))[0] == first_row == FEATURES[feature].warm_up - 1
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=0)


@needs_shared
def test_rolling_std_on_spy_equals_half_the_upper_band() -> None:
    ours = compute_feature_columns(FEATURES, read_columns("quotes_daily_2017_2018.csv"))["std"]
    bands = read_columns("expected_bb.csv")
    np.testing.assert_allclose(ours, (bands["upperband"] - bands["sma"]) / 2, rtol=1e-9, atol=0)


@pytest.mark.parametrize("window", [2, 3, 14, 50, 333])
def test_estimators_on_random_walks_equal_talib(window: int) -> None:
    talib = pytest.importorskip("talib")
    rng = np.random.default_rng(window)
    close = 50.0 * np.exp(np.cumsum(rng.normal(0, 0.01, 2000)))
    high = close * (1 + rng.random(2000) * 0.02)
    low = close * (1 - rng.random(2000) * 0.02)
    ours = compute_feature_columns(
        {
            "sma": Sma(window),
            "ema": Ema(window),
            "std": RollingStd(window),
            "rsi": Rsi(window),
            "atr": Atr(window),
        },
        {"high": high, "low": low, "close": close},
    )
    # TA-Lib's std subtracts squares, so it holds only about half of the digits.
    for name, theirs, tolerance in (
        ("sma", talib.SMA(close, window), 1e-9),
        ("ema", talib.EMA(close, window), 1e-9),
        ("std", talib.STDDEV(close, window), 1e-6),
        ("rsi", talib.RSI(close, window), 1e-9),
        ("atr", talib.ATR(high, low, close, window), 1e-9),
    ):
        np.testing.assert_allclose(ours[name], theirs, rtol=tolerance, atol=0, err_msg=name)


def test_rsi_of_a_flat_price_is_neutral_where_talib_says_zero() -> None:
    talib = pytest.importorskip("talib")
    flat = np.full(20, 7.0)
    assert compute_feature_columns({"rsi": Rsi(3)}, {"close": flat})["rsi"][-1] == 50.0
    assert talib.RSI(flat, 3)[-1] == 0.0
    assert math.isnan(talib.RSI(flat, 3)[0])
