"""A local exchange fills as a backtest does, given the same orders at the same times."""

from __future__ import annotations

import random

import pytest

from onetape.domain.events import OrderFilled
from onetape.domain.market import Bar, QuoteTick, TradeTick
from onetape.domain.orders import LiquiditySide, Side, TimeInForce
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.fee_presets import make_alpaca_us
from onetape.execution.simulated.fees import BpsFees, FeeTier, PerShareFees, TieredFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage
from onetape.marketdata.tick_timeline import build_trade_timeline
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.strategy.context import Context
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.sdk import Strategy, param
from tests.support.intraday import SPY, read_minutes
from tests.support.local_venues import ME, SHARES, give_commands, make_exchange
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.shared_data import needs_shared
from tests.support.ticks import make_quote_timeline
from tests.support.timelines import AAPL, EQUITY, SECOND, make_columns, make_prints

BARS = 120


class LongOnly(Strategy):
    """Random orders of every type that both venues know; never sells more than it has."""

    seed: int = param(0)
    may_change: bool = param(True)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.hear(bar.close, ctx)

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        self.hear(trade.price, ctx)

    def on_quote(self, quote: QuoteTick, ctx: Context) -> None:
        self.hear(quote.bid, ctx)

    def hear(self, price: float, ctx: Context) -> None:
        chance = random.Random(f"{self.seed} {ctx.now}")
        mine = ctx.open_orders()
        if mine and chance.random() < 0.3 and self.may_change:
            one = chance.choice(mine)
            if chance.random() < 0.5:
                ctx.cancel(one.client_order_id)
            elif one.limit > 0:
                near = ctx.round_price(AAPL, price * chance.uniform(0.98, 1.02), Side.BUY)
                ctx.replace(one.client_order_id, AAPL, limit=near)
            return
        if chance.random() < 0.5:
            return
        held = ctx.position(AAPL)
        selling = any(each.side is Side.SELL for each in mine)
        side = Side.SELL if held and not selling and chance.random() < 0.5 else Side.BUY
        size = held if side is Side.SELL else chance.randint(1, 20)
        near = ctx.round_price(AAPL, price * chance.uniform(0.98, 1.02), side)
        far = ctx.round_price(AAPL, price * (1 + 0.01 * side), side)
        match chance.randrange(7):
            case 0:
                ctx.order(AAPL, side, size)
            case 1:
                ctx.order(AAPL, side, size, limit=near)
            case 2:
                ctx.order(AAPL, side, size, stop=far)
            case 3:
                ctx.order(AAPL, side, size, stop=far, limit=far)
            case 4:
                ctx.order(AAPL, side, size, trail=0.5)
            case 5:
                ctx.order(AAPL, side, size, limit=near, time_in_force=TimeInForce.IOC)
            case _:
                if side is Side.BUY:
                    ctx.spend(AAPL, 1_000, side)


def walk(seed: int, count: int) -> list[float]:
    chance = random.Random(seed)
    price = 100.0
    return [price := round(price * (1 + chance.gauss(0, 0.006)), 2) for _ in range(count)]


def make_bars(seed: int) -> Timeline:
    closes = walk(seed, BARS)
    rows = [
        (a, round(max(a, b) + 0.07, 2), round(min(a, b) - 0.05, 2), b, 1_000.0)
        for a, b in zip([100.0, *closes], closes, strict=False)
    ]
    columns = make_columns(rows, session=30)
    return build_timeline([(EQUITY, columns)], source="test", timeframe="1m")


def make_trades(seed: int) -> Timeline:
    rows = [(price, 25.0) for price in walk(seed, BARS)]
    prints = make_prints(rows, at=[n * SECOND * 7 for n in range(BARS)])
    return build_trade_timeline([(EQUITY, prints)], source="test")


def make_quotes(seed: int) -> Timeline:
    """Sizes of 1 to 30, so that orders take more than one quote."""
    chance = random.Random(seed)
    rows = [
        (bid, round(bid + chance.choice((0.01, 0.05)), 2), chance.randint(1, 30), 10.0)
        for bid in walk(seed, BARS)
    ]
    at = [n * SECOND * 7 for n in range(BARS)]
    prints = ([(row[0], 5.0) for row in rows[::4]], [each + 1 for each in at[::4]])
    return make_quote_timeline(rows, at=at, prints=prints)


def make_world(world: str, seed: int) -> Timeline:
    match world:
        case "trades":
            return make_trades(seed)
        case "quotes":
            return make_quotes(seed)
        case _:
            return make_bars(seed)


Fill = tuple[Side, int, int, int, LiquiditySide, int, int]


def fills_of(run: SessionRun) -> list[Fill]:
    return [
        (f.side, f.lots, f.ticks, f.fee, LiquiditySide(f.liquidity), f.leaves, f.ts_fill)
        for f in run.of_type(OrderFilled)
    ]


WORLDS = {
    "bars": {},
    "touched": {"limit_reach": LIMIT_TOUCHED, "slippage": FixedSlippage(bps=5)},
    "volume": {"max_volume_ratio": 0.01},
    "late": {"latency": LatencyModel(mean_ms=20_000)},
    "shares": {"fees": PerShareFees(rate="0.005", minimum=1)},
    "tiers": {
        "fees": TieredFees(
            tiers=(
                FeeTier(from_notional=0, maker_bps=5, taker_bps=9),
                FeeTier(from_notional=5_000, maker_bps=1, taker_bps=2),
            )
        )
    },
    "trades": {"max_volume_ratio": 0.5},
    "quotes": {},
}


@pytest.mark.parametrize("world", WORLDS)
def test_fills_and_books_are_those_of_a_backtest(world: str) -> None:
    """But for latency, under which a cancel inside a bar is carried out before the bar is known."""
    total = 0
    for seed in range(6):
        timeline = make_world(world, seed)
        models = {"fees": BpsFees(maker_bps=1, taker_bps=3), **WORLDS[world]}
        strategy = LongOnly(seed=seed, may_change=world != "late")
        terms = make_terms(timeline, **models)
        run = run_session(timeline, strategy, terms=terms)
        assert run.quarantined == []
        exchange = make_exchange(timeline, SHARES, **models)
        give_commands(exchange, run)
        books = exchange.books(ME)
        theirs = [
            (e.side, e.lots, e.ticks, e.fee, e.liquidity, e.leaves, e.ts_fill)
            for e in books.executions
        ]
        assert theirs == fills_of(run)
        ledger = run.ledger()
        assert books.balances["USD"].total == ledger.cash
        holding = books.positions.get(AAPL)
        assert (holding.cost if holding else 0) == ledger.positions[AAPL].cost
        assert (holding.lots if holding else 0) == ledger.positions[AAPL].lots
        total += len(theirs)
    assert total > 30


@needs_shared
def test_day_of_real_minutes_fills_and_costs_what_it_does_in_a_backtest() -> None:
    """SPY on 2013-10-07, bars of the regular session; Lean's data."""
    timeline = read_minutes("2013-10-07", SPY)
    assert len(timeline) == 390
    crossing = SmaCross(fast=5, slow=20, quantity=100)
    run = run_session(timeline, crossing, fees=make_alpaca_us())
    exchange = make_exchange(timeline, SHARES, fees=make_alpaca_us())
    give_commands(exchange, run)
    books = exchange.books(ME)
    assert len(books.executions) == len(run.fills) == 32
    assert books.balances["USD"].total == run.ledger().cash
    assert sum(books.fees.values()) == run.ledger().fees > 0
