"""Shares that pay dividends, under limits that shrink and breakers that trip."""

from onetape.domain.market import Bar
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Trader(Strategy):
    """Buys more than it may, and sells three bars later."""

    bars: int = state(0)

    def features(self) -> FeatureMap:
        return {"mean": Sma(3)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 6 == 1:
            ctx.buy(bar.instrument, ctx.round_quantity(bar.instrument, ctx.equity / bar.close))
        elif self.bars % 6 == 4:
            ctx.target(bar.instrument, 0)


class Holder(Strategy):
    """Holds from the first bar on."""

    bought: bool = state(False)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not self.bought:
            ctx.buy(bar.instrument, 40)
            self.bought = True
