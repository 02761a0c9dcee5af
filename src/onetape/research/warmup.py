"""How much history features and decisions need: the same session, begun later, until it agrees.

A recursive indicator (an exponential average, say) never forgets its first bar altogether. Begun k
bars later it gives other values, which come closer bar by bar. How many bars that takes is what a
session needs as history before its first decision, whatever `warm_up` an estimator declares.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.orders import (
    CancelIntent,
    ConvertIntent,
    ExerciseIntent,
    Intent,
    OrderIntent,
)
from onetape.marketdata.bars import BoolArray
from onetape.research.perturbation import cut_before
from onetape.research.session_probe import FeatureColumns, Probe, Trace

TOLERANCE = 1e-9
"""Values agree within this share of the larger one, or within this where both are below 1."""

STARTS = 6
"""Later beginnings that are tried unless told."""

OnRuns = Callable[[int, int], None]
"""Told (runs done, runs planned)."""


class FeatureWarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """The bars that a feature needs, the most of all beginnings and instruments.

    Attributes:
        declared: What its estimator declares.
        first_value: Bar of the first value, counted from 1; None: it had none.
        close: Bar from which on all values agree within `TOLERANCE`; None: not within the data.
        equal: Bar from which on they are the same bit for bit; None: not within the data.
    """

    strategy: str
    feature: str
    declared: int
    first_value: int | None
    close: int | None
    equal: int | None


class DecisionWarmUp(msgspec.Struct, frozen=True, kw_only=True):
    """The slices that decisions need, the most of all beginnings.

    Attributes:
        intents: Intents of the whole session.
        same: Slice, counted from 1, from which on all intents come at the same times, for the same
            instruments, on the same sides; None: not within the data.
        equal: From which on amounts and prices are the same too.
    """

    strategy: str
    intents: int
    same: int | None
    equal: int | None


class WarmUpReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured. `starts` are the slices, counted from 0, at which a session was begun."""

    slices: int
    starts: list[int]
    features: list[FeatureWarmUp]
    decisions: list[DecisionWarmUp]
    runs: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """That of a strategy error where a feature never agrees within the data, else 0."""
        return StrategyError.exit_code if any(each.close is None for each in self.features) else 0


