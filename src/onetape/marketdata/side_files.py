"""What a session reads beside bars: records of the catalog, or files."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import InstrumentId
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_MS, from_iso

IN_CATALOG = Path("catalog")
"""What stands for a file where its rows are records of the catalog."""

PINNED_KEYS = ("corporate_actions", "funding", "fundamentals", "halts")
"""Their keys in `data` and `data.versions`, and their kinds of records; as `SideFiles` has them."""

PINNED_FILES = ("actions", "funding", "fundamentals", "halts")
"""`timeframe` of their pins, in the same order."""


class SideFiles(NamedTuple):
    """Where they are: a file, or `IN_CATALOG`; None: it reads none of that kind.

    See `read_actions`, `read_funding`, `read_fundamentals` and `read_halts`.
    """

    actions: Path | None = None
    funding: Path | None = None
    fundamentals: Path | None = None
    halts: Path | None = None


NO_FILES = SideFiles()


def pinned_versions(pins: Iterable[DatasetPin], files: SideFiles) -> dict[str, int]:
    """By their `PINNED_KEYS` the versions that a session read records of the catalog at."""
    keys = {
        timeframe: key
        for timeframe, key, file in zip(PINNED_FILES, PINNED_KEYS, files, strict=True)
        if file == IN_CATALOG
    }
    return {keys[pin.timeframe]: pin.table_version for pin in pins if pin.timeframe in keys}


def pin_nothing(instrument: InstrumentId, timeframe: str, version: int) -> DatasetPin:
    """The pin of records of the catalog of which a session meets none: the next ones are later."""
    return DatasetPin(
        instrument=instrument, timeframe=timeframe, table_version=version,
        content_hash=hashlib.sha256().hexdigest(), rows=0, ts_first=0, ts_last=0,
    )  # fmt: skip


def read_table(
    path: Path, what: str, needed: Sequence[str], more: Sequence[str], known: Collection[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file: the place of each, and its fields without the spaces around them.

    Args:
        path: The file.
        what: What it holds, for people.
        needed: Columns that it must have; `instrument` is one of them.
        more: Columns that it may have.
        known: Every instrument that there is; others are errors.

    Raises:
        DataError: There is no such file, its header is another one, a row has not as many fields,
            or is of an unknown instrument; file and line are told.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            _check_header(path, reader.fieldnames or [], needed, more)
            for record in reader:
                where = f"{path}:{reader.line_num}"
                fields = _read_fields(record, where)
                if fields["instrument"] not in known:
                    raise DataError(
                        f"instrument {fields['instrument']!r} is unknown", where=where,
                        remedy=nearest(fields["instrument"], known),
                    )  # fmt: skip
                yield where, fields
    except FileNotFoundError:
        raise DataError(f"there is no such file of {what}", where=str(path)) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"can't be read: {error}", where=str(path)) from None


def _read_fields(record: Mapping[str | None, object], where: str) -> dict[str, str]:
    if None in record or None in record.values():
        raise DataError("has not as many fields as the header", where=where)
    return {str(name): str(value).strip() for name, value in record.items()}


def _check_header(
    path: Path, names: Sequence[str], needed: Sequence[str], more: Sequence[str]
) -> None:
    where = f"{path}:1"
    columns = (*needed, *more)
    for name in names:
        if name not in columns:
            raise DataError(f"column {name!r} is unknown", where=where,
                            remedy=nearest(name, columns))  # fmt: skip
        if names.count(name) > 1:
            raise DataError(f"column {name!r} comes twice", where=where)
    missing = [name for name in needed if name not in names]
    if missing:
        raise DataError(f"column {missing[0]!r} is missing", where=where,
                        remedy=f"columns: {', '.join(columns)}")  # fmt: skip


def read_time(text: str) -> int:
    """Time of a row, ns UTC: ISO 8601, or milliseconds since 1970; raises `DataError`."""
    if text.isdecimal():
        return int(text) * NS_PER_MS
    return from_iso(text, "ts", error=DataError)


def pin_rows(
    timeframe: str, rows: Iterable[tuple[InstrumentId, int, str]]
) -> tuple[DatasetPin, ...]:
    """One pin for each instrument that has rows of a file, by name.

    Args:
        timeframe: What the file holds.
        rows: Instrument, time (ns UTC) and all that counts of each, in order; the hash is over
            the latter, a line each.
    """
    by_instrument: dict[InstrumentId, list[tuple[int, str]]] = {}
    for name, ts, line in rows:
        by_instrument.setdefault(name, []).append((ts, f"{line}\n"))
    return tuple(
        DatasetPin(
            instrument=name,
            timeframe=timeframe,
            table_version=0,
            content_hash=hashlib.sha256("".join(line for _, line in own).encode()).hexdigest(),
            rows=len(own),
            ts_first=own[0][0],
            ts_last=own[-1][0],
        )
        for name, own in sorted(by_instrument.items())
    )
