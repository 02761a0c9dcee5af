"""What Binance tells an account by itself: a subscription over the websocket API, kept up.

Source: Binance Spot WebSocket API, "User Data Stream requests",
`userDataStream.subscribe.signature` (listen keys of spot ended on 2026-02-20): each event comes
with the `subscriptionId` of the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from onetape.domain.errors import ConfigError
from onetape.marketdata.feeds.binance_client import (
    Backoff,
    BinanceClient,
    BinanceRefusal,
    BinanceSocket,
    NoAnswer,
    SocketGone,
)

_ENDED = ("eventStreamTerminated", "serverShutdown")
_REQUEST = "subscribe"

OnEvent = Callable[[dict[str, Any]], Awaitable[None]]
OnChange = Callable[[bool, str], Awaitable[None]]


class UserStream:
    """One subscription; reconnects until it is closed.

    Args:
        client: Of the account.
        on_event: Takes an event.
        on_change: Is told when the stream is gone (False) and there again (True), and why.
    """

    def __init__(self, client: BinanceClient, on_event: OnEvent, on_change: OnChange) -> None:
        self._client = client
        self._on_event = on_event
        self._on_change = on_change
        self._socket: BinanceSocket | None = None
        self._subscription = -1
        self._task: asyncio.Task[None] | None = None

    @property
    def is_up(self) -> bool:
        """Whether events would be heard."""
        return self._socket is not None

    async def open(self) -> None:
        """Subscribe, and listen from now on.

        Raises:
            ConfigError: The keys are refused.
            SocketGone: It can't be reached.
            BinanceRefusal: It refuses for another reason.
        """
        try:
            socket = await self._subscribe()
        except BinanceRefusal as refusal:
            if refusal.is_access:
                raise ConfigError(
                    f"binance refuses the keys for account events: {refusal}",
                    remedy="check the key, its secret, its rights and its addresses",
                ) from None
            raise
        self._task = asyncio.create_task(self._keep_up(socket))

    async def _subscribe(self) -> BinanceSocket:
        client = self._client
        socket = await asyncio.wait_for(client.connect("ws-api"), client.settings.timeout_s)
        try:
            answer = await self._request(socket)
            if _code(answer) == -1021:
                await client.set_clock()
                answer = await self._request(socket)
            if answer.get("status") != 200:
                error = answer.get("error") or {}
                status = int(answer.get("status", 0))
                raise BinanceRefusal(status, _code(answer), str(error.get("msg", answer)), 0.0)
            self._subscription = int(answer["result"]["subscriptionId"])
        except BaseException:
            await socket.close()
            raise
        self._socket = socket
        return socket

    async def _request(self, socket: BinanceSocket) -> dict[str, Any]:
        await self._client.budget.spend(2)
        params = self._client.sign({})
        await socket.send(
            {"id": _REQUEST, "method": "userDataStream.subscribe.signature", "params": params}
        )
        async with asyncio.timeout(self._client.settings.timeout_s):
            while True:
                _, message = await socket.receive()
                if isinstance(message, dict) and message.get("id") == _REQUEST:
                    return message

    async def _keep_up(self, socket: BinanceSocket) -> None:
        backoff = Backoff(self._client.settings)
        while True:
            try:
                await self._read(socket)
            except SocketGone as gone:
                self._socket = None
                await socket.close()
                await self._on_change(False, str(gone))
            last = ""
            while self._socket is None:
                await backoff.wait()
                try:
                    socket = await self._subscribe()
                except (SocketGone, NoAnswer, BinanceRefusal, TimeoutError) as error:
                    if isinstance(error, BinanceRefusal) and str(error) != last:
                        last = str(error)
                        await self._on_change(False, f"binance refuses account events: {last}")
            backoff.reset()
            await self._on_change(True, "connected again")

    async def _read(self, socket: BinanceSocket) -> None:
        while True:
            _, message = await socket.receive()
            event = message.get("event") if isinstance(message, dict) else None
            if not isinstance(event, dict):
                continue
            if event.get("e") in _ENDED:
                raise SocketGone(f"the venue ended the stream ({event['e']})")
            if message.get("subscriptionId") == self._subscription:
                await self._on_event(event)

    def distrust(self, reason: str) -> None:
        """The keys were refused elsewhere: see whether they still hold here."""
        if self._socket is not None:
            self._socket.end(reason)

    async def close(self) -> None:
        """Stop listening."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
            self._socket = None


def _code(answer: dict[str, Any]) -> int:
    return int((answer.get("error") or {}).get("code", 0))
