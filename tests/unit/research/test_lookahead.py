from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.events import OrderFilled
from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.marketdata.bars import check_columns
from onetape.marketdata.timeline import Timeline
from onetape.research.carried_data import find_carried
from onetape.research.lookahead import prove_no_lookahead
from onetape.research.perturbation import Change, Perturbation, Perturber, cut_before
from onetape.research.session_probe import Probe, Trace
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.random_strategies import make_world
from tests.support.session_runs import make_terms
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    MSFT,
    OTHER,
    closes,
    flat,
    make_columns,
    make_timeline,
    scripted,
)

CAPITAL = 100_000 * 10**8


def make_probe(
    timeline: Timeline, *strategies: Callable[[], Strategy], kind: type[Probe] = Probe
) -> Probe:
    return kind(
        timeline,
        lambda: [
            StrategySpec(name=f"s{at}", strategy=make(), capital=CAPITAL)
            for at, make in enumerate(strategies)
        ],
        make_terms(timeline),
        RiskLimits(max_leverage=4),
    )


def walk(rows: int, seed: int = 1) -> list[tuple[float, ...]]:
    steps = np.random.default_rng(seed).normal(0, 0.02, rows)
    return flat(*np.round(100 * np.exp(np.cumsum(steps)), 2).tolist())


class Churn(Strategy):
    """Buys and sells by turns."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.target(bar.instrument, 10 if ctx.position(bar.instrument) == 0 else 0)


# Changed timelines.


@pytest.mark.parametrize("change", Change)
@pytest.mark.parametrize("alone", [None, MSFT])
@pytest.mark.parametrize("trades", [False, True])
def test_perturber_leaves_the_rows_up_to_a_cut_and_moves_those_after_it(
    change: Change, alone: str | None, trades: bool
) -> None:
    timeline = make_world(7, 60, 2, trades=trades).timeline
    perturbation = Perturbation(change, None if alone is None else timeline.instruments[1].id)
    rows = 50
    changed = Perturber(timeline).apply(perturbation, rows)
    assert changed.datasets == timeline.datasets
    assert list(changed.columns) == list(timeline.columns)
    for name, column in timeline.columns.items():
        assert (changed.columns[name][:rows] == column[:rows]).all()
    kept = {each.id: changed.rows_of(each.id) for each in timeline.instruments}
    assert sorted(np.concatenate(list(kept.values()))) == list(range(len(changed)))
    for at, each in enumerate(timeline.instruments):
        assert (changed.instrument_index[kept[each.id]] == at).all()
    own = timeline.rows_of(timeline.instruments[1].id)
    after = own[own >= rows]
    if change is Change.CHANGED:
        prices = "price" if trades else "open"
        assert (changed.columns["ts_known"] == timeline.columns["ts_known"]).all()
        assert (changed.columns[prices][after] != timeline.columns[prices][after]).all()
    elif change is Change.DELETED:
        assert len(kept[timeline.instruments[1].id]) == len(own) - len(after)
        assert (len(changed) > rows) == (alone is not None)
    else:
        assert 0 < len(timeline) - len(changed) < len(timeline) - rows
    if alone is not None:
        first = timeline.instruments[0].id
        other = timeline.rows_of(first)
        for name, column in timeline.columns.items():
            assert (changed.columns[name][kept[first]] == column[other]).all()


def test_changed_bars_are_bars_and_a_later_cut_changes_the_same_rows_alike() -> None:
    timeline = make_timeline(walk(80))
    perturber = Perturber(timeline)
    early, late = (perturber.apply(Perturbation(Change.CHANGED), rows) for rows in (20, 50))
    check_columns(early.columns, "changed")
    for name in ("open", "high", "low", "close", "volume"):
        assert (early.columns[name][50:] == late.columns[name][50:]).all()
        assert (early.columns[name][20:50] != late.columns[name][20:50]).all()
    assert (
        early.columns["high"] >= np.maximum(early.columns["open"], early.columns["close"])
    ).all()
    assert (early.columns["low"] <= np.minimum(early.columns["open"], early.columns["close"])).all()
    ratio = early.columns["close"][20:] / timeline.columns["close"][20:]
    assert 0.5 <= ratio.min() < 0.8
    assert 1.25 < ratio.max() <= 2
    other = perturber.apply(Perturbation(Change.CHANGED, variant=1), 20)
    assert (other.columns["close"][20:] != early.columns["close"][20:]).all()


def test_gaps_take_no_last_row() -> None:
    timeline = make_timeline(walk(200))
    for variant in range(20):
        gappy = Perturber(timeline).apply(Perturbation(Change.GAPS, variant=variant), 100)
        assert gappy.columns["ts_known"][-1] == timeline.columns["ts_known"][-1]
        assert 100 + 40 < len(gappy) < 200


def test_cut_before_keeps_the_rows_behind() -> None:
    timeline = make_timeline(walk(10), walk(10, 2))
    later = cut_before(timeline, 6)
    assert (later.columns["close"] == timeline.columns["close"][6:]).all()
    assert (later.rows_of(MSFT) == [1, 3, 5, 7, 9, 11, 13]).all()


# What a probe gives.


def test_probe_ends_a_run_behind_the_time_that_was_asked_for() -> None:
    timeline = make_timeline(walk(30))
    probe = make_probe(timeline, Churn)
    whole = probe.run(timeline)
    part = probe.run(timeline, closes(9))
    assert part.events == [each for each in whole.events if each[0] <= closes(9)]
    assert part.events
    assert probe.runs == 2


def test_probe_leaves_out_what_on_stop_says() -> None:
    timeline = make_timeline(walk(5))
    probe = make_probe(timeline, lambda: scripted(on_stop=lambda ctx: ctx.signal("end", 1.0)))
    assert [type(each).__name__ for _, each in probe.run(timeline).events] == ["CapitalDeposited"]


def test_probe_notes_who_asked_for_what() -> None:
    class Many(Strategy):
        def on_start(self, ctx: Context) -> None:
            ctx.set_timer("t", ctx.now + MINUTE * 3 // 2)

        def on_bar(self, bar: Bar, ctx: Context) -> None:
            self.enter(bar, ctx)

        def enter(self, bar: Bar, ctx: Context) -> None:
            if ctx.position(bar.instrument) == 0:
                ctx.buy(bar.instrument, 1)

        def on_timer(self, name: str, ctx: Context) -> None:
            ctx.signal("x", math.nan)

    timeline = make_timeline(walk(5))
    trace = make_probe(timeline, Many).run(timeline, noted=True)
    made = {type(each).__name__: trace.maker_of(each) for _, each in trace.events}
    line = Many.enter.__code__.co_firstlineno + 2
    assert made["OrderIntent"] == f"on_bar (test_lookahead.py:{line})"
    assert made["SignalRecorded"].startswith("on_timer (test_lookahead.py:")
    assert made["TimerFired"].startswith("on_start (test_lookahead.py:")
    assert made["OrderFilled"] == made["OrderApproved"] == ""


# The proof.


def test_nan_on_the_tape_is_equal_to_itself() -> None:
    timeline = make_timeline(walk(20))
    strategy = lambda: scripted(on_bar=lambda bar, ctx: ctx.signal("x", float("nan")))  # noqa: E731
    assert prove_no_lookahead(make_probe(timeline, strategy), 5).findings == []


def test_memory_that_outlives_a_run_is_told_instead_of_a_look_ahead() -> None:
    seen: list[float] = []

    class Remembers(Strategy):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            seen.append(bar.close)
            ctx.signal("bars", float(len(seen)))

    report = prove_no_lookahead(make_probe(make_timeline(walk(9)), Remembers), 5)
    (found,) = report.findings
    assert (found.kind, found.strategy) == ("unstable", "s0")
    assert found.story == "two runs over the same data differ"
    assert "value=1.0" in found.before
    assert "value=10.0" in found.after
    assert (report.exit_code, report.points, report.runs) == (2, [], 2)


class LeakyEngine(Probe):
    """A venue whose fees know the last close."""

    def run(self, timeline: Timeline, *args: Any, **how: Any) -> Trace:
        trace = super().run(timeline, *args, **how)
        fee = int(timeline.columns["close"][-1] * 100)
        events = [
            (ts, msgspec.structs.replace(each, fee=fee) if isinstance(each, OrderFilled) else each)
            for ts, each in trace.events
        ]
        return Trace(events, trace.columns, trace.makers)


def test_a_fill_that_moves_by_itself_is_a_bug_of_ours() -> None:
    report = prove_no_lookahead(make_probe(make_timeline(walk(30)), Churn, kind=LeakyEngine), 5)
    (found,) = report.findings
    assert found.is_ours
    assert found.responsible == "no feature and no callback (a bug of onetape)"
    assert found.before.startswith("order.filled ")
    assert report.exit_code == 70


def test_cut_is_the_smallest_at_which_the_decision_moves() -> None:
    """A leak of the last row's close from bar 10 on, of decisions that were honest before."""
    timeline = make_timeline(walk(40))

    class FromBarTen(Strategy):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            ctx.signal("close", bar.close)
            if bar.ts_close >= closes(10):
                columns = bar._block.columns["close"].base
                whole = bar._block.columns["close"] if columns is None else columns
                ctx.signal("last", float(whole[-1]))

    probe = make_probe(timeline, FromBarTen)
    report = prove_no_lookahead(probe, 3)
    (found,) = report.findings
    assert report.points == [closes(0), closes(1), closes(38)]
    assert (found.ts, found.ts_cut) == (closes(10), closes(10))
    assert (found.ts_reach, found.rows_ahead) == (closes(39), 29)
    assert found.change == "changed"
    assert found.responsible.startswith("on_bar (test_lookahead.py:")


