"""A feature that is fitted in `start_state`, on what the feature before it has collected."""

from __future__ import annotations

import numpy as np

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Memory(State):
    closes: list[float] = []  # noqa: RUF012 - msgspec gives each instance its own


class Line(State):
    slope: float
    start: float
    at: int = -1


MEMORY = Memory()


def collect(state: Memory, close: float) -> float:
    state.closes.append(close)
    return close


def distance(state: Line, close: float) -> float:
    state.at += 1
    return close - (state.start + state.slope * state.at)


class Collected(Estimator, frozen=True):
    """The close. A NaN gives NaN."""

    update = staticmethod(collect)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Memory:
        return MEMORY


class Residual(Estimator, frozen=True):
    """Distance from the line through all closes. A NaN gives NaN."""

    update = staticmethod(distance)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Line:
        if len(MEMORY.closes) < 2:
            return Line(0.0, 0.0)
        slope, start = np.polyfit(np.arange(len(MEMORY.closes)), np.array(MEMORY.closes), 1)
        return Line(float(slope), float(start))


class FittedFeature(Strategy):
    def features(self) -> FeatureMap:
        return {"close": Collected(), "residual": Residual()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.target(bar.instrument, 10 if ctx.features.residual < 0 else 0)
