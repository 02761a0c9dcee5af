"""Drift: whether the recent values of features are still distributed as those of a reference were.

| statistic     | what it compares                                 | alarm above                   |
| ------------- | ------------------------------------------------ | ----------------------------- |
| `psi`         | shares of ten bins, as a stability index         | its quantile at `level`       |
| `ks`          | distribution functions, their greatest distance  | its quantile at `level`       |
| `mean`        | means, in standard errors                        | Student's quantile at `level` |
| `variance`    | variances, in standard errors of their logarithm | Student's quantile at `level` |
| `correlation` | correlations of two features, in standard errors | Student's quantile at `level` |
| `nan`         | shares of NaN, the rise                          | `nan_rise`                    |
| `stale`       | bars since the value last changed                | `stale`, and twice the        |
|               |                                                  | longest such time before      |

`level` is the chance of an alarm of one statistic at one look when nothing has changed. It holds
for values that resemble the ones before as those of an AR(1) process do; see
`onetape.features.distribution`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import msgspec

from onetape.domain.errors import StrategyError
from onetape.features.distribution import (
    Sample,
    compute_correlation,
    compute_correlation_shift,
    compute_ks,
    compute_mean_shift,
    compute_psi,
    compute_variance_shift,
    count_bins,
    cut_bins,
    describe_sample,
    effective_count,
    ks_bound,
    psi_bound,
    shift_bound,
)

STATISTICS = ("psi", "ks", "mean", "variance", "correlation", "nan", "stale")

_VALUES_MIN = 20
"""A window with fewer values says nothing of their distribution."""


class DriftSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared with what, and when it is worth an alert. Counts are of bars."""

    reference: int = 500
    recent: int = 200
    every: int = 50
    level: float = 0.001
    cooldown: int = 200
    nan_rise: float = 0.05
    stale: int = 50
    statistics: tuple[str, ...] = STATISTICS


class Drift(NamedTuple):
    """An alert. `other` is the second feature of a correlation, else empty.

    `edges` are inner edges of bins, `reference` and `recent` the values in each.
    """

    feature: str
    other: str
    statistic: str
    value: float
    threshold: float
    edges: list[float]
    reference: list[int]
    recent: list[int]


