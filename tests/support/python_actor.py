"""An `Actor` whose callbacks use what compiled ones can't."""

from __future__ import annotations

from onetape.domain.errors import StrategyError
from onetape.domain.market import Bar
from onetape.domain.orders import (
    OrderIntent,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.strategy.context import Context
from onetape.strategy.sdk import state
from tests.support.compiled_actor import Actor


class PythonActor(Actor):
    """Besides: history, a dict, labels that are computed, an error that is caught, orders taken off
    by what `open_orders` shows, an intent of its own making, an id that nobody has given out."""

    note: str = state("")
    taken: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        super().on_bar(bar, ctx)
        closes = ctx.history(bar.instrument, 3)
        seen = {"rising": bool(closes[-1] > closes[0]), "now": ctx.now % 7 == 0}
        choice = self.roll(8)
        if choice == 0:
            price = ctx.round_price(bar.instrument, bar.close * 0.97, Side.BUY)
            quantity = ctx.round_quantity(bar.instrument, self.size)
            if price > 0 and quantity > 0:
                self.last = ctx.buy(
                    bar.instrument, quantity, limit=price, label=f"{seen['rising']} {choice}"
                )
        elif choice == 1:
            try:
                ctx.buy(bar.instrument, -1.0)
            except StrategyError as error:
                self.note = error.what
        elif choice == 2:
            for order in ctx.open_orders(bar.instrument)[:2]:
                self.taken += 1
                ctx.cancel(order)
        elif choice == 3:
            ctx.submit(lambda strategy, number: OrderIntent(
                strategy, number, bar.instrument, Side.SELL, QuantityBasis.LOTS, 5,
                OrderType.MARKET, TimeInForce.IOC, label="own",
            ))  # fmt: skip
        elif choice == 4 and seen["now"]:
            ctx.cancel(f"{self.last}0" if self.last else "")
        elif choice == 5:
            self.worst += ctx.equity - ctx.cash + ctx.settled_cash + ctx.mark(bar.instrument)
