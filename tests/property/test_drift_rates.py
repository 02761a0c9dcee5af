"""How often a drift monitor is wrong, and how often it is right: the table of docs/drift.md.

Each case is a number of independent pairs of series, a reference of 400 bars and 160 recent ones,
looked at once at level 0.01. `python -m tests.property.test_drift_rates` prints the table anew, of
more pairs.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from onetape.features.drift import DriftMonitor, DriftSettings

Series = npt.NDArray[np.float64]
Make = Callable[[np.random.Generator, int], Series]

REFERENCE, RECENT, LEVEL = 400, 160, 0.01
SETTINGS = DriftSettings(
    reference=REFERENCE, recent=RECENT, every=RECENT, level=LEVEL, cooldown=1, stale=40
)
LEVELED = ("psi", "ks", "mean", "variance", "correlation")


def autoregressive(likeness: float) -> Make:
    def make(chance: np.random.Generator, count: int) -> Series:
        steps = chance.normal(size=count + 200)
        values = np.zeros(count + 200)
        for at in range(1, count + 200):
            values[at] = likeness * values[at - 1] + steps[at]
        return values[200:] * math.sqrt(1 - likeness * likeness)

    return make


def average(chance: np.random.Generator, count: int) -> Series:
    return np.convolve(chance.normal(size=count + 9), np.ones(10) / math.sqrt(10), "valid")


STATIONARY: dict[str, Make] = {
    "normal": lambda chance, count: chance.normal(size=count),
    "Student t, 4 degrees": lambda chance, count: chance.standard_t(4, size=count),
    "uniform": lambda chance, count: chance.random(count),
    "AR(1), 0.5": autoregressive(0.5),
    "AR(1), 0.9": autoregressive(0.9),
    "mean of 10": average,
}


def shift(by: float) -> Callable[[Series, Series], tuple[Series, Series]]:
    return lambda one, other: (one + by, other)


def widen(by: float) -> Callable[[Series, Series], tuple[Series, Series]]:
    return lambda one, other: (one * by, other)


def couple(one: Series, other: Series) -> tuple[Series, Series]:
    return one, 0.6 * one + 0.8 * other


def lose(one: Series, other: Series) -> tuple[Series, Series]:
    return np.where(np.arange(len(one)) % 10 == 0, np.nan, one), other


def freeze(one: Series, other: Series) -> tuple[Series, Series]:
    return np.where(np.arange(len(one)) > len(one) - 60, one[-1], one), other


PLANTED = {
    "mean + 0.5 deviations": (shift(0.5), ("psi", "ks", "mean"), 0.8),
    "deviation x 1.5": (widen(1.5), ("variance",), 0.9),
    "correlation 0 -> 0.6": (couple, ("correlation",), 0.99),
    "a tenth becomes NaN": (lose, ("nan",), 1.0),
    "60 bars of one value": (freeze, ("stale",), 1.0),
}


def rates(
    make: Make,
    pairs: int,
    plant: Callable[[Series, Series], tuple[Series, Series]] | None = None,
    seed: int = 11,
) -> dict[str, float]:
    """The share of pairs with an alarm, by statistic."""
    chance = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for _ in range(pairs):
        one, other = make(chance, REFERENCE + RECENT), make(chance, REFERENCE + RECENT)
        if plant is not None:
            one[REFERENCE:], other[REFERENCE:] = plant(one[REFERENCE:], other[REFERENCE:])
        monitor = DriftMonitor(("one", "other"), 1, SETTINGS)
        alarms = [
            each
            for row in zip(one.tolist(), other.tolist(), strict=True)
            for each in monitor.update(row)
        ]
        found.update({each.statistic for each in alarms if each.feature == "one"})
    return {name: found[name] / pairs for name in (*LEVELED, "nan", "stale")}


@pytest.mark.parametrize("kind", STATIONARY)
def test_false_alarms_stay_within_the_level(kind: str) -> None:
    pairs = 120
    measured = rates(STATIONARY[kind], pairs)
    most = LEVEL + 3.1 * math.sqrt(LEVEL * (1 - LEVEL) / pairs)  # one in a thousand
    assert {name: rate for name, rate in measured.items() if rate > most} == {}
    assert measured["nan"] == measured["stale"] == 0


@pytest.mark.parametrize("what", PLANTED)
def test_planted_shifts_are_found(what: str) -> None:
    plant, statistics, least = PLANTED[what]
    measured = rates(STATIONARY["normal"], 60, plant)
    assert {name: measured[name] for name in statistics if measured[name] < least} == {}


def main(pairs: int) -> None:
    names = (*LEVELED, "nan", "stale")
    print("| values |", " | ".join(names), "|")
    for label, make in STATIONARY.items():
        measured = rates(make, pairs)
        print(f"| {label} |", " | ".join(f"{measured[name]:.1%}" for name in names), "|")
    for label, (plant, _, _) in PLANTED.items():
        measured = rates(STATIONARY["normal"], pairs // 4, plant)
        print(f"| normal, {label} |", " | ".join(f"{measured[name]:.0%}" for name in names), "|")


if __name__ == "__main__":
    main(int(sys.argv[1]))
