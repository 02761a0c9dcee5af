"""The rows of a paper or live session, from its tape: what its report and a backtest read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.domain.events import SessionStarted
from onetape.domain.instrument import Instrument
from onetape.domain.legs import are_hedged, markets_among
from onetape.domain.market import (
    BAR_FLOAT_COLUMNS,
    BAR_INT_COLUMNS,
    BOOK,
    DELTA_FLOAT_COLUMNS,
    DELTA_INT_COLUMNS,
    QUOTE_FLOAT_COLUMNS,
    QUOTE_INT_COLUMNS,
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
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.tick_timeline import (
    build_book_timeline,
    build_quote_timeline,
    build_trade_timeline,
)
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.tape.block import decode_record

_TAGS = tuple(
    str(each.__struct_config__.tag).encode() for each in (BarClosed, TickHeard, CorporateAction)
)

Columns = dict[str, npt.NDArray[Any]]


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


def read_timeline(header: SessionStarted, records: Iterable[bytes]) -> Timeline:
    """The rows that stand on a tape, as the timeline of a session.

    Raises:
        DataError: There is none, or a record can't be read.
    """
    data = msgspec.json.decode(header.config)["data"]
    rows: list[RowHeard] = []
    actions: list[CorporateAction] = []
    for each in read_happenings(records):
        if isinstance(each, CorporateAction):
            actions.append(each)
        else:
            rows.append(each)
    if not rows:
        what = "bar" if has_length(data["timeframe"]) else "tick"
        raise DataError(f"the tape holds no {what} yet", remedy="wait for the first one")
    markets = markets_among(header.instruments)
    timeline = build_rows(markets, rows, data["timeframe"], data["source"])
    timeline = timeline.with_actions(actions)
    return timeline.with_legs() if are_hedged(header.instruments) else timeline


def build_rows(
    instruments: Sequence[Instrument], rows: Sequence[RowHeard], timeframe: str, source: str
) -> Timeline:
    """The timeline of rows of a session, in the order in which they were heard.

    Raises:
        DataError: They are no rows in time order.
    """
    if has_length(timeframe):
        bars = [each for each in rows if isinstance(each, BarClosed)]
        series = [(one, _to_columns([bar for bar in bars if bar.instrument == one.id]))
                  for one in instruments]  # fmt: skip
        return build_timeline(series, source=source, timeframe=timeframe)
    own = {each.id: [row for row in rows if row.instrument == each.id] for each in instruments}
    what = timeframe.partition("+")[0]
    if what == TRADES:
        trades = [(each, _to_prints(own[each.id])) for each in instruments]
        return build_trade_timeline(trades, source=source)
    columns = (QUOTE_INT_COLUMNS, QUOTE_FLOAT_COLUMNS, QuoteTick, build_quote_timeline)
    if what == BOOK:
        columns = (DELTA_INT_COLUMNS, DELTA_FLOAT_COLUMNS, BookDelta, build_book_timeline)
    ints, floats, kind, build = columns
    series = [(each, _to_ticks(own[each.id], kind, ints, floats)) for each in instruments]
    prints: dict[str, Columns] = {}
    for each in instruments:
        prints[each.id] = _to_prints(own[each.id])
    return build(series, source=source, trades=prints)


def _to_prints(rows: Sequence[RowHeard]) -> Columns:
    return _to_ticks(rows, TradeTick, TRADE_INT_COLUMNS, TRADE_FLOAT_COLUMNS)


def _to_ticks(
    rows: Sequence[RowHeard], kind: type, ints: Sequence[str], floats: Sequence[str]
) -> Columns:
    """The ticks of one kind and instrument as columns."""
    chosen = [each for each in rows if isinstance(each, TickHeard) and isinstance(each.tick, kind)]
    columns: Columns = {
        name: np.array([getattr(each.tick, name) for each in chosen],
                       dtype=np.int64 if name in ints else np.float64)
        for name in (*ints, *floats) if name != "session_close"
    }  # fmt: skip
    columns["session_close"] = np.array([each.session_close for each in chosen], dtype=np.int64)
    quality = np.array([each.quality for each in chosen], dtype=np.int64)
    return {**columns, "quality": quality} if quality.any() else columns


def _to_columns(bars: list[BarClosed]) -> BarColumns:
    """Bars of one instrument as columns."""
    columns: BarColumns = {
        name: np.array([getattr(each, name) for each in bars], dtype=np.int64)
        for name in BAR_INT_COLUMNS
    }
    for name in BAR_FLOAT_COLUMNS:
        columns[name] = np.array([getattr(each, name) for each in bars], dtype=np.float64)
    return columns
