"""Ranks over a slice and regimes of a hidden Markov model decide the same in both hosts."""

from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.domain.market import Bar, TimeSlice
from onetape.features import (
    CrossSection,
    FeatureMap,
    LogReturn,
    MarkovRegime,
    RateOfChange,
    TrendRegime,
    compute_feature_columns,
)
from onetape.portfolio.performance_summary import choose_returns_clock
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import NotCompilable
from onetape.runtime.compiled.market import Market
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from tests.property.test_feature_sessions import make_walk
from tests.support.parity_worlds import Plan, World, run_compiled
from tests.support.session_runs import make_terms, run_session
from tests.support.timelines import make_timeline

MODEL = MarkovRegime((0.0, 0.0), (0.003, 0.008), ((0.98, 0.02), (0.05, 0.95)))
TIMELINE = make_timeline(make_walk(1, 700), make_walk(2, 690), session=390)
WORLD = World(
    Plan(capital=100_000.0, limits=RiskLimits(max_leverage=3)), TIMELINE, make_terms(TIMELINE), ()
)


class Ranked(Strategy):
    """Holds the one that rose more, unless it is wild."""

    bars: int = param(10, ge=1)
    sum: float = state(0.0)

    def features(self) -> FeatureMap:
        return {
            "rank": CrossSection(RateOfChange(self.bars)),
            "score": CrossSection(RateOfChange(self.bars), "zscore"),
            "wild": MODEL.of(LogReturn()),
        }

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        for bar in slice_.bars:
            f = ctx.features_of(bar.instrument)
            if f.rank != f.rank:
                continue
            self.sum += f.rank + (f.score if f.score == f.score else 0.0)
            held = ctx.position(bar.instrument)
            if held == 0 and f.rank > 0.5 and f.wild == 0:
                ctx.buy(bar.instrument, 10.0)
            elif held > 0 and f.rank < 0.5:
                ctx.sell(bar.instrument, held)


class Gated(Strategy):
    """Buys in a trend only."""

    def features(self) -> FeatureMap:
        return {"trend": TrendRegime(5, 20.0, 15.0)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        held = ctx.position(bar.instrument)
        if ctx.regime("trend") == 1 and held == 0:
            ctx.buy(bar.instrument, 10.0)
        elif ctx.regime("trend", bar.instrument) != 1 and held > 0:
            ctx.sell(bar.instrument, held)


def test_ranks_and_regimes_are_the_same_columns_in_both_hosts() -> None:
    """Callbacks read nothing but columns, in both."""
    run = run_session(TIMELINE, Ranked())
    assert len(run.fills) > 20
    features = Ranked().features()
    clock = choose_returns_clock(TIMELINE.instruments, TIMELINE.timeframe)
    compiled = Market(TIMELINE, clock).features(dict(features))
    mine = run.session.runners["s0"].columns
    for name, column in zip(features, compiled, strict=True):
        assert np.isfinite(column).sum() > 1_300
        assert mine[name].tobytes() == column.tobytes(), name


def test_rank_is_that_of_the_slice_and_of_no_instrument_without_a_bar() -> None:
    run = run_session(TIMELINE, Ranked(bars=5))
    columns = run.session.runners["s0"].columns
    ids = [each.id for each in TIMELINE.instruments]
    own = [
        compute_feature_columns(
            {"change": RateOfChange(5)},
            {name: each[TIMELINE.rows_of(one)] for name, each in TIMELINE.columns.items()},
        )["change"]
        for one in ids
    ]
    ranks = [columns["rank"][TIMELINE.rows_of(one)] for one in ids]
    both = min(map(len, own))
    naive = np.where(own[0][:both] == own[1][:both], 0.5, own[0][:both] > own[1][:both])
    assert ranks[0][5:both].tolist() == naive[5:].tolist()
    assert (ranks[0][both:] == 0.5).all()  # the other one has ended
    assert np.isnan(ranks[0][:5]).all()


def test_regime_gates_and_the_compiled_host_says_what_to_write() -> None:
    run = run_session(TIMELINE, Gated())
    assert run.quarantined == []
    assert len(run.fills) > 10
    with pytest.raises(NotCompilable, match=r"ctx\.regime is not carried") as caught:
        run_compiled(WORLD, Gated, [{}])
    assert "ctx.features.NAME" in str(caught.value)


def test_regime_of_an_unknown_name_is_one_clear_error() -> None:
    class Wrong(Gated):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            ctx.regime("trand")

    run = run_session(TIMELINE, Wrong())
    assert "there is no feature 'trand'" in run.quarantined[0].error
    assert "did you mean 'trend'" in run.quarantined[0].error


@pytest.mark.parametrize("host", ["python", "compiled"])
def test_rank_within_a_slice_is_refused(host: str) -> None:
    class Early(Strategy):
        def features(self) -> FeatureMap:
            return {"rank": CrossSection(RateOfChange(5))}

        def on_bar(self, bar: Bar, ctx: Context) -> None:
            pass

    run = {
        "python": lambda: run_session(TIMELINE, Early()),
        "compiled": lambda: run_compiled(WORLD, Early, [{}]),
    }
    with pytest.raises(StrategyError, match="on_bar is called before the slice is over"):
        run[host]()
