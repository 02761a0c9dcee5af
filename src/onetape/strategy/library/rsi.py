"""RSI reversal: buy weakness, sell the recovery."""

from __future__ import annotations

from onetape.domain.errors import StrategyError
from onetape.domain.market import Bar
from onetape.features import FeatureMap, Rsi
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class RsiReversal(Strategy):
    """Buys when the relative strength index falls below `oversold`, sells when it is above `exit`.

    Looks at every bar once the index is warm. Long only.
    """

    window: int = param(14, ge=2, doc="bars in the index")
    oversold: float = param(30.0, gt=0, lt=100, doc="level to buy below")
    exit: float = param(55.0, gt=0, lt=100, doc="level to sell above")
    quantity: float = param(1.0, gt=0, doc="units to hold while long")

    def check_params(self) -> None:
        """A position must have some way to go before it is closed."""
        if self.exit <= self.oversold:
            raise StrategyError(
                f"exit {self.exit} is not above oversold {self.oversold}",
                where="RsiReversal",
                remedy="choose exit > oversold",
            )

    def features(self) -> FeatureMap:
        """The index of the close, 0 to 100."""
        return {"rsi": Rsi(self.window)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Enter in weakness, leave in strength."""
        rsi = ctx.features.rsi
        held = ctx.position(bar.instrument)
        if rsi < self.oversold and held == 0:  # false while rsi is NaN: not warm yet
            ctx.buy(bar.instrument, self.quantity)
        elif rsi > self.exit and held > 0:
            ctx.sell(bar.instrument, held)
