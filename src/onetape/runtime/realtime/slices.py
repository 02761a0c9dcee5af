"""Puts the bars of one close time together, as a session takes them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import Quality
from onetape.domain.venue import BarClosed
from onetape.marketdata.session_times import SessionTimes


class BarSlices:
    """Bars in, slices out: whole ones at once, others when they have waited for long enough.

    A bar of a close time that has gone is `LATE` and a slice by itself; one that is not behind the
    newest of its instrument is dropped. Times are ns UTC of the session's clock.

    Args:
        instruments: All that a whole slice has.
        grace_ns: How long a slice waits for the rest, from its first bar on.

    Attributes:
        dropped: Bars that came again or too late.
    """

    def __init__(self, instruments: Sequence[Instrument], grace_ns: int) -> None:
        self._instruments = {each.id: each for each in instruments}
        self._closes = {each.calendar: SessionTimes(each.calendar) for each in instruments}
        self._grace_ns = grace_ns
        self._waiting: dict[int, dict[InstrumentId, BarClosed]] = {}
        self._due: dict[int, int] = {}
        self._gone = -1
        self._newest: dict[InstrumentId, int] = {}
        self.dropped = 0

    @property
    def next_due(self) -> int | None:
        """When the next slice has waited for long enough; None: none waits."""
        return min(self._due.values(), default=None)

    def add(self, bar: BarClosed, now: int) -> list[tuple[BarClosed, ...]]:
        """Take a bar; the slices that are whole by it, in order."""
        if bar.ts_open < self._newest.get(bar.instrument, -1):
            self.dropped += 1
            return []
        self._newest[bar.instrument] = bar.ts_close
        bar = msgspec.structs.replace(bar, session_close=self._session_close(bar))
        if bar.ts_close <= self._gone:
            return [(msgspec.structs.replace(bar, quality=bar.quality | Quality.LATE),)]
        slices: list[tuple[BarClosed, ...]] = []
        for ts_close in sorted(self._waiting):
            if ts_close < bar.ts_close and bar.instrument in self._waiting[ts_close]:
                slices += self._release(ts_close)
        bars = self._waiting.setdefault(bar.ts_close, {})
        bars.setdefault(bar.instrument, bar)
        self._due.setdefault(bar.ts_close, now + self._grace_ns)
        if len(bars) == len(self._instruments):
            slices += self._release(bar.ts_close)
        return slices

    def expire(self, now: int) -> list[tuple[BarClosed, ...]]:
        """The slices that have waited for long enough, in order."""
        over = [ts_close for ts_close, due in self._due.items() if due <= now]
        return self._release(max(over)) if over else []

    def _release(self, ts_close: int) -> list[tuple[BarClosed, ...]]:
        """The slice of a close time, and before it those that are older."""
        found: list[tuple[BarClosed, ...]] = []
        for each in sorted(each for each in self._waiting if each <= ts_close):
            found.append(tuple(self._waiting.pop(each).values()))
            del self._due[each]
        self._gone = max(self._gone, ts_close)
        return found

    def _session_close(self, bar: BarClosed) -> int:
        calendar = self._instruments[bar.instrument].calendar
        return self._closes[calendar].close_of(bar.ts_open, bar.ts_close)
