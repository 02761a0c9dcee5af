"""Gate: the largest gross notional of a strategy."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_amount
from onetape.risk.input import RiskInput


@rule
def check_gross_exposure(order: RiskInput, ratio_e8: int) -> bool:
    """Whether worst-case gross notional, longs plus shorts, is within `ratio_e8` of equity.

    Ours.
    """
    return (
        order.gross_notional <= order.equity_units * ratio_e8
        or order.gross_notional <= compute_ratio_floor(order.equity, ratio_e8)
        or order.end_lots <= 0
    )


class GrossExposureGate(UniformGate):
    """Refuses an order after which longs and shorts together could be too large.

    Reducing orders pass.

    Args:
        limit: Largest share of the strategy's equity, 1e-8.
    """

    __slots__ = ()

    code = DenialCode.GROSS_EXPOSURE
    check = staticmethod(check_gross_exposure)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The amount against the limit, in currency."""
        allowed = compute_ratio_floor(order.equity, limit)
        return deny_amount(order, self.code, order.gross_notional, allowed)
