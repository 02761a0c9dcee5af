"""Gate: the largest share of the book that one instrument may be."""

from __future__ import annotations

from onetape.domain.events import OrderDenied
from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import UniformGate, deny_amount
from onetape.risk.input import RiskInput


@rule
def check_concentration(order: RiskInput, ratio_e8: int) -> bool:
    """Whether the worst-case position is within `ratio_e8` of the book after the order.

    The book is the larger of equity and worst-case gross notional, so a first position is measured
    against equity and a leveraged book against itself. Ours.
    """
    return (
        order.end_notional <= order.equity_units * ratio_e8
        or order.end_notional
        <= compute_ratio_floor(max(order.equity, order.gross_notional), ratio_e8)
        or order.end_lots <= 0
    )


class ConcentrationGate(UniformGate):
    """Refuses an order after which one instrument could be too much of the book.

    Reducing orders pass.

    Args:
        limit: Largest share of `max(equity, gross notional)`, 1e-8.
    """

    __slots__ = ()

    code = DenialCode.CONCENTRATION
    check = staticmethod(check_concentration)

    def deny(self, order: RiskInput, limit: int) -> OrderDenied:
        """The amount against the limit, in currency."""
        allowed = compute_ratio_floor(max(order.equity, order.gross_notional), limit)
        return deny_amount(order, self.code, order.end_notional, allowed)
