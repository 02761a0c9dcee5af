"""Normalised with mean and deviation of the whole file, which the feature pass has filled in."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Moments(State):
    count: int = 0
    total: float = 0.0
    squares: float = 0.0


MOMENTS = Moments()


def add(state: Moments, close: float) -> float:
    state.count += 1
    state.total += close
    state.squares += close * close
    return close


class Added(Estimator, frozen=True):
    """The close. A NaN gives NaN."""

    update = staticmethod(add)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Moments:
        return MOMENTS


class FullSample(Strategy):
    def features(self) -> FeatureMap:
        return {"close": Added()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        mean = MOMENTS.total / MOMENTS.count
        deviation = max(MOMENTS.squares / MOMENTS.count - mean * mean, 1e-12) ** 0.5
        score = (bar.close - mean) / deviation
        held = ctx.position(bar.instrument)
        if score < -1 and held == 0:
            ctx.buy(bar.instrument, 10)
        elif score > 1 and held > 0:
            ctx.sell(bar.instrument, held)