def measure_warm_up(
    probe: Probe, starts: int = STARTS, on_runs: OnRuns | None = None
) -> WarmUpReport:
    """Run the session from its first slice, and from `starts` later ones up to half of the data.

    The first of them leaves out as many slices as the longest `warm_up` has bars.

    Raises:
        DataError: There are fewer than four slices.
        StrategyError: `features` or an estimator raises.
    """
    begun = time.perf_counter()

    def tell(done: int) -> None:
        if on_runs is not None:
            on_runs(done, 1 + len(chosen))

    timeline = probe.timeline
    ends = np.flatnonzero(timeline.slice_end) + 1
    if len(ends) < 4:
        raise DataError("there are fewer than four slices", remedy="choose a longer period")
    base = probe.run(timeline)
    declared = {
        spec.name: {name: each.warm_up for name, each in spec.strategy.features().items()}
        for spec in probe.build()
    }
    longest = max((each for features in declared.values() for each in features.values()), default=1)
    half = len(ends) // 2
    chosen = np.unique(np.linspace(min(longest, max(half // 2, 1)), half, starts).astype(np.int64))
    tell(1)
    features: dict[tuple[str, str], FeatureWarmUp] = {}
    decisions: dict[str, DecisionWarmUp] = {}
    for done, start in enumerate(chosen.tolist(), 2):
        rows = int(ends[start - 1])
        later = probe.run(cut_before(timeline, rows))
        for each in _compare_features(probe, declared, base.columns, later.columns, rows):
            name = each.strategy, each.feature
            features[name] = _worse_feature(features.get(name, each), each)
        slice_ts = timeline.columns["ts_known"][ends[start:] - 1]
        for each in _compare_decisions(list(declared), base, later, slice_ts):
            decisions[each.strategy] = _worse_decision(decisions.get(each.strategy, each), each)
        tell(done)
    return WarmUpReport(
        slices=len(ends),
        starts=chosen.tolist(),
        features=list(features.values()),
        decisions=list(decisions.values()),
        runs=1 + len(chosen),
        seconds=time.perf_counter() - begun,
    )


def _compare_features(
    probe: Probe,
    declared: Mapping[str, Mapping[str, int]],
    base: FeatureColumns,
    later: FeatureColumns,
    rows: int,
) -> Iterator[FeatureWarmUp]:
    """Each feature over each instrument that has lost some history, but no more than half."""
    timeline = probe.timeline
    for instrument in timeline.instruments:
        own = timeline.rows_of(instrument.id)
        left = own[own >= rows]
        if len(left) == len(own) or 2 * len(left) < len(own):
            continue
        for strategy, features in declared.items():
            for feature, warm_up in features.items():
                before = base[strategy][feature][left]
                after = later[strategy][feature][left - rows]
                values = np.flatnonzero(~np.isnan(after))
                equal = (before == after) | (np.isnan(before) & np.isnan(after))
                scale = np.maximum(1.0, np.maximum(np.abs(before), np.abs(after)))
                near = equal | (np.abs(before - after) <= TOLERANCE * scale)
                yield FeatureWarmUp(
                    strategy=strategy,
                    feature=feature,
                    declared=warm_up,
                    first_value=int(values[0]) + 1 if len(values) else None,
                    close=_agrees_from(near),
                    equal=_agrees_from(equal),
                )


def _agrees_from(same: BoolArray) -> int | None:
    """Number, from 1, of the first item from which on all are the same; None: not the last one."""
    differing = np.flatnonzero(~same)
    first = int(differing[-1]) + 2 if len(differing) else 1
    return first if first <= len(same) else None


def _compare_decisions(
    strategies: Sequence[str], base: Trace, later: Trace, slice_ts: npt.NDArray[np.int64]
) -> Iterator[DecisionWarmUp]:
    for strategy in strategies:
        ours = _intents(base, strategy)
        theirs = _intents(later, strategy)
        same, equal = (
            _decides_alike_from(
                _by_time(ours, slice_ts, exact=exact), _by_time(theirs, slice_ts, exact=exact)
            )
            for exact in (False, True)
        )
        yield DecisionWarmUp(strategy=strategy, intents=len(ours), same=same, equal=equal)


def _intents(trace: Trace, strategy: str) -> list[tuple[int, Intent]]:
    return [
        (ts, payload)
        for ts, payload in trace.events
        if isinstance(payload, Intent) and payload.strategy == strategy
    ]


def _by_time(
    intents: Sequence[tuple[int, Intent]], slice_ts: npt.NDArray[np.int64], *, exact: bool
) -> dict[int, list[tuple[object, ...]]]:
    """What was wanted, by the number of the slice (from 0) in or after which it was."""
    found: dict[int, list[tuple[object, ...]]] = {}
    for ts, intent in intents:
        at = int(np.searchsorted(slice_ts, ts, side="right")) - 1
        if at >= 0:
            found.setdefault(at, []).append(_gist_of(intent, exact=exact))
    return found


def _gist_of(intent: Intent, *, exact: bool) -> tuple[object, ...]:
    """An intent without its number and the ids of orders, which count from the first one."""
    match intent:
        case OrderIntent():
            what = (intent.instrument, intent.side, intent.basis, intent.order_type,
                    intent.time_in_force, intent.reduce_only, intent.label)  # fmt: skip
            size = (intent.amount, intent.limit_ticks, intent.stop_ticks, intent.ts_expire)
            return (*what, *size) if exact else what
        case CancelIntent():
            return ("cancel",)
        case ExerciseIntent():
            return ("exercise", intent.instrument, *((intent.lots,) if exact else ()))
        case ConvertIntent():
            what = ("convert", intent.source, intent.target)
            return (*what, intent.amount) if exact else what
        case _:
            size = (intent.lots, intent.limit_ticks, intent.stop_ticks)
            return ("replace", *size) if exact else ("replace",)


def _decides_alike_from(
    ours: Mapping[int, list[tuple[object, ...]]], theirs: Mapping[int, list[tuple[object, ...]]]
) -> int | None:
    """Number, from 1, of the slice from which on both want the same; None: nothing follows it."""
    decided = sorted(ours.keys() | theirs.keys())
    differing = [at for at in decided if ours.get(at) != theirs.get(at)]
    if not differing:
        return 1
    return differing[-1] + 2 if differing[-1] < decided[-1] else None


def _worse(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else max(one, other)


def _worse_feature(one: FeatureWarmUp, other: FeatureWarmUp) -> FeatureWarmUp:
    return msgspec.structs.replace(
        one,
        first_value=_worse(one.first_value, other.first_value),
        close=_worse(one.close, other.close),
        equal=_worse(one.equal, other.equal),
    )


def _worse_decision(one: DecisionWarmUp, other: DecisionWarmUp) -> DecisionWarmUp:
    return msgspec.structs.replace(
        one, same=_worse(one.same, other.same), equal=_worse(one.equal, other.equal)
    )
