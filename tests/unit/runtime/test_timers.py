"""Timers come due in time order, and at one time in the order they were set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.numbers import INT64_MAX
from onetape.runtime.timers import Timers


def test_timers_empty_wait_for_nothing() -> None:
    timers = Timers()
    assert not timers.waiting
    assert timers.next_due == INT64_MAX


def test_timers_at_one_time_come_in_the_order_they_were_set() -> None:
    timers = Timers()
    timers.set("z", "first", 5)
    timers.set("a", "second", 5)
    timers.set("a", "early", 4)
    assert [timers.pop() for _ in range(3)] == [
        (4, "a", "early"), (5, "z", "first"), (5, "a", "second"),
    ]  # fmt: skip


@given(st.lists(st.one_of(st.none(), st.integers(0, 20))))
def test_timers_equal_a_sorted_list(script: list[int | None]) -> None:
    """A number sets a timer, None takes the next one."""
    timers = Timers()
    naive: list[tuple[int, str]] = []
    for count, each in enumerate(script):
        if each is not None:
            timers.set("s", str(count), each)
            naive.append((each, str(count)))
            naive.sort(key=lambda timer: timer[0])
        elif naive:
            due, name = naive.pop(0)
            assert timers.pop() == (due, "s", name)
        assert timers.waiting == bool(naive)
        assert timers.next_due == (naive[0][0] if naive else INT64_MAX)
