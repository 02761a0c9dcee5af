"""What happens at set times of a session, beside its rows: in which order, and how far it is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

from onetape.domain.numbers import INT64_MAX


class Agenda:
    """Happenings of one kind, in order.

    Args:
        times: When each happens, ns UTC, ascending.
        rows: After how many rows of the timeline each happens, ascending.
        apply: Makes the one at a position happen.

    Attributes:
        done: How many have happened.
    """

    __slots__ = ("_apply", "_rows", "_times", "done")

    def __init__(
        self, times: Sequence[int], rows: Sequence[int], apply: Callable[[int], None]
    ) -> None:
        self._times = times
        self._rows = rows
        self._apply = apply
        self.done = 0

    def __len__(self) -> int:
        return len(self._times)

    def set_times(self, times: Sequence[int], rows: Sequence[int]) -> None:
        """Have these instead, before any has happened."""
        self._times = times
        self._rows = rows

    @property
    def next_rows(self) -> int:
        """After how many rows the next one happens; INT64_MAX: there is none."""
        return self._rows[self.done] if self.done < len(self._rows) else INT64_MAX

    def count_before(self, rows: int) -> int:
        """How many happen after fewer than so many `rows`."""
        return bisect_left(self._rows, rows)

    def next_ts(self, rows: int) -> int:
        """When the next one of those after so many `rows` happens; INT64_MAX: there is none."""
        return self._times[self.done] if self.next_rows <= rows else INT64_MAX

    def advance(self) -> None:
        """Make the next one happen; whoever looks at it finds it done."""
        self.done += 1
        self._apply(self.done - 1)


class Schedule:
    """Several agendas as one: by time, and at one time in the order in which they are given."""

    __slots__ = ("_agendas",)

    def __init__(self, *agendas: Agenda) -> None:
        self._agendas = agendas

    def find_stop(self, stop: int) -> int:
        """The first row at or before `stop` in front of which something happens, else `stop`."""
        for each in self._agendas:
            stop = min(stop, each.next_rows)
        return stop

    def advance(self, rows: int, ts: int = INT64_MAX) -> None:
        """Make everything happen that comes after so many `rows` and before `ts`."""
        while True:
            agenda = min(self._agendas, key=lambda each: each.next_ts(rows))
            if agenda.next_ts(rows) >= ts:
                return
            agenda.advance()