def test_features_that_fail_over_changed_values_only_are_told_as_not_tried() -> None:
    class Nothing(State):
        pass

    def refuse_high(state: Nothing, close: float) -> float:
        if close > 150:
            raise ValueError("too high")
        return close

    class Refuses(Estimator, frozen=True):
        update = staticmethod(refuse_high)

        @property
        def warm_up(self) -> int:
            return 1

        def start_state(self) -> Nothing:
            return Nothing()

    class Fragile(Strategy):
        def features(self) -> FeatureMap:
            return {"close": Refuses()}

    report = prove_no_lookahead(make_probe(make_timeline(flat(*[100] * 50)), Fragile), 5)
    assert report.findings == []
    (told,) = report.untested
    assert told.startswith("changed data: ")
    assert "too high" in told


def test_data_after_the_first_bar_that_opened_is_deleted_only_when_that_is_known() -> None:
    """MSFT opens first and is known last: without it the session would begin later."""
    late = make_columns(walk(6, 2), delay=3 * MINUTE)
    early = make_columns(walk(6), start=closes(0) - MINUTE + 1)
    timeline = make_timeline((EQUITY, early), (OTHER, late))
    start = lambda: scripted(on_start=lambda ctx: ctx.signal("now", float(ctx.now)))  # noqa: E731
    report = prove_no_lookahead(make_probe(timeline, start), 50)
    assert report.findings == []
    assert min(report.points) == closes(0) + 3 * MINUTE


