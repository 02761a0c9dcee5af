"""The workloads as onetape strategies; W1 and W3 are the shipped `SmaCross`."""

from __future__ import annotations

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, TimeSlice, TradeTick
from onetape.domain.timestamps import compute_month
from onetape.features import FeatureMap, SimpleReturn
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class TopMomentum(Strategy):
    """W2: on the first day of each month, whole units worth `notional` of the `top` instruments."""

    days: int = param(126, ge=1, doc="bars over which the return is measured")
    top: int = param(50, ge=1, doc="instruments to hold")
    notional: float = param(20_000.0, gt=0, doc="worth of each holding at the deciding close")
    month: int = state(-1)

    def features(self) -> FeatureMap:
        """The return of each instrument."""
        return {"momentum": SimpleReturn(self.days)}

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        """Sell what is no longer among the best, size the best anew."""
        month = compute_month(slice_.ts_known - 1)  # of the day that ends then
        if month == self.month:
            return
        self.month = month
        ranked: list[tuple[float, InstrumentId]] = []
        for bar in slice_.bars:
            momentum = ctx.features_of(bar.instrument).momentum
            if momentum == momentum:  # not NaN: enough history
                ranked.append((momentum, bar.instrument))
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        best = [instrument for _, instrument in ranked[: self.top]]
        for instrument in ctx.instruments:
            if instrument in best:
                ctx.target(instrument, self.notional // ctx.mark(instrument))
            elif ctx.position(instrument) > 0:
                ctx.target(instrument, 0)


class Reorder(Strategy):
    """W4: cancels its limit order and sends a new one at every bar.

    Buys one unit `offset` below the close when flat, and sells it as far above when not.
    """

    offset: float = param(0.08, gt=0, doc="distance of the limit from the close, in currency")
    working: str = state("")
    held: float = state(0.0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        """Cancel what has not filled, then order again."""
        held = ctx.position(bar.instrument)
        if self.working and held == self.held:
            ctx.cancel(self.working)
        self.held = held
        if held == 0:
            self.working = ctx.buy(bar.instrument, 1.0, limit=round(bar.close - self.offset, 5))
        else:
            self.working = ctx.sell(bar.instrument, 1.0, limit=round(bar.close + self.offset, 5))


class Flip(Strategy):
    """W5: looks at every trade; buys one unit and sells it in turn at every `every`th."""

    every: int = param(1_000, ge=1, doc="trades from one order to the next")
    waiting: int = state(0)

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        """Count, and trade at the last one."""
        self.waiting += 1
        if self.waiting == self.every:
            self.waiting = 0
            if ctx.position(trade.instrument) == 0:
                ctx.buy(trade.instrument, 1.0)
            else:
                ctx.sell(trade.instrument, 1.0)
