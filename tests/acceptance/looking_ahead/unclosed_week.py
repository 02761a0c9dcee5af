"""Each day knows the mean close of its week, whose end is still to come."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Weeks(State):
    closes: list[float] = []  # noqa: RUF012 - msgspec gives each instance its own


WEEKS = Weeks()


def collect(state: Weeks, close: float) -> float:
    state.closes.append(close)
    return close


class Collected(Estimator, frozen=True):
    """The close. A NaN gives NaN."""

    update = staticmethod(collect)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Weeks:
        return WEEKS


class UnclosedWeek(Strategy):
    row: int = state(-1)

    def features(self) -> FeatureMap:
        return {"close": Collected()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.row += 1
        first = self.row - self.row % 5
        week = WEEKS.closes[first : first + 5]
        ctx.target(bar.instrument, 10 if bar.close < sum(week) / len(week) else 0)
