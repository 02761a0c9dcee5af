"""Momentum: once a month, hold what has risen most."""

from __future__ import annotations

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import TimeSlice
from onetape.domain.timestamps import compute_month
from onetape.features import FeatureMap, SimpleReturn
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class MomentumRebalance(Strategy):
    """Holds the `top` instruments of its universe by return over `bars` bars, equally weighted.

    Trades on the first time slice of each UTC month, first the sales, then the purchases. Ranks
    what has a bar in that slice and enough history; equal returns rank in the order of the
    configuration. While fewer than `top` can be ranked, the rest stays cash. Meant for a universe
    of one calendar.
    """

    bars: int = param(120, ge=1, doc="bars over which the return is measured")
    top: int = param(3, ge=1, doc="instruments to hold")
    weight: float = param(0.95, gt=0, le=1, doc="fraction of the equity to invest")
    month: int = state(-1)

    def features(self) -> FeatureMap:
        """The return of each instrument."""
        return {"momentum": SimpleReturn(self.bars)}

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        """Rebalance when a month has begun."""
        month = compute_month(slice_.ts_known)
        if month != self.month:
            self.month = month
            self.rebalance(self.winners(slice_, ctx), ctx)

    def winners(self, slice_: TimeSlice, ctx: Context) -> list[InstrumentId]:
        """The best first; a stable sort keeps equal ones in their order."""
        ranked: list[tuple[float, InstrumentId]] = []
        for bar in slice_.bars:
            momentum = ctx.features_of(bar.instrument).momentum
            if momentum == momentum:  # not NaN: enough history
                ranked.append((momentum, bar.instrument))
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        return [instrument for _, instrument in ranked[: self.top]]

    def rebalance(self, winners: list[InstrumentId], ctx: Context) -> None:
        """Sell the losers, trim what has grown, then buy."""
        for instrument in ctx.instruments:
            if ctx.position(instrument) > 0 and instrument not in winners:
                ctx.target(instrument, 0)
        weight = self.weight / self.top
        goal = weight * ctx.equity
        grown = [each for each in winners if ctx.position(each) * ctx.mark(each) > goal]
        rest = [each for each in winners if each not in grown]
        for instrument in grown + rest:
            ctx.target_weight(instrument, weight)
