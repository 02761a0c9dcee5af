"""Requests to Alpaca through alpaca-py's client: paced, repeated where that is safe, sorted."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from onetape.execution.alpaca.access import AlpacaAccess
from onetape.marketdata.feeds.backoff import Backoff
from onetape.marketdata.sources.extras import needs_extra
from onetape.marketdata.sources.requester import TokenBucket, read_retry_after

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient
    from requests import PreparedRequest, Response

T = TypeVar("T")

_THREADS = 8


class Refused(Exception):
    """Alpaca said no, so nothing was done: `status` of HTTP, its own `code`, and its words."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(f"{status} {message}")
        self.status = status
        self.code = code
        self.message = message

    @property
    def is_of_keys(self) -> bool:
        """Whether the keys are wrong, revoked or lack a right."""
        return self.status == 401 or (self.status == 403 and not 40300000 < self.code < 40400000)


class Unanswered(Exception):
    """A request left, or may have; nothing is known of it."""


class _Busy(Exception):
    """Too many requests: not done, to be sent again after `wait_s` (0: it does not say)."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(wait_s)
        self.wait_s = wait_s


class AlpacaRest:
    """Alpaca's trading API.

    alpaca-py's client blocks, so each request runs in one of a few threads, and every thread has a
    client of its own. The client's own repeating is off: it repeats orders too, after fixed waits.
    """

    def __init__(self, access: AlpacaAccess) -> None:
        self._access = access
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="alpaca")
        self._local = threading.local()
        self._bucket: TokenBucket | None = None
        self._open_client = _find_client(access)

    async def ask(
        self,
        method: str,
        path: str,
        fields: dict[str, Any] | None = None,
        *,
        can_repeat: bool,
    ) -> Any:
        """The body of the answer; None where it is empty.

        Args:
            method: `GET`, `POST`, `PATCH` or `DELETE`.
            path: Behind the version.
            fields: Query or body.
            can_repeat: Whether it may be sent again when no answer came. One that was refused for
                its rate is always sent again.

        Raises:
            Refused: Alpaca said no.
            Unanswered: Nothing is known of it.
        """
        access = self._access
        loop = asyncio.get_running_loop()
        waits = Backoff(access.first_wait_s, access.longest_wait_s, access.seed)
        for attempt in range(1, access.attempts + 1):
            await self._pace(loop.time())
            try:
                return await loop.run_in_executor(self._threads, self._send, method, path, fields)
            except _Busy as busy:
                if attempt == access.attempts or busy.wait_s > access.longest_wait_s:
                    raise Refused(429, 0, f"too many requests (asked {attempt} times)") from None
                await asyncio.sleep(busy.wait_s or waits.next_wait())
            except Unanswered:
                if attempt == access.attempts or not can_repeat:
                    raise
                await asyncio.sleep(waits.next_wait())
        raise Unanswered("it was not sent")

    async def get(self, path: str, kind: type[T], fields: dict[str, Any] | None = None) -> T:
        """An answer that changes nothing, as `kind`; see `ask` for the errors."""
        return decode(await self.ask("GET", path, fields, can_repeat=True), kind)

    def close(self) -> None:
        """Requests under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _pace(self, now_s: float) -> None:
        if self._bucket is None:
            self._bucket = TokenBucket(self._access.per_minute, self._access.burst, now_s)
        wait = self._bucket.take(now_s)
        if wait > 0:
            await asyncio.sleep(wait)

    def _send(self, method: str, path: str, fields: dict[str, Any] | None) -> Any:
        import requests
        from alpaca.common.exceptions import APIError

        client: TradingClient | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._open_client()
        try:
            match method:
                case "GET":
                    return client.get(path, fields)
                case "POST":
                    return client.post(path, fields)
                case "PATCH":
                    return client.patch(path, fields)
                case _:
                    return client.delete(path, fields)
        except APIError as error:
            raise _sort(cast("Response", error.response)) from None
        except (requests.RequestException, ValueError) as error:  # also JSON that is cut off
            raise Unanswered(f"no answer: {type(error).__name__}") from None


def decode(answer: Any, kind: type[T]) -> T:
    """The answer as `kind`.

    Raises:
        Unanswered: It is none.
    """
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise Unanswered(f"an answer that can't be read: {error}") from None


def _sort(response: Response) -> Refused | Unanswered | _Busy:
    """What an answer that is no success means."""
    status = response.status_code
    code, message = 0, str(response.reason)
    try:
        body = response.json()
        message = str(body["message"])[:300]
        code = int(body.get("code", 0))
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    if status == 429:
        return _Busy(read_retry_after(response.headers))
    if status == 408 or status >= 500:
        return Unanswered(f"{status} {message}")
    return Refused(status, code, message)


def _find_client(access: AlpacaAccess) -> Callable[[], TradingClient]:
    """What makes a client; raises `ConfigError` where alpaca-py is not installed."""
    with needs_extra("alpaca", "alpaca"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of websockets' older client
        from alpaca.trading.client import TradingClient
        from requests.adapters import HTTPAdapter

    class Patient(HTTPAdapter):
        """Waits for an answer for a while, not for ever as alpaca-py does."""

        def send(self, request: PreparedRequest, *args: Any, **settings: Any) -> Response:
            settings["timeout"] = access.answer_s
            return super().send(request, *args, **settings)

    class Client(TradingClient):
        """Leaves pacing and repeating to us."""

        def __init__(self) -> None:
            super().__init__(
                api_key=access.key.get_secret_value(),
                secret_key=access.secret.get_secret_value(),
                paper=access.is_paper,
                raw_data=True,
                url_override=access.rest_address,
            )
            self._retry = 0
            for scheme in ("https://", "http://"):
                self._session.mount(scheme, Patient())

    return Client
