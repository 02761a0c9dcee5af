"""The live feed of Binance spot: one connection with the streams of all instruments.

Source: Binance Spot API, "Websocket Market Streams": combined streams, live subscribing, 24 hours a
connection, five messages a second.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from onetape.domain.errors import DataError, SourceUnavailable
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import TRADES, TradeTick
from onetape.domain.nearest import nearest
from onetape.domain.timestamps import NS_PER_MS, has_length, timeframe_ns
from onetape.domain.venue import BarClosed, ConnectionChanged, ConnectionPart
from onetape.marketdata.feeds.binance_client import (
    Backoff,
    BinanceClient,
    BinanceSettings,
    BinanceSocket,
    SocketGone,
)
from onetape.marketdata.feeds.binance_instruments import read_symbols, to_instrument
from onetape.marketdata.feeds.binance_streams import (
    ASK_ERRORS,
    INTERVALS,
    REST,
    BarReader,
    BookReader,
    QuoteReader,
    Reader,
    TradeReader,
    make_bar,
    make_print,
    read_prints,
)
from onetape.marketdata.feeds.port import History, Take
from onetape.marketdata.loading import TICK_DATA

_PAGE = 1000
_STREAMS_MAX = 1024
_SUBSCRIBE_AT_ONCE = 200
_SUBSCRIBE_PAUSE_S = 0.25


class BinanceFeed:
    """Market data of Binance spot; needs no key.

    Args:
        settings: How to reach it.
        silent_s: An instrument without a message for so long is told as silent.
        clock: What tells when something came, ns UTC.
    """

    name = "binance"

    def __init__(
        self,
        settings: BinanceSettings,
        silent_s: float = 60.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._settings = settings
        self._silent_s = silent_s
        self._clock = clock
        self._next_open: dict[tuple[InstrumentId, str], int] = {}
        self._last_print: dict[InstrumentId, int] = {}
        self._heard_s: dict[str, float] = {}
        self._silent: set[str] = set()

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """See `Feed`."""
        symbols = [each.rpartition(".")[0] for each in instruments]
        async with self._connected() as client:
            infos = await read_symbols(client, symbols)
        return tuple(
            to_instrument(each, infos[symbol])
            for each, symbol in zip(instruments, symbols, strict=True)
        )

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[BinanceClient]:
        """A client, closed behind it; its failures are `SourceUnavailable`."""
        client = BinanceClient(self._settings, self._clock)
        try:
            yield client
        except ASK_ERRORS as error:
            raise SourceUnavailable(f"binance does not serve: {error}") from None
        finally:
            await client.close()

    async def read_history(
        self, instruments: Sequence[Instrument], timeframe: str, bars: int
    ) -> History:
        """See `Feed`. What closes or is printed between this and `run` is told by `run`."""
        if timeframe == TRADES:
            return await self._read_newest_prints(instruments, bars)
        if not has_length(timeframe):
            return []
        _check_timeframe(timeframe)
        length = timeframe_ns(timeframe)
        found: list[BarClosed] = []
        async with self._connected() as client:
            await client.set_clock()
            for instrument in instruments:
                rows = await _read_newest(client, instrument.symbol, timeframe, bars)
                now = client.clock()
                history = [
                    make_bar(instrument, length, row, REST, now, is_history=True) for row in rows
                ]
                if history:
                    self._next_open[instrument.id, timeframe] = history[-1].ts_close
                found += history
        return sorted(found, key=lambda bar: (bar.ts_close, bar.instrument))

    async def _read_newest_prints(
        self, instruments: Sequence[Instrument], count: int
    ) -> list[TradeTick]:
        """The newest prints, a page of each at most, and behind each other in time."""
        found: list[TradeTick] = []
        async with self._connected() as client:
            await client.set_clock()
            for each in instruments:
                rows, _ = await read_prints(client, each.symbol)
                if rows:
                    self._last_print[each.id] = int(rows[-1]["id"])
                now = client.clock()
                found += [make_print(each, row, REST, now) for row in rows[-count:]]
        return sorted(found, key=lambda tick: tick.ts_event)

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        """See `Feed`."""
        async with self._connected() as client:
            await self._run(client, self._make_readers(client, instruments, timeframe, take), take)

    async def _run(
        self, client: BinanceClient, readers: dict[str, tuple[Reader, Instrument]], take: Take
    ) -> None:
        backoff = Backoff(self._settings)
        is_up, was_up, reason = False, False, ""
        while True:
            try:
                socket = await self._connect(client, list(readers))
                try:
                    for reader, _ in readers.values():
                        await reader.begin()
                    is_up, self._silent = True, set()
                    if was_up:
                        await take(self._change(True, "connected again"))
                    was_up = True
                    backoff.reset()
                    await self._read(socket, readers, take)
                finally:
                    await socket.close()
            except (SocketGone, TimeoutError, *ASK_ERRORS) as error:
                reason = str(error) or "no answer in time"
            if is_up:
                is_up = False
                await take(self._change(False, reason))
            await backoff.wait()

    def _make_readers(
        self,
        client: BinanceClient,
        instruments: Sequence[Instrument],
        timeframe: str,
        take: Take,
    ) -> dict[str, tuple[Reader, Instrument]]:
        async def tell_missing(instrument: Instrument, what: str) -> None:
            await take(self._change(True, f"{instrument.id}: {what}", [instrument.id]))

        readers: list[tuple[Reader, Instrument]] = []
        for each in instruments:
            for what in timeframe.split("+"):
                reader: Reader
                match what:
                    case "trades":
                        last = self._last_print.get(each.id, 0)
                        reader = TradeReader(client, each, take, tell_missing, last)
                    case "quotes":
                        reader = QuoteReader(client, each, take)
                    case "book":
                        reader = BookReader(client, each, take)
                    case _:
                        _check_timeframe(what)
                        first = self._next_open.get((each.id, what), 0)
                        reader = BarReader(client, each, what, take, first)
                readers.append((reader, each))
        if len(readers) > _STREAMS_MAX:
            raise DataError(f"{len(readers)} streams on one connection to binance",
                            remedy=f"up to {_STREAMS_MAX}")  # fmt: skip
        return {reader.stream: (reader, each) for reader, each in readers}

    async def _connect(self, client: BinanceClient, streams: list[str]) -> BinanceSocket:
        timeout_s = self._settings.timeout_s
        await asyncio.wait_for(client.set_clock(), timeout_s)
        socket = await asyncio.wait_for(client.connect("stream"), timeout_s)
        try:
            for first in range(0, len(streams), _SUBSCRIBE_AT_ONCE):
                chosen = streams[first : first + _SUBSCRIBE_AT_ONCE]
                await socket.send({"method": "SUBSCRIBE", "params": chosen, "id": first + 1})
                if first:
                    await asyncio.sleep(_SUBSCRIBE_PAUSE_S)
        except BaseException:
            await socket.close()
            raise
        now_s = time.monotonic()
        self._heard_s = dict.fromkeys(streams, now_s)
        return socket

    async def _read(
        self, socket: BinanceSocket, readers: dict[str, tuple[Reader, Instrument]], take: Take
    ) -> None:
        pending = asyncio.ensure_future(socket.receive())
        try:
            while True:
                done, _ = await asyncio.wait([pending], timeout=self._silent_s / 4)
                if done:
                    ts_ingest, message = pending.result()
                    pending = asyncio.ensure_future(socket.receive())
                    await self._take_message(message, ts_ingest, readers, take)
                await self._watch_silence(readers, take)
        finally:
            pending.cancel()
            await asyncio.gather(pending, return_exceptions=True)

    async def _take_message(self, message: Any, ts_ingest: int,
                            readers: dict[str, tuple[Reader, Instrument]], take: Take,
                            ) -> None:  # fmt: skip
        if not isinstance(message, dict):
            return
        if message.get("error"):
            raise SocketGone(f"binance refuses the subscription: {message['error']}")
        found = readers.get(message.get("stream", ""))
        if found is None:
            data = message.get("data") or message.get("event") or message
            if isinstance(data, dict) and data.get("e") == "serverShutdown":
                raise SocketGone("the server shuts down")
            return
        stream, (reader, instrument) = message["stream"], found
        self._heard_s[stream] = time.monotonic()
        if stream in self._silent:
            self._silent.discard(stream)
            await take(self._change(True, f"{instrument.id} is heard again", [instrument.id]))
        await reader.read(message["data"], ts_ingest)

    async def _watch_silence(
        self, readers: dict[str, tuple[Reader, Instrument]], take: Take
    ) -> None:
        now_s = time.monotonic()
        for stream, heard_s in self._heard_s.items():
            if now_s - heard_s > self._silent_s and stream not in self._silent:
                self._silent.add(stream)
                reader, instrument = readers[stream]
                why = f"{instrument.id} was silent for {self._silent_s:g} s"
                await take(self._change(False, why, [instrument.id]))
                if isinstance(reader, BarReader):
                    await reader.begin()  # is it the instrument or the stream?

    def _change(
        self, is_up: bool, reason: str, instruments: list[InstrumentId] | None = None
    ) -> ConnectionChanged:
        return ConnectionChanged(ConnectionPart.FEED, self.name, is_up, reason, instruments or [])


def _check_timeframe(timeframe: str) -> None:
    if timeframe not in INTERVALS:
        known = [*INTERVALS, *TICK_DATA]
        raise DataError(f"binance has no bars of {timeframe}", remedy=nearest(timeframe, known))


async def _read_newest(
    client: BinanceClient, symbol: str, timeframe: str, bars: int
) -> list[list[Any]]:
    """The newest closed rows, oldest first."""
    length_ms = timeframe_ns(timeframe) // NS_PER_MS
    end_ms = client.now_ns() // NS_PER_MS - length_ms - 1000
    rows: list[list[Any]] = []
    while len(rows) < bars:
        limit = min(_PAGE, bars - len(rows))
        asked = {"symbol": symbol, "interval": timeframe, "endTime": end_ms, "limit": limit}
        page = await client.ask("GET", "klines", asked, weight=2)
        page = sorted(page, key=lambda row: int(row[0]))
        rows = [*page, *rows]
        if len(page) < limit:
            break
        end_ms = int(page[0][0]) - 1
    return rows
