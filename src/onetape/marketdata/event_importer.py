"""Corporate actions, funding and halts of many instruments from one file, checked row by row."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.marketdata.column_roles import assign_columns
from onetape.marketdata.corporate_actions import ActionRow, to_action_row
from onetape.marketdata.funding import to_funding_row
from onetape.marketdata.halts import HaltRow, check_statuses, to_halt_row
from onetape.marketdata.quality import RowFaults
from onetape.marketdata.record_kinds import RecordColumns, RecordKind
from onetape.marketdata.source_file import SourceTable
from onetape.marketdata.stored_events import EventRow, to_columns

if TYPE_CHECKING:
    import polars as pl

_INSTRUMENT = ("instrument", "id")
_TS = ("ts", "time", "timestamp")
_ALIASES: dict[RecordKind, dict[str, tuple[str, ...]]] = {
    RecordKind.CORPORATE_ACTIONS: {
        "instrument": _INSTRUMENT,
        "kind": ("kind", "type", "action"),
        "value": ("value", "amount", "ratio"),
        "ex_date": ("exdate", "date"),
        "ts": _TS,
        "divisor": ("divisor",),
        "pay_date": ("paydate", "payabledate", "paymentdate"),
        "new_instrument": ("newinstrument",),
        "cash": ("cash",),
        "price": ("price",),
        "cost_ratio": ("costratio",),
    },
    RecordKind.FUNDING: {
        "instrument": _INSTRUMENT,
        "ts": (*_TS, "fundingtime"),
        "rate": ("rate", "fundingrate"),
        "mark": ("mark", "markprice"),
    },
    RecordKind.HALTS: {
        "instrument": _INSTRUMENT,
        "ts": _TS,
        "status": ("status",),
        "reason": ("reason", "code"),
    },
}
_NEEDED = ("instrument", "kind", "value", "rate", "status")
_ID = re.compile(r"^[^.].*\.[^.]+$")


def import_events(
    table: SourceTable, kind: RecordKind, column_map: Mapping[str, str], ts_now: int
) -> dict[str, RecordColumns]:
    """The records of a file by instrument, as `Records.write` takes them.

    Args:
        table: The file.
        kind: `CORPORATE_ACTIONS`, `FUNDING` or `HALTS`.
        column_map: Column name to role; other columns are found by their usual names.
        ts_now: The caller's clock, ns UTC: later funding and halts are faults, actions are not.

    Raises:
        DataError: A column is missing, or rows are bad: all are listed with their lines.
    """
    aliases = _ALIASES[kind]
    needed = {*_NEEDED, *(() if kind is RecordKind.CORPORATE_ACTIONS else ("ts",))}
    roles = assign_columns(
        table.frame.columns, column_map, aliases, aliases.keys() - needed, table.path
    )
    if not roles.keys() & {"ts", "ex_date"}:
        raise DataError(
            "no column for 'ex_date' or 'ts' in the header", where=table.path,
            remedy=f'say which one, like --map "{table.frame.columns[-1]}=ex_date"',
        )  # fmt: skip
    texts = [_read_texts(table.frame[column]) for column in roles.values()]
    faults: dict[str, list[int]] = {}
    found: dict[str, list[EventRow]] = {}
    seen: set[Hashable] = set()
    for at, cells in enumerate(zip(*texts, strict=True)):
        try:
            if table.misshapen[at]:
                raise DataError("number of fields is not that of the header")
            row = _to_row(dict(zip(roles, cells, strict=True)), kind, ts_now)
            key = row if isinstance(row, ActionRow) else (row.instrument, row.ts)
            if key in seen:
                raise DataError("the same stands in an earlier row")
            seen.add(key)
        except DataError as error:
            faults.setdefault(error.what, []).append(at)
        else:
            where = f"{table.place} {table.lines[at]}"  # not part of what is repeated
            found.setdefault(row.instrument, []).append(msgspec.structs.replace(row, where=where))
    _refuse(table, faults)
    statuses = [row for rows in found.values() for row in rows if isinstance(row, HaltRow)]
    try:
        check_statuses(statuses)
    except DataError as error:
        raise DataError(f"{error.what} ({error.where})", where=table.path,
                        remedy=error.remedy) from None  # fmt: skip
    return {name: to_columns(found[name]) for name in sorted(found)}


def _read_texts(column: pl.Series) -> list[str]:
    import polars as pl

    return column.cast(pl.String).fill_null("").str.strip_chars().to_list()


def _to_row(fields: Mapping[str, str], kind: RecordKind, ts_now: int) -> EventRow:
    if not _ID.match(fields["instrument"]):
        raise DataError("instrument is not SYMBOL.VENUE")
    if kind is RecordKind.CORPORATE_ACTIONS:
        return to_action_row({**fields}, "", None)
    row = to_funding_row(fields, "") if kind is RecordKind.FUNDING else to_halt_row(fields, "")
    if row.ts > ts_now:
        raise DataError("is known in the future")
    return row


def _refuse(table: SourceTable, faults: Mapping[str, list[int]]) -> None:
    listed = RowFaults(table.lines, table.place, table.path, table.frame)
    for what, rows in faults.items():
        bad = np.zeros(len(table.lines), dtype=np.bool_)
        bad[rows] = True
        listed.add(what, bad)
    listed.refuse()
