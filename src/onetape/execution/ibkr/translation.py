"""Our words and units to IB's, and back.

| ours | IB's order type | time in force |
| --- | --- | --- |
| market, limit | MKT, LMT | DAY, GTC, GTD, IOC, FOK; OPG at the open |
| the same at the close | MOC, LOC | DAY |
| stop, stop-limit | STP, STP LMT | DAY, GTC, GTD, IOC, FOK |
| if touched | MIT, LIT | the same |
| trailing stop | TRAIL | the same |

Source: Interactive Brokers, "TWS API": Basic orders, Order class, Message codes.
"""

from __future__ import annotations

from copy import copy
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderConditions, OrderType, RejectCode, Side, TimeInForce
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.execution.gateway import Capabilities

if TYPE_CHECKING:
    from ib_async.order import Order

CAPABILITIES = Capabilities(
    order_types=frozenset({
        OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT,
        OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED, OrderType.TRAILING_STOP,
    }),
    times_in_force=frozenset(TimeInForce),
    can_replace=True,
    has_iceberg=True,
    can_short=True,
)  # fmt: skip

ORDER_REF_MAX = 40
"""Characters of our order id: IB does not say how many it keeps, and a cut one is lost."""

_TYPES = {
    OrderType.MARKET: "MKT",
    OrderType.LIMIT: "LMT",
    OrderType.STOP: "STP",
    OrderType.STOP_LIMIT: "STP LMT",
    OrderType.MARKET_IF_TOUCHED: "MIT",
    OrderType.LIMIT_IF_TOUCHED: "LIT",
    OrderType.TRAILING_STOP: "TRAIL",
}
_OUR_TYPES = {name: kind for kind, name in _TYPES.items()} | {
    "MOC": OrderType.MARKET, "LOC": OrderType.LIMIT,
}  # fmt: skip
_TIMES = {
    TimeInForce.GTC: "GTC",
    TimeInForce.DAY: "DAY",
    TimeInForce.GTD: "GTD",
    TimeInForce.IOC: "IOC",
    TimeInForce.FOK: "FOK",
    TimeInForce.AT_THE_OPEN: "OPG",
    TimeInForce.AT_THE_CLOSE: "DAY",
}
_OUR_TIMES = {
    name: each
    for each, name in _TIMES.items()
    if each not in (TimeInForce.GTD, TimeInForce.AT_THE_CLOSE)
}
_AUCTIONS = (TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE)
_AT_THE_CLOSE = {OrderType.MARKET: "MOC", OrderType.LIMIT: "LOC"}

REFUSALS = frozenset({
    103, 104, 105, 106, 107, 109, 110, 111, 113, 114, 116, 118, 119, 131, 132, 133, 134, 140, 141,
    144, 146, 151, 152, 200, 201, 203, 312, 313, 314, 315, 321, 328, 329, 334, 335, 336, 341, 355,
    358, 361, 382, 383, 387, 388, 391, 392, 397, 434, 435, 436, 437, 460, 461, 10005, 10006, 10268,
})  # fmt: skip
"""Codes by which an order, or its change, is refused for good. After any other the order may be
there all the same: IB is asked."""

NOT_THERE = frozenset({135, 10147})
NOT_CANCELABLE = frozenset({136, 161, 10148})
CANCELED = 202
REJECTED = 201
_FUNDS = ("insufficient", "margin", "equity with loan", "available funds", "buying power")


def find_problem(order: OrderSubmitted, instrument: Instrument) -> str:
    """Why an order can't be sent as it is; empty when it can."""
    if order.lots <= 0:
        return "IB sizes an amount of money by itself, in parts of a share: size by quantity"
    if order.order_type not in _TYPES:
        return f"IB's {order.order_type.name} orders are not used here"
    if order.time_in_force in _AUCTIONS and order.order_type not in _AT_THE_CLOSE:
        return f"IB has no {order.order_type.name} orders for an auction"
    if instrument.lots_to_quantity(order.lots) % 1:
        return "IB takes whole shares here"
    reference = order.client_order_id
    if len(reference) > ORDER_REF_MAX or not reference.isascii() or not reference.isprintable():
        return (
            f"IB keeps {ORDER_REF_MAX} plain characters of an order's id, not {reference!r}: give "
            "the strategy a shorter name"
        )
    terms = order.conditions
    if terms is not None and (terms.post_only or terms.parent or terms.group):
        return "IB's post-only and bound orders are not used here"
    return ""


