"""Orders of ours in Binance's words, and what it says of them in ours. Nothing here waits.

Source: Binance Spot REST API, "New order"; "User data streams", `executionReport`; "Error codes".
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument
from onetape.domain.orders import (
    LiquiditySide,
    OrderConditions,
    OrderType,
    RejectCode,
    Side,
    TimeInForce,
)
from onetape.domain.timestamps import NS_PER_MS
from onetape.domain.venue import ReportKind, VenueOrder, VenueReport, find_manual
from onetape.marketdata.feeds.binance_client import BinanceRefusal
from onetape.marketdata.feeds.binance_instruments import to_lots, to_ticks, to_units

_TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    OrderType.MARKET_IF_TOUCHED: "TAKE_PROFIT",
    OrderType.LIMIT_IF_TOUCHED: "TAKE_PROFIT_LIMIT",
}
ORDER_TYPES = frozenset(_TYPES)
_FROM_TYPES = {name: each for each, name in _TYPES.items()} | {"LIMIT_MAKER": OrderType.LIMIT}
_LIVES = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}
TIMES_IN_FORCE = frozenset(_LIVES)
CLOSED = {
    "CANCELED": ReportKind.CANCELED,
    "EXPIRED": ReportKind.EXPIRED,
    "EXPIRED_IN_MATCH": ReportKind.EXPIRED,
    "REJECTED": ReportKind.REJECTED,
}
"""What became of an order that is off the book and not filled, by Binance's status."""

_TOOK = "Order would immediately match and take."
_POOR = "Account has insufficient balance for requested action."
_TWICE = "Duplicate order sent."
_RESTRICTED = "Order was not canceled due to cancel restrictions."


class NotSendable(Exception):
    """Binance has no words for such an order."""


def to_order(
    order: OrderSubmitted, instrument: Instrument, *, lots: int, limit_ticks: int, stop_ticks: int
) -> dict[str, Any]:
    """The parameters of `order` with these fields, without an id.

    Raises:
        NotSendable: Binance has no such order.
    """
    conditions = order.conditions
    if not lots:
        raise NotSendable("binance does not size orders at the fill, fees included")
    if order.order_type not in _TYPES or order.time_in_force not in _LIVES:
        what = f"{order.order_type.name} with {order.time_in_force.name}"
        raise NotSendable(f"binance has no order of type {what}")
    if conditions and (conditions.parent or conditions.group):
        raise NotSendable("orders that are bound to others are not held by binance")
    params: dict[str, Any] = {
        "symbol": instrument.symbol,
        "side": order.side.name,
        "type": _TYPES[order.order_type],
        "quantity": f"{instrument.lots_to_quantity(lots):f}",
        "newOrderRespType": "ACK",
    }
    is_post_only = conditions is not None and conditions.post_only
    if order.order_type.has_limit:
        params["price"] = f"{instrument.ticks_to_price(limit_ticks):f}"
        params["timeInForce"] = _LIVES[order.time_in_force]
    elif order.time_in_force is TimeInForce.FOK:
        raise NotSendable("binance fills market orders as far as it can, not all or none")
    if order.order_type.has_trigger:
        params["stopPrice"] = f"{instrument.ticks_to_price(stop_ticks):f}"
    if is_post_only:
        if order.order_type is not OrderType.LIMIT or order.time_in_force is not TimeInForce.GTC:
            raise NotSendable("only limit orders that stay can be post-only at binance")
        params["type"] = "LIMIT_MAKER"
        del params["timeInForce"]
    if conditions and conditions.display_lots:
        if not order.order_type.has_limit or order.time_in_force is not TimeInForce.GTC:
            raise NotSendable("only limit orders that stay can be icebergs at binance")
        params["icebergQty"] = f"{instrument.lots_to_quantity(conditions.display_lots):f}"
    return params


def read_code(refusal: BinanceRefusal) -> RejectCode:
    """Why an order or a command was refused."""
    if refusal.message == _POOR:
        return RejectCode.INSUFFICIENT_FUNDS
    if refusal.code in (-2011, -2013):
        return RejectCode.UNKNOWN_ORDER
    return RejectCode.UNSUPPORTED


def is_taker_refusal(refusal: BinanceRefusal) -> bool:
    """A post-only order would have taken."""
    return refusal.message == _TOOK


def is_duplicate(refusal: BinanceRefusal) -> bool:
    """An open order has this id already: what was sent before has arrived."""
    return refusal.message == _TWICE


def is_restricted(message: str) -> bool:
    """The order was in another state than the cancel was meant for."""
    return message == _RESTRICTED


