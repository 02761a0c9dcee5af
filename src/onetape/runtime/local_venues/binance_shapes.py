"""Binance's JSON of a local exchange's values.

Source: Binance Spot API documentation, REST v3 and user data streams; the shapes are also those of
recorded answers, which the tests compare.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from onetape.domain.instrument import Instrument
from onetape.domain.market import AggressorSide, Bar, QuoteTick, TradeTick
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.orders import LiquiditySide, OrderType, Side, TimeInForce
from onetape.domain.timestamps import NS_PER_MS
from onetape.runtime.local_venues.messages import (
    Books,
    EndCause,
    Execution,
    PlacedOrder,
    PlacedStatus,
    Refusal,
    RefusalCode,
)

TYPES = {
    OrderType.MARKET: "MARKET",
    OrderType.LIMIT: "LIMIT",
    OrderType.STOP: "STOP_LOSS",
    OrderType.STOP_LIMIT: "STOP_LOSS_LIMIT",
    OrderType.MARKET_IF_TOUCHED: "TAKE_PROFIT",
    OrderType.LIMIT_IF_TOUCHED: "TAKE_PROFIT_LIMIT",
}
LIVES = {TimeInForce.GTC: "GTC", TimeInForce.IOC: "IOC", TimeInForce.FOK: "FOK"}
RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
]
_STATUSES = {
    PlacedStatus.NEW: "NEW",
    PlacedStatus.PARTIALLY_FILLED: "PARTIALLY_FILLED",
    PlacedStatus.FILLED: "FILLED",
    PlacedStatus.CANCELED: "CANCELED",
    PlacedStatus.EXPIRED: "EXPIRED",
    PlacedStatus.REPLACED: "CANCELED",
}
_ERRORS = {
    RefusalCode.UNKNOWN_SYMBOL: (-1121, "Invalid symbol."),
    RefusalCode.HALTED: (-1013, "Market is closed."),
    RefusalCode.INCOMPLETE: (-1102, "A mandatory parameter was not sent."),
    RefusalCode.UNSUPPORTED: (-1014, "Unsupported order combination."),
    RefusalCode.LOT_SIZE: (-1013, "Filter failure: LOT_SIZE"),
    RefusalCode.TICK_SIZE: (-1013, "Filter failure: PRICE_FILTER"),
    RefusalCode.MIN_NOTIONAL: (-1013, "Filter failure: NOTIONAL"),
    RefusalCode.NO_PRICE: (-2010, "Market is closed."),
    RefusalCode.DUPLICATE_ID: (-2010, "Duplicate order sent."),
    RefusalCode.INSUFFICIENT_BALANCE: (
        -2010, "Account has insufficient balance for requested action.",
    ),
    RefusalCode.INSUFFICIENT_QUANTITY: (
        -2010, "Account has insufficient balance for requested action.",
    ),
    RefusalCode.SHORT_NOT_ALLOWED: (
        -2010, "Account has insufficient balance for requested action.",
    ),
    RefusalCode.UNKNOWN_ORDER: (-2011, "Unknown order sent."),
    RefusalCode.ORDER_CLOSED: (-2011, "Unknown order sent."),
    RefusalCode.QUANTITY_BELOW_FILLED: (-2038, "The requested quantity is not valid."),
}  # fmt: skip


def show(number: Decimal | int) -> str:
    """A decimal as Binance writes it."""
    return f"{Decimal(number):.8f}"


def show_refusal(refusal: Refusal) -> dict[str, Any]:
    """The body of an error."""
    code, message = _ERRORS[refusal.code]
    return {"code": code, "msg": message}


def show_status(order: PlacedOrder) -> str:
    """Binance's status of an order; what ends by its own rules is expired, not canceled."""
    own_rules = order.cause in (EndCause.NOT_AT_ONCE, EndCause.POST_ONLY, EndCause.TIME_IN_FORCE,
                                EndCause.FUNDS, EndCause.VENUE)  # fmt: skip
    if order.status is PlacedStatus.CANCELED and own_rules:
        return "EXPIRED"
    return _STATUSES[order.status]


def show_type(order: PlacedOrder) -> str:
    """`LIMIT`, `LIMIT_MAKER`, ..."""
    return "LIMIT_MAKER" if order.request.post_only else TYPES[order.request.order_type]


