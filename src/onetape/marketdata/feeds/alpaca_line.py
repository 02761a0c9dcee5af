"""Alpaca's live feed of instruments of one kind: its connection, kept up, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, NamedTuple

import msgspec

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.market import QUOTES, TRADES, Quality
from onetape.domain.timestamps import timeframe_ns
from onetape.domain.venue import BarClosed, ConnectionChanged, ConnectionPart
from onetape.marketdata.feeds.alpaca_assets import by_wire_symbol, to_wire_symbol
from onetape.marketdata.feeds.alpaca_connection import (
    KEYS_REFUSED,
    AlpacaDataAccess,
    FeedRefused,
    KeysRefused,
    connection_errors,
    open_connection,
)
from onetape.marketdata.feeds.alpaca_ticks import ReadTrades, TickTeller, ToldPrints
from onetape.marketdata.feeds.backoff import Backoff
from onetape.marketdata.feeds.port import PassedOver, Take
from onetape.marketdata.session_times import SessionTimes

MINUTE = "1m"
CHANNELS_OF = {
    MINUTE: ("bars", "updatedBars"),
    TRADES: ("trades",),
    QUOTES: ("quotes",),
    f"{QUOTES}+{TRADES}": ("quotes", "trades"),
}
"""What is subscribed to for a timeframe."""

_WAITING_MAX = 4_096

ReadBetween = Callable[[Instrument, int, int], Awaitable[list[BarClosed]]]


class Told:
    """What a feed has told: the opening of the newest bar of each instrument, and prints.

    `name` is the feed's; `corrected` counts bars that were changed behind their first telling.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.corrected = 0
        self.last_open: dict[InstrumentId, int] = {}
        self.prints = ToldPrints()

    def remember(self, bar: BarClosed) -> None:
        """It was told, or read as history."""
        last = self.last_open.get(bar.instrument, bar.ts_open)
        self.last_open[bar.instrument] = max(last, bar.ts_open)


class _Subscribed(NamedTuple):
    """Behind it come messages; `has_gap`: some were missed before."""

    has_gap: bool


class _Down(NamedTuple):
    """Nothing comes any more."""

    reason: str


class _Message(NamedTuple):
    """As it came, and when (ns UTC)."""

    message: dict[str, Any]
    ts_ingest: int


