"""`features()` closes over a list that its own estimators fill; no decision uses the result."""

from __future__ import annotations

from onetape.domain.market import Bar
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Nothing(State):
    pass


class Closure(Strategy):
    def features(self) -> FeatureMap:
        seen: list[float] = []

        def collect(state: Nothing, close: float) -> float:
            seen.append(close)
            return close

        def rank(state: Nothing, close: float) -> float:
            return sum(each < close for each in seen) / len(seen)

        class Collected(Estimator, frozen=True):
            update = staticmethod(collect)

            @property
            def warm_up(self) -> int:
                return 1

            def start_state(self) -> Nothing:
                return Nothing()

        class Rank(Collected, frozen=True):
            update = staticmethod(rank)

        return {"close": Collected(), "rank": Rank()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, 1)
