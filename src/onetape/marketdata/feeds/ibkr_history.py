"""Bars from before, from IB's historical data, at the pace that it allows.

Source: Interactive Brokers, "TWS API": Historical bar data, "Step sizes" and "Pacing violations".
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from onetape.domain.errors import DataError, SourceUnavailable
from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import NS_PER_SECOND, timeframe_ns
from onetape.domain.venue import BarClosed
from onetape.marketdata.feeds.ibkr_contracts import to_contract
from onetape.marketdata.feeds.ibkr_link import NO_HISTORY, TwsGone, TwsLink, TwsRefusal
from onetape.marketdata.session_times import SessionTimes

if TYPE_CHECKING:
    from ib_async.objects import BarData

_WINDOW_S = 600.0
_ROUNDS_MAX = 12
"""Requests for the bars before the session, at most; what they don't have is left out."""


class BarSize(msgspec.Struct, frozen=True):
    """IB's name of a timeframe, and how much of it one request may ask for."""

    name: str
    span: str
    span_s: int


_DAY_S = 86_400
SIZES: Mapping[str, BarSize] = {
    "5s": BarSize("5 secs", "3600 S", 3_600),
    "10s": BarSize("10 secs", "14400 S", 14_400),
    "15s": BarSize("15 secs", "14400 S", 14_400),
    "30s": BarSize("30 secs", "28800 S", 28_800),
    "1m": BarSize("1 min", "1 D", _DAY_S),
    "2m": BarSize("2 mins", "2 D", 2 * _DAY_S),
    "3m": BarSize("3 mins", "1 W", 7 * _DAY_S),
    "5m": BarSize("5 mins", "1 W", 7 * _DAY_S),
    "10m": BarSize("10 mins", "1 W", 7 * _DAY_S),
    "15m": BarSize("15 mins", "2 W", 14 * _DAY_S),
    "20m": BarSize("20 mins", "2 W", 14 * _DAY_S),
    "30m": BarSize("30 mins", "1 M", 28 * _DAY_S),
}
"""The timeframes that both IB's bars and whole pieces of five seconds make."""


def find_size(timeframe: str) -> BarSize:
    """IB's bars of a timeframe.

    Raises:
        DataError: It has none that it also makes live.
    """
    found = SIZES.get(timeframe)
    if found is None:
        raise DataError(f"IB has no live bars of {timeframe}", where="data.timeframe",
                        remedy=f"choose one of {', '.join(SIZES)}")  # fmt: skip
    return found


class Pace:
    """At most so many requests in a window.

    Args:
        requests: How many.
        window_s: In how many seconds.
    """

    def __init__(self, requests: int, window_s: float) -> None:
        self._requests = requests
        self._window_s = window_s
        self._sent_s: deque[float] = deque()

    async def wait(self) -> None:
        """Returns when one more may be sent, which counts."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            while self._sent_s and now - self._sent_s[0] >= self._window_s:
                self._sent_s.popleft()
            if len(self._sent_s) < self._requests:
                self._sent_s.append(now)
                return
            await asyncio.sleep(self._sent_s[0] + self._window_s - now)


class TwsHistory:
    """Asks for bars of regular sessions.

    Args:
        link: The connection.
        clock: Ours, ns UTC; a bar that is not over by it is left out.
        pace: Of requests, over all instruments.
        name: Of the feed.
    """

    def __init__(self, link: TwsLink, clock: Callable[[], int], requests: int, name: str) -> None:
        self._link = link
        self._clock = clock
        self._pace = Pace(requests, _WINDOW_S)
        self._source = f"{name}:history"
        self._times: dict[str, SessionTimes] = {}

    async def read_between(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> list[BarClosed]:
        """Bars that open in [start, end) (ns UTC) and are over, oldest first.

        Raises:
            SourceUnavailable: They are not told.
        """
        size = find_size(timeframe)
        found: dict[int, BarClosed] = {}
        until = ""
        for _ in range(_ROUNDS_MAX):
            last = _to_ns(until) if until else max(self._clock(), end)
            seconds = (last - start) // NS_PER_SECOND + timeframe_ns(timeframe) // NS_PER_SECOND
            span = f"{max(60, seconds)} S" if seconds < min(size.span_s, _DAY_S) else size.span
            bars = await self._ask(instrument, timeframe, until, span)
            fresh = {each.ts_open: each for each in bars} | found
            is_more = len(fresh) > len(found)
            found = fresh
            first = min(found, default=start)
            if first <= start or not is_more:
                break
            until = _to_text(first)
        return [found[each] for each in sorted(found) if start <= each < end]

    async def read_last(self, instrument: Instrument, timeframe: str, bars: int) -> list[BarClosed]:
        """The newest `bars` bars that are over; fewer where there are no more.

        Raises:
            SourceUnavailable: They are not told.
        """
        size = find_size(timeframe)
        found: dict[int, BarClosed] = {}
        until = ""
        for _ in range(_ROUNDS_MAX):
            fresh = await self._ask(instrument, timeframe, until, size.span)
            before = len(found)
            found = {each.ts_open: each for each in fresh} | found
            if len(found) >= bars or len(found) == before:
                break
            until = _to_text(min(found))
        return [found[each] for each in sorted(found)][-bars:] if bars else []

    async def _ask(
        self, instrument: Instrument, timeframe: str, until: str, span: str
    ) -> list[BarClosed]:
        """One request; until now where `until` is empty."""
        contract = to_contract(instrument.id)
        await self._pace.wait()
        try:
            bars = await self._link.ask(
                lambda number: self._link.client.reqHistoricalData(
                    number, contract, until, span, SIZES[timeframe].name, "TRADES", True, 2,
                    False, [],
                )
            )  # fmt: skip
        except TwsRefusal as refusal:
            if refusal.code == NO_HISTORY and "no data" in refusal.message.lower():
                return []
            raise SourceUnavailable(f"IB does not tell history: {refusal}",
                                    where=instrument.id) from None  # fmt: skip
        except TwsGone as gone:
            raise SourceUnavailable(f"IB can't be asked for history: {gone}",
                                    where=instrument.id) from None  # fmt: skip
        now = self._clock()
        made = (self._to_bar(each, instrument, timeframe, now) for each in bars)
        return [each for each in made if each.ts_close <= now]

    def _to_bar(
        self, bar: BarData, instrument: Instrument, timeframe: str, ts_ingest: int
    ) -> BarClosed:
        times = self._times.get(instrument.calendar)
        if times is None:
            times = self._times[instrument.calendar] = SessionTimes(instrument.calendar)
        ts_open = int(str(bar.date)) * NS_PER_SECOND
        ts_close = ts_open + timeframe_ns(timeframe)
        return BarClosed(
            instrument=instrument.id, ts_open=ts_open, ts_close=ts_close, ts_known=0,
            session_close=times.close_of(ts_open, ts_close), open=bar.open, high=bar.high,
            low=bar.low, close=bar.close, volume=bar.volume, source=self._source,
            ts_ingest=ts_ingest,
        )  # fmt: skip


def _to_text(ts: int) -> str:
    """A moment as IB reads it, UTC."""
    return datetime.fromtimestamp(ts // NS_PER_SECOND, tz=UTC).strftime("%Y%m%d-%H:%M:%S")


def _to_ns(text: str) -> int:
    moment = datetime.strptime(text, "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
    return int(moment.timestamp()) * NS_PER_SECOND
