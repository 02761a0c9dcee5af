"""Strategies of a soak: one that trades, one that raises one day, one that never comes back."""

from __future__ import annotations

from onetape.domain.events import OrderEvent
from onetape.domain.market import Bar
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Trades(Strategy):
    """A moving-average cross with limits that are replaced and canceled, and a timer."""

    quantity: float = param(5.0, gt=0)
    orders: int = state(0)
    updates: int = state(0)

    def features(self) -> FeatureMap:
        return {"fast": Sma(3), "slow": Sma(12)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f = ctx.features
        if f.slow != f.slow:
            return
        held = ctx.position(bar.instrument)
        waiting = ctx.open_orders(bar.instrument)
        if waiting:
            ctx.cancel(waiting[0].client_order_id)
        elif f.fast > f.slow and held == 0:
            self.orders += 1
            ctx.buy(bar.instrument, self.quantity, limit=bar.close)
        elif f.fast < f.slow and held > 0:
            self.orders += 1
            ctx.sell(bar.instrument, held)
        if self.orders % 50 == 1:
            ctx.set_timer("pause", ctx.now + 30_000_000_000)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        self.updates += 1


class Raises(Strategy):
    """Orders now and then, and raises at a bar that a seed has drawn."""

    seed: int = param(7, ge=0)
    bars_max: int = param(1_000, ge=1)
    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 97 == 0 and ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, 1)
        if self.bars == 1 + (self.seed * 1_103_515_245 + 12_345) % 2**31 % self.bars_max:
            raise ValueError("one day")


class Sticks(Strategy):
    """Orders now and then, and once asks and asks and does not come back, whatever it is told."""

    stuck_at: int = param(500, ge=1)
    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 89 == 0:
            ctx.buy(bar.instrument, 1)
        while self.bars == self.stuck_at:
            try:  # noqa: SIM105 - as people write it
                ctx.history(bar.instrument, 50)
            except Exception:  # noqa: BLE001 - as people write it
                pass
