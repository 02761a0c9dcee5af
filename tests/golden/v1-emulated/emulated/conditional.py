"""Orders with conditions: if-touched, trailing, auctions, post-only, groups, brackets."""

from onetape.domain.market import Bar
from onetape.domain.orders import Contingency, Side, TimeInForce
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Conditional(Strategy):
    size: int = param(400, ge=1)
    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        name, size, step = bar.instrument, self.size, self.bars % 16
        below = ctx.round_price(name, bar.close * 0.99, Side.BUY)
        above = ctx.round_price(name, bar.close * 1.01, Side.SELL)
        if step == 1:
            ctx.order(name, Side.BUY, 10, touch=below)
        elif step == 2:
            ctx.order(name, Side.BUY, 10, touch=below, limit=above)
        elif step == 3:
            ctx.order(name, Side.BUY, 10, trail=1.5)
        elif step == 4:
            ctx.order(name, Side.SELL, 10, trail_ratio=0.02, limit_offset=0.5)
        elif step == 5:
            ctx.order(name, Side.BUY, 10, time_in_force=TimeInForce.AT_THE_OPEN)
            ctx.order(name, Side.SELL, 10, time_in_force=TimeInForce.AT_THE_CLOSE)
        elif step == 6:
            ctx.order(name, Side.BUY, 10, limit=above, post_only=True)
            ctx.order(name, Side.BUY, 10, limit=below, post_only=True)
        elif step == 7:
            group = f"oco {self.bars}"
            one = Contingency.OCO
            ctx.order(name, Side.BUY, 10, limit=below, group=group, contingency=one)
            ctx.order(name, Side.BUY, 10, stop=above, group=group, contingency=one)
        elif step == 8:
            ctx.target(name, 0)
        elif step == 9:
            ctx.bracket(name, Side.BUY, size, take_profit=above, stop_loss=below)
        elif step == 15:
            for order in ctx.open_orders(name):
                ctx.cancel(order.client_order_id)
