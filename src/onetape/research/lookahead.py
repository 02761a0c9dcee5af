"""The perturbation proof: no decision up to a time may depend on data known after it.

The session is run once as it is. Then, for many times t, every row known after t is changed,
thinned out or deleted, and the session is run again: whatever it decided up to t, and whatever
became of that, has to be the same event for event, and every feature column the same bit for bit.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import zip_longest
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError, InvariantBroken, StrategyError
from onetape.domain.events import Event, Payload, StrategyQuarantined
from onetape.domain.timestamps import to_iso
from onetape.marketdata.timeline import Timeline
from onetape.research.carried_data import CarriedData, find_carried
from onetape.research.perturbation import Change, Perturbation, Perturber
from onetape.research.session_probe import FeatureColumns, Probe, Trace
from onetape.tape.render import event_to_json

POINTS = 20
"""Times t that are tried unless told."""

OnRuns = Callable[[int, int], None]
"""Told (runs done, runs planned)."""

Kind = Literal["decision", "feature", "carried", "unstable"]

Events = Sequence[tuple[int, Payload]]

_VARIANTS = 3
_NOTHING = "nothing"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that knew what was not known yet.

    Attributes:
        kind: What moved; `carried`: a table of the market data in the strategy; `unstable`: two
            runs over the same data differ.
        strategy: Whose decision or feature; empty when it is nobody's.
        responsible: The feature, or the callback with its line, or the table.
        ts: When it was decided, or the time of the row with the feature value, ns UTC.
        ts_cut: The smallest t found: all data known up to it was as it is.
        ts_reach: The latest data that it still depends on is known then; 0 when not looked for.
        rows_ahead: So many rows of the timeline lie between `ts_cut` and `ts_reach`, with the last.
        before: The event or value over the data as it is.
        after: Over the data that was changed.
        change: How the data after `ts_cut` was changed.
        instrument: Of what alone it was changed; empty for all.
        is_ours: No strategy is responsible: a bug of onetape.
    """

    kind: Kind
    strategy: str
    responsible: str
    ts: int = 0
    ts_cut: int = 0
    ts_reach: int = 0
    rows_ahead: int = 0
    before: str = ""
    after: str = ""
    change: str = ""
    instrument: str = ""
    is_ours: bool = False

    @property
    def story(self) -> str:
        """One sentence for people."""
        match self.kind:
            case "unstable":
                return "two runs over the same data differ"
            case "carried":
                return f"strategy {self.strategy} carries market data in {self.responsible}"
            case "feature":
                return (
                    f"{self.responsible} of strategy {self.strategy} at {to_iso(self.ts)} moves "
                    f"with data known after {to_iso(self.ts_cut)}"
                )
            case "decision":
                return (
                    f"a decision at {to_iso(self.ts)} moves with data known after "
                    f"{to_iso(self.ts_cut)}: {self.responsible}"
                )


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One way to change the data, over all times it was tried at."""

    change: str
    instruments: str
    runs: int = 0
    decisions_moved: int = 0
    features_moved: int = 0


class LookaheadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the proof tried and found.

    Attributes:
        rows: Rows of the timeline.
        events: Events that were compared at the last t.
        points: The times t, ns UTC.
        attempts: Ways to change the data.
        findings: Empty when nothing looks ahead.
        carried: Tables in the strategies that match no market data: a change of the data can't
            move them, so nothing is proven about where they come from.
        untested: What could not be tried, and why.
        runs: Sessions that were run.
        seconds: Wall time.
    """

    rows: int
    events: int
    points: list[int]
    attempts: list[Attempt]
    findings: list[Finding]
    carried: list[CarriedData]
    untested: list[str]
    runs: int
    seconds: float

    @property
    def exit_code(self) -> int:
        """0, that of a strategy error, or that of a bug of ours."""
        if any(each.is_ours for each in self.findings):
            return InvariantBroken.exit_code
        return StrategyError.exit_code if self.findings else 0


