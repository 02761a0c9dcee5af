"""What Alpaca's stream says of trades and quotes: in order, each once, gaps of trades filled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from onetape.domain.errors import ConfigError, DataError, FixInput, SourceUnavailable
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import AggressorSide, Quality, QuoteTick, TradeTick
from onetape.domain.timestamps import from_iso
from onetape.marketdata.feeds.port import Take

MISSED_MAX = 10_000
"""Trades that are asked for again behind a lost connection; of a longer gap the newest."""

_REMEMBERED = 1_000
_AGGRESSORS = {"B": AggressorSide.BUYER, "S": AggressorSide.SELLER}

Row = dict[str, Any]
ReadTrades = Callable[[Instrument, int, int], Awaitable[list[Row]]]
"""Asks history for the trades of [start, end] (ns UTC), oldest first; see `MISSED_MAX`."""


class ToldPrints:
    """Which prints a feed has told: time of the newest of each instrument, keys of the newest."""

    def __init__(self) -> None:
        self.newest: dict[InstrumentId, int] = {}
        self._keys: dict[str, None] = {}

    def is_new(self, tick: TradeTick) -> bool:
        """Whether a print was not told before; from now on it was."""
        name, ts = tick.instrument, tick.ts_event
        key = f"{name}/{tick.trade_id}/{ts}"
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > _REMEMBERED:
            del self._keys[next(iter(self._keys))]
        self.newest[name] = max(ts, self.newest.get(name, 0))
        return True


class TickTeller:
    """Tells the trades and quotes of one connection.

    Trades that were missed are asked for before the next one is told; where history does not
    answer, the next has the flag `GAP_BEFORE`. So has the first quote behind a reconnect: quotes
    are not asked for again. One that is older than the last of its instrument is told with the
    last one's time and the flag `LATE`.

    Args:
        name: Of the feed.
        told: What it has told before.
        read_trades: Asks history.
        take: The session.
        clock: Ours, ns UTC.
    """

    def __init__(
        self, name: str, told: ToldPrints, read_trades: ReadTrades, take: Take,
        clock: Callable[[], int],
    ) -> None:  # fmt: skip
        self._name = name
        self._told = told
        self._read_trades = read_trades
        self._take = take
        self._clock = clock
        self._last: dict[InstrumentId, int] = {}
        self._unchecked: set[InstrumentId] = set()
        self._gaps: set[InstrumentId] = set()

    async def begin(self, instruments: Sequence[Instrument], *, has_gap: bool) -> None:
        """A subscription stands; `has_gap`: one stood before."""
        for each in instruments:
            if has_gap:
                self._gaps.add(each.id)
            if each.id in self._told.newest:
                # The newest may be missing in history for a moment: the first print asks again.
                self._unchecked.add(each.id)
                await self._fill(each, self._clock())

    def read(self, instrument: Instrument, message: Row, ts_ingest: int) -> QuoteTick | TradeTick:
        """A message of the stream, to be told.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: It can't be read.
        """
        ts = message["t"].to_unix_nano()
        source = f"{self._name}:stream/{message.get('z', '')}".rstrip("/")
        if message["T"] != "q":
            return make_print(instrument, message, ts, source, ts_ingest)
        return QuoteTick(
            instrument=instrument.id, ts_event=ts, ts_known=0, bid=float(message["bp"]),
            ask=float(message["ap"]), bid_size=float(message["bs"]),
            ask_size=float(message["as"]), source=source, ts_ingest=ts_ingest,
        )  # fmt: skip

    async def tell(self, instrument: Instrument, tick: QuoteTick | TradeTick) -> None:
        """Tell it, behind what it shows to be missing."""
        if isinstance(tick, QuoteTick):
            has_gap = instrument.id in self._gaps
            self._gaps.discard(instrument.id)
            await self._tell(tick, Quality.GAP_BEFORE if has_gap else Quality.GOOD)
            return
        quality = Quality.GOOD
        if instrument.id in self._unchecked:
            self._unchecked.discard(instrument.id)
            if not await self._fill(instrument, tick.ts_event):
                quality = Quality.GAP_BEFORE
        if self._told.is_new(tick):
            await self._tell(tick, quality)

    async def _fill(self, instrument: Instrument, end: int) -> bool:
        """Tells what history has since the last print told; False: it does not answer."""
        start = self._told.newest[instrument.id]
        if start > end:
            return True
        try:
            rows = await self._read_trades(instrument, start, end)
            missed = read_rows(instrument, rows, self._name, self._clock())
        except (SourceUnavailable, ConfigError, DataError):
            return False
        quality = Quality.GAP_BEFORE if len(missed) >= MISSED_MAX else Quality.GOOD
        for tick in missed:
            # What is of the time of the stream's print is told by the stream.
            if tick.ts_event < end and self._told.is_new(tick):
                await self._tell(tick, quality)
                quality = Quality.GOOD
        return True

    async def _tell(self, tick: QuoteTick | TradeTick, quality: Quality) -> None:
        """Tell it at its time, which is never before the last one's."""
        last = self._last.get(tick.instrument, 0)
        ts = self._last[tick.instrument] = max(tick.ts_event, last)
        if tick.ts_event < last:
            quality |= Quality.LATE
        await self._take(msgspec.structs.replace(tick, ts_event=ts, quality=int(quality)))


def read_rows(
    instrument: Instrument, rows: Sequence[Row], name: str, ts_ingest: int
) -> list[TradeTick]:
    """Prints from rows of history, of the feed `name`.

    Raises:
        SourceUnavailable: They can't be read.
    """
    try:
        return [
            make_print(instrument, row, from_iso(row["t"]),
                       f"{name}:rest/{row.get('z', '')}".rstrip("/"), ts_ingest)
            for row in rows
        ]  # fmt: skip
    except (KeyError, TypeError, ValueError, FixInput):
        raise SourceUnavailable("alpaca gave an answer that is no trades",
                                where=instrument.symbol) from None  # fmt: skip


def make_print(instrument: Instrument, row: Row, ts: int, source: str, ts_ingest: int) -> TradeTick:
    """A print from a message of the stream or a row of history.

    Raises:
        KeyError, TypeError, ValueError: It can't be read.
    """
    return TradeTick(
        instrument.id, ts, 0, float(row["p"]), float(row["s"]),
        _AGGRESSORS.get(str(row.get("tks", "")), AggressorSide.UNKNOWN),
        trade_id=f"{row.get('x', '')}/{row.get('i', '')}", source=source, ts_ingest=ts_ingest,
    )  # fmt: skip
