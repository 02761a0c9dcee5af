"""One connection to Alpaca's market data, through alpaca-py's stream classes.

Their own loop swallows errors, goes on behind wrong keys, and ends without a word where the
subscription does not cover the feed, so it is not used: their connection, login, subscription and
reading are, and every end is told. Times stay nanoseconds: they come as the wire has them.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from pydantic import SecretStr

from onetape.domain.errors import ConfigError
from onetape.marketdata.sources.extras import needs_extra

if TYPE_CHECKING:
    from alpaca.data.live.websocket import DataStream

logging.getLogger("alpaca").addHandler(logging.NullHandler())

KEYS_REFUSED = "Alpaca refuses the keys: they are wrong or revoked"
_KEY_WORDS = ("auth failed", "not authenticated", "failed to authenticate")
_PLAN_WORDS = ("insufficient subscription", "v2 not enabled")
FEEDS = ("iex", "sip")
CHANNELS = ("bars", "updatedBars", "trades", "quotes")

OnMessage = Callable[[dict[str, Any]], Awaitable[None]]


class AlpacaDataAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How Alpaca's market data is reached. The keys print as stars.

    Attributes:
        key: Of the API.
        secret: Of the API.
        feed: Of equities: `iex`, or `sip` with a paid subscription.
        base_url: Of history; Alpaca's unless told. A local venue's is `http://127.0.0.1:8000`.
        assets_url: Of the trading API, which describes instruments; the paper endpoint unless told.
        stream_url: Of the stream of equities; Alpaca's for the feed unless told.
        pair_stream_url: Of the stream of pairs.
        session_only: Leaves out bars outside of the instrument's sessions, as most history does.
        silence_s: So long without a message while a market is open means that the feed is down.
        answer_s: Without an answer for so long there is none.
        heartbeat_s: Between two pings; one without an answer for as long ends the connection.
        first_wait_s: Before the first attempt to connect again.
        longest_wait_s: Before any attempt.
        attempts: How often history is asked for.
        per_minute: Requests for history; the basic plan allows 200.
        seed: Of the waits' part that is left to chance.
    """

    key: SecretStr
    secret: SecretStr
    feed: str = "iex"
    base_url: str = ""
    assets_url: str = ""
    stream_url: str = ""
    pair_stream_url: str = ""
    session_only: bool = True
    silence_s: float = 150.0
    answer_s: float = 10.0
    heartbeat_s: float = 10.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    attempts: int = 4
    per_minute: float = 200.0
    seed: int = 0


class KeysRefused(Exception):
    """The login was refused."""


class FeedRefused(Exception):
    """Alpaca has said why it does not serve: its code and words."""


class Connection(Protocol):
    """One connection at a time."""

    async def listen(self) -> None:
        """Until it ends; raises what ended it."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


def connection_errors() -> tuple[type[Exception], ...]:
    """What an ending connection raises, beside what this file defines."""
    import msgpack
    from websockets.exceptions import WebSocketException

    return (
        OSError, TimeoutError, ValueError, AttributeError, KeyError, IndexError, TypeError,
        msgpack.UnpackException, WebSocketException,
    )  # fmt: skip


def open_connection(
    access: AlpacaDataAccess,
    channels: Sequence[str],
    symbols: Sequence[str],
    on_message: OnMessage,
    on_subscribed: Callable[[], Awaitable[None]],
    *,
    is_pairs: bool,
) -> Connection:
    """A connection that is not made yet.

    Args:
        access: Where, and with which keys.
        channels: Some of `CHANNELS`.
        symbols: Alpaca's names.
        on_message: Takes a message; waits while the reader is behind.
        on_subscribed: Told when the subscription stands, before any message behind it.
        is_pairs: Of crypto pairs instead of equities.

    Raises:
        ConfigError: alpaca-py is not installed.
    """
    with needs_extra("alpaca", "alpaca"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of websockets' older client
        from alpaca.data.enums import DataFeed
        from alpaca.data.live.crypto import CryptoDataStream
        from alpaca.data.live.stock import StockDataStream
    settings: dict[str, Any] = {
        "raw_data": True,
        "websocket_params": {
            "ping_interval": access.heartbeat_s,
            "ping_timeout": access.heartbeat_s,
            "open_timeout": access.answer_s,
            "close_timeout": 1.0,
            "max_queue": 1024,
        },
    }
    key, secret = access.key.get_secret_value(), access.secret.get_secret_value()
    if is_pairs:
        return _drive(CryptoDataStream, access, channels, symbols, on_message, on_subscribed)(
            key, secret, url_override=access.pair_stream_url or None, **settings
        )
    return _drive(StockDataStream, access, channels, symbols, on_message, on_subscribed)(
        key, secret, feed=DataFeed(access.feed), url_override=access.stream_url or None, **settings
    )


def _drive(
    kind: type[DataStream],
    access: AlpacaDataAccess,
    channels: Sequence[str],
    symbols: Sequence[str],
    on_message: OnMessage,
    on_subscribed: Callable[[], Awaitable[None]],
) -> type[Any]:
    """alpaca-py's class, of which one connection is made at a time."""

    class Driven(kind):
        """Says what it hears, and why it ends."""

        def __init__(self, *args: Any, **settings: Any) -> None:
            super().__init__(*args, **settings)

            async def take(message: dict[str, Any]) -> None:
                await on_message(message)

            for channel in channels:
                self._handlers[channel].update(dict.fromkeys(symbols, take))

        async def listen(self) -> None:
            async with asyncio.timeout(access.answer_s):
                await self._connect()
                try:
                    await self._auth()
                except ValueError as error:
                    raise _sort(str(error)) from None
                await self._send_subscribe_msg()
            await self._consume()

        async def _dispatch(self, msg: dict[str, Any]) -> None:
            if msg.get("T") == "error":
                raise _sort(f"{msg.get('msg')} ({msg.get('code')})")
            if msg.get("T") == "subscription":
                missing = [each for each in symbols if each not in msg.get(channels[0], [])]
                if missing:
                    raise FeedRefused(f"no subscription of {', '.join(missing)}")
                await on_subscribed()
            await super()._dispatch(msg)

    return Driven


def _sort(words: str) -> Exception:
    if any(each in words for each in _KEY_WORDS):
        return KeysRefused(words)
    if any(each in words for each in _PLAN_WORDS):
        return ConfigError(
            f"Alpaca does not serve this feed with these keys: {words}",
            remedy="use feed iex, or a subscription that has it",
        )
    return FeedRefused(words)
