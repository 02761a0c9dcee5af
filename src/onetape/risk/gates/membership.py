"""Gate: positions are opened in members of the session's universe only."""

from __future__ import annotations

import msgspec

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import deny_lots
from onetape.risk.input import RiskInput


class MemberMark(msgspec.Struct):
    """What the rule reads beside the order: filled before each order of the instrument is asked.

    `is_member`: the instrument is in the universe, by what is known at the time of the order.
    """

    is_member: bool = False


@rule
def check_membership(order: RiskInput, mark: MemberMark) -> bool:
    """Whether the instrument is a member, or the order brings its position toward flat. Ours."""
    return mark.is_member or order.end_lots <= 0


class MembershipGate:
    """Refuses an order that could open or enlarge a position in what is no member.

    A position in what has left may be reduced. Asked when an order comes or is replaced; one that
    rested when its instrument left is left alone.
    """

    __slots__ = ("_marks",)

    code = DenialCode.NOT_A_MEMBER
    check = staticmethod(check_membership)

    def __init__(self) -> None:
        self._marks: dict[InstrumentId, MemberMark] = {}

    def limit_for(self, instrument: Instrument) -> MemberMark:
        """The record to fill before an order is asked."""
        return self._marks.setdefault(instrument.id, MemberMark())

    def deny(self, order: RiskInput, limit: MemberMark) -> OrderDenied:
        """The position at its worst, in the direction of the order, against none."""
        return deny_lots(order, self.code, order.end_lots, 0)
