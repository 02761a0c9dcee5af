"""Pacing: how long the shell waits, with a clock that only moves when it sleeps."""

from __future__ import annotations

import pytest

from onetape.runtime import pacing
from onetape.runtime.pacing import Pacer
from tests.support.timelines import SECOND, T0


class FakeClock:
    """Stands in for the `time` module: `sleep` moves `monotonic`."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    fake = FakeClock()
    monkeypatch.setattr(pacing, "time", fake)
    return fake


def test_pacer_at_max_never_waits(clock: FakeClock) -> None:
    pacer = Pacer("max")
    assert not pacer.is_paced
    pacer.wait_until(T0)
    pacer.wait_until(T0 + 100 * SECOND)
    assert clock.slept == []


@pytest.mark.parametrize(("speed", "expected"), [(1, [0, 60, 120]), (10, [0, 6, 12])])
def test_pacer_waits_history_divided_by_speed(
    clock: FakeClock, speed: int, expected: list[float]
) -> None:
    pacer = Pacer(speed)
    assert pacer.is_paced
    for seconds in (0, 60, 180):
        pacer.wait_until(T0 + seconds * SECOND)
    assert clock.slept == pytest.approx(expected)


def test_pacer_that_is_late_catches_up_without_waiting(clock: FakeClock) -> None:
    pacer = Pacer(1)
    pacer.wait_until(T0)
    clock.now += 90  # the work took longer than the bar
    pacer.wait_until(T0 + 60 * SECOND)
    pacer.wait_until(T0 + 120 * SECOND)
    assert clock.slept == pytest.approx([0, 0, 30])
