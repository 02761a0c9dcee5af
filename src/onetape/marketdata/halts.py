"""Trading halts: rows of the catalog or a CSV file, put in time among the rows of a session.

| column       | is                                                                             |
| ------------ | ------------------------------------------------------------------------------ |
| `instrument` | id, `SYMBOL.VENUE`                                                             |
| `ts`         | from when on: ISO 8601, UTC unless it has an offset, or ms since 1970          |
| `status`     | `halted` or `resumed`                                                          |
| `reason`     | may be left out: the venue's reason or code                                    |
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import ContractStep, TradingStatus
from onetape.domain.nearest import nearest
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.side_files import pin_rows, read_table, read_time

HALTS = "halts"
"""`timeframe` of a pin of trading halts."""

_NEEDED = ("instrument", "ts", "status")
_MORE = ("reason",)
_STATUSES = {"halted": True, "resumed": False}


class HaltRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row. `where` is its place."""

    where: str
    instrument: InstrumentId
    ts: int
    is_halted: bool
    reason: str


def read_halts(path: Path, known: Collection[str]) -> list[HaltRow]:
    """The rows of a file, by time, and at one time in their order.

    Args:
        path: The file.
        known: Every instrument that there is; others are errors.

    Raises:
        DataError: There is no such file, its header is another one, or a row is wrong: two of one
            instrument and time, or a resumption of what was not halted; file and line are told.
    """
    return check_statuses(
        to_halt_row(fields, where)
        for where, fields in read_table(path, "trading halts", _NEEDED, _MORE, known)
    )


def to_halt_row(fields: Mapping[str, str], where: str) -> HaltRow:
    """The status that the text of a row tells; raises `DataError`."""
    if fields["status"] not in _STATUSES:
        raise DataError(f"status {fields['status']!r} is unknown", where=where,
                        remedy=nearest(fields["status"], _STATUSES))  # fmt: skip
    try:
        ts = read_time(fields["ts"])
    except DataError as error:
        raise DataError(error.what, where=where, remedy=error.remedy) from None
    return HaltRow(
        where=where, instrument=InstrumentId(fields["instrument"]), ts=ts,
        is_halted=_STATUSES[fields["status"]], reason=fields.get("reason", ""),
    )  # fmt: skip


def check_statuses(given: Iterable[HaltRow]) -> list[HaltRow]:
    """The rows by time; raises `DataError` for one that the one before it does not allow."""
    rows = sorted(given, key=lambda each: each.ts)
    newest: dict[InstrumentId, HaltRow] = {}
    for row in rows:
        before = newest.get(row.instrument)
        if before is not None and before.ts == row.ts:
            raise DataError(f"another status of that time stands at {before.where}",
                            where=row.where)  # fmt: skip
        if not row.is_halted and (before is None or not before.is_halted):
            raise DataError(f"{row.instrument} trades again and was not halted", where=row.where,
                            remedy="say since when it was halted, in a row of its own")  # fmt: skip
        newest[row.instrument] = row
    return rows


def place_halts(
    rows: Sequence[HaltRow], series: Sequence[tuple[Instrument, BarColumns]], ts_end: int
) -> list[ContractStep]:
    """The steps of a session in the order of the rows; `ts_known` is still their own time.

    Left out are rows of other instruments, and those at or after `ts_end` (ns UTC). Of those from
    before an instrument's first bar opens only the newest counts, and only if it is a halt.
    """
    placed: list[ContractStep] = []
    for instrument, columns in series:
        begin = int(columns["ts_open"][0])
        own = [row for row in rows if row.instrument == instrument.id and row.ts < ts_end]
        early = [row for row in own if row.ts < begin]
        standing = [row for row in early[-1:] if row.is_halted]
        placed += [
            TradingStatus(
                instrument=row.instrument, ts_event=row.ts, ts_known=row.ts,
                is_halted=row.is_halted, reason=row.reason, source="file",
            )
            for row in (*standing, *own[len(early) :])
        ]  # fmt: skip
    return placed


def pin_halts(steps: Sequence[ContractStep]) -> tuple[DatasetPin, ...]:
    """One pin for each instrument that has statuses; the hash is over time, status and reason."""
    return pin_rows(
        HALTS,
        (
            (each.instrument, each.ts_event, f"{each.ts_event} {each.is_halted} {each.reason}")
            for each in steps
            if isinstance(each, TradingStatus)
        ),
    )