def to_order(
    order: OrderSubmitted,
    instrument: Instrument,
    account: str,
    *,
    lots: int,
    limit_ticks: int,
    stop_ticks: int,
) -> Order:
    """IB's form of an order, with the quantity and prices that it shall have."""
    from ib_async.order import Order

    at_close = order.time_in_force is TimeInForce.AT_THE_CLOSE
    kind = order.order_type
    made = Order(
        action="BUY" if order.side is Side.BUY else "SELL",
        totalQuantity=float(instrument.lots_to_quantity(lots)),
        orderType=_AT_THE_CLOSE[kind] if at_close else _TYPES[kind],
        tif=_TIMES[order.time_in_force],
        orderRef=order.client_order_id,
        account=account,
        outsideRth=False,
    )
    if kind.has_limit:
        made.lmtPrice = instrument.ticks_to_price(limit_ticks)
    if kind.has_trigger and not kind.is_trailing:
        made.auxPrice = instrument.ticks_to_price(stop_ticks)
    terms = order.conditions or OrderConditions()
    if kind.is_trailing:
        if stop_ticks:
            made.trailStopPrice = instrument.ticks_to_price(stop_ticks)
        if terms.trail_ticks:
            made.auxPrice = instrument.ticks_to_price(terms.trail_ticks)
        else:
            made.trailingPercent = Decimal(terms.trail_ratio_e8).scaleb(-6)
    if terms.display_lots:
        made.displaySize = int(instrument.lots_to_quantity(terms.display_lots))
    if order.time_in_force is TimeInForce.GTD:
        moment = datetime.fromtimestamp(order.ts_expire // NS_PER_SECOND, tz=UTC)
        made.goodTillDate = moment.strftime("%Y%m%d-%H:%M:%S")
    return made


def change_order(
    standing: Order,
    kind: OrderType,
    instrument: Instrument,
    *,
    lots: int,
    limit_ticks: int,
    stop_ticks: int,
) -> Order:
    """An order as IB tells it, with another quantity and other prices."""
    changed = copy(standing)
    changed.totalQuantity = float(instrument.lots_to_quantity(lots))
    if kind.has_limit:
        changed.lmtPrice = instrument.ticks_to_price(limit_ticks)
    if kind.has_trigger:
        changed.auxPrice = instrument.ticks_to_price(stop_ticks)
    return changed


def find_strange(order: Order, instrument: Instrument) -> str:
    """What an order that was given by hand has and no order of ours can have; empty: nothing."""
    kind = _OUR_TYPES.get(order.orderType)
    if kind is None or kind.is_trailing:
        return f"it is of type {order.orderType}"
    if is_told(order.cashQty) and order.cashQty:
        return "it is sized by an amount of money"
    if to_decimal(order.totalQuantity) % instrument.lot_size:
        return f"a quantity of {order.totalQuantity} is not in lots of {instrument.lot_size:f}"
    prices = [order.lmtPrice] * kind.has_limit + [order.auxPrice] * kind.has_trigger
    for price in prices:
        if is_told(price) and to_decimal(price) % instrument.tick_size:
            return f"a price of {price} is not in ticks of {instrument.tick_size:f}"
    if to_time_in_force(order) is None:
        return f"it lives {order.tif}"
    if order.parentId or order.ocaGroup:
        return "it is bound to others"
    return "it waits for conditions" if order.conditions else ""


def to_time_in_force(order: Order) -> TimeInForce | None:
    """Ours; None: we have none like it, or (GTD) it is told in words of its own."""
    if order.orderType in _AT_THE_CLOSE.values():
        return TimeInForce.AT_THE_CLOSE
    return _OUR_TIMES.get(order.tif or "DAY")


def to_order_type(name: str) -> OrderType:
    """Ours; a type that we do not know is a market order, the worst that it can be."""
    return _OUR_TYPES.get(name, OrderType.MARKET)


def to_side(name: str) -> Side:
    """Ours, of an order (BUY, SELL, SSHORT) or of an execution (BOT, SLD)."""
    return Side.BUY if name in ("BUY", "BOT") else Side.SELL


def to_decimal(number: object) -> Decimal:
    """A number of the wire: the shortest text that reads as it is what was sent."""
    return Decimal(str(number))


def to_lots(quantity: float, instrument: Instrument) -> int:
    """Whole lots of a quantity, toward zero."""
    return int((to_decimal(quantity) / instrument.lot_size).to_integral_value(ROUND_DOWN))


def to_rest_units(quantity: float, instrument: Instrument) -> int:
    """What a quantity has beside whole lots, in 1e-8 units, toward zero."""
    rest = to_decimal(quantity) - instrument.lots_to_quantity(to_lots(quantity, instrument))
    return int((rest * E8).to_integral_value(ROUND_DOWN))


def to_ticks(price: Any, instrument: Instrument, side: Side) -> int:
    """A price in ticks, one between two of them rounded against us; 0 where there is none."""
    if not is_told(price):
        return 0
    exact = to_decimal(price) / instrument.tick_size
    against = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
    return int(exact.to_integral_value(against))


def to_fee(commission: float) -> int:
    """Minor units of a commission, rounded up; a rebate is negative."""
    return int((to_decimal(commission) * E8).to_integral_value(ROUND_CEILING))


def is_told(number: Any) -> bool:
    """Whether a number is one, and not IB's sign for none."""
    return number is not None and abs(number) < 1e300


def to_reject_code(code: int, message: str) -> RejectCode:
    """Why a command was refused, from IB's code and words."""
    said = message.lower()
    if code in NOT_THERE:
        return RejectCode.UNKNOWN_ORDER
    if code in (104, 161, 10148):
        return RejectCode.ORDER_CLOSED
    if code == REJECTED and any(each in said for each in _FUNDS):
        return RejectCode.INSUFFICIENT_FUNDS
    if code == REJECTED and "halt" in said:
        return RejectCode.HALTED
    return RejectCode.UNSUPPORTED


def get_fields(order: Order, kind: OrderType, instrument: Instrument) -> tuple[int, int, int]:
    """(lots, limit ticks, stop ticks) of an order of the wire; a trailing stop stands there now."""
    side = to_side(order.action)
    lots = to_lots(order.totalQuantity, instrument)
    limit = to_ticks(order.lmtPrice, instrument, side) if kind.has_limit else 0
    if kind.is_trailing:
        stop = to_ticks(order.trailStopPrice, instrument, side)
    else:
        stop = to_ticks(order.auxPrice, instrument, side) if kind.has_trigger else 0
    return lots, limit, stop
