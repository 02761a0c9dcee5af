"""Gate: shares to borrow for a short position."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from decimal import ROUND_FLOOR, Decimal

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.legs import market_of
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import deny_lots
from onetape.risk.input import RiskInput


@rule
def check_locate(order: RiskInput, located_lots: int) -> bool:
    """Whether the worst-case short position after a sell is `located_lots` at most.

    Regulation SHO, 17 CFR 242.203(b)(1): no short sale without a borrow, or reasonable grounds to
    believe that there is one.
    """
    return order.side_sign > 0 or order.end_lots <= located_lots


class LocateGate:
    """Refuses a sell after which more could be short than was located.

    *Ignores*: what other strategies are short; that a locate ends with its day; splits.

    Args:
        hard_to_borrow: Ids of which nothing can be borrowed that is not located.
        located: Units located, by id; none where an id is absent.
    """

    __slots__ = ("_hard_to_borrow", "_located")

    code = DenialCode.NOT_LOCATED
    check = staticmethod(check_locate)

    def __init__(self, hard_to_borrow: Collection[str], located: Mapping[str, Decimal]) -> None:
        self._hard_to_borrow = hard_to_borrow
        self._located = located

    def limit_for(self, instrument: Instrument) -> int | None:
        """The lots that the located quantity holds; None where it is easy to borrow."""
        name = market_of(instrument.id)
        if name not in self._hard_to_borrow:
            return None
        located = self._located.get(name, Decimal(0))
        return int((located / instrument.lot_size).to_integral_value(ROUND_FLOOR))

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The worst-case short position against what was located, in units."""
        return deny_lots(order, self.code, order.end_lots, limit)
