"""Shares, a future, options and a perpetual; orders into a halt."""

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, TradingStatus
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state

SHARE, FUTURE, CALL, PUT = map(InstrumentId, ("ALFA.SIM", "FUTURE.SIM", "CALL.SIM", "PUT.SIM"))
PERPETUAL = InstrumentId("PERP.SIM")


class Contracts(Strategy):
    """Holds a little of everything until it expires."""

    bars: int = state(0)
    halts: int = state(0)

    def on_status(self, status: TradingStatus, ctx: Context) -> None:
        self.halts += status.is_halted
        ctx.signal("halted", float(ctx.is_halted(status.instrument)))

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if bar.instrument != SHARE:
            return
        self.bars += 1
        if self.bars % 4 == 0:
            ctx.buy(SHARE, 5)
        elif self.bars % 4 == 2:
            ctx.target(SHARE, 0)
        if self.bars == 2:
            ctx.buy(FUTURE, 2)
            ctx.buy(CALL, 3)
            ctx.sell(PUT, 1)
        elif self.bars == 6:
            ctx.exercise(CALL, 1)
            ctx.buy(PERPETUAL, 3)


class Gambler(Strategy):
    """Buys as much of the perpetual as its margin allows, again and again."""

    bars: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 12 == 8 and not ctx.position(PERPETUAL) and ctx.equity > 0:
            ctx.buy(PERPETUAL, ctx.round_quantity(PERPETUAL, ctx.equity * 4.5 / bar.close))
