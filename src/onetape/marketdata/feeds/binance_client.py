"""Binance spot over the wire: signed REST requests and sockets, by ccxt, read by us.

ccxt signs, keeps sockets alive and answers pings; its requests are sent as they are and its
interpretation (floats, caches, merged updates, retries) is left aside, so that every decimal stays
the text that came and every message is seen once.

Source: Binance Spot API, "General API Information", "Timing security", "Error codes".
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.timestamps import NS_PER_MS, NS_PER_SECOND
from onetape.marketdata.feeds.binance_budget import RequestBudget
from onetape.marketdata.sources.extras import needs_extra

if TYPE_CHECKING:
    from pydantic import SecretStr

_TRIES_MAX = 4
_CLOCK_ASKED = 3
_WAITING_MAX = 200_000
_LIMITS = (-1003, -1008, -1015)
_CLOCK = (-1021,)
_ACCESS = (-1002, -1022, -2014, -2015)
_UNKNOWN = (-1000, -1001, -1006, -1007)
_INVALID_SYMBOL = -1121


class BinanceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to reach Binance.

    Attributes:
        endpoint: `live`, `testnet` or `demo`.
        base_url: A server that stands in for it, such as `http://127.0.0.1:8080`; empty: Binance's.
        key: API key; None for market data only.
        secret: Its secret, or the PEM of an Ed25519 or RSA key.
        recv_window_ms: How long the venue may take a signed request after it was signed.
        timeout_s: How long an answer is waited for.
        ban_wait_s: The longest rate limit that is waited for; a longer one is an error.
        silent_s: A socket without a sign of life for so long is given up.
        backoff_s: The first pause before another try; it doubles up to `backoff_max_s`.
        backoff_max_s: The longest pause.
        clock_skew_max_s: How far the venue's clock may be from ours.
    """

    endpoint: str = "live"
    base_url: str = ""
    key: SecretStr | None = None
    secret: SecretStr | None = None
    recv_window_ms: int = 5000
    timeout_s: float = 10.0
    ban_wait_s: float = 120.0
    silent_s: float = 20.0
    backoff_s: float = 0.5
    backoff_max_s: float = 30.0
    clock_skew_max_s: float = 60.0


class BinanceRefusal(Exception):
    """Binance answered with an error; what it means for the request is said by the properties."""

    def __init__(
        self, status: int, code: int, message: str, retry_after_s: float, data: Any = None
    ) -> None:
        super().__init__(f"{message} ({code})" if code else f"{message} (HTTP {status})")
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.data = data

    @property
    def is_limit(self) -> bool:
        """We ask too much: it was not done, and may be asked again later."""
        return self.status in (418, 429) or self.code in _LIMITS

    @property
    def is_clock(self) -> bool:
        """The time that we signed is not the venue's: it was not done."""
        return self.code in _CLOCK

    @property
    def is_access(self) -> bool:
        """The keys are wrong, or lack a right."""
        return self.code in _ACCESS or self.status == 401

    @property
    def is_symbol(self) -> bool:
        """No such symbol."""
        return self.code == _INVALID_SYMBOL

    @property
    def is_unclear(self) -> bool:
        """Whether it was done is not known."""
        return not self.is_limit and (self.status >= 500 or self.code in _UNKNOWN)


class NoAnswer(Exception):
    """A request left (or could not), and no answer came that can be read."""


class SocketGone(Exception):
    """A socket was closed, or gave no sign of life."""


class Backoff:
    """Pauses before trying again: doubled each time, each anywhere in its upper half."""

    def __init__(self, settings: BinanceSettings) -> None:
        self._settings = settings
        self._next_s = settings.backoff_s
        self._chance = random.Random()

    async def wait(self) -> None:
        """Pause."""
        pause_s = self._next_s * self._chance.uniform(0.5, 1.0)
        self._next_s = min(self._settings.backoff_max_s, self._next_s * 2)
        await asyncio.sleep(pause_s)

    def reset(self) -> None:
        """It went well: begin anew."""
        self._next_s = self._settings.backoff_s


class BinanceSocket:
    """A websocket: messages in their order, and `SocketGone` behind the last."""

    def __init__(self, wire: Any, clock: Callable[[], int]) -> None:
        self._wire = wire
        self._clock = clock
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._gone = ""

    def put(self, message: Any) -> None:
        """A message has come."""
        if self._messages.qsize() >= _WAITING_MAX:
            self.end(f"{_WAITING_MAX} messages wait to be read")
        if not self._gone:
            self._messages.put_nowait((self._clock(), message))

    def end(self, reason: str) -> None:
        """Nothing more comes."""
        if not self._gone:
            self._gone = reason or "the connection is lost"
            if not self.opened.done():
                self.opened.set_exception(SocketGone(self._gone))
                self.opened.exception()
            self._messages.put_nowait(None)

    async def receive(self) -> tuple[int, Any]:
        """(when it came, by the clock given; the message).

        Raises:
            SocketGone: There is none any more.
        """
        item = await self._messages.get()
        if item is None:
            self._messages.put_nowait(None)
            raise SocketGone(self._gone)
        return item

    async def send(self, message: Any) -> None:
        """Send an object as JSON; raises `SocketGone`."""
        try:
            await self._wire.send(message)
        except (ConnectionError, RuntimeError) as error:
            raise SocketGone(str(error)) from None

    async def close(self) -> None:
        """Close it."""
        self.end("closed by us")
        await self._wire.close()


