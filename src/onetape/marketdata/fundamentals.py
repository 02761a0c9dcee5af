"""Fundamentals as they were known at each time: figures of companies, restated or not.

They are kept in the catalog, or in a file:

| column       | meaning                                                                           |
| ------------ | --------------------------------------------------------------------------------- |
| `instrument` | id                                                                                |
| `item`       | what it is, an identifier: `eps`, `revenue`                                       |
| `period_end` | last day of the period that the figure is of                                      |
| `ts_known`   | when it was published, ISO 8601; a day alone counts as known when it is over, UTC |
| `value`      | the figure; empty: withdrawn                                                      |

A later row of the same period is a restatement: it replaces the figure from its `ts_known` on and
never before. Each item gives bars two columns: `eps`, the figure of the newest period that was
known, and `eps_ttm`, the sum of the newest four, as they were known then (NaN where they are not
four quarters in a row).
"""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import (
    BAR_FLOAT_COLUMNS,
    BAR_INT_COLUMNS,
    TICK_FLOAT_COLUMNS,
    TICK_INT_COLUMNS,
)
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.side_files import pin_rows

if TYPE_CHECKING:
    from onetape.marketdata.catalog import Catalog

FUNDAMENTALS = "fundamentals"
"""What stands for the timeframe in the pin of an instrument's figures."""

_COLUMNS = ("instrument", "item", "period_end", "ts_known", "value")
_TAKEN = frozenset(BAR_INT_COLUMNS + BAR_FLOAT_COLUMNS + TICK_INT_COLUMNS + TICK_FLOAT_COLUMNS)
_QUARTERS = 4
_YEAR_DAYS_MAX = 300
"""Days from the end of the first to that of the last of four quarters in a row, at the most."""
_DAY_LENGTH = len("2024-01-31")

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Figure(msgspec.Struct, frozen=True):
    """One row. Times are ns UTC; `value` is NaN where it was withdrawn."""

    instrument: InstrumentId
    item: str
    period_end: int
    ts_known: int
    value: float


