"""Quotes and changes of the depth as columns, and what stands behind each row of them.

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
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.standing_book import StandingBook

TickColumns = dict[str, npt.NDArray[Any]]
"""`TICK_COLUMNS` of quotes, prints and changes of the depth, shape (rows,)."""

TICK_COLUMNS = TICK_INT_COLUMNS + TICK_FLOAT_COLUMNS
QUOTE_COLUMNS = QUOTE_INT_COLUMNS + QUOTE_FLOAT_COLUMNS
DELTA_COLUMNS = DELTA_INT_COLUMNS + DELTA_FLOAT_COLUMNS

_ON_GRID = 1e-6
_FLOAT_NOISE = 1e-15
_QUOTE, _PRINT, _DELTA = TickKind.QUOTE.value, TickKind.PRINT.value, TickKind.DELTA.value


def complete_quotes(
    columns: Mapping[str, npt.NDArray[Any]], where: str, *, first_row: int = 0
) -> TickColumns:
    """Quotes of one instrument, checked, with the columns that were left out.

    Args:
        columns: `ts_event` (int64 ns UTC), `bid`, `ask` (currency), `bid_size` and `ask_size`
            (units, all float64); `ts_known` (int64, else `ts_event`) and `session_close` (int64,
            else the end of the UTC day). A side of size 0 is empty, whatever its price.
        where: Names the data in errors.
        first_row: Number of the first of them, as errors count.

    Raises:
        DataError: A column is missing, unknown, or of another type or length; quotes run backwards
            or are known before they happen; a price or size can't be; or a quote is crossed.
    """
    taken = _complete(
        columns, QUOTE_INT_COLUMNS, QUOTE_FLOAT_COLUMNS, (), "quote", where, first_row
    )
    bid, ask = taken["bid"], taken["ask"]
    both = (taken["bid_size"] > 0) & (taken["ask_size"] > 0)
    _refuse(taken, (("quote whose bid is above its ask", both & (bid > ask)),), where, first_row)
    for side in ("bid", "ask"):
        taken[side] = np.where(taken[f"{side}_size"] > 0, taken[side], 0.0)
    return taken


def complete_deltas(
    columns: Mapping[str, npt.NDArray[Any]], where: str, *, first_row: int = 0
) -> TickColumns:
    """Changes of the depth of one instrument, checked, with the columns that were left out.

    The first of them build the book from nothing: a snapshot is the changes that make it. Rows of
    one `ts_event`, `ts_known` and `update_id` are one update, and only its end is looked at.

    Args:
        columns: `ts_event` (int64 ns UTC), `is_bid` (int64, 1 or 0), `price` (currency) and `size`
            (units, both float64; the new size of the level, 0 removes it); `ts_known` (int64, else
            `ts_event`), `update_id` (int64, else 0) and `session_close` (int64, else the end of the
            UTC day).
        where: Names the data in errors.
        first_row: Number of the first of them, as errors count.

    Raises:
        DataError: A column is missing, unknown, or of another type or length; changes run backwards
            or are known before they happen; or a price or size can't be.
    """
    taken = _complete(
        columns, DELTA_INT_COLUMNS, DELTA_FLOAT_COLUMNS, ("update_id",), "change", where, first_row
    )
    unknown = ~np.isin(taken["is_bid"], (0, 1))
    _refuse(taken, (("change that is of no side", unknown),), where, first_row)
    return taken


def stand(instrument: Instrument, columns: TickColumns) -> TickColumns:
    """All rows of one instrument, `TICK_COLUMNS`, as `Standing.take` gives them.

    Raises:
        DataError: Like that.
    """
    return Standing(instrument).take(columns)


class Standing:
    """What stands behind the rows of one instrument, which come in pieces.

    The mark (`close`) is the middle of the best bid and ask of the newest whole row that has both,
    before the first such row the one side that there is or the newest price.

    Args:
        instrument: Whose price grid the depth must lie on.
    """

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._rows = 0
        self._ts_event = 0
        self._quote = dict.fromkeys(QUOTE_FLOAT_COLUMNS, 0.0)
        self._middle: float | None = None
        self._single: float | None = None
        self._book: StandingBook | None = None
        self._tops = (0.0, 0.0, 0.0, 0.0)

    def take(self, columns: TickColumns) -> TickColumns:
        """The next rows with the best bid and ask behind each, and the columns of a bar.

        Raises:
            DataError: The rows are known in another order than they happened, the first row has no
                price, or the depth is off the grid or crossed.
        """
        rows = len(columns["ts_event"])
        if not rows:
            return columns
        self._check_order(columns["ts_event"])
        if self._book is None and (columns["what"] == _DELTA).any():
            self._book = StandingBook(self._instrument)
        if self._book is not None:
            columns = {**columns, **self._stand_depth(self._book, columns)}
        else:
            newest = _newest(columns["what"] == _QUOTE)
            for name in QUOTE_FLOAT_COLUMNS:
                values = np.where(newest < 0, self._quote[name], columns[name][newest])
                self._quote[name] = float(values[-1])
                columns = {**columns, name: values}
        mark = self._mark(columns)
        self._rows += rows
        ts_event = columns["ts_event"]
        prices = dict.fromkeys(("open", "high", "low", "close"), mark)
        volume = np.where(columns["what"] == _PRINT, columns["size"], 0.0)
        return {
            **columns, "ts_open": ts_event - 1, "ts_close": ts_event, **prices, "volume": volume
        }  # fmt: skip

    def _check_order(self, ts_event: npt.NDArray[np.int64]) -> None:
        before = self._ts_event if self._rows else ts_event[0]
        late = np.flatnonzero(np.diff(ts_event, prepend=before) < 0)
        if len(late):
            raise DataError(
                f"a row of {to_iso(int(ts_event[late[0]]))} is known after a later one",
                where=self._instrument.id,
                remedy="give prints the same publication delay as the quotes or the depth",
            )
        self._ts_event = int(ts_event[-1])

    def _mark(self, columns: TickColumns) -> npt.NDArray[np.float64]:
        has_bid, has_ask = columns["bid_size"] > 0, columns["ask_size"] > 0
        middle = (columns["bid"] + columns["ask"]) / 2
        newest = _newest(has_bid & has_ask)
        known = 0.0 if self._middle is None else self._middle
        mark: npt.NDArray[np.float64] = np.where(newest < 0, known, middle[newest])
        if self._middle is None:
            self._mark_alone(columns, has_bid, has_ask, newest, mark)
        if newest[-1] >= 0:
            self._middle = float(mark[-1])
        return mark

    def _mark_alone(
        self,
        columns: TickColumns,
        has_bid: npt.NDArray[np.bool_],
        has_ask: npt.NDArray[np.bool_],
        newest: npt.NDArray[np.int64],
        mark: npt.NDArray[np.float64],
    ) -> None:
        """Fill the marks of rows before the first that has both sides."""
        what = columns["what"]
        is_priced = (what == _PRINT) | ((what == _DELTA) & (columns["size"] > 0))
        side = np.where(has_bid, columns["bid"], columns["ask"])
        single = np.where(has_bid | has_ask, side, columns["price"])
        first = _newest(is_priced | has_bid | has_ask)
        if self._single is None and first[0] < 0:
            fault = ("first row without a price", np.asarray(first < 0))
            _refuse(columns, (fault,), self._instrument.id, self._rows)
        known = 0.0 if self._single is None else self._single
        singles = np.where(first < 0, known, single[first])
        mark[newest < 0] = singles[newest < 0]
        self._single = float(singles[-1])

    def _stand_depth(self, book: StandingBook, columns: TickColumns) -> TickColumns:
        """Best bid and ask behind each row; within an update those from before it."""
        where, tops = self._instrument.id, self._tops
        _check_grid(columns, self._instrument.tick_float, where, self._rows)
        wanted = ("what", "side", "price", "size", "is_whole")
        table = zip(*(columns[name].tolist() for name in wanted), strict=True)
        behind: list[tuple[float, float, float, float]] = []
        for row, (what, side, price, size, is_whole) in enumerate(table):
            if what == _DELTA:
                book.change(price, size, is_bid=side > 0)
                if is_whole:
                    if book.is_crossed:
                        raise DataError(
                            f"the depth is crossed at {to_iso(int(columns['ts_event'][row]))}",
                            where=f"{where} row {self._rows + row}",
                            remedy="changes are missing: begin anew with a snapshot",
                        )
                    tops = book.tops()
            behind.append(tops)
        self._tops = tops
        filled = np.array(behind, dtype=np.float64).reshape(len(behind), 4)
        return {name: filled[:, at].copy() for at, name in enumerate(QUOTE_FLOAT_COLUMNS)}


def _complete(
    columns: Mapping[str, npt.NDArray[Any]],
    ints: Sequence[str],
    floats: Sequence[str],
    optional: Sequence[str],
    noun: str,
    where: str,
    first_row: int,
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
        first_row,
    )  # fmt: skip
    return complete


def _refuse(
    columns: TickColumns,
    faults: Sequence[tuple[str, npt.NDArray[np.bool_]]],
    where: str,
    first_row: int,
) -> None:
    ts_event = columns["ts_event"]
    for what, fault in faults:
        if fault.any():
            row = int(fault.argmax()) + len(ts_event) - len(fault)
            raise DataError(
                f"{what}, at {to_iso(int(ts_event[row]))}", where=f"{where} row {first_row + row}"
            )


def spread(columns: TickColumns) -> TickColumns:
    """One kind of rows as `TICK_COLUMNS`, zero where they have nothing to say."""
    rows = len(columns["ts_event"])
    what = _QUOTE if "bid" in columns else _DELTA if "is_bid" in columns else _PRINT
    whole: TickColumns = {
        name: columns.get(name, np.zeros(rows, dtype=np.int64)) for name in TICK_INT_COLUMNS
    }
    whole |= {name: columns.get(name, np.zeros(rows)) for name in TICK_FLOAT_COLUMNS}
    whole["what"] = np.full(rows, what, dtype=np.int64)
    whole["is_whole"] = np.ones(rows, dtype=np.int64)
    if what == _PRINT:
        whole["side"] = columns["aggressor"]
    elif what == _DELTA:
        whole["side"] = 2 * columns["is_bid"] - 1
        same = np.ones(max(rows - 1, 0), dtype=np.bool_)
        for name in ("ts_event", "ts_known", "update_id"):
            same &= columns[name][1:] == columns[name][:-1]
        whole["is_whole"][:-1] = ~same
    return whole


def _newest(is_one: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """For each row the newest row up to it that is one; -1 before the first."""
    return np.maximum.accumulate(np.where(is_one, np.arange(len(is_one)), -1))


def _check_grid(columns: TickColumns, step: float, where: str, first_row: int) -> None:
    exact = columns["price"] / step
    off = np.abs(exact - np.round(exact)) > _ON_GRID + _FLOAT_NOISE * exact
    off &= columns["what"] == _DELTA
    what = f"change whose price is no multiple of {step:g}"
    _refuse(columns, ((what, off),), where, first_row)
