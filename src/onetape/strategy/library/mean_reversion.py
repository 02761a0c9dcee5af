"""Mean reversion: what has gone too far comes back."""

from __future__ import annotations

from onetape.domain.errors import StrategyError
from onetape.domain.market import Bar
from onetape.features import FeatureMap, ZScore
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class MeanReversion(Strategy):
    """Buys when the close is `entry` standard deviations below its mean, sells near the mean.

    Looks at every bar once `window` bars are known. With `short` it also sells what is that far
    above its mean, and buys it back near it. It goes from long to short only by way of flat.
    """

    window: int = param(20, ge=2, doc="bars in the mean and the standard deviation")
    entry: float = param(2.0, gt=0, doc="distance to enter at, in standard deviations")
    exit: float = param(0.5, ge=0, doc="distance to leave at, in standard deviations")
    quantity: float = param(1.0, gt=0, doc="units to hold")
    short: bool = param(False, doc="whether to sell short above the mean")

    def check_params(self) -> None:
        """A position must have some way to go before it is closed."""
        if self.exit >= self.entry:
            raise StrategyError(
                f"exit {self.exit} is not below entry {self.entry}",
                where="MeanReversion",
                remedy="choose exit < entry",
            )

    def features(self) -> FeatureMap:
        """Distance of the close from its mean, in standard deviations."""
        return {"z": ZScore(self.window)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Enter far from the mean, leave near it."""
        z = ctx.features.z
        if z != z:  # NaN: not warm yet, or the price has not moved
            return
        held = ctx.position(bar.instrument)
        if held == 0 and z <= -self.entry:
            ctx.buy(bar.instrument, self.quantity)
        elif held == 0 and self.short and z >= self.entry:
            ctx.sell(bar.instrument, self.quantity)
        elif held > 0 and z >= -self.exit:
            ctx.sell(bar.instrument, held)
        elif held < 0 and z <= self.exit:
            ctx.buy(bar.instrument, -held)
