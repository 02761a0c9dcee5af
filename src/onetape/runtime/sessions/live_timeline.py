"""The rows of a paper or live session, from its tape: what its report and a backtest read.

They are read twice, to count them and to lay them aside, so memory does not grow with their number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.events import SessionStarted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import are_hedged, markets_among
from onetape.domain.market import (
    BAR_FLOAT_COLUMNS,
    BAR_INT_COLUMNS,
    BOOK,
    DELTA_FLOAT_COLUMNS,
    DELTA_INT_COLUMNS,
    QUOTE_FLOAT_COLUMNS,
    QUOTE_INT_COLUMNS,
    QUOTES,
    TRADE_FLOAT_COLUMNS,
    TRADE_INT_COLUMNS,
    TRADES,
    BookDelta,
    CorporateAction,
    QuoteTick,
    TradeTick,
)
from onetape.domain.timestamps import has_length
from onetape.domain.venue import BarClosed, RowHeard, TickHeard
from onetape.marketdata.bar_pieces import BarSeries, merge_bars
from onetape.marketdata.column_file import ColumnFile
from onetape.marketdata.tick_pieces import QUALITY, TickSeries
from onetape.marketdata.tick_timeline import build_ticks
from onetape.marketdata.timeline import Timeline, TimelineKind
from onetape.tape.block import decode_record

_TAGS = tuple(
    str(each.__struct_config__.tag).encode() for each in (BarClosed, TickHeard, CorporateAction)
)

_WAITING_ROWS = 1 << 12
"""Rows that wait in memory until they are laid aside together."""

Rows = Callable[[], Iterable[RowHeard]]
"""Gives the rows of a session from the first one on, in the order in which they were heard."""


def read_happenings(records: Iterable[bytes]) -> Iterator[RowHeard | CorporateAction]:
    """Every bar, tick and corporate action among the records of a tape, in order.

    Raises:
        DataError: A record can't be read.
    """
    for data in records:
        if any(each in data for each in _TAGS):
            given = decode_record(data).events[0][0]
            if isinstance(given, RowHeard | CorporateAction):
                yield given


def read_timeline(header: SessionStarted, records: Callable[[], Iterable[bytes]]) -> Timeline:
    """The rows that stand on a tape, as the timeline of a session.

    Raises:
        DataError: There is none, or a record can't be read.
        TryAgain: There is no room on the disk to lay rows aside.
    """
    data = msgspec.json.decode(header.config)["data"]
    actions: list[CorporateAction] = []
    is_empty = True
    for each in read_happenings(records()):
        if isinstance(each, CorporateAction):
            actions.append(each)
        else:
            is_empty = False
    if is_empty:
        what = "bar" if has_length(data["timeframe"]) else "tick"
        raise DataError(f"the tape holds no {what} yet", remedy="wait for the first one")

    def read_rows() -> Iterator[RowHeard]:
        return (each for each in read_happenings(records()) if isinstance(each, RowHeard))

    markets = markets_among(header.instruments)
    timeline = build_rows(markets, read_rows, data["timeframe"], data["source"])
    timeline = timeline.with_actions(actions)
    return timeline.with_legs() if are_hedged(header.instruments) else timeline


def build_rows(
    instruments: Sequence[Instrument], rows: Rows, timeframe: str, source: str
) -> Timeline:
    """The timeline of rows of a session.

    Raises:
        DataError: They are no rows in time order.
        TryAgain: There is no room on the disk to lay rows aside.
    """
    if has_length(timeframe):
        laid = _lay_aside(instruments, rows, [_BARS])
        return merge_bars(
            [BarSeries(each, *laid[each.id, BarClosed]) for each in instruments],
            source=source, timeframe=timeframe,
        )  # fmt: skip
    main = _TICKS[timeframe.partition("+")[0]]
    laid = _lay_aside(instruments, rows, {main, _PRINTS})

    def list_series(kind: _Kind) -> list[TickSeries]:
        return [TickSeries(each, kind.name, *laid[each.id, kind.event]) for each in instruments]

    prints = [] if main is _PRINTS else list_series(_PRINTS)
    return build_ticks(
        list_series(main), {each.instrument.id: each for each in prints}, kind=main.name,
        source=source,
    )  # fmt: skip


class _Kind(NamedTuple):
    """Rows of one kind: what they are called, what is heard, and its columns."""

    name: TimelineKind
    event: type
    ints: tuple[str, ...]
    floats: tuple[str, ...]


_BARS = _Kind("bars", BarClosed, BAR_INT_COLUMNS, BAR_FLOAT_COLUMNS)
_PRINTS = _Kind("trades", TradeTick, TRADE_INT_COLUMNS, TRADE_FLOAT_COLUMNS)
_TICKS = {
    TRADES: _PRINTS,
    QUOTES: _Kind("quotes", QuoteTick, QUOTE_INT_COLUMNS, QUOTE_FLOAT_COLUMNS),
    BOOK: _Kind("book", BookDelta, DELTA_INT_COLUMNS, DELTA_FLOAT_COLUMNS),
}
_Key = tuple[InstrumentId, type]


class _Laid(NamedTuple):
    """Columns that are laid aside, and where."""

    columns: dict[str, npt.NDArray[Any]]
    file: ColumnFile


def _lay_aside(
    instruments: Sequence[Instrument], rows: Rows, kinds: Collection[_Kind]
) -> dict[_Key, _Laid]:
    """The columns of each instrument and kind; other rows are left out."""
    counts: Counter[_Key] = Counter()
    flagged: set[_Key] = set()
    for row in rows():
        key = _key_of(row)
        counts[key] += 1
        if row.quality:
            flagged.add(key)
    files: dict[_Key, ColumnFile] = {}
    for each in instruments:
        for kind in kinds:
            key = each.id, kind.event
            flags = (QUALITY,) if key in flagged else ()
            types: dict[str, npt.DTypeLike] = dict.fromkeys((*kind.ints, *flags), np.int64)
            files[key] = ColumnFile({**types, **dict.fromkeys(kind.floats, np.float64)},
                                    counts[key])  # fmt: skip
    waiting: dict[_Key, list[RowHeard]] = {key: [] for key in files}

    def write() -> None:
        for key, own in waiting.items():
            files[key].append(_to_columns(own, files[key].types))
            own.clear()

    for count, row in enumerate(rows(), 1):
        if (key := _key_of(row)) in waiting:
            waiting[key].append(row)
        if not count % _WAITING_ROWS:
            write()
    write()
    return {key: _Laid(each.read(), each) for key, each in files.items()}


def _key_of(row: RowHeard) -> _Key:
    return row.instrument, type(row.tick if isinstance(row, TickHeard) else row)


def _to_columns(
    rows: Sequence[RowHeard], types: Mapping[str, np.dtype[Any]]
) -> dict[str, npt.NDArray[Any]]:
    """Rows of one instrument and kind as columns."""
    ticks = [each.tick if isinstance(each, TickHeard) else each for each in rows]
    columns = {
        name: np.array([getattr(each, name) for each in ticks], dtype)
        for name, dtype in types.items() if name != "session_close"
    }  # fmt: skip
    closes = [each.session_close for each in rows]
    return {**columns, "session_close": np.array(closes, types["session_close"])}
