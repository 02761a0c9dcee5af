"""A strategy that holds, borrows and converts foreign cash."""

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state

EURO = InstrumentId("EURO.SIM")
YEN = InstrumentId("YEN.SIM")


class Currencies(Strategy):
    """Converts every fifth day, buys and sells between, and asks for more than it may."""

    days: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if bar.instrument != EURO:
            return
        self.days += 1
        if self.days % 10 == 2:
            ctx.convert(1_500, "USD", "EUR")
        elif self.days % 10 == 7:
            ctx.convert(200, "EUR", "JPY")
            ctx.convert(1_000_000, "EUR", "USD")
            ctx.convert(1, "GBP", "USD")
        elif self.days % 3 == 0:
            ctx.target(EURO, 20 if ctx.position(EURO) <= 0 else -5)
            ctx.target(YEN, 100 * (self.days % 4))
