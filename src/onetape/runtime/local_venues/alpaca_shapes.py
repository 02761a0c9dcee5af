"""A local exchange's values in Alpaca's JSON.

Source: Alpaca, "Trading API" and "Market Data API" references; the shapes of "Websocket Streaming"
and "Real-time Stock Data". Numbers of the trading API are texts, those of market data numbers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.market import Bar, QuoteTick, TradeTick
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.orders import OrderType, Side, TimeInForce
from onetape.domain.timestamps import to_iso
from onetape.marketdata.feeds.alpaca_assets import to_wire_symbol
from onetape.runtime.local_venues.messages import (
    Execution,
    NewOrder,
    PlacedOrder,
    PlacedStatus,
    Refusal,
    RefusalCode,
)

TYPES = {
    "market": OrderType.MARKET, "limit": OrderType.LIMIT, "stop": OrderType.STOP,
    "stop_limit": OrderType.STOP_LIMIT, "trailing_stop": OrderType.TRAILING_STOP,
}  # fmt: skip
TIMES = {
    "day": TimeInForce.DAY, "gtc": TimeInForce.GTC, "ioc": TimeInForce.IOC,
    "fok": TimeInForce.FOK, "opg": TimeInForce.AT_THE_OPEN, "cls": TimeInForce.AT_THE_CLOSE,
}  # fmt: skip
_TYPE_NAMES = {kind: name for name, kind in TYPES.items()}
_TIME_NAMES = {kind: name for name, kind in TIMES.items()}
_STATUSES = {
    PlacedStatus.NEW: "new", PlacedStatus.PARTIALLY_FILLED: "partially_filled",
    PlacedStatus.FILLED: "filled", PlacedStatus.CANCELED: "canceled",
    PlacedStatus.EXPIRED: "expired", PlacedStatus.REPLACED: "replaced",
}  # fmt: skip
_ERRORS = {
    RefusalCode.UNKNOWN_SYMBOL: (422, 42210000),
    RefusalCode.HALTED: (403, 40310000),
    RefusalCode.INCOMPLETE: (422, 40010001),
    RefusalCode.UNSUPPORTED: (422, 42210000),
    RefusalCode.LOT_SIZE: (422, 42210000),
    RefusalCode.TICK_SIZE: (422, 42210000),
    RefusalCode.MIN_NOTIONAL: (403, 40310000),
    RefusalCode.NO_PRICE: (422, 42210000),
    RefusalCode.DUPLICATE_ID: (422, 40010001),
    RefusalCode.INSUFFICIENT_BALANCE: (403, 40310000),
    RefusalCode.INSUFFICIENT_QUANTITY: (403, 40310000),
    RefusalCode.SHORT_NOT_ALLOWED: (403, 40310000),
    RefusalCode.UNKNOWN_ORDER: (404, 40410000),
    RefusalCode.ORDER_CLOSED: (422, 42210000),
    RefusalCode.QUANTITY_BELOW_FILLED: (422, 42210000),
}


def to_uuid(kind: int, number: int) -> str:
    """An id of the venue's form: `kind` tells orders, executions and assets apart."""
    return f"{kind:08x}-0000-4000-8000-{number:012x}"


def from_uuid(text: str) -> int:
    """The exchange's number of an order's id; 0 for an id that it has not given."""
    head, _, tail = text.rpartition("-")
    try:
        return int(tail, 16) if head == "00000001-0000-4000-8000" else 0
    except ValueError:
        return 0


def show(number: Decimal) -> str:
    """A number as Alpaca writes it, without trailing zeros."""
    return f"{number.normalize():f}"


