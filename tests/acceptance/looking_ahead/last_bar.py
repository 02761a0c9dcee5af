"""Sells on the last bar of the file: it counts them before the first."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Count(State):
    rows: int = 0


COUNT = Count()


def count(state: Count, close: float) -> float:
    state.rows += 1
    return close


class Counted(Estimator, frozen=True):
    """The close. A NaN gives NaN."""

    update = staticmethod(count)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Count:
        return COUNT


class LastBar(Strategy):
    row: int = state(0)

    def features(self) -> FeatureMap:
        return {"close": Counted()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.row += 1
        if self.row == 1:
            ctx.buy(bar.instrument, 10)
        elif self.row == COUNT.rows // 2:
            ctx.sell(bar.instrument, 10)
