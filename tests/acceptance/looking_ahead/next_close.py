"""shift(-1): the callback reads the close of the next bar out of what a feature has collected."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Memory(State):
    closes: list[float] = []  # noqa: RUF012 - msgspec gives each instance its own


MEMORY = Memory()


def collect(state: Memory, close: float) -> float:
    state.closes.append(close)
    return close


class Collected(Estimator, frozen=True):
    """The close. A NaN gives NaN."""

    update = staticmethod(collect)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Memory:
        return MEMORY


class NextClose(Strategy):
    row: int = state(-1)

    def features(self) -> FeatureMap:
        return {"close": Collected()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.row += 1
        for following in MEMORY.closes[self.row + 1 : self.row + 2]:
            ctx.target(bar.instrument, 10 if following > bar.close else 0)
