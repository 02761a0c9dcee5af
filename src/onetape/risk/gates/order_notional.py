"""Gate: the largest notional of one order."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_amount
from onetape.risk.input import RiskInput


@rule
def check_order_notional(order: RiskInput, max_notional: int) -> bool:
    """Whether the order's notional is `max_notional` (minor) at most. Ours."""
    return order.notional <= max_notional


class OrderNotionalGate(UniformGate):
    """Refuses an order whose notional is too large, reducing or not (fat finger).

    Args:
        limit: Largest notional of an order, minor units of its instrument's currency.
    """

    __slots__ = ()

    code = DenialCode.ORDER_NOTIONAL
    check = staticmethod(check_order_notional)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The order's notional against the limit, in currency."""
        return deny_amount(order, self.code, order.notional, limit)
