"""What Binance's market streams say, per instrument and kind: in order, each once, gaps filled.

Each reader takes the messages of one instrument and gives our events. What a connection left out it
asks for by REST before it goes on.

Source: Binance Spot API, "Websocket Market Streams": `<symbol>@kline_<interval>`, `@trade`,
`@bookTicker`, `@depth@100ms`, "How to manage a local order book correctly"; REST "Market data".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from onetape.domain.instrument import Instrument
from onetape.domain.market import AggressorSide, BookDelta, Quality, QuoteTick, TradeTick
from onetape.domain.numbers import INT64_MAX
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_MS, timeframe_ns
from onetape.domain.venue import BarClosed
from onetape.marketdata.feeds.binance_client import BinanceClient, BinanceRefusal, NoAnswer
from onetape.marketdata.feeds.binance_instruments import to_lots, to_ticks
from onetape.marketdata.order_book import BookSync, NumberedUpdate, OrderBook

STREAM = "binance/stream"
REST = "binance/rest"
INTERVALS = ("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d",
             "1w")  # fmt: skip

_PAGE = 1000
_DEPTH = 1000
_LATE_TRIES = 4
_LATE_PAUSE_S = 0.25
_SETTLED_MS = 1000
"""A bar that closed less long ago may still change in the answer to a request."""

Take = Callable[[BarClosed | QuoteTick | TradeTick | tuple[BookDelta, ...]], Awaitable[None]]
Missing = Callable[[Instrument, str], Awaitable[None]]


class BarReader:
    """Closed bars of one instrument.

    Args:
        next_open: Opening (ns UTC) of the first bar to tell; 0: the first that closes from now on.
    """

    def __init__(self, client: BinanceClient, instrument: Instrument, timeframe: str, take: Take,
                 next_open: int = 0) -> None:  # fmt: skip
        self.stream = f"{instrument.symbol.lower()}@kline_{timeframe}"
        self.next_open = next_open
        self._client = client
        self._instrument = instrument
        self._timeframe = timeframe
        self._length = timeframe_ns(timeframe)
        self._take = take

    async def begin(self) -> None:
        """A connection is there (again): tell what closed meanwhile."""
        if self.next_open:
            await self._fill(self._client.now_ns() - _SETTLED_MS * NS_PER_MS)

    async def read(self, data: dict[str, Any], ts_ingest: int) -> None:
        """A message of the stream."""
        kline = data["k"]
        ts_open = int(kline["t"]) * NS_PER_MS
        if not self.next_open:
            self.next_open = ts_open
        if ts_open > self.next_open:
            await self._fill_all(ts_open)
        if ts_open == self.next_open and kline["x"]:
            row = [kline["t"], kline["o"], kline["h"], kline["l"], kline["c"], kline["v"]]
            await self._tell(row, ts_ingest, STREAM, Quality.GOOD)

    async def _fill_all(self, until: int) -> None:
        """Tell everything that opened before `until`, which is over by now, as far as it exists."""
        for _ in range(_LATE_TRIES):
            await self._fill(until)
            if self.next_open >= until:
                return
            await asyncio.sleep(_LATE_PAUSE_S)  # the answers may be behind the stream
        self.next_open = until  # the venue has no such bars: it was down itself

    async def _fill(self, closed_by: int) -> None:
        while self.next_open + self._length <= closed_by:
            rows = await read_klines(
                self._client, self._instrument.symbol, self._timeframe,
                start_ms=self.next_open // NS_PER_MS,
                end_ms=(closed_by - self._length) // NS_PER_MS,
            )  # fmt: skip
            now = self._client.clock()
            for row in rows:
                await self._tell(row, now, REST, Quality.GOOD)
            if len(rows) < _PAGE:
                return

    async def _tell(self, row: list[Any], ts_ingest: int, source: str, quality: Quality) -> None:
        ts_open = int(row[0]) * NS_PER_MS
        if ts_open < self.next_open:
            return
        if ts_open > self.next_open:
            quality |= Quality.GAP_BEFORE
        self.next_open = ts_open + self._length
        await self._take(
            make_bar(self._instrument, self._length, row, source, ts_ingest, quality=quality)
        )


def make_bar(instrument: Instrument, length: int, row: list[Any], source: str, ts_ingest: int, *,
             quality: Quality = Quality.GOOD, is_history: bool = False) -> BarClosed:  # fmt: skip
    """A bar from (opening in ms, open, high, low, close, volume, ...)."""
    ts_open = int(row[0]) * NS_PER_MS
    ts_close = ts_open + length
    day_end = (ts_open // NS_PER_DAY + 1) * NS_PER_DAY
    return BarClosed(
        instrument=instrument.id, ts_open=ts_open, ts_close=ts_close, ts_known=0,
        session_close=max(day_end, ts_close), open=float(row[1]), high=float(row[2]),
        low=float(row[3]), close=float(row[4]), volume=float(row[5]), quality=int(quality),
        is_history=is_history, source=source, ts_ingest=ts_ingest,
    )  # fmt: skip


async def read_klines(client: BinanceClient, symbol: str, timeframe: str, *, start_ms: int,
                      end_ms: int) -> list[list[Any]]:  # fmt: skip
    """Up to a page of rows that opened in [start, end], oldest first.

    Raises:
        BinanceRefusal: It refuses.
        NoAnswer: It does not answer.
    """
    asked = {"symbol": symbol, "interval": timeframe, "startTime": start_ms, "endTime": end_ms,
             "limit": _PAGE}  # fmt: skip
    rows = await client.ask("GET", "klines", asked, weight=2)
    return sorted(rows, key=lambda row: int(row[0]))


class TradeReader:
    """Public prints of one instrument, by their rising numbers.

    Args:
        last_id: Number of the print behind which to tell; 0: the first that comes is the first.
    """

    def __init__(self, client: BinanceClient, instrument: Instrument, take: Take,
                 missing: Missing, last_id: int = 0) -> None:  # fmt: skip
        self.stream = f"{instrument.symbol.lower()}@trade"
        self.last_id = last_id
        self._client = client
        self._instrument = instrument
        self._take = take
        self._missing = missing
        self._last_ts = 0

    async def begin(self) -> None:
        """A connection is there (again): tell what was printed meanwhile."""
        if self.last_id:
            await self._fill(None)

    async def read(self, data: dict[str, Any], ts_ingest: int) -> None:
        """A message of the stream."""
        number = int(data["t"])
        quality = Quality.GOOD
        if self.last_id and number > self.last_id + 1:
            await self._fill(number)
            if number > self.last_id + 1:
                quality = Quality.GAP_BEFORE
        row = {"id": number, "price": data["p"], "qty": data["q"], "time": data["T"],
               "isBuyerMaker": data["m"]}  # fmt: skip
        await self._tell(row, STREAM, ts_ingest, quality)

    async def _fill(self, until: int | None) -> None:
        """Tell what REST has behind the last print, up to number `until` (excluded; None: all)."""
        end = INT64_MAX if until is None else until
        while self.last_id + 1 < end:
            first = self.last_id + 1
            rows, is_newest = await read_prints(self._client, self._instrument.symbol, first)
            now = self._client.clock()
            missed = int(rows[0]["id"]) - first if rows else 0
            if missed > 0 and (until is None or rows[0]["id"] < until):
                await self._missing(self._instrument, f"{missed} prints can't be had any more")
            for row in rows:
                if self.last_id < int(row["id"]) < end:
                    flag = missed > 0 and row is rows[0]
                    await self._tell(row, REST, now, Quality.GAP_BEFORE if flag else Quality.GOOD)
            if is_newest or self.last_id < first or len(rows) < _PAGE:
                break
        if until is not None and until > self.last_id + 1:
            missed = until - self.last_id - 1
            await self._missing(self._instrument, f"{missed} prints can't be had any more")

    async def _tell(
        self, row: dict[str, Any], source: str, ts_ingest: int, quality: Quality
    ) -> None:
        if int(row["id"]) <= self.last_id:
            return
        self.last_id = int(row["id"])
        tick = make_print(self._instrument, row, source, ts_ingest, quality)
        self._last_ts = max(self._last_ts, tick.ts_event)
        await self._take(msgspec.structs.replace(tick, ts_event=self._last_ts))


def make_print(
    instrument: Instrument, row: dict[str, Any], source: str, ts_ingest: int,
    quality: Quality = Quality.GOOD,
) -> TradeTick:  # fmt: skip
    """A print from a row of `trades`."""
    return TradeTick(
        instrument=instrument.id, ts_event=int(row["time"]) * NS_PER_MS, ts_known=0,
        price=float(row["price"]), size=float(row["qty"]), trade_id=str(row["id"]),
        aggressor=AggressorSide.SELLER if row["isBuyerMaker"] else AggressorSide.BUYER,
        source=source, ts_ingest=ts_ingest, quality=int(quality),
    )  # fmt: skip


async def read_prints(
    client: BinanceClient, symbol: str, first: int = 0
) -> tuple[list[dict[str, Any]], bool]:
    """Up to a page of prints from number `first` on, and whether those are the newest.

    Older ones than the newest need a key; without one, and for `first` 0, it is the newest page.

    Raises:
        BinanceRefusal: It refuses.
        NoAnswer: It does not answer.
    """
    asked: dict[str, Any] = {"symbol": symbol, "limit": _PAGE}
    is_newest = client.settings.key is None or not first
    path = "trades"
    if not is_newest:
        path, asked = "historicalTrades", asked | {"fromId": first}
    rows = await client.ask("GET", path, asked, weight=25)
    rows = sorted(rows, key=lambda each: int(each["id"]))
    return [each for each in rows if int(each["id"]) >= first], is_newest


class QuoteReader:
    """Best bid and ask of one instrument.

    Binance gives them no time of their own (`E`, as a local venue does): then it is the arrival's.
    Those of before a reconnect can't be had any more: the next one is flagged `GAP_BEFORE`.
    """

    def __init__(self, client: BinanceClient, instrument: Instrument, take: Take) -> None:
        self.stream = f"{instrument.symbol.lower()}@bookTicker"
        self._client = client
        self._instrument = instrument
        self._take = take
        self._last_id = -1
        self._last_ts = 0
        self._has_gap = False

    async def begin(self) -> None:
        """A new connection: the next quote says everything."""
        self._has_gap = self._last_id >= 0

    async def read(self, data: dict[str, Any], ts_ingest: int) -> None:
        """A message of the stream."""
        if int(data["u"]) <= self._last_id:
            return
        self._last_id = int(data["u"])
        ts = int(data["E"]) * NS_PER_MS if "E" in data else ts_ingest + self._client.offset_ns
        self._last_ts = max(self._last_ts, ts)
        quality = Quality.GAP_BEFORE if self._has_gap else Quality.GOOD
        self._has_gap = False
        await self._take(
            QuoteTick(
                instrument=self._instrument.id, ts_event=self._last_ts, ts_known=0,
                bid=float(data["b"]), ask=float(data["a"]), bid_size=float(data["B"]),
                ask_size=float(data["A"]), source=STREAM, ts_ingest=ts_ingest,
                quality=int(quality),
            )
        )  # fmt: skip


class BookReader:
    """Changes of the depth of one instrument, an update at a time.

    What a new snapshot changes is told as an update too, flagged `GAP_BEFORE` if it is not the
    first one.
    """

    def __init__(self, client: BinanceClient, instrument: Instrument, take: Take) -> None:
        self.stream = f"{instrument.symbol.lower()}@depth@100ms"
        self._client = client
        self._instrument = instrument
        self._take = take
        self._sync = BookSync()
        self._told = OrderBook()
        self._last_ts = 0

    async def begin(self) -> None:
        """A connection is there (again): the next update asks for a snapshot."""
        self._sync = BookSync()

    async def read(self, data: dict[str, Any], ts_ingest: int) -> None:
        """A message of the stream."""
        self._last_ts = max(self._last_ts, int(data["E"]) * NS_PER_MS)
        update = NumberedUpdate(
            int(data["U"]), int(data["u"]), self._levels(data["b"]), self._levels(data["a"])
        )
        if self._sync.follow(update):
            sides = ((True, update.bids), (False, update.asks))
            changes = [(is_bid, *level) for is_bid, levels in sides for level in levels]
            await self._tell(changes, ts_ingest, STREAM, Quality.GOOD)
        elif not self._sync.is_synced:
            await self._take_snapshot(update, ts_ingest)

    async def _take_snapshot(self, update: NumberedUpdate, ts_ingest: int) -> None:
        asked = {"symbol": self._instrument.symbol, "limit": _DEPTH}
        answer = await self._client.ask("GET", "depth", asked, weight=50)
        if int(answer["lastUpdateId"]) + 1 < update.first_id:
            return  # older than what has come: the next update asks again
        self._sync.take_snapshot(
            self._levels(answer["bids"]), self._levels(answer["asks"]), int(answer["lastUpdateId"])
        )
        changes: list[tuple[bool, int, int]] = []
        for is_bid in (True, False):
            new = dict(self._sync.book.iterate(is_bid=is_bid))
            old = dict(self._told.iterate(is_bid=is_bid))
            changes += [(is_bid, ticks, 0) for ticks in sorted(old.keys() - new.keys())]
            changes += [(is_bid, ticks, new[ticks]) for ticks in sorted(new)
                        if new[ticks] != old.get(ticks, 0)]  # fmt: skip
        is_first = self._told.update_id < 0
        await self._tell(changes, ts_ingest, REST, Quality.GOOD if is_first else Quality.GAP_BEFORE)

    def _levels(self, rows: list[list[str]]) -> list[tuple[int, int]]:
        instrument = self._instrument
        return [(to_ticks(instrument, row[0], 1), to_lots(instrument, row[1])) for row in rows]

    async def _tell(
        self, changes: list[tuple[bool, int, int]], ts_ingest: int, source: str, quality: Quality
    ) -> None:
        """Tell one update: (is_bid, ticks, lots) of each level that has changed."""
        one, number = self._instrument, self._sync.book.update_id
        for is_bid, ticks, lots in changes:
            self._told.set_level(is_bid=is_bid, ticks=ticks, lots=lots)
        self._told.update_id = number
        deltas = tuple(
            BookDelta(
                instrument=one.id, ts_event=self._last_ts, ts_known=0, is_bid=is_bid,
                price=float(one.ticks_to_price(ticks)), size=one.lots_to_float(lots),
                update_id=number, source=source, ts_ingest=ts_ingest,
                quality=int(quality if not at else Quality.GOOD),
            )
            for at, (is_bid, ticks, lots) in enumerate(changes)
        )  # fmt: skip
        if deltas:
            await self._take(deltas)


Reader = BarReader | TradeReader | QuoteReader | BookReader
ASK_ERRORS = (BinanceRefusal, NoAnswer)
