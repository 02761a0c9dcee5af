"""What Python means, where a compiler could mean something else: each value is a piece of state."""

from __future__ import annotations

import math

from onetape.domain.instrument import InstrumentId
from onetape.domain.market import Bar, TimeSlice
from onetape.domain.orders import OrderType, Side
from onetape.features import FeatureMap, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Meanings(Strategy):
    """Computes at each bar; with a `trap` it does something at one bar in `every` that raises, or
    that leaves the numbers that compiled code has.
    """

    trap: int = param(0, ge=0, le=15)
    every: int = param(3, ge=1, le=50)
    k: int = param(3, ge=1, le=40)
    bars: int = state(0)
    steps: int = state(0)
    least: float = state(0.0)
    most: float = state(0.0)
    least_zero: float = state(0.0)
    mixed: float = state(0.0)
    remainder: float = state(0.0)
    quotient: float = state(0.0)
    endless: float = state(0.0)
    signs: int = state(0)
    age: float = state(0.0)
    is_later: bool = state(False)
    rounded: float = state(0.0)
    whole: int = state(0)
    fused: float = state(0.0)
    tiny: float = state(0.0)
    aliased: float = state(0.0)
    grown: float = state(0.0)
    cut: float = state(0.0)
    ties: int = state(0)
    summed: float = state(0.0)
    chosen: float = state(0.0)
    truths: int = state(0)
    chained: bool = state(False)
    ordered: int = state(0)
    looped: int = state(0)
    bits: int = state(0)
    best: float = state(0.0)
    count: int = state(0)
    early: int = state(0)
    o: str = state("")

    def features(self) -> FeatureMap:
        return {"average": Sma(2)}

    def on_start(self, ctx: Context) -> None:
        self.early = ctx.now // 1_000_000_000
        self.least = ctx.mark(ctx.instruments[-1])
        self.most = ctx.equity - ctx.cash
        ctx.cancel(self.o)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        self.compute_numbers(bar, ctx)
        self.compute_lists(bar)
        self.compute_flow(bar)
        self.look_at_orders(bar.instrument, ctx)
        if self.trap > 0 and self.bars % self.every == 0:
            self.spring(bar, ctx)

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        dearest = sorted(slice_.bars, key=lambda bar: bar.close, reverse=True)
        self.best = dearest[0].close + slice_.bars[-1].open
        self.count = len(slice_.bars)
        first = ctx.instruments[0]
        for each in ctx.instruments:
            if ctx.mark(each) > ctx.mark(first):
                first = each
        if self.bars % 4 == 0:
            ctx.target(first, -0.0)
            ctx.target(first, 70)

    def on_stop(self, ctx: Context) -> None:
        self.bars += 1_000
        self.mixed = ctx.mark(ctx.instruments[0])
        self.o = ctx.buy(ctx.instruments[0], 70.0)

    def step(self) -> int:
        """Counts how often it was asked."""
        self.steps += 1
        return self.steps

    def join(self, left: int, right: int) -> int:
        return left * 1_000 + right

    def halve(self, value: float) -> tuple[float, int]:
        return value / 2, int(value)

    def compute_numbers(self, bar: Bar, ctx: Context) -> None:
        nothing = bar.close * math.nan
        zero = bar.close * 0.0
        self.least = min(nothing, 1.0)
        self.most = max(1.0, nothing)
        self.least_zero = min(zero, -zero)
        self.mixed = max(self.k, bar.close, 2.5)
        self.remainder = (bar.open - bar.close) % -0.3 + (-bar.close) % math.inf
        self.quotient = -bar.close // 0.7 + bar.close // math.inf
        self.endless = -bar.close // math.inf + 1e308 * bar.close - bar.open % math.inf
        self.signs = -self.k % 5 * 100 + -self.k // 2 * 10 + self.k // -2
        self.age = ctx.now / 7 + (ctx.now - bar.ts_open) / 3.0
        self.is_later = ctx.now > 1.7042e18 + 0.3 or ctx.now == float(ctx.now)
        self.rounded = round(2.675, 2) + round(bar.open, 3) + abs(-0.0)
        self.whole = round(self.k + 0.5) * 10 + round(-0.5 - self.k) + int(-2.7) + math.ceil(-2.5)
        self.fused = bar.close * 1.1 + bar.open * -1.1 + bar.high * bar.high - bar.low * bar.low
        self.tiny = 5e-324 / 3.0 + bar.close * 1e-320

    def compute_lists(self, bar: Bar) -> None:
        first = [bar.open]
        other = first
        other.append(2.0)
        self.aliased = sum(first) + len(first)
        growing = [1.0, bar.close]
        for each in growing:
            if len(growing) < 6:
                growing.append(each * 2)
        self.grown = sum(growing) + max(growing) - min(growing)
        prices = [bar.open, bar.high, bar.low]
        prices[0] = 5.0
        prices[1] += 1.0
        self.cut = prices[-3] + sum(prices[5:]) + sum(prices[-2:]) + sum(prices[::-1][:1])
        pairs = [(1.0, 1), (0.0, 2), (1.0, 3), (0.0, 4)]
        pairs.sort(key=lambda pair: pair[0], reverse=True)
        self.ties = pairs[0][1] * 1_000 + pairs[1][1] * 100 + pairs[2][1] * 10 + pairs[3][1]
        self.summed = sum([0.1] * 10) + sum([1e16, 1.0, -1e16])

    def compute_flow(self, bar: Bar) -> None:
        nothing = bar.close * math.nan
        self.chosen = (self.fused - self.fused) or self.chosen or 2.5
        self.truths = (1 if nothing else 2) + (10 if self.o else 20) + (100 if self.truths else 200)
        self.chained = 0 < self.step() % 5 < 3 < self.step() < 900
        self.ordered = self.join(self.step(), self.step())
        self.steps += self.step()
        for i in range(4):
            i = i * 2  # noqa: PLW2901
            for j in range(4):
                if j > i:
                    break
                if j == 1:
                    continue
                self.looped += i * j
            else:
                self.looped += 100
        self.looped += i
        while True:
            self.looped += 1
            if self.looped % 7 == 0:
                break
        self.chosen, self.bits = self.halve(self.chosen + bar.close)
        self.bits = (self.k & 6) + (self.k >> 1) + (-5 >> 1) + (1 << self.k) + (~self.k ^ 3 | 8)

    def look_at_orders(self, instrument: InstrumentId, ctx: Context) -> None:
        mine = ctx.open_orders(instrument)
        price = ctx.round_price(instrument, 1.0 + self.bars % 3, Side.BUY)
        self.o = ctx.buy(instrument, 70.0, limit=price, stop=None)
        if len(mine) > 2 and len(ctx.open_orders(instrument)) == len(mine):
            ctx.cancel(mine[0].client_order_id)
        for order in mine:
            self.count += order.side * 3 + order.order_type + int(order.side == 1)
            if order.order_type > OrderType.MARKET and order.client_order_id == self.o:
                self.count += 1_000
        if self.bars % 5 == 0:
            ctx.cancel(self.o)
            ctx.replace(self.o, instrument, limit=price)

    def spring(self, bar: Bar, ctx: Context) -> None:
        """Something that compiled code can't carry to its end."""
        nothing = self.bars - self.bars
        if self.trap == 1:
            self.signs = self.signs * 3_000_000_019 * (self.bars + 3_000_000_019)
        elif self.trap == 2:
            self.whole = (ctx.now * ctx.now) % 1_000_003
        elif self.trap == 3:
            self.whole = round(bar.close * math.nan)
        elif self.trap == 4:
            self.whole = self.k // nothing
        elif self.trap == 5:
            prices = [bar.open, bar.close]
            self.cut = prices[self.bars % 5]
        elif self.trap == 6:
            self.cut = ctx.mark(ctx.instruments[self.bars])
        elif self.trap == 7:
            self.is_later = int(1e19) > 5
        elif self.trap == 8:
            ctx.target(bar.instrument, math.nan)
        elif self.trap == 9:
            self.cut = ctx.round_quantity(bar.instrument, math.inf)
        elif self.trap == 10:
            self.cut = math.sqrt(-bar.close)
        elif self.trap == 11:
            ctx.buy(bar.instrument, 1e17)
        elif self.trap == 12:
            ctx.buy(bar.instrument, 70.0, limit=1e15)
        elif self.trap == 13:
            ctx.target_weight(bar.instrument, 1e9)
        elif self.trap == 14:
            self.bits = (1 << self.bars * 7) + (self.k >> 70)
        else:
            self.cut = ctx.features_of(ctx.instruments[-1]).average
