"""A centered rolling mean: one feature collects the closes, the next one looks them up."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Memory(State):
    closes: list[float] = []  # noqa: RUF012 - msgspec gives each instance its own
    at: int = -1


MEMORY = Memory()


def collect(state: Memory, close: float) -> float:
    state.closes.append(close)
    return close


def center(state: Memory, close: float) -> float:
    state.at += 1
    window = MEMORY.closes[max(0, state.at - 5) : state.at + 6]
    return sum(window) / len(window)


class Collected(Estimator, frozen=True):
    """The close. A NaN gives NaN."""

    update = staticmethod(collect)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Memory:
        return MEMORY


class Centered(Estimator, frozen=True):
    """Mean of 5 bars before and 5 after. A NaN gives NaN."""

    update = staticmethod(center)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Memory:
        return Memory()


class CenteredWindow(Strategy):
    held: bool = state(False)

    def features(self) -> FeatureMap:
        return {"close": Collected(), "center": Centered()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        below = ctx.features.close < ctx.features.center
        if below != self.held:
            self.held = below
            ctx.target(bar.instrument, 10 if below else 0)
