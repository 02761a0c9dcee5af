"""The catalog: bars, records and instrument definitions in Delta tables, versioned and hashed.

| table         | partitions              | rows                                                |
| ------------- | ----------------------- | --------------------------------------------------- |
| `bars`        | `timeframe, instrument` | `BAR_COLUMNS`, `source`, `adjustment`, `ts_ingest`, |
|               |                         | `version` (the table version that wrote the row)    |
| `instruments` |                         | `instrument`, `definition` (JSON)                   |
| `records`     | `kind, dataset, day`    | see `records.py`                                    |

A dataset is all bars of one instrument and timeframe. Its version is the table version that
changed it last, so imports of other instruments leave it alone. Nothing is ever removed from disk:
every version stays readable, because tapes pin it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import Quality
from onetape.domain.nearest import nearest
from onetape.marketdata.bars import (
    BAR_COLUMNS,
    BarColumns,
    check_columns,
    compute_content_hash,
    slice_rows,
)
from onetape.marketdata.delta_table import (
    commit,
    list_files,
    open_table,
    quote_text,
    read_files,
    read_metadata,
    retry_when_raced,
)
from onetape.marketdata.merging import check_adjustment, plan_addition, plan_replacement
from onetape.marketdata.records import Records

if TYPE_CHECKING:
    import polars as pl
    from deltalake import DeltaTable


class Dataset(msgspec.Struct, frozen=True, kw_only=True):
    """All bars of one instrument and timeframe, as the catalog lists them.

    `ts_first` is the open of the first bar and `ts_last` the close of the last (ns UTC). `source`
    and `content_hash` (of all rows) were recorded when `version` was written.
    """

    instrument: InstrumentId
    timeframe: str
    rows: int
    ts_first: int
    ts_last: int
    version: int
    adjustment: str
    source: str
    content_hash: str


class WriteOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a write did; `rows` is how many the dataset has now."""

    version: int
    content_hash: str
    rows: int
    rows_written: int
    rows_removed: int

    @property
    def unchanged(self) -> bool:
        """Nothing was written: the catalog had these very rows."""
        return self.rows_written == 0


