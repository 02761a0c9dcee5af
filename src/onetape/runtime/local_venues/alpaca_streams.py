"""The two websockets of a local Alpaca: reports of an account, and market data."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

import msgpack
from aiohttp import WSCloseCode, WSMsgType, web

from onetape.domain.timestamps import to_iso
from onetape.runtime.local_venues.faults import FaultKind, FaultSchedule

_AUTH_S = 10.0
_AT_ONCE_S = 0.001
CHANNELS = {"b": "bars", "d": "dailyBars", "u": "updatedBars", "t": "trades", "q": "quotes"}


LogIn = Callable[[str, str], tuple[int, str]]
"""Error code and words of a login with a key and a secret; 0 where it is right."""


class Outbox:
    """Messages of one connection, sent in order, with what goes wrong on the way.

    Args:
        socket: Where they go.
        name: What the faults know it by.
        faults: What goes wrong; None: nothing.
        now: Virtual time, ns UTC.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        name: str,
        faults: FaultSchedule | None,
        now: Callable[[], int],
    ) -> None:
        self._socket = socket
        self._name = name
        self._faults = faults
        self._now = now
        self._queue: asyncio.Queue[bytes | str] = asyncio.Queue()
        self._held: list[bytes | str] = []
        self._is_over = False

    def put(self, message: bytes | str) -> None:
        """Send it, in its turn; it is lost where nothing comes any more."""
        if not self._is_over:
            self._queue.put_nowait(message)

    async def drained(self) -> None:
        """Returns when everything was sent, or lost."""
        await self._queue.join()

    async def run(self) -> None:
        """Until canceled or cut."""
        rest_s = 0.0
        try:
            while rest_s == 0:
                message = await self._queue.get()
                try:
                    rest_s = await self._pass(message)
                finally:
                    self._queue.task_done()
        except (ConnectionError, RuntimeError):  # the client is gone
            return
        finally:
            self._lose_the_rest()
        await asyncio.sleep(rest_s)
        await self._socket.close(code=WSCloseCode.GOING_AWAY)

    def _lose_the_rest(self) -> None:
        self._is_over = True
        while not self._queue.empty():
            self._queue.get_nowait()
            self._queue.task_done()

    async def _pass(self, message: bytes | str) -> float:
        """Sends it, or what a fault makes of it; seconds until the connection closes, 0: never."""
        fault = self._faults.on_message(self._name, self._now()) if self._faults else None
        kind = fault.kind if fault else None
        held, self._held = self._held, []
        match kind:
            case FaultKind.DROP:
                pass
            case FaultKind.DISCONNECT:
                return _AT_ONCE_S
            case FaultKind.HALF_CLOSE if fault:
                return max(fault.value, _AT_ONCE_S)
            case FaultKind.REORDER:
                self._held = [message]
            case FaultKind.DELAY if fault:
                await asyncio.sleep(fault.value)
                await self._send(message)
            case _:
                await self._send(message)
                if kind is FaultKind.DUPLICATE:
                    await self._send(message)
        for each in held:
            await self._send(each)
        return 0.0

    async def _send(self, message: bytes | str) -> None:
        if isinstance(message, bytes):
            await self._socket.send_bytes(message)
        else:
            await self._socket.send_str(message)


class ReportStream:
    """A connection to `/stream`: JSON in binary frames, as the paper endpoint has it."""

    def __init__(self, socket: web.WebSocketResponse, outbox: Outbox) -> None:
        self.socket = socket
        self.outbox = outbox
        self.listens = False

    async def serve(self, is_known: Callable[[str, str], bool]) -> None:
        """Login, then requests, until it closes."""
        is_in = False
        async for message in self.socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            try:
                asked = json.loads(message.data)
                action, data = asked["action"], asked.get("data", asked)
            except (ValueError, KeyError, TypeError, AttributeError):
                await self._say("error", {"error": "invalid syntax"})
                continue
            if action in ("authenticate", "auth"):
                key = str(data.get("key_id", data.get("key", "")))
                secret = str(data.get("secret_key", data.get("secret", "")))
                is_in = is_known(key, secret)
                status = "authorized" if is_in else "unauthorized"
                await self._say("authorization", {"status": status, "action": "authenticate"})
                if not is_in:
                    await self.socket.close()
            elif not is_in:
                status = {"status": "unauthorized", "action": str(action)}
                await self._say("authorization", status)
            elif action == "listen":
                streams = [each for each in data.get("streams", []) if each == "trade_updates"]
                self.listens = bool(streams)
                await self._say("listening", {"streams": streams})

    def tell(self, update: dict[str, Any]) -> None:
        """Send a message of `trade_updates` to whoever listens."""
        if self.listens:
            self.outbox.put(json.dumps({"stream": "trade_updates", "data": update}).encode())

    async def _say(self, stream: str, data: dict[str, Any]) -> None:
        await self.socket.send_bytes(json.dumps({"stream": stream, "data": data}).encode())


