"""Trade prints in memory as columns: shape, checks, and the bars that they are matched as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.market import TRADE_FLOAT_COLUMNS, TRADE_INT_COLUMNS, AggressorSide
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, to_iso

TradeColumns = dict[str, npt.NDArray[Any]]
"""`TRADE_INT_COLUMNS` (int64) and `TRADE_FLOAT_COLUMNS` (float64), shape (rows,)."""

TRADE_COLUMNS = TRADE_INT_COLUMNS + TRADE_FLOAT_COLUMNS

_REQUIRED = ("ts_event", "price", "size")


def complete_trades(
    columns: Mapping[str, npt.NDArray[Any]],
    where: str,
    *,
    in_order: bool = True,
    first_row: int = 0,
) -> TradeColumns:
    """Prints of one instrument, checked, with the columns that were left out.

    Args:
        columns: `ts_event` (int64 ns UTC), `price` (currency) and `size` (units, both float64);
            `ts_known` (int64, else `ts_event`), `aggressor` (int64, an `AggressorSide`, else
            unknown) and `session_close` (int64, else the end of the UTC day).
        where: Names the data in errors.
        in_order: Whether prints must be in the order of `ts_event` and `ts_known`.
        first_row: Number of the first of them, as errors count.

    Raises:
        DataError: A column is missing, unknown, or of another type or length; prints run backwards
            or are known before they happen; or a price, size or aggressor can't be.
    """
    for name in columns:
        if name not in TRADE_COLUMNS:
            raise DataError(
                f"trades have no column {name!r}", where=where, remedy=nearest(name, TRADE_COLUMNS)
            )
    rows = len(columns.get("ts_event", ()))
    for name in dict.fromkeys((*_REQUIRED, *columns)):
        dtype = np.dtype(np.int64 if name in TRADE_INT_COLUMNS else np.float64)
        column = columns.get(name)
        if column is None or column.dtype != dtype or column.shape != (rows,):
            raise DataError(f"column {name!r} is not {dtype} of {rows} rows", where=where)
    ts_event = columns["ts_event"]
    complete = {"ts_known": ts_event, "aggressor": np.zeros(rows, dtype=np.int64), **columns}
    if "session_close" not in complete:
        complete["session_close"] = ((ts_event - 1) // NS_PER_DAY + 1) * NS_PER_DAY
    _check_rows(complete, where, first_row, in_order=in_order)
    return {name: complete[name] for name in TRADE_COLUMNS}


def _check_rows(columns: TradeColumns, where: str, first_row: int, *, in_order: bool) -> None:
    ts_event, ts_known, price, size = (
        columns[name] for name in ("ts_event", "ts_known", "price", "size")
    )
    for what, fault in (
        ("print before the one before it", in_order & (ts_event[1:] < ts_event[:-1])),
        ("print known before it happened", ts_known < ts_event),
        ("print known before the one before it", in_order & (ts_known[1:] < ts_known[:-1])),
        ("print whose session ends before it", columns["session_close"] < ts_event),
        ("print whose price is not finite", ~np.isfinite(price)),
        ("print whose size is negative or not finite", ~((size >= 0) & (size < np.inf))),
        ("print of an unknown aggressor", ~np.isin(columns["aggressor"], list(AggressorSide))),
    ):
        if fault.any():
            row = int(fault.argmax()) + len(ts_event) - len(fault)
            raise DataError(
                f"{what}, at {to_iso(int(ts_event[row]))}", where=f"{where} row {first_row + row}"
            )


def add_bar_columns(columns: TradeColumns) -> TradeColumns:
    """Prints with the columns of the bars that they are matched as; only `ts_open` is new memory.

    A print is a bar of one price over the nanosecond that ends at its `ts_event`: an order may use
    it when it arrived before the print, and not when it arrived with it.
    """
    ts_event, price, size = columns["ts_event"], columns["price"], columns["size"]
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return {**columns, "ts_open": ts_event - 1, "ts_close": ts_event, **prices, "volume": size}
