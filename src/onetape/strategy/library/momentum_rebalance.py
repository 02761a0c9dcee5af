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

    On the first time slice of each UTC month it sells what is no longer among the best and trims
    what has grown. On the next slice, when a cash account has the money, it fills up what it kept
    and gives the free places to the best of that slice. It ranks what has a bar in the slice,
    has enough history and is in the session's universe then (where it has one); equal returns rank
    in the order of the configuration. Meant for a universe of one calendar.
    """

    bars: int = param(120, ge=1, doc="bars over which the return is measured")
    top: int = param(3, ge=1, doc="instruments to hold")
    weight: float = param(0.95, gt=0, le=1, doc="fraction of the equity to invest")
    month: int = state(-1)
    is_buying: bool = state(False)

    def features(self) -> FeatureMap:
        """The return of each instrument."""
        return {"momentum": SimpleReturn(self.bars)}

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        """Sell when a month has begun, buy one slice later."""
        month = compute_month(slice_.ts_known)
        if month != self.month:
            self.month = month
            self.is_buying = True
            self.sell(self.rank(slice_, ctx)[: self.top], ctx)
        elif self.is_buying:
            self.is_buying = False
            self.buy(self.rank(slice_, ctx), ctx)

    def rank(self, slice_: TimeSlice, ctx: Context) -> list[InstrumentId]:
        """The best first; a stable sort keeps equal ones in their order."""
        ranked: list[tuple[float, InstrumentId]] = []
        for bar in slice_.bars:
            momentum = ctx.features_of(bar.instrument).momentum
            is_warm = momentum == momentum  # not NaN: enough history
            if is_warm and ctx.is_member(bar.instrument):
                ranked.append((momentum, bar.instrument))
        ranked.sort(key=lambda pair: pair[0], reverse=True)
        return [instrument for _, instrument in ranked]

    def sell(self, winners: list[InstrumentId], ctx: Context) -> None:
        """Close the losers, trim the winners that have grown beyond their weight."""
        weight = self.weight / self.top
        goal = weight * ctx.equity
        for instrument in ctx.instruments:
            held = ctx.position(instrument)
            if held > 0 and instrument not in winners:
                ctx.target(instrument, 0)
            elif held > 0 and held * ctx.mark(instrument) > goal:
                ctx.target_weight(instrument, weight)

    def buy(self, ranked: list[InstrumentId], ctx: Context) -> None:
        """Bring what is held, and the best for the free places, up to their weight."""
        weight = self.weight / self.top
        goal = weight * ctx.equity
        wanted = [each for each in ctx.instruments if ctx.position(each) > 0]
        fresh = [each for each in ranked if each not in wanted]
        for instrument in wanted + fresh[: max(self.top - len(wanted), 0)]:
            worth = ctx.position(instrument) * ctx.mark(instrument)
            if worth < goal and not ctx.open_orders(instrument):
                ctx.target_weight(instrument, weight)