def show_order(
    order: PlacedOrder, before: PlacedOrder | None, instrument: Instrument, status: str = ""
) -> dict[str, Any]:
    """An order. What it replaced (`before`) has filled lots that do not count in it.

    `status` overrides what it is: `pending_new` in the answer to a new order.
    """
    carried_lots = before.filled_lots if before else 0
    carried = before.filled_notional if before else 0
    own = order.filled_lots - carried_lots
    filled = instrument.lots_to_quantity(own)
    average = minor_to_decimal(order.filled_notional - carried) / filled if own else None
    status = status or _STATUSES[order.status]
    at = to_iso(order.ts_updated)
    request = order.request
    has_budget = bool(order.budget)
    return {
        "id": to_uuid(1, order.number),
        "client_order_id": order.client_order_id,
        "created_at": to_iso(order.ts_created),
        "updated_at": at,
        "submitted_at": to_iso(order.ts_created),
        "filled_at": at if own else None,
        "expired_at": at if status == "expired" else None,
        "canceled_at": at if status == "canceled" else None,
        "failed_at": None,
        "replaced_at": at if status == "replaced" else None,
        "replaced_by": to_uuid(1, order.replaced_by) if order.replaced_by else None,
        "replaces": to_uuid(1, order.replaces) if order.replaces else None,
        "asset_id": asset_id(instrument),
        "symbol": to_wire_symbol(instrument),
        "asset_class": asset_class(instrument),
        "notional": show(request.budget) if has_budget else None,
        "qty": None if has_budget else show(instrument.lots_to_quantity(order.lots - carried_lots)),
        "filled_qty": show(filled),
        "filled_avg_price": show(round(average, 9)) if average is not None else None,
        "order_class": "simple",
        "order_type": _TYPE_NAMES[order.order_type],
        "type": _TYPE_NAMES[order.order_type],
        "side": "buy" if order.side is Side.BUY else "sell",
        "time_in_force": _TIME_NAMES[order.time_in_force],
        "limit_price": _price(order.limit_ticks, instrument),
        "stop_price": _price(order.stop_ticks, instrument),
        "status": status,
        "extended_hours": False,
        "legs": None,
        "trail_percent": show(request.trail_ratio * 100) if request.trail_ratio else None,
        "trail_price": show(request.trail) if request.trail else None,
        "hwm": None,
    }


def _price(ticks: int, instrument: Instrument) -> str | None:
    return show(instrument.ticks_to_price(ticks)) if ticks else None


def asset_class(instrument: Instrument) -> str:
    """Alpaca's class of it."""
    return "crypto" if instrument.kind is InstrumentKind.SPOT else "us_equity"


def asset_id(instrument: Instrument) -> str:
    """An id that is the same in every run."""
    return to_uuid(2, int.from_bytes(instrument.symbol.encode()[:6].ljust(6, b"\0"), "big"))


def show_asset(instrument: Instrument) -> dict[str, Any]:
    """An asset."""
    shown: dict[str, Any] = {
        "id": asset_id(instrument),
        "class": asset_class(instrument),
        "exchange": "CRYPTO" if instrument.kind is InstrumentKind.SPOT else "NASDAQ",
        "symbol": to_wire_symbol(instrument),
        "name": to_wire_symbol(instrument),
        "status": "active",
        "tradable": True,
        "marginable": instrument.kind is not InstrumentKind.SPOT,
        "shortable": instrument.kind is not InstrumentKind.SPOT,
        "easy_to_borrow": instrument.kind is not InstrumentKind.SPOT,
        "fractionable": instrument.lot_size < 1,
        "attributes": [],
    }
    if instrument.kind is InstrumentKind.SPOT:
        shown["min_order_size"] = show(instrument.lots_to_quantity(instrument.min_lots))
        shown["min_trade_increment"] = show(instrument.lot_size)
        shown["price_increment"] = show(instrument.tick_size)
    return shown


