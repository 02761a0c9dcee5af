"""Orders of every type and fate, one after the other, by the number of the bar."""

from onetape.domain.events import OrderEvent, OrderPartiallyFilled
from onetape.domain.market import Bar
from onetape.domain.orders import Side, TimeInForce
from onetape.features import FeatureMap, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state

DAY = 86_400_000_000_000


class EveryOrder(Strategy):
    size: int = param(10, ge=1)
    bars: int = state(0)
    updates: int = state(0)
    resting: str = state("")

    def features(self) -> FeatureMap:
        return {"mean": Sma(5)}

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer("first", ctx.now + 10 * DAY)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        name, size, step = bar.instrument, self.size, self.bars % 24
        near = ctx.round_price(name, bar.close * 0.995, Side.BUY)
        far = ctx.round_price(name, bar.close * 0.5, Side.BUY)
        above = ctx.round_price(name, bar.close * 1.005, Side.SELL)
        if step == 1:
            ctx.buy(name, size, label="market")
        elif step == 2:
            ctx.sell(name, size, limit=near, label="limit")
        elif step == 3:
            ctx.buy(name, size, stop=above)
        elif step == 4:
            ctx.buy(name, size, stop=above, limit=ctx.round_price(name, above * 1.01, Side.BUY))
        elif step == 5:
            ctx.buy(name, size, limit=far, time_in_force=TimeInForce.IOC)
            ctx.buy(name, size, limit=far, time_in_force=TimeInForce.FOK)
        elif step == 6:
            ctx.buy(name, size, limit=far, time_in_force=TimeInForce.DAY)
            ctx.buy(
                name, size, limit=far, time_in_force=TimeInForce.GTD, ts_expire=ctx.now + 3 * DAY
            )
        elif step == 7:
            self.resting = ctx.buy(name, 40 * size)
        elif step == 8:
            for order in ctx.open_orders(name):
                if order.client_order_id == self.resting:
                    ctx.replace(self.resting, name, quantity=order.filled + 1)
        elif step == 9:
            self.resting = ctx.buy(name, size, limit=far)
        elif step == 10:
            ctx.replace(self.resting, name, quantity=2 * size, limit=near)
        elif step == 11:
            ctx.cancel(self.resting)
        elif step == 12:
            ctx.cancel(self.resting)
            ctx.cancel("nobody-knows-1")
        elif step == 13:
            self.resting = ctx.sell(name, size, limit=near)
            ctx.set_timer("cancel", ctx.now + 1)
        elif step == 14:
            ctx.buy(name, 100_000)
        elif step == 15:
            ctx.target(name, 3 * size)
        elif step == 16:
            ctx.target_weight(name, 0.25)
        elif step == 17:
            ctx.spend(name, 1_234.5)
        elif step == 18:
            ctx.spend_ratio(name, 0.1)
        elif step == 19:
            ctx.sell(name, 500 * size, reduce_only=True)
        elif step == 22:
            ctx.target(name, -2 * size)
        elif step == 23:
            ctx.target(name, 0)
        ctx.signal("mean", ctx.features.mean)

    def on_timer(self, name: str, ctx: Context) -> None:
        if name == "cancel":
            ctx.cancel(self.resting)
        ctx.signal(f"timer {name}", self.updates)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        self.updates += 1
        is_mine = getattr(update, "client_order_id", "") == self.resting
        if isinstance(update, OrderPartiallyFilled) and is_mine:
            ctx.replace(self.resting, update.instrument, quantity=1)
