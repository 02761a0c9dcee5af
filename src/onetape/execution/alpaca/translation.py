"""Our words and units to Alpaca's, and back."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.orders import OrderType, RejectCode, Side, TimeInForce
from onetape.domain.timestamps import from_iso
from onetape.execution.alpaca.wire import WireOrder
from onetape.execution.gateway import Capabilities
from onetape.marketdata.feeds.alpaca_assets import to_wire_symbol

CAPABILITIES = Capabilities(
    order_types=frozenset({
        OrderType.MARKET, OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT,
        OrderType.TRAILING_STOP,
    }),
    times_in_force=frozenset({
        TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK,
        TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE,
    }),
    can_replace=True,
    replaces_anew=True,
    can_short=True,
)  # fmt: skip
"""Of equities. Pairs have fewer types and times, and can't be short: those orders are rejected."""

_TYPES = {
    OrderType.MARKET: "market",
    OrderType.LIMIT: "limit",
    OrderType.STOP: "stop",
    OrderType.STOP_LIMIT: "stop_limit",
    OrderType.TRAILING_STOP: "trailing_stop",
}
_TIMES = {
    TimeInForce.DAY: "day",
    TimeInForce.GTC: "gtc",
    TimeInForce.IOC: "ioc",
    TimeInForce.FOK: "fok",
    TimeInForce.AT_THE_OPEN: "opg",
    TimeInForce.AT_THE_CLOSE: "cls",
}
_OUR_TYPES = {name: kind for kind, name in _TYPES.items()}
_OUR_TIMES = {name: each for each, name in _TIMES.items()}
_UNBOUND = ("", "simple")
_PAIR_TYPES = (OrderType.MARKET, OrderType.LIMIT, OrderType.STOP_LIMIT)
_PAIR_TIMES = (TimeInForce.GTC, TimeInForce.IOC)
_UNITS = Decimal(100_000_000)


def find_problem(order: OrderSubmitted, instrument: Instrument) -> str:
    """Why an order can't be sent as it is; empty when it can."""
    if order.lots <= 0:
        return (
            "Alpaca sizes an amount of money in 1e-9 shares, which no book of ours holds exactly: "
            "size by quantity"
        )
    if order.order_type not in _TYPES:
        return f"Alpaca has no {order.order_type.name} orders"
    if order.time_in_force not in _TIMES:
        return f"Alpaca has no {order.time_in_force.name} orders"
    if instrument.kind is InstrumentKind.SPOT:
        if order.order_type not in _PAIR_TYPES:
            return f"Alpaca has no {order.order_type.name} orders for pairs"
        if order.time_in_force not in _PAIR_TIMES:
            return f"Alpaca has no {order.time_in_force.name} orders for pairs"
    elif instrument.lots_to_quantity(order.lots) % 1 and order.time_in_force is not TimeInForce.DAY:
        return f"Alpaca takes parts of a share in DAY orders only, not {order.time_in_force.name}"
    terms = order.conditions
    if terms is not None and (terms.post_only or terms.display_lots or terms.parent or terms.group):
        return "Alpaca holds no post-only, iceberg or bound orders of ours"
    return ""


def to_fields(order: OrderSubmitted, instrument: Instrument) -> dict[str, str]:
    """The body of a new order; prices and quantities as exact texts."""
    fields = {
        "symbol": to_wire_symbol(instrument),
        "qty": f"{instrument.lots_to_quantity(order.lots):f}",
        "side": "buy" if order.side is Side.BUY else "sell",
        "type": _TYPES[order.order_type],
        "time_in_force": _TIMES[order.time_in_force],
        "client_order_id": order.client_order_id,
    }
    if order.order_type.has_limit:
        fields["limit_price"] = f"{instrument.ticks_to_price(order.limit_ticks):f}"
    if order.order_type in (OrderType.STOP, OrderType.STOP_LIMIT):
        fields["stop_price"] = f"{instrument.ticks_to_price(order.stop_ticks):f}"
    if order.order_type is OrderType.TRAILING_STOP and order.conditions is not None:
        if order.conditions.trail_ticks:
            fields["trail_price"] = f"{instrument.ticks_to_price(order.conditions.trail_ticks):f}"
        else:
            fields["trail_percent"] = f"{Decimal(order.conditions.trail_ratio_e8).scaleb(-6):f}"
    return fields


def to_order_type(name: str) -> OrderType:
    """Ours; a type that we do not know is a market order, the worst that it can be."""
    return _OUR_TYPES.get(name, OrderType.MARKET)


def to_time_in_force(name: str) -> TimeInForce | None:
    """Ours; None: we have none like it."""
    return _OUR_TIMES.get(name)


def find_strange(order: WireOrder, instrument: Instrument) -> str:
    """What an order that was given by hand has and no order of ours can have; empty: nothing."""
    if order.qty is None or order.notional is not None:
        return "it is sized by an amount of money"
    for quantity in (order.qty, order.filled_qty):
        if Decimal(quantity) % instrument.lot_size:
            return f"a quantity of {quantity} is not in lots of {instrument.lot_size:f}"
    for price in (order.limit_price, order.stop_price):
        if Decimal(price or 0) % instrument.tick_size:
            return f"a price of {price} is not in ticks of {instrument.tick_size:f}"
    kind = _OUR_TYPES.get(order.type)
    if kind is None or kind.is_trailing:
        return f"it is of type {order.type}"
    if to_time_in_force(order.time_in_force) is None:
        return f"it lives {order.time_in_force}"
    if order.order_class not in _UNBOUND:
        return f"it is bound to others ({order.order_class})"
    return ""


def to_side(name: str) -> Side:
    """Ours; `sell_short` is a sale."""
    return Side.BUY if name == "buy" else Side.SELL


def to_lots(quantity: str | None, instrument: Instrument) -> int:
    """Whole lots of a quantity, toward zero."""
    return int((Decimal(quantity or 0) / instrument.lot_size).to_integral_value(ROUND_DOWN))


def to_rest_units(quantity: str, instrument: Instrument) -> int:
    """What a quantity has beside whole lots, in 1e-8 units, toward zero."""
    rest = Decimal(quantity) - instrument.lots_to_quantity(to_lots(quantity, instrument))
    return int((rest * _UNITS).to_integral_value(ROUND_DOWN))


def to_ticks(price: str | Decimal | None, instrument: Instrument, side: Side) -> int:
    """A price in ticks; one between two ticks is rounded against us."""
    exact = Decimal(price or 0) / instrument.tick_size
    against = ROUND_CEILING if side is Side.BUY else ROUND_FLOOR
    return int(exact.to_integral_value(against))


def to_ts(text: str | None) -> int:
    """Nanoseconds UTC of an RFC 3339 time; 0 where there is none."""
    return from_iso(text) if text else 0


def to_reject_code(status: int, code: int, message: str) -> RejectCode:
    """Why a command was refused, from Alpaca's HTTP status, code and words."""
    said = message.lower()
    if "insufficient" in said:
        return RejectCode.INSUFFICIENT_FUNDS
    if status == 404 or code == 40410000:
        return RejectCode.UNKNOWN_ORDER
    if status == 422 and ("already in" in said or "not open" in said or "not cancelable" in said):
        return RejectCode.ORDER_CLOSED
    return RejectCode.UNSUPPORTED
