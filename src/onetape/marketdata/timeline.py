"""All market data of a session in one order: by when it was known, then by the instruments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.events import DatasetPin
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import make_legs, market_of
from onetape.domain.market import (
    BarBlock,
    ContractStep,
    CorporateAction,
    TickBlock,
    TradeBlock,
)
from onetape.domain.numbers import INT64_MAX
from onetape.domain.timestamps import NS_PER_MS, to_iso
from onetape.marketdata.bars import (
    BAR_COLUMNS,
    BarColumns,
    BoolArray,
    FloatArray,
    IntArray,
    check_columns,
    compute_content_hash,
    slice_rows,
)
from onetape.marketdata.column_file import BLOCK_ROWS, ColumnFile, Releasing
from onetape.marketdata.contract_steps import order_steps
from onetape.marketdata.corporate_actions import (
    ACTIONS,
    order_actions,
    pin_actions,
    place_rows,
    read_actions,
)
from onetape.marketdata.fundamentals import (
    FUNDAMENTALS,
    Figure,
    join_fundamentals,
    pin_fundamentals,
    read_fundamentals,
    read_stored_figures,
)
from onetape.marketdata.funding import FUNDING, pin_funding, place_funding, read_funding
from onetape.marketdata.halts import HALTS, pin_halts, place_halts, read_halts
from onetape.marketdata.membership import Membership, UniverseChoice
from onetape.marketdata.record_kinds import RecordKind
from onetape.marketdata.side_files import IN_CATALOG, NO_FILES, SideFiles, pin_nothing
from onetape.marketdata.slices import align_slices

if TYPE_CHECKING:
    from onetape.marketdata.catalog import Catalog, StoredBars


Knowledge = Literal["now", "then"]
TimelineKind = Literal["bars", "trades", "quotes", "book"]

_BLOCKS: dict[TimelineKind, type[BarBlock]] = {
    "bars": BarBlock, "trades": TradeBlock, "quotes": TickBlock, "book": TickBlock,
}  # fmt: skip


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """How market data is read from a catalog.

    Args:
        knowledge: Corrected bars as they are `now` (in that version), or `then`, as they were first
            stored.
        slice_grace_ms: How long the bars of one close time wait for each other, see
            `slices.align_slices`; None: each is known at its own time.
        universe: Whose members the session may open positions in; None: all instruments.
    """

    knowledge: Knowledge = "now"
    slice_grace_ms: int | None = None
    universe: UniverseChoice | None = None


class DayEnd(NamedTuple):
    """Where trading days end: when (ns UTC), after how many rows, of which instruments.

    `instruments` are positions in the timeline, ascending.
    """

    ts: int
    rows: int
    instruments: tuple[int, ...]


class Timeline:
    """Market data of several instruments merged by (`ts_known`, position of the instrument).

    Attributes:
        kind: What the rows are: bars, trade prints, quotes, or changes of the depth; prints may
            stand between the latter two.
        instruments: In the order that breaks ties.
        instrument_index: int32 of shape (rows,): position in `instruments` of each row.
        columns: `BAR_COLUMNS`, each of shape (rows,). Of prints: `TRADE_COLUMNS`, and of the bars
            that they are matched as `ts_open` (`ts_event` less a nanosecond), and under further
            names `ts_close` (of `ts_event`), `open`, `high`, `low`, `close` (of `price`) and
            `volume` (of `size`). Of quotes and depth: `TICK_COLUMNS`, and those of a bar at the
            mark, as `Standing` gives them. They may lie on disk: see `is_laid_aside`.
        slice_end: bool of shape (rows,): True on the last row of each `ts_known`.
        datasets: What was read from a catalog, one pin for each instrument; empty from memory.
        source: Provenance of the rows.
        timeframe: Length of the bars; `trades`, `quotes` or `book` where there are none.
        actions: Corporate actions in the order in which a session meets them.
        action_rows: How many rows come before each of them.
        action_pins: What was read of actions, funding, fundamentals and halts, a pin for each
            instrument that has any.
        steps: What happens to instruments beside them, in the order in which a session meets it.
        step_rows: How many rows come before each of them.
        universe: Who may be bought or sold short, at each moment; None: every instrument.
        legs: Both legs of every instrument where positions are held as legs; else none.
        marks_closing_side: Whether longs are marked at the bid and shorts at the ask; of quotes and
            depth only.
        is_laid_aside: Whether the rows lie on disk, as those of ticks and of the tape of a live
            session do: they are looked at a piece at a time.

    Made by `build_timeline`, `build_trade_timeline`, `build_quote_timeline`, `build_book_timeline`
    and `load_timeline`.
    """

    universe: Membership | None = None
    legs: tuple[Instrument, ...] = ()
    marks_closing_side: bool = False

    def __init__(
        self,
        instruments: tuple[Instrument, ...],
        instrument_index: npt.NDArray[np.int32],
        columns: BarColumns,
        rows: Mapping[InstrumentId, IntArray],
        *,
        datasets: tuple[DatasetPin, ...],
        source: str,
        timeframe: str,
        kind: TimelineKind = "bars",
        actions: tuple[CorporateAction, ...] = (),
        action_pins: tuple[DatasetPin, ...] = (),
        steps: tuple[ContractStep, ...] = (),
        files: tuple[Releasing, ...] = (),
    ) -> None:
        self.kind: TimelineKind = kind
        self.instruments = instruments
        self.instrument_index = instrument_index
        self.columns = columns
        self._files = files
        self.is_laid_aside = bool(files)
        self.slice_end = self.derive(np.bool_, self._find_slice_ends)
        self.datasets = datasets
        self.source = source
        self.timeframe = timeframe
        self.actions = actions
        self.action_rows: list[int] = np.searchsorted(
            columns["ts_known"], [each.ts_known for each in actions]
        ).tolist()
        self.action_pins = action_pins
        self.steps = steps
        self.step_rows: list[int] = np.searchsorted(
            columns["ts_known"], [each.ts_known for each in steps]
        ).tolist()
        self._rows = rows

    def __len__(self) -> int:
        return len(self.instrument_index)

    @property
    def pins(self) -> tuple[DatasetPin, ...]:
        """Everything that was read: `datasets`, the universe, `action_pins`."""
        members = () if self.universe is None else (self.universe.pin,)
        return (*self.datasets, *members, *self.action_pins)

    @property
    def tradable(self) -> tuple[Instrument, ...]:
        """Everything of which there can be a position: `instruments`, then `legs`."""
        return (*self.instruments, *self.legs)

    def with_legs(self) -> Timeline:
        """The same rows, for a session that holds long and short legs side by side.

        Raises:
            ConfigError: An instrument is called like a leg.
        """
        hedged = copy(self)
        hedged.legs = make_legs(self.instruments)
        return hedged

    def with_actions(self, actions: Sequence[CorporateAction]) -> Timeline:
        """The same rows with these corporate actions, each met at its `ts_known`, in that order."""
        changed = copy(self)
        changed.actions = tuple(actions)
        changed.action_rows = np.searchsorted(
            self.columns["ts_known"], [each.ts_known for each in actions]
        ).tolist()
        return changed

    def at_closing_side(self) -> Timeline:
        """The same rows, for a session that marks positions at the side that would close them."""
        marked = copy(self)
        marked.marks_closing_side = True
        return marked

    @property
    def row_ends(self) -> Sequence[bool]:
        """`slice_end` as Python values; made when it is asked for."""
        return self.values(self.slice_end)

    @property
    def row_owners(self) -> Sequence[int]:
        """`instrument_index` as Python numbers; made when it is asked for."""
        return self.values(self.instrument_index)

    def values(self, column: npt.NDArray[Any]) -> Sequence[Any]:
        """A column as Python values. What is laid aside stays where it is."""
        return column.data if self.is_laid_aside else column.tolist()

    def spans(self) -> Iterator[tuple[int, int]]:
        """Ranges that all rows are looked at in: one, or where they are laid aside many.

        Behind each of those the memory is free.
        """
        step = BLOCK_ROWS if self.is_laid_aside else max(len(self), 1)
        for first in range(0, len(self), step):
            yield first, min(first + step, len(self))
            self.release()

    def release(self) -> None:
        """Let go of the memory of rows that have been read from disk."""
        for each in self._files:
            each.release()

    def derive(
        self, dtype: npt.DTypeLike, compute: Callable[[int, int], npt.NDArray[Any]]
    ) -> npt.NDArray[Any]:
        """A further column, which `compute` gives for rows [first, stop), one of `spans` each."""
        if not self.is_laid_aside:
            return compute(0, len(self))
        parts = ({"": compute(first, stop)} for first, stop in self.spans())
        return self.lay_aside({"": dtype}, parts)[""]

    def lay_aside(
        self,
        types: Mapping[str, npt.DTypeLike],
        parts: Iterable[Mapping[str, npt.NDArray[Any]]],
    ) -> dict[str, npt.NDArray[Any]]:
        """Further columns, which come in parts; they are laid aside too."""
        file = ColumnFile(types, len(self))
        for each in parts:
            file.append(each)
        self._files += (file,)
        return file.read()

    def _find_slice_ends(self, first: int, stop: int) -> BoolArray:
        """True on the last row of each equal run of `ts_known`."""
        ts_known = self.columns["ts_known"][first : stop + 1]
        ends = np.ones(stop - first, dtype=np.bool_)
        ends[: len(ts_known) - 1] = ts_known[1:] != ts_known[:-1]
        return ends

    def find_slice_end(self, row: int) -> int:
        """The first row from `row` on that ends a time slice; the last one ends one."""
        while not (found := self.slice_end[row : row + BLOCK_ROWS]).any():
            row += BLOCK_ROWS
        return row + int(found.argmax())

    def cut(self, rows: int) -> Iterator[tuple[int, int]]:
        """Ranges of at least `rows` rows (the last may be shorter) that end where a slice ends."""
        start, total = 0, len(self)
        while start < total:
            stop = self.find_slice_end(min(start + rows, total) - 1) + 1
            yield start, stop
            start = stop

    @property
    def ts_first(self) -> int:
        """The earliest `ts_open` of a row, ns UTC."""
        opens = self.columns["ts_open"]
        return min(int(opens[first:stop].min()) for first, stop in self.spans())

    @cached_property
    def day_ends(self) -> list[DayEnd]:
        """The ends of the trading days, in order, up to the last row.

        A trading day of an instrument ends at the `session_close` of its rows, or where its last
        row is known, if that is later; rows from outside sessions count toward the session that
        ends last.
        """
        found: dict[int, list[int]] = {}
        ts_known = self.columns["ts_known"]
        for index, instrument in enumerate(self.instruments):
            for ts in self._find_day_ends(self.rows_of(instrument.id)):
                if ts <= ts_known[-1]:
                    found.setdefault(ts, []).append(index)
        times = sorted(found)
        after = np.searchsorted(ts_known, times, side="right").tolist()
        return [DayEnd(ts, rows, tuple(found[ts])) for ts, rows in zip(times, after, strict=True)]

    def _find_day_ends(self, rows: IntArray) -> Iterator[int]:
        """When the trading days of an instrument with these rows end, in order."""
        step = BLOCK_ROWS if self.is_laid_aside else max(len(rows), 1)
        newest = -INT64_MAX
        for first in range(0, len(rows), step):
            own = rows[max(first - 1, 0) : first + step]  # a day ends where the next row shows it
            closes = self.columns["session_close"][own]
            closes[0] = max(newest, int(closes[0]))
            closes = np.maximum.accumulate(closes)
            newest = int(closes[-1])
            last = np.flatnonzero(closes[1:] != closes[:-1])
            yield from np.maximum(closes, self.columns["ts_known"][own])[last].tolist()
            self.release()
        if len(rows):
            yield max(newest, int(self.columns["ts_known"][rows[-1]]))

    def rows_of(self, instrument_id: str) -> IntArray:
        """Positions of one instrument's rows, int64, rising; `KeyError` for an unknown one.

        Those of a leg are those of its instrument.
        """
        identity = InstrumentId(instrument_id)
        return self._rows[market_of(identity) if self.legs else identity]

    def blocks(self, rows: int, start: int = 0) -> Iterator[BarBlock]:
        """The rows from `start` on, in blocks of up to `rows`; columns are views."""
        make = _BLOCKS[self.kind]
        ids = [instrument.id for instrument in self.instruments]
        for first in range(start, len(self), rows):
            stop = min(first + rows, len(self))
            owner = (
                ids[0]
                if len(ids) == 1
                else [ids[index] for index in self.instrument_index[first:stop].tolist()]
            )
            columns = slice_rows(self.columns, first, stop)
            yield make(owner, columns, self.source, self.timeframe)


def build_timeline(
    series: Sequence[tuple[Instrument, BarColumns]],
    *,
    source: str,
    timeframe: str,
    datasets: Sequence[DatasetPin] = (),
    actions: Sequence[CorporateAction] = (),
    action_pins: Sequence[DatasetPin] = (),
    steps: Sequence[ContractStep] = (),
) -> Timeline:
    """Merges bars that are in memory; with one instrument nothing is copied.

    Args:
        series: Each instrument with its `BAR_COLUMNS` in time order; the order breaks ties. A
            `vwap` (float64) is kept where all have it.
        source: Provenance, as bars tell it.
        timeframe: Length of the bars, as bars tell it.
        datasets: Pins of what `series` was read from.
        actions: Corporate actions, at one time in the order in which they count.
        action_pins: Pins of what they were read from.
        steps: Funding and mark prices of contracts, and trading statuses.

    Raises:
        DataError: There is no instrument, one comes twice, columns are no bars in time order, or an
            action or step does not fit (see `order_actions` and `order_steps`).
    """
    instruments = check_instruments([instrument for instrument, _ in series])
    for instrument, columns in series:
        check_columns(columns, instrument.id)
    ordered = order_actions(actions, series) if actions else ()
    names = BAR_COLUMNS
    if all("vwap" in columns for _, columns in series):
        names = (*BAR_COLUMNS, "vwap")
    merged, index, rows = merge_series([columns for _, columns in series], names)
    return Timeline(
        instruments,
        index,
        merged,
        dict(zip((each.id for each in instruments), rows, strict=True)),
        datasets=tuple(datasets),
        source=source,
        timeframe=timeframe,
        actions=ordered,
        action_pins=tuple(action_pins),
        steps=order_steps(steps, series),
    )


def check_instruments(instruments: Sequence[Instrument]) -> tuple[Instrument, ...]:
    """They are what a timeline needs: one at least, and each once; raises `DataError`."""
    ids = [each.id for each in instruments]
    if not ids:
        raise DataError("a timeline needs an instrument")
    for each in ids:
        if ids.count(each) > 1:
            raise DataError(f"instrument {each} comes twice", remedy="name each once")
    return tuple(instruments)


def merge_series(
    series: Sequence[BarColumns], names: Sequence[str]
) -> tuple[BarColumns, npt.NDArray[np.int32], list[IntArray]]:
    """Columns in one order, the position in `series` of each row, the rows of each of `series`."""
    counts = [len(columns["ts_known"]) for columns in series]
    index = np.repeat(np.arange(len(series), dtype=np.int32), counts)
    merged = series[0]
    place = np.arange(len(index))
    if len(series) > 1:
        merged = {name: np.concatenate([each[name] for each in series]) for name in names}
        # Stable, and the concatenation is in the order of instruments: so that order breaks ties.
        order = np.argsort(merged["ts_known"], kind="stable")
        merged = {name: column[order] for name, column in merged.items()}
        index = index[order]
        place[order] = np.arange(len(order))
    return merged, index, np.split(place, np.cumsum(counts)[:-1])


def load_timeline(
    catalog: Catalog,
    instrument_ids: Sequence[str],
    timeframe: str,
    ts_start: int,
    ts_end: int,
    versions: Mapping[str, int] | None = None,
    files: SideFiles = NO_FILES,
    reading: Reading | None = None,
) -> Timeline:
    """Reads and merges the bars of some instruments, and pins what was read.

    Args:
        catalog: Where the bars are.
        instrument_ids: Which instruments; their order breaks ties in time. Empty: all that are in
            the universe at any moment of that time.
        timeframe: Which bars.
        ts_start: Bars that open before it (ns UTC) are left out.
        ts_end: Bars that close after it (ns UTC) are left out.
        versions: Table version to read by instrument id, by the name of the universe, and by
            `side_files.PINNED_KEYS`; the newest where it has none.
        files: What is read beside bars; `fundamentals` become columns of the rows.
        reading: How; see `Reading`.

    Raises:
        DataError: An instrument or dataset is unknown (the nearest is named), or has no bar in
            that time (what it has is told); a row of `files` is wrong.
    """
    reading = reading or Reading()
    defined = catalog.instruments()
    series: list[tuple[Instrument, BarColumns]] = []
    pins: list[DatasetPin] = []
    whole: list[StoredBars] = []
    names = instrument_ids or ever_members(catalog, reading.universe, ts_start, ts_end, versions)
    for stored in catalog.read_many(names, timeframe, versions):
        bars = _as_known_then(catalog, stored) if reading.knowledge == "then" else stored
        columns = _cut(bars, ts_start, ts_end)
        whole.append(bars)
        series.append(
            (defined.get(bars.instrument) or catalog.instrument(bars.instrument), columns)
        )
        pins.append(
            DatasetPin(
                instrument=bars.instrument,
                timeframe=timeframe,
                table_version=bars.version,
                content_hash=compute_content_hash(columns),
                rows=len(columns["ts_open"]),
                ts_first=int(columns["ts_open"][0]),
                ts_last=int(columns["ts_close"][-1]),
                adjustment=bars.adjustment,
            )
        )
    if reading.slice_grace_ms is not None:
        aligned = align_slices([each for _, each in series], reading.slice_grace_ms * NS_PER_MS)
        series = [(one, columns) for (one, _), columns in zip(series, aligned, strict=True)]
    placed, steps, pinned = place_files(files, catalog, series, ts_end, versions)
    timeline = build_timeline(
        series, source="catalog", timeframe=timeframe, datasets=pins, actions=placed,
        action_pins=pinned, steps=steps,
    )  # fmt: skip
    if files.fundamentals is not None:
        version: int | None = None
        if files.fundamentals == IN_CATALOG:
            asked = (versions or {}).get(FUNDAMENTALS, catalog.records.newest())
            ids = [each.id for each in timeline.instruments]
            figures, version = read_stored_figures(catalog, ids, asked), asked or 0
        else:
            known = dict.fromkeys([*defined, *(each.id for each, _ in series)])
            figures = read_fundamentals(files.fundamentals, known)
        _add_fundamentals(timeline, figures, ts_end, version)
    if reading.universe is not None:
        past: list[StoredBars] = []
        if reading.universe.filters.need_bars:
            past += map(_with_past, whole, (columns for _, columns in series))
        timeline.universe = place_universe(
            catalog, reading.universe, timeline, past, ts_start, versions
        )
    return timeline


def ever_members(
    catalog: Catalog,
    choice: UniverseChoice | None,
    ts_start: int,
    ts_end: int,
    versions: Mapping[str, int] | None,
) -> tuple[str, ...]:
    """Instruments of a session that names none: see `choose_instruments`; none without one."""
    from onetape.marketdata.universe import choose_instruments

    if choice is None:
        return ()
    version = (versions or {}).get(choice.name)
    return choose_instruments(catalog, choice, ts_start, ts_end, version)


def place_universe(
    catalog: Catalog,
    choice: UniverseChoice,
    timeline: Timeline,
    bars: Sequence[StoredBars],
    ts_start: int,
    versions: Mapping[str, int] | None,
) -> Membership:
    """Who is in at each moment from `ts_start` (ns UTC) to the last row; see `read_membership`."""
    from onetape.marketdata.universe import read_membership

    return read_membership(
        catalog, choice, [each.id for each in timeline.instruments], bars, ts_start,
        int(timeline.columns["ts_known"][-1]), (versions or {}).get(choice.name),
    )  # fmt: skip


def _with_past(stored: StoredBars, columns: BarColumns) -> StoredBars:
    """The bars of a session with those before them; known when the session knows them."""
    first = int(np.searchsorted(stored.columns["ts_open"], columns["ts_open"][0]))
    before = slice_rows(stored.columns, 0, first)
    joined = {name: np.append(before[name], columns[name]) for name in BAR_COLUMNS}
    return msgspec.structs.replace(stored, columns=joined)


def _add_fundamentals(
    timeline: Timeline, figures: Sequence[Figure], ts_end: int, version: int | None
) -> None:
    """Give the rows the columns of published figures, as they were known at each.

    `version` is that of the catalog's table; None: they are of a file.
    """
    names = [each.id for each in timeline.instruments]
    added: dict[str, FloatArray] = {}
    for name in names:
        rows = timeline.rows_of(name)
        joined = join_fundamentals(figures, name, timeline.columns["ts_known"][rows])
        for column, values in joined.items():
            added.setdefault(column, np.full(len(timeline), np.nan))[rows] = values
    timeline.columns = {**timeline.columns, **added}
    pins = pin_fundamentals(figures, names, ts_end, version or 0)
    if version is not None and not pins:  # a later import must not make it another session
        if not figures:
            raise DataError("the catalog has no figures of these instruments",
                            where="data.fundamentals", remedy="import some first")  # fmt: skip
        pins = (pin_nothing(figures[0].instrument, FUNDAMENTALS, version),)
    timeline.action_pins += pins


def place_files(
    files: SideFiles,
    catalog: Catalog,
    series: Sequence[tuple[Instrument, BarColumns]],
    ts_end: int,
    versions: Mapping[str, int] | None,
) -> tuple[Sequence[CorporateAction], Sequence[ContractStep], tuple[DatasetPin, ...]]:
    """Actions, funding and halts as a session meets them, and the pins of all."""
    from onetape.marketdata.stored_events import StoredEvents

    ids = [each.id for each, _ in series]
    known = dict.fromkeys([*catalog.instruments(), *ids]) if any(files) else {}
    actions: Sequence[CorporateAction] = ()
    steps: list[ContractStep] = []
    pins: tuple[DatasetPin, ...] = ()

    def stored(kind: RecordKind) -> StoredEvents:
        return StoredEvents(catalog, kind, ids, (versions or {}).get(kind.value))

    if files.actions == IN_CATALOG:
        kept = stored(RecordKind.CORPORATE_ACTIONS)
        actions = order_actions(place_rows(kept.actions(known), series, ts_end), series)
        pins += kept.pin(ACTIONS, pin_actions(actions))
    elif files.actions is not None:
        read = read_actions(files.actions, known)
        actions = order_actions(place_rows(read, series, ts_end), series)
        pins += pin_actions(actions)
    if files.funding == IN_CATALOG:
        kept = stored(RecordKind.FUNDING)
        steps += place_funding(kept.funding(), series, ts_end)
        pins += kept.pin(FUNDING, pin_funding(steps))
    elif files.funding is not None:
        steps += place_funding(read_funding(files.funding, known), series, ts_end)
        pins += pin_funding(steps)
    if files.halts == IN_CATALOG:
        kept = stored(RecordKind.HALTS)
        steps += place_halts(kept.halts(), series, ts_end)
        pins += kept.pin(HALTS, pin_halts(steps))
    elif files.halts is not None:
        steps += place_halts(read_halts(files.halts, known), series, ts_end)
        pins += pin_halts(steps)
    return actions, steps, pins


def _as_known_then(catalog: Catalog, stored: StoredBars) -> StoredBars:
    from onetape.marketdata.history import read_as_known_then

    columns = read_as_known_then(catalog, stored.instrument, stored.timeframe, stored.version)
    return msgspec.structs.replace(stored, columns=columns)


def _cut(bars: StoredBars, ts_start: int, ts_end: int) -> BarColumns:
    """The bars that lie within the time asked for, as views."""
    columns = bars.columns
    first = int(np.searchsorted(columns["ts_open"], ts_start))
    stop = int(np.searchsorted(columns["ts_close"], ts_end, side="right"))
    if first >= stop:
        held = f"{to_iso(int(columns['ts_open'][0]))} to {to_iso(int(columns['ts_close'][-1]))}"
        raise DataError(
            f"{bars.instrument} has no {bars.timeframe} bars from {to_iso(ts_start)} to "
            f"{to_iso(ts_end)}", remedy=f"the catalog has {held}",
        )  # fmt: skip
    return slice_rows(columns, first, stop)
