"""A server on loopback that speaks Alpaca's protocols over a local exchange.

Trading API (`/v2/account`, assets, orders, positions, activities, clock, calendar) with its stream
`/stream`; market data API (`/v2/stocks/bars`, `/v1beta3/crypto/us/bars`) with its streams
`/v2/iex`, `/v2/sip` and `/v1beta3/crypto/us`. alpaca-py's clients run against it as they are.

*Does as Alpaca*: a replacement is a new order with its own count of fills; ids of executions differ
between stream and history; a client order id is taken for ever; 200 requests a minute.
*Ignores*: order classes other than simple, extended hours, queues outside of sessions, options.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from onetape.domain.market import Bar, BookDelta
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.feeds.alpaca_assets import to_wire_symbol
from onetape.runtime.local_venues.accounts import ExchangeRules
from onetape.runtime.local_venues.alpaca_requests import AlpacaRequests, Handler, fail, throttle
from onetape.runtime.local_venues.alpaca_shapes import show, show_bar, show_tick, to_uuid
from onetape.runtime.local_venues.alpaca_streams import DataStream, Outbox, ReportStream
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import Fault, FaultKind, FaultSchedule
from onetape.runtime.local_venues.messages import (
    MarketRow,
    OrderUpdate,
    PlacedOrder,
    UpdateKind,
)
from onetape.runtime.local_venues.replay import Player

RULES = ExchangeRules(
    can_short=True, leverage=2, is_client_id_unique_for_ever=True, replace_makes_new_order=True
)
"""What Alpaca does otherwise than other venues."""

_EVENTS = {
    UpdateKind.ACCEPTED: "new", UpdateKind.CANCELED: "canceled", UpdateKind.EXPIRED: "expired",
    UpdateKind.REPLACED: "replaced", UpdateKind.TRIGGERED: "restated",
    UpdateKind.CANCEL_REFUSED: "order_cancel_rejected",
    UpdateKind.REPLACE_REFUSED: "order_replace_rejected", UpdateKind.REDUCED: "restated",
}  # fmt: skip
_WINDOW_S = 60.0


class AlpacaServer:
    """One local Alpaca.

    Args:
        exchange: Accounts and matching, with the rules `RULES`.
        player: Of that exchange.
        keys: Secret and account of each key.
        faults: What goes wrong; None: nothing.
        per_minute: Requests of an account; more get 429.

    Attributes:
        rest_url: Where requests go, once it has started.
        stream_url: Where reports come from.
        refuse_streams: Whether logins to it are refused, as with keys of the other endpoint.
        data_stream_url: Where market data of equities comes from; of pairs `crypto_stream_url`.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        player: Player,
        *,
        keys: dict[str, tuple[str, str]],
        faults: FaultSchedule | None = None,
        per_minute: int = 200,
    ) -> None:
        self._exchange = exchange
        self._player = player
        self._keys = dict(keys)
        self._faults = faults
        self._per_minute = per_minute
        self._windows: dict[str, tuple[float, int]] = {}
        self._by_symbol = {to_wire_symbol(each): each for each in exchange.instruments.values()}
        self._by_id = {each.id: each for each in exchange.instruments.values()}
        self._requests = AlpacaRequests(exchange, lambda: faults.skew_s if faults else 0.0)
        self._reports: dict[ReportStream, str] = {}
        self._market: dict[DataStream, tuple[str, str]] = {}
        self._outage_rows = 0
        self._down_until_s = 0.0
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.refuse_streams = False
        self.rest_url = self.stream_url = self.data_stream_url = self.crypto_stream_url = ""
        if faults is not None:
            exchange.split_fill = lambda lots: faults.split_fill(lots, exchange.now)
        exchange.listen(self._on_happening)
        player.barriers.append(self._drain)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve; returns the port."""
        app = web.Application()
        for method, path, handler in self._requests.routes():
            app.router.add_route(method, path, self._guard(handler))
        app.router.add_get("/stream", self._serve_reports)
        for path in ("/v2/iex", "/v2/sip", "/v1beta3/crypto/us"):
            app.router.add_get(path, self._serve_market)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = int(self._runner.addresses[0][1])
        self.rest_url = f"http://{host}:{bound}"
        self.stream_url = f"ws://{host}:{bound}/stream"
        self.data_stream_url = f"ws://{host}:{bound}/v2/iex"
        self.crypto_stream_url = f"ws://{host}:{bound}/v1beta3/crypto/us"
        return bound

    async def close(self) -> None:
        """Stop serving; the exchange stays as it is."""
        self._exchange.forget(self._on_happening)
        self._player.barriers.remove(self._drain)
        await self._cut()
        for each in self._tasks:
            each.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def restart(self, down_s: float) -> None:
        """Drop all connections, and answer nobody for so long; the books stay."""
        self._down_until_s = asyncio.get_running_loop().time() + down_s
        await self._cut()

    async def revoke(self, key: str) -> None:
        """The key is no key any more, and its connections end."""
        self._keys.pop(key, None)
        await self._cut()

    def admit(self, key: str, secret: str, account: str) -> None:
        """The key opens an account from now on."""
        self._keys[key] = (secret, account)

    def show(self, order: PlacedOrder) -> dict[str, Any]:
        """An order of the exchange as this venue shows it."""
        return self._requests.show(order)

    @property
    def clients(self) -> int:
        """Open websockets."""
        return len(self._reports) + len(self._market)

    def tell_market(self, kind: str, symbol: str, message: dict[str, Any]) -> None:
        """Send market data of a kind (`b`, `u`, `t`, `q`) to whoever wants it."""
        for each in self._market:
            each.tell(kind, symbol, dict(message))

    # What the exchange says.

    def _on_happening(self, happening: OrderUpdate | MarketRow) -> None:
        if isinstance(happening, MarketRow):
            self._on_row(happening)
        else:
            self._on_update(happening)

    def _on_update(self, update: OrderUpdate) -> None:
        order, event = update.order, _EVENTS.get(update.kind, "")
        message: dict[str, Any] = {
            "event": event, "execution_id": to_uuid(3, update.seq), "timestamp": to_iso(update.ts),
            "order": self._requests.show(update.replaced or order),
        }  # fmt: skip
        if update.reason:
            message["reason"] = update.reason
        if update.execution is not None:
            execution, instrument = update.execution, self._by_id[order.instrument]
            message |= {
                "event": "partial_fill" if execution.leaves else "fill",
                "price": show(instrument.ticks_to_price(execution.ticks)),
                "qty": show(instrument.lots_to_quantity(execution.lots)),
                "position_qty": show(instrument.lots_to_quantity(execution.position_lots)),
            }
            self._requests.note(execution, order)
        for stream, account in self._reports.items():
            if account == update.account:
                stream.tell(message)

    def _on_row(self, row: MarketRow) -> None:
        fault = self._faults.on_row(row.ts) if self._faults else None
        if fault is not None and fault.kind is FaultKind.RESTART:
            self._spawn(self.restart(fault.value))
        elif fault is not None and fault.kind is FaultKind.OUTAGE:
            self._outage_rows = int(fault.value)
        if self._outage_rows:
            self._outage_rows -= 1
            return
        event = row.event
        if isinstance(event, BookDelta):
            return
        symbol = to_wire_symbol(self._by_id[event.instrument])
        if isinstance(event, Bar):
            is_day = event.ts_close - event.ts_open >= NS_PER_DAY // 4
            self.tell_market("d" if is_day else "b", symbol, show_bar(event))
        else:
            shown = show_tick(event, row.row)
            self.tell_market("t" if "p" in shown else "q", symbol, shown)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        """Returns when everything that was said has been sent."""
        for each in (*self._reports, *self._market):
            await each.outbox.drained()

    async def _cut(self) -> None:
        for each in (*self._reports, *self._market):
            await each.socket.close()

    # Streams.

    async def _serve_reports(self, request: web.Request) -> web.StreamResponse:
        if self._is_down():
            return self._vanish(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        outbox = Outbox(socket, "trade_updates", self._faults, lambda: self._exchange.now)
        stream = ReportStream(socket, outbox)

        def is_known(key: str, secret: str) -> bool:
            found = self._keys.get(key)
            if found is None or found[0] != secret or self.refuse_streams:
                return False
            self._reports[stream] = found[1]
            return True

        sender = asyncio.create_task(outbox.run())
        try:
            await stream.serve(is_known)
        finally:
            self._reports.pop(stream, None)
            sender.cancel()
        return socket

    async def _serve_market(self, request: web.Request) -> web.StreamResponse:
        if self._is_down():
            return self._vanish(request)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        outbox = Outbox(socket, "market", self._faults, lambda: self._exchange.now)
        stream = DataStream(
            socket, outbox, lambda symbol: symbol in self._by_symbol,
            is_packed="msgpack" in request.headers.get("Content-Type", ""),
        )  # fmt: skip

        path = request.path

        def log_in(key: str, secret: str) -> tuple[int, str]:
            found = self._keys.get(key)
            if found is None or found[0] != secret:
                return 402, "auth failed"
            if (path, found[1]) in self._market.values():
                return 406, "connection limit exceeded"
            self._market[stream] = (path, found[1])
            return 0, ""

        sender = asyncio.create_task(outbox.run())
        try:
            await stream.greet()
            await stream.serve(log_in)
        finally:
            self._market.pop(stream, None)
            sender.cancel()
        return socket

    # Requests.

    def _guard(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if self._is_down():
                return self._vanish(request)
            await request.read()  # what has arrived is carried out, also when the client is gone
            key = request.headers.get("APCA-API-KEY-ID", "")
            secret, account = self._keys.get(key, ("", ""))
            if not account or request.headers.get("APCA-API-SECRET-KEY") != secret:
                return fail(401, 40110000, "request is not authorized")
            refused = self._limit(account)
            if refused is not None:
                return refused
            self._player.sync()
            route = request.match_info.route.resource
            subject = f"{request.method} {route.canonical if route else request.path}"
            now = self._exchange.now
            is_order = subject == "POST /v2/orders"
            fault = (
                self._faults.on_request(subject, now, is_order=is_order) if self._faults else None
            )
            spoiled = await self._spoil_request(fault)
            if spoiled is not None:
                return spoiled
            answer = await handler(request, account)
            fault = self._faults.on_answer(subject, self._exchange.now) if self._faults else None
            return await self._spoil_answer(request, answer, fault)

        return guarded

    async def _spoil_request(self, fault: Fault | None) -> web.Response | None:
        if fault is None:
            return None
        match fault.kind:
            case FaultKind.THROTTLE:
                return throttle(fault.value)
            case FaultKind.UNAVAILABLE:
                return fail(int(fault.value), 50010000, "internal server error occurred")
            case FaultKind.REJECT:
                return fail(422, 42210000, "the order is refused")
            case _:
                await asyncio.sleep(fault.value)
                self._player.sync()
                return None

    async def _spoil_answer(
        self, request: web.Request, answer: web.StreamResponse, fault: Fault | None
    ) -> web.StreamResponse:
        if fault is None:
            return answer
        match fault.kind:
            case FaultKind.LOST_ACK:
                return self._vanish(request)
            case FaultKind.VAGUE_ACK:
                return fail(int(fault.value), 50010000, "internal server error occurred")
            case _:
                await asyncio.sleep(fault.value)
                return answer

    def _limit(self, account: str) -> web.Response | None:
        now_s = asyncio.get_running_loop().time()
        began_s, count = self._windows.get(account, (now_s, 0))
        if now_s >= began_s + _WINDOW_S:
            began_s, count = now_s, 0
        if count >= self._per_minute:
            return throttle(began_s + _WINDOW_S - now_s)
        self._windows[account] = (began_s, count + 1)
        return None

    def _is_down(self) -> bool:
        return asyncio.get_running_loop().time() < self._down_until_s

    def _vanish(self, request: web.Request) -> web.Response:
        """The connection closes without an answer."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response()
