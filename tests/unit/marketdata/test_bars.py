from __future__ import annotations

import hashlib
import struct

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.marketdata.bars import (
    BAR_COLUMNS,
    BarColumns,
    check_columns,
    compute_content_hash,
    slice_rows,
)
from tests.unit.marketdata.csv_files import make_columns


def test_compute_content_hash_is_the_documented_byte_form() -> None:
    columns = make_columns(3)
    plain = b"".join(
        struct.pack(f"<3{'d' if columns[name].dtype == np.float64 else 'q'}", *columns[name])
        for name in BAR_COLUMNS
    )

    assert compute_content_hash(columns) == hashlib.sha256(plain).hexdigest()


def test_compute_content_hash_of_views_and_byte_orders_is_the_same() -> None:
    columns = make_columns(6)
    strided = {name: np.repeat(column, 2)[::2] for name, column in columns.items()}
    swapped = {n: column.astype(column.dtype.newbyteorder(">")) for n, column in columns.items()}

    assert compute_content_hash(strided) == compute_content_hash(columns)
    assert compute_content_hash(swapped) == compute_content_hash(columns)


@pytest.mark.parametrize("name", BAR_COLUMNS)
def test_compute_content_hash_notices_a_change_of_any_column(name: str) -> None:
    columns = make_columns(3)
    changed = {**columns, name: columns[name] + 1}

    assert compute_content_hash(changed) != compute_content_hash(columns)


def changed_columns(name: str, row: int, by: int) -> BarColumns:
    columns = make_columns(4)
    columns[name] = columns[name].copy()
    columns[name][row] += by
    return columns


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "column 'ts_open' is not int64 of 0 rows"),
        ({**make_columns(2), "close": np.zeros(1)}, "column 'close' is not float64 of 2 rows"),
        ({**make_columns(2), "volume": np.zeros(2, np.int64)}, "column 'volume' is not float64"),
        (changed_columns("ts_close", 1, -(2**50)), "row 1: bar that closes before it opens"),
        (changed_columns("ts_known", 2, -1), "row 2: bar known before its close"),
        (changed_columns("session_close", 3, -1), "row 3: bar whose session ends before it"),
        (changed_columns("ts_open", 2, -1), "row 2: bar that starts before the last one has"),
        (changed_columns("ts_known", 1, 2**50), "row 2: bar known before the one before it"),
    ],
)
def test_check_columns_that_are_no_bars_are_refused_with_the_row(
    columns: BarColumns, message: str
) -> None:
    check_columns(make_columns(4), "f")

    with pytest.raises(DataError, match=message):
        check_columns(columns, "f")


def test_slice_rows_are_views() -> None:
    columns = make_columns(4)

    part = slice_rows(columns, 1, 3)

    assert part["close"].tolist() == [101.0, 102.0]
    assert all(np.shares_memory(part[name], columns[name]) for name in BAR_COLUMNS)
