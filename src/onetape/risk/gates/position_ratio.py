"""Gate: the largest position in one instrument, as a share of equity."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_amount
from onetape.risk.input import RiskInput


@rule
def check_position_ratio(order: RiskInput, ratio_e8: int) -> bool:
    """Whether the worst-case position notional is within `ratio_e8` of equity. Ours."""
    return (
        order.end_notional <= order.equity_units * ratio_e8
        or order.end_notional <= compute_ratio_floor(order.equity, ratio_e8)
        or order.end_lots <= 0
    )


class PositionRatioGate(UniformGate):
    """Refuses an order after which the position could be too large for the equity.

    Reducing orders pass.

    Args:
        limit: Largest share of the strategy's equity, 1e-8.
    """

    __slots__ = ()

    code = DenialCode.POSITION_RATIO
    check = staticmethod(check_position_ratio)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The amount against the limit, in currency."""
        allowed = compute_ratio_floor(order.equity, limit)
        return deny_amount(order, self.code, order.end_notional, allowed)
