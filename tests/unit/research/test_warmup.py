from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import DataError
from onetape.domain.market import Bar
from onetape.domain.rules import rule
from onetape.features import Ema, Estimator, FeatureMap, Rsi, SimpleReturn, Sma, State
from onetape.marketdata.timeline import Timeline
from onetape.research.session_probe import Probe
from onetape.research.warmup import DecisionWarmUp, FeatureWarmUp, WarmUpReport, measure_warm_up
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.session_runs import make_terms
from tests.support.timelines import MINUTE, flat, make_timeline


def walk(rows: int, seed: int = 1) -> list[tuple[float, ...]]:
    steps = np.random.default_rng(seed).normal(0, 0.02, rows)
    return flat(*np.round(100 * np.exp(np.cumsum(steps)), 2).tolist())


def measure(timeline: Timeline, kind: type[Strategy], starts: int = 6) -> WarmUpReport:
    probe = Probe(
        timeline,
        lambda: [StrategySpec(name="s", strategy=kind(), capital=100_000 * 10**8)],
        make_terms(timeline),
        RiskLimits(max_leverage=4),
    )
    return measure_warm_up(probe, starts)


def of(report: WarmUpReport, feature: str) -> FeatureWarmUp:
    (found,) = [each for each in report.features if each.feature == feature]
    return found


class PeakState(State):
    peak: float = 0.0


@rule
def update_peak(state: PeakState, close: float) -> float:
    """The highest close so far."""
    state.peak = max(state.peak, close)
    return state.peak


class Peak(Estimator, frozen=True):
    update = staticmethod(update_peak)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> PeakState:
        return PeakState()


class Averages(Strategy):
    def features(self) -> FeatureMap:
        return {
            "sma": Sma(10), "ema": Ema(10), "rsi": Rsi(5), "return": SimpleReturn(3), "peak": Peak()
        }  # fmt: skip

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f = ctx.features
        if f.ema == f.ema:
            ctx.target(bar.instrument, 10 if bar.close > f.ema else 0)


def test_features_that_forget_agree_when_they_are_warm_and_recursive_ones_later() -> None:
    report = measure(make_timeline(walk(800)), Averages)
    for name, warm_up in (("sma", 10), ("return", 4)):
        found = of(report, name)
        assert (found.declared, found.first_value, found.close) == (warm_up, warm_up, warm_up)
    assert of(report, "return").equal == 4
    ema = of(report, "ema")
    # The weight of what came before falls by 9/11 a bar: 1e-9 of the price after about 90 bars.
    assert (ema.declared, ema.first_value) == (10, 10)
    assert ema.close is not None
    assert 60 < ema.close < 120
    assert ema.equal is None or ema.equal > ema.close
    rsi = of(report, "rsi")
    assert rsi.close is not None
    assert rsi.close > rsi.declared == 6


def test_a_feature_that_never_forgets_is_told_and_ends_with_a_code() -> None:
    falling = make_timeline(flat(*np.linspace(200, 100, 300).round(2).tolist()))
    report = measure(falling, Averages)
    assert of(report, "peak").close is None
    assert report.exit_code == 2
    rising = measure(make_timeline(flat(*np.linspace(100, 200, 300).round(2).tolist())), Averages)
    assert of(rising, "peak").close == 1
    assert rising.exit_code == 0


def test_one_beginning_that_never_agrees_is_enough() -> None:
    """The peak comes after the first beginnings and before the last ones."""
    prices = [*np.linspace(100, 200, 60), *np.linspace(199, 100, 240)]
    report = measure(make_timeline(flat(*[round(each, 2) for each in prices])), Averages)
    assert min(report.starts) < 60 < max(report.starts)
    assert of(report, "peak").close is None
    assert of(report, "peak").equal is None


def test_decisions_agree_from_the_bar_after_the_last_that_differs() -> None:
    class EveryTen(Strategy):
        """Buys every tenth minute, once its average is warm."""

        def features(self) -> FeatureMap:
            return {"sma": Sma(12)}

        def on_bar(self, bar: Bar, ctx: Context) -> None:
            if ctx.features.sma > 0 and bar.ts_close // MINUTE % 10 == 0:
                ctx.buy(bar.instrument, 1)

    report = measure(make_timeline(walk(200)), EveryTen)
    # Begun after 29 bars it misses what is bought at the first bar and at the eleventh.
    assert 29 in report.starts
    assert report.decisions == [DecisionWarmUp(strategy="s", intents=19, same=12, equal=12)]


def test_amounts_that_depend_on_the_past_are_told_apart_from_decisions() -> None:
    class Counting(Strategy):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            ctx.buy(bar.instrument, 1 + ctx.intent_count)

    report = measure(make_timeline(walk(60)), Counting, starts=2)
    assert report.decisions == [DecisionWarmUp(strategy="s", intents=60, same=1, equal=None)]


def test_a_feature_that_declares_too_little_shows_its_first_value() -> None:
    class Short(Sma, frozen=True):
        @property
        def warm_up(self) -> int:
            return 2

    class Shorter(Strategy):
        def features(self) -> FeatureMap:
            return {"sma": Short(10)}

    found = of(measure(make_timeline(walk(100)), Shorter), "sma")
    assert (found.declared, found.first_value, found.close) == (2, 10, 10)


def test_instruments_are_measured_by_their_own_bars() -> None:
    late = [(100.0 + at % 7,) for at in range(40)]
    timeline = make_timeline(walk(200), late)
    found = of(measure(timeline, Averages), "sma")
    assert found.close == 10


def test_a_measurement_needs_four_slices() -> None:
    with pytest.raises(DataError, match="four slices"):
        measure(make_timeline(walk(3)), Averages)
    assert measure(make_timeline(walk(4)), Averages).starts == [1, 2]
