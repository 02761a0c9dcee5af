"""Quotes and changes of the depth in memory as columns, with the prints between them.

Whoever reads a row finds the best bid and ask that stand behind it, so nobody has to go back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument
from onetape.domain.market import (
    DELTA_FLOAT_COLUMNS,
    DELTA_INT_COLUMNS,
    QUOTE_FLOAT_COLUMNS,
    QUOTE_INT_COLUMNS,
    TICK_FLOAT_COLUMNS,
    TICK_INT_COLUMNS,
    TickKind,
)
from onetape.domain.nearest import nearest
from onetape.domain.numbers import compute_ticks
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.order_book import OrderBook
from onetape.marketdata.trades import complete_trades

TickColumns = dict[str, npt.NDArray[Any]]
"""`TICK_COLUMNS` of quotes, prints and changes of the depth, shape (rows,)."""

TICK_COLUMNS = TICK_INT_COLUMNS + TICK_FLOAT_COLUMNS
QUOTE_COLUMNS = QUOTE_INT_COLUMNS + QUOTE_FLOAT_COLUMNS
DELTA_COLUMNS = DELTA_INT_COLUMNS + DELTA_FLOAT_COLUMNS

_ON_GRID = 1e-6
_FLOAT_NOISE = 1e-15
_QUOTE, _PRINT, _DELTA = TickKind.QUOTE.value, TickKind.PRINT.value, TickKind.DELTA.value


def complete_quotes(columns: Mapping[str, npt.NDArray[Any]], where: str) -> TickColumns:
    """Quotes of one instrument, checked, with the columns that were left out.

    Args:
        columns: `ts_event` (int64 ns UTC), `bid`, `ask` (currency), `bid_size` and `ask_size`
            (units, all float64); `ts_known` (int64, else `ts_event`) and `session_close` (int64,
            else the end of the UTC day). A side of size 0 is empty, whatever its price.
        where: Names the data in errors.

    Raises:
        DataError: A column is missing, unknown, or of another type or length; quotes run backwards
            or are known before they happen; a price or size can't be; or a quote is crossed.
    """
    taken = _complete(columns, QUOTE_INT_COLUMNS, QUOTE_FLOAT_COLUMNS, (), "quote", where)
    bid, ask = taken["bid"], taken["ask"]
    both = (taken["bid_size"] > 0) & (taken["ask_size"] > 0)
    _refuse(taken, (("quote whose bid is above its ask", both & (bid > ask)),), where)
    for side in ("bid", "ask"):
        taken[side] = np.where(taken[f"{side}_size"] > 0, taken[side], 0.0)
    return taken


def complete_deltas(columns: Mapping[str, npt.NDArray[Any]], where: str) -> TickColumns:
    """Changes of the depth of one instrument, checked, with the columns that were left out.

    The first of them build the book from nothing: a snapshot is the changes that make it. Rows of
    one `ts_event`, `ts_known` and `update_id` are one update, and only its end is looked at.

    Args:
        columns: `ts_event` (int64 ns UTC), `is_bid` (int64, 1 or 0), `price` (currency) and `size`
            (units, both float64; the new size of the level, 0 removes it); `ts_known` (int64, else
            `ts_event`), `update_id` (int64, else 0) and `session_close` (int64, else the end of the
            UTC day).
        where: Names the data in errors.

    Raises:
        DataError: A column is missing, unknown, or of another type or length; changes run backwards
            or are known before they happen; or a price or size can't be.
    """
    taken = _complete(
        columns, DELTA_INT_COLUMNS, DELTA_FLOAT_COLUMNS, ("update_id",), "change", where
    )
    unknown = ~np.isin(taken["is_bid"], (0, 1))
    _refuse(taken, (("change that is of no side", unknown),), where)
    return taken


def complete_ticks(
    instrument: Instrument,
    base: TickColumns,
    prints: Mapping[str, npt.NDArray[Any]] | None = None,
) -> TickColumns:
    """Rows of one instrument in the order in which they were known, as a timeline holds them.

    At one `ts_known` prints come before quotes and changes: what was traded is told before what is
    left. The mark (`close`) is the middle of the best bid and ask of the newest whole row that has
    both, before the first such row the one side that there is or the newest price.

    Args:
        instrument: Whose price grid the depth must lie on.
        base: What `complete_quotes` or `complete_deltas` gives.
        prints: What `complete_trades` takes.

    Raises:
        DataError: Prints and the rest are known in another order than they happened, the first row
            has no price, or the depth is off the grid or crossed.
    """
    where = instrument.id
    parts = [_spread(base)]
    if prints is not None:
        parts.insert(0, _spread(complete_trades(prints, where)))
    columns = {name: np.concatenate([part[name] for part in parts]) for name in TICK_COLUMNS}
    order = np.argsort(columns["ts_known"], kind="stable")
    columns = {name: column[order] for name, column in columns.items()}
    ts_event = columns["ts_event"]
    late = np.flatnonzero(ts_event[1:] < ts_event[:-1])
    if len(late):
        raise DataError(
            f"a row of {to_iso(int(ts_event[late[0] + 1]))} is known after a later one",
            where=where,
            remedy="give prints the same publication delay as the quotes or the depth",
        )
    return stand(instrument, columns)


def stand(instrument: Instrument, columns: TickColumns) -> TickColumns:
    """The rows of one instrument with the best bid and ask behind each, and the columns of a bar.

    Raises:
        DataError: Like `complete_ticks`.
    """
    if (columns["what"] == _DELTA).any():
        columns = {**columns, **_stand_depth(instrument, columns)}
    else:
        newest = _newest(columns["what"] == _QUOTE)
        for name in QUOTE_FLOAT_COLUMNS:
            columns = {**columns, name: np.where(newest < 0, 0.0, columns[name][newest])}
    mark = _mark(columns, instrument.id)
    ts_event = columns["ts_event"]
    prices = dict.fromkeys(("open", "high", "low", "close"), mark)
    volume = np.where(columns["what"] == _PRINT, columns["size"], 0.0)
    return {**columns, "ts_open": ts_event - 1, "ts_close": ts_event, **prices, "volume": volume}


def _complete(
    columns: Mapping[str, npt.NDArray[Any]],
    ints: Sequence[str],
    floats: Sequence[str],
    optional: Sequence[str],
    noun: str,
    where: str,
) -> TickColumns:
    known = (*ints, *floats)
    for name in columns:
        if name not in known:
            raise DataError(
                f"{noun}s have no column {name!r}", where=where, remedy=nearest(name, known)
            )
    rows = len(columns.get("ts_event", ()))
    for name in known:
        if name not in columns and name in ("ts_known", "session_close", *optional):
            continue
        dtype = np.dtype(np.int64 if name in ints else np.float64)
        column = columns.get(name)
        if column is None or column.dtype != dtype or column.shape != (rows,):
            raise DataError(f"column {name!r} is not {dtype} of {rows} rows", where=where)
    ts_event = columns["ts_event"]
    complete = {"ts_known": ts_event, **columns}
    if "session_close" not in complete:
        complete["session_close"] = ((ts_event - 1) // NS_PER_DAY + 1) * NS_PER_DAY
    for name in optional:
        complete.setdefault(name, np.zeros(rows, dtype=np.int64))
    ts_known = complete["ts_known"]
    _refuse(
        complete,
        (
            (f"{noun} before the one before it", ts_event[1:] < ts_event[:-1]),
            (f"{noun} known before it happened", ts_known < ts_event),
            (f"{noun} known before the one before it", ts_known[1:] < ts_known[:-1]),
            (f"{noun} whose session ends before it", complete["session_close"] < ts_event),
            *(
                (f"{noun} whose {name} is negative or not finite",
                 ~((complete[name] >= 0) & (complete[name] < np.inf)))
                for name in floats
            ),
        ),
        where,
    )  # fmt: skip
    return complete


def _refuse(
    columns: TickColumns, faults: Sequence[tuple[str, npt.NDArray[np.bool_]]], where: str
) -> None:
    ts_event = columns["ts_event"]
    for what, fault in faults:
        if fault.any():
            row = int(fault.argmax()) + len(ts_event) - len(fault)
            raise DataError(f"{what}, at {to_iso(int(ts_event[row]))}", where=f"{where} row {row}")


def _spread(columns: TickColumns) -> TickColumns:
    """One kind of rows as `TICK_COLUMNS`, zero where they have nothing to say."""
    rows = len(columns["ts_event"])
    what = _QUOTE if "bid" in columns else _DELTA if "is_bid" in columns else _PRINT
    spread: TickColumns = {
        name: columns.get(name, np.zeros(rows, dtype=np.int64)) for name in TICK_INT_COLUMNS
    }
    spread |= {name: columns.get(name, np.zeros(rows)) for name in TICK_FLOAT_COLUMNS}
    spread["what"] = np.full(rows, what, dtype=np.int64)
    spread["is_whole"] = np.ones(rows, dtype=np.int64)
    if what == _PRINT:
        spread["side"] = columns["aggressor"]
    elif what == _DELTA:
        spread["side"] = 2 * columns["is_bid"] - 1
        same = np.ones(max(rows - 1, 0), dtype=np.bool_)
        for name in ("ts_event", "ts_known", "update_id"):
            same &= columns[name][1:] == columns[name][:-1]
        spread["is_whole"][:-1] = ~same
    return spread


def _newest(is_one: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """For each row the newest row up to it that is one; -1 before the first."""
    return np.maximum.accumulate(np.where(is_one, np.arange(len(is_one)), -1))


def _mark(columns: TickColumns, where: str) -> npt.NDArray[np.float64]:
    has_bid, has_ask = columns["bid_size"] > 0, columns["ask_size"] > 0
    middle = (columns["bid"] + columns["ask"]) / 2
    newest = _newest(has_bid & has_ask)
    mark: npt.NDArray[np.float64] = np.where(newest < 0, 0.0, middle[newest])
    is_priced = (columns["what"] == _PRINT) | ((columns["what"] == _DELTA) & (columns["size"] > 0))
    side = np.where(has_bid, columns["bid"], columns["ask"])
    single = np.where(has_bid | has_ask, side, columns["price"])
    first = _newest(is_priced | has_bid | has_ask)
    mark = np.where((newest < 0) & (first >= 0), single[first], mark)
    if len(first) and first[0] < 0:
        _refuse(columns, (("first row without a price", np.asarray(first < 0)),), where)
    return mark


def _stand_depth(instrument: Instrument, columns: TickColumns) -> TickColumns:
    """Best bid and ask behind each row; within an update those from before it.

    A level of less than a lot is none: nobody can take it.
    """
    rows = len(columns["what"])
    stood: TickColumns = {name: np.zeros(rows) for name in QUOTE_FLOAT_COLUMNS}
    book = OrderBook()
    fed: dict[int, float] = {}
    tick, lot = instrument.tick_float, instrument.lot_float
    _check_grid(columns, tick, instrument.id)
    best = [0.0, 0.0, 0.0, 0.0]
    wanted = ("what", "side", "price", "size", "is_whole")
    table = zip(*(columns[name].tolist() for name in wanted), strict=True)
    tops: list[list[float]] = []
    for row, (what, side, price, size, is_whole) in enumerate(table):
        if what == _DELTA:
            ticks = round(price / tick)
            fed[ticks] = price
            book.set_level(is_bid=side > 0, ticks=ticks, lots=compute_ticks(size, lot, -1))
            if is_whole:
                if book.is_crossed:
                    raise DataError(
                        f"the depth is crossed at {to_iso(int(columns['ts_event'][row]))}",
                        where=f"{instrument.id} row {row}",
                        remedy="changes are missing: begin anew with a snapshot",
                    )
                best = []
                for side_is_bid in (True, False):
                    top, lots = book.best(is_bid=side_is_bid) or (0, 0)
                    best += [fed[top] if lots else 0.0, lots * lot]
        tops.append(best)
    filled = np.array(tops, dtype=np.float64).reshape(rows, 4)
    for at, name in enumerate(("bid", "bid_size", "ask", "ask_size")):
        stood[name] = filled[:, at].copy()
    return stood


def _check_grid(columns: TickColumns, step: float, where: str) -> None:
    exact = columns["price"] / step
    off = np.abs(exact - np.round(exact)) > _ON_GRID + _FLOAT_NOISE * exact
    off &= columns["what"] == _DELTA
    _refuse(columns, ((f"change whose price is no multiple of {step:g}", off),), where)