def show_order(instrument: Instrument, order: PlacedOrder) -> dict[str, Any]:
    """A row of `openOrders`; also the answer to a query."""
    ts = order.ts_created // NS_PER_MS
    return {
        "symbol": instrument.symbol,
        "orderId": order.number,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "price": show(instrument.ticks_to_price(order.limit_ticks)),
        "origQty": show(instrument.lots_to_quantity(order.lots)),
        "executedQty": show(instrument.lots_to_quantity(order.filled_lots)),
        "origQuoteOrderQty": show(minor_to_decimal(order.budget)),
        "cummulativeQuoteQty": show(minor_to_decimal(order.filled_notional)),
        "status": show_status(order),
        "timeInForce": LIVES.get(order.time_in_force, "GTC"),
        "type": show_type(order),
        "side": order.side.name,
        "stopPrice": show(instrument.ticks_to_price(order.stop_ticks)),
        "icebergQty": show(order.request.display),
        "time": ts,
        "updateTime": order.ts_updated // NS_PER_MS,
        "isWorking": not order.stop_ticks or order.is_triggered,
        "workingTime": ts,
        "selfTradePreventionMode": "NONE",
    }


def show_canceled(instrument: Instrument, order: PlacedOrder, cancel_id: str) -> dict[str, Any]:
    """The answer to a cancel."""
    row = show_order(instrument, order)
    names = ("symbol", "orderId", "orderListId", "price", "origQty", "executedQty",
             "origQuoteOrderQty", "cummulativeQuoteQty", "status", "timeInForce", "type", "side",
             "selfTradePreventionMode")  # fmt: skip
    return {
        "origClientOrderId": order.client_order_id,
        "clientOrderId": cancel_id,
        "transactTime": order.ts_updated // NS_PER_MS,
        **{name: row[name] for name in names},
    }


def show_ack(instrument: Instrument, order: PlacedOrder) -> dict[str, Any]:
    """The answer to a new order."""
    return {
        "symbol": instrument.symbol,
        "orderId": order.number,
        "orderListId": -1,
        "clientOrderId": order.client_order_id,
        "transactTime": order.ts_created // NS_PER_MS,
    }


def show_trade(instrument: Instrument, execution: Execution) -> dict[str, Any]:
    """A row of `myTrades`."""
    return {
        "symbol": instrument.symbol,
        "id": execution.number,
        "orderId": execution.order,
        "orderListId": -1,
        "price": show(instrument.ticks_to_price(execution.ticks)),
        "qty": show(instrument.lots_to_quantity(execution.lots)),
        "quoteQty": show(minor_to_decimal(execution.notional)),
        "commission": show(minor_to_decimal(execution.fee)),
        "commissionAsset": execution.fee_asset,
        "time": execution.ts // NS_PER_MS,
        "isBuyer": execution.side is Side.BUY,
        "isMaker": execution.liquidity is LiquiditySide.MAKER,
        "isBestMatch": True,
    }


def show_report(
    instrument: Instrument,
    order: PlacedOrder,
    what: str,
    ts: int,
    execution: Execution | None = None,
    cancel_id: str = "",
) -> dict[str, Any]:
    """An `executionReport`: `what` is its execution type."""
    row = show_order(instrument, order)
    ms = ts // NS_PER_MS
    last = show_trade(instrument, execution) if execution else {}
    return {
        "e": "executionReport", "E": ms, "s": instrument.symbol,
        "c": cancel_id or order.client_order_id, "S": row["side"], "o": row["type"],
        "f": row["timeInForce"], "q": row["origQty"], "p": row["price"], "P": row["stopPrice"],
        "F": row["icebergQty"], "g": -1, "C": order.client_order_id if cancel_id else "",
        "x": what, "X": row["status"], "r": "NONE", "i": order.number,
        "l": last.get("qty", show(0)), "z": row["executedQty"], "L": last.get("price", show(0)),
        "n": last.get("commission", "0"), "N": last.get("commissionAsset"), "T": ms,
        "t": last.get("id", -1), "I": 0, "w": row["isWorking"] and order.is_open,
        "m": last.get("isMaker", False), "M": False, "O": row["time"],
        "Z": row["cummulativeQuoteQty"], "Y": last.get("quoteQty", show(0)),
        "Q": row["origQuoteOrderQty"], "W": row["workingTime"], "V": "NONE",
    }  # fmt: skip


def show_balances(books: Books, ms: int) -> dict[str, Any]:
    """An `outboundAccountPosition`."""
    rows = [
        {"a": asset, "f": show(minor_to_decimal(each.free)), "l": show(minor_to_decimal(each.held))}
        for asset, each in sorted(books.balances.items())
    ]
    return {"e": "outboundAccountPosition", "E": ms, "u": ms, "B": rows}


