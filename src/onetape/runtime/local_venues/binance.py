"""A server on loopback that speaks Binance spot: REST v3, market streams, the websocket API.

It trades on a `LocalExchange`; timestamps of events are those of the replayed data, its own clock
(`/api/v3/time`, signatures) is the wall clock. Clients reach it by the base address only.

Ignores: order lists, margin, klines of other lengths than the data's, commission in a third asset.
Source: Binance Spot API documentation: REST v3, WebSocket API, market streams, errors.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from onetape.domain.market import Bar, BookDelta, QuoteTick, TradeTick
from onetape.domain.timestamps import NS_PER_MS
from onetape.marketdata.order_book import OrderBook, to_level
from onetape.runtime.local_venues.binance_orders import BinanceOrders
from onetape.runtime.local_venues.binance_requests import (
    ApiError,
    Guard,
    Params,
    read_params,
)
from onetape.runtime.local_venues.binance_shapes import (
    RATE_LIMITS,
    show,
    show_balances,
    show_kline,
    show_kline_event,
    show_print,
    show_print_row,
    show_quote,
    show_report,
    show_symbol,
)
from onetape.runtime.local_venues.binance_sockets import Socket
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultKind, FaultSchedule
from onetape.runtime.local_venues.messages import (
    Happening,
    MarketRow,
    OrderUpdate,
    UpdateKind,
)
from onetape.runtime.local_venues.replay import Player

_KINDS = {
    UpdateKind.ACCEPTED: "NEW",
    UpdateKind.FILLED: "TRADE",
    UpdateKind.CANCELED: "CANCELED",
    UpdateKind.EXPIRED: "EXPIRED",
    UpdateKind.REPLACED: "REPLACED",
    UpdateKind.REDUCED: "REPLACED",
    UpdateKind.TRIGGERED: "NEW",
}
_WEIGHTS = {"exchangeInfo": 20, "klines": 2, "depth": 50, "trades": 25, "historicalTrades": 25,
            "order": 1, "openOrders": 6, "allOrders": 20, "myTrades": 20, "account": 20,
            "account/commission": 20}  # fmt: skip


class BinanceServer:
    """One local Binance.

    Args:
        exchange: What trades; its instruments are pairs.
        player: What plays it.
        keys: (secret, account) by API key; a secret may be the PEM of an Ed25519 public key.
        faults: What goes wrong.

    Attributes:
        discount_asset: Accounts pay fees in it, as `account/commission` says; empty: they don't.
        rest_url: Base address, once it has started.
    """

    def __init__(self, exchange: LocalExchange, player: Player, *,
                 keys: Mapping[str, tuple[str, str]],
                 faults: FaultSchedule | None = None) -> None:  # fmt: skip
        self.discount_asset = ""
        self.rest_url = ""
        self._exchange = exchange
        self._player = player
        self._faults = faults
        self._guard = Guard(keys, self.now_ms)
        self._orders = BinanceOrders(exchange)
        self._sockets: list[Socket] = []
        self._subscriptions = 0
        self._numbers = dict.fromkeys(exchange.instruments, 0)
        self._prints_told = dict.fromkeys(exchange.instruments, 0)
        self._depth: dict[str, OrderBook] = {each: OrderBook() for each in exchange.instruments}
        self._deltas: dict[str, list[BookDelta]] = {}
        self._silent_rows = 0
        self._down_until_s = 0.0
        self._runner: web.AppRunner | None = None
        if faults is not None:
            exchange.split_fill = lambda lots: faults.split_fill(lots, exchange.now)
        player.barriers.append(self._drain)

    @property
    def clients(self) -> int:
        """Open websocket connections."""
        return len(self._sockets)

    @property
    def stream_url(self) -> str:
        """Where market streams are."""
        return f"{self.rest_url.replace('http', 'ws', 1)}/stream"

    def now_ms(self) -> int:
        """The clock of the server, off as the faults want it."""
        skew_s = self._faults.skew_s if self._faults else 0.0
        return time.time_ns() // NS_PER_MS + int(skew_s * 1000)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve; returns the port. Raises `OSError` where somebody else listens there."""
        app = web.Application()
        app.router.add_get("/ws-api/v3", self._serve_api)
        app.router.add_get("/stream", self._serve_streams)
        app.router.add_get("/ws", self._serve_streams)
        app.router.add_route("*", "/api/v3/{path:.*}", self._serve_rest)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = int(self._runner.addresses[0][1])
        self.rest_url = f"http://{host}:{bound}"
        self._exchange.listen(self._hear)
        return bound

    async def close(self) -> None:
        """Stop serving."""
        self._exchange.forget(self._hear)
        await self.drop_clients()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self, down_s: float) -> None:
        """Drop every connection and refuse new ones for so long; the books stay."""
        self._down_until_s = time.monotonic() + down_s
        await self.drop_clients()

    async def drop_clients(self) -> None:
        """Drop every websocket connection."""
        for each in list(self._sockets):
            await each.close()

    def revoke(self, key: str) -> None:
        """A key is not valid any more; its subscriptions end."""
        account = self._guard.revoke(key)
        for each in self._sockets:
            if each.subscription is not None and each.subscription[1] == account:
                event = {"e": "eventStreamTerminated", "E": self.now_ms()}
                each.put("", {"subscriptionId": each.subscription[0], "event": event}, 0)
                each.subscription = None

    async def _drain(self) -> None:
        for each in list(self._sockets):
            await each.drain()

    # What happens at the exchange.

    def _hear(self, happening: Happening) -> None:
        if isinstance(happening, OrderUpdate):
            self._tell_order(happening)
        else:
            self._tell_row(happening)

    def _tell_order(self, update: OrderUpdate) -> None:
        what = _KINDS.get(update.kind)
        if what is None:
            return
        order = update.order
        instrument = self._orders.instrument_of(order)
        cancel_id = ""
        if what in ("CANCELED", "REPLACED"):
            cancel_id = self._orders.cancel_id(order)
        report = show_report(instrument, order, what, update.ts, update.execution, cancel_id)
        if what == "CANCELED" and report["X"] == "EXPIRED":
            report |= {"x": "EXPIRED", "c": order.client_order_id, "C": ""}
        self._tell_account(order.account, report, update.ts)
        if update.kind is UpdateKind.FILLED:
            books = self._exchange.books(order.account)
            self._tell_account(order.account, show_balances(books, update.ts // NS_PER_MS),
                               update.ts)  # fmt: skip

    def _tell_account(self, account: str, event: dict[str, Any], ts: int) -> None:
        for each in self._sockets:
            if each.subscription is not None and each.subscription[1] == account:
                message = {"subscriptionId": each.subscription[0], "event": event}
                each.put("user data", message, ts)

    def _tell_row(self, row: MarketRow) -> None:
        fault = self._faults.on_row(row.ts) if self._faults else None
        if fault is not None and fault.kind is FaultKind.OUTAGE:
            self._silent_rows = int(fault.value)
        if fault is not None and fault.kind is FaultKind.RESTART:
            self._restarting = asyncio.ensure_future(self.restart(fault.value))
        if isinstance(row.event, BookDelta):
            self._gather_delta(row.event, ends_slice=row.ends_slice)
            return
        symbol = str(row.event.instrument).rpartition(".")[0]
        count = self._prints_told if isinstance(row.event, TradeTick) else self._numbers
        count[symbol] += 1
        number, ms, lower = count[symbol], row.ts // NS_PER_MS, symbol.lower()
        match row.event:
            case Bar() as bar:
                name = f"{lower}@kline_{bar.timeframe}"
                data = show_kline_event(symbol, bar.timeframe, bar, ms)
            case TradeTick() as tick:
                name, data = f"{lower}@trade", show_print(symbol, tick, number, ms)
            case QuoteTick() as tick:
                name, data = f"{lower}@bookTicker", show_quote(symbol, tick, number)
        self._publish(name, data, row.ts)

    def _gather_delta(self, delta: BookDelta, *, ends_slice: bool) -> None:
        symbol = str(delta.instrument).rpartition(".")[0]
        self._deltas.setdefault(symbol, []).append(delta)
        instrument = self._exchange.instruments[symbol]
        self._depth[symbol].apply(delta, instrument.tick_float, instrument.lot_float)
        if not ends_slice:
            return
        for each, deltas in self._deltas.items():
            first = self._numbers[each] + 1
            self._numbers[each] += len(deltas)
            one, ts = self._exchange.instruments[each], deltas[-1].ts_event
            sides = {True: [], False: []}
            for change in deltas:
                ticks, lots = to_level(change.price, change.size, one.tick_float, one.lot_float)
                level = [show(one.ticks_to_price(ticks)), show(one.lots_to_quantity(lots))]
                sides[change.is_bid].append(level)
            data = {"e": "depthUpdate", "E": ts // NS_PER_MS, "s": each, "U": first,
                    "u": self._numbers[each], "b": sides[True], "a": sides[False]}  # fmt: skip
            self._publish(f"{each.lower()}@depth@100ms", data, ts)
        self._deltas = {}

    def _publish(self, name: str, data: dict[str, Any], ts: int) -> None:
        if self._silent_rows:
            self._silent_rows -= 1
            return
        for each in self._sockets:
            if name in each.streams:
                each.put(name, {"stream": name, "data": data}, ts)

    # Websockets.

    async def _open_socket(self, request: web.Request) -> web.WebSocketResponse:
        if time.monotonic() < self._down_until_s:
            raise web.HTTPServiceUnavailable
        response = web.WebSocketResponse(heartbeat=20.0)
        await response.prepare(request)
        return response

    async def _serve_streams(self, request: web.Request) -> web.WebSocketResponse:
        response = await self._open_socket(request)
        socket = Socket(response, self._faults)
        socket.streams.update(each for each in request.query.get("streams", "").split("/") if each)
        self._sockets.append(socket)
        try:
            async for message in response:
                if message.type is web.WSMsgType.TEXT:
                    asked = message.json()
                    names = set(asked.get("params") or ())
                    if asked.get("method") == "SUBSCRIBE":
                        socket.streams |= names
                    elif asked.get("method") == "UNSUBSCRIBE":
                        socket.streams -= names
                    socket.put("", {"result": None, "id": asked.get("id")}, 0)
        finally:
            self._sockets.remove(socket)
            await socket.close()
        return response

    async def _serve_api(self, request: web.Request) -> web.WebSocketResponse:
        response = await self._open_socket(request)
        socket = Socket(response, self._faults)
        self._sockets.append(socket)
        try:
            async for message in response:
                if message.type is web.WSMsgType.TEXT:
                    socket.put("", self._answer_api(socket, message.json()), 0)
        finally:
            self._sockets.remove(socket)
            await socket.close()
        return response

    def _answer_api(self, socket: Socket, asked: dict[str, Any]) -> dict[str, Any]:
        identity, method = asked.get("id"), asked.get("method")
        try:
            self._guard.spend(2)
            if method == "ping":
                result: dict[str, Any] = {}
            elif method == "time":
                result = {"serverTime": self.now_ms()}
            elif method == "userDataStream.subscribe.signature":
                account = self._guard.check_socket(asked.get("params") or {})
                self._subscriptions += 1
                socket.subscription = (self._subscriptions - 1, account)
                result = {"subscriptionId": socket.subscription[0]}
            else:
                raise ApiError(400, -1130, f"method {method!r} is not served here")
        except ApiError as error:
            return {"id": identity, "status": error.status, "error": error.body}
        return {"id": identity, "status": 200, "result": result, "rateLimits": []}

    # REST.

    async def _serve_rest(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        subject = f"{request.method} /api/v3/{path}"
        if time.monotonic() < self._down_until_s:
            return web.json_response({"code": -1016, "msg": "shutting down"}, status=503)
        params, payload = await read_params(request)
        now = self._player.sync()
        headers: dict[str, str] = {}
        try:
            await self._fail_before(request, subject, now)
            key = request.headers.get("X-MBX-APIKEY", "")
            is_order = request.method == "POST" and path != "order/test"
            headers = self._guard.spend(_WEIGHTS.get(path, 1), orders=is_order)
            body = self._answer(request.method, path, params, key, payload)
            status = 200
        except ApiError as error:
            body, status = error.body, error.status
            headers |= error.headers
        fault = self._faults.on_answer(subject, now) if self._faults else None
        if fault is not None:
            if fault.kind is FaultKind.LOST_ACK:
                if request.transport is not None:
                    request.transport.abort()
            elif fault.kind is FaultKind.LATE_ACK:
                await asyncio.sleep(fault.value)
            else:
                body = {"code": -1007, "msg": "Timeout waiting for response from backend server."}
                status = int(fault.value)
        return web.json_response(body, status=status, headers=headers)

    async def _fail_before(self, request: web.Request, subject: str, now: int) -> None:
        if self._faults is None:
            return
        is_order = request.method == "POST" and subject.endswith("/order")
        fault = self._faults.on_request(subject, now, is_order=is_order)
        if fault is None:
            return
        match fault.kind:
            case FaultKind.THROTTLE:
                raise ApiError(429, -1003, "Too much request weight used.",
                               headers={"Retry-After": f"{fault.value:g}"})  # fmt: skip
            case FaultKind.UNAVAILABLE:
                raise ApiError(int(fault.value), -1001, "Internal error.")
            case FaultKind.REJECT:
                raise ApiError(400, -2010, "This action is disabled on this account.")
            case _:
                await asyncio.sleep(fault.value)

    def _answer(self, method: str, path: str, params: Params, key: str, payload: str) -> Any:
        public = self._answer_public(path, params) if method == "GET" else None
        if public is not None:
            return public
        if not self._orders.serves(method, path):
            raise ApiError(404, -1000, f"{method} {path} is not served here")
        account = self._guard.check(params, key, payload)
        if path == "account/commission":
            asset = self.discount_asset
            return {
                "symbol": params.text("symbol"),
                "standardCommission": {"maker": "0.00100000", "taker": "0.00100000"},
                "discount": {"enabledForAccount": bool(asset), "enabledForSymbol": bool(asset),
                             "discountAsset": asset or "BNB", "discount": "0.75000000"},
            }  # fmt: skip
        return self._orders.answer(account, method, path, params)

    def _answer_public(self, path: str, params: Params) -> Any:
        exchange = self._exchange
        match path:
            case "ping":
                return {}
            case "time":
                return {"serverTime": self.now_ms()}
            case "exchangeInfo":
                rows = [
                    show_symbol(exchange.instruments[each], is_halted=each in exchange.halted)
                    for each in params.symbols(exchange.instruments)
                ]
                return {"timezone": "UTC", "serverTime": self.now_ms(), "exchangeFilters": [],
                        "rateLimits": RATE_LIMITS, "symbols": rows}  # fmt: skip
            case "klines":
                return self._klines(params)
            case "trades" | "historicalTrades":
                return self._prints(params)
            case "depth":
                symbol = params.symbol(exchange.instruments)
                one, book = exchange.instruments[symbol], self._depth[symbol]
                count = int(params.text("limit", "100"))
                sides = {
                    name: [
                        [show(one.ticks_to_price(ticks)), show(one.lots_to_quantity(lots))]
                        for ticks, lots in book.levels(is_bid=name == "bids", count=count)
                    ]
                    for name in ("bids", "asks")
                }
                return {"lastUpdateId": self._numbers[symbol], **sides}
            case "ticker/price":
                symbol = params.symbol(exchange.instruments)
                one = exchange.instruments[symbol]
                return {"symbol": symbol, "price": show(one.ticks_to_price(exchange.mark(one.id)))}
            case _:
                return None

    def _klines(self, params: Params) -> list[list[Any]]:
        symbol = params.symbol(self._exchange.instruments)
        start = int(params.text("startTime", "0")) * NS_PER_MS
        end = (int(params.text("endTime", str(2**40))) + 1) * NS_PER_MS - 1
        limit = int(params.text("limit", "500"))
        rows = [each.event for each in self._exchange.rows(symbol, start, end)]
        bars = [each for each in rows if isinstance(each, Bar)]
        if not bars:
            return []
        if bars[0].timeframe != params.text("interval"):
            raise ApiError(400, -1120, "Invalid interval.")
        chosen = bars[:limit] if "startTime" in params else bars[-limit:]
        return [show_kline(each) for each in chosen]

    def _prints(self, params: Params) -> list[dict[str, Any]]:
        symbol = params.symbol(self._exchange.instruments)
        limit, first = int(params.text("limit", "500")), int(params.text("fromId", "0"))
        ticks = [each.event for each in self._exchange.rows(symbol)]
        numbered = [
            show_print_row(tick, number)
            for number, tick in enumerate(
                (each for each in ticks if isinstance(each, TradeTick)), start=1
            )
        ]
        if first:
            return [each for each in numbered if each["id"] >= first][:limit]
        return numbered[-limit:]
