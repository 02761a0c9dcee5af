"""Longer bars from shorter ones or from trade prints, piece by piece as they become known.

Gives the bars that `aggregation.aggregate` makes of the same pieces with the same grace.
"""

from __future__ import annotations

import math
from bisect import insort

import msgspec
import numpy as np

from onetape.domain.bar_buckets import fold_column
from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, Quality, TradeTick, make_bar
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.aggregation import LatePolicy, check_crossing, refuse_late
from onetape.marketdata.bar_rule import BarKind, BarRule
from onetape.marketdata.bar_spans import Sessions, find_spans, list_sessions
from onetape.marketdata.calendars import SessionCalendar
from onetape.marketdata.pieces import PRICES, Pieces

_COLUMNS = (*PRICES, "volume")
_AHEAD_NS = 7 * NS_PER_DAY


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """One trade print or shorter bar; see `Pieces`."""

    ts_from: int
    ts_to: int
    ts_known: int
    session_close: int
    quality: int
    values: tuple[float, float, float, float, float]
    is_bar: bool

    @property
    def turnover(self) -> float:
        """Price x volume, in the instrument's currency."""
        return self.values[3] * self.values[4]


def bar_as_piece(bar: Bar) -> Piece:
    """A shorter bar as a piece."""
    return Piece(
        ts_from=bar.ts_open, ts_to=bar.ts_close, ts_known=bar.ts_known,
        session_close=bar.session_close, quality=int(bar.quality),
        values=(bar.open, bar.high, bar.low, bar.close, bar.volume), is_bar=True,
    )  # fmt: skip