class DataStream:
    """A connection to market data: arrays of messages, in MessagePack where the client asks so.

    Args:
        socket: The connection.
        outbox: Of its market data.
        is_packed: Whether it speaks MessagePack.
        has: Whether a symbol is there.
    """

    def __init__(
        self,
        socket: web.WebSocketResponse,
        outbox: Outbox,
        has: Callable[[str], bool],
        *,
        is_packed: bool,
    ) -> None:
        self.socket = socket
        self._is_packed = is_packed
        self._has = has
        self.outbox = outbox
        self.is_in = False
        self._wanted: dict[str, list[str]] = {each: [] for each in CHANNELS.values()}

    async def greet(self) -> None:
        """What comes first."""
        await self._say({"T": "success", "msg": "connected"})

    async def refuse(self, code: int, words: str) -> None:
        """An error."""
        await self._say({"T": "error", "code": code, "msg": words})

    async def serve(self, log_in: LogIn) -> None:
        """Login, then requests, until it closes; `log_in` gives the error, 0 for none."""
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(_AUTH_S, lambda: loop.create_task(self._time_out()))
        try:
            async for message in self.socket:
                if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                    continue
                try:
                    asked = msgpack.unpackb(message.data) if self._is_packed else json.loads(
                        message.data
                    )  # fmt: skip
                    await self._answer(asked, log_in)
                except (ValueError, KeyError, TypeError, AttributeError, msgpack.UnpackException):
                    await self.refuse(400, "invalid syntax")
        finally:
            deadline.cancel()

    def tell(self, kind: str, symbol: str, message: dict[str, Any]) -> None:
        """Send market data to whoever wants it; times are ns UTC under `t`."""
        wanted = self._wanted[CHANNELS[kind]]
        if symbol in wanted or "*" in wanted:
            self.outbox.put(self._pack({"T": kind, "S": symbol, **message}))

    async def _answer(self, asked: dict[str, Any], log_in: LogIn) -> None:
        action = asked["action"]
        if action == "auth":
            if self.is_in:
                await self.refuse(403, "already authenticated")
                return
            code, words = log_in(str(asked["key"]), str(asked["secret"]))
            self.is_in = not code
            if self.is_in:
                await self._say({"T": "success", "msg": "authenticated"})
            else:
                await self.refuse(code, words)
        elif not self.is_in:
            await self.refuse(401, "not authenticated")
        elif action in ("subscribe", "unsubscribe"):
            for channel, wanted in self._wanted.items():
                for symbol in asked.get(channel, []):
                    if action == "unsubscribe":
                        wanted[:] = [each for each in wanted if each != symbol]
                    elif symbol not in wanted and (symbol == "*" or self._has(symbol)):
                        wanted.append(symbol)
            await self._say({"T": "subscription", **self._wanted})
        else:
            await self.refuse(400, "invalid syntax")

    async def _time_out(self) -> None:
        if not self.is_in:
            await self.refuse(404, "auth timeout")
            await self.socket.close()

    def _pack(self, message: dict[str, Any]) -> bytes | str:
        if self._is_packed:
            if "t" in message:
                message["t"] = msgpack.Timestamp.from_unix_nano(message["t"])
            return cast(bytes, msgpack.packb([message]))
        if "t" in message:
            message["t"] = to_iso(message["t"])
        return json.dumps([message])

    async def _say(self, message: dict[str, Any]) -> None:
        packed = self._pack(message)
        if isinstance(packed, bytes):
            await self.socket.send_bytes(packed)
        else:
            await self.socket.send_str(packed)
