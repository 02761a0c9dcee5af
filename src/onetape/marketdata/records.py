"""Records of the catalog: all that is no bar; see `RecordKind`.

One Delta table, `records`, partitioned by `kind`, `dataset` and `day` (UTC; -1 for kinds with few
rows), so one version number stands for all kinds. Every row has `source`, `ts_event`, `ts_known`,
`ts_ingest`, `quality` and the `version` that wrote it. A correction is a new version in which other
rows stand; files never change, and older versions stay readable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import to_iso
from onetape.marketdata.column_file import BLOCK_ROWS
from onetape.marketdata.delta_table import (
    commit,
    list_files,
    open_table,
    quote_text,
    read_files,
    read_metadata,
    retry_when_raced,
)
from onetape.marketdata.record_kinds import (
    ALL_FLOATS,
    ALL_INTS,
    ALL_TEXTS,
    RecordColumns,
    RecordKind,
    complete_records,
    day_of,
    shape_of,
)

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable

ALWAYS = (-(2**63), 2**63 - 1)


class RecordDataset(msgspec.Struct, frozen=True, kw_only=True):
    """All records of one kind and dataset; times are the first and last `ts_event`, ns UTC."""

    kind: str
    dataset: str
    rows: int
    ts_first: int
    ts_last: int
    version: int
    source: str


class RecordOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a write did."""

    version: int
    rows_written: int
    rows_removed: int


