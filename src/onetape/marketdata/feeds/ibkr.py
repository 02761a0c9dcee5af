"""Interactive Brokers behind the port of a feed: bars made of its bars of five seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import msgspec

from onetape.domain.errors import ConfigError, DataError, SourceUnavailable
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import Bar, Quality
from onetape.domain.timestamps import NS_PER_SECOND, timeframe_ns
from onetape.domain.venue import BarClosed, ConnectionChanged, ConnectionPart
from onetape.marketdata.aggregation import LatePolicy
from onetape.marketdata.bar_builder import BarBuilder, Piece
from onetape.marketdata.bar_rule import parse_bar_rule
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.feeds.backoff import Backoff
from onetape.marketdata.feeds.ibkr_contracts import read_instrument, to_contract
from onetape.marketdata.feeds.ibkr_history import TwsHistory, find_size
from onetape.marketdata.feeds.ibkr_link import (
    CLIENT_ID_TAKEN,
    TwsAccess,
    TwsGone,
    TwsLink,
    TwsListener,
    TwsRefusal,
    explain_taken,
    is_notice,
)
from onetape.marketdata.feeds.port import Take
from onetape.marketdata.session_times import SessionTimes

_Answer = TypeVar("_Answer")
_ATTEMPTS = 3
PIECE_S = 5
_TICK_S = 1.0
_DOWN = frozenset({1100, 2110})
_BACK = frozenset({1101, 1102, 1300, 10225})
"""TWS has IB again, or moves: what came meanwhile is asked for by a new connection."""
_NO_RIGHT = frozenset({354, 420, 10089, 10090, 10168, 10186, 10189})
"""Errors of a subscription that the account has no market data for."""


class _Piece(NamedTuple):
    """Five seconds of an instrument as they came; `ts_ingest` by our clock."""

    instrument: Instrument
    ts_open: int
    values: tuple[float, ...]
    ts_ingest: int


class _Trouble(NamedTuple):
    """Nothing comes from now on. `is_over`: the connection is, too."""

    reason: str
    is_over: bool


class IbkrFeed(TwsListener):
    """IB's market data as it happens; see `Feed`.

    A bar is over when its last five seconds have come; where they don't, `late_s` behind its end
    (IB tells nothing of a halted stock). The bar in which a connection begins is asked for from
    history, like those that were missed; where history does not answer, the next one has the flag
    `GAP_BEFORE`. Regular sessions only.

    Args:
        access: Where; a client id of its own, beside that of the orders.
        clock: Ours, ns UTC.

    Raises:
        ConfigError: ib_async is not installed.
    """

    name = "ibkr"

    def __init__(self, access: TwsAccess, clock: Callable[[], int]) -> None:
        self._access = access
        self._clock = clock
        self._link = TwsLink(access, self)
        self._history = TwsHistory(self._link, clock, access.history_requests, self.name)
        self._waits = Backoff(access.first_wait_s, access.longest_wait_s, access.seed)
        self._waiting: asyncio.Queue[_Piece | _Trouble] = asyncio.Queue()
        self._subscribed: dict[int, Instrument] = {}
        self._last_open: dict[InstrumentId, int] = {}
        self._builders: dict[InstrumentId, BarBuilder] = {}
        self._unchecked: set[InstrumentId] = set()
        self._known: dict[InstrumentId, int] = {}
        self._heard_s = 0.0
        self._refusal: TwsRefusal | None = None
        self._is_silent = False
        self._told: bool | None = None

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """What IB says of instruments; see the port."""

        async def ask() -> tuple[Instrument, ...]:
            return tuple([await read_instrument(self._link, each) for each in instruments])

        return await self._insist(ask)

    async def read_history(
        self, instruments: Sequence[Instrument], timeframe: str, bars: int
    ) -> list[BarClosed]:
        """The newest closed bars of each; see the port."""

        async def ask() -> list[BarClosed]:
            found: list[BarClosed] = []
            for each in instruments:
                own = await self._history.read_last(each, timeframe, bars)
                found.extend(msgspec.structs.replace(bar, is_history=True) for bar in own)
                if own:
                    self._last_open[each.id] = own[-1].ts_open
            return found

        found = await self._insist(ask)
        place = {each.id: at for at, each in enumerate(instruments)}
        return sorted(found, key=lambda bar: (bar.ts_close, place[bar.instrument]))

    async def _insist(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """The answer, over a connection that `run` goes on with; what was lost is asked again."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._link.connect()
                return await ask()
            except TwsRefusal as refusal:
                await self._link.close()
                raise _explain(refusal, self._access) from None
            except (TwsGone, SourceUnavailable) as failure:
                was_lost = self._link.has_been_up and not self._link.is_up
                await self._link.close()
                if attempt < _ATTEMPTS and was_lost:
                    await asyncio.sleep(self._waits.next_wait())
                    continue
                if isinstance(failure, SourceUnavailable):
                    raise
                raise SourceUnavailable(
                    f"IB can't be reached: {failure}", remedy="start TWS or IB Gateway, log in, "
                    "and let its API settings allow sockets",
                ) from None  # fmt: skip
            except BaseException:
                await self._link.close()
                raise
        raise SourceUnavailable("IB was not asked")

    async def close(self) -> None:
        """Give back the connection of a session that never ran."""
        await self._link.close()

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        """Connect, subscribe and tell, until canceled; see the port."""
        find_size(timeframe)
        self._take = take
        self._timeframe = timeframe
        self._instruments = instruments
        self._times = {each.id: SessionTimes(each.calendar) for each in instruments}
        try:
            while True:
                try:
                    await self._link.connect()
                    self._subscribe()
                    reason = await self._tell()
                except TwsGone as gone:
                    reason = str(gone)
                except TwsRefusal as refusal:
                    problem = _explain(refusal, self._access)
                    if not self._link.has_been_up:
                        raise problem from None
                    reason = str(problem)
                await self._link.close()
                await self._tell_change(is_up=False, reason=reason)
                await asyncio.sleep(self._waits.next_wait())
        finally:
            await self._link.close()

    def _subscribe(self) -> None:
        """Ask for the bars of each instrument; IB answers with the bars themselves."""
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._subscribed.clear()
        client = self._link.client
        for each in self._instruments:
            number = self._link.next_id()
            self._subscribed[number] = each
            self._builders[each.id] = BarBuilder(
                each.id, parse_bar_rule(self._timeframe, by_session=False),
                build_calendar(each.calendar), late=LatePolicy.DROP,
                grace_ns=int(self._access.late_s * NS_PER_SECOND), source=f"{self.name}:stream",
            )  # fmt: skip
            client.reqRealTimeBars(number, to_contract(each.id), PIECE_S, "TRADES", True, [])

    # Reading takes notes.

    def on_bar(self, request: int, ts_s: int, values: tuple[float, ...]) -> None:
        """See `TwsListener`."""
        instrument = self._subscribed.get(request)
        if instrument is not None:
            piece = _Piece(instrument, ts_s * NS_PER_SECOND, values, self._clock())
            self._waiting.put_nowait(piece)

    def on_error(self, request: int, code: int, message: str) -> None:
        """See `TwsListener`."""
        said = str(TwsRefusal(code, message))
        if code in _DOWN:
            self._waiting.put_nowait(_Trouble(said, is_over=False))
        elif code in _BACK or (request in self._subscribed and not is_notice(code)):
            if code in _NO_RIGHT and not self._known:
                self._refusal = TwsRefusal(code, message)
            self._waiting.put_nowait(_Trouble(said, is_over=True))

    def on_closed(self, reason: str) -> None:
        """See `TwsListener`."""
        self._waiting.put_nowait(_Trouble(reason, is_over=True))

    # Telling: what the session raises ends the feed.

    async def _tell(self) -> str:
        """Tell what comes until the connection is over; returns why it is."""
        loop = asyncio.get_running_loop()
        self._heard_s = loop.time()
        if not self._is_silent:
            await self._tell_change(is_up=True, reason="subscribed")
        self._unchecked = {each.id for each in self._instruments if each.id in self._last_open}
        for each in self._instruments:
            if each.id in self._unchecked:  # what is over now; the newest may be missing yet
                await self._fill_gap(each, self._clock())
        while True:
            match await self._next():
                case None:
                    if self._has_fallen_silent(loop.time()):
                        self._is_silent = True
                        limit = self._access.silence_s
                        return f"no market data for {limit:g} s while a market is open"
                    await self._finish(self._clock())
                case _Piece() as piece:
                    if self._told is False and not self._is_silent:
                        return "market data comes again, and some is missing"
                    self._is_silent = False
                    self._heard_s = loop.time()
                    self._waits.reset()
                    await self._tell_change(is_up=True, reason="market data comes again")
                    await self._add(piece)
                case _Trouble(reason, is_over):
                    if self._refusal is not None:
                        raise _explain(self._refusal, self._access)
                    if is_over:
                        return reason
                    await self._tell_change(is_up=False, reason=reason)

    async def _next(self) -> _Piece | _Trouble | None:
        """What comes next; None: nothing for a while."""
        try:
            async with asyncio.timeout(min(_TICK_S, self._access.silence_s / 4)):
                return await self._waiting.get()
        except TimeoutError:
            return None

    def _has_fallen_silent(self, now_s: float) -> bool:
        ts = self._clock()
        if not any(each.is_open(ts) for each in self._times.values()):
            self._heard_s = now_s
        return now_s - self._heard_s > self._access.silence_s

    async def _tell_change(self, *, is_up: bool, reason: str) -> None:
        if self._told == is_up:
            return
        self._told = is_up
        await self._take(
            ConnectionChanged(
                part=ConnectionPart.FEED, name=self.name, is_up=is_up, reason=reason,
                instruments=[each.id for each in self._instruments],
            )
        )  # fmt: skip

    async def _add(self, piece: _Piece) -> None:
        """Five seconds more of an instrument; its bar is told when they were the last of it."""
        instrument, end = piece.instrument, piece.ts_open + PIECE_S * NS_PER_SECOND
        opened, high, low, close, volume = piece.values
        builder = self._builders[instrument.id]
        # By its own time: whoever is behind in reading has not come too late.
        known = self._known[instrument.id] = max(end, self._known.get(instrument.id, 0))
        try:
            over = builder.push(
                Piece(
                    ts_from=piece.ts_open, ts_to=end, ts_known=known, quality=0, is_bar=True,
                    session_close=end, values=(opened, high, low, close, volume),
                )
            )  # fmt: skip
        except DataError:
            return  # told before
        for bar in [*over, *builder.advance(known)]:
            await self._tell_fresh(bar, instrument, piece.ts_ingest)

    async def _finish(self, now: int) -> None:
        """Bars whose last seconds never came are over all the same."""
        for each in self._instruments:
            self._known[each.id] = max(now, self._known.get(each.id, 0))
            for bar in self._builders[each.id].advance(now):
                await self._tell_fresh(bar, each, now)

    async def _tell_fresh(self, bar: Bar, instrument: Instrument, ts_ingest: int) -> None:
        """A bar of the stream, behind those that it shows to be missing."""
        is_whole = not bar.quality & Quality.GAP_BEFORE
        if not is_whole:  # it had begun before we listened: history has all of it
            await self._fill_gap(instrument, bar.ts_close)
        elif instrument.id in self._unchecked:
            is_whole = await self._fill_gap(instrument, bar.ts_open)
        self._unchecked.discard(instrument.id)
        quality = Quality.GOOD if is_whole else Quality.GAP_BEFORE
        session_close = self._times[instrument.id].close_of(bar.ts_open, bar.ts_close)
        await self._tell_bar(
            BarClosed(
                instrument=instrument.id, ts_open=bar.ts_open, ts_close=bar.ts_close, ts_known=0,
                session_close=session_close, open=bar.open, high=bar.high, low=bar.low,
                close=bar.close, volume=bar.volume, quality=int(quality),
                source=f"{self.name}:stream", ts_ingest=ts_ingest,
            )
        )  # fmt: skip

    async def _fill_gap(self, instrument: Instrument, end: int) -> bool:
        """Tell what history has between the last bar told and `end`; False: it does not answer."""
        length = timeframe_ns(self._timeframe)
        last = self._last_open.get(instrument.id)
        start = end - length if last is None else last + length
        if start + length > end:
            return True
        try:
            bars = await self._history.read_between(instrument, self._timeframe, start, end)
        except SourceUnavailable:
            return False
        for each in bars:
            await self._tell_bar(each)
        return True

    async def _tell_bar(self, bar: BarClosed) -> None:
        last = self._last_open.get(bar.instrument)
        if last is not None and bar.ts_open <= last:
            return
        self._last_open[bar.instrument] = bar.ts_open
        await self._take(bar)


def _explain(refusal: TwsRefusal, access: TwsAccess) -> ConfigError | SourceUnavailable:
    """A refusal as an error of ours."""
    if refusal.code == CLIENT_ID_TAKEN:
        return explain_taken(access, "data.connection.client_id")
    if refusal.code in _NO_RIGHT:
        return ConfigError(f"IB has no market data for this account: {refusal}",
                           where="data.connection", remedy="subscribe to it at IB")  # fmt: skip
    return SourceUnavailable(f"IB refuses: {refusal}")
