"""Servers on loopback that answer as providers of bars do, and fail as they do.

Shapes and error codes: Binance Spot API (exchangeInfo, klines, errors -1121, -1003, the limits'
429 with Retry-After), Alpaca Market Data API (bars with next_page_token, `message`, X-RateLimit-
headers), Yahoo's chart answers as yfinance reads them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

HOUR_MS = 3_600_000
DAY_S = 86_400


@dataclass(frozen=True)
class Reply:
    """An answer; `cut` ends the connection after so many bytes of the body."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Provider:
    """A server: what it was asked, and what it answers instead of the truth, in order.

    `faults` are used up by the requests for bars; `date_s` is its clock (seconds since 1970).
    """

    answer: Callable[[str, dict[str, str], dict[str, str]], Reply]
    is_bars: Callable[[str], bool]
    faults: list[Reply | None] = field(default_factory=list)
    asked: list[dict[str, str]] = field(default_factory=list)
    date_s: float | None = None
    url: str = ""

    def reply(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Reply:
        if self.is_bars(path):
            self.asked.append(query)
            fault = self.faults.pop(0) if self.faults else None
            if fault is not None and fault.cut is None:
                return fault
            if fault is not None:
                whole = self.answer(path, query, headers)
                return Reply(whole.status, whole.body, fault.headers, fault.cut)
        return self.answer(path, query, headers)


@contextmanager
def serve(provider: Provider) -> Generator[Provider]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: each[-1] for name, each in parse_qs(parts.query).items()}
            reply = provider.reply(
                parts.path, query, {n.lower(): v for n, v in self.headers.items()}
            )
            body = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response_only(reply.status)
            if provider.date_s is not None:
                self.send_header("Date", formatdate(provider.date_s, usegmt=True))
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, text in reply.headers.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body if reply.cut is None else body[: reply.cut])
            self.close_connection = reply.cut is not None

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    provider.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


# Binance


def make_symbol(base: str, quote: str, tick: str = "0.01", step: str = "0.00001") -> dict[str, Any]:
    """An entry of exchangeInfo, with the fields that clients read."""
    return {
        "symbol": base + quote, "status": "TRADING", "baseAsset": base, "quoteAsset": quote,
        "baseAssetPrecision": 8, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "MARKET"], "icebergAllowed": True, "ocoAllowed": True,
        "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "permissions": [], "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "99999", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000", "stepSize": step},
            {"filterType": "NOTIONAL", "minNotional": "5", "maxNotional": "9000000"},
        ],
    }  # fmt: skip


def make_kline(ms: int, length_ms: int = HOUR_MS) -> list[Any]:
    """A bar on a saw tooth, prices as texts."""
    price = 9_000 + ms // length_ms % 50
    opens, high, low, close = (f"{each:.8f}" for each in (price, price + 2, price - 1, price + 1))
    close_ms = ms + length_ms - 1
    return [ms, opens, high, low, close, "12.50000000", close_ms, "0", 7, "0", "0", "0"]


def make_perpetual(base: str, quote: str) -> dict[str, Any]:
    """An entry of the futures' exchangeInfo."""
    spot = make_symbol(base, quote)
    more = {"pair": base + quote, "contractType": "PERPETUAL", "marginAsset": quote,
            "deliveryDate": 4133404800000, "onboardDate": 1569398400000}  # fmt: skip
    return {**spot, **more}


def binance(
    klines: dict[str, list[list[Any]]],
    symbols: list[dict[str, Any]],
    funding: list[dict[str, Any]] | None = None,
) -> Provider:
    """`klines` by interval: sorted by time, served from `startTime` on, at most `limit`.

    `funding` are all that the futures paid, at most three at once.
    """

    def answer(path: str, query: dict[str, str], _headers: dict[str, str]) -> Reply:
        if path.endswith("/fundingRate"):
            begin, end = int(query["startTime"]), int(query["endTime"])
            return Reply(
                body=[row for row in funding or [] if begin <= row["fundingTime"] <= end][:3]
            )
        if path.endswith("/exchangeInfo"):
            limits = {"rateLimits": [], "exchangeFilters": [], "timezone": "UTC"}
            return Reply(body={**limits, "serverTime": 0, "symbols": symbols})
        if query.get("symbol") not in {each["symbol"] for each in symbols}:
            return Reply(400, {"code": -1121, "msg": "Invalid symbol."})
        begin, end = int(query["startTime"]), int(query.get("endTime", 1 << 62))
        rows = [row for row in klines.get(query["interval"], []) if begin <= row[0] <= end]
        return Reply(body=rows[: int(query.get("limit", 500))])

    return Provider(answer, lambda path: path.endswith(("/klines", "/fundingRate")))


