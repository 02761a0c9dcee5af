"""Gate: the largest quantity of one order."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import QuantityGate, deny_lots
from onetape.risk.input import RiskInput


@rule
def check_order_quantity(order: RiskInput, max_lots: int) -> bool:
    """Whether the order is `max_lots` at most. Ours."""
    return order.lots <= max_lots


class OrderQuantityGate(QuantityGate):
    """Refuses an order that is too large, reducing or not: a fat finger sells as well as it buys.

    Args:
        quantity: Largest quantity of an order, in units.
    """

    __slots__ = ()

    code = DenialCode.ORDER_QUANTITY
    check = staticmethod(check_order_quantity)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The order's quantity against the limit, in units."""
        return deny_lots(order, self.code, order.lots, limit)
