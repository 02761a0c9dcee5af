"""Every few slices into the instrument that has risen most, out of the others."""

from onetape.domain.market import Bar, TimeSlice
from onetape.features import FeatureMap, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Rotation(Strategy):
    every: int = param(5, ge=1)
    slices: int = state(0)

    def features(self) -> FeatureMap:
        return {"mean": Sma(4)}

    def on_slice(self, time_slice: TimeSlice, ctx: Context) -> None:
        self.slices += 1
        if self.slices % self.every:
            return
        best, most = "", 0.0
        for name in ctx.instruments:
            known = ctx.features_of(name)
            if known is not None and ctx.mark(name) > known.mean * (1 + most):
                best, most = name, ctx.mark(name) / known.mean - 1
        for name in ctx.instruments:
            if ctx.features_of(name) is not None:
                ctx.target_weight(name, 0.6 if name == best else 0.1)


class Dipper(Strategy):
    def features(self) -> FeatureMap:
        return {"mean": Sma(3)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        held = ctx.position(bar.instrument)
        if bar.close < ctx.features.mean and held == 0:
            ctx.buy(bar.instrument, 7)
        elif bar.close > ctx.features.mean and held > 0:
            ctx.sell(bar.instrument, held)
