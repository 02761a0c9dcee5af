"""Holds a position and a resting order when it raises."""

from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Fragile(Strategy):
    good_bars: int = param(20, ge=3)
    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars == 2:
            ctx.buy(bar.instrument, 5)
            ctx.buy(bar.instrument, 5, limit=1)
            ctx.sell(bar.instrument, 5, stop=1, reduce_only=True)
        if self.bars > self.good_bars:
            raise ZeroDivisionError("a bug on purpose")
