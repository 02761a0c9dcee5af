"""Alpaca's stream of reports, through alpaca-py, kept up.

alpaca-py's own loop goes on behind wrong keys, behind messages that it can't read and behind errors
of its handlers, so it is not used: its connection, login, subscription and reading are, one
connection at a time, and each end of one is told.
"""

from __future__ import annotations

import asyncio
import json
import logging
import warnings
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from onetape.execution.alpaca.access import AlpacaAccess
from onetape.marketdata.feeds.backoff import Backoff
from onetape.marketdata.sources.extras import needs_extra

logging.getLogger("alpaca").addHandler(logging.NullHandler())

KEYS_REFUSED = "Alpaca refuses the keys: they are wrong, revoked, or of the other endpoint"


class _Connection(Protocol):
    """One connection at a time."""

    async def listen(self) -> None:
        """Until it ends; raises what ended it."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


class KeysRefused(Exception):
    """The login was refused."""


class ReportStream:
    """Connects, logs in, listens, and does so again when the connection ends.

    Args:
        access: Where, and with which keys.
        on_update: Takes a message of `trade_updates`; waits while the reader is behind.
        on_change: Takes whether reports are heard from now on, and why.
    """

    def __init__(
        self,
        access: AlpacaAccess,
        on_update: Callable[[dict[str, Any]], Awaitable[None]],
        on_change: Callable[[bool, str], Awaitable[None]],
    ) -> None:
        self._access = access
        self._on_change = on_change
        self._waits = Backoff(access.first_wait_s, access.longest_wait_s, access.seed)
        self._is_up = False
        self._is_closing = False
        self._reason = ""
        self._connection = _build_connection(access, on_update, self._hear_up)

    async def run(self) -> None:
        """Until canceled, behind `close`.

        Raises:
            KeysRefused: The very first login was refused.
        """
        has_been_up = False
        while not self._is_closing:
            try:
                await self._connection.listen()
                reason = "the connection ended"
            except KeysRefused:
                if not (has_been_up or self._is_up):
                    raise
                reason = KEYS_REFUSED
            except TimeoutError:
                reason = "no answer to the login in time"
            except (OSError, ValueError, AttributeError, *_websocket_errors()) as error:
                reason = f"the connection ended: {type(error).__name__} {error}".rstrip()
            finally:
                await self._connection.close()
            if self._is_closing:
                return
            has_been_up = has_been_up or self._is_up
            await self._hear_down(self._reason or reason)
            self._reason = ""
            await asyncio.sleep(self._waits.next_wait())

    async def close(self) -> None:
        """The connection ends, and none follows.

        alpaca-py waits for messages by `asyncio.wait_for`, which in Python 3.11 loses a cancel that
        comes together with a message; so what waits is ended, and not only canceled.
        """
        self._is_closing = True
        await self._connection.close()

    async def drop(self, reason: str) -> None:
        """End this connection, because what came over it can't be trusted; the next one follows."""
        self._reason = reason
        await self._connection.close()

    async def _hear_up(self) -> None:
        self._is_up = True
        self._waits.reset()
        await self._on_change(True, "logged in, reports are heard")

    async def _hear_down(self, reason: str) -> None:
        self._is_up = False
        await self._on_change(False, reason)


def _websocket_errors() -> tuple[type[Exception], ...]:
    from websockets.exceptions import WebSocketException

    return (WebSocketException,)


def _build_connection(
    access: AlpacaAccess,
    on_update: Callable[[dict[str, Any]], Awaitable[None]],
    on_up: Callable[[], Awaitable[None]],
) -> _Connection:
    with needs_extra("alpaca", "alpaca"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of websockets' older client
        from alpaca.trading.stream import TradingStream

    class Connection(TradingStream):
        """alpaca-py's stream, of which one connection is made at a time."""

        def __init__(self) -> None:
            super().__init__(
                access.key.get_secret_value(),
                access.secret.get_secret_value(),
                raw_data=True,
                url_override=access.stream_address,
                websocket_params={
                    "ping_interval": access.heartbeat_s,
                    "ping_timeout": access.heartbeat_s,
                    "open_timeout": access.answer_s,
                    "close_timeout": 1.0,
                    "max_queue": 1024,
                },
            )

            async def take(message: dict[str, Any]) -> None:
                await on_update(message["data"])

            self.subscribe_trade_updates(take)

        async def listen(self) -> None:
            async with asyncio.timeout(access.answer_s):
                await self._connect()
                try:
                    await self._auth()
                except ValueError as error:
                    if isinstance(error, json.JSONDecodeError):
                        raise
                    raise KeysRefused from None
                await self._subscribe_trade_updates()
            await self._consume()

        async def _dispatch(self, msg: dict[str, Any]) -> None:
            if msg.get("stream") == "listening":
                if "trade_updates" not in msg["data"]["streams"]:
                    raise ValueError("Alpaca does not give trade_updates")
                await on_up()
            await super()._dispatch(msg)

    return Connection()