def read_side(text: str) -> Side:
    """`BUY` or `SELL`."""
    return Side[text]


def read_fee(instrument: Instrument, amount: str, asset: str | None) -> tuple[int, int, str]:
    """(fee, fee_units, reason) of a commission; of another asset only the reason tells."""
    units = to_units(amount)
    if not units or asset == instrument.quote_currency:
        return units, 0, ""
    if asset == instrument.base_currency:
        return 0, units, ""
    return 0, 0, f"a fee of {amount} {asset} was taken from outside of the books"


def read_trade(instrument: Instrument, trade: dict[str, Any], client_order_id: str) -> VenueReport:
    """A fill from a row of `myTrades`."""
    side = Side.BUY if trade["isBuyer"] else Side.SELL
    fee, fee_units, reason = read_fee(instrument, trade["commission"], trade["commissionAsset"])
    return VenueReport(
        kind=ReportKind.FILLED,
        client_order_id=client_order_id,
        instrument=instrument.id,
        side=side,
        venue_order_id=str(trade["orderId"]),
        ts_venue=int(trade["time"]) * NS_PER_MS,
        execution_id=f"{instrument.symbol}:{trade['id']}",
        lots=to_lots(instrument, trade["qty"]),
        ticks=to_ticks(instrument, trade["price"], side),
        price=trade["price"],
        fee=fee,
        fee_units=fee_units,
        liquidity=LiquiditySide.MAKER if trade["isMaker"] else LiquiditySide.TAKER,
        reason=reason,
    )


def read_fill(
    instrument: Instrument, event: dict[str, Any], client_order_id: str, filled_lots: int
) -> VenueReport:
    """A fill from an `executionReport`."""
    side = read_side(event["S"])
    fee, fee_units, reason = read_fee(instrument, event["n"], event["N"])
    return VenueReport(
        kind=ReportKind.FILLED,
        client_order_id=client_order_id,
        instrument=instrument.id,
        side=side,
        venue_order_id=str(event["i"]),
        ts_venue=int(event["T"]) * NS_PER_MS,
        execution_id=f"{instrument.symbol}:{event['t']}",
        lots=to_lots(instrument, event["l"]),
        ticks=to_ticks(instrument, event["L"], side),
        price=event["L"],
        filled_lots=filled_lots,
        fee=fee,
        fee_units=fee_units,
        liquidity=LiquiditySide.MAKER if event["m"] else LiquiditySide.TAKER,
        reason=reason,
    )


def read_order(
    instrument: Instrument, order: dict[str, Any], client_order_id: str, earlier_lots: int
) -> VenueOrder:
    """An open order of `openOrders`; `earlier_lots` filled in those that it took the place of."""
    side = read_side(order["side"])
    terms, problem = None, ""
    if find_manual(client_order_id):
        terms, problem = _read_conditions(instrument, order), _find_strange(instrument, order)
    return VenueOrder(
        client_order_id=client_order_id,
        venue_order_id=str(order["orderId"]),
        instrument=instrument.id,
        side=side,
        order_type=_FROM_TYPES.get(order["type"], OrderType.MARKET),  # the worst that it can be
        lots=to_lots(instrument, order["origQty"]) + earlier_lots,
        filled_lots=to_lots(instrument, order["executedQty"]) + earlier_lots,
        limit_ticks=to_ticks(instrument, order["price"], side),
        stop_ticks=to_ticks(instrument, order.get("stopPrice", "0"), side),
        conditions=terms,
        problem=problem,
    )


def _read_conditions(instrument: Instrument, order: dict[str, Any]) -> OrderConditions | None:
    shown = to_lots(instrument, order.get("icebergQty", "0"))
    is_maker = order["type"] == "LIMIT_MAKER"
    return OrderConditions(post_only=is_maker, display_lots=shown) if shown or is_maker else None


def _find_strange(instrument: Instrument, order: dict[str, Any]) -> str:
    """What an order that was given by hand has and no order of ours can have; empty: nothing."""
    if order["type"] not in _FROM_TYPES or "trailingDelta" in order:
        return f"it is of type {order['type']}" + " that trails" * ("trailingDelta" in order)
    if order.get("timeInForce", "GTC") != "GTC":
        return f"it lives {order['timeInForce']}"
    if int(order.get("orderListId", -1)) != -1:
        return f"it is bound to others (order list {order['orderListId']})"
    for name in ("price", "stopPrice"):  # quantities are in Binance's own lots, and so in ours
        if Decimal(order.get(name) or 0) % instrument.tick_size:
            return f"its {name} {order[name]} is no multiple of {instrument.tick_size:f}"
    return ""
