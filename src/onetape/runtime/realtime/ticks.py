"""Takes quotes, prints and changes of the depth, as a session can use them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import BookDelta, Quality, QuoteTick, TradeTick
from onetape.domain.timestamps import NS_PER_DAY
from onetape.domain.venue import Tick, TickHeard
from onetape.marketdata.session_times import SessionTimes

_WHOLE_MAX = 2.0**53
"""Below it float64 tells whole ticks and lots apart."""


class TickGate:
    """Ticks in, rows of a session out, each a slice of its own but the changes of one update.

    A tick that can't be is dropped, and the next one of its instrument is flagged `GAP_BEFORE`: a
    price or size that is no number, negative or beyond what float64 tells exactly, a bid above its
    ask, a first quote without any side. One from before the newest of its instrument gets that
    one's time and the flag `LATE`.

    Args:
        instruments: Of the session.

    Attributes:
        dropped: Ticks that could not be.
    """

    def __init__(self, instruments: Sequence[Instrument]) -> None:
        self._instruments = {each.id: each for each in instruments}
        self._times = {each.calendar: SessionTimes(each.calendar) for each in instruments}
        self._newest: dict[InstrumentId, int] = {}
        self._session: dict[InstrumentId, tuple[int, int]] = {}
        self._gaps: set[InstrumentId] = set()
        self._priced: set[InstrumentId] = set()
        self.dropped = 0

    def go_on(self, newest: Mapping[InstrumentId, int]) -> None:
        """The session has ticks up to these times (ns UTC) already; some may be missing since."""
        for each, ts in newest.items():
            if ts >= 0:
                self._newest[each] = ts
                self._priced.add(each)
                self._gaps.add(each)

    def find_missed(
        self, history: Sequence[TradeTick], newest: Mapping[InstrumentId, str]
    ) -> list[TickHeard]:
        """The prints of `history` behind those that a session has, as rows that nobody hears.

        Args:
            history: The newest prints of each instrument, in time order.
            newest: `trade_id` of the newest print of each, if the session has one.
        """
        missed: list[TickHeard] = []
        for name in self._instruments:
            own = [each for each in history if each.instrument == name]
            last = newest.get(name)
            known = [at for at, each in enumerate(own) if last and each.trade_id == last]
            if known:
                own = own[known[-1] + 1 :]
                self._gaps.discard(name)
            else:
                own = [each for each in own if each.ts_event > self._newest.get(name, -1)]
            for each in own:
                missed += self.take((each,))
        missed.sort(key=lambda each: each.tick.ts_event)
        return missed

    def take(self, ticks: Sequence[Tick]) -> tuple[TickHeard, ...]:
        """The rows of a slice: of one tick, or of an update of the depth; empty: it can't be."""
        if not all(map(self._is_sound, ticks)):
            self.dropped += 1
            self._gaps.update(each.instrument for each in ticks)
            return ()
        return tuple(map(self._hear, ticks))

    def _is_sound(self, tick: Tick) -> bool:
        one = self._instruments[tick.instrument]
        most = _WHOLE_MAX * one.lot_float
        match tick:
            case QuoteTick():
                has_bid, has_ask = tick.bid_size > 0, tick.ask_size > 0
                return (
                    all(0 <= each < most for each in (tick.bid_size, tick.ask_size))
                    and (not has_bid or self._is_price(tick.bid, one))
                    and (not has_ask or self._is_price(tick.ask, one))
                    and not (has_bid and has_ask and tick.bid > tick.ask)
                    and (has_bid or has_ask or tick.instrument in self._priced)
                )
            case TradeTick():
                return self._is_price(tick.price, one) and 0 <= tick.size < most
            case BookDelta():
                return self._is_price(tick.price, one) and 0 <= tick.size < most

    def _is_price(self, price: float, one: Instrument) -> bool:
        return math.isfinite(price) and 0 < price < _WHOLE_MAX * one.tick_float

    def _hear(self, tick: Tick) -> TickHeard:
        name, ts, quality = tick.instrument, tick.ts_event, tick.quality
        newest = self._newest.get(name, 0)
        if ts < newest:
            ts, quality = newest, quality | Quality.LATE
        if name in self._gaps:
            self._gaps.discard(name)
            quality |= Quality.GAP_BEFORE
        self._newest[name] = ts
        self._priced.add(name)
        if (ts, quality) != (tick.ts_event, tick.quality):
            tick = msgspec.structs.replace(tick, ts_event=ts, quality=int(quality))
        return TickHeard(tick, self._session_close(name, ts))

    def _session_close(self, name: InstrumentId, ts: int) -> int:
        """End of the session of a tick or of the next one, as imported ticks have it."""
        start, end = self._session.get(name, (0, 0))
        if not start < ts <= end:
            times = self._times[self._instruments[name].calendar]
            end = times.next_session(ts - 1)[1] or ((ts - 1) // NS_PER_DAY + 1) * NS_PER_DAY
            self._session[name] = (ts - 1, end)
        return end