# Alpaca

KEY, SECRET = "PKLOOPBACK", "never-print-this"


def alpaca(
    bars: dict[str, list[dict[str, Any]]],
    page_rows: int = 3,
    actions: list[dict[str, list[dict[str, Any]]]] | None = None,
) -> Provider:
    """`bars` by symbol, in pages of `page_rows` whatever the limit (as the docs allow).

    `actions` are the pages of corporate actions.
    """

    def answer(path: str, query: dict[str, str], headers: dict[str, str]) -> Reply:
        if (headers.get("apca-api-key-id"), headers.get("apca-api-secret-key")) != (KEY, SECRET):
            return Reply(403, {"message": "forbidden."})
        if path == "/v1/corporate-actions":
            at = int(query.get("page_token", "0"))
            pages = actions or [{}]
            token = str(at + 1) if at + 1 < len(pages) else None
            return Reply(body={"corporate_actions": pages[at], "next_page_token": token})
        if not path.endswith("/bars"):
            return Reply(404, {"message": "endpoint not found."})
        symbol = query["symbols"]
        if not symbol.replace("/", "").isalnum():
            return Reply(400, {"message": f"invalid symbol: {symbol}"})
        inside = [bar for bar in bars.get(symbol, []) if query["start"] <= bar["t"] <= query["end"]]
        at = int(query.get("page_token", "0"))
        more = at + page_rows < len(inside)
        page = inside[at : at + page_rows]
        token = str(at + page_rows) if more else None
        return Reply(body={"bars": {symbol: page} if page else {}, "next_page_token": token})

    return Provider(answer, lambda path: path.endswith(("/bars", "/corporate-actions")))


# Yahoo

MISSING = {"code": "Not Found", "description": "No data found, symbol may be delisted"}
NO_DATA = "Data doesn't exist for startDate = {period1}, endDate = {period2}"


def yahoo(
    charts: dict[str, list[dict[str, Any]]],
    *,
    zone: str = "America/New_York",
    currency: str = "USD",
    live: dict[str, Any] | None = None,
    periods: list[list[dict[str, int]]] | None = None,
    events: dict[str, dict[str, dict[str, Any]]] | None = None,
) -> Provider:
    """`charts` by symbol: rows of `t` (s), `o`, `h`, `l`, `c`, `v`, `a` (adjusted close).

    `live` is appended to every answer, as Yahoo does with the price of the moment. `events` are
    those of every symbol: `dividends`, `splits`, `capitalGains`, each by its time.
    """

    def answer(path: str, query: dict[str, str], _headers: dict[str, str]) -> Reply:
        if "getcrumb" in path:
            return Reply(body=b"a.crumb")
        if "/v8/finance/chart/" not in path:
            return Reply(body=b"<html></html>")
        symbol = path.rpartition("/")[2]
        if symbol not in charts:
            return Reply(404, {"chart": {"result": None, "error": MISSING}})
        begin, end = int(query["period1"]), int(query["period2"])
        rows = [row for row in charts[symbol] if begin <= row["t"] < end]
        if not rows:
            error = {"code": "Bad Request", "description": NO_DATA.format_map(query)}
            return Reply(400, {"chart": {"result": None, "error": error}})
        rows = [*rows, live] if live else rows
        names = {"open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"}
        result = {
            "meta": {
                "currency": currency, "symbol": symbol, "instrumentType": "EQUITY",
                "exchangeTimezoneName": zone, "tradingPeriods": periods,
            },
            "timestamp": [row["t"] for row in rows],
            "indicators": {
                "quote": [{name: [row[key] for row in rows] for name, key in names.items()}],
                "adjclose": [{"adjclose": [row.get("a") for row in rows]}],
            },
            **({"events": events} if events else {}),
        }  # fmt: skip
        return Reply(body={"chart": {"result": [result], "error": None}})

    return Provider(answer, lambda path: "/v8/finance/chart/" in path)
