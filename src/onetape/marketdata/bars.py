"""Bars in memory as columns: their shape, the checks every holder may rely on, their hash."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.market import BAR_FLOAT_COLUMNS, BAR_INT_COLUMNS
from onetape.domain.timestamps import to_iso

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

BarColumns = dict[str, npt.NDArray[Any]]
"""`BAR_INT_COLUMNS` (int64, ns UTC and flags) and `BAR_FLOAT_COLUMNS` (float64), shape (rows,)."""

BAR_COLUMNS = BAR_INT_COLUMNS + BAR_FLOAT_COLUMNS


def check_columns(columns: BarColumns, where: str) -> None:
    """Bars of one instrument are complete, in time order, and known no earlier than they close.

    Raises:
        DataError: A column is missing or of another type or length, bars overlap or run backwards,
            or a bar is known before its close. `where` names the data.
    """
    rows = len(columns.get("ts_open", ()))
    for name in BAR_COLUMNS:
        dtype = np.dtype(np.int64 if name in BAR_INT_COLUMNS else np.float64)
        column = columns.get(name)
        if column is None or column.dtype != dtype or column.shape != (rows,):
            raise DataError(f"column {name!r} is not {dtype} of {rows} rows", where=where)
    ts_open, ts_close, ts_known = (columns[n] for n in ("ts_open", "ts_close", "ts_known"))
    for what, fault in (
        ("bar that closes before it opens", ts_close <= ts_open),
        ("bar known before its close", ts_known < ts_close),
        ("bar whose session ends before it", columns["session_close"] < ts_close),
        ("bar that starts before the last one has closed", ts_open[1:] < ts_close[:-1]),
        ("bar known before the one before it", ts_known[1:] < ts_known[:-1]),
    ):
        if fault.any():
            row = int(fault.argmax()) + rows - len(fault)
            raise DataError(f"{what}, at {to_iso(int(ts_open[row]))}", where=f"{where} row {row}")


def slice_rows(columns: BarColumns, start: int, stop: int) -> BarColumns:
    """Rows `start` to `stop` of every column, as views."""
    return {name: column[start:stop] for name, column in columns.items()}


def compute_content_hash(columns: BarColumns) -> str:
    """SHA-256 (hex) of the rows: each column's little-endian bytes, in the order of `BAR_COLUMNS`.

    Ours. The same rows give the same hash on every machine, whatever file they are stored in.
    """
    digest = hashlib.sha256()
    for name in BAR_COLUMNS:
        column = columns[name]
        digest.update(np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("<")).data)
    return digest.hexdigest()
