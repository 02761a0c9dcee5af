"""What a session runs on, from the catalog: bars, or prints, quotes and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.market import BOOK, QUOTES, TRADES
from onetape.domain.timestamps import to_iso
from onetape.marketdata.adjustment import check_raw
from onetape.marketdata.column_file import ColumnFile
from onetape.marketdata.record_kinds import RecordColumns, RecordKind, shape_of, to_record_kind
from onetape.marketdata.records import RecordStream, compute_records_hash
from onetape.marketdata.side_files import IN_CATALOG, NO_FILES, SideFiles
from onetape.marketdata.tick_pieces import QUALITY, TickSeries
from onetape.marketdata.tick_timeline import build_ticks
from onetape.marketdata.timeline import (
    Reading,
    Timeline,
    TimelineKind,
    ever_members,
    load_timeline,
    place_files,
    place_universe,
)

if TYPE_CHECKING:
    from onetape.marketdata.catalog import Catalog

_SOURCE = "catalog"
_KINDS: Mapping[RecordKind, TimelineKind] = {
    RecordKind.TRADES: "trades", RecordKind.QUOTES: "quotes", RecordKind.BOOK: "book",
}  # fmt: skip


TICK_DATA = (TRADES, QUOTES, BOOK, f"{QUOTES}+{TRADES}", f"{BOOK}+{TRADES}")
"""What `load_market_data` takes instead of a timeframe; the latter two are with the prints."""


def load_market_data(
    catalog: Catalog,
    instrument_ids: Sequence[str],
    timeframe: str,
    ts_start: int,
    ts_end: int,
    versions: Mapping[str, int] | None = None,
    files: SideFiles = NO_FILES,
    reading: Reading | None = None,
) -> Timeline:
    """`load_timeline` of bars; where `timeframe` is one of `TICK_DATA`, `load_ticks`."""
    if timeframe not in TICK_DATA:
        return load_timeline(
            catalog, instrument_ids, timeframe, ts_start, ts_end, versions, files, reading
        )
    choice = reading.universe if reading is not None else None
    if reading not in (None, Reading(universe=choice)):
        raise DataError(f"{timeframe} can't be read as known then, nor wait for each other",
                        remedy="bars can")  # fmt: skip
    names = instrument_ids or ever_members(catalog, choice, ts_start, ts_end, versions)
    timeline = load_ticks(catalog, names, timeframe, ts_start, ts_end, versions or {}, files)
    if choice is not None:
        timeline.universe = place_universe(catalog, choice, timeline, (), ts_start, versions)
    return timeline


def check_footings(timeline: Timeline, files: SideFiles) -> None:
    """That a session about to begin has no action twice; see `adjustment.check_raw`.

    One that ran is run again as it was, so loading does not ask.

    Raises:
        DataError: It has.
    """
    footings = {each.instrument: each.adjustment for each in timeline.datasets}
    check_raw(footings, timeline.actions, as_paid=files.actions == IN_CATALOG)


def load_ticks(
    catalog: Catalog,
    instrument_ids: Sequence[str],
    what: str,
    ts_start: int,
    ts_end: int,
    versions: Mapping[str, int],
    files: SideFiles = NO_FILES,
) -> Timeline:
    """Reads and merges the ticks of some instruments, and pins what was read.

    Args:
        catalog: Where they are.
        instrument_ids: Which instruments; their order breaks ties in time.
        what: One of `TICK_DATA`.
        ts_start: Ticks from before it (ns UTC) are left out.
        ts_end: Ticks from then on are left out.
        versions: Version of the table of records by instrument id; the newest where it has none.
        files: What lies beside the catalog; only prints carry actions and funding, all carry halts.

    Raises:
        DataError: An instrument or dataset is unknown, has no tick in that time, or ticks can't be
            merged.
    """
    kinds = [to_record_kind(each) for each in what.split("+")]
    for key, path in files._asdict().items():
        is_carried = key == "halts" or (what == TRADES and key != "fundamentals")
        if path is not None and not is_carried:
            raise DataError(
                f"{what} carry no {key}", where=str(path), remedy="leave the file out, or use bars"
            )
    main: list[TickSeries] = []
    prints: dict[str, TickSeries] = {}
    pins: list[DatasetPin] = []
    newest = catalog.records.newest()  # one for all, though others may write meanwhile
    for name in instrument_ids:
        definition = catalog.instrument(name)
        read = {
            kind: _lay_aside(
                catalog.records.stream(
                    kind, name, version=versions.get(name, newest), ts_start=ts_start, ts_end=ts_end
                ),
                kind,
            )
            for kind in kinds
        }
        first = read[kinds[0]].columns["ts_event"]
        if not len(first):
            raise DataError(f"{name} has no {kinds[0].value} from {to_iso(ts_start)} to "
                            f"{to_iso(ts_end)}")  # fmt: skip
        series = {
            kind: TickSeries(definition, kind.value, each.columns, each.file)
            for kind, each in read.items()
        }
        main.append(series[kinds[0]])
        if len(kinds) > 1:
            prints[definition.id] = series[RecordKind.TRADES]
        pins.append(
            DatasetPin(
                instrument=definition.id,
                timeframe=what,
                table_version=max(each.version for each in read.values()),
                content_hash="+".join(each.content_hash for each in read.values()),
                rows=sum(map(len, series.values())),
                ts_first=int(first[0]),
                ts_last=int(first[-1]),
            )
        )
    return build_ticks(
        main, prints, kind=_KINDS[kinds[0]], source=_SOURCE, datasets=pins,
        place=(
            None
            if files == NO_FILES
            else lambda bars: place_files(files, catalog, bars, ts_end, versions)
        ),
    )  # fmt: skip


class _LaidAside(msgspec.Struct, frozen=True, eq=False):
    """Records that have been read: with their flags where one has any."""

    columns: RecordColumns
    file: ColumnFile
    version: int
    content_hash: str


def _lay_aside(stream: RecordStream, kind: RecordKind) -> _LaidAside:
    """Read records a day at a time."""
    shape = shape_of(kind)
    types = {name: np.int64 if name in shape.ints else np.float64 for name in shape.columns}
    file = ColumnFile(types, stream.rows_max)
    is_flagged = False
    for day in stream:
        file.append(day)
        is_flagged = is_flagged or bool(day[QUALITY].any())
    columns = file.read()
    rows = {name: column for name, column in columns.items() if name != QUALITY}
    found = compute_records_hash(rows, file.release)
    return _LaidAside(columns if is_flagged else rows, file, stream.version, found)
