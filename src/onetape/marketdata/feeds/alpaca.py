"""Alpaca behind the port of a feed: minute bars, trades and quotes of equities and crypto pairs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import msgspec

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.market import BOOK, TRADES, TradeTick
from onetape.domain.timestamps import NS_PER_DAY, has_length
from onetape.domain.venue import BarClosed
from onetape.marketdata.feeds.alpaca_assets import WireAsset, refuse_unknown, to_instrument
from onetape.marketdata.feeds.alpaca_connection import FEEDS, AlpacaDataAccess
from onetape.marketdata.feeds.alpaca_history import AlpacaHistory
from onetape.marketdata.feeds.alpaca_line import CHANNELS_OF, MINUTE, Line, Told, run_together
from onetape.marketdata.feeds.alpaca_ticks import MISSED_MAX, read_rows
from onetape.marketdata.feeds.port import History, Take

_LOOK_BACK_NS = 5 * NS_PER_DAY
"""Prints to warm up with are not looked for further back: a weekend and a holiday."""


class AlpacaFeed:
    """Alpaca's market data as it happens; see `Feed`.

    Bars are of a minute. Each is told once: one that Alpaca corrects later (`updatedBars`, when
    trades of its minute were reported late) stays as it was first told, and is counted in
    `corrected`; a correction whose bar never came is told in its place, with the flag `LATE`. A bar
    that was missed is asked for from history before the next one is told; where history does not
    answer, the next one has the flag `GAP_BEFORE`. Trades and quotes: see `TickTeller`. Corrections
    and cancels of trades are passed over.

    Args:
        access: Where, and with which keys.
        clock: Ours, ns UTC.

    Raises:
        ConfigError: alpaca-py is not installed, or Alpaca streams no such feed of equities.
    """

    def __init__(self, access: AlpacaDataAccess, clock: Callable[[], int]) -> None:
        if access.feed not in FEEDS:
            raise ConfigError(f"Alpaca has no feed {access.feed!r} of equities",
                              where="data.connection.feed",
                              remedy=f"choose {' or '.join(FEEDS)}")  # fmt: skip
        self._access = access
        self._clock = clock
        self.name = f"alpaca/{access.feed}"
        self._history = AlpacaHistory(
            access, time.monotonic, time.sleep, Random(access.seed).random
        )
        self._told = Told(self.name)

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """What Alpaca says of instruments; see the port."""
        found: list[Instrument] = []
        for each in instruments:
            symbol = each.rpartition(".")[0]
            asset = await asyncio.to_thread(self._history.find_asset, symbol)
            if asset is None:
                known = await asyncio.to_thread(self._history.list_symbols)
                raise refuse_unknown(each, known)
            found.append(to_instrument(each, msgspec.convert(asset, WireAsset)))
        return tuple(found)

    async def read_history(
        self, instruments: Sequence[Instrument], timeframe: str, bars: int
    ) -> History:
        """The newest closed bars or prints of each; see the port."""
        self._check_told(timeframe)
        if timeframe == TRADES:
            return await self._read_newest_prints(instruments, bars)
        if not has_length(timeframe):
            return []
        found: list[BarClosed] = []
        for each in instruments:
            own = await asyncio.to_thread(
                self._history.read_last, each, timeframe, bars, self._clock()
            )
            found.extend(msgspec.structs.replace(bar, is_history=True) for bar in own)
            if own and timeframe == MINUTE:
                self._told.remember(own[-1])
        place = {each.id: at for at, each in enumerate(instruments)}
        return sorted(found, key=lambda bar: (bar.ts_close, place[bar.instrument]))

    async def _read_newest_prints(
        self, instruments: Sequence[Instrument], count: int
    ) -> list[TradeTick]:
        found: list[TradeTick] = []
        for each in instruments:
            now = self._clock()
            rows = await asyncio.to_thread(
                self._history.read_trades, each, max(0, now - _LOOK_BACK_NS), now, count
            )
            own = read_rows(each, rows, self.name, now)
            found += [tick for tick in own if self._told.prints.is_new(tick)]
        return sorted(found, key=lambda tick: tick.ts_event)

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        """Connect, subscribe and tell, until canceled; see the port."""
        self._check_told(timeframe)
        pairs = [each for each in instruments if each.kind is InstrumentKind.SPOT]
        others = [each for each in instruments if each.kind is not InstrumentKind.SPOT]
        groups = [group for group in (others, pairs) if group]
        lines = [
            Line(self._access, self._clock, self._told, self._read_between, self._read_trades,
                 group, timeframe, take, is_alone=len(groups) == 1)
            for group in groups
        ]  # fmt: skip
        await run_together(*(each.run() for each in lines))

    def _check_told(self, timeframe: str) -> None:
        """What the stream never tells is refused before a session begins, and waits for it."""
        if timeframe not in CHANNELS_OF:
            what = "depth" if timeframe.startswith(BOOK) else f"live bars of {timeframe}"
            raise DataError(f"Alpaca's stream has no {what}", where="data.timeframe",
                            remedy=f"choose one of {', '.join(CHANNELS_OF)}")  # fmt: skip

    @property
    def corrected(self) -> int:
        """Bars that Alpaca has changed behind their first telling."""
        return self._told.corrected

    async def _read_trades(
        self, instrument: Instrument, start: int, end: int
    ) -> list[dict[str, Any]]:
        return await asyncio.to_thread(
            self._history.read_trades, instrument, start, end, MISSED_MAX
        )

    async def _read_between(self, instrument: Instrument, start: int, end: int) -> list[BarClosed]:
        """Minute bars of history that open in [start, end) and are over."""
        return await asyncio.to_thread(
            self._history.read, instrument, MINUTE, start, end, self._clock()
        )