class BinanceClient:
    """One account, or nobody's, at one address of Binance.

    Args:
        settings: How to reach it.
        clock: What tells when something came (ns UTC).
        machine: The machine's clock (ns UTC), by which requests are signed.
    """

    def __init__(
        self,
        settings: BinanceSettings,
        clock: Callable[[], int] = time.time_ns,
        machine: Callable[[], int] = time.time_ns,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.machine = machine
        self.offset_ns = 0
        self._sockets: dict[Any, BinanceSocket] = {}
        self._exchange = _open_exchange(settings, self)
        self.budget = RequestBudget(lambda: self.now_ns() / NS_PER_SECOND, asyncio.sleep)

    def now_ns(self) -> int:
        """The venue's clock as far as we know it, ns UTC."""
        return self.machine() + self.offset_ns

    async def ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        *,
        signed: bool = False,
        weight: int = 1,
        orders: int = 0,
    ) -> Any:
        """One request, and the JSON of its answer.

        What the venue certainly did not do because of its limits or the clock is asked again; so is
        a GET that was not answered. Anything else is not: it could be done twice.

        Raises:
            BinanceRefusal: It answered with an error.
            NoAnswer: It did not answer.
        """
        backoff = Backoff(self.settings)
        tries, has_set_clock = 0, False
        waited_until_s = time.monotonic() + self.settings.ban_wait_s
        while True:
            await self.budget.spend(weight, orders)
            tries += 1
            try:
                return await self._ask_once(method, path, params or {}, signed=signed)
            except BinanceRefusal as refusal:
                if refusal.is_limit:
                    pause_s = refusal.retry_after_s or 1.0
                    self.budget.hold(pause_s)
                    if time.monotonic() + pause_s > waited_until_s:
                        raise
                elif refusal.is_clock and not has_set_clock:
                    has_set_clock = True
                    await self.set_clock()
                elif method != "GET" or not refusal.is_unclear or tries >= _TRIES_MAX:
                    raise
                else:
                    await backoff.wait()
            except NoAnswer:
                if method != "GET" or tries >= _TRIES_MAX:
                    raise
                await backoff.wait()

    async def _ask_once(
        self, method: str, path: str, params: Mapping[str, Any], *, signed: bool
    ) -> Any:
        import ccxt

        api = ["private" if signed else "public"]
        try:
            answer = await self._exchange.request(path, api, method, dict(params))
        except ccxt.AuthenticationError as error:  # before anything left
            raise ConfigError(f"binance: {error}", remedy="give a key and its secret") from None
        except (ccxt.BaseError, OSError) as error:
            raise NoAnswer(_short(error)) from None
        if not isinstance(answer, dict | list):
            raise NoAnswer(f"an answer that can't be read: {_short(answer)}")
        return answer

    async def set_clock(self) -> None:
        """Ask for the venue's clock; the answer that came fastest counts.

        Raises:
            NoAnswer: It can't be reached.
            BinanceRefusal: It refuses.
        """
        best_ns: int | None = None
        for _ in range(_CLOCK_ASKED):
            await self.budget.spend(1)
            begin = self.machine()
            answer = await self._ask_once("GET", "time", {}, signed=False)
            end = self.machine()
            if best_ns is None or end - begin < best_ns:
                best_ns = end - begin
                # The venue cuts its time down to a whole ms.
                venue_ns = int(answer["serverTime"]) * NS_PER_MS + NS_PER_MS // 2
                self.offset_ns = venue_ns - (begin + end) // 2

    async def connect(self, kind: str, path: str = "") -> BinanceSocket:
        """A socket to `stream` (market data) or `ws-api` (requests and user data).

        Raises:
            SocketGone: It can't be opened.
        """
        exchange = self._exchange
        urls = exchange.urls["api"]["ws"]
        url = urls["ws-api"]["spot"] if kind == "ws-api" else urls["spot"]
        if kind == "stream":
            url = url.removesuffix("/ws") + "/stream" + path
        exchange.open()
        wire = exchange.client(url)
        socket = BinanceSocket(wire, self.clock)
        self._sockets[wire] = socket
        wire.connect(exchange.session)
        try:
            await socket.opened
        except BaseException:
            self._sockets.pop(wire, None)
            raise
        return socket

    def sign(self, params: dict[str, Any]) -> dict[str, Any]:
        """Parameters of a websocket request with key, time and signature."""
        window = {"recvWindow": self.settings.recv_window_ms}
        return cast(dict[str, Any], self._exchange.sign_params({**window, **params}))

    async def close(self) -> None:
        """Close every connection."""
        for socket in self._sockets.values():
            socket.end("closed by us")
        self._sockets.clear()
        await self._exchange.close()

    def find_socket(self, wire: Any) -> BinanceSocket | None:
        """The socket of a connection of ccxt's."""
        return self._sockets.get(wire)

    def lose_socket(self, wire: Any, reason: str) -> None:
        """A connection of ccxt's is gone."""
        socket = self._sockets.pop(wire, None)
        if socket is not None:
            socket.end(reason)


