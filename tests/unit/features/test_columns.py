from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from onetape.domain.errors import DataError, StrategyError
from onetape.features import Atr, Rsi, Sma, compute_feature_columns
from onetape.features.columns import COLD_UPDATES_MIN
from onetape.features.compiled import fill_column


def test_columns_come_in_the_order_of_the_features_one_value_a_row() -> None:
    columns = {name: np.arange(1.0, 6.0) for name in ("high", "low", "close")}
    values = compute_feature_columns({"slow": Sma(3), "fast": Sma(1), "range": Atr(2)}, columns)
    assert list(values) == ["slow", "fast", "range"]
    assert all(each.dtype == np.float64 and each.shape == (5,) for each in values.values())
    np.testing.assert_array_equal(values["slow"], [np.nan, np.nan, 2, 3, 4])
    np.testing.assert_array_equal(values["fast"], columns["close"])


def test_columns_of_no_rows_or_no_features_are_empty() -> None:
    assert compute_feature_columns({}, {"close": np.ones(3)}) == {}
    assert compute_feature_columns({"a": Sma(3)}, {"close": np.ones(0)})["a"].shape == (0,)


@pytest.mark.parametrize("rows_total", [None, COLD_UPDATES_MIN])
def test_columns_of_other_memory_layouts_give_the_same_values(rows_total: int | None) -> None:
    plain = np.random.default_rng(1).random(50)
    expected = compute_feature_columns({"a": Sma(3)}, {"close": plain})["a"]
    strided = np.repeat(plain, 2)[::2]
    frozen = plain.copy()
    frozen.flags.writeable = False
    swapped = plain.astype(">f8")
    for column in (strided, frozen, swapped):
        values = compute_feature_columns({"a": Sma(3)}, {"close": column}, rows_total=rows_total)
        np.testing.assert_array_equal(values["a"], expected)
    whole = np.arange(2**53, 2**53 + 50)
    values = compute_feature_columns({"a": Sma(3)}, {"close": whole}, rows_total=rows_total)["a"]
    np.testing.assert_array_equal(
        values, compute_feature_columns({"a": Sma(3)}, {"close": whole.astype(np.float64)})["a"]
    )


def test_columns_of_other_memory_layouts_are_not_compiled_again() -> None:
    plain = np.ones(50)
    compute_feature_columns({"a": Rsi(3)}, {"close": plain}, rows_total=COLD_UPDATES_MIN)
    before = len(fill_column.signatures)
    frozen = plain.copy()
    frozen.flags.writeable = False
    for column in (plain[::2], frozen, plain.astype(np.int64)):
        compute_feature_columns({"a": Rsi(3)}, {"close": column}, rows_total=COLD_UPDATES_MIN)
    assert len(fill_column.signatures) == before


def test_columns_without_an_input_name_the_nearest_one() -> None:
    with pytest.raises(StrategyError) as caught:
        compute_feature_columns({"a": Sma(3, inputs=("clsoe",))}, {"close": np.ones(3)})
    assert str(caught.value) == (
        "feature a: there is no column 'clsoe' (did you mean close? columns: close)"
    )


def test_columns_of_different_length_are_refused() -> None:
    columns = {"high": np.ones(3), "low": np.ones(3), "close": np.ones(2)}
    with pytest.raises(DataError, match="feature a: columns differ in length"):
        compute_feature_columns({"a": Atr(3)}, columns)


def test_small_columns_never_import_the_compiler_and_large_ones_do() -> None:
    program = f"""
import sys, numpy
from onetape.features import Sma, compute_feature_columns
features = {{"a": Sma(5), "b": Sma(6)}}
columns = {{"close": numpy.ones(100)}}
compute_feature_columns(features, columns, rows_total={COLD_UPDATES_MIN // 2 - 1})
assert "numba" not in sys.modules
compute_feature_columns(features, columns, rows_total={COLD_UPDATES_MIN // 2})
assert "numba" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
