"""A strategy with options on a share that splits."""

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state

CALL = InstrumentId("CALL.SIM")
PUT = InstrumentId("PUT.SIM")


class Splits(Strategy):
    """Buys calls and sells a put, and exercises two of what the splits have made of the calls."""

    days: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if bar.instrument != CALL:
            return
        self.days += 1
        if self.days == 3:
            ctx.buy(CALL, 2)
            ctx.sell(PUT, 1)
        elif self.days == 8:
            ctx.sell(CALL, 1, limit=90)
        elif self.days == 25:
            ctx.exercise(CALL, 2)
