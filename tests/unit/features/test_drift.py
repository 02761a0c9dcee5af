from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.features.drift import Drift, DriftMonitor, DriftSettings, DriftState

SETTINGS = DriftSettings(reference=60, recent=40, every=10, cooldown=30, stale=15)


def watch(values: list[float], settings: DriftSettings = SETTINGS, warm_up: int = 1):
    monitor = DriftMonitor(("f",), warm_up, settings)
    return [(at, each) for at, value in enumerate(values) for each in monitor.update([value])]


def normal(count: int, seed: int = 3) -> list[float]:
    return np.random.default_rng(seed).normal(size=count).tolist()


def test_alarm_tells_value_threshold_and_both_distributions() -> None:
    found = watch([*normal(60), *(each + 9 for each in normal(40, 4))])
    assert [at for at, _ in found] == [99] * len(found)
    assert {each.statistic for _, each in found} == {"psi", "ks", "mean"}
    for _, each in found:
        assert isinstance(each, Drift)
        assert each.value > each.threshold
        assert (sum(each.reference), sum(each.recent)) == (60, 40)
        assert each.recent[-1] == 40
        assert len(each.edges) == len(each.recent) - 1


def test_warm_up_is_no_part_of_the_reference() -> None:
    values = [math.nan] * 19 + normal(100)
    assert watch(values, warm_up=20) == []
    assert {each.statistic for _, each in watch([*values[19:79], *[math.nan] * 40])} == {"nan"}


def test_same_alarm_is_told_again_after_the_cooldown_only() -> None:
    values = [*normal(60), *(each + 9 for each in normal(200, 4))]
    found = watch(values, DriftSettings(
        reference=60, recent=40, every=10, cooldown=30, statistics=("mean",)
    ))  # fmt: skip
    assert [at for at, _ in found] == [99, 129, 159, 189, 219, 249]


def test_value_that_stands_still_is_stale_unless_it_always_does() -> None:
    only = DriftSettings(reference=60, recent=40, every=10, stale=15, statistics=("stale",))
    still = [*normal(84), *[1.0] * 16]
    assert [each.value for _, each in watch(still, only)] == [16.0]
    regime = [0.0] * 30 + [1.0] * 30 + [0.0] * 40
    assert watch(regime, only) == []


def test_only_the_statistics_asked_for_are_looked_at() -> None:
    values = [*normal(60), *(9 * each + 9 for each in normal(40, 4))]
    one = DriftSettings(reference=60, recent=40, every=10, statistics=("variance",))
    assert {each.statistic for _, each in watch(values, one)} == {"variance"}


def two_columns(rows: int) -> list[list[float]]:
    """Two features, alike at first and less so later, with gaps and a value that stands still."""
    rng = np.random.default_rng(8)
    one = rng.normal(size=rows)
    other = np.where(np.arange(rows) < 110, one, -one) + rng.normal(size=rows) / 2
    one[rng.integers(0, rows, rows // 20)] = math.nan
    other[rows // 2 : rows // 2 + 25] = 1.0
    return np.stack([one, other], axis=1).tolist()


@pytest.mark.parametrize("every", [1, 7])
def test_monitor_that_is_saved_and_restored_anywhere_tells_the_same_alarms(every: int) -> None:
    rows = two_columns(260)
    whole = DriftMonitor(("a", "b"), 3, SETTINGS)
    expected = [whole.update(each) for each in rows]
    assert {each.statistic for found in expected for each in found} >= {"correlation", "stale"}
    monitor = DriftMonitor(("a", "b"), 3, SETTINGS)
    for at, (row, alarms) in enumerate(zip(rows, expected, strict=True)):
        if at % every == 0:
            state = msgspec.msgpack.encode(monitor.save())
            monitor = DriftMonitor(("a", "b"), 3, SETTINGS)
            monitor.restore(msgspec.msgpack.decode(state, type=DriftState))
        assert monitor.update(row) == alarms


def test_saved_state_is_apart_from_the_monitor() -> None:
    monitor = DriftMonitor(("a",), 1, SETTINGS)
    monitor.update([1.0])
    state = monitor.save()
    monitor.update([2.0])
    assert state.reference == [[1.0]]
    other = DriftMonitor(("a",), 1, SETTINGS)
    other.restore(state)
    other.update([3.0])
    assert state.reference == [[1.0]]


def test_monitor_does_not_go_on_from_another_ones_state() -> None:
    state = DriftMonitor(("a", "b"), 3, SETTINGS).save()
    for other in (
        DriftMonitor(("a", "c"), 3, SETTINGS),
        DriftMonitor(("a", "b"), 4, SETTINGS),
        DriftMonitor(("a", "b"), 3, DriftSettings(reference=61)),
    ):
        with pytest.raises(StrategyError, match="can't go on from one of a, b"):
            other.restore(state)
