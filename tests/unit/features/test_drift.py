from __future__ import annotations

import math

import numpy as np

from onetape.features.drift import Drift, DriftMonitor, DriftSettings

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