def _open_exchange(settings: BinanceSettings, owner: BinanceClient) -> Any:
    with needs_extra("crypto", "binance"):
        import ccxt.pro
    exchange = _make_class(ccxt.pro.binance, owner)(
        {
            "enableRateLimit": False,  # the budget paces
            "quoteJsonNumbers": False,
            "timeout": int(settings.timeout_s * 1000),
            "timeout_on_exit": 0,
            "apiKey": settings.key.get_secret_value() if settings.key else "",
            "secret": settings.secret.get_secret_value().strip() if settings.secret else "",
            "streaming": {"keepAlive": int(settings.silent_s * 500), "maxPingPongMisses": 2.0},
            "options": {"recvWindow": settings.recv_window_ms, "timeDifference": 0},
        }
    )
    match settings.endpoint:
        case "live":
            pass
        case "testnet":
            exchange.set_sandbox_mode(True)
        case "demo":
            exchange.enable_demo_trading(True)
        case other:
            raise ConfigError(f"binance has no endpoint {other!r}",
                              remedy="choose live, testnet or demo")  # fmt: skip
    if settings.base_url:
        _move(exchange.urls["api"], settings.base_url.rstrip("/"))
    return exchange


def _move(urls: dict[str, Any], base_url: str) -> None:
    """The same paths at another host."""
    socket_url = base_url.replace("http", "ws", 1)
    urls["public"] = urls["private"] = f"{base_url}/api/v3"
    urls["ws"]["spot"] = f"{socket_url}/ws"
    urls["ws"]["ws-api"]["spot"] = f"{socket_url}/ws-api/v3"


def _make_class(client: type[Any], owner: BinanceClient) -> type[Any]:
    """A client of ccxt, whose answers, errors and messages come to `owner` as they are."""

    class Wire(client):
        def nonce(self) -> int:
            return owner.now_ns() // NS_PER_MS

        def milliseconds(self) -> int:
            return owner.machine() // NS_PER_MS

        def on_rest_response(self, code: int, reason: str, url: str, method: str,
                             headers: Any, body: str, *rest: Any) -> str:  # fmt: skip
            owner.budget.learn(headers)
            return body

        def handle_errors(self, code: int, reason: str, url: str, method: str, headers: Any,
                          body: str, response: Any, *rest: Any) -> None:  # fmt: skip
            if code >= 400:
                raise _read_refusal(code, reason, headers, body, response)

        def handle_message(self, wire: Any, message: Any) -> None:
            socket = owner.find_socket(wire)
            if socket is not None:
                socket.put(message)

        def on_connected(self, wire: Any, message: Any = None) -> None:
            super().on_connected(wire, message)
            socket = owner.find_socket(wire)
            if socket is not None and not socket.opened.done():
                socket.opened.set_result(None)

        def on_error(self, wire: Any, error: Any) -> None:
            super().on_error(wire, error)
            owner.lose_socket(wire, _short(error))

        def on_close(self, wire: Any, code: Any) -> None:
            super().on_close(wire, code)
            owner.lose_socket(wire, f"closed by the venue ({code})")

    return Wire


def _read_refusal(
    status: int, reason: str, headers: Mapping[str, str], body: str, response: Any
) -> BinanceRefusal:
    found = response if isinstance(response, dict) else {}
    retry_after = {name.lower(): value for name, value in headers.items()}.get("retry-after", "")
    try:
        wait_s, code = float(retry_after or 0), int(found.get("code", 0))
    except ValueError:
        wait_s, code = 0.0, 0
    message = str(found.get("msg") or f"{reason} {_short(body)}".strip())
    return BinanceRefusal(status, code, message, wait_s, found.get("data"))


def _short(what: object) -> str:
    text = " ".join(str(what).split()) or type(what).__name__
    return text if len(text) <= 300 else f"{text[:300]}..."