class DriftState(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a monitor knows between two bars, as plain data; a list has an item a feature.

    `features`, `warm_up` and `settings` are those of the monitor; `reference` and `recent` the
    values of the two windows so far, `last` the newest ones and `runs` since how many bars they
    are the same; `quiet` the bar until which an alert is not told again, by statistic, feature and
    other feature.
    """

    features: tuple[str, ...]
    warm_up: int
    settings: DriftSettings
    bars: int
    reference: list[list[float]]
    recent: list[list[float]]
    last: list[float]
    runs: list[int]
    quiet: list[tuple[str, str, str, int]]


class _Reference(NamedTuple):
    """What is kept of the reference of one feature."""

    sample: Sample
    edges: list[float]
    counts: list[int]
    nan_ratio: float
    longest: int


class DriftMonitor:
    """Watches the features of one strategy over one instrument, bar by bar, in batch and live.

    A look, at every `every`-th bar, costs some 0.5 ms a feature; a bar between two looks 0.2 us.
    The reference are the first bars after the warm-up, the recent ones never overlap them.

    Args:
        features: Names.
        warm_up: Bars until all of them have values.
        settings: Windows and thresholds.
    """

    def __init__(self, features: Sequence[str], warm_up: int, settings: DriftSettings) -> None:
        self._names = tuple(features)
        self._settings = settings
        self._skip = warm_up - 1
        self._bars = 0
        self._first: list[list[float]] = [[] for _ in self._names]
        self._recent = [deque[float](maxlen=settings.recent) for _ in self._names]
        self._runs = [0] * len(self._names)
        self._last = [math.nan] * len(self._names)
        self._references: list[_Reference] = []
        self._pairs: dict[tuple[int, int], tuple[float, float]] = {}
        self._quiet_until: dict[tuple[str, str, str], int] = {}

    def update(self, values: Sequence[float]) -> list[Drift]:
        """Take the values of the next bar; what has drifted, as of this bar."""
        self._bars += 1
        bar = self._bars - self._skip
        if bar <= 0:
            return []
        settings = self._settings
        for at, value in enumerate(values):
            self._runs[at] = self._runs[at] + 1 if value == self._last[at] else 1
            self._last[at] = value
            (self._first[at] if bar <= settings.reference else self._recent[at]).append(value)
        if bar == settings.reference:
            self._references = [_refer(each) for each in self._first]
        looked = bar - settings.reference - settings.recent
        if looked < 0 or looked % settings.every:
            return []
        return [each for each in self._look() if self._is_news(each)]

    def save(self) -> DriftState:
        """Everything needed to go on from here."""
        return DriftState(
            features=self._names,
            warm_up=self._skip + 1,
            settings=self._settings,
            bars=self._bars,
            reference=[list(each) for each in self._first],
            recent=[list(each) for each in self._recent],
            last=list(self._last),
            runs=list(self._runs),
            quiet=[(*key, bar) for key, bar in self._quiet_until.items()],
        )

    def restore(self, state: DriftState) -> None:
        """Go on where `state` was saved.

        Raises:
            StrategyError: It is of other features or other settings.
        """
        ours, theirs = (
            (each.features, each.warm_up, each.settings) for each in (self.save(), state)
        )
        if ours != theirs:
            raise StrategyError(
                f"a drift monitor of {', '.join(self._names)} can't go on from one of "
                f"{', '.join(state.features)} with {theirs[2]!r}, warm-up {state.warm_up}",
                where="drift",
                remedy="keep features and settings as they were, or begin with a new reference",
            )
        self._bars = state.bars
        self._first = [list(each) for each in state.reference]
        self._recent = [deque(each, maxlen=self._settings.recent) for each in state.recent]
        self._last = list(state.last)
        self._runs = list(state.runs)
        self._quiet_until = {(kind, one, other): bar for kind, one, other, bar in state.quiet}
        self._references = []
        self._pairs = {}
        if self._bars - self._skip >= self._settings.reference:
            self._references = [_refer(each) for each in self._first]

    def _is_news(self, drift: Drift) -> bool:
        key = (drift.statistic, drift.feature, drift.other)
        if self._bars < self._quiet_until.get(key, 0):
            return False
        self._quiet_until[key] = self._bars + self._settings.cooldown
        return True

    def _look(self) -> list[Drift]:
        samples = [describe_sample([v for v in each if math.isfinite(v)]) for each in self._recent]
        found: list[Drift] = []
        for at in range(len(self._names)):
            found += self._compare(at, samples[at])
        if "correlation" in self._settings.statistics:
            for one, other in combinations(range(len(self._names)), 2):
                found += self._compare_pair(one, other, samples)
        return found

    def _compare(self, at: int, recent: Sample) -> list[Drift]:
        """The statistics of one feature that are beyond their threshold."""
        settings, reference = self._settings, self._references[at]
        sample = reference.sample
        figures: list[tuple[str, float, float]] = []
        nan_ratio = 1.0 - recent.count / settings.recent
        figures.append(("nan", nan_ratio - reference.nan_ratio, settings.nan_rise))
        longest = float(max(settings.stale, 2 * reference.longest))
        figures.append(("stale", float(self._runs[at]), longest))
        if min(sample.count, recent.count) >= _VALUES_MIN:
            likeness = max(sample.autocorrelation, recent.autocorrelation)
            sizes = effective_count(sample.count, likeness), effective_count(recent.count, likeness)
            bound = shift_bound(settings.level, min(sizes))
            square = likeness * likeness
            wide = shift_bound(settings.level, effective_count(recent.count, square))
            figures += [
                ("psi", compute_psi(reference.counts, count_bins(reference.edges, recent)),
                 psi_bound(settings.level, len(reference.counts), *sizes)),
                ("ks", compute_ks(sample, recent), ks_bound(settings.level, *sizes)),
                ("mean", abs(compute_mean_shift(sample, recent)), bound),
                ("variance", abs(compute_variance_shift(sample, recent)), wide),
            ]  # fmt: skip
        return [
            self._tell(at, "", recent, *each)
            for each in figures
            if each[0] in settings.statistics and each[1] > each[2]
        ]

    def _compare_pair(self, one: int, other: int, recent: list[Sample]) -> list[Drift]:
        """Whether the correlation of two features is beyond its threshold."""
        before = self._pairs.get((one, other))
        if before is None:
            references = [each.sample for each in self._references]
            before = _correlate(self._first[one], self._first[other], references[one],
                                references[other])  # fmt: skip
            self._pairs[one, other] = before
        now = _correlate(self._recent[one], self._recent[other], recent[one], recent[other])
        figures = [before, now]
        shift = abs(compute_correlation_shift(
            figures[0][0], figures[1][0], figures[0][1], figures[1][1]
        ))  # fmt: skip
        bound = shift_bound(self._settings.level, min(figures[0][1], figures[1][1]))
        if not shift > bound:
            return []
        return [self._tell(one, self._names[other], recent[one], "correlation", shift, bound)]

    def _tell(
        self, at: int, other: str, recent: Sample, statistic: str, value: float, threshold: float
    ) -> Drift:
        reference = self._references[at]
        return Drift(
            self._names[at], other, statistic, value, threshold, reference.edges,
            reference.counts, count_bins(reference.edges, recent),
        )  # fmt: skip


def _refer(values: list[float]) -> _Reference:
    sample = describe_sample([each for each in values if math.isfinite(each)])
    edges = cut_bins(sample) if sample.count else []
    longest = run = 1
    for before, now in pairwise(values):
        run = run + 1 if now == before else 1
        longest = max(longest, run)
    return _Reference(
        sample, edges, count_bins(edges, sample), 1.0 - sample.count / len(values), longest
    )


def _correlate(
    one: Sequence[float], other: Sequence[float], left: Sample, right: Sample
) -> tuple[float, float]:
    """Correlation of the bars where both are finite, and how many independent ones they are worth.

    Two series r and s alike to themselves give (1 - rs) / (1 + rs) of their bars (Bartlett 1935).
    `left` and `right` are the samples of the two, each without its own NaN.
    """
    if left.count < len(one) or right.count < len(other):
        pairs = [
            (a, b) for a, b in zip(one, other, strict=True) if math.isfinite(a) and math.isfinite(b)
        ]
        one, other = [a for a, _ in pairs], [b for _, b in pairs]
        left, right = describe_sample(one), describe_sample(other)
    if len(one) < _VALUES_MIN:
        return math.nan, 0.0
    likeness = left.autocorrelation * right.autocorrelation
    return compute_correlation(one, other), effective_count(len(one), likeness)