def trade_as_piece(trade: TradeTick, session_close: int | None = None) -> Piece:
    """A print as a piece; its session ends with the UTC day unless told."""
    if session_close is None:
        session_close = ((trade.ts_event - 1) // NS_PER_DAY + 1) * NS_PER_DAY
    return Piece(
        ts_from=trade.ts_event, ts_to=trade.ts_event + 1, ts_known=trade.ts_known,
        session_close=max(session_close, trade.ts_event + 1), quality=trade.quality,
        values=(trade.price, trade.price, trade.price, trade.price, trade.size), is_bar=False,
    )  # fmt: skip


class _Open(msgspec.Struct, kw_only=True):
    """A bar that is being made of `pieces`, kept in the order of their times.

    `known` is when the last of them was; `is_done`: no other can come.
    """

    opens: int
    end: int = 0
    session_close: int = 0
    pieces: list[Piece] = []
    known: int = 0
    is_done: bool = False
    high: float = -math.inf
    low: float = math.inf
    total: float = 0.0

    def add(self, piece: Piece) -> None:
        insort(self.pieces, piece, key=lambda each: each.ts_from)
        self.known = max(self.known, piece.ts_known)
        self.is_done = piece.is_bar and piece.ts_to == self.end

    def measure(self, piece: Piece, kind: BarKind) -> float:
        """What counts against the threshold, with the piece just added."""
        match kind:
            case BarKind.TICK:
                return float(len(self.pieces))
            case BarKind.RANGE:
                self.high = max(self.high, piece.values[1])
                self.low = min(self.low, piece.values[2])
                return self.high - self.low
            case _:
                self.total += piece.values[4] if kind is BarKind.VOLUME else piece.turnover
                return self.total


class BarBuilder:
    """Makes the bars of one instrument.

    Args:
        instrument: Whose bars these are.
        rule: What ends a bar.
        calendar: The instrument's; only rules by session ask it.
        grace_ns: How long to wait for late pieces.
        late: What to do with those that come later still.
        after_close_ns: How long after its close a session still takes pieces.
        source: Provenance that the bars tell.

    `late` and `outside` count pieces that are in no bar.
    """

    def __init__(
        self,
        instrument: InstrumentId,
        rule: BarRule,
        calendar: SessionCalendar,
        *,
        grace_ns: int = 0,
        late: LatePolicy = LatePolicy.REFUSE,
        after_close_ns: int = 0,
        source: str = "",
    ) -> None:
        if grace_ns < 0:
            raise DataError(f"grace of {grace_ns} ns is negative", where=str(instrument))
        self.outside = 0
        self.late = 0
        self._instrument = instrument
        self._rule = rule
        self._calendar = calendar
        self._grace = grace_ns
        self._policy = late
        self._after_close = after_close_ns
        self._source = source
        self._sessions: Sessions | None = None
        self._listed = (0, 0)
        self._now = -1
        self._is_first = True
        self._open: list[_Open] = []
        self._published = 0
        self._held: list[Piece] = []
        self._newest = -1
        self._covered = -1

    def push(self, piece: Piece) -> list[Bar]:
        """Takes one piece; the bars that were over before it was known.

        Raises:
            DataError: It was known before the last one, goes over the end of its bar, or is late
                and the policy refuses it.
        """
        if piece.ts_known < self._now:
            raise DataError("a row was known before the one before it", where=self._where,
                            remedy="give rows in the order of ts_known")  # fmt: skip
        if piece.is_bar and piece.ts_from < self._covered:
            raise DataError("a bar begins before the last one has ended", where=self._where)
        self._covered = piece.ts_to
        if self._rule.kind is not BarKind.TIME:
            self._now = piece.ts_known
            return self._push_activity(piece)
        over = self.advance(piece.ts_known - 1)
        self._now = piece.ts_known
        self._push_time(piece)
        return over

    def advance(self, ts_now: int) -> list[Bar]:
        """The bars that are over once everything known up to `ts_now` (ns UTC) was pushed."""
        self._now = max(self._now, ts_now)
        over: list[Bar] = []
        while self._open and self._rule.kind is BarKind.TIME:
            first = self._open[0]
            at = first.known if first.is_done else first.end + self._grace
            at = max(at, self._published)
            if at > ts_now:
                break
            self._published = at
            over.append(self._finish(self._open.pop(0), at))
        return over

    @property
    def _where(self) -> str:
        return f"{self._instrument} {self._rule.name}"

    def _push_time(self, piece: Piece) -> None:
        span = find_spans(np.array([piece.ts_from]), self._rule, self._find_sessions(piece.ts_from))
        if piece.is_bar:
            column = {"ts_from": np.array([piece.ts_from]), "ts_to": np.array([piece.ts_to])}
            check_crossing(Pieces(column, are_bars=True), span, self._rule, self._where)
        if not span.inside[0]:
            self.outside += 1
            return
        opens, end = int(span.opens[0]), int(span.ends[0])
        if piece.ts_known > end + self._grace:
            self._refuse(piece.ts_known - end)
            return
        at = next((each for each in self._open if each.opens == opens), None)
        if at is None:
            close = int(span.session_close[0])
            at = _Open(opens=opens, end=end, session_close=close)
            insort(self._open, at, key=lambda each: each.opens)
        at.add(piece)

    def _find_sessions(self, ts: int) -> Sessions | None:
        if not self._rule.by_session:
            return None
        if self._sessions is None or not self._listed[0] <= ts < self._listed[1]:
            self._listed = (ts - _AHEAD_NS, ts + _AHEAD_NS)
            self._sessions = list_sessions(self._calendar, *self._listed, self._after_close)
        return self._sessions

    def _refuse(self, wait_ns: int) -> None:
        if self._policy is LatePolicy.REFUSE:
            raise refuse_late(1, wait_ns, self._rule, self._where)
        self.late += 1

    def _push_activity(self, piece: Piece) -> list[Bar]:
        if piece.ts_from < self._newest - self._grace:
            self._refuse(self._newest - piece.ts_from)
            return []
        self._newest = max(self._newest, piece.ts_from)
        insort(self._held, piece, key=lambda each: each.ts_from)
        over: list[Bar] = []
        while self._held and self._held[0].ts_from <= self._newest - self._grace:
            over += self._count(self._held.pop(0))
        return over

    def _count(self, piece: Piece) -> list[Bar]:
        """Adds a piece to the bar by activity; the bar if that ends it."""
        if not self._open:
            self._open.append(_Open(opens=piece.ts_from))
        bar = self._open[0]
        bar.pieces.append(piece)
        if bar.measure(piece, self._rule.kind) < self._rule.threshold:
            return []
        bar.opens = max(bar.opens, self._published)
        bar.end = max(piece.ts_to, self._published + 1)
        self._published = bar.end
        self._open.clear()
        return [self._finish(bar, max(self._now, bar.end))]

    def _finish(self, bar: _Open, ts_known: int) -> Bar:
        values = bar.pieces[0].values
        quality = bar.pieces[0].quality
        for piece in bar.pieces[1:]:
            quality |= piece.quality
            values = tuple(
                fold_column(name, before, now)
                for name, before, now in zip(_COLUMNS, values, piece.values, strict=True)
            )
        if self._is_first and bar.pieces[0].ts_from > bar.opens:
            quality |= int(Quality.GAP_BEFORE)
        self._is_first = False
        last = bar.pieces[-1].session_close
        return make_bar(
            self._instrument,
            ts_open=bar.opens,
            ts_close=bar.end,
            ts_known=ts_known,
            session_close=bar.session_close or max(last, bar.end),
            quality=Quality(quality),
            source=self._source,
            timeframe=self._rule.name,
            **dict(zip(_COLUMNS, values, strict=True)),
        )
