"""The bounded queue in front of the core: who tells more than it can take waits."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter_ns
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Items in the order in which they came, each with when it came.

    Who waits for room gets it in turn, so that a feed that tells without end leaves room for what
    the venue says.

    Args:
        size: How many may wait, besides those that never do.

    Attributes:
        deepest: The most that have waited at a time.
        held_back: How often a teller had to wait.
        taken: How many items have left.
    """

    def __init__(self, size: int) -> None:
        self._room = asyncio.Semaphore(size)
        self._items: deque[tuple[int, T, bool]] = deque()
        self._first: deque[tuple[int, T]] = deque()
        self._filled = asyncio.Event()
        self.deepest = 0
        self.held_back = 0
        self.taken = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._items)

    async def put(self, item: T) -> None:
        """Add an item at the end; waits while there is no room."""
        if self._room.locked():
            self.held_back += 1
        await self._room.acquire()
        self._items.append((perf_counter_ns(), item, True))
        self._tell()

    def put_now(self, item: T) -> None:
        """Add an item at the end, room or not: an operator's command never waits."""
        self._items.append((perf_counter_ns(), item, False))
        self._tell()

    def put_first(self, item: T) -> None:
        """Add an item in front of all that were not added like this, room or not."""
        self._first.append((perf_counter_ns(), item))
        self._tell()

    def _tell(self) -> None:
        self.deepest = max(self.deepest, len(self))
        self._filled.set()

    async def wait(self, seconds: float | None) -> None:
        """Return when there is an item, or `seconds` have passed."""
        if len(self):
            return
        self._filled.clear()
        if seconds is None:
            await self._filled.wait()
            return
        try:
            async with asyncio.timeout(seconds):
                await self._filled.wait()
        except TimeoutError:
            return

    def take(self, most: int) -> list[tuple[int, T]]:
        """Up to `most` items, each with when it came (`perf_counter_ns`)."""
        taken = [self._first.popleft() for _ in range(min(most, len(self._first)))]
        for _ in range(min(most - len(taken), len(self._items))):
            came, item, has_room = self._items.popleft()
            taken.append((came, item))
            if has_room:
                self._room.release()
        self.taken += len(taken)
        return taken