def read_fundamentals(path: Path, known: Collection[str]) -> list[Figure]:
    """The rows of a file by `ts_known`, at one time in the order of the file.

    Args:
        path: The file.
        known: Every instrument that there is; others are errors.

    Raises:
        DataError: There is no such file, its header is another one, or a row is wrong; file and
            line are told.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_header(path, reader.fieldnames or [])
            seen: dict[tuple[str, str, int, int], str] = {}
            figures: list[Figure] = []
            for record in reader:
                where = f"{path}:{reader.line_num}"
                figure = _read_row(record, where, known)
                key = (figure.instrument, figure.item, figure.period_end, figure.ts_known)
                if key in seen:
                    raise DataError("the same figure of the same time stands at " + seen[key],
                                    where=where)  # fmt: skip
                seen[key] = where
                figures.append(figure)
    except FileNotFoundError:
        raise DataError("there is no such file of fundamentals", where=str(path)) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"can't be read: {error}", where=str(path)) from None
    return sorted(figures, key=lambda each: each.ts_known)


def read_stored_figures(
    catalog: Catalog, instruments: Sequence[InstrumentId], version: int | None
) -> list[Figure]:
    """The figures of the catalog, by `ts_known`; of one time in the order of `instruments`.

    Args:
        catalog: Where they are.
        instruments: Whose; one may have none.
        version: Of the table of records; None: the newest.

    Raises:
        DataError: There is no such version, or a figure can't be a column.
    """
    kept = catalog.records.read_all(RecordKind.FUNDAMENTALS, instruments, version)
    figures: list[Figure] = []
    for name, rows in kept.items():
        for item in sorted(set(rows["name"].tolist())):
            _check_item(item, f"{name} fundamentals")
        keys = ("name", "ts_period", "ts_known", "value")
        figures += [
            Figure(InstrumentId(name), *row)
            for row in zip(*(rows[key].tolist() for key in keys), strict=True)
        ]
    return sorted(figures, key=lambda each: each.ts_known)


def _check_item(item: str, where: str) -> None:
    if not item.isidentifier() or {item, f"{item}_ttm"} & _TAKEN:
        raise DataError(f"item {item!r} can't be the name of a column", where=where,
                        remedy="give it an identifier that bars don't have")  # fmt: skip


def _check_header(path: Path, names: Sequence[str]) -> None:
    for name in names:
        if name not in _COLUMNS or names.count(name) > 1:
            what = "comes twice" if name in _COLUMNS else "is unknown"
            raise DataError(f"column {name!r} {what}", where=f"{path}:1",
                            remedy=nearest(name, _COLUMNS))  # fmt: skip
    missing = [name for name in _COLUMNS if name not in names]
    if missing:
        raise DataError(f"column {missing[0]!r} is missing", where=f"{path}:1",
                        remedy=f"columns: {', '.join(_COLUMNS)}")  # fmt: skip


def _read_row(record: Mapping[str, str | None], where: str, known: Collection[str]) -> Figure:
    cells = {name: (record.get(name) or "").strip() for name in _COLUMNS}
    if cells["instrument"] not in known:
        raise DataError(f"instrument {cells['instrument']!r} is not in the catalog", where=where,
                        remedy=nearest(cells["instrument"], known))  # fmt: skip
    item = cells["item"]
    _check_item(item, where)
    period_end = from_iso(cells["period_end"], f"{where}: period_end", error=DataError)
    ts_known = from_iso(cells["ts_known"], f"{where}: ts_known", error=DataError)
    if len(cells["ts_known"]) == _DAY_LENGTH:
        ts_known += NS_PER_DAY
    if ts_known < period_end:
        raise DataError("is known before its period is over", where=where,
                        remedy="ts_known is when it was published")  # fmt: skip
    try:
        value = float(cells["value"]) if cells["value"] else math.nan
    except ValueError:
        value = math.inf
    if math.isinf(value):
        raise DataError(f"value {cells['value']!r} is no finite number", where=where)
    return Figure(InstrumentId(cells["instrument"]), item, period_end, ts_known, value)


def join_fundamentals(
    figures: Sequence[Figure], instrument: str, ts_known: Ints
) -> dict[str, Floats]:
    """The columns of one instrument at rows that were known at `ts_known`; see the module.

    Args:
        figures: Of all instruments, by `ts_known`.
        instrument: Which; every item of the others gives it columns too, of NaN.
        ts_known: int64 of shape (rows,), rising.
    """
    columns: dict[str, Floats] = {}
    for item in dict.fromkeys(sorted(each.item for each in figures)):
        own = [each for each in figures if (each.instrument, each.item) == (instrument, item)]
        newest, ttm = _walk(own)
        at = np.searchsorted([each.ts_known for each in own], ts_known, side="right")
        columns[item] = np.array([math.nan, *newest])[at]
        columns[f"{item}_ttm"] = np.array([math.nan, *ttm])[at]
    return columns


def _walk(figures: Sequence[Figure]) -> tuple[list[float], list[float]]:
    """Figure of the newest period, and sum of the newest four, behind each row."""
    periods: dict[int, float] = {}
    newest: list[float] = []
    sums: list[float] = []
    for each in figures:
        periods[each.period_end] = each.value
        known = [end for end in sorted(periods) if not math.isnan(periods[end])]
        newest.append(periods[known[-1]] if known else math.nan)
        year = known[-_QUARTERS:]
        whole = len(year) == _QUARTERS and year[-1] - year[0] <= _YEAR_DAYS_MAX * NS_PER_DAY
        sums.append(math.fsum(periods[end] for end in year) if whole else math.nan)
    return newest, sums


def pin_fundamentals(
    figures: Sequence[Figure], instruments: Sequence[str], ts_end: int, version: int = 0
) -> tuple[DatasetPin, ...]:
    """One pin for each of `instruments` that has figures known before `ts_end` (ns UTC).

    `version` is that of the table they were read from; 0: they are of a file.
    """
    pins = pin_rows(
        FUNDAMENTALS,
        (
            (InstrumentId(e.instrument), e.ts_known,
             f"{e.item} {e.period_end} {e.ts_known} {e.value!r}")
            for e in figures
            if e.instrument in instruments and e.ts_known < ts_end
        ),
    )  # fmt: skip
    return tuple(msgspec.structs.replace(each, table_version=version) for each in pins)
