"""One client of a local TWS: its socket, its messages in order, and what goes wrong on the way."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress

from onetape.runtime.local_venues.faults import FaultKind, FaultSchedule
from onetape.runtime.local_venues.ibkr_wire import Field, decode, encode

_LENGTH_MAX = 1 << 20


class TwsConnection:
    """A client's connection.

    Args:
        reader: Its socket.
        writer: The same.
        faults: What goes wrong with what is told without being asked for; None: nothing.
        now: Virtual time, ns UTC.

    Attributes:
        client_id: The client's number; -1 before it has said one.
        bars: Symbols whose bars it wants, by the number of the request.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        faults: FaultSchedule | None,
        now: Callable[[], int],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._faults = faults
        self._now = now
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._held: list[bytes] = []
        self._news = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._is_over = False
        self.client_id = -1
        self.bars: dict[int, str] = {}

    async def read(self) -> list[str]:
        """The next message.

        Raises:
            asyncio.IncompleteReadError, ConnectionError: The client is gone.
            ValueError: It sends no messages.
        """
        return decode(await self.read_body())

    async def read_body(self) -> bytes:
        """The bytes of the next message; raises as `read`."""
        (length,) = struct.unpack(">I", await self._reader.readexactly(4))
        if length > _LENGTH_MAX:
            raise ValueError("a message of more than a megabyte")
        return await self._reader.readexactly(length)

    async def read_prefix(self, length: int) -> bytes:
        """The first bytes of all; raises as `read`."""
        return await self._reader.readexactly(length)

    def answer(self, *messages: Iterable[Field]) -> None:
        """Send what was asked for, in its turn."""
        for each in messages:
            self._put(encode(list(each)), is_told=False)

    def tell(self, *messages: Iterable[Field]) -> None:
        """Send what nobody has asked for: faults are for these."""
        for each in messages:
            self._put(encode(list(each)), is_told=True)

    def _put(self, frame: bytes, *, is_told: bool) -> None:
        if self._is_over:
            return
        self._waiting.append((frame, is_told))
        self._drained.clear()
        self._news.set()

    def mark(self) -> int:
        """How much waits to be sent; see `take_back`."""
        return len(self._waiting)

    def take_back(self, mark: int) -> None:
        """What was put behind a mark is not sent; nothing may have been sent in between."""
        while len(self._waiting) > mark:
            self._waiting.pop()

    async def drained(self) -> None:
        """Returns when everything was sent, or lost."""
        await self._drained.wait()

    async def send(self) -> None:
        """Send what is put, until the connection is over."""
        try:
            while not self._is_over:
                if not self._waiting:
                    self._drained.set()
                    self._news.clear()
                    await self._news.wait()
                    continue
                frame, is_told = self._waiting.popleft()
                await self._pass(frame, is_told=is_told)
        except ConnectionError:  # the client is gone
            pass
        finally:
            self.cut()

    async def _pass(self, frame: bytes, *, is_told: bool) -> None:
        fault = self._faults.on_message("tws", self._now()) if self._faults and is_told else None
        kind = fault.kind if fault else None
        held, self._held = self._held, []
        match kind:
            case FaultKind.DROP:
                pass
            case FaultKind.DISCONNECT:
                self.cut()
            case FaultKind.HALF_CLOSE if fault:
                self._is_over = True
                self._lose_the_rest()
                await asyncio.sleep(fault.value)
            case FaultKind.REORDER:
                self._held = [frame]
            case FaultKind.DELAY if fault:
                await asyncio.sleep(fault.value)
                await self._write(frame)
            case _:
                await self._write(frame)
                if kind is FaultKind.DUPLICATE:
                    await self._write(frame)
        for each in held:
            await self._write(each)

    async def _write(self, frame: bytes) -> None:
        if self._writer.transport.is_closing():
            raise ConnectionResetError
        self._writer.write(frame)
        await self._writer.drain()

    def _lose_the_rest(self) -> None:
        self._waiting.clear()
        self._drained.set()

    def cut(self) -> None:
        """The connection ends at once, whatever waits."""
        self._is_over = True
        self._news.set()
        self._lose_the_rest()
        self._writer.transport.abort()

    async def finish(self) -> None:
        """Send what waits, and end it."""
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.drained()
        self.cut()
