"""A feed that plays bars from memory, as fast as the session takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import BAR_FLOAT_COLUMNS, BAR_INT_COLUMNS
from onetape.domain.venue import BarClosed
from onetape.marketdata.feeds.port import FeedEvent, Take
from onetape.marketdata.timeline import Timeline


def list_bars(timeline: Timeline) -> list[BarClosed]:
    """The bars of a timeline in its order, as a feed tells them."""
    columns = {name: timeline.columns[name].tolist()
               for name in (*BAR_INT_COLUMNS, *BAR_FLOAT_COLUMNS)}  # fmt: skip
    owners = timeline.row_owners
    return [
        BarClosed(
            instrument=InstrumentId(timeline.instruments[owners[row]].id),
            **{name: values[row] for name, values in columns.items()},
        )
        for row in range(len(timeline))
    ]


class FakeFeed:
    """Tells events in order, then waits; bars before `begins` (ns UTC) are history."""

    name = "fake"

    def __init__(
        self, instruments: Sequence[Instrument], events: Sequence[FeedEvent], begins: int = 0
    ) -> None:
        self._instruments = {each.id: each for each in instruments}
        self._events = events
        self._begins = begins
        self.told = asyncio.Event()

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        return tuple(self._instruments[each] for each in instruments)

    async def read_history(
        self, instruments: Sequence[Instrument], timeframe: str, bars: int
    ) -> list[BarClosed]:
        before = [each for each in self._events
                  if isinstance(each, BarClosed) and each.ts_close <= self._begins]  # fmt: skip
        kept: list[BarClosed] = []
        for instrument in instruments:
            kept += [each for each in before if each.instrument == instrument.id][-bars:]
        return sorted(kept, key=lambda each: each.ts_close)

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        for event in self._events:
            if not isinstance(event, BarClosed):
                await take(event)
            elif event.ts_close > self._begins:
                await take(msgspec.structs.replace(event, ts_known=0, session_close=0))
        self.told.set()
        await asyncio.Event().wait()
