"""The bounded queue in front of the core: who tells more than it can take waits."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter_ns
from typing import Generic, TypeVar

T = TypeVar("T")


class Inbox(Generic[T]):
    """Items in the order in which they came, each with when it came.

    Args:
        size: How many may wait.

    Attributes:
        deepest: The most that have waited at a time.
        held_back: How often a teller had to wait.
        taken: How many items have left.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[tuple[int, T]] = deque()
        self._first: deque[tuple[int, T]] = deque()
        self._filled = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.deepest = 0
        self.held_back = 0
        self.taken = 0

    def __len__(self) -> int:
        return len(self._first) + len(self._items)

    async def put(self, item: T) -> None:
        """Add an item at the end; waits while there is no room."""
        while len(self._items) >= self._size:
            self.held_back += 1
            self._room.clear()
            await self._room.wait()
        self.put_now(item)

    def put_now(self, item: T) -> None:
        """Add an item, room or not: an operator's command never waits."""
        self._add(self._items, item)

    def put_first(self, item: T) -> None:
        """Add an item in front of all that were not added like this."""
        self._add(self._first, item)

    def _add(self, items: deque[tuple[int, T]], item: T) -> None:
        items.append((perf_counter_ns(), item))
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
        items = self._items
        taken = [*self._first]
        self._first.clear()
        taken += [items.popleft() for _ in range(min(most - len(taken), len(items)))]
        self.taken += len(taken)
        if len(items) < self._size:
            self._room.set()
        return taken
