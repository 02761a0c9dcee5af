"""The versions of a dataset: what each changed, how two differ, which stood at a time.

Two axes of time. *As known now* is a version as it stands: corrected rows have their newest values.
*As known then* takes each bar as it was first stored: what a reader of that day had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns, check_columns
from onetape.marketdata.delta_table import open_table, read_metadata
from onetape.marketdata.record_kinds import RecordKind

if TYPE_CHECKING:
    import polars as pl

    from onetape.marketdata.catalog import Catalog

_RECORDS = {each.value: each for each in RecordKind}


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A version that changed a dataset: when it was taken in (ns UTC), from what, how many rows."""

    version: int
    ts_ingest: int
    source: str
    rows_written: int
    rows_removed: int


class RowDifference(msgspec.Struct, frozen=True, kw_only=True):
    """A row that is not the same in two versions.

    `ts` is the open of a bar or the `ts_event` of a record. `before` and `after` hold the columns
    that differ, or all of them where the other version has no such row (then it is None).
    """

    ts: int
    before: dict[str, int | float | str] | None
    after: dict[str, int | float | str] | None


def list_changes(catalog: Catalog, dataset: str, timeframe: str) -> list[Change]:
    """The versions that changed a dataset, oldest first.

    Args:
        catalog: Where it is.
        dataset: An instrument's id or a universe's name.
        timeframe: Length of its bars, or the kind of its records.

    Raises:
        DataError: No version is known to have changed it (the nearest dataset is named).
    """
    path = catalog.records.path if timeframe in _RECORDS else catalog.path / "bars"
    table = open_table(path)
    recorded = {} if table is None else read_metadata(table)
    name = f"{dataset} {timeframe}"
    found = [
        Change(
            version=version,
            ts_ingest=each["ts_ingest"],
            source=each["source"],
            rows_written=each["rows_written"],
            rows_removed=each["rows_removed"],
        )
        for version, each in sorted(recorded.items())
        if each.get("dataset") == name
    ]
    if not found:
        known = sorted(
            [f"{each.instrument} {each.timeframe}" for each in catalog.datasets()]
            + [f"{each.dataset} {each.kind}" for each in catalog.records.datasets()]
        )
        raise DataError(f"no version of {name} is recorded", where=str(catalog.path),
                        remedy=nearest(name, known))  # fmt: skip
    return found


def find_version_at(catalog: Catalog, dataset: str, timeframe: str, ts: int) -> Change:
    """The version that stood at a moment (ns UTC), by when the catalog took rows in.

    Raises:
        DataError: There is no such dataset, or it was not there yet.
    """
    changes = list_changes(catalog, dataset, timeframe)
    before = [each for each in changes if each.ts_ingest <= ts]
    if not before:
        raise DataError(
            f"{dataset} {timeframe} was not in the catalog at {to_iso(ts)}",
            where=str(catalog.path), remedy=f"it came at {to_iso(changes[0].ts_ingest)}",
        )  # fmt: skip
    return before[-1]


def find_records_version_at(catalog: Catalog, ts: int) -> int | None:
    """The version of the table of records that stood at a moment (ns UTC); None: there was none."""
    table = open_table(catalog.records.path)
    recorded = {} if table is None else read_metadata(table)
    before = [version for version, each in recorded.items() if each.get("ts_ingest", ts + 1) <= ts]
    return max(before, default=None)


def list_differences(
    catalog: Catalog, dataset: str, timeframe: str, before: int, after: int
) -> list[RowDifference]:
    """The rows that two versions of a dataset don't share, in time order.

    Bars are told apart by their open, records by `ts_event` and their number among equal ones.

    Raises:
        DataError: There is no such dataset or version.
    """
    import polars as pl

    old, new = (_read_frame(catalog, dataset, timeframe, each) for each in (before, after))
    keys = ["ts", "number"]
    both = old.join(new, on=keys, how="full", coalesce=True, suffix=" after", nulls_equal=True)
    values = [name for name in old.columns if name not in keys]
    there = both.select(*keys, pl.col("here"), pl.col("here after"))
    found: list[RowDifference] = []
    for row, (ts, _, is_old, is_new) in zip(
        both.select(*values, *(f"{each} after" for each in values)).iter_rows(named=True),
        there.iter_rows(),
        strict=True,
    ):
        names = [
            each
            for each in values
            if each != "here" and (is_old != is_new or _differ(row[each], row[f"{each} after"]))
        ]
        if is_old != is_new or names:
            was = {each: row[each] for each in names} if is_old else None
            becomes = {each: row[f"{each} after"] for each in names} if is_new else None
            found.append(RowDifference(ts=ts, before=was, after=becomes))
    return sorted(found, key=lambda each: each.ts)


def _differ(before: object, after: object) -> bool:
    """Whether two values are not the same; NaN is the same as NaN."""
    return before != after and (before == before or after == after)


def _read_frame(catalog: Catalog, dataset: str, timeframe: str, version: int) -> pl.DataFrame:
    """Rows with their `ts`, their `number` among those of it, and `here`."""
    import polars as pl

    if timeframe in _RECORDS:
        columns = catalog.records.read(_RECORDS[timeframe], dataset, version=version).columns
        time = "ts_event"
    else:
        columns = catalog.read_bars(dataset, timeframe, version=version)
        time = "ts_open"
    frame = pl.DataFrame(columns).rename({time: "ts"})
    return frame.with_columns(number=pl.int_range(pl.len()).over("ts"), here=pl.lit(value=True))


def read_as_known_then(
    catalog: Catalog, instrument: str, timeframe: str, version: int
) -> BarColumns:
    """Every bar as it was first stored, by the versions up to `version`, in time order.

    Bars that a later version removed are there too. It differs from the version itself exactly at
    the rows that were corrected or removed.

    Raises:
        DataError: There is no such dataset, prices are adjusted (each version has a footing of its
            own), or bars of different versions overlap.
    """
    where = f"{instrument} {timeframe}"
    known: BarColumns | None = None
    for change in list_changes(catalog, instrument, timeframe):
        if change.version > version:
            break
        (stored,) = catalog.read_many([instrument], timeframe, {instrument: change.version})
        if stored.adjustment != "none":
            raise DataError(
                f"prices of {where} are adjusted ({stored.adjustment}), so versions can't be mixed",
                where=str(catalog.path), remedy="read them as known now, or import raw prices",
            )  # fmt: skip
        new = stored.columns
        if known is None:
            known = new
            continue
        fresh = ~np.isin(new["ts_open"], known["ts_open"])
        joined = {each: np.concatenate([known[each], new[each][fresh]]) for each in BAR_COLUMNS}
        order = np.argsort(joined["ts_open"], kind="stable")
        known = {name: column[order] for name, column in joined.items()}
    if known is None:
        raise DataError(f"no version up to {version} of {where} is recorded",
                        where=str(catalog.path))  # fmt: skip
    check_columns(known, f"{where} as known then")
    return known
