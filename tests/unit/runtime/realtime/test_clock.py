"""The clock of a session while somebody sets the machine's."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.runtime.realtime.clock import MachineClock

SECOND = 1_000_000_000


class Machine:
    """A machine whose clock can be set; steady time goes on by itself."""

    def __init__(self) -> None:
        self.steady = 7 * SECOND
        self.offset = 1_700_000_000 * SECOND

    def wall(self) -> int:
        return self.steady + self.offset

    def clock(self) -> MachineClock:
        return MachineClock(self.wall, lambda: self.steady)


def test_machine_clock_is_the_machines() -> None:
    machine = Machine()
    clock = machine.clock()
    for _ in range(3):
        machine.steady += SECOND
        assert clock.now() == machine.wall()


def test_step_ahead_is_followed_at_once() -> None:
    machine = Machine()
    clock = machine.clock()
    machine.offset += 3600 * SECOND
    assert clock.now() == machine.wall()


def test_step_back_is_caught_up_at_half_the_pace() -> None:
    machine = Machine()
    clock = machine.clock()
    before = clock.now()
    machine.offset -= 10 * SECOND
    times = []
    for _ in range(22):
        machine.steady += SECOND
        times.append((clock.now() - before) / SECOND)
    assert times[:4] == [0.5, 1.0, 1.5, 2.0]
    assert times[18:] == [9.5, 10.0, 11.0, 12.0]  # of 20 s on: the machine's again
    assert clock.now() == machine.wall()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 10 * SECOND), st.integers(-5 * SECOND, 5 * SECOND)),
                max_size=30))  # fmt: skip
def test_time_goes_on_and_never_falls_behind_the_machine(steps: list[tuple[int, int]]) -> None:
    machine = Machine()
    clock = machine.clock()
    newest = clock.now()
    for passed, change in steps:
        machine.steady += passed
        machine.offset += change
        now = clock.now()
        assert now >= max(newest + passed // 2, machine.wall())
        assert now == machine.wall() or now == newest + passed // 2
        newest = now
