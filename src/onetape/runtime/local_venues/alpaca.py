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
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web

from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.market import Bar, BookDelta
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.orders import Side
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND, from_iso, to_iso
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.feeds.alpaca_assets import to_wire_symbol
from onetape.marketdata.feeds.session_times import SessionTimes
from onetape.runtime.local_venues.accounts import ExchangeRules
from onetape.runtime.local_venues.alpaca_shapes import (
    TIMES,
    TYPES,
    asset_class,
    from_uuid,
    show,
    show_activity,
    show_asset,
    show_bar,
    show_order,
    show_position,
    show_refusal,
    show_tick,
    to_uuid,
)
from onetape.runtime.local_venues.alpaca_streams import DataStream, Outbox, ReportStream
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import Fault, FaultKind, FaultSchedule
from onetape.runtime.local_venues.messages import (
    Changes,
    MarketRow,
    NewOrder,
    OrderUpdate,
    PlacedOrder,
    Refusal,
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
_PAGE_ORDERS, _PAGE_ACTIVITIES, _PAGE_BARS = 500, 100, 10_000

Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]


class AlpacaServer:
    """One local Alpaca.

    Args:
        exchange: Accounts and matching, with the rules `RULES`.
        player: Of that exchange.
        keys: Secret and account of each key.
        faults: What goes wrong; None: nothing.
        per_minute: Requests of an account; more get 429.

    Attributes:
        url: Where requests go, once it has started.
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
        self._calendar = next(iter(self._by_id.values())).calendar
        self._times = SessionTimes(self._calendar)
        self._activities: dict[str, list[tuple[int, dict[str, Any]]]] = {}
        self._reports: dict[ReportStream, str] = {}
        self._market: dict[DataStream, tuple[str, str]] = {}
        self._outage_rows = 0
        self._down_until_s = 0.0
        self._runner: web.AppRunner | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.refuse_streams = False
        self.url = self.stream_url = self.data_stream_url = self.crypto_stream_url = ""
        if faults is not None:
            exchange.split_fill = lambda lots: faults.split_fill(lots, exchange.now)
        exchange.listen(self._on_happening)
        player.barriers.append(self._drain)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve; returns the port."""
        app = web.Application()
        for method, path, handler in self._routes():
            app.router.add_route(method, path, self._guard(handler))
        app.router.add_get("/stream", self._serve_reports)
        for path in ("/v2/iex", "/v2/sip", "/v1beta3/crypto/us"):
            app.router.add_get(path, self._serve_market)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        bound = int(self._runner.addresses[0][1])
        self.url = f"http://{host}:{bound}"
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
            "order": self.show(update.replaced or order),
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
            shown = show_activity(execution, order, self._before(order), instrument)
            self._activities.setdefault(update.account, []).append((execution.ts, shown))
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
            shown = show_tick(event)
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

    def _routes(self) -> list[tuple[str, str, Handler]]:
        return [
            ("GET", "/v2/account", self._get_account),
            ("GET", "/v2/assets", self._get_assets),
            ("GET", "/v2/assets/{symbol:.+}", self._get_asset),
            ("GET", "/v2/orders", self._get_orders),
            ("POST", "/v2/orders", self._post_order),
            ("DELETE", "/v2/orders", self._delete_orders),
            ("GET", "/v2/orders:by_client_order_id", self._get_order_by_client_id),
            ("GET", "/v2/orders/{id}", self._get_order),
            ("PATCH", "/v2/orders/{id}", self._patch_order),
            ("DELETE", "/v2/orders/{id}", self._delete_order),
            ("GET", "/v2/positions", self._get_positions),
            ("GET", "/v2/account/activities", self._get_activities),
            ("GET", "/v2/account/activities/{kind}", self._get_activities),
            ("GET", "/v2/clock", self._get_clock),
            ("GET", "/v2/calendar", self._get_calendar),
            ("GET", "/v2/stocks/bars", self._get_bars),
            ("GET", "/v2/stocks/bars/latest", self._get_latest_bars),
            ("GET", "/v1beta3/crypto/us/bars", self._get_bars),
            ("GET", "/v1beta3/crypto/us/latest/bars", self._get_latest_bars),
        ]

    def _guard(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if self._is_down():
                return self._vanish(request)
            await request.read()  # what has arrived is carried out, also when the client is gone
            key = request.headers.get("APCA-API-KEY-ID", "")
            secret, account = self._keys.get(key, ("", ""))
            if not account or request.headers.get("APCA-API-SECRET-KEY") != secret:
                return _fail(401, 40110000, "request is not authorized")
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
                return _throttle(fault.value)
            case FaultKind.UNAVAILABLE:
                return _fail(int(fault.value), 50010000, "internal server error occurred")
            case FaultKind.REJECT:
                return _fail(422, 42210000, "the order is refused")
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
                return _fail(int(fault.value), 50010000, "internal server error occurred")
            case _:
                await asyncio.sleep(fault.value)
                return answer

    def _limit(self, account: str) -> web.Response | None:
        now_s = asyncio.get_running_loop().time()
        began_s, count = self._windows.get(account, (now_s, 0))
        if now_s >= began_s + _WINDOW_S:
            began_s, count = now_s, 0
        if count >= self._per_minute:
            return _throttle(began_s + _WINDOW_S - now_s)
        self._windows[account] = (began_s, count + 1)
        return None

    def _is_down(self) -> bool:
        return asyncio.get_running_loop().time() < self._down_until_s

    def _vanish(self, request: web.Request) -> web.Response:
        """The connection closes without an answer."""
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _get_account(self, request: web.Request, account: str) -> web.Response:
        exchange = self._exchange
        books = exchange.books(account)
        cash = minor_to_decimal(books.balances["USD"].total if "USD" in books.balances else 0)
        equity = minor_to_decimal(exchange.equity(account, "USD"))
        long_value = short_value = Decimal(0)
        for identity, holding in books.positions.items():
            instrument = self._by_id[identity]
            value = instrument.lots_to_quantity(holding.lots) * self._mark(instrument)
            long_value, short_value = long_value + max(value, 0), short_value + min(value, 0)
        return web.json_response({
            "id": to_uuid(5, 1), "account_number": "PA0000000000", "status": "ACTIVE",
            "currency": "USD", "cash": show(cash), "portfolio_value": show(equity),
            "equity": show(equity), "last_equity": show(equity),
            "buying_power": show(minor_to_decimal(exchange.buying_power(account, "USD"))),
            "multiplier": "2", "initial_margin": "0", "maintenance_margin": "0",
            "long_market_value": show(long_value), "short_market_value": show(short_value),
            "shorting_enabled": True, "trading_blocked": False, "transfers_blocked": False,
            "account_blocked": False, "trade_suspended_by_user": False,
            "created_at": "2024-01-02T00:00:00Z",
        })  # fmt: skip

    async def _get_assets(self, request: web.Request, account: str) -> web.Response:
        wanted = request.query.get("asset_class", "")
        shown = [each for each in self._by_symbol.values() if wanted in ("", asset_class(each))]
        return web.json_response([show_asset(each) for each in shown])

    async def _get_asset(self, request: web.Request, account: str) -> web.Response:
        name = request.match_info["symbol"]
        found = self._find_instrument(name)
        if found is None:
            return _fail(404, 40410000, f"asset not found for {name}")
        return web.json_response(show_asset(found))

    async def _get_orders(self, request: web.Request, account: str) -> web.Response:
        query = request.query
        status, limit = query.get("status", "open"), int(query.get("limit", "50"))
        after, until = _time(query.get("after"), 0), _time(query.get("until"), 2**63 - 1)
        symbols = [each for each in query.get("symbols", "").split(",") if each]
        found = [
            each
            for each in self._exchange.orders(account)
            if (status == "all" or each.is_open == (status == "open"))
            and after < each.ts_created < until
            and (not symbols or to_wire_symbol(self._by_id[each.instrument]) in symbols)
        ]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        return web.json_response([self.show(each) for each in found[: min(limit, _PAGE_ORDERS)]])

    async def _get_order(self, request: web.Request, account: str) -> web.Response:
        return self._answer_order(account, from_uuid(request.match_info["id"]))

    async def _get_order_by_client_id(self, request: web.Request, account: str) -> web.Response:
        name = request.query.get("client_order_id", "")
        order = self._exchange.find(account, client_order_id=name) if name else None
        return self._answer_order(account, order.number if order else 0)

    def _answer_order(self, account: str, number: int) -> web.Response:
        order = self._exchange.find(account, number=number) if number else None
        if order is None:
            return _fail(404, 40410000, "order not found")
        return web.json_response(self.show(order))

    async def _post_order(self, request: web.Request, account: str) -> web.Response:
        try:
            wanted = await self._read_order(request)
        except (ValueError, KeyError, TypeError, InvalidOperation) as error:
            return _fail(422, 40010001, f"the order is incomplete or malformed: {error}")
        if not wanted.client_order_id:
            made_up = to_uuid(6, len(self._exchange.orders(account)) + 1)
            wanted = _with_client_id(wanted, made_up)
        answer = self._exchange.submit(account, wanted)
        if isinstance(answer, Refusal):
            status, body = show_refusal(answer, wanted)
            return web.json_response(body, status=status)
        is_new = answer.is_open and not answer.filled_lots
        return web.json_response(self.show(answer, "pending_new" if is_new else ""))

    async def _read_order(self, request: web.Request) -> NewOrder:
        body = await request.json()
        instrument = self._find_instrument(str(body["symbol"]))
        return NewOrder(
            symbol=instrument.symbol if instrument else str(body["symbol"]),
            client_order_id=str(body.get("client_order_id") or ""),
            side=Side.BUY if body["side"] == "buy" else Side.SELL,
            order_type=TYPES[body["type"]],
            time_in_force=TIMES[body["time_in_force"]],
            quantity=_number(body.get("qty")),
            budget=_number(body.get("notional")),
            limit=_number(body.get("limit_price")),
            stop=_number(body.get("stop_price")),
            trail=_number(body.get("trail_price")),
            trail_ratio=_number(body.get("trail_percent")) / 100,
        )

    async def _patch_order(self, request: web.Request, account: str) -> web.Response:
        number = from_uuid(request.match_info["id"])
        order = self._exchange.find(account, number=number) if number else None
        if order is None:
            return _fail(404, 40410000, "order not found")
        body = await request.json()
        if order.budget:
            return _fail(422, 42210000, "notional orders cannot be replaced")
        instrument = self._by_id[order.instrument]
        # Its quantity is that of the new order, whose fills count from zero.
        own = _number(body.get("qty"))
        carried = before.filled_lots if (before := self._before(order)) else 0
        own = own or instrument.lots_to_quantity(order.lots - carried)
        changes = Changes(
            quantity=own + instrument.lots_to_quantity(order.filled_lots),
            limit=_number(body["limit_price"]) if body.get("limit_price") else None,
            stop=_number(body["stop_price"]) if body.get("stop_price") else None,
            client_order_id=str(
                body.get("client_order_id") or to_uuid(6, len(self._exchange.orders(account)) + 1)
            ),
        )
        answer = self._exchange.replace(account, number, changes)
        if isinstance(answer, Refusal):
            status, shown = show_refusal(answer)
            return web.json_response(shown, status=status)
        is_pending = answer.number == number
        return web.json_response(self.show(answer, "pending_replace" if is_pending else ""))

    async def _delete_order(self, request: web.Request, account: str) -> web.Response:
        number = from_uuid(request.match_info["id"])
        if not number or self._exchange.find(account, number=number) is None:
            return _fail(404, 40410000, "order not found")
        answer = self._exchange.cancel(account, number)
        if isinstance(answer, Refusal):
            status, body = show_refusal(answer)
            return web.json_response(body, status=status)
        return web.Response(status=204)

    async def _delete_orders(self, request: web.Request, account: str) -> web.Response:
        shown = [
            {"id": to_uuid(1, each.number), "status": 200, "body": self.show(each)}
            for each in self._exchange.cancel_all(account)
        ]
        return web.json_response(shown, status=207)

    async def _get_positions(self, request: web.Request, account: str) -> web.Response:
        books = self._exchange.books(account)
        shown = [
            show_position(instrument, held.lots, held.cost, self._mark(instrument))
            for identity, held in books.positions.items()
            if held.lots and (instrument := self._by_id[identity])
        ]
        for instrument in self._by_id.values():
            balance = books.balances.get(instrument.base_currency)
            if instrument.kind is InstrumentKind.SPOT and balance and balance.total:
                mark = self._mark(instrument)
                quantity = minor_to_decimal(balance.total)
                cost = int(quantity * mark * 100_000_000)
                position = show_position(instrument, 1, cost, mark)
                shown.append(position | {"qty": show(quantity), "side": "long"})
        return web.json_response(shown)

    async def _get_activities(self, request: web.Request, account: str) -> web.Response:
        query = request.query
        kind = request.match_info.get("kind", "FILL")
        after, until = _time(query.get("after"), 0), _time(query.get("until"), 2**63 - 1)
        found = [
            shown
            for ts, shown in self._activities.get(account, [])
            if kind == "FILL" and after < ts < until
        ]
        if query.get("direction", "desc") == "desc":
            found.reverse()
        token = query.get("page_token")
        if token:
            at = next((at for at, each in enumerate(found) if each["id"] == token), -1)
            found = found[at + 1 :]
        size = min(int(query.get("page_size", "100")), _PAGE_ACTIVITIES)
        return web.json_response(found[:size])

    async def _get_clock(self, request: web.Request, account: str) -> web.Response:
        now = self._exchange.now + int(
            (self._faults.skew_s if self._faults else 0.0) * NS_PER_SECOND
        )
        opens, closes = self._times.next_session(now)
        return web.json_response({
            "timestamp": to_iso(now), "is_open": self._times.is_open(now),
            "next_open": to_iso(opens), "next_close": to_iso(closes),
        })  # fmt: skip

    async def _get_calendar(self, request: web.Request, account: str) -> web.Response:
        """Sessions by date; `open` and `close` are local times of the calendar's zone."""
        days = self._times.sessions(
            _time(request.query.get("start"), self._exchange.now),
            _time(request.query.get("end"), self._exchange.now),
        )
        zone = build_calendar(self._calendar).timezone
        return web.json_response([_show_day(opens, closes, zone) for opens, closes in days])

    async def _get_bars(self, request: web.Request, account: str) -> web.Response:
        query = request.query
        start, end = _time(query.get("start"), 0), _time(query.get("end"), self._exchange.now)
        limit = min(int(query.get("limit", "1000")), _PAGE_BARS)
        skip = int(query.get("page_token", "0"))
        rows = [
            (symbol, shown)
            for symbol in query.get("symbols", "").split(",")
            for shown in self._bars(symbol, start, end)
        ]
        bars: dict[str, list[dict[str, Any]]] = {}
        for symbol, shown in rows[skip : skip + limit]:
            bars.setdefault(symbol, []).append(shown | {"t": to_iso(shown["t"])})
        token = str(skip + limit) if skip + limit < len(rows) else None
        return web.json_response({"bars": bars, "next_page_token": token})

    async def _get_latest_bars(self, request: web.Request, account: str) -> web.Response:
        bars: dict[str, dict[str, Any]] = {}
        for symbol in request.query.get("symbols", "").split(","):
            found = self._bars(symbol, 0, self._exchange.now)
            if found:
                bars[symbol] = found[-1] | {"t": to_iso(found[-1]["t"])}
        return web.json_response({"bars": bars})

    def _bars(self, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
        instrument = self._find_instrument(symbol)
        if instrument is None:
            return []
        rows = self._exchange.rows(instrument.symbol, start, end)
        return [show_bar(each.event) for each in rows if isinstance(each.event, Bar)]

    # Small things.

    def _find_instrument(self, name: str) -> Instrument | None:
        by_plain = {each.replace("/", ""): found for each, found in self._by_symbol.items()}
        return self._by_symbol.get(name) or by_plain.get(name)

    def _mark(self, instrument: Instrument) -> Decimal:
        return instrument.ticks_to_price(self._exchange.mark(instrument.id))

    def _before(self, order: PlacedOrder) -> PlacedOrder | None:
        if not order.replaces:
            return None
        return self._exchange.find(order.account, number=order.replaces)

    def show(self, order: PlacedOrder, status: str = "") -> dict[str, Any]:
        """An order of the exchange as this venue shows it."""
        return show_order(order, self._before(order), self._by_id[order.instrument], status)


def _with_client_id(wanted: NewOrder, client_order_id: str) -> NewOrder:
    return msgspec.structs.replace(wanted, client_order_id=client_order_id)


def _number(value: object) -> Decimal:
    return Decimal(str(value)) if value not in (None, "") else Decimal(0)


def _time(text: str | None, otherwise: int) -> int:
    return from_iso(text.replace(" ", "+")) if text else otherwise


def _fail(status: int, code: int, message: str) -> web.Response:
    return web.json_response({"code": code, "message": message}, status=status)


def _throttle(wait_s: float) -> web.Response:
    answer = _fail(429, 42910000, "rate limit exceeded")
    if wait_s >= 1:
        answer.headers["Retry-After"] = str(math.ceil(wait_s))
    return answer


def _show_day(opens: int, closes: int, zone: str) -> dict[str, str]:
    first, last = (
        datetime.fromtimestamp(each // NS_PER_SECOND, tz=UTC).astimezone(ZoneInfo(zone))
        for each in (opens, closes)
    )
    return {"date": f"{first:%Y-%m-%d}", "open": f"{first:%H:%M}", "close": f"{last:%H:%M}"}
