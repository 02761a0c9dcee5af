"""Gate: the largest loss of a trading day."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_amount
from onetape.risk.input import RiskInput


@rule
def check_daily_loss(order: RiskInput, ratio_e8: int) -> bool:
    """Whether the day's loss is within `ratio_e8` of the equity that it started with. Ours."""
    start = order.session_start_equity
    loss = start - order.equity
    return (
        loss <= 0
        or loss <= start // 100_000_000 * ratio_e8
        or loss <= compute_ratio_floor(start, ratio_e8)
        or order.end_lots <= 0
    )


class DailyLossGate(UniformGate):
    """Refuses every order that is not reducing once the day's loss is beyond its limit.

    The loss is equity at the start of the trading day less equity now, open positions at their
    marks. A loss of exactly the limit still passes.

    Args:
        limit: Largest share of the equity at the start of the day, 1e-8.
    """

    __slots__ = ()

    code = DenialCode.DAILY_LOSS
    check = staticmethod(check_daily_loss)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The loss against the limit, in currency."""
        start = order.session_start_equity
        allowed = compute_ratio_floor(start, limit)
        return deny_amount(order, self.code, start - order.equity, allowed)
