"""Requests to a local Alpaca: what each path answers out of a local exchange."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from aiohttp import web

from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.market import Bar, TradeTick
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.orders import Side
from onetape.domain.timestamps import NS_PER_SECOND, from_iso, to_iso
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.feeds.alpaca_assets import to_wire_symbol
from onetape.marketdata.session_times import SessionTimes
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
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.messages import (
    Changes,
    Execution,
    NewOrder,
    PlacedOrder,
    Refusal,
)

_PAGE_ORDERS, _PAGE_ACTIVITIES, _PAGE_BARS = 500, 100, 10_000

_ReadRows = Callable[[str, int, int], list[dict[str, Any]]]
Handler = Callable[[web.Request, str], Awaitable[web.StreamResponse]]
"""Answers a request of an account."""


class AlpacaRequests:
    """The paths of the trading API and of market data's history.

    Args:
        exchange: What they ask and command.
        skew_s: How far the venue's clock is off.

    Attributes:
        activities: Time and shape of each execution, by account; whoever hears them adds to it.
    """

    def __init__(self, exchange: LocalExchange, skew_s: Callable[[], float]) -> None:
        self._exchange = exchange
        self._skew_s = skew_s
        self._by_symbol = {to_wire_symbol(each): each for each in exchange.instruments.values()}
        self._by_id = {each.id: each for each in exchange.instruments.values()}
        self._calendar = next(iter(self._by_id.values())).calendar
        self._times = SessionTimes(self._calendar)
        self.activities: dict[str, list[tuple[int, dict[str, Any]]]] = {}

    def note(self, execution: Execution, order: PlacedOrder) -> None:
        """An execution; `order` as it is behind it."""
        instrument = self._by_id[order.instrument]
        shown = show_activity(execution, order, self._before(order), instrument)
        self.activities.setdefault(execution.account, []).append((execution.ts, shown))

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and what answers it."""
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
            ("GET", "/v2/stocks/trades", self._get_trades),
            ("GET", "/v1beta3/crypto/us/trades", self._get_trades),
            ("GET", "/v1beta3/crypto/us/bars", self._get_bars),
            ("GET", "/v1beta3/crypto/us/latest/bars", self._get_latest_bars),
        ]

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
            return fail(404, 40410000, f"asset not found for {name}")
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
            return fail(404, 40410000, "order not found")
        return web.json_response(self.show(order))

    async def _post_order(self, request: web.Request, account: str) -> web.Response:
        try:
            wanted = await self._read_order(request)
        except (ValueError, KeyError, TypeError, InvalidOperation) as error:
            return fail(422, 40010001, f"the order is incomplete or malformed: {error}")
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
            return fail(404, 40410000, "order not found")
        body = await request.json()
        if order.budget:
            return fail(422, 42210000, "notional orders cannot be replaced")
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
            return fail(404, 40410000, "order not found")
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
            for ts, shown in self.activities.get(account, [])
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
        now = self._exchange.now + int(self._skew_s() * NS_PER_SECOND)
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
        return self._show_page(request, "bars", self._bars)

    async def _get_trades(self, request: web.Request, account: str) -> web.Response:
        return self._show_page(request, "trades", self._trades)

    def _show_page(self, request: web.Request, what: str, read: _ReadRows) -> web.Response:
        """Rows of several symbols, a page of them."""
        query = request.query
        start, end = _time(query.get("start"), 0), _time(query.get("end"), self._exchange.now)
        limit = min(int(query.get("limit", "1000")), _PAGE_BARS)
        skip = int(query.get("page_token", "0"))
        step = -1 if query.get("sort") == "desc" else 1
        rows = [
            (symbol, shown)
            for symbol in query.get("symbols", "").split(",")
            for shown in read(symbol, start, end)[::step]
        ]
        page: dict[str, list[dict[str, Any]]] = {}
        for symbol, shown in rows[skip : skip + limit]:
            page.setdefault(symbol, []).append(shown | {"t": to_iso(shown["t"])})
        token = str(skip + limit) if skip + limit < len(rows) else None
        return web.json_response({what: page, "next_page_token": token})

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

    def _trades(self, symbol: str, start: int, end: int) -> list[dict[str, Any]]:
        instrument = self._find_instrument(symbol)
        if instrument is None:
            return []
        rows = self._exchange.rows(instrument.symbol, start, end)
        return [show_tick(each.event, each.row) for each in rows
                if isinstance(each.event, TradeTick)]  # fmt: skip

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


def _show_day(opens: int, closes: int, zone: str) -> dict[str, str]:
    first, last = (
        datetime.fromtimestamp(each // NS_PER_SECOND, tz=UTC).astimezone(ZoneInfo(zone))
        for each in (opens, closes)
    )
    return {"date": f"{first:%Y-%m-%d}", "open": f"{first:%H:%M}", "close": f"{last:%H:%M}"}


def fail(status: int, code: int, message: str) -> web.Response:
    """An error as Alpaca gives it."""
    return web.json_response({"code": code, "message": message}, status=status)


def throttle(wait_s: float) -> web.Response:
    """Too many requests; `Retry-After` where it is a second or more."""
    answer = fail(429, 42910000, "rate limit exceeded")
    if wait_s >= 1:
        answer.headers["Retry-After"] = str(math.ceil(wait_s))
    return answer
