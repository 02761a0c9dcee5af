"""How many lots an intent asks for that names a target, an amount of money or a share of equity."""

from __future__ import annotations

from collections.abc import Iterable

from onetape.domain.notional import compute_notional
from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.orders import LiquiditySide, OrderIntent, OrderType, QuantityBasis, Side
from onetape.execution.oms import Order
from onetape.execution.simulated.fee_rules import compute_affordable_lots
from onetape.runtime.market_state import MarketState
from onetape.runtime.runner import DeskLine, Runner

AT_FILL = (QuantityBasis.NOTIONAL_AT_FILL, QuantityBasis.EQUITY_AT_FILL)
"""The venue sizes such an order when it fills; what is sized before is an estimate."""
_TAKER = LiquiditySide.TAKER.value


def size_intent(
    runner: Runner,
    line: DeskLine,
    intent: OrderIntent,
    market: MarketState,
    orders: Iterable[Order],
) -> tuple[Side, int] | None:
    """Side and lots of an intent that is not given in lots; None when its target is held.

    Money buys what it can pay for at the mark, the fee of a taker included, rounded down. A target
    counts the market orders that are on their way to it. Without a mark or a rate it is no lots,
    which the instrument then refuses.

    Args:
        runner: Whose intent.
        line: Where it goes.
        intent: Its amount is lots of a target, minor units, or 1e-8 of equity.
        market: Where the marks come from.
        orders: Open ones; those of other strategies are passed over.
    """
    basis, amount = intent.basis, intent.amount
    mark = market.mark_ticks(line.index)
    if not mark:
        return intent.side, 0
    if basis is not QuantityBasis.TARGET_LOTS:
        currency = line.instrument.settlement_currency
        if line.exchange is not None and not line.exchange.has_rate(currency):
            return intent.side, 0
        budget = compute_budget(runner, line, intent)
        price, factor = mark, line.factor
        if line.inverse_factor:
            price, factor = 1, compute_notional(1, mark, 0, line.inverse_factor)
        lots = compute_affordable_lots(line.fees, _TAKER, budget, price, factor, 0)
        if basis in AT_FILL:
            return intent.side, lots
        amount = lots if amount >= 0 else -lots
    held = line.position.lots
    for order in orders:
        if (
            order.strategy == runner.name
            and order.instrument == intent.instrument
            and order.order_type is OrderType.MARKET
        ):
            held += order.leaves * order.side
    if amount == held:
        return None
    return (Side.BUY, amount - held) if amount > held else (Side.SELL, held - amount)


def compute_budget(runner: Runner, line: DeskLine, intent: OrderIntent) -> int:
    """What an intent that names money or a share of the equity may cost with its fee, now.

    In minor units of the instrument's currency, which has a rate.
    """
    if intent.basis is QuantityBasis.NOTIONAL_AT_FILL:
        return intent.amount
    runner.valuation.refresh()
    budget = compute_ratio_floor(max(runner.valuation.equity, 0), abs(intent.amount))
    if line.exchange is None:
        return budget
    return line.exchange.from_home(line.instrument.settlement_currency, budget)
