"""The websockets of a local Binance: who listens, and what leaves, with what goes wrong on the way.

Source: Binance Spot API, "Websocket Market Streams" and "WebSocket API".
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from aiohttp import web

from onetape.runtime.local_venues.faults import FaultKind, FaultSchedule


class Socket:
    """One connection: a queue, and a task that writes it.

    Attributes:
        streams: Market streams that it listens to.
        subscription: Its user data, and whose; None: none.
    """

    def __init__(self, response: web.WebSocketResponse, faults: FaultSchedule | None) -> None:
        self.streams: set[str] = set()
        self.subscription: tuple[int, str] | None = None
        self._response = response
        self._faults = faults
        self._queue: asyncio.Queue[tuple[str, dict[str, Any], int] | None] = asyncio.Queue()
        self._kept: list[dict[str, Any]] = []
        self._task = asyncio.create_task(self._write_all())

    def put(self, subject: str, message: dict[str, Any], ts: int) -> None:
        """Send a message; `subject` is what its faults are drawn by, empty for none."""
        self._queue.put_nowait((subject, message, ts))

    async def drain(self) -> None:
        """Until everything so far was written."""
        if not self._task.done():
            join = asyncio.ensure_future(self._queue.join())
            await asyncio.wait([join, self._task], return_when=asyncio.FIRST_COMPLETED)
            join.cancel()

    async def close(self) -> None:
        """Drop the connection."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._break()

    async def _break(self) -> None:
        transport = self._response._req.transport if self._response._req else None  # pyright: ignore[reportPrivateUsage]
        if transport is not None:
            transport.abort()

    async def _write_all(self) -> None:
        try:
            while True:
                item = await self._queue.get()
                try:
                    if item is not None:
                        await self._write(*item)
                finally:
                    self._queue.task_done()
        except (ConnectionError, RuntimeError):
            return  # the client is gone

    async def _write(self, subject: str, message: dict[str, Any], ts: int) -> None:
        fault = self._faults.on_message(subject, ts) if self._faults and subject else None
        kind = fault.kind if fault else None
        if kind is FaultKind.DROP:
            return
        if kind is FaultKind.REORDER:
            self._kept.append(message)
            return
        if fault is not None and kind in (FaultKind.DELAY, FaultKind.HALF_CLOSE):
            await asyncio.sleep(fault.value)
        if kind is FaultKind.DISCONNECT:
            await self._break()
            raise ConnectionError
        kept, self._kept = self._kept, []
        for each in [message, *([message] if kind is FaultKind.DUPLICATE else []), *kept]:
            await self._response.send_str(msgspec.json.encode(each).decode())
