"""Orders of an account at a local Binance: the signed part of REST v3.

An amended order keeps its client order id, whichever is asked for.

Source: Binance Spot REST API, "Trading endpoints" and "Account endpoints".
"""

from __future__ import annotations

import re
from typing import Any

from onetape.domain.instrument import Instrument
from onetape.domain.orders import OrderType, Side
from onetape.domain.timestamps import NS_PER_MS
from onetape.runtime.local_venues.binance_requests import ApiError, Params
from onetape.runtime.local_venues.binance_shapes import (
    LIVES,
    TYPES,
    show_account,
    show_ack,
    show_canceled,
    show_order,
    show_refusal,
    show_trade,
)
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.messages import (
    Changes,
    EndCause,
    NewOrder,
    PlacedOrder,
    PlacedStatus,
    Refusal,
)

_TYPES = {name: each for each, name in TYPES.items()} | {"LIMIT_MAKER": OrderType.LIMIT}
_LIVES = {name: each for each, name in LIVES.items()}
_DAY_MS = 86_400_000
_FOREVER_MS = 2**50
_IDS = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}\Z")


class BinanceOrders:
    """The signed requests."""

    def __init__(self, exchange: LocalExchange) -> None:
        self._exchange = exchange
        self._by_id = {each.id: each for each in exchange.instruments.values()}
        self._cancel_ids: dict[int, str] = {}
        self._made = 0
        self._served = {
            ("POST", "order"): self._submit,
            ("POST", "order/test"): self._test,
            ("DELETE", "order"): self._cancel,
            ("GET", "order"): self._find_one,
            ("POST", "order/cancelReplace"): self._cancel_replace,
            ("PUT", "order/amend/keepPriority"): self._amend,
            ("GET", "openOrders"): self._open,
            ("DELETE", "openOrders"): self._cancel_all,
            ("GET", "allOrders"): self._all,
            ("GET", "myTrades"): self._trades,
            ("GET", "account"): self._account,
        }

    def serves(self, method: str, path: str) -> bool:
        """Whether there is such a request."""
        return (method, path) in self._served or (method, path) == ("GET", "account/commission")

    def answer(self, account: str, method: str, path: str, params: Params) -> Any:
        """The JSON of the answer; raises `ApiError`."""
        return self._served[method, path](account, params)

    def instrument_of(self, order: PlacedOrder) -> Instrument:
        """The instrument of an order."""
        return self._by_id[order.instrument]

    def cancel_id(self, order: PlacedOrder) -> str:
        """The client order id of the request that canceled or changed an order."""
        return self._cancel_ids.get(order.number) or self._make_id()

    def _make_id(self) -> str:
        self._made += 1
        return f"web_{self._made:018d}"

    def _read_new(self, params: Params) -> NewOrder:
        symbol = params.symbol(self._exchange.instruments)
        try:
            side, kind = Side[params.text("side")], _TYPES[params.text("type")]
        except KeyError:
            raise ApiError(400, -1116, "Invalid orderType.") from None
        if kind.has_limit:
            params.text("price")
        if kind.has_trigger:
            params.text("stopPrice")
        is_maker = params["type"] == "LIMIT_MAKER"
        usual = None if kind.has_limit and not is_maker else "GTC"
        life = _LIVES.get(params.text("timeInForce", usual))
        if life is None:
            raise ApiError(400, -1115, "Invalid timeInForce.")
        identity = params.get("newClientOrderId") or self._make_id()
        if not _IDS.match(identity):
            raise ApiError(400, -1100, "Illegal characters found in parameter 'newClientOrderId'.")
        return NewOrder(
            symbol=symbol, client_order_id=identity, side=side, order_type=kind,
            time_in_force=life, quantity=params.number("quantity"),
            budget=params.number("quoteOrderQty"), limit=params.number("price"),
            stop=params.number("stopPrice"), post_only=is_maker,
            display=params.number("icebergQty"),
        )  # fmt: skip

    def _test(self, account: str, params: Params) -> dict[str, Any]:
        _raise(self._exchange.check(account, self._read_new(params)))
        return {}

    def _submit(self, account: str, params: Params) -> dict[str, Any]:
        return self._place(account, self._read_new(params))

    def _place(self, account: str, request: NewOrder) -> dict[str, Any]:
        placed = self._exchange.submit(account, request)
        if isinstance(placed, Refusal):
            raise ApiError(400, **_error(placed))
        if placed.status is PlacedStatus.CANCELED and placed.cause is EndCause.POST_ONLY:
            raise ApiError(400, -2010, "Order would immediately match and take.")
        return show_ack(self.instrument_of(placed), placed)

    def _find(self, account: str, params: Params, *, code: int = -2011) -> PlacedOrder:
        symbol = params.symbol(self._exchange.instruments)
        number = int(params.get("orderId") or params.get("cancelOrderId") or "0")
        identity = params.get("origClientOrderId") or params.get("cancelOrigClientOrderId", "")
        if not number and not identity:
            raise ApiError(400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, but "
                                       "both were empty/null!")  # fmt: skip
        order = self._exchange.find(account, number=number, client_order_id=identity)
        if order is None or self.instrument_of(order).symbol != symbol:
            message = "Order does not exist." if code == -2013 else "Unknown order sent."
            raise ApiError(400, code, message)
        return order

    def _find_one(self, account: str, params: Params) -> dict[str, Any]:
        order = self._find(account, params, code=-2013)
        return show_order(self.instrument_of(order), order)

    def _cancel(self, account: str, params: Params) -> dict[str, Any]:
        order = self._find(account, params)
        return self._cancel_one(account, order, params.get("newClientOrderId") or self._make_id())

    def _cancel_one(self, account: str, order: PlacedOrder, cancel_id: str) -> dict[str, Any]:
        if order.is_open:
            self._cancel_ids[order.number] = cancel_id
        answer = self._exchange.cancel(account, order.number)
        if isinstance(answer, Refusal):
            raise ApiError(400, **_error(answer))
        answer = self._await_end(account, answer)
        return show_canceled(self.instrument_of(answer), answer, cancel_id)

    def _await_end(self, account: str, order: PlacedOrder) -> PlacedOrder:
        """The order when its cancel has arrived: Binance answers behind the matching."""
        exchange = self._exchange
        while order.is_open and (ts := exchange.next_ts) is not None:
            exchange.advance(ts)
            order = exchange.find(account, number=order.number) or order
        return order

    def _cancel_all(self, account: str, params: Params) -> list[dict[str, Any]]:
        symbol = params.symbol(self._exchange.instruments)
        orders = self._exchange.open_orders(account, symbol)
        if not orders:
            raise ApiError(400, -2011, "Unknown order sent.")
        return [self._cancel_one(account, each, self._make_id()) for each in orders]

    def _cancel_replace(self, account: str, params: Params) -> dict[str, Any]:
        request = self._read_new(params)
        stops = params.text("cancelReplaceMode") == "STOP_ON_FAILURE"
        canceled: dict[str, Any] | None = None
        try:
            order = self._find(account, params)
            only = params.get("cancelRestrictions", "")
            if only and only != f"ONLY_{order.status.name}" and order.is_open:
                raise ApiError(400, -2011, "Order was not canceled due to cancel restrictions.")
            canceled = self._cancel_one(
                account, order, params.get("cancelNewClientOrderId") or self._make_id()
            )
            failure: dict[str, Any] = {}
        except ApiError as error:
            failure = error.body
        new: dict[str, Any] | None = None
        new_failure: dict[str, Any] | None = None
        if canceled or not stops:
            try:
                new = self._place(account, request)
            except ApiError as error:
                new_failure = error.body
        if canceled and new:
            return {"cancelResult": "SUCCESS", "newOrderResult": "SUCCESS",
                    "cancelResponse": canceled, "newOrderResponse": new}  # fmt: skip
        data = {
            "cancelResult": "SUCCESS" if canceled else "FAILURE",
            "newOrderResult": "SUCCESS" if new else "FAILURE" if new_failure else "NOT_ATTEMPTED",
            "cancelResponse": canceled or failure,
            "newOrderResponse": new or new_failure,
        }
        if canceled or new:
            raise ApiError(409, -2021, "Order cancel-replace partially failed.", data=data)
        raise ApiError(400, -2022, "Order cancel-replace failed.", data=data)

    def _amend(self, account: str, params: Params) -> dict[str, Any]:
        order, instrument = self._find(account, params), self._by_id
        one = instrument[order.instrument]
        quantity = params.number("newQty")
        if not 0 < quantity < one.lots_to_quantity(order.lots):
            raise ApiError(400, -2038, "newQty must be below the quantity of the order.")
        self._cancel_ids[order.number] = params.get("newClientOrderId") or self._make_id()
        changed = self._exchange.replace(account, order.number, Changes(quantity=quantity))
        if isinstance(changed, Refusal):
            raise ApiError(400, **_error(changed))
        row = show_order(one, changed)
        names = ("symbol", "orderId", "orderListId", "origClientOrderId", "clientOrderId", "price",
                 "qty", "executedQty", "preventedQty", "quoteOrderQty", "cumulativeQuoteQty",
                 "status", "timeInForce", "type", "side", "workingTime",
                 "selfTradePreventionMode")  # fmt: skip
        row |= {"origClientOrderId": order.client_order_id, "qty": row["origQty"],
                "preventedQty": "0.00000000", "quoteOrderQty": row["origQuoteOrderQty"],
                "cumulativeQuoteQty": row["cummulativeQuoteQty"]}  # fmt: skip
        return {
            "transactTime": changed.ts_updated // NS_PER_MS,
            "executionId": changed.number,
            "amendedOrder": {name: row[name] for name in names},
        }

    def _open(self, account: str, params: Params) -> list[dict[str, Any]]:
        symbol = params.symbol(self._exchange.instruments) if "symbol" in params else ""
        orders = self._exchange.open_orders(account, symbol)
        return [show_order(self.instrument_of(each), each) for each in orders]

    def _all(self, account: str, params: Params) -> list[dict[str, Any]]:
        symbol, limit = params.symbol(self._exchange.instruments), int(params.get("limit", "500"))
        first = int(params.get("orderId", "0"))
        orders = [each for each in self._exchange.orders(account, symbol) if each.number >= first]
        chosen = orders[:limit] if first else orders[-limit:]
        return [show_order(self.instrument_of(each), each) for each in chosen]

    def _trades(self, account: str, params: Params) -> list[dict[str, Any]]:
        symbol, limit = params.symbol(self._exchange.instruments), int(params.get("limit", "500"))
        if "startTime" in params and "fromId" in params:
            raise ApiError(400, -1128, "Combination of optional parameters invalid.")
        start_ms, end_ms = (
            int(params.get("startTime", "0")),
            int(params.get("endTime", _FOREVER_MS)),
        )
        if "startTime" in params and "endTime" in params and end_ms - start_ms >= _DAY_MS:
            raise ApiError(400, -1127, "More than 24 hours between startTime and endTime.")
        order, first = int(params.get("orderId", "0")), int(params.get("fromId", "0"))
        rows = [
            each
            for each in self._exchange.executions(account, start_ms * NS_PER_MS, symbol)
            if each.number >= first
            and (not order or each.order == order)
            and each.ts // NS_PER_MS <= end_ms
        ]
        is_oldest_first = {"fromId", "startTime", "orderId"} & set(params)
        chosen = rows[:limit] if is_oldest_first else rows[-limit:]
        return [show_trade(self._by_id[each.instrument], each) for each in chosen]

    def _account(self, account: str, params: Params) -> dict[str, Any]:
        return show_account(self._exchange.books(account), self._exchange.now // NS_PER_MS)


def _error(refusal: Refusal) -> dict[str, Any]:
    body = show_refusal(refusal)
    return {"code": body["code"], "message": body["msg"]}


def _raise(refusal: Refusal | None) -> None:
    if refusal is not None:
        raise ApiError(400, **_error(refusal))
