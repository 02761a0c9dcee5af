"""Gate: the largest net notional of a strategy."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_amount
from onetape.risk.input import RiskInput


@rule
def check_net_exposure(order: RiskInput, ratio_e8: int) -> bool:
    """Whether worst-case net notional, the way the order trades, is within its limit.

    Net notional is longs less shorts, the limit `ratio_e8` of equity. An order moves the net one
    way only, so an order against a net that is too large the other way is a hedge and passes. Ours.
    """
    return (
        order.net_notional <= order.equity_units * ratio_e8
        or order.net_notional <= compute_ratio_floor(order.equity, ratio_e8)
        or order.end_lots <= 0
    )


class NetExposureGate(UniformGate):
    """Refuses an order after which longs less shorts could be too large, either way.

    Reducing orders pass.

    Args:
        limit: Largest share of the strategy's equity, 1e-8.
    """

    __slots__ = ()

    code = DenialCode.NET_EXPOSURE
    check = staticmethod(check_net_exposure)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The amount against the limit, in currency."""
        allowed = compute_ratio_floor(order.equity, limit)
        return deny_amount(order, self.code, order.net_notional, allowed)
