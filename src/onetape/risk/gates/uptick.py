"""Gate: the price of a short sale after a fall (SEC Rule 201, the alternative uptick rule)."""

from __future__ import annotations

import msgspec

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import make_denial
from onetape.risk.input import RiskInput


class UptickQuote(msgspec.Struct):
    """What the rule reads beside the order: filled before each order of the instrument is asked.

    `is_restricted`: the rule is in force; `limit_ticks`: the order's limit, 0 without one;
    `newest_ticks`: the newest price.
    """

    is_restricted: bool = False
    limit_ticks: int = 0
    newest_ticks: int = 0


class UptickSession(msgspec.Struct):
    """The sessions of one instrument as the rule sees them.

    `session_close` (ns UTC) is the end of the newest row's session, `reference_ticks` the last
    close of the session before it (0: not known), `last_ticks` the newest close, `sessions_left`
    for how many sessions, with this one, the rule is in force.
    """

    session_close: int = 0
    reference_ticks: int = 0
    last_ticks: int = 0
    sessions_left: int = 0


@rule
def check_uptick(order: RiskInput, quote: UptickQuote) -> bool:
    """Whether a sell goes short only above the newest price, where the rule is in force.

    17 CFR 242.201(b)(1)(i): no short sale at a price that is less than or equal to the current
    national best bid; the newest price stands for the bid.
    """
    return (
        not quote.is_restricted
        or order.side_sign > 0
        or order.end_lots <= 0
        or quote.limit_ticks > quote.newest_ticks
    )


@rule
def advance_uptick(state: UptickSession, session_close: int, low: int, close: int) -> None:
    """Take a row into account: its session's end (ns UTC), its low and its close (ticks).

    17 CFR 242.201(b)(1)(i) and (ii): in force once the price has fallen by 10 % or more from the
    closing price of the day before, for the remainder of that day and the following day. Ticks
    stay below 2**59, so no product leaves int64.
    """
    if session_close > state.session_close:
        state.session_close = session_close
        state.reference_ticks = state.last_ticks
        state.sessions_left = max(0, state.sessions_left - 1)
    state.last_ticks = close
    if state.reference_ticks > 0 and low * 10 <= state.reference_ticks * 9:
        state.sessions_left = 2


class UptickGate:
    """Refuses a sell that could go short at or below the newest price while the rule is in force.

    An order without a limit can fill at the newest price, so it is refused too. Asked when an order
    comes or is replaced; one that rested before is left alone, as the rule lets an order execute
    that was above the bid when it was displayed.

    *Ignores*: the exemptions of 17 CFR 242.201(c) and (d); everything that is no equity.
    """

    __slots__ = ("_quotes",)

    code = DenialCode.UPTICK
    check = staticmethod(check_uptick)

    def __init__(self) -> None:
        self._quotes: dict[InstrumentId, UptickQuote] = {}

    def limit_for(self, instrument: Instrument) -> UptickQuote | None:
        """The record to fill before an order is asked; None for what is no equity."""
        if instrument.kind is not InstrumentKind.EQUITY:
            return None
        return self._quotes.setdefault(instrument.id, UptickQuote())

    def deny(self, order: RiskInput, limit: UptickQuote) -> OrderDenied:
        """The order's limit (0 without one) against the newest price, which it must be above."""
        tick = order.instrument.tick_float
        return make_denial(
            order, self.code, limit.limit_ticks * tick, limit.newest_ticks * tick, "price"
        )
