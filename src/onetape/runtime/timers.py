"""Timers that strategies have set, in the order they come due."""

from __future__ import annotations

import heapq

import msgspec

from onetape.domain.numbers import INT64_MAX


class TimersState(msgspec.Struct, frozen=True):
    """How many timers were set, and those that wait: (due, order of setting, strategy, name)."""

    count: int
    waiting: list[tuple[int, int, str, str]]


class Timers:
    """A queue of (due time, order of setting, strategy, name)."""

    __slots__ = ("_count", "_heap", "next_due")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, str]] = []
        self._count = 0
        self.next_due = INT64_MAX

    def save(self) -> TimersState:
        """What is needed to go on from here."""
        return TimersState(self._count, sorted(self._heap))

    def restore(self, state: TimersState) -> None:
        """Go on where `state` was saved."""
        self._count = state.count
        self._heap = list(state.waiting)  # a sorted list is a heap
        self.next_due = self._heap[0][0] if self._heap else INT64_MAX

    @property
    def waiting(self) -> bool:
        """Whether any timer is set."""
        return bool(self._heap)

    def set(self, strategy: str, name: str, ts_due: int) -> None:
        """Add a timer; `ts_due` is ns UTC."""
        self._count += 1
        heapq.heappush(self._heap, (ts_due, self._count, strategy, name))
        self.next_due = self._heap[0][0]

    def pop(self) -> tuple[int, str, str]:
        """Take the next one: (due, strategy, name)."""
        due, _, strategy, name = heapq.heappop(self._heap)
        self.next_due = self._heap[0][0] if self._heap else INT64_MAX
        return due, strategy, name
