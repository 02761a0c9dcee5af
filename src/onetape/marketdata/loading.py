"""What a session runs on, from the catalog: bars, or prints, quotes and depth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument
from onetape.domain.market import BOOK, QUOTES, TRADES, TickKind
from onetape.domain.timestamps import to_iso
from onetape.marketdata.bars import IntArray
from onetape.marketdata.record_kinds import RecordColumns, RecordKind, to_record_kind
from onetape.marketdata.records import compute_records_hash
from onetape.marketdata.side_files import NO_FILES, SideFiles
from onetape.marketdata.tick_timeline import build_book_timeline, build_quote_timeline
from onetape.marketdata.timeline import (
    Reading,
    Timeline,
    build_trade_timeline,
    ever_members,
    load_timeline,
    place_files,
    place_universe,
)
from onetape.marketdata.trades import add_bar_columns, complete_trades

if TYPE_CHECKING:
    from onetape.marketdata.catalog import Catalog

_SOURCE = "catalog"


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
    main: list[tuple[Instrument, RecordColumns]] = []
    prints: dict[str, RecordColumns] = {}
    pins: list[DatasetPin] = []
    flags: list[list[IntArray]] = []
    newest = catalog.records.newest()  # one for all, though others may write meanwhile
    for name in instrument_ids:
        definition = catalog.instrument(name)
        read = {
            kind: catalog.records.read(
                kind, name, version=versions.get(name, newest), ts_start=ts_start, ts_end=ts_end
            )
            for kind in kinds
        }
        flags.append([each.columns["quality"] for each in read.values()])
        rows = {kind: _without_quality(each.columns) for kind, each in read.items()}
        first = rows[kinds[0]]["ts_event"]
        if not len(first):
            raise DataError(f"{name} has no {kinds[0].value} from {to_iso(ts_start)} to "
                            f"{to_iso(ts_end)}")  # fmt: skip
        main.append((definition, rows[kinds[0]]))
        if len(kinds) > 1:
            prints[definition.id] = rows[RecordKind.TRADES]
        parts = [compute_records_hash(each) for each in rows.values()]
        pins.append(
            DatasetPin(
                instrument=definition.id,
                timeframe=what,
                table_version=max(each.version for each in read.values()),
                content_hash=parts[0] if len(parts) == 1 else "+".join(parts),
                rows=sum(len(each["ts_event"]) for each in rows.values()),
                ts_first=int(first[0]),
                ts_last=int(first[-1]),
            )
        )
    if what == TRADES:
        series = [(one, add_bar_columns(complete_trades(columns, one.id))) for one, columns in main]
        actions, steps, pinned = place_files(files, catalog, series, ts_end, versions)
        timeline = build_trade_timeline(
            main, source=_SOURCE, actions=actions, steps=steps, datasets=pins, action_pins=pinned
        )
    else:
        build = build_quote_timeline if kinds[0].value == QUOTES else build_book_timeline
        opens = [(one, {"ts_open": columns["ts_event"] - 1}) for one, columns in main]
        _, steps, pinned = place_files(files, catalog, opens, ts_end, versions)
        timeline = build(
            main, source=_SOURCE, trades=prints or None, datasets=pins, steps=steps,
            action_pins=pinned,
        )  # fmt: skip
    add_quality(timeline, flags)
    return timeline


def add_quality(timeline: Timeline, flags: Sequence[Sequence[IntArray]]) -> None:
    """Give the rows the quality flags of their records, where any has one.

    `flags` are those of the records of each instrument, in their order: of what the timeline is of,
    then of the prints between. A row keeps its place among the rows of its kind and instrument.
    """
    if not any(each.any() for own in flags for each in own):
        return
    quality = np.zeros(len(timeline), dtype=np.int64)
    for instrument, (main, *prints) in zip(timeline.instruments, flags, strict=True):
        rows = timeline.rows_of(instrument.id)
        if prints:
            is_print = timeline.columns["what"][rows] == TickKind.PRINT
            quality[rows[is_print]] = prints[0]
            rows = rows[~is_print]
        quality[rows] = main
    timeline.columns = {**timeline.columns, "quality": quality}


def _without_quality(columns: RecordColumns) -> RecordColumns:
    return {name: column for name, column in columns.items() if name != "quality"}
