"""A feature that can't be computed without the bars after it."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Memory(State):
    closes: list[float] = []  # noqa: RUF012 - msgspec gives each instance its own
    at: int = -1


MEMORY = Memory()


def collect(state: Memory, close: float) -> float:
    state.closes.append(close)
    return close


def early(state: Memory, close: float) -> float:
    state.at += 1
    return MEMORY.closes[100] if state.at < 100 else close


class Collected(Estimator, frozen=True):
    """The close. A NaN gives NaN."""

    update = staticmethod(collect)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Memory:
        return MEMORY


class Early(Estimator, frozen=True):
    """The hundredth close before there is one. A NaN gives NaN."""

    update = staticmethod(early)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Memory:
        return Memory()


class Raises(Strategy):
    def features(self) -> FeatureMap:
        return {"close": Collected(), "early": Early()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, 1)
