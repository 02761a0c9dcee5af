"""What bars are made of: trade prints or shorter bars, in one shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BarColumns, FloatArray, IntArray, check_columns
from onetape.marketdata.trades import complete_trades

PRICES = ("open", "high", "low", "close")


class Pieces(msgspec.Struct, frozen=True, eq=False):
    """Rows in the order in which they became known; `columns` are int64 and float64 of one length.

    `ts_from` and `ts_to` (exclusive) is the time that a piece covers, `ts_known` when it was known;
    `session_close`, `quality`; `open`, `high`, `low`, `close`, `volume`; `turnover`, price x
    volume. `are_bars`: they follow each other in time, so one that ends where its longer bar ends
    is the last of it. Of prints another one may always come.
    """

    columns: dict[str, npt.NDArray[Any]]
    are_bars: bool

    def __len__(self) -> int:
        return len(self.columns["ts_from"])

    def ints(self, name: str) -> IntArray:
        """A column of whole numbers."""
        return self.columns[name]

    def floats(self, name: str) -> FloatArray:
        """A column of floats."""
        return self.columns[name]

    def take(self, rows: npt.NDArray[Any]) -> Pieces:
        """Those rows, chosen by number or by mask."""
        return Pieces({name: each[rows] for name, each in self.columns.items()}, self.are_bars)


def bars_as_pieces(columns: BarColumns, where: str) -> Pieces:
    """Shorter bars as pieces.

    Raises:
        DataError: The columns are no bars in time order.
    """
    check_columns(columns, where)
    return Pieces(
        {
            "ts_from": columns["ts_open"],
            "ts_to": columns["ts_close"],
            **{name: columns[name] for name in ("ts_known", "session_close", "quality")},
            **{name: columns[name] for name in (*PRICES, "volume")},
            "turnover": columns["close"] * columns["volume"],
        },
        are_bars=True,
    )


def trades_as_pieces(columns: Mapping[str, npt.NDArray[Any]], where: str) -> Pieces:
    """Trade prints as pieces, in the order in which they became known.

    Args:
        columns: As `complete_trades` takes them, but not necessarily in the order of `ts_event`;
            `quality` (int64) may be among them.
        where: Names the data in errors.

    Raises:
        DataError: A column is wrong, or a print was known before the row above it.
    """
    rest = {name: each for name, each in columns.items() if name != "quality"}
    trades = complete_trades(rest, where, in_order=False)
    known = trades["ts_known"]
    early = known[1:] < known[:-1]
    if early.any():
        row = int(early.argmax()) + 1
        raise DataError(
            f"print known before the one above it, at {to_iso(int(known[row]))}",
            where=f"{where} row {row}", remedy="give rows in the order of ts_known",
        )  # fmt: skip
    price, ts_event = trades["price"], trades["ts_event"]
    return Pieces(
        {
            "ts_from": ts_event,
            "ts_to": ts_event + 1,
            "ts_known": known,
            "session_close": np.maximum(trades["session_close"], ts_event + 1),
            "quality": columns.get("quality", np.zeros(len(price), dtype=np.int64)),
            **dict.fromkeys(PRICES, price),
            "volume": trades["size"],
            "turnover": price * trades["size"],
        },
        are_bars=False,
    )
