"""Gate: the largest drawdown from the peak."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_amount
from onetape.risk.input import RiskInput


@rule
def check_drawdown(order: RiskInput, ratio_e8: int) -> bool:
    """Whether equity is within `ratio_e8` of its peak below the peak. Ours."""
    peak = order.peak_equity
    loss = peak - order.equity
    return (
        loss <= 0
        or loss <= peak // 100_000_000 * ratio_e8
        or loss <= compute_ratio_floor(peak, ratio_e8)
        or order.end_lots <= 0
    )


class DrawdownGate(UniformGate):
    """Refuses every order that is not reducing once the drawdown is beyond its limit.

    Open positions count at their marks. A drawdown of exactly the limit still passes.

    Args:
        limit: Largest share of the highest equity so far, 1e-8.
    """

    __slots__ = ()

    code = DenialCode.DRAWDOWN
    check = staticmethod(check_drawdown)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The loss against the limit, in currency."""
        peak = order.peak_equity
        allowed = compute_ratio_floor(peak, limit)
        return deny_amount(order, self.code, peak - order.equity, allowed)