class StoredBars(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Bars of one dataset in time order, with the version that changed it last."""

    instrument: InstrumentId
    timeframe: str
    version: int
    adjustment: str
    columns: BarColumns


class DatasetView(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A look at one dataset: its first and last rows, and how many rows have each quality flag."""

    dataset: Dataset
    head: BarColumns
    tail: BarColumns
    quality: dict[str, int]


class Catalog:
    """Bars and instruments under one local folder. Making one touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bars = path / "bars"
        self._instruments = path / "instruments"
        self.records = Records(path)

    def instruments(self) -> dict[InstrumentId, Instrument]:
        """Every definition by id, in the order of ids."""
        definitions = self._definitions(open_table(self._instruments))
        return {InstrumentId(name): self._decode(definitions[name]) for name in sorted(definitions)}

    def instrument(self, instrument_id: str) -> Instrument:
        """One definition; raises `DataError` with the nearest id."""
        defined = self.instruments()
        if instrument_id not in defined:
            raise DataError(
                f"instrument {instrument_id!r} is not in the catalog", where=str(self.path),
                remedy=nearest(instrument_id, defined),
            )  # fmt: skip
        return defined[InstrumentId(instrument_id)]

    def write_instrument(self, instrument: Instrument, *, replace: bool = False) -> bool:
        """Adds a definition; False when the same one stands there already.

        Raises:
            DataError: The id has another definition and `replace` is not set.
            TryAgain: Somebody else wrote at the same time.
        """
        import polars as pl

        table = open_table(self._instruments)
        definitions = self._definitions(table)
        definition = msgspec.json.encode(instrument).decode()
        stored = definitions.get(instrument.id)
        if stored == definition:
            return False
        if stored is not None and not replace:
            old = self._decode(stored)
            changes = [
                f"{field} {getattr(old, field)} would become {getattr(instrument, field)}"
                for field in instrument.__struct_fields__
                if getattr(old, field) != getattr(instrument, field)
            ]
            raise DataError(
                f"{instrument.id} is defined differently: {', '.join(changes)}",
                where=str(self.path), remedy="nothing was written; replace, to redefine it",
            )  # fmt: skip
        definitions[instrument.id] = definition
        frame = pl.DataFrame(
            {"instrument": list(definitions), "definition": list(definitions.values())}
        )
        commit(self._instruments, table, frame, replace_where="true" if table else None)
        return True

    def _definitions(self, table: DeltaTable | None) -> dict[str, str]:
        if table is None:
            return {}
        files = list_files(table, self._instruments)["file"].to_list()
        frame = read_files(files, ("instrument", "definition"), self._instruments)
        return dict(zip(frame["instrument"], frame["definition"], strict=True))

    def _decode(self, definition: str) -> Instrument:
        try:
            return msgspec.json.decode(definition, type=Instrument)
        except msgspec.MsgspecError as error:
            raise DataError(
                f"a definition can't be read: {error}", where=str(self._instruments),
                remedy="was it written by a newer onetape?",
            ) from None  # fmt: skip

    def datasets(self) -> tuple[Dataset, ...]:
        """Every dataset, ordered by instrument and timeframe."""
        table = open_table(self._bars)
        if table is None:
            return ()
        recorded = read_metadata(table)
        facts = _sum_files(_list_bars(table, self._bars)).sort("instrument", "timeframe")
        return tuple(
            Dataset(
                **row,
                source=recorded.get(row["version"], {}).get("source", ""),
                content_hash=recorded.get(row["version"], {}).get("content_hash", ""),
            )
            for row in facts.rows(named=True)
        )

    def show(self, instrument_id: str, timeframe: str, *, rows: int = 5) -> DatasetView:
        """The first and last `rows` bars of a dataset, and its rows by quality flag.

        Raises:
            DataError: There is no such dataset (the nearest is named).
        """
        columns = self.read_bars(instrument_id, timeframe)
        quality = columns["quality"]
        flags = {str(flag.name): int(np.count_nonzero(quality & flag)) for flag in Quality}
        return DatasetView(
            dataset=next(
                each
                for each in self.datasets()
                if (each.instrument, each.timeframe) == (instrument_id, timeframe)
            ),
            head=slice_rows(columns, 0, rows),
            tail=slice_rows(columns, max(0, len(quality) - rows), len(quality)),
            quality={"GOOD": int(np.count_nonzero(quality == 0)), **flags},
        )

    def read_bars(
        self, instrument_id: str, timeframe: str, *, version: int | None = None
    ) -> BarColumns:
        """All bars of a dataset in time order, as they were at a table version (default: now).

        Raises:
            DataError: There is no such dataset (the nearest is named) or no such version.
        """
        versions = {} if version is None else {instrument_id: version}
        return self.read_many([instrument_id], timeframe, versions)[0].columns

    def read_many(
        self,
        instrument_ids: Sequence[str],
        timeframe: str,
        versions: Mapping[str, int] | None = None,
    ) -> list[StoredBars]:
        """`read_bars` of several instruments, in their order.

        `versions` holds the table version by instrument; those without one are read from the
        newest version, all from the same.
        """
        asked = {each: (versions or {}).get(each) for each in instrument_ids}
        found: dict[str, StoredBars] = {}
        for version in dict.fromkeys(asked.values()):
            table = open_table(self._bars, version)
            if table is None:
                raise DataError(
                    "there is no catalog in this folder", where=str(self.path),
                    remedy="import data first: onetape data import",
                )  # fmt: skip
            ids = [each for each in asked if asked[each] == version]
            found.update(self._read(_list_bars(table, self._bars), ids, timeframe))
        return [found[each] for each in instrument_ids]

    def _read(self, listed: pl.DataFrame, ids: list[str], timeframe: str) -> dict[str, StoredBars]:
        """The datasets of `ids` from one pass over their files."""
        import polars as pl

        files = pl.DataFrame({"instrument": ids}).join(
            listed.filter(pl.col("timeframe") == timeframe),
            on="instrument", how="left", maintain_order="left_right",
        )  # fmt: skip
        for instrument in files.filter(pl.col("file").is_null())["instrument"]:
            pairs = listed.select("instrument", "timeframe").rows()
            known = [f"{each} {length}" for each, length in pairs]
            raise DataError(
                f"there are no {timeframe} bars of {instrument} in the catalog",
                where=str(self.path), remedy=nearest(f"{instrument} {timeframe}", known),
            )  # fmt: skip
        frame = read_files(files["file"].to_list(), BAR_COLUMNS, self._bars)
        columns: BarColumns = {name: frame[name].to_numpy() for name in BAR_COLUMNS}
        found: dict[str, StoredBars] = {}
        start = 0
        for row in _sum_files(files).rows(named=True):
            stop = start + row["rows"]
            found[row["instrument"]] = StoredBars(
                instrument=row["instrument"],
                timeframe=timeframe,
                version=row["version"],
                adjustment=row["adjustment"],
                columns=_in_time_order(slice_rows(columns, start, stop)),
            )
            start = stop
        return found

    def write_bars(
        self,
        instrument_id: InstrumentId,
        timeframe: str,
        columns: BarColumns,
        *,
        source: str,
        adjustment: str,
        ts_ingest: int,
        definition: Instrument | None = None,
        replace: bool = False,
    ) -> WriteOutcome:
        """Adds bars to a dataset in one commit: afterwards all of them are there, or none.

        Rows that are stored already are left as they are. With `replace`, the new rows take the
        place of all stored ones from their first to their last.

        Args:
            instrument_id: Whose bars these are.
            timeframe: Their length.
            columns: `BAR_COLUMNS` in time order.
            source: Provenance, such as the name of the file.
            adjustment: `none`, or how prices were adjusted.
            ts_ingest: When the caller took them in, ns UTC.
            definition: The instrument, to be written just before its bars when nothing refuses
                either of them.
            replace: Whether rows that differ from stored ones replace them.

        Raises:
            DataError: The columns are no bars in time order; rows differ from stored ones (their
                span is told) or overlap them; prices are adjusted otherwise; the instrument is
                defined otherwise; the disk refuses.
            TryAgain: Others wrote at the same time, again and again. Raced once, it plans anew.
        """
        name = f"{instrument_id} {timeframe}"
        check_columns(columns, name)
        if not len(columns["ts_open"]):
            raise DataError("there are no bars to write", where=name)
        return retry_when_raced(
            lambda: self._write_bars(
                instrument_id, timeframe, columns, source, adjustment, ts_ingest, definition,
                replace=replace,
            )
        )  # fmt: skip

    def _write_bars(
        self,
        instrument_id: InstrumentId,
        timeframe: str,
        columns: BarColumns,
        source: str,
        adjustment: str,
        ts_ingest: int,
        definition: Instrument | None,
        *,
        replace: bool,
    ) -> WriteOutcome:
        name = f"{instrument_id} {timeframe}"
        table = open_table(self._bars)
        stored = self._find(table, instrument_id, timeframe)
        old = stored.columns if stored else slice_rows(columns, 0, 0)
        plan = (
            plan_addition(old, columns, name)
            if stored and not replace
            else plan_replacement(old, columns)
        )
        if stored:
            check_adjustment(plan, stored.adjustment, adjustment, name)
        merged = plan.merge(old, columns)
        check_columns(merged, f"{name} with the stored rows")
        if definition is not None:
            self.write_instrument(definition, replace=replace)
        outcome = WriteOutcome(
            version=0 if table is None else table.version() + 1,
            content_hash=compute_content_hash(merged),
            rows=len(merged["ts_open"]),
            rows_written=int(plan.take.sum()),
            rows_removed=int((~plan.keep).sum()),
        )
        if stored and (stored.adjustment, compute_content_hash(old)) == (
            adjustment,
            outcome.content_hash,
        ):
            return msgspec.structs.replace(
                outcome, version=stored.version, rows_written=0, rows_removed=0
            )
        first, last = int(columns["ts_open"][0]), int(columns["ts_open"][-1])
        commit(
            self._bars,
            table,
            _make_frame(
                {each: columns[each][plan.take] for each in BAR_COLUMNS},
                texts={
                    "timeframe": timeframe,
                    "instrument": instrument_id,
                    "source": source,
                    "adjustment": adjustment,
                },
                numbers={"ts_ingest": ts_ingest, "version": outcome.version},
            ),
            partition_by=("timeframe", "instrument"),
            replace_where=None
            if plan.keep.all()
            else f"timeframe = {quote_text(timeframe)} "
            f"AND instrument = {quote_text(instrument_id)} "
            f"AND ts_open >= {first} AND ts_open <= {last}",
            metadata={
                "content_hash": outcome.content_hash,
                "source": source,
                "dataset": name,
                "ts_ingest": ts_ingest,
                "rows_written": outcome.rows_written,
                "rows_removed": outcome.rows_removed,
            },
        )
        return outcome

    def _find(self, table: DeltaTable | None, instrument: str, timeframe: str) -> StoredBars | None:
        """The dataset as `table` has it, None where there is none."""
        import polars as pl

        if table is None:
            return None
        files = _list_bars(table, self._bars)
        here = (pl.col("instrument") == instrument) & (pl.col("timeframe") == timeframe)
        if files.filter(here).is_empty():
            return None
        return self._read(files, [instrument], timeframe)[instrument]


def _make_frame(
    columns: BarColumns, texts: Mapping[str, str], numbers: Mapping[str, int]
) -> pl.DataFrame:
    """Rows of the `bars` table: columns, and what all rows have in common."""
    import polars as pl

    return pl.DataFrame(columns).with_columns(
        **{name: pl.lit(text, pl.String) for name, text in texts.items()},
        **{name: pl.lit(number, pl.Int64) for name, number in numbers.items()},
    )


def _list_bars(table: DeltaTable, path: Path) -> pl.DataFrame:
    """One row for each data file, with what the table knows of its rows."""
    return list_files(table, path).select(
        "file",
        instrument="partition.instrument",
        timeframe="partition.timeframe",
        rows="num_records",
        ts_first="min.ts_open",
        ts_last="max.ts_close",
        version="max.version",
        adjustment="max.adjustment",
    )


def _sum_files(files: pl.DataFrame) -> pl.DataFrame:
    """One row for each dataset, in the order of its first file."""
    import polars as pl

    return files.group_by("instrument", "timeframe", maintain_order=True).agg(
        pl.col("rows").sum(),
        pl.col("ts_first").min(),
        pl.col("ts_last").max(),
        pl.col("version").max(),
        pl.col("adjustment").max(),
    )


def _in_time_order(columns: BarColumns) -> BarColumns:
    """Rows by time: appended files follow each other in no order of their own."""
    times = columns["ts_open"]
    if bool((times[1:] > times[:-1]).all()):
        return columns
    order = np.argsort(times)
    return {name: column[order] for name, column in columns.items()}
