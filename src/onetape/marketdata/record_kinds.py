"""What the catalog keeps beside bars: kinds of records, their columns and what they mean.

All have `ts_event` (when it was true), `ts_known` (when it could be known) and `quality` (flags).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from enum import Enum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.market import FUNDING_RATE_MAX, CorporateActionKind
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.ticks import complete_deltas, complete_quotes
from onetape.marketdata.trades import complete_trades

RecordColumns = dict[str, npt.NDArray[Any]]
"""int64, float64 and text columns of one kind, shape (rows,), in the order of `ts_event`."""


class RecordKind(Enum):
    """Kinds of records.

    | kind                | dataset    | a row                                                   |
    | ------------------- | ---------- | ------------------------------------------------------- |
    | `trades`            | instrument | a public print: price, size, aggressor                  |
    | `quotes`            | instrument | best bid and ask with sizes                             |
    | `book`              | instrument | new size of one price level                             |
    | `funding`           | instrument | rate that longs pay to shorts, as a fraction of         |
    |                     |            | notional, and the venue's `mark` then (NaN: not told)   |
    | `fundamentals`      | instrument | `value` of the field `name`, of the period that ends at |
    |                     |            | `ts_period`; NaN: withdrawn                             |
    | `membership`        | universe   | instrument `name` is in from `ts_event` on (`value` 1)  |
    |                     |            | or out (0)                                              |
    | `corporate_actions` | instrument | an action of the kind `name`; `is_date` 1: at the local |
    |                     |            | date of `ts_event`, which is its midnight in UTC;       |
    |                     |            | `pay_date` is empty or a date; NaN: not told            |
    | `halts`             | instrument | trading is halted (`value` 1) or goes on (0); `name` is |
    |                     |            | the reason                                              |
    """

    TRADES = "trades"
    QUOTES = "quotes"
    BOOK = "book"
    FUNDING = "funding"
    FUNDAMENTALS = "fundamentals"
    MEMBERSHIP = "membership"
    CORPORATE_ACTIONS = "corporate_actions"
    HALTS = "halts"

    @property
    def by_day(self) -> bool:
        """Whether files are cut by day (UTC), since there are so many rows."""
        return self in (RecordKind.TRADES, RecordKind.QUOTES, RecordKind.BOOK)


def to_record_kind(name: str) -> RecordKind:
    """The kind called `name`; raises `DataError` with the nearest name."""
    try:
        return RecordKind(name)
    except ValueError:
        known = [each.value for each in RecordKind]
        raise DataError(f"records of kind {name!r} are unknown",
                        remedy=nearest(name, known)) from None  # fmt: skip


class RecordShape(msgspec.Struct, frozen=True):
    """Columns of a kind; `complete` checks them and adds those that may be left out."""

    ints: tuple[str, ...]
    floats: tuple[str, ...]
    texts: tuple[str, ...]
    complete: Callable[[Mapping[str, npt.NDArray[Any]], str], RecordColumns]

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them."""
        return (*self.ints, *self.floats, *self.texts)


_ACTIONS = {each.value for each in CorporateActionKind} - {
    CorporateActionKind.DIVIDEND_PAYMENT.value  # follows from a pay_date
}
_TEXTS = ("name", "pay_date", "new_instrument")


def _plain(
    columns: Mapping[str, npt.NDArray[Any]], where: str, numbers: tuple[str, ...], *more: str
) -> RecordColumns:
    """Checks a kind that nobody else checks: numbers are finite, rows are in order."""
    rows = len(columns.get("ts_event", ()))
    complete: RecordColumns = dict(columns)
    complete.setdefault("ts_known", columns.get("ts_event", np.zeros(0, np.int64)))
    for name in ("ts_event", "ts_known", *numbers, *more):
        dtype = "text" if name in _TEXTS else "int64" if name.startswith("ts_") else "float64"
        column = complete.get(name)
        fits = column is not None and (column.dtype.kind in "OU" if dtype == "text"
                                       else column.dtype == np.dtype(dtype))  # fmt: skip
        if column is None or not fits or column.shape != (rows,):
            raise DataError(f"column {name!r} is not {dtype} of {rows} rows", where=where)
    ts_event, ts_known = complete["ts_event"], complete["ts_known"]
    for what, fault in (
        ("row before the one before it", ts_event[1:] < ts_event[:-1]),
        ("row known before it happened", ts_known < ts_event),
        *((f"row whose {name} is not finite", ~np.isfinite(complete[name])) for name in numbers),
    ):
        if fault.any():
            row = int(fault.argmax()) + rows - len(fault)
            raise DataError(f"{what}, at {to_iso(int(ts_event[row]))}", where=f"{where} row {row}")
    return complete


def _complete_funding(columns: Mapping[str, npt.NDArray[Any]], where: str) -> RecordColumns:
    unknown = np.full(len(columns.get("ts_event", ())), np.nan)
    complete = _plain({"mark": unknown, **columns}, where, ("rate",), "mark")
    if (np.abs(complete["rate"]) >= FUNDING_RATE_MAX).any():
        raise DataError(f"a rate is not between -{FUNDING_RATE_MAX} and {FUNDING_RATE_MAX}",
                        where=where)  # fmt: skip
    if (complete["mark"] <= 0).any() or np.isinf(complete["mark"]).any():
        raise DataError("a mark is not positive", where=where)
    return complete


