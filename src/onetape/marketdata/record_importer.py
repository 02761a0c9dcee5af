"""From a file to checked records of many datasets. Nothing is written here.

Memberships and figures:

| role         | of           | is                                                                |
| ------------ | ------------ | ----------------------------------------------------------------- |
| `universe`   | membership   | which universe                                                    |
| `instrument` | both         | id, `SYMBOL.VENUE`                                                |
| `ts`         | membership   | from when on; a day alone: from its beginning, UTC                |
| `ts_known`   | both         | when it could be known: of memberships `ts` unless told; of       |
|              |              | figures when they were published, a day alone when it is over     |
| `value`      | membership   | `in` or `out`, or 1 or 0                                          |
| `item`       | fundamentals | what the figure is: `eps`, `shares`                               |
| `period_end` | fundamentals | last day of the period that it is of                              |
| `value`      | fundamentals | the figure; empty: withdrawn                                      |

The columns of corporate actions, funding and halts are those of the files that sessions read; see
`corporate_actions.py`, `funding.py` and `halts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.bars import FloatArray, IntArray
from onetape.marketdata.column_roles import assign_columns
from onetape.marketdata.event_importer import import_events
from onetape.marketdata.importer import read_numbers
from onetape.marketdata.quality import RowFaults
from onetape.marketdata.record_kinds import RecordColumns, RecordKind
from onetape.marketdata.source_file import SourceTable, read_source
from onetape.marketdata.stored_events import EVENT_KINDS
from onetape.marketdata.time_column import TIME_FORMS, parse_times

if TYPE_CHECKING:
    import polars as pl

_ALIASES: dict[RecordKind, dict[str, tuple[str, ...]]] = {
    RecordKind.MEMBERSHIP: {
        "universe": ("universe", "index"),
        "instrument": ("instrument", "id"),
        "ts": ("ts", "date", "time", "timestamp", "effective"),
        "ts_known": ("tsknown", "announced"),
        "value": ("value", "member"),
    },
    RecordKind.FUNDAMENTALS: {
        "instrument": ("instrument", "id"),
        "item": ("item", "name", "field"),
        "period_end": ("periodend", "period"),
        "ts_known": ("tsknown", "published", "filed"),
        "value": ("value", "figure"),
    },
}
_DAY = r"^\s*[0-9]{4}-[0-9]{2}-[0-9]{2}\s*$"
_MEMBER = {"in": 1, "1": 1, "1.0": 1, "out": 0, "0": 0, "0.0": 0}

LISTED_KINDS = {kind.value: kind for kind in (*_ALIASES, *EVENT_KINDS)}
"""Kinds of which one file holds many datasets, by name."""


def import_records(
    path: Path, kind: RecordKind, column_map: Mapping[str, str] | None = None, *, ts_now: int
) -> dict[str, RecordColumns]:
    """Reads and checks a file: columns as `Records.write` takes them, by dataset, sorted.

    Args:
        path: A file that `read_source` takes.
        kind: One of `LISTED_KINDS`.
        column_map: Column name to role; other columns are found by their usual names.
        ts_now: The caller's clock, ns UTC: what is known later is a fault.

    Raises:
        DataError: The file can't be read, a column is missing, or rows are bad: all are listed with
            their lines.
    """
    table = read_source(path)
    if kind in EVENT_KINDS:
        return import_events(table, kind, column_map or {}, ts_now)
    is_member = kind is RecordKind.MEMBERSHIP
    optional = ("ts_known",) if is_member else ()
    roles = assign_columns(
        table.frame.columns, column_map or {}, _ALIASES[kind], optional, table.path
    )
    faults = RowFaults(table.lines, table.place, table.path, table.frame)
    faults.add("number of fields is not that of the header", table.misshapen)
    texts = {
        role: _read_text(table.frame[roles[role]])
        for role in ("universe", "instrument", "item")
        if role in roles
    }
    for role, text in texts.items():
        faults.add(f"{role} is empty", (text == "").to_numpy())
    malformed = ~texts["instrument"].str.contains(r"^[^.].*\.[^.]+$").to_numpy()
    faults.add("instrument is not SYMBOL.VENUE", malformed)
    if is_member:
        ts_event = _read_times(table, roles["ts"], faults)
        ts_known = ts_event
        if "ts_known" in roles:
            ts_known = np.maximum(_read_times(table, roles["ts_known"], faults), ts_event)
        value, period = _read_member(table.frame[roles["value"]], faults), ts_event
    else:
        period = _read_times(table, roles["period_end"], faults)
        ts_known = ts_event = _read_times(table, roles["ts_known"], faults, day_is_over=True)
        faults.add("is known before its period is over", ts_known < period)
        cells = table.frame[roles["value"]]
        value = read_numbers(cells, table.path)
        faults.add("value is not a number", np.isnan(value) & (_read_text(cells) != "").to_numpy())
        faults.add("value is infinite", np.isinf(value))
    faults.add("is known in the future", ts_known > ts_now)
    dataset, name = (
        (texts["universe"], texts["instrument"])
        if is_member
        else (texts["instrument"], texts["item"])
    )
    _find_repetitions(faults, dataset, name, period, ts_known)
    faults.refuse()
    found: dict[str, RecordColumns] = {}
    names = np.array(name.to_list(), dtype=np.str_)
    for each in sorted(set(dataset.to_list())):
        rows = np.flatnonzero((dataset == each).to_numpy())
        rows = rows[np.lexsort((ts_known[rows], ts_event[rows]))]
        columns: RecordColumns = {
            "ts_event": ts_event[rows], "ts_known": ts_known[rows], "name": names[rows],
            "value": value[rows],
        }  # fmt: skip
        found[each] = columns if is_member else {**columns, "ts_period": period[rows]}
    return found


def _read_text(column: pl.Series) -> pl.Series:
    import polars as pl

    return column.cast(pl.String).fill_null("").str.strip_chars()


def _read_times(
    table: SourceTable, name: str, faults: RowFaults, *, day_is_over: bool = False
) -> IntArray:
    """Days and times may stand in one column."""
    import polars as pl

    column = table.frame[name]
    parts = [column]
    is_day = np.zeros(len(column), dtype=np.bool_)
    if column.dtype == pl.String:
        days = column.str.contains(_DAY).fill_null(False)
        is_day = days.to_numpy()
        parts = [column.set(days, None), column.set(~days, None)]
    values = np.zeros(len(column), dtype=np.int64)
    unreadable = np.ones(len(column), dtype=np.bool_)
    for part, own in zip(parts, (~is_day, is_day), strict=False):
        written = parse_times(part, "UTC", table.path)
        ns = written.values
        if written.is_date:
            ns = (ns + int(day_is_over)) * NS_PER_DAY
        values, unreadable = (
            np.where(own, ns, values),
            np.where(own, written.unreadable, unreadable),
        )
    faults.add(f"{name} can't be read as a time", unreadable, remedy=TIME_FORMS)
    return values


def _read_member(column: pl.Series, faults: RowFaults) -> FloatArray:
    import polars as pl

    text = _read_text(column).str.to_lowercase()
    faults.add(f"{column.name} is neither in nor out", ~text.is_in(list(_MEMBER)).to_numpy())
    return text.replace_strict(_MEMBER, default=0, return_dtype=pl.Float64).to_numpy()


def _find_repetitions(
    faults: RowFaults, dataset: pl.Series, name: pl.Series, period: IntArray, ts_known: IntArray
) -> None:
    """Adds rows that say something of what an earlier row says something of."""
    import polars as pl

    good = np.flatnonzero(~faults.bad)
    keys = pl.DataFrame({"dataset": dataset, "name": name, "period": period, "ts_known": ts_known})[
        good
    ]
    again = np.zeros(len(period), dtype=np.bool_)
    again[good] = ~keys.to_struct().is_first_distinct().to_numpy()
    faults.add("the same stands in an earlier row", again)
