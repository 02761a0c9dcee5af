"""Gate: money to pay for the order with."""

from __future__ import annotations

import msgspec

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8, compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import deny_amount, deny_lots
from onetape.risk.input import RiskInput


class BuyingPower(msgspec.Struct, frozen=True):
    """How much a strategy may have in the market: the record that the rule reads.

    `max_leverage_e8` is a multiple of equity in 1e-8. A cash account has no leverage, so its buys
    must be paid from cash.
    """

    max_leverage_e8: int
    is_cash_account: bool
    allow_short: bool


@rule
def check_buying_power(order: RiskInput, power: BuyingPower) -> bool:
    """Whether the order can be paid for, as `BuyingPowerGate` says. Ours."""
    if order.end_lots <= 0:
        return True
    needed = order.gross_notional + order.fee
    if needed > order.equity_units * power.max_leverage_e8 and needed > compute_ratio_floor(
        order.equity, power.max_leverage_e8
    ):
        return False
    if order.side_sign < 0:
        return power.allow_short
    return (
        not power.is_cash_account
        or order.notional + order.fee <= order.cash - order.open_buy_notional
    )


class BuyingPowerGate:
    """Refuses an order that the strategy can't pay for. Reducing orders pass.

    Every order: worst-case gross notional plus its fee stays within `max_leverage` times equity.
    Without leverage (`max_leverage` 1 at most) a buy must also be paid from cash that no open buy
    has bound. Without `allow_short` a sell must be covered by what is held and not yet for sale.

    Args:
        max_leverage_e8: Multiple of the strategy's equity that may be in the market, 1e-8.
        allow_short: Whether a sell may open a short position.
    """

    __slots__ = ("_power",)

    code = DenialCode.BUYING_POWER
    check = staticmethod(check_buying_power)

    def __init__(self, max_leverage_e8: int, *, allow_short: bool) -> None:
        self._power = BuyingPower(max_leverage_e8, max_leverage_e8 <= E8, allow_short)

    def limit_for(self, instrument: Instrument) -> BuyingPower:
        """The same for every instrument."""
        return self._power

    def deny(self, order: RiskInput, limit: BuyingPower) -> OrderDenied:
        """What the order needs against what there is: leveraged equity, then cash, then lots."""
        needed = order.gross_notional + order.fee
        allowed = compute_ratio_floor(order.equity, limit.max_leverage_e8)
        if needed > allowed:
            return deny_amount(order, self.code, needed, allowed)
        if order.side_sign < 0:
            return deny_lots(order, self.code, order.lots, order.lots - order.end_lots)
        free = order.cash - order.open_buy_notional
        return deny_amount(order, self.code, order.notional + order.fee, free)