def show_activity(
    execution: Execution, order: PlacedOrder, before: PlacedOrder | None, instrument: Instrument
) -> dict[str, Any]:
    """An execution in the account's history; its id is not that of `trade_updates`."""
    stamp = "".join(filter(str.isdigit, to_iso(execution.ts)[:19]))
    own = order.filled_lots - (before.filled_lots if before else 0)
    return {
        "id": f"{stamp}{execution.ts // 1_000_000 % 1_000:03d}::{to_uuid(4, execution.number)}",
        "activity_type": "FILL",
        "transaction_time": to_iso(execution.ts),
        "type": "partial_fill" if execution.leaves else "fill",
        "price": show(instrument.ticks_to_price(execution.ticks)),
        "qty": show(instrument.lots_to_quantity(execution.lots)),
        "side": "buy" if execution.side is Side.BUY else "sell",
        "symbol": to_wire_symbol(instrument),
        "leaves_qty": show(instrument.lots_to_quantity(execution.leaves)),
        "order_id": to_uuid(1, execution.order),
        "cum_qty": show(instrument.lots_to_quantity(own)),
        "order_status": _STATUSES[order.status],
    }


def show_position(instrument: Instrument, lots: int, cost: int, mark: Decimal) -> dict[str, Any]:
    """A position; `cost` in minor units with the sign of `lots`."""
    quantity, basis = instrument.lots_to_quantity(lots), minor_to_decimal(cost)
    value = quantity * mark
    gain = value - basis
    ratio = gain / abs(basis) if basis else Decimal(0)
    return {
        "asset_id": asset_id(instrument),
        "symbol": to_wire_symbol(instrument).replace("/", ""),
        "exchange": "CRYPTO" if instrument.kind is InstrumentKind.SPOT else "NASDAQ",
        "asset_class": asset_class(instrument),
        "avg_entry_price": show(round(basis / quantity, 9)),
        "qty": show(quantity),
        "qty_available": show(quantity),
        "side": "long" if lots > 0 else "short",
        "market_value": show(value),
        "cost_basis": show(basis),
        "unrealized_pl": show(gain),
        "unrealized_plpc": show(round(ratio, 6)),
        "unrealized_intraday_pl": show(gain),
        "unrealized_intraday_plpc": show(round(ratio, 6)),
        "current_price": show(mark),
        "lastday_price": show(mark),
        "change_today": "0",
    }


def show_refusal(refusal: Refusal, request: NewOrder | None = None) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of a refused command."""
    status, code = _ERRORS[refusal.code]
    message = refusal.message
    match refusal.code:
        case RefusalCode.DUPLICATE_ID:
            message = "client_order_id must be unique"
        case RefusalCode.INSUFFICIENT_BALANCE:
            message = "insufficient buying power"
        case RefusalCode.INSUFFICIENT_QUANTITY:
            message = (
                f"insufficient qty available for order (requested: {refusal.needed}, "
                f"available: {refusal.available})"
            )
        case RefusalCode.ORDER_CLOSED if refusal.order is not None:
            message = f'order is already in "{_STATUSES[refusal.order.status]}" state'
        case RefusalCode.UNKNOWN_SYMBOL if request is not None:
            message = f'asset "{request.symbol}" not found'
        case RefusalCode.HALTED:
            message = f"trading is halted: {refusal.message}"
        case _:
            pass
    return status, {"code": code, "message": message}


def show_bar(bar: Bar) -> dict[str, Any]:
    """A bar of the market data API; `t` is its opening."""
    return {
        "t": bar.ts_open, "o": bar.open, "h": bar.high, "l": bar.low, "c": bar.close,
        "v": bar.volume, "n": 1, "vw": bar.close,
    }  # fmt: skip


def show_tick(tick: TradeTick | QuoteTick, number: int) -> dict[str, Any]:
    """A trade or a quote of the market data API; `number` is the trade's id."""
    if isinstance(tick, TradeTick):
        return {"t": tick.ts_event, "i": number, "x": "V", "p": tick.price, "s": tick.size,
                "c": ["@"], "z": "A"}  # fmt: skip
    return {
        "t": tick.ts_event, "bx": "V", "bp": tick.bid, "bs": tick.bid_size, "ax": "V",
        "ap": tick.ask, "as": tick.ask_size, "c": ["R"], "z": "A",
    }  # fmt: skip
