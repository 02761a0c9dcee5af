"""When the alternative uptick rule is in force, followed row by row."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from onetape.domain.legs import index_of
from onetape.marketdata.timeline import Timeline
from onetape.risk.gates.uptick import UptickQuote, UptickSession, advance_uptick
from onetape.risk.input import RiskInput
from onetape.runtime.market_state import MarketState, list_ticks


class UptickWatchState(msgspec.Struct, frozen=True):
    """What an `UptickWatch` has seen up to `row`, by position of the instrument."""

    row: int
    sessions: list[UptickSession]


class UptickWatch:
    """The sessions of every instrument of a timeline, as `advance_uptick` says.

    It looks at the rows when an order asks, and never beyond the market's current one. A row counts
    with its low, where it has one: what traded inside a bar is known when the bar is.

    Args:
        timeline: Where lows and sessions come from.
        market: Where closes and marks come from.
    """

    __slots__ = ("_index", "_low_ticks", "_market", "_row", "_rows_index", "_session_close",
                 "_sessions")  # fmt: skip

    def __init__(self, timeline: Timeline, market: MarketState) -> None:
        self._market = market
        self._index = index_of(timeline.tradable)
        self._rows_index: Sequence[int] = timeline.row_owners
        self._session_close: Sequence[int] = timeline.values(timeline.columns["session_close"])
        self._low_ticks = _find_lows(timeline, market.close_ticks)
        self._sessions = [UptickSession() for _ in timeline.instruments]
        self._row = -1

    def save(self) -> UptickWatchState:
        """What it has seen so far."""
        return UptickWatchState(self._row, [msgspec.structs.replace(x) for x in self._sessions])

    def restore(self, state: UptickWatchState) -> None:
        """Go on where `state` was saved."""
        self._row = state.row
        self._sessions = [msgspec.structs.replace(each) for each in state.sessions]

    def adjust_mark(self, index: int, ticks: int) -> None:
        """A corporate action has made `ticks` the newest close of the instrument at `index`.

        The close of the session before follows it in proportion, rounded up to the tick: a split
        is no fall.
        """
        self._advance()
        session = self._sessions[index]
        if session.last_ticks > 0:
            reference = -(-session.reference_ticks * ticks // session.last_ticks)
            session.reference_ticks = reference
        session.last_ticks = ticks

    def show(self, order: RiskInput, quote: UptickQuote) -> None:
        """Fill what the rule reads for `order`."""
        self._advance()
        index = self._index[order.instrument.id]
        quote.is_restricted = self._sessions[index].sessions_left > 0
        quote.limit_ticks = order.intent.limit_ticks
        quote.newest_ticks = self._market.mark_ticks(index)

    def _advance(self) -> None:
        closes, lows, ends = self._market.close_ticks, self._low_ticks, self._session_close
        for row in range(self._row + 1, self._market.row + 1):
            session = self._sessions[self._rows_index[row]]
            advance_uptick(session, ends[row], lows[row], closes[row])
        self._row = max(self._row, self._market.row)


def _find_lows(timeline: Timeline, closes: Sequence[int]) -> Sequence[int]:
    """The low of each row in ticks, rounded to the nearest; its close where it has none."""
    if "low" not in timeline.columns:
        return closes
    return list_ticks(timeline, "low")
