"""Gate: the largest position in one instrument, as a quantity."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import QuantityGate, deny_lots
from onetape.risk.input import RiskInput


@rule
def check_position_quantity(order: RiskInput, max_lots: int) -> bool:
    """Whether the worst-case position after the order is `max_lots` at most. Ours."""
    return order.end_lots <= max_lots


class PositionQuantityGate(QuantityGate):
    """Refuses an order after which the position could be too large. Reducing orders pass.

    Args:
        quantity: Largest position, long or short, in units.
    """

    __slots__ = ()

    code = DenialCode.POSITION_QUANTITY
    check = staticmethod(check_position_quantity)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The worst-case position against the limit, in units."""
        return deny_lots(order, self.code, order.end_lots, limit)