class StoredRecords(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Records in the order in which they were written, with the version that changed them last."""

    version: int
    columns: RecordColumns


class RecordStream(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Records by day, in order, with the version that changed them last.

    `rows_max` is how many there are at most; `read_days` reads them from the first one on.
    """

    version: int
    rows_max: int
    read_days: Callable[[], Iterator[RecordColumns]]

    def __iter__(self) -> Iterator[RecordColumns]:
        return self.read_days()


class Records:
    """The table of records under a catalog's folder. Making one touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path / "records"

    def datasets(self, version: int | None = None) -> tuple[RecordDataset, ...]:
        """What there is, ordered by kind and dataset."""
        import polars as pl

        table = open_table(self.path, version)
        if table is None:
            return ()
        facts = self._list(table).group_by("kind", "dataset").agg(
            pl.col("rows").sum(), pl.col("ts_first").min(), pl.col("ts_last").max(),
            pl.col("version").max(),
        )  # fmt: skip
        recorded = read_metadata(table)
        return tuple(
            RecordDataset(**row, source=recorded.get(row["version"], {}).get("source", ""))
            for row in facts.sort("kind", "dataset").rows(named=True)
        )

    def newest(self) -> int | None:
        """The newest version; None where there is no table."""
        table = open_table(self.path)
        return None if table is None else table.version()

    def read(
        self,
        kind: RecordKind,
        dataset: str,
        *,
        version: int | None = None,
        ts_start: int = ALWAYS[0],
        ts_end: int = ALWAYS[1],
    ) -> StoredRecords:
        """The records from `ts_start` up to but not including `ts_end`, at a version (newest).

        Raises:
            DataError: There is no such dataset (the nearest is named) or version.
        """
        table = open_table(self.path, version)
        files = None if table is None else self._list(table)
        return self._read(files, kind, dataset, ts_start, ts_end)

    def read_all(
        self, kind: RecordKind, datasets: Iterable[str], version: int | None
    ) -> dict[str, RecordColumns]:
        """All records of those of `datasets` that there are, at one version (None: the newest).

        Raises:
            DataError: There is no such version.
        """
        table = open_table(self.path, version)
        if table is None:
            return {}
        files = self._list(table)
        there = set(files.filter(kind=kind.value)["dataset"])
        return {
            each: self._read(files, kind, each, *ALWAYS).columns
            for each in datasets
            if each in there
        }

    def stream(
        self,
        kind: RecordKind,
        dataset: str,
        *,
        version: int | None = None,
        ts_start: int = ALWAYS[0],
        ts_end: int = ALWAYS[1],
    ) -> RecordStream:
        """`read`, a day of trades, quotes or book deltas at a time: memory is that of one day.

        Raises:
            DataError: As `read`.
        """
        import polars as pl

        table = open_table(self.path, version)
        files = None if table is None else self._list(table)
        here = self._select(files, kind, dataset)
        chosen = here.filter((pl.col("ts_last") >= ts_start) & (pl.col("ts_first") < ts_end))

        def read_days() -> Iterator[RecordColumns]:
            for day in chosen["day"].unique().sort().to_list():
                columns = self._read(
                    chosen.filter(pl.col("day") == day), kind, dataset, ts_start, ts_end
                ).columns
                if len(columns["ts_event"]):
                    yield columns

        return RecordStream(
            version=int(here["version"].to_numpy().max()),
            rows_max=int(chosen["rows"].sum()),
            read_days=read_days,
        )

    def write(
        self,
        kind: RecordKind,
        dataset: str,
        columns: Mapping[str, npt.NDArray[Any]],
        *,
        source: str,
        ts_ingest: int,
        replace: bool = False,
        whole: bool = False,
    ) -> RecordOutcome:
        """Adds records in one commit: afterwards all of them are there, or none.

        Of the time from the first to the last stored record that lies within the new ones, both
        must be the same, row by row; what is before and after is added. With `replace` the new
        ones take the place of all stored ones of their time. A write that was raced by another one
        is done again on what that one left.

        Args:
            kind: What they are.
            dataset: Whose: an instrument's id, or a universe's name.
            columns: As `complete_records` takes them, in the order of `ts_event`.
            source: Provenance.
            ts_ingest: When the caller took them in, ns UTC.
            replace: Whether other records of the same time are replaced.
            whole: Whether these are all records of the dataset: others are removed.

        Raises:
            DataError: The columns are no such records, or differ from stored ones.
            TryAgain: Others wrote at the same time, again and again.
        """
        where = f"{dataset} {kind.value}"
        new = complete_records(kind, columns, where)
        if not len(new["ts_event"]):
            raise DataError("there are no records to write", where=where)
        return retry_when_raced(
            lambda: self._write(
                kind, dataset, new, source, ts_ingest, where, replace=replace, whole=whole
            )
        )

    def _write(
        self,
        kind: RecordKind,
        dataset: str,
        new: RecordColumns,
        source: str,
        ts_ingest: int,
        where: str,
        *,
        replace: bool,
        whole: bool,
    ) -> RecordOutcome:
        table = open_table(self.path)
        version = 0 if table is None else table.version() + 1
        first, last = int(new["ts_event"][0]), int(new["ts_event"][-1])
        if whole:
            first, last = ALWAYS[0], ALWAYS[1] - 1
        stored = self._find(table, kind, dataset, first, last)
        take = np.ones(len(new["ts_event"]), dtype=np.bool_)
        removed = 0
        if stored is not None:
            at = stored.columns["ts_event"]
            shared = (new["ts_event"] >= at[0]) & (new["ts_event"] <= at[-1])
            shared |= whole
            if _is_same({name: column[shared] for name, column in new.items()}, stored.columns):
                take = ~shared
                if not take.any():
                    return RecordOutcome(version=stored.version, rows_written=0, rows_removed=0)
            elif not (replace or whole):
                raise DataError(
                    f"the records from {to_iso(max(first, int(at[0])))} to "
                    f"{to_iso(min(last, int(at[-1])))} differ from those in the catalog, nothing "
                    "was written", where=where, remedy="replace, to take the new ones",
                )  # fmt: skip
            else:
                removed = len(at)
        commit(
            self.path,
            table,
            _make_frame(kind, dataset, new, take, source, ts_ingest, version),
            partition_by=("kind", "dataset", "day"),
            replace_where=None
            if not removed
            else f"kind = {quote_text(kind.value)} AND dataset = {quote_text(dataset)} "
            f"AND ts_event >= {first} AND ts_event <= {last}",
            metadata={
                "dataset": f"{dataset} {kind.value}", "source": source, "ts_ingest": ts_ingest,
                "rows_written": int(take.sum()), "rows_removed": removed,
            },
        )  # fmt: skip
        return RecordOutcome(version=version, rows_written=int(take.sum()), rows_removed=removed)

    def _find(
        self, table: DeltaTable | None, kind: RecordKind, dataset: str, first: int, last: int
    ) -> StoredRecords | None:
        """What is stored from `first` to `last`, both included; None where there is nothing."""
        import polars as pl

        if table is None:
            return None
        files = self._list(table)
        if files.filter((pl.col("kind") == kind.value) & (pl.col("dataset") == dataset)).is_empty():
            return None
        stored = self._read(files, kind, dataset, first, last + 1)
        return stored if len(stored.columns["ts_event"]) else None

    def _list(self, table: DeltaTable) -> pl.DataFrame:
        import polars as pl

        return list_files(table, self.path).select(
            "file",
            pl.col("partition.day").cast(pl.Int64).alias("day"),
            kind="partition.kind",
            dataset="partition.dataset",
            rows="num_records",
            ts_first="min.ts_event",
            ts_last="max.ts_event",
            version="max.version",
        )

    def _select(self, files: pl.DataFrame | None, kind: RecordKind, dataset: str) -> pl.DataFrame:
        import polars as pl

        if files is None:
            raise DataError("there are no records in this catalog", where=str(self.path.parent),
                            remedy="import some first")  # fmt: skip
        here = files.filter((pl.col("kind") == kind.value) & (pl.col("dataset") == dataset))
        if here.is_empty():
            known = sorted(
                f"{each} {name}" for name, each in files.select("kind", "dataset").rows()
            )
            raise DataError(
                f"there are no {kind.value} of {dataset} in the catalog",
                where=str(self.path.parent), remedy=nearest(f"{dataset} {kind.value}", known),
            )  # fmt: skip
        return here

    def _read(
        self, files: pl.DataFrame | None, kind: RecordKind, dataset: str, ts_start: int, ts_end: int
    ) -> StoredRecords:
        import polars as pl

        here = self._select(files, kind, dataset)
        version = int(here["version"].to_numpy().max())
        chosen = here.filter((pl.col("ts_last") >= ts_start) & (pl.col("ts_first") < ts_end))
        names = shape_of(kind).columns
        if chosen.is_empty():
            chosen = here.head(1)
        schema = None if kind.by_day else _schema()  # only the other kinds have grown
        frame = read_files(chosen["file"].to_list(), (*names, "number"), self.path, schema)
        frame = frame.filter((pl.col("ts_event") >= ts_start) & (pl.col("ts_event") < ts_end))
        frame = frame.sort("ts_event", "number", maintain_order=True)
        return StoredRecords(
            version=version, columns={name: frame[name].to_numpy() for name in names}
        )


def _is_same(new: RecordColumns, stored: RecordColumns) -> bool:
    return len(new["ts_event"]) == len(stored["ts_event"]) and all(
        _is_equal(column, stored[name]) for name, column in new.items()
    )


def _is_equal(new: npt.NDArray[Any], stored: npt.NDArray[Any]) -> bool:
    return np.array_equal(new, stored, equal_nan=new.dtype.kind == "f")


def _make_frame(
    kind: RecordKind,
    dataset: str,
    columns: RecordColumns,
    take: npt.NDArray[np.bool_],
    source: str,
    ts_ingest: int,
    version: int,
) -> pl.DataFrame:
    """Rows of the table; `number` keeps the order of rows of one `ts_event`."""
    import polars as pl

    rows = int(take.sum())
    series = [
        pl.Series(name, columns[name][take], dtype, strict=False)
        if name in columns
        else pl.Series(name, [None], dtype).new_from_index(0, rows)
        for name, dtype in _schema().items()
        if name != "number"
    ]
    days = day_of(columns["ts_event"][take]) if kind.by_day else np.full(rows, -1, np.int64)
    own = pl.DataFrame(
        [
            pl.Series("number", np.flatnonzero(take), pl.Int64),
            pl.Series("day", days, pl.Int64),
        ]
    ).with_columns(
        kind=pl.lit(kind.value),
        dataset=pl.lit(dataset),
        source=pl.lit(source),
        ts_ingest=pl.lit(ts_ingest, pl.Int64),
        version=pl.lit(version, pl.Int64),
    )
    return own.with_columns(series)  # first what files are found by: Delta counts 32 columns


def _schema() -> dict[str, type[pl.DataType]]:
    import polars as pl

    return {
        **dict.fromkeys(("number", *ALL_INTS), pl.Int64),
        **dict.fromkeys(ALL_FLOATS, pl.Float64),
        **dict.fromkeys(ALL_TEXTS, pl.String),
    }


def compute_records_hash(columns: RecordColumns, release: Callable[[], None] | None = None) -> str:
    """SHA-256 (hex) of the rows: names and little-endian bytes of the columns; texts as UTF-8.

    `release` is called now and then; see `ColumnFile.release`.
    """
    digest = hashlib.sha256()
    for name in sorted(columns):
        column = columns[name]
        digest.update(name.encode())
        if column.dtype.kind in "OU":
            digest.update("\0".join(map(str, column.tolist())).encode())
            continue
        for first in range(0, len(column), BLOCK_ROWS):
            block = column[first : first + BLOCK_ROWS]
            digest.update(np.ascontiguousarray(block, column.dtype.newbyteorder("<")).data)
            if release is not None:
                release()
    return digest.hexdigest()