def show_account(books: Books, ms: int) -> dict[str, Any]:
    """The answer of `account`."""
    rows = [
        {
            "asset": asset,
            "free": show(minor_to_decimal(each.free)),
            "locked": show(minor_to_decimal(each.held)),
        }
        for asset, each in sorted(books.balances.items())
    ]
    return {
        "makerCommission": 10, "takerCommission": 10, "buyerCommission": 0, "sellerCommission": 0,
        "canTrade": True, "canWithdraw": False, "canDeposit": False, "brokered": False,
        "requireSelfTradePrevention": False, "preventSor": False, "updateTime": ms,
        "accountType": "SPOT", "balances": rows, "permissions": ["SPOT"], "uid": 1,
    }  # fmt: skip


def show_symbol(instrument: Instrument, *, is_halted: bool) -> dict[str, Any]:
    """A symbol of `exchangeInfo`."""
    most = instrument.max_lots or 2_147_483_647
    lot = {"minQty": show(instrument.lots_to_quantity(instrument.min_lots)),
           "maxQty": show(instrument.lots_to_quantity(most)),
           "stepSize": show(instrument.lot_size)}  # fmt: skip
    return {
        "symbol": instrument.symbol, "status": "BREAK" if is_halted else "TRADING",
        "baseAsset": instrument.base_currency, "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote_currency, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", *[each for each in TYPES.values()
                                                 if each != "LIMIT"]],
        "icebergAllowed": True, "ocoAllowed": False, "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True, "allowTrailingStop": False,
        "cancelReplaceAllowed": True, "amendAllowed": True, "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": show(instrument.tick_size),
             "maxPrice": "1000000.00000000", "tickSize": show(instrument.tick_size)},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", "minQty": show(0), "maxQty": lot["maxQty"],
             "stepSize": show(0)},
            {"filterType": "NOTIONAL", "minNotional": show(instrument.min_notional),
             "applyMinToMarket": True, "maxNotional": "9000000.00000000",
             "applyMaxToMarket": False, "avgPriceMins": 0},
        ],
        "permissions": [], "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip


def show_kline(bar: Bar) -> list[Any]:
    """A row of `klines`."""
    _, _, _, first, high, low, close, volume = bar.values()
    prices = [_text(each) for each in (first, high, low, close)]
    begin, end = bar.ts_open // NS_PER_MS, bar.ts_close // NS_PER_MS - 1
    return [begin, *prices, _text(volume), end, _text(close * volume), 1, _text(0.0), _text(0.0),
            "0"]  # fmt: skip


def show_kline_event(symbol: str, timeframe: str, bar: Bar, ms: int) -> dict[str, Any]:
    """A closed bar on the `kline` stream."""
    row = show_kline(bar)
    return {
        "e": "kline", "E": ms, "s": symbol,
        "k": {
            "t": row[0], "T": row[6], "s": symbol, "i": timeframe, "f": 1, "L": 1, "o": row[1],
            "c": row[4], "h": row[2], "l": row[3], "v": row[5], "n": row[8], "x": True,
            "q": row[7], "V": row[9], "Q": row[10], "B": "0",
        },
    }  # fmt: skip


def show_print(symbol: str, tick: TradeTick, number: int, ms: int) -> dict[str, Any]:
    """A print on the `trade` stream."""
    return {
        "e": "trade", "E": ms, "s": symbol, "t": number, "p": _text(tick.price),
        "q": _text(tick.size), "T": tick.ts_event // NS_PER_MS,
        "m": tick.aggressor is AggressorSide.SELLER, "M": True,
    }  # fmt: skip


def show_print_row(tick: TradeTick, number: int) -> dict[str, Any]:
    """A print as a row of `trades`."""
    return {
        "id": number, "price": _text(tick.price), "qty": _text(tick.size),
        "quoteQty": _text(tick.price * tick.size), "time": tick.ts_event // NS_PER_MS,
        "isBuyerMaker": tick.aggressor is AggressorSide.SELLER, "isBestMatch": True,
    }  # fmt: skip


def show_quote(symbol: str, tick: QuoteTick, number: int) -> dict[str, Any]:
    """A quote on the `bookTicker` stream; its time `E` is ours, Binance gives none."""
    return {
        "E": tick.ts_event // NS_PER_MS, "u": number, "s": symbol, "b": _text(tick.bid),
        "B": _text(tick.bid_size), "a": _text(tick.ask), "A": _text(tick.ask_size),
    }  # fmt: skip


def _text(number: float) -> str:
    return show(Decimal(repr(number)))
