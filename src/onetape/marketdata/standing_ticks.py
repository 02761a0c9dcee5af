"""Ticks as they come: the rows that a timeline of the same ticks has.

What stands behind a row (the best bid and ask, the mark) is carried from one to the next, by the
rules that `Standing` has for columns.
"""

from __future__ import annotations

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import BookDelta, QuoteTick, TickKind, TradeTick
from onetape.domain.venue import Tick, TickHeard
from onetape.marketdata.standing_book import StandingBook, StandingLevel

_QUOTE, _PRINT, _DELTA = TickKind.QUOTE.value, TickKind.PRINT.value, TickKind.DELTA.value


class TickRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A row of ticks with what stands behind it; see the columns of a `TickBlock`.

    `side` is the aggressor of a print, 1 for a bid and -1 for an ask of a change. Of trade prints
    alone the mark (`close`) is their price. `trade_id` is the source's, of a print.
    """

    instrument: InstrumentId
    ts_event: int
    ts_known: int
    session_close: int
    what: int
    side: int
    update_id: int
    is_whole: int
    price: float
    size: float
    bid: float
    ask: float
    bid_size: float
    ask_size: float
    close: float
    quality: int
    trade_id: str = ""

    @property
    def ts_open(self) -> int:
        """As a bar it lasts the nanosecond before it."""
        return self.ts_event - 1

    @property
    def ts_close(self) -> int:
        """When it happened."""
        return self.ts_event

    @property
    def open(self) -> float:
        """The mark."""
        return self.close

    @property
    def high(self) -> float:
        """The mark."""
        return self.close

    @property
    def low(self) -> float:
        """The mark."""
        return self.close

    @property
    def volume(self) -> float:
        """Size of a print, else 0."""
        return self.size if self.what == _PRINT else 0.0

    @property
    def aggressor(self) -> int:
        """Of a print."""
        return self.side


class StandingState(msgspec.Struct, frozen=True, array_like=True):
    """What stands behind the newest row of an instrument, between two slices.

    `has_middle` tells whether both sides have ever stood; `levels` are those of the depth.
    """

    quote: tuple[float, float, float, float]
    mark: float
    has_middle: bool
    levels: list[StandingLevel]


class StandingTicks:
    """What stands behind the rows of one instrument, one after the other."""

    __slots__ = ("_book", "_has_middle", "_instrument", "_mark", "_quote")

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._quote = (0.0, 0.0, 0.0, 0.0)
        self._mark = 0.0
        self._has_middle = False
        self._book = StandingBook(instrument)

    def follow(self, heard: TickHeard, *, is_whole: bool) -> TickRow:
        """The row that a tick is."""
        tick = heard.tick
        what, side, update_id, price, size, trade_id = _PRINT, 0, 0, 0.0, 0.0, ""
        if isinstance(tick, QuoteTick):
            what = _QUOTE
            self._quote = (
                tick.bid if tick.bid_size > 0 else 0.0, tick.ask if tick.ask_size > 0 else 0.0,
                tick.bid_size, tick.ask_size,
            )  # fmt: skip
        elif isinstance(tick, BookDelta):
            what, side, update_id = _DELTA, 1 if tick.is_bid else -1, tick.update_id
            price, size = tick.price, tick.size
            self._book.change(price, size, is_bid=tick.is_bid)
            if is_whole:
                self._quote = self._book.tops()
        else:
            side, price, size = tick.aggressor.value, tick.price, tick.size
            trade_id = tick.trade_id
        bid, ask, bid_size, ask_size = self._quote
        self._move_mark(price if what == _PRINT or size > 0 else 0.0)
        return TickRow(
            tick.instrument, tick.ts_event, tick.ts_known, heard.session_close, what, side,
            update_id, int(is_whole), price, size, bid, ask, bid_size, ask_size, self._mark,
            tick.quality, trade_id,
        )  # fmt: skip

    def _move_mark(self, price: float) -> None:
        """The middle of the newest row with both sides; before any, one side or the price."""
        bid, ask, bid_size, ask_size = self._quote
        if bid_size > 0 and ask_size > 0:
            self._mark, self._has_middle = (bid + ask) / 2, True
        elif not self._has_middle:
            if bid_size > 0 or ask_size > 0:
                self._mark = bid if bid_size > 0 else ask
            elif price:
                self._mark = price

    def clear(self, ts: int) -> tuple[BookDelta, ...]:
        """The changes at `ts` (ns UTC) that leave no level of the depth."""
        return tuple(
            BookDelta(instrument=self._instrument.id, ts_event=ts, ts_known=0, is_bid=is_bid,
                      price=price, size=0.0, source="restart")
            for is_bid, _, _, price in self._book.levels()
        )  # fmt: skip

    def save(self) -> StandingState:
        """What is needed to go on from here."""
        return StandingState(self._quote, self._mark, self._has_middle, list(self._book.levels()))

    def load(self, state: StandingState) -> None:
        """Go on where `state` was saved."""
        self._quote, self._mark, self._has_middle = state.quote, state.mark, state.has_middle
        self._book.load(state.levels)


def make_print_row(heard: TickHeard) -> TickRow:
    """A print where there is nothing but prints."""
    tick = heard.tick
    if not isinstance(tick, TradeTick):
        raise InvariantBroken(f"a {type(tick).__name__} in a session on trade prints")
    return TickRow(
        tick.instrument, tick.ts_event, tick.ts_known, heard.session_close, _PRINT,
        tick.aggressor.value, 0, 1, tick.price, tick.size, 0.0, 0.0, 0.0, 0.0, tick.price,
        tick.quality, tick.trade_id,
    )  # fmt: skip


def is_same_update(tick: Tick, after: Tick | None) -> bool:
    """Whether the next tick is of the same update of the depth."""
    return (
        isinstance(tick, BookDelta) and isinstance(after, BookDelta)
        and (tick.instrument, tick.ts_event, tick.update_id)
        == (after.instrument, after.ts_event, after.update_id)
    )  # fmt: skip
