"""Gate: money to pay for the order with."""

from __future__ import annotations

import msgspec

from onetape.domain.events import OrderDenied
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.numbers import E8, compute_ratio_floor
from onetape.domain.orders import DenialCode
from onetape.domain.rules import rule
from onetape.risk.gates.gate import deny_amount, deny_lots
from onetape.risk.input import RiskInput


class BuyingPower(msgspec.Struct, frozen=True):
    """How much a strategy may have in the market: the record that the rule reads.

    `max_leverage_e8` is a multiple of equity in 1e-8. A cash account has no leverage, so its buys
    must be paid from cash. With `is_margin` the initial margin of everything counts instead.
    """

    max_leverage_e8: int
    is_cash_account: bool
    allow_short: bool
    is_margin: bool = False


@rule
def check_buying_power(order: RiskInput, power: BuyingPower) -> bool:
    """Whether the order can be paid for, as `BuyingPowerGate` says. Ours."""
    if order.end_lots <= 0:
        return True
    if power.is_margin:
        if order.side_sign < 0 and not power.allow_short:
            return False
        return order.margin_needed + order.fee <= order.margin_power
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

    On margin: the initial margin of everything at its worst, plus the fee, stays within the equity
    (isolated: the cash), and leverage is bounded by the margin alone. Options can be sold short
    only on margin.

    Args:
        max_leverage_e8: Multiple of the strategy's equity that may be in the market, 1e-8.
        allow_short: Whether a sell may open a short position.
        is_margin: Whether the account has agreed on margin.
        pays_by_currency: Whether `CurrencyPowerGate` asks for the cash of a buy.
    """

    __slots__ = ("_power",)

    code = DenialCode.BUYING_POWER
    check = staticmethod(check_buying_power)

    def __init__(
        self,
        max_leverage_e8: int,
        *,
        allow_short: bool,
        is_margin: bool = False,
        pays_by_currency: bool = False,
    ) -> None:
        is_cash_account = max_leverage_e8 <= E8 and not pays_by_currency
        self._power = BuyingPower(max_leverage_e8, is_cash_account, allow_short, is_margin)

    def limit_for(self, instrument: Instrument) -> BuyingPower:
        """The same for every instrument, but that options are not sold without margin."""
        if instrument.kind is InstrumentKind.OPTION and not self._power.is_margin:
            return msgspec.structs.replace(self._power, allow_short=False)
        return self._power

    def deny(self, order: RiskInput, limit: BuyingPower) -> OrderDenied:
        """What the order needs against what there is: leveraged equity, then cash, then lots."""
        if limit.is_margin and (order.side_sign > 0 or limit.allow_short):
            return deny_amount(
                order, self.code, order.margin_needed + order.fee, order.margin_power
            )
        needed = order.gross_notional + order.fee
        allowed = compute_ratio_floor(order.equity, limit.max_leverage_e8)
        if needed > allowed and not limit.is_margin:
            return deny_amount(order, self.code, needed, allowed)
        if order.side_sign < 0:
            return deny_lots(order, self.code, order.lots, order.lots - order.end_lots)
        free = order.cash - order.open_buy_notional
        return deny_amount(order, self.code, order.notional + order.fee, free)
