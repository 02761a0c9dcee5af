"""At the open of a bar it bids the bar's own low, which is known at its close."""

from __future__ import annotations

from operator import attrgetter

from onetape.domain.market import Bar
from onetape.domain.orders import Side
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy

columns_of = attrgetter("_block.columns")
row_of = attrgetter("_row")


class SameBarLow(Strategy):
    def on_bar(self, bar: Bar, ctx: Context) -> None:
        for order in ctx.open_orders():
            ctx.cancel(order.client_order_id)
        held = ctx.position(bar.instrument)
        if held > 0:
            ctx.sell(bar.instrument, held)
            return
        for low in columns_of(bar)["low"][row_of(bar) + 1 :][:1]:
            limit = ctx.round_price(bar.instrument, float(low) * 1.001, Side.BUY)
            ctx.buy(bar.instrument, 10, limit=limit)
