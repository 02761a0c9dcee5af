"""Crossing averages: the classic trend follower."""

from __future__ import annotations

from onetape.domain.errors import StrategyError
from onetape.domain.market import Bar
from onetape.features import FeatureMap, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class SmaCross(Strategy):
    """Long while the fast average of the close is above the slow one, else flat.

    Looks at every bar once the slow average is warm; where the averages are equal nothing changes.
    """

    fast: int = param(10, ge=2, doc="bars in the fast average")
    slow: int = param(50, ge=3, doc="bars in the slow average")
    quantity: float = param(1.0, gt=0, doc="units to hold while long")
    entries: int = state(0)

    def check_params(self) -> None:
        """The fast average needs fewer bars than the slow one."""
        if self.fast >= self.slow:
            raise StrategyError(
                f"fast {self.fast} is not below slow {self.slow}",
                where="SmaCross",
                remedy="choose fast < slow",
            )

    def features(self) -> FeatureMap:
        """Both averages of the close."""
        return {"fast": Sma(self.fast), "slow": Sma(self.slow)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Enter above, leave below."""
        f = ctx.features
        if f.slow != f.slow:  # NaN: not warm yet
            return
        held = ctx.position(bar.instrument)
        if f.fast > f.slow and held == 0:
            ctx.buy(bar.instrument, self.quantity)
            self.entries += 1
        elif f.fast < f.slow and held > 0:
            ctx.sell(bar.instrument, held)