def test_proof_needs_two_times() -> None:
    with pytest.raises(DataError, match="two times"):
        prove_no_lookahead(make_probe(make_timeline(flat(100)), Churn))


def test_proof_raises_what_the_features_raise_over_the_data_as_it_is() -> None:
    class Broken(Strategy):
        def features(self) -> FeatureMap:
            raise ValueError("no")

    with pytest.raises(StrategyError, match="no"):
        prove_no_lookahead(make_probe(make_timeline(walk(9)), Broken))


def test_points_lie_half_at_decisions_and_cover_instruments_by_turns() -> None:
    def once(bar: Bar, ctx: Context) -> None:
        if bar.ts_close == closes(33) and bar.instrument == AAPL:
            ctx.buy(AAPL, 1)

    told: list[tuple[int, int]] = []
    timeline = make_timeline(walk(100), walk(100, 2))
    probe = make_probe(timeline, lambda: scripted(on_bar=once))
    report = prove_no_lookahead(probe, 6, lambda done, planned: told.append((done, planned)))
    assert closes(33) in report.points
    assert len(report.points) == 6
    assert report.points[-1] == closes(98)
    assert [(each.instruments, each.runs) for each in report.attempts] == [
        ("all", 6), ("all", 6), ("all", 6), ("one", 6), ("one", 6)
    ]  # fmt: skip
    assert report.runs == 2 + 30
    assert told[-1] == (32, 32)


# Tables that strategies carry.


class Carrier(Strategy):
    TABLE = tuple(range(100, 140))
    SHORT = tuple(range(8))

    def features(self) -> FeatureMap:
        return {}


def test_carried_rows_count_runs_of_equal_values_only() -> None:
    prices = [float(each) for each in (*range(100, 120), *range(400, 440))]
    timeline = make_timeline(flat(*prices))
    spec = StrategySpec(name="s", strategy=Carrier(), capital=1)
    found = {each.where: each for each in find_carried([spec], timeline)}
    assert (found["Carrier.TABLE"].rows, found["Carrier.TABLE"].numbers) == (20, 40)
    assert "Carrier.SHORT" not in found
    other = make_timeline(flat(*[each / 3 for each in prices]))
    found = {each.where: each for each in find_carried([spec], other)}
    assert found["Carrier.TABLE"].rows == 0


def test_constants_in_a_table_match_no_constant_column() -> None:
    class Flat(Carrier):
        TABLE = (*[1e9] * 20, *range(20))  # the volume of these bars

    spec = StrategySpec(name="s", strategy=Flat(), capital=1)
    found = {each.where: each for each in find_carried([spec], make_timeline(walk(60)))}
    assert (found["Flat.TABLE"].numbers, found["Flat.TABLE"].rows) == (40, 0)


def test_rings_of_an_estimator_are_no_tables() -> None:
    from onetape.strategy.library.sma_cross import SmaCross

    spec = StrategySpec(name="s", strategy=SmaCross(), capital=1)
    assert find_carried([spec], make_timeline(walk(60))) == []
