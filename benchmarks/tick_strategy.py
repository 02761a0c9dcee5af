"""A strategy on prints for the benchmarks: long while a fast average is above a slow one."""

from __future__ import annotations

from onetape.domain.market import TradeTick
from onetape.features.average import Ema
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param


class PrintTrend(Strategy):
    """Crosses about once in ten thousand prints."""

    fast: int = param(2_000, ge=2)
    slow: int = param(20_000, ge=3)

    def features(self) -> FeatureMap:
        return {"fast": Ema(self.fast), "slow": Ema(self.slow)}

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        f = ctx.features
        if f.slow != f.slow:
            return
        held = ctx.position(trade.instrument)
        if f.fast > f.slow and held == 0:
            ctx.buy(trade.instrument, 10.0)
        elif f.fast < f.slow and held > 0:
            ctx.sell(trade.instrument, held)
