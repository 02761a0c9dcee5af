"""Ticks merged row by row, all at once: what the pieces of a timeline must come to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest

from onetape.domain.instrument import Instrument
from onetape.domain.market import TickKind
from onetape.marketdata import column_file, records, tick_pieces, timeline
from onetape.runtime.sessions import backtest, laid_features

Columns = dict[str, npt.NDArray[Any]]


class Series(NamedTuple):
    """An instrument with its records, and the prints between them."""

    instrument: Instrument
    main: Columns
    prints: Columns | None = None


@contextmanager
def pieces_of(rows: int, *, on_disk: bool = True) -> Iterator[None]:
    """Look at so many rows of ticks at once, and lay all columns aside on disk."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (records, tick_pieces, timeline, laid_features, backtest):
            patch.setattr(module, "BLOCK_ROWS", rows)
        patch.setattr(tick_pieces, "_ROWS_MIN", 1)
        patch.setattr(backtest, "RELEASE_ROWS", rows)
        patch.setattr(column_file, "MEMORY_VALUES", 0 if on_disk else 1 << 40)
        yield


def merge_whole(kind: str, series: Sequence[Series]) -> tuple[Columns, list[int]]:
    """The columns of the rows of all, in order, and the position of the instrument of each."""
    merged = [
        (row["ts_known"], at, number, row)
        for at, one in enumerate(series)
        for number, row in enumerate(_rows_of(kind, one))
    ]
    merged.sort(key=lambda each: each[:3])
    rows = [each[3] for each in merged]
    names = rows[0] if rows else ()
    return {name: np.array([row[name] for row in rows]) for name in names}, [
        each[1] for each in merged
    ]


def _records(columns: Columns | None) -> list[dict[str, Any]]:
    if columns is None:
        return []
    names = list(columns)
    lists = zip(*(columns[name].tolist() for name in names), strict=True)
    return [dict(zip(names, each, strict=True)) for each in lists]


def _rows_of(kind: str, one: Series) -> list[dict[str, Any]]:
    main, prints = _records(one.main), _records(one.prints)
    if kind == "trades":
        return [_as_bar({**row}, row["price"], row["size"]) for row in main]
    for at, row in enumerate(main):
        keys = ("ts_event", "ts_known", "update_id")
        follows = main[at + 1] if at + 1 < len(main) else {}
        row["is_whole"] = int(kind == "quotes" or any(follows.get(k) != row[k] for k in keys))
    told = [(row["ts_known"], 0, row) for row in prints]
    told += [(row["ts_known"], 1, row) for row in main]
    told.sort(key=lambda each: each[:2])
    return list(_stand(kind, [each[2] for each in told]))


def _stand(kind: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    sides: dict[int, dict[float, float]] = {1: {}, 0: {}}
    bid = ask = (0.0, 0.0)
    middle = single = None
    for row in rows:
        is_print = "aggressor" in row
        if not is_print and kind == "quotes":
            bid, ask = (row["bid"], row["bid_size"]), (row["ask"], row["ask_size"])
        elif not is_print:
            sides[row["is_bid"]].pop(row["price"], None)
            if row["size"]:
                sides[row["is_bid"]][row["price"]] = row["size"]
            if row["is_whole"]:
                bid = max(sides[1].items(), default=(0.0, 0.0))
                ask = min(sides[0].items(), default=(0.0, 0.0))
        if bid[1] > 0 and ask[1] > 0:
            middle = (bid[0] + ask[0]) / 2
        if bid[1] > 0 or ask[1] > 0:
            single = bid[0] if bid[1] > 0 else ask[0]
        elif is_print or (kind == "book" and row["size"] > 0):
            single = row["price"]
        what = (
            TickKind.PRINT if is_print else TickKind.QUOTE if kind == "quotes" else TickKind.DELTA
        )
        side = row["aggressor"] if is_print else 2 * row.get("is_bid", 0.5) - 1
        size = row.get("size", 0.0)
        yield _as_bar(
            {
                **{name: row[name] for name in ("ts_event", "ts_known", "session_close")},
                "what": what.value, "side": int(side), "update_id": row.get("update_id", 0),
                "is_whole": row.get("is_whole", 1), "price": row.get("price", 0.0), "size": size,
                "bid": bid[0], "bid_size": bid[1], "ask": ask[0], "ask_size": ask[1],
            },
            single if middle is None else middle,
            size if is_print else 0.0,
        )  # fmt: skip


def _as_bar(row: dict[str, Any], price: Any, volume: float) -> dict[str, Any]:
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    ts = row["ts_event"]
    return {**row, "ts_open": ts - 1, "ts_close": ts, **prices, "volume": volume}