def _complete_actions(columns: Mapping[str, npt.NDArray[Any]], where: str) -> RecordColumns:
    told = dict(columns)
    is_date = told.pop("is_date", np.zeros(0))
    complete = _plain(told, where, ("value", "divisor", "cash"), "price", "cost_ratio", *_TEXTS)
    if is_date.dtype != np.int64 or is_date.shape != complete["ts_event"].shape:
        raise DataError("column 'is_date' is not int64 of all rows", where=where)
    off = (complete["ts_event"] % NS_PER_DAY != 0) & (is_date == 1)
    if not np.isin(is_date, (0, 1)).all() or off.any():
        raise DataError("a row of a date is not at its midnight in UTC", where=where)
    for name, fits in (("name", _is_action), ("pay_date", _is_date)):
        for text in dict.fromkeys(complete[name].tolist()):
            if not fits(text):
                raise DataError(f"{name} {text!r} can't be that of an action", where=where)
    return {**complete, "is_date": is_date}


def _is_action(text: str) -> bool:
    return text in _ACTIONS


def _is_date(text: str) -> bool:
    try:
        return not text or date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _complete_fundamentals(columns: Mapping[str, npt.NDArray[Any]], where: str) -> RecordColumns:
    value = columns.get("value")
    if value is None or value.dtype != np.float64:
        return _plain(columns, where, ("value",), "name", "ts_period")  # which tells what is wrong
    told = {**columns, "value": np.nan_to_num(value, nan=0.0, posinf=np.inf, neginf=-np.inf)}
    return {**_plain(told, where, ("value",), "name", "ts_period"), "value": value}


def _complete_membership(columns: Mapping[str, npt.NDArray[Any]], where: str) -> RecordColumns:
    return _complete_states(columns, where, "neither 1 (in) nor 0 (out)")


def _complete_halts(columns: Mapping[str, npt.NDArray[Any]], where: str) -> RecordColumns:
    return _complete_states(columns, where, "neither 1 (halted) nor 0 (resumed)")


def _complete_states(
    columns: Mapping[str, npt.NDArray[Any]], where: str, otherwise: str
) -> RecordColumns:
    complete = _plain(columns, where, ("value",), "name")
    if not np.isin(complete["value"], (0.0, 1.0)).all():
        raise DataError(f"a value is {otherwise}", where=where)
    return complete


_TIMES = ("ts_event", "ts_known", "quality")
_SHAPES = {
    RecordKind.TRADES: RecordShape(
        (*_TIMES, "session_close", "aggressor"), ("price", "size"), (), complete_trades
    ),
    RecordKind.QUOTES: RecordShape(
        (*_TIMES, "session_close"), ("bid", "ask", "bid_size", "ask_size"), (), complete_quotes
    ),
    RecordKind.BOOK: RecordShape(
        (*_TIMES, "session_close", "is_bid", "update_id"), ("price", "size"), (), complete_deltas
    ),
    RecordKind.FUNDING: RecordShape(_TIMES, ("rate", "mark"), (), _complete_funding),
    RecordKind.FUNDAMENTALS: RecordShape(
        (*_TIMES, "ts_period"), ("value",), ("name",), _complete_fundamentals
    ),
    RecordKind.MEMBERSHIP: RecordShape(_TIMES, ("value",), ("name",), _complete_membership),
    RecordKind.CORPORATE_ACTIONS: RecordShape(
        (*_TIMES, "is_date"), ("value", "divisor", "cash", "price", "cost_ratio"), _TEXTS,
        _complete_actions,
    ),
    RecordKind.HALTS: RecordShape(_TIMES, ("value",), ("name",), _complete_halts),
}  # fmt: skip


def shape_of(kind: RecordKind) -> RecordShape:
    """The columns of a kind."""
    return _SHAPES[kind]


ALL_INTS, ALL_FLOATS, ALL_TEXTS = (
    tuple(dict.fromkeys(name for shape in _SHAPES.values() for name in getattr(shape, part)))
    for part in ("ints", "floats", "texts")
)
"""Columns of the one table that holds all kinds; a row has null where its kind has no column."""


def complete_records(
    kind: RecordKind, columns: Mapping[str, npt.NDArray[Any]], where: str
) -> RecordColumns:
    """The columns of a kind, checked, with those that were left out.

    Raises:
        DataError: A column is missing, unknown, or of another type or length, or a row can't be.
    """
    shape = shape_of(kind)
    for name in columns:
        if name not in shape.columns:
            raise DataError(f"{kind.value} have no column {name!r}", where=where,
                            remedy=nearest(name, shape.columns))  # fmt: skip
    rest = {name: column for name, column in columns.items() if name != "quality"}
    complete = shape.complete(rest, where)
    quality = columns.get("quality", np.zeros(len(complete["ts_event"]), dtype=np.int64))
    if quality.dtype != np.int64 or quality.shape != complete["ts_event"].shape:
        raise DataError("column 'quality' is not int64 of all rows", where=where)
    return {**{name: complete[name] for name in shape.columns if name != "quality"},
            "quality": quality}  # fmt: skip


def day_of(ts_event: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """UTC days since 1970 of moments in ns."""
    return ts_event // NS_PER_DAY
