"""Strategies of the compilable subset that do everything at random: twins of `RandomBars`.

What they do follows from the seed, the time and what they see, through integer arithmetic alone.
"""

from __future__ import annotations

import math

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import AggressorSide, Bar, TimeSlice, TradeTick
from onetape.domain.orders import OrderStatus, OrderType, Side, TimeInForce
from onetape.features import Atr, FeatureMap, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state

SECOND = 1_000_000_000


class Actor(Strategy):
    """At a share of the bars up to `acts` random things: orders of every type near the market,
    targets, sizes at the fill, cancels and replaces, right ones and wrong ones.

    With a `fault`, the thing that raises is done at one action in `fault_every`.
    """

    seed: int = param(1, ge=0, lt=2**31)
    activity: float = param(0.5, ge=0, le=1, doc="share of the bars at which it acts")
    acts: int = param(3, ge=1, le=5, doc="most things at one bar")
    new: int = param(10, ge=0, le=20, doc="weight of plain orders among what it does")
    sized: int = param(4, ge=0, le=20, doc="weight of targets and of sizes at the fill")
    changes: int = param(6, ge=1, le=20, doc="weight of cancels and replaces")
    size: float = param(40.0, gt=0, le=1e5, doc="most units of an order")
    reach: float = param(0.01, ge=0, le=0.3, doc="distance of limits and stops from the mark")
    window: int = param(3, ge=1, le=30)
    fault: int = param(0, ge=0, le=25)
    fault_every: int = param(20, ge=1, le=200)
    random: int = state(0)
    actions: int = state(0)
    worst: float = state(0.0)
    was_up: bool = state(False)
    first: str = state("")
    last: str = state("")

    def features(self) -> FeatureMap:
        return {"average": Sma(self.window), "range": Atr(self.window)}

    def on_start(self, ctx: Context) -> None:
        self.random = (self.seed * 48_271 + len(ctx.instruments)) % 2_147_483_648
        if self.seed % 7 == 0:  # denied: there is no mark yet
            self.last = ctx.buy(ctx.instruments[0], ctx.round_quantity(ctx.instruments[0], 70.0))
            ctx.target_weight(ctx.instruments[-1], 0.5)
        if self.fault == 21 and self.seed % 3 == 0:
            self.worst = ctx.features_of(ctx.instruments[0]).average

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.random = (self.random + bar.ts_close // SECOND * 7_919) % 2_147_483_648
        self.was_up = bar.close > bar.open
        if self.unit() >= self.activity:
            return
        for _ in range(1 + self.roll(self.acts)):
            self.act(bar.instrument, ctx)
        average = ctx.features.average
        if not math.isnan(average) and average != 0:
            self.worst = min(self.worst, (bar.low - average) / average)

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        self.random = (self.random + trade.ts_event // SECOND * 7_919) % 2_147_483_648
        self.was_up = trade.aggressor == AggressorSide.BUYER
        if trade.size > 0 and self.unit() < self.activity:
            self.act(trade.instrument, ctx)
            self.worst = max(self.worst, trade.price - ctx.mark(trade.instrument))

    def roll(self, bound: int) -> int:
        """A number in [0, bound)."""
        self.random = (self.random * 1_103_515_245 + 12_345) % 2_147_483_648
        return self.random // 65_536 % bound

    def unit(self) -> float:
        """A number in [0, 1)."""
        return self.roll(10_000) / 10_000

    def act(self, instrument: InstrumentId, ctx: Context) -> None:
        """One random thing."""
        self.actions += 1
        if self.fault > 0 and self.roll(self.fault_every) == 0:
            self.fail(instrument, ctx)
        kind = self.roll(self.new + self.sized + self.changes)
        if kind < self.new:
            self.order(instrument, ctx)
        elif kind < self.new + self.sized:
            self.sized_order(instrument, ctx)
        else:
            self.change(instrument, ctx)

    def near(self, price: float) -> float:
        """A price around `price`: a sum of three uniform distances."""
        return price * (1 + (self.unit() + self.unit() + self.unit() - 1.5) * self.reach)

    def order(self, instrument: InstrumentId, ctx: Context) -> None:
        """An order of any type and time in force."""
        quantity = ctx.round_quantity(instrument, self.unit() * self.size)
        price = ctx.mark(instrument)
        if not price > 0:
            price = 100.0
        if quantity <= 0:
            return
        tif = TimeInForce.GTC
        expire = 0
        how = self.roll(12)
        if how < 2:
            tif = TimeInForce.DAY
        elif how < 4:
            tif = TimeInForce.GTD
            expire = ctx.now + self.roll(400) * SECOND + 1
        elif how < 6:
            tif = TimeInForce.IOC
        elif how < 8:
            tif = TimeInForce.FOK
        reduce = self.roll(10) == 0
        kind = self.roll(4)
        if self.roll(2) == 0:
            limit = ctx.round_price(instrument, self.near(price), Side.BUY)
            stop = ctx.round_price(instrument, self.near(price), Side.BUY)
            if limit <= 0 or stop <= 0:
                return
            if kind == 0:
                self.last = ctx.buy(
                    instrument, quantity, time_in_force=tif, ts_expire=expire, reduce_only=reduce
                )
            elif kind == 1:
                self.last = ctx.buy(
                    instrument, quantity, limit=limit, time_in_force=tif, ts_expire=expire,
                    reduce_only=reduce,
                )  # fmt: skip
            elif kind == 2:
                self.last = ctx.buy(
                    instrument, quantity, stop=stop, time_in_force=tif, ts_expire=expire,
                    reduce_only=reduce,
                )  # fmt: skip
            else:
                self.last = ctx.buy(
                    instrument, quantity, limit=limit, stop=stop, time_in_force=tif,
                    ts_expire=expire, reduce_only=reduce,
                )  # fmt: skip
        else:
            limit = ctx.round_price(instrument, self.near(price), Side.SELL)
            stop = ctx.round_price(instrument, self.near(price), Side.SELL)
            if kind == 0:
                self.last = ctx.sell(
                    instrument, quantity, time_in_force=tif, ts_expire=expire, reduce_only=reduce
                )
            elif kind == 1:
                self.last = ctx.sell(
                    instrument, quantity, limit=limit, time_in_force=tif, ts_expire=expire,
                    reduce_only=reduce,
                )  # fmt: skip
            elif kind == 2:
                self.last = ctx.sell(
                    instrument, quantity, stop=stop, time_in_force=tif, ts_expire=expire,
                    reduce_only=reduce,
                )  # fmt: skip
            else:
                self.last = ctx.sell(
                    instrument, quantity, limit=limit, stop=stop, time_in_force=tif,
                    ts_expire=expire, reduce_only=reduce,
                )  # fmt: skip
        if self.actions % 5 == 0:
            self.first = self.last

    def sized_order(self, instrument: InstrumentId, ctx: Context) -> None:
        """A target, a weight, or a size that is found at the fill."""
        kind = self.roll(7)
        quantity = ctx.round_quantity(instrument, self.unit() * self.size)
        if kind == 0:
            self.last = ctx.target(instrument, quantity)
        elif kind == 1:
            ctx.target(instrument, -quantity)
        elif kind == 2:
            ctx.target(instrument, 0)
        elif kind == 3:  # halfway between two ratios that can be told apart
            ctx.target_weight(instrument, (self.roll(20_000) * 3_001 - 9_000_000 + 0.5) / 1e8)
        elif kind == 4:
            ctx.target_weight(instrument, (self.roll(13) - 4) / 10)
        elif kind == 5:
            amount = self.unit() * self.size * 10 + 1e-8
            if self.roll(3) == 0:
                ctx.spend(instrument, amount, Side.SELL)
            else:
                self.last = ctx.spend(instrument, amount)
        elif self.roll(3) == 0:
            ctx.spend_ratio(instrument, self.unit() * 0.3 + 1e-8, Side.SELL)
        else:
            ctx.spend_ratio(instrument, self.unit() + 1e-8)

    def change(self, instrument: InstrumentId, ctx: Context) -> None:
        """A cancel or a replace of what is open, or of what is not."""
        kind = self.roll(8)
        if kind == 0:
            ctx.cancel(self.last)  # "" at first, a closed order later
        elif kind == 1:
            ctx.cancel(self.first)
        elif kind == 2:
            wanted = ctx.round_quantity(ctx.instruments[0], self.unit() * self.size)
            if wanted > 0 and len(ctx.instruments) == 1:
                ctx.replace(self.last, ctx.instruments[0], quantity=wanted)
        elif kind == 3:  # protects what is held
            held = ctx.position(instrument)
            mark = ctx.mark(instrument)
            if held > 0 and mark > 0:
                stop = ctx.round_price(instrument, mark * (1 - self.reach), Side.SELL)
                if stop > 0:
                    ctx.sell(instrument, held, stop=stop, reduce_only=True)
            elif held < 0 and mark > 0:
                stop = ctx.round_price(instrument, mark * (1 + self.reach), Side.BUY)
                if stop > 0:
                    ctx.buy(instrument, -held, stop=stop, reduce_only=True)
        else:
            orders = ctx.open_orders(instrument)
            if not orders:
                return
            skip = self.roll(len(orders))
            for order in orders:
                if skip > 0:
                    skip -= 1
                    continue
                if kind < 6:
                    ctx.cancel(order.client_order_id)
                    if self.roll(6) == 0:  # a second time
                        ctx.cancel(order.client_order_id)
                    break
                what = self.roll(3)
                price = order.limit
                if order.order_type == OrderType.STOP:
                    price = order.stop
                if price <= 0:
                    price = 100.0
                near = ctx.round_price(instrument, self.near(price), order.side)
                plus = self.unit() * self.size * (0.03 if self.roll(2) == 0 else 1.0)
                more = ctx.round_quantity(instrument, order.filled + plus)
                if what == 0 and more > 0:
                    ctx.replace(order.client_order_id, instrument, quantity=more)
                elif near > 0 and order.status != OrderStatus.REPLACE_PENDING:
                    if what == 1:
                        ctx.replace(order.client_order_id, instrument, limit=near)
                    else:
                        ctx.replace(order.client_order_id, instrument, stop=near)
                break

    def fail(self, instrument: InstrumentId, ctx: Context) -> None:
        """Something that raises, in most of the worlds at least."""
        held = ctx.position(instrument)
        nothing = self.actions - self.actions
        one = ctx.round_quantity(instrument, 1000.0)
        if self.fault == 1:
            self.worst = held / (self.worst - self.worst)
        elif self.fault == 2:
            self.actions = self.actions // nothing
        elif self.fault == 3:
            self.actions = self.actions % nothing
        elif self.fault == 4:
            self.worst = held % (held - held)
        elif self.fault == 5:
            self.worst = held // (held - held)
        elif self.fault == 6:
            self.worst = self.actions / nothing
        elif self.fault == 7:
            ctx.buy(instrument, one + 0.01)
        elif self.fault == 8:
            ctx.sell(instrument, -one)
        elif self.fault == 9:
            ctx.buy(instrument, nothing)
        elif self.fault == 10:
            ctx.buy(instrument, one, limit=100.0001234)
        elif self.fault == 11:
            ctx.sell(instrument, one, stop=-5.0)
        elif self.fault == 12:
            ctx.buy(instrument, one, time_in_force=TimeInForce.GTD)
        elif self.fault == 13:
            ctx.buy(instrument, one, time_in_force=TimeInForce.IOC, ts_expire=ctx.now)
        elif self.fault == 14:
            ctx.spend(instrument, 0.0)
        elif self.fault == 15:
            ctx.spend_ratio(instrument, -0.5)
        elif self.fault == 16:
            self.worst = math.sqrt(-1.0 - self.unit())
        elif self.fault == 17:
            self.actions = int(self.unit() * math.inf)
        elif self.fault == 18:
            self.actions = math.floor(ctx.features.average * math.nan)
        elif self.fault == 19:
            known = [held]
            known.append(self.worst)
            self.worst = known[2 + self.roll(3)]
        elif self.fault == 20:
            ctx.round_price(instrument, math.nan, Side.BUY)
        elif self.fault == 21:
            for each in ctx.instruments:  # one without a bar has no features
                self.worst = max(self.worst, ctx.features_of(each).range)
        elif self.fault == 22:
            for order in ctx.open_orders(instrument):
                other = ctx.instruments[0]
                if other == instrument:
                    other = ctx.instruments[-1]
                ctx.replace(order.client_order_id, other, quantity=one)
        elif self.fault == 23:
            ctx.target(instrument, one + 0.001)
        elif self.fault == 24:  # raises nothing: a time to end where none is asked for
            ctx.buy(instrument, one, limit=ctx.round_price(instrument, 1.0, Side.SELL),
                    ts_expire=ctx.now + 90 * SECOND)  # fmt: skip
        else:
            ctx.target_weight(instrument, math.inf)


class SliceActor(Actor):
    """Acts when a time slice is over, on any instrument, bar or not."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.worst = max(self.worst, bar.high - bar.low)

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        self.random = (self.random + slice_.ts_known // SECOND * 7_919) % 2_147_483_648
        for bar in slice_.bars:
            if self.unit() < self.activity and bar.volume > 0:
                self.act(bar.instrument, ctx)
        if self.unit() < self.activity:
            self.act(ctx.instruments[self.roll(len(ctx.instruments))], ctx)


class Hoarder(Strategy):
    """Lets limit orders pile up beside the market, and now and then cancels all of them."""

    orders: int = param(5, ge=1, le=2_000, doc="orders at one bar")
    every: int = param(20, ge=1, doc="bars between two cancels of everything")
    distance: float = param(0.02, ge=0, lt=1)
    bars: int = state(0)
    open: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        self.open = len(ctx.open_orders(bar.instrument))
        if self.bars % self.every == 0:
            for order in ctx.open_orders(bar.instrument):
                ctx.cancel(order.client_order_id)
            return
        one = ctx.round_quantity(bar.instrument, 10.0)
        for number in range(self.orders):
            away = self.distance * (1 + number % 7)
            if number % 2 == 0:
                price = ctx.round_price(bar.instrument, bar.close * (1 - away), Side.BUY)
                ctx.buy(bar.instrument, one, limit=price)
            else:
                price = ctx.round_price(bar.instrument, bar.close * (1 + away), Side.SELL)
                ctx.sell(
                    bar.instrument, one, limit=price, reduce_only=ctx.position(bar.instrument) > 0
                )
