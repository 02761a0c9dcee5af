"""Which symbol stood for an instrument when: files of providers are by symbol, and symbols move on.

| column       | is                                                    |
| ------------ | ----------------------------------------------------- |
| `instrument` | id, `SYMBOL.VENUE`                                    |
| `symbol`     | what files and providers called it                    |
| `start`      | first local day with that symbol; empty: from ever on |
| `end`        | last local day with it; empty: for good               |

Or a map file of Lean, which is of one instrument and has no header: the day from which on, and then
the last day of each ticker, with its ticker.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.bars import BoolArray, IntArray

_COLUMNS = ("instrument", "symbol", "start", "end")
_LEAN_DAY = re.compile(r"^[0-9]{8}$")
_EVER = (-(2**31), 2**31)


class SymbolSpan(msgspec.Struct, frozen=True, kw_only=True):
    """A symbol from its first to its last local day (days since 1970-01-01), both included."""

    symbol: str
    first: int
    last: int

    def holds(self, days: IntArray) -> BoolArray:
        """Whether each day is one of its."""
        return (days >= self.first) & (days <= self.last)


def read_symbol_map(path: Path, instrument: str) -> tuple[SymbolSpan, ...]:
    """The symbols of an instrument in the order of time.

    Raises:
        DataError: There is no such file, a row is wrong (file and line are told), two symbols stand
            at one day, or the instrument is not in it.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = [row for row in csv.reader(file, strict=True) if any(map(str.strip, row))]
    except FileNotFoundError:
        raise DataError("there is no such file of symbols", where=str(path)) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"can't be read: {error}", where=str(path)) from None
    cells = [[cell.strip() for cell in row] for row in rows]
    if cells and _LEAN_DAY.match(cells[0][0]):
        spans = _read_lean(cells, str(path))
    else:
        spans = _read_own(cells, str(path), instrument)
    ordered = tuple(sorted(spans, key=lambda each: each.first))
    for before, after in pairwise(ordered):
        if after.first <= before.last:
            raise DataError(
                f"{before.symbol} and {after.symbol} stand for {instrument} on one day",
                where=str(path), remedy="end the one before the other starts",
            )  # fmt: skip
    return ordered


def _read_own(cells: list[list[str]], where: str, instrument: str) -> list[SymbolSpan]:
    header = cells[0] if cells else []
    if sorted(header) != sorted(_COLUMNS):
        raise DataError(f"its columns are {', '.join(header) or 'none'}", where=f"{where}:1",
                        remedy=f"columns: {', '.join(_COLUMNS)}")  # fmt: skip
    spans: list[SymbolSpan] = []
    for at, row in enumerate(cells[1:], 2):
        if len(row) != len(header):
            raise DataError("has not as many fields as the header", where=f"{where}:{at}")
        fields = dict(zip(header, row, strict=True))
        if fields["instrument"] == instrument:
            first, last = (
                _read_day(fields[key], f"{where}:{at}: {key}") if fields[key] else ever
                for key, ever in zip(("start", "end"), _EVER, strict=True)
            )
            spans.append(_make_span(fields["symbol"], first, last, f"{where}:{at}"))
    if not spans:
        known = sorted({row[header.index("instrument")] for row in cells[1:]})
        raise DataError(f"it has no symbol of {instrument}", where=where,
                        remedy=nearest(instrument, known))  # fmt: skip
    return spans


def _read_lean(cells: list[list[str]], where: str) -> list[SymbolSpan]:
    spans: list[SymbolSpan] = []
    first: int | None = None
    for at, row in enumerate(cells, 1):
        if len(row) < 2 or not _LEAN_DAY.match(row[0]):
            raise DataError("is no line of a map file", where=f"{where}:{at}",
                            remedy="a line is like 20140402,goog,Q")  # fmt: skip
        day = _read_day(f"{row[0][:4]}-{row[0][4:6]}-{row[0][6:]}", f"{where}:{at}")
        if first is not None:
            spans.append(_make_span(row[1].upper(), first, day, f"{where}:{at}"))
        first = day if first is None else day + 1
    return spans


def _read_day(text: str, where: str) -> int:
    ts = from_iso(text, where, error=DataError)
    if ts % NS_PER_DAY:
        raise DataError(f"{text} is no day", where=where, remedy="write it like 2014-04-02")
    return ts // NS_PER_DAY


def _make_span(symbol: str, first: int, last: int, where: str) -> SymbolSpan:
    if not symbol:
        raise DataError("has no symbol", where=where)
    if last < first:
        raise DataError(f"{symbol} ends before it starts", where=where)
    return SymbolSpan(symbol=symbol, first=first, last=last)


def find_rows(
    spans: Sequence[SymbolSpan], days: IntArray, symbols: Sequence[str] | str
) -> BoolArray:
    """Which rows are of the instrument: their symbol stood for it on their day.

    Args:
        spans: What `read_symbol_map` gives.
        days: Local day of each row.
        symbols: The symbol of each row, or of all; case is ignored.
    """
    found = np.zeros(len(days), dtype=np.bool_)
    if not isinstance(symbols, str):
        symbols = [each.upper() for each in symbols]
    for span in spans:
        wanted = span.symbol.upper()
        if isinstance(symbols, str):
            same = np.full(len(days), symbols.upper() == wanted)
        else:
            same = np.array([each == wanted for each in symbols], dtype=np.bool_)
        found |= span.holds(days) & same
    return found
