"""The bars of a paper or live session, from its tape: what its report and a backtest read."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.events import SessionStarted
from onetape.domain.legs import are_hedged, markets_among
from onetape.domain.market import BAR_FLOAT_COLUMNS, BAR_INT_COLUMNS
from onetape.domain.venue import BarClosed
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.tape.block import decode_record

_BAR = str(BarClosed.__struct_config__.tag).encode()


def read_bars(records: Iterable[bytes]) -> list[BarClosed]:
    """Every bar among the records of a tape, in order.

    Raises:
        DataError: A record can't be read.
    """
    found: list[BarClosed] = []
    for data in records:
        if _BAR in data:
            given = decode_record(data).events[0][0]
            if isinstance(given, BarClosed):
                found.append(given)
    return found


def read_timeline(header: SessionStarted, records: Iterable[bytes]) -> Timeline:
    """The bars that stand on a tape, as the timeline of a session.

    Raises:
        DataError: There is none, or a record can't be read.
    """
    bars = read_bars(records)
    if not bars:
        raise DataError("the tape holds no bar yet", remedy="wait for the first one")
    data = msgspec.json.decode(header.config)["data"]
    series = [(each, to_columns([bar for bar in bars if bar.instrument == each.id]))
              for each in markets_among(header.instruments)]  # fmt: skip
    timeline = build_timeline(series, source=data["source"], timeframe=data["timeframe"])
    return timeline.with_legs() if are_hedged(header.instruments) else timeline


def to_columns(bars: list[BarClosed]) -> BarColumns:
    """Bars of one instrument as columns."""
    columns: BarColumns = {
        name: np.array([getattr(each, name) for each in bars], dtype=np.int64)
        for name in BAR_INT_COLUMNS
    }
    for name in BAR_FLOAT_COLUMNS:
        columns[name] = np.array([getattr(each, name) for each in bars], dtype=np.float64)
    return columns