async def run_together(
    *works: Coroutine[Any, Any, None], on_end: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Runs all until one of them ends by an error, which is raised when the others have ended.

    `on_end` comes before they are canceled.
    """
    tasks = [asyncio.create_task(each, name="alpaca-feed") for each in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        if on_end is not None:
            await on_end()
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Line:
    """The connection for instruments of one kind, kept up.

    Args:
        access: Where, and with which keys.
        clock: Ours, ns UTC.
        told: What the feed has told so far.
        read_between: Asks history for the bars that open between two times.
        read_trades: Asks it for trades.
        instruments: All equities, or all pairs.
        timeframe: One of `CHANNELS_OF`.
        take: The session.
        is_alone: Whether there is no other connection beside it.
    """

    def __init__(
        self,
        access: AlpacaDataAccess,
        clock: Callable[[], int],
        told: Told,
        read_between: ReadBetween,
        read_trades: ReadTrades,
        instruments: Sequence[Instrument],
        timeframe: str,
        take: Take,
        *,
        is_alone: bool,
    ) -> None:
        self._access = access
        self._clock = clock
        self._memory = told
        self._read_between = read_between
        self._instruments = instruments
        self._by_symbol = by_wire_symbol(instruments)
        self._times = {each.id: SessionTimes(each.calendar) for each in instruments}
        self._take = take
        self._is_alone = is_alone
        self._length = timeframe_ns(MINUTE)
        self._is_bars = timeframe == MINUTE
        self._ticks = TickTeller(told.name, told.prints, read_trades, take, clock)
        self._waits = Backoff(access.first_wait_s, access.longest_wait_s, access.seed)
        self._unchecked: set[InstrumentId] = set()
        self._heard_s = 0.0
        self._was_up = False
        self._is_closing = False
        self._is_silent = False
        self._reason = ""
        self._told: tuple[bool, str] | None = None
        self._waiting: asyncio.Queue[_Subscribed | _Down | _Message] = asyncio.Queue(_WAITING_MAX)
        self._connection = open_connection(
            access, CHANNELS_OF[timeframe], [to_wire_symbol(each) for each in instruments],
            self._on_message, self._on_subscribed,
            is_pairs=instruments[0].kind is InstrumentKind.SPOT,
        )  # fmt: skip

    async def run(self) -> None:
        """Until canceled.

        Raises:
            ConfigError: The first login was refused, or the keys don't cover the feed.
        """
        await run_together(self._read(), self._tell(), self._watch(), on_end=self._close)

    async def _close(self) -> None:
        """The connection ends, and none follows.

        alpaca-py waits for messages by `asyncio.wait_for`, which in Python 3.11 loses a cancel that
        comes together with a message; so what waits is ended, and not only canceled.
        """
        self._is_closing = True
        await self._connection.close()

    # Reading: only alpaca-py's errors and the wire's come up here.

    async def _read(self) -> None:
        """Connects again and again."""
        while not self._is_closing:
            reason = "the connection ended"
            try:
                await self._connection.listen()
            except KeysRefused as refusal:
                if not self._was_up:
                    raise ConfigError(f"{KEYS_REFUSED} ({refusal})",
                                      remedy="look at key and secret") from None  # fmt: skip
                reason = f"{KEYS_REFUSED} ({refusal})"
            except FeedRefused as refusal:
                reason = f"Alpaca says: {refusal}"
            except connection_errors() as error:
                reason = f"the connection ended: {type(error).__name__} {error}".rstrip()
            finally:
                await self._connection.close()
            if self._is_closing:
                return
            reason, self._reason = self._reason or reason, ""
            await self._waiting.put(_Down(reason))
            await asyncio.sleep(self._waits.next_wait())

    async def _on_subscribed(self) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        self._waits.reset()
        await self._waiting.put(_Subscribed(has_gap=self._was_up))
        self._was_up = True

    async def _on_message(self, message: dict[str, Any]) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        await self._waiting.put(_Message(message, self._clock()))

    async def _watch(self) -> None:
        """Ends a connection on which nothing comes although a market is open."""
        loop = asyncio.get_running_loop()
        limit = self._access.silence_s
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            now = self._clock()
            if not self._was_up or not any(each.is_open(now) for each in self._times.values()):
                self._heard_s = loop.time()
            elif loop.time() - self._heard_s > limit:
                self._heard_s = loop.time()
                self._is_silent = True
                self._reason = f"no market data for {limit:g} s while a market is open"
                await self._connection.close()

    # Telling: what the session raises ends the feed.

    async def _tell(self) -> None:
        """Tells what was read, one after the other."""
        while True:
            match await self._waiting.get():
                case _Down(reason):
                    await self._tell_change(is_up=False, reason=reason)
                case _Subscribed(has_gap):
                    await self._begin(has_gap=has_gap)
                case _Message(message, ts_ingest):
                    await self._tell_message(message, ts_ingest)

    async def _tell_change(self, *, is_up: bool, reason: str) -> None:
        told = self._told or (not is_up, "")
        # Why it stays down is told again only when it is the keys.
        is_news = reason.startswith(KEYS_REFUSED) and not told[1].startswith(KEYS_REFUSED)
        if told[0] == is_up and (is_up or not is_news):
            return
        self._told = (is_up, reason)
        await self._take(
            ConnectionChanged(
                part=ConnectionPart.FEED, name=self._memory.name, is_up=is_up, reason=reason,
                instruments=[] if self._is_alone else [each.id for each in self._instruments],
            )
        )  # fmt: skip

    async def _begin(self, *, has_gap: bool) -> None:
        """The subscription stands: what was missed comes before what comes now."""
        if not self._is_silent:
            await self._tell_change(is_up=True, reason="subscribed")
        if not self._is_bars:
            await self._ticks.begin(self._instruments, has_gap=has_gap)
            return
        for each in self._instruments:
            if self._memory.last_open.get(each.id) is not None:
                # The minute that is over may be missing in history for a moment: the first bar
                # that comes asks again.
                self._unchecked.add(each.id)
                await self._fill_gap(each, self._clock())

    async def _tell_message(self, message: dict[str, Any], ts_ingest: int) -> None:
        if self._is_silent:
            self._is_silent = False
            await self._tell_change(is_up=True, reason="market data comes again")
        instrument = self._by_symbol.get(message["S"])
        if instrument is None:
            return
        bar = tick = None
        try:
            if self._is_bars:
                bar = self._to_bar(instrument, message, ts_ingest)
            else:
                tick = self._ticks.read(instrument, message, ts_ingest)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._reason = f"a message can't be read: {type(error).__name__} {error}"
            await self._connection.close()
            return
        if bar is not None:
            await self._tell_fresh(bar, instrument)
        if tick is not None:
            await self._ticks.tell(instrument, tick)

    async def _tell_fresh(self, bar: BarClosed, instrument: Instrument) -> None:
        """A bar of the stream, behind those that it shows to be missing."""
        if instrument.id in self._unchecked:
            if not await self._fill_gap(instrument, bar.ts_open):
                quality = bar.quality | int(Quality.GAP_BEFORE)
                bar = msgspec.structs.replace(bar, quality=quality)
            self._unchecked.discard(instrument.id)
        await self._tell_bar(bar, instrument)

    async def _fill_gap(self, instrument: Instrument, end: int) -> bool:
        """Tells what history has between the last bar told and `end`; False: it does not answer."""
        last = self._memory.last_open.get(instrument.id)
        if last is None or last + self._length >= end:
            return True
        try:
            bars = await self._read_between(instrument, last + self._length, end)
        except (SourceUnavailable, ConfigError, DataError):
            return False
        for each in bars:
            await self._tell_bar(each, instrument)
        return True

    async def _tell_bar(self, bar: BarClosed, instrument: Instrument) -> None:
        last = self._memory.last_open.get(instrument.id)
        if last is not None and bar.ts_open <= last:
            return
        self._memory.remember(bar)
        times = self._times[instrument.id]
        if self._access.session_only and not (
            times.is_open(bar.ts_open) or times.is_open(bar.ts_close - 1)
        ):
            await self._take(PassedOver(instrument.id, bar.ts_close))
            return
        await self._take(bar)

    # Translating.

    def _to_bar(
        self, instrument: Instrument, message: dict[str, Any], ts_ingest: int
    ) -> BarClosed | None:
        """The message as a bar; None where it tells nothing new."""
        ts = message["t"].to_unix_nano()
        last = self._memory.last_open.get(instrument.id)
        is_late = message["T"] == "u"
        if last is not None and ts <= last:
            self._memory.corrected += is_late
            return None
        ts_close = ts + self._length
        return BarClosed(
            instrument=instrument.id, ts_open=ts, ts_close=ts_close, ts_known=0,
            session_close=self._times[instrument.id].close_of(ts, ts_close),
            open=float(message["o"]), high=float(message["h"]), low=float(message["l"]),
            close=float(message["c"]), volume=float(message["v"]),
            quality=int(Quality.LATE if is_late else Quality.GOOD),
            source=f"{self._memory.name}:stream", ts_ingest=ts_ingest,
        )  # fmt: skip
