"""A strategy of library features and expressions decides the same in both hosts, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.events import OrderFilled
from onetape.domain.market import Bar
from onetape.features import (
    Atr,
    Donchian,
    Ema,
    FeatureMap,
    Hysteresis,
    Lag,
    Macd,
    Rsi,
    SessionVwap,
    Stochastic,
)
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from tests.support.parity_worlds import (
    Plan,
    World,
    compare_events,
    compare_figures,
    compare_state,
    run_compiled,
    run_python,
)
from tests.support.session_runs import make_terms
from tests.support.timelines import Prices, make_timeline


class Mixed(Strategy):
    """Buys a break of the channel before in a strong regime, sells when the pull turns."""

    fast: int = param(5, ge=2)
    seen: float = state(0.0)

    def features(self) -> FeatureMap:
        spread = Ema(self.fast) - Ema(3 * self.fast)
        return {
            "pull": spread / Atr(7),
            "turn": Macd(self.fast, 3 * self.fast, 4, "histogram"),
            "ceiling": Lag(1).of(Donchian(6, "upper")),
            "strong": Hysteresis(45, 55).of(Rsi(5)),
            "slow": Stochastic(8, 3, 3, "d"),
            "fair": SessionVwap(),
        }

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f = ctx.features
        if f.pull != f.pull or f.turn != f.turn or f.slow != f.slow:
            return
        self.seen += f.pull + 0.01 * f.slow + f.turn + (bar.close - f.fair)
        held = ctx.position(bar.instrument)
        if held == 0 and f.strong == 1.0 and bar.close > f.ceiling:
            ctx.buy(bar.instrument, 10.0)
        elif held > 0 and (f.turn < 0.0 or f.slow < 30.0):
            ctx.sell(bar.instrument, held)


def make_walk(seed: int, rows: int) -> list[Prices]:
    rng = np.random.default_rng(seed)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.004, rows))), 2)
    open_ = np.concatenate([close[:1], close[:-1]])
    high = np.round(np.maximum(open_, close) + rng.random(rows), 2)
    low = np.round(np.minimum(open_, close) - rng.random(rows), 2)
    return list(zip(open_.tolist(), high.tolist(), low.tolist(), close.tolist(), strict=True))


@pytest.mark.parametrize("rows", [900, 60_000])
def test_strategy_of_expressions_decides_the_same_in_both_hosts(rows: int) -> None:
    """The long walk is computed by the compiled host of features in the Python session too."""
    timeline = make_timeline(make_walk(1, rows), make_walk(2, rows), session=390)
    plan = Plan(capital=100_000.0, limits=RiskLimits(max_leverage=3))
    world = World(plan, timeline, make_terms(timeline), ())
    sets = [{"fast": 3}, {"fast": 5}]
    for params, other in zip(sets, run_compiled(world, Mixed, sets), strict=True):
        mine = run_python(world, Mixed(**params))
        assert compare_events(mine.events, other.events) == ""
        assert compare_figures(mine.outcome, other.outcome) == ""
        assert compare_state(mine.state, other.state) == ""
        assert other.is_carried
        assert sum(isinstance(event, OrderFilled) for _, event in mine.events) > 20
