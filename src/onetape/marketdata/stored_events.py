"""Corporate actions, funding and trading halts of the catalog, as the rows that files have.

The catalog keeps what the source said: an action's `ex_date` stays a date, since the time at which
it takes effect depends on the bars of a session. It is found when a session is loaded, by the same
code for rows of a file and of the catalog.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateActionKind
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.bars import BarColumns, FloatArray
from onetape.marketdata.corporate_actions import ActionRow
from onetape.marketdata.funding import FundingRow
from onetape.marketdata.halts import HaltRow, check_statuses
from onetape.marketdata.record_kinds import RecordColumns, RecordKind
from onetape.marketdata.side_files import pin_nothing
from onetape.marketdata.timezones import utc_to_local_days

if TYPE_CHECKING:
    from onetape.marketdata.catalog import Catalog

EventRow = ActionRow | FundingRow | HaltRow
EVENT_KINDS = (RecordKind.CORPORATE_ACTIONS, RecordKind.FUNDING, RecordKind.HALTS)


def to_columns(rows: Sequence[EventRow]) -> RecordColumns:
    """Rows of one kind and instrument as `Records.write` takes them, by time.

    Rows of one time keep their order. What happens is known when it does.
    """
    ordered = sorted(rows, key=_time_of)
    ts_event = np.array([_time_of(each) for each in ordered], dtype=np.int64)
    values = [_values_of(each) for each in ordered]
    columns: RecordColumns = {"ts_event": ts_event, "ts_known": ts_event}
    for name, first in values[0].items():
        dtype = {int: np.int64, float: np.float64, str: np.str_}[type(first)]
        columns[name] = np.array([each[name] for each in values], dtype=dtype)
    return columns


def _time_of(row: EventRow) -> int:
    if isinstance(row, ActionRow) and row.day is not None:
        return row.day * NS_PER_DAY
    return row.ts or 0


def _values_of(row: EventRow) -> dict[str, Any]:
    match row:
        case FundingRow():
            return {"rate": row.rate, "mark": row.mark or math.nan}
        case HaltRow():
            return {"value": float(row.is_halted), "name": row.reason}
        case ActionRow():
            return {
                "is_date": int(row.day is not None),
                "value": row.value,
                "divisor": row.divisor,
                "cash": row.cash,
                "price": math.nan if row.price is None else row.price,
                "cost_ratio": math.nan if row.cost_ratio is None else row.cost_ratio,
                "name": row.kind.value,
                "pay_date": "" if row.pay_day is None else _to_date(row.pay_day),
                "new_instrument": str(row.new_instrument),
            }


def _to_date(day: int) -> str:
    return str(np.datetime64(day, "D"))


def _to_day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))


class StoredEvents:
    """Records of one kind that a session reads of the catalog, at one version.

    Args:
        catalog: Where they are.
        kind: One of `EVENT_KINDS`.
        instruments: Whose; some of them may have none.
        version: Of the table of records; None: the newest.

    Raises:
        DataError: There is no such version, or none of `instruments` has such records.
    """

    def __init__(
        self,
        catalog: Catalog,
        kind: RecordKind,
        instruments: Sequence[InstrumentId],
        version: int | None,
    ) -> None:
        self._kind = kind
        self.version = catalog.records.newest() if version is None else version
        self._found = catalog.records.read_all(kind, instruments, self.version)
        if not self._found:
            of = ", ".join(instruments[:3]) + (" and others" if len(instruments) > 3 else "")
            raise DataError(
                f"the catalog has no {kind.value.replace('_', ' ')} of {of}",
                where=f"data.{kind.value}",
                remedy=f"import some first: onetape data import-records FILE --kind {kind.value}",
            )

    def actions(self, known: Collection[str]) -> list[ActionRow]:
        """Corporate actions; raises `DataError` for a new instrument that is not in `known`."""
        return [_to_action(name, where, row, known) for name, where, row in self._rows()]

    def funding(self) -> list[FundingRow]:
        """Funding rates."""
        return [
            FundingRow(
                where=where, instrument=name, ts=row["ts_event"], rate=row["rate"],
                mark=0.0 if math.isnan(row["mark"]) else row["mark"],
            )
            for name, where, row in self._rows()
        ]  # fmt: skip

    def halts(self) -> list[HaltRow]:
        """Trading statuses; raises `DataError` where one is not after what it follows."""
        return check_statuses(
            HaltRow(
                where=where, instrument=name, ts=row["ts_event"], is_halted=row["value"] == 1.0,
                reason=row["name"],
            )
            for name, where, row in self._rows()
        )  # fmt: skip

    def pin(self, timeframe: str, pins: tuple[DatasetPin, ...]) -> tuple[DatasetPin, ...]:
        """The pins of what a session meets, with the version that was read.

        Where it meets nothing one pin says so, lest a later import change that.
        """
        version = self.version or 0
        if pins:
            return tuple(msgspec.structs.replace(each, table_version=version) for each in pins)
        return (pin_nothing(InstrumentId(next(iter(self._found))), timeframe, version),)

    def _rows(self) -> list[tuple[InstrumentId, str, dict[str, Any]]]:
        """Instrument, place and columns of each record, by instrument and time."""
        return [
            (InstrumentId(name), f"{name} {self._kind.value} at {to_iso(row['ts_event'])}", row)
            for name, columns in self._found.items()
            for row in _split(columns)
        ]


def find_splits(
    catalog: Catalog, instrument: InstrumentId, zone: str, columns: BarColumns
) -> FloatArray:
    """New shares for an old one at each bar, by the newest splits and share dividends stored.

    Args:
        catalog: Where they are.
        instrument: Whose bars.
        zone: Of its local days.
        columns: `BAR_COLUMNS` of raw bars; an action counts at the first bar of its time or later.
    """
    ratios = np.ones(len(columns["ts_open"]))
    wanted = RecordKind.CORPORATE_ACTIONS
    stored = catalog.records.read_all(wanted, [instrument], None).get(instrument)
    if stored is None:
        return ratios
    days = utc_to_local_days(columns["ts_open"], zone)
    for row in _split(stored):
        kind = CorporateActionKind(row["name"])
        if not kind.scales:
            continue
        times, ts = columns["ts_open"], row["ts_event"]
        if row["is_date"]:
            times, ts = days, ts // NS_PER_DAY
        at = int(np.searchsorted(times, ts))
        new = row["value"] + (row["divisor"] if kind is CorporateActionKind.STOCK_DIVIDEND else 0)
        if at < len(ratios) and new > 0 and row["divisor"] > 0:
            ratios[at] *= new / row["divisor"]
    return ratios


def check_beside_stored(
    catalog: Catalog, kind: RecordKind, dataset: str, columns: RecordColumns
) -> None:
    """That halts and resumptions still take turns when these join those of other times.

    Raises:
        DataError: They don't.
    """
    stored = catalog.records.read_all(kind, [dataset], None).get(dataset)
    if kind is not RecordKind.HALTS or stored is None:
        return
    first, last = columns["ts_event"][0], columns["ts_event"][-1]
    others = (stored["ts_event"] < first) | (stored["ts_event"] > last)
    kept = {name: column[others] for name, column in stored.items()}
    check_statuses(
        HaltRow(
            where=f"{dataset}, {'the catalog' if rows is kept else 'the file'}",
            instrument=InstrumentId(dataset), ts=row["ts_event"], is_halted=row["value"] == 1.0,
            reason=row["name"],
        )
        for rows in (kept, columns)
        for row in _split(rows)
    )  # fmt: skip


def _split(columns: RecordColumns) -> list[dict[str, Any]]:
    return [
        dict(zip(columns, values, strict=True))
        for values in zip(*(each.tolist() for each in columns.values()), strict=True)
    ]


def _to_action(
    name: InstrumentId, where: str, row: dict[str, Any], known: Collection[str]
) -> ActionRow:
    new = row["new_instrument"]
    if new and new not in known:
        raise DataError(f"new_instrument {new!r} is unknown", where=where,
                        remedy=nearest(new, known))  # fmt: skip
    return ActionRow(
        where=where,
        instrument=name,
        kind=CorporateActionKind(row["name"]),
        day=row["ts_event"] // NS_PER_DAY if row["is_date"] else None,
        ts=None if row["is_date"] else row["ts_event"],
        value=row["value"],
        divisor=row["divisor"],
        pay_day=_to_day(row["pay_date"]) if row["pay_date"] else None,
        new_instrument=InstrumentId(new),
        cash=row["cash"],
        price=None if math.isnan(row["price"]) else row["price"],
        cost_ratio=None if math.isnan(row["cost_ratio"]) else row["cost_ratio"],
    )
