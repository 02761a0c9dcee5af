"""Requests to a local Binance: parameters, signatures, clock, limits, and errors.

Source: Binance Spot REST API, "Request Security", "Timing security", "Limits", "Error codes".
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

_AHEAD_MS = 1000
_WINDOW_MS = 5000
_WEIGHT_MAX = 6000
_ORDERS_MAX = 100


class ApiError(Exception):
    """An error of Binance's: HTTP status, code, message."""

    def __init__(self, status: int, code: int, message: str, *,
                 headers: dict[str, str] | None = None, data: Any = None) -> None:  # fmt: skip
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"code": code, "msg": message}
        if data is not None:
            self.body["data"] = data
        self.headers = headers or {}


class Params(dict[str, str]):
    """Parameters of a request, as texts."""

    def text(self, name: str, usual: str | None = None) -> str:
        """A parameter; raises `ApiError` where it is missing and has no usual value."""
        value = self.get(name, usual)
        if value is None or value == "":
            raise ApiError(400, -1102, f"Mandatory parameter '{name}' was not sent, was "
                                       "empty/null, or malformed.")  # fmt: skip
        return value

    def number(self, name: str) -> Decimal:
        """A decimal, 0 where it is missing; raises `ApiError`."""
        try:
            value = Decimal(self.get(name, "0"))
        except InvalidOperation:
            value = Decimal(-1)
        if not value.is_finite() or value < 0:
            raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'.")
        return value

    def symbol(self, known: Iterable[str]) -> str:
        """The symbol; raises `ApiError` for an unknown one."""
        if self.text("symbol") not in known:
            raise ApiError(400, -1121, "Invalid symbol.")
        return self["symbol"]

    def symbols(self, known: Iterable[str]) -> list[str]:
        """The symbols of `symbol` or `symbols`, else all; raises `ApiError` for an unknown one."""
        if "symbol" in self:
            return [self.symbol(known)]
        asked = json.loads(self["symbols"]) if "symbols" in self else list(known)
        if not set(asked) <= set(known):
            raise ApiError(400, -1121, "Invalid symbol.")
        return asked


async def read_params(request: web.Request) -> tuple[Params, str]:
    """(parameters of query and body, the text that is signed)."""
    query, body = request.rel_url.raw_query_string, await request.text()
    params = Params(parse_qsl(query, keep_blank_values=True))
    params.update(parse_qsl(body, keep_blank_values=True))
    signed = [
        "&".join(each for each in text.split("&") if not each.startswith("signature="))
        for text in (query, body)
    ]
    return params, "".join(signed)


class Guard:
    """Who may ask, how often, and by which clock.

    Args:
        keys: (secret or Ed25519 public key, account) by API key.
        now_ms: The server's clock.
    """

    def __init__(self, keys: Mapping[str, tuple[str, str]], now_ms: Callable[[], int]) -> None:
        self._keys = dict(keys)
        self._now_ms = now_ms
        self._minute = (0, 0)
        self._ten_s: tuple[int, int] = (0, 0)

    def revoke(self, key: str) -> str:
        """Forget a key; returns whose it was."""
        return self._keys.pop(key)[1]

    def check(self, params: Mapping[str, str], key: str, payload: str) -> str:
        """The account of a signed request; raises `ApiError`."""
        if not key:
            raise ApiError(401, -2014, "API-key format invalid.")
        if key not in self._keys:
            raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")
        secret, account = self._keys[key]
        if not _is_signed(secret, payload, params.get("signature", "")):
            raise ApiError(400, -1022, "Signature for this request is not valid.")
        self._check_time(params)
        return account

    def check_socket(self, params: Mapping[str, Any]) -> str:
        """The same of a request by websocket, whose parameters are signed in order of name."""
        texts = {name: str(value) for name, value in params.items()}
        payload = "&".join(f"{name}={texts[name]}" for name in sorted(texts) if name != "signature")
        return self.check(texts, texts.get("apiKey", ""), payload)

    def _check_time(self, params: Mapping[str, str]) -> None:
        try:
            ms = int(params.get("timestamp", ""))
            window = float(params.get("recvWindow", _WINDOW_MS))
        except ValueError:
            raise ApiError(400, -1102, "Mandatory parameter 'timestamp' was not sent.") from None
        now = self._now_ms()
        if ms >= now + _AHEAD_MS:
            message = "Timestamp for this request was 1000ms ahead of the server's time."
            raise ApiError(400, -1021, message)
        if now - ms > window:
            message = "Timestamp for this request is outside of the recvWindow."
            raise ApiError(400, -1021, message)

    def spend(self, weight: int, *, orders: bool = False) -> dict[str, str]:
        """Count a request; the headers of its answer. Raises `ApiError` above the limit."""
        now = self._now_ms()
        minute, ten_s = now // 60_000, now // 10_000
        used = (self._minute[1] if self._minute[0] == minute else 0) + weight
        sent = (self._ten_s[1] if self._ten_s[0] == ten_s else 0) + (1 if orders else 0)
        self._minute, self._ten_s = (minute, used), (ten_s, sent)
        headers = {"X-MBX-USED-WEIGHT": str(used), "X-MBX-USED-WEIGHT-1M": str(used)}
        if orders:
            headers["X-MBX-ORDER-COUNT-10S"] = str(sent)
        if used > _WEIGHT_MAX:
            wait = {"Retry-After": str(60 - now // 1000 % 60)}
            raise ApiError(429, -1003, "Too much request weight used.", headers=headers | wait)
        if sent > _ORDERS_MAX:
            wait = {"Retry-After": str(10 - now // 1000 % 10)}
            raise ApiError(429, -1015, "Too many new orders.", headers=headers | wait)
        return headers


def _is_signed(secret: str, payload: str, signature: str) -> bool:
    if not secret.startswith("-----BEGIN PUBLIC KEY"):
        wanted = hmac.new(secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(wanted, signature)
    import base64
    import binascii

    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(secret.encode())
    if not isinstance(key, Ed25519PublicKey):
        return False
    try:
        key.verify(base64.b64decode(signature), payload.encode())
    except (InvalidSignature, binascii.Error):
        return False
    return True