class _Moved(msgspec.Struct, frozen=True, eq=False):
    """The first event that differs. A side is None where there is no such event."""

    ts: int
    before: Payload | None
    after: Payload | None


class _MovedFeature(msgspec.Struct, frozen=True, eq=False):
    row: int
    before: str
    after: str


def prove_no_lookahead(
    probe: Probe, points: int = POINTS, on_runs: OnRuns | None = None
) -> LookaheadReport:
    """Run the proof.

    Args:
        probe: The session.
        points: How many times t to try: half of them where something was decided, half evenly.
            At each all instruments are changed at once in three ways, and one of them, by turns
            (several where there are more than points), in two.
        on_runs: Told after each run.

    Raises:
        DataError: There are fewer than two times at which data becomes known.
        StrategyError: `features` or an estimator raises over the data as it is.
    """
    return _Proof(probe, points, on_runs or (lambda _done, _planned: None)).prove()


class _Proof:
    def __init__(self, probe: Probe, points: int, on_runs: OnRuns) -> None:
        self._probe = probe
        self._timeline = timeline = probe.timeline
        self._perturber = Perturber(timeline)
        self._on_runs = on_runs
        self._ends = np.flatnonzero(timeline.slice_end) + 1
        self._known = timeline.columns["ts_known"]
        # A session begins when its first bar opens; before that bar is known, to delete it would
        # move the beginning itself.
        first = int(timeline.columns["ts_open"].argmin())
        self._first_cut = int(np.searchsorted(self._ends, first, side="right"))
        self._last_cut = len(self._ends) - 2
        if self._last_cut < self._first_cut:
            raise DataError(
                "there are not two times at which data becomes known",
                remedy="choose a longer period",
            )
        self._points = points
        self._done = 0
        self._planned = 2
        self._untested: dict[str, None] = {}
        self._moved_features: dict[tuple[str, str], tuple[Perturbation, int]] = {}

    def prove(self) -> LookaheadReport:
        begun = time.perf_counter()
        self._base = self._run(self._timeline)
        self._times = [ts for ts, _ in self._base.events]
        findings: list[Finding] = []
        cuts: list[int] = []
        attempts: dict[tuple[str, str], Attempt] = {}
        carried = find_carried(self._probe.build(), self._timeline)
        again = self._run(self._timeline)
        unstable = self._find_unstable(again)
        if unstable is not None:
            findings.append(unstable)
        else:
            cuts = self._choose_cuts()
            findings += self._try_all(cuts, attempts)
        findings += [_tell_carried(each) for each in carried if each.rows]
        compared = self._until(self._timeline, cuts[-1]) if cuts else 0
        return LookaheadReport(
            rows=len(self._timeline),
            events=bisect_right(self._times, compared),
            points=[self._ts(cut) for cut in cuts],
            attempts=list(attempts.values()),
            findings=findings,
            carried=[each for each in carried if not each.rows],
            untested=list(self._untested),
            runs=self._done,
            seconds=time.perf_counter() - begun,
        )

    # What is tried.

    def _choose_cuts(self) -> list[int]:
        """Slices after which data is changed: half of them with a decision, the rest evenly."""
        slice_ts = self._known[self._ends - 1]
        decided = np.unique(np.searchsorted(slice_ts, self._times, side="right") - 1)
        decided = decided[(decided >= self._first_cut) & (decided <= self._last_cut)]
        all_cuts = np.arange(self._first_cut, self._last_cut + 1)
        chosen = set(_spread(decided, (self._points + 1) // 2))
        rest = np.setdiff1d(all_cuts, sorted(chosen))
        return sorted(chosen | set(_spread(rest, self._points - len(chosen))))

    def _plan(self, cuts: Sequence[int]) -> list[tuple[int, Perturbation]]:
        ids = [each.id for each in self._timeline.instruments]
        turns = -(-len(ids) // len(cuts)) if len(ids) > 1 else 0
        plan: list[tuple[int, Perturbation]] = []
        for number, cut in enumerate(cuts):
            variant = number % _VARIANTS
            plan += [(cut, Perturbation(change, None, variant)) for change in Change]
            for turn in range(turns):
                one = ids[(number * turns + turn) % len(ids)]
                plan += [
                    (cut, Perturbation(change, one, variant))
                    for change in (Change.CHANGED, Change.DELETED)
                ]
        return plan

    def _try_all(
        self, cuts: Sequence[int], attempts: dict[tuple[str, str], Attempt]
    ) -> list[Finding]:
        """Every change at every cut; the first decision that moves is looked into."""
        plan = self._plan(cuts)
        self._planned = 2 + len(plan)
        first: tuple[int, Perturbation] | None = None
        for cut, perturbation in plan:
            key = (perturbation.change.value, "one" if perturbation.instrument else "all")
            so_far = attempts.setdefault(key, Attempt(change=key[0], instruments=key[1]))
            moved, features = self._try(cut, perturbation)
            if moved is not None and first is None:
                first = cut, perturbation
            for each in features:
                self._moved_features.setdefault(each, (perturbation, cut))
            attempts[key] = msgspec.structs.replace(
                so_far,
                runs=so_far.runs + 1,
                decisions_moved=so_far.decisions_moved + (moved is not None),
                features_moved=so_far.features_moved + bool(features),
            )
        found = [] if first is None else [self._look_into_decision(*first)]
        found += [
            self._look_into_feature(*name, perturbation, cut)
            for name, (perturbation, cut) in sorted(
                self._moved_features.items(), key=lambda item: item[0]
            )
        ]
        return found

    def _try(
        self, cut: int, perturbation: Perturbation
    ) -> tuple[_Moved | None, dict[tuple[str, str], _MovedFeature]]:
        """What of the original differs up to the cut when data after it is changed."""
        timeline = self._perturber.apply(perturbation, self._rows(cut))
        try:
            trace = self._run(timeline, self._until(timeline, cut))
        except StrategyError as error:
            return None, self._note_raised(perturbation, error)
        moved = self._compare(trace, self._until(timeline, cut))
        return moved, _compare_columns(self._base.columns, trace.columns, self._rows(cut))

    def _note_raised(
        self, perturbation: Perturbation, error: StrategyError
    ) -> dict[tuple[str, str], _MovedFeature]:
        """Features that can't be computed are a finding where rows are only missing.

        They may fail over changed values with every right, and all columns come before the run.
        """
        told = f"{perturbation.change.value} data: {error}"
        if perturbation.change is not Change.DELETED:
            self._untested[told] = None
            return {}
        return {(error.where, ""): _MovedFeature(0, "values", str(error))}

    # Where it comes from.

    def _look_into_decision(self, cut: int, perturbation: Perturbation) -> Finding:
        """The smallest cut that a bisection finds, and how far ahead the decision looks there."""

        def moves(at: int) -> bool:
            return self._try(at, perturbation)[0] is not None

        cut = self._bisect(moves, self._first_cut - 1, cut)
        timeline = self._perturber.apply(perturbation, self._rows(cut))
        until = self._until(timeline, cut)
        changed = self._run(timeline, until, noted=True)
        moved = self._compare(changed, until)
        if moved is None:
            raise InvariantBroken(f"what moved after {to_iso(self._ts(cut))} moves no more")

        def still_moves(at: int) -> bool:
            later = self._perturber.apply(perturbation, self._rows(at))
            try:
                again = self._compare(self._run(later, moved.ts), moved.ts)
            except StrategyError:
                return True
            return again is not None

        reach = self._bisect_last(still_moves, cut)
        base = self._run(self._timeline, moved.ts, noted=True)
        return self._tell_decision(cut, reach, perturbation, base, changed)

    def _tell_decision(
        self, cut: int, reach: int, perturbation: Perturbation, base: Trace, changed: Trace
    ) -> Finding:
        """Of two runs that noted who asked for what."""
        moved = _first_difference(base.events, changed.events, self._ts(self._last_cut + 1))
        if moved is None:
            raise InvariantBroken(
                f"a decision moved after {to_iso(self._ts(cut))} and then did not"
            )
        made = _place_of(base, moved.before) or _place_of(changed, moved.after)
        strategy = _strategy_of(moved)
        features = [
            feature
            for name, feature in _compare_columns(base.columns, changed.columns, self._rows(cut))
            if name == strategy
        ]
        named = [f"feature {', '.join(features)}"] if features else []
        if made:
            named.append(f"decided in {made}" if named else made)
        return Finding(
            kind="decision",
            strategy=strategy,
            responsible=", ".join(named) or "no feature and no callback (a bug of onetape)",
            ts=moved.ts,
            ts_cut=self._ts(cut),
            ts_reach=self._ts(reach + 1),
            rows_ahead=self._rows(reach + 1) - self._rows(cut),
            before=_describe(moved.ts, moved.before),
            after=_describe(moved.ts, moved.after),
            change=perturbation.change.value,
            instrument=perturbation.instrument or "",
            is_ours=not named,
        )

    def _look_into_feature(
        self, strategy: str, feature: str, perturbation: Perturbation, cut: int
    ) -> Finding:
        """The smallest cut that a bisection finds, and how far ahead the value looks there."""
        name = (strategy, feature)
        cut = self._bisect(
            lambda at: name in self._features_at(at, perturbation), self._first_cut - 1, cut
        )
        moved = self._features_at(cut, perturbation)[name]
        reach, told = cut, "features()"
        if feature:
            reach = self._bisect_last(
                lambda at: name in self._features_at(at, perturbation, moved.row + 1), cut
            )
            owner = self._timeline.instruments[int(self._timeline.instrument_index[moved.row])]
            told = f"feature {feature} of {owner.id}"
        return Finding(
            kind="feature",
            strategy=strategy,
            responsible=told,
            ts=int(self._known[moved.row]),
            ts_cut=self._ts(cut),
            ts_reach=self._ts(reach + 1),
            rows_ahead=self._rows(reach + 1) - self._rows(cut),
            before=moved.before,
            after=moved.after,
            change=perturbation.change.value,
            instrument=perturbation.instrument or "",
        )

    def _features_at(
        self, cut: int, perturbation: Perturbation, rows: int | None = None
    ) -> dict[tuple[str, str], _MovedFeature]:
        timeline = self._perturber.apply(perturbation, self._rows(cut))
        try:
            columns = self._probe.columns(timeline)
        except StrategyError as error:
            return self._note_raised(perturbation, error)
        return _compare_columns(self._base.columns, columns, rows or self._rows(cut))

    def _find_unstable(self, again: Trace) -> Finding | None:
        last = int(self._known[-1])
        moved = self._compare(again, last)
        features = _compare_columns(self._base.columns, again.columns, len(self._timeline))
        if moved is not None:
            return Finding(
                kind="unstable", strategy=_strategy_of(moved), responsible="", ts=moved.ts,
                before=_describe(moved.ts, moved.before), after=_describe(moved.ts, moved.after),
            )  # fmt: skip
        for (strategy, feature), each in features.items():
            return Finding(
                kind="unstable", strategy=strategy, responsible=f"feature {feature}",
                ts=int(self._known[each.row]), before=each.before, after=each.after,
            )  # fmt: skip
        return None

    def _bisect(self, moves: Callable[[int], bool], still: int, moving: int) -> int:
        """A cut that moves right behind one that does not; below `still` nothing does."""
        while moving - still > 1:
            middle = (still + moving) // 2
            if moves(middle):
                moving = middle
            else:
                still = middle
        return moving

    def _bisect_last(self, moves: Callable[[int], bool], moving: int) -> int:
        """The last cut from `moving` on that still moves, where later ones move less."""
        still = self._last_cut + 1
        while still - moving > 1:
            middle = (still + moving) // 2
            if moves(middle):
                moving = middle
            else:
                still = middle
        return moving

    # Small words.

    def _run(self, timeline: Timeline, until: int | None = None, *, noted: bool = False) -> Trace:
        end = int(self._known[-1]) if until is None else until
        trace = self._probe.run(timeline, end, noted=noted)
        self._done += 1
        self._on_runs(self._done, max(self._done, self._planned))
        return trace

    def _compare(self, trace: Trace, until: int) -> _Moved | None:
        return _first_difference(self._base.events, trace.events, until)

    def _until(self, timeline: Timeline, cut: int) -> int:
        """The last time before anything that was changed is known, or before the data ends."""
        rows = self._rows(cut)
        return int(self._known[rows]) - 1 if len(timeline) > rows else self._ts(cut)

    def _rows(self, cut: int) -> int:
        return int(self._ends[cut])

    def _ts(self, cut: int) -> int:
        return int(self._known[self._ends[cut] - 1])


def _spread(values: npt.NDArray[np.int64], count: int) -> list[int]:
    """Up to `count` of them at even distances, the first and the last among them."""
    if count <= 0 or not len(values):
        return []
    at = np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int))
    return [int(each) for each in values[at]]


def _first_difference(ours: Events, theirs: Events, until: int) -> _Moved | None:
    """The first event up to `until` that is not the same on both sides."""
    for before, after in zip_longest(ours, theirs):
        sides = [each for each in (before, after) if each is not None and each[0] <= until]
        if not sides:
            return None
        if before is None or after is None or not _is_same(before, after):
            ts = min(each[0] for each in sides)
            return _Moved(
                ts,
                before[1] if before is not None and before[0] == ts else None,
                after[1] if after is not None and after[0] == ts else None,
            )
    return None


def _strategy_of(moved: _Moved) -> str:
    """Whose event it is; empty where the payload does not say."""
    return str(getattr(moved.before, "strategy", "") or getattr(moved.after, "strategy", ""))


def _is_same(before: tuple[int, Payload], after: tuple[int, Payload]) -> bool:
    """Equal, a NaN being equal to a NaN."""
    return before == after or msgspec.msgpack.encode(before) == msgspec.msgpack.encode(after)


def _compare_columns(
    before: FeatureColumns, after: FeatureColumns, rows: int
) -> dict[tuple[str, str], _MovedFeature]:
    """The features that differ within the first rows, each at its first such row."""
    found: dict[tuple[str, str], _MovedFeature] = {}
    for strategy, columns in before.items():
        for feature, column in columns.items():
            other = after[strategy][feature]
            ours, theirs = column[:rows], other[:rows]
            same = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
            if not same.all():
                row = int(same.argmin())
                values = repr(float(ours[row])), repr(float(theirs[row]))
                found[strategy, feature] = _MovedFeature(row, *values)
    return found


def _place_of(trace: Trace, payload: Payload | None) -> str:
    if payload is None:
        return ""
    if isinstance(payload, StrategyQuarantined):
        return payload.callback + (f" ({payload.where})" if payload.where else "")
    return trace.maker_of(payload)


def _describe(ts: int, payload: Payload | None) -> str:
    """The event on one line, as `onetape tape show` would name it; "nothing" when there is none."""
    if payload is None:
        return _NOTHING
    tag = str(type(payload).__struct_config__.tag)
    event = Event(
        seq=0, ts_event=ts, ts_ingest=ts, type=tag, source="", payload=payload, correlation_id=0,
        causation_id=0,
    )  # fmt: skip
    fields = event_to_json(event)["payload"]
    return " ".join([tag, *(f"{name}={value}" for name, value in fields.items())])


def _tell_carried(carried: CarriedData) -> Finding:
    return Finding(
        kind="carried",
        strategy=carried.strategy,
        responsible=f"{carried.where}, {carried.numbers:,} numbers",
        before=f"{carried.rows:,} of them stand in the {carried.column} of {carried.instrument}",
        instrument=carried.instrument,
    )
