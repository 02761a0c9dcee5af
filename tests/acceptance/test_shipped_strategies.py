"""Each shipped strategy against a second, naive writing of it, on real daily bars.

The naive side shares nothing with the engine: plain lists, loops over whole windows, Decimal money.
Its broker fills market orders at the next open and charges a fee per share with a minimum. Both
must make the same fills and end with the same equity, to the last minor unit (1e-8).
"""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal
from itertools import pairwise

import numpy as np
import pytest

from onetape.domain.instrument import make_equity
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND, from_iso
from onetape.execution.simulated.fees import PerShareFees
from onetape.marketdata.timeline import build_timeline
from onetape.risk.limits import RiskLimits
from onetape.strategy.library.buy_and_hold import BuyAndHold
from onetape.strategy.library.mean_reversion import MeanReversion
from onetape.strategy.library.momentum_rebalance import MomentumRebalance
from onetape.strategy.library.rsi import RsiReversal
from onetape.strategy.library.sma_cross import SmaCross
from onetape.strategy.sdk import Strategy
from tests.support.session_runs import run_session
from tests.support.shared_data import SHARED, needs_shared

CAPITAL = Decimal(100_000)
RATE, MINIMUM = Decimal("0.005"), Decimal(1)
MINOR = Decimal("1e-8")
OPENS_AT, CLOSES_AT = 52_200 * NS_PER_SECOND, 75_600 * NS_PER_SECOND


@dataclass(frozen=True)
class Day:
    date: str
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


@dataclass(frozen=True)
class Trade:
    date: str
    symbol: str
    quantity: int
    price: Decimal
    fee: Decimal


Market = dict[str, list[Day]]


def read_days(symbol: str, start: str = "", end: str = "9") -> list[Day]:
    path = SHARED / f"equity_us/daily_raw/{symbol}.csv.gz"
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    fields = ("open", "high", "low", "close", "volume")
    return [
        Day(row["date"], *(Decimal(row[name]) for name in fields))
        for row in rows
        if start <= row["date"] < end
    ]


# The naive side.


def fee_of(quantity: int) -> Decimal:
    return max(RATE * abs(quantity), MINIMUM)


def affordable(budget: Decimal, price: Decimal) -> int:
    """The largest quantity whose price and fee fit into the budget (minor units, rounded down)."""
    budget = budget.quantize(MINOR, ROUND_FLOOR)
    quantity = int(budget // price)
    while quantity > 0 and quantity * price + fee_of(quantity) > budget:
        quantity -= 1
    return quantity


@dataclass
class Broker:
    """Orders wait for the next open of their symbol. A ratio is sized there, at that price."""

    cash: Decimal = CAPITAL
    held: dict[str, int] = field(default_factory=dict)
    mark: dict[str, Decimal] = field(default_factory=dict)
    waiting: list[tuple[str, int, Decimal]] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)

    def position(self, symbol: str) -> int:
        return self.held.get(symbol, 0)

    def order(self, symbol: str, quantity: int) -> None:
        if quantity:
            self.waiting.append((symbol, quantity, Decimal(0)))

    def order_weight(self, symbol: str, weight: Decimal) -> None:
        wanted = affordable(self.equity() * weight, self.mark[symbol])
        self.order(symbol, wanted - self.position(symbol))

    def equity(self) -> Decimal:
        return self.cash + sum(self.held[each] * self.mark[each] for each in self.held)

    def fill(self, day: Day, symbol: str) -> None:
        for order in [each for each in self.waiting if each[0] == symbol]:
            self.waiting.remove(order)
            quantity = order[1] or affordable(self.equity() * order[2], day.open)
            self.cash -= quantity * day.open + fee_of(quantity)
            self.held[symbol] = self.position(symbol) + quantity
            self.trades.append(Trade(day.date, symbol, quantity, day.open, fee_of(quantity)))


Decide = Callable[[Broker, str, list[float]], None]


def trade_each_bar(market: Market, decide: Decide) -> Broker:
    """Shows every bar to `decide`, with all closes of its symbol so far."""
    broker = Broker()
    closes: dict[str, list[float]] = {symbol: [] for symbol in market}
    for date, slice_ in slices(market):
        for symbol, day in slice_.items():
            assert day.date == date
            broker.fill(day, symbol)
        for symbol, day in slice_.items():
            broker.mark[symbol] = day.close
        for symbol, day in slice_.items():
            closes[symbol].append(float(day.close))
            decide(broker, symbol, closes[symbol])
    return broker


def slices(market: Market) -> Iterator[tuple[str, dict[str, Day]]]:
    by_date: dict[str, dict[str, Day]] = {}
    for symbol, days in market.items():
        for day in days:
            by_date.setdefault(day.date, {})[symbol] = day
    for date in sorted(by_date):
        yield date, by_date[date]


def naive_sma(fast: int, slow: int, quantity: int) -> Decide:
    def decide(broker: Broker, symbol: str, closes: list[float]) -> None:
        if len(closes) < slow:
            return
        quick, calm = sum(closes[-fast:]) / fast, sum(closes[-slow:]) / slow
        held = broker.position(symbol)
        if quick > calm and held == 0:
            broker.order(symbol, quantity)
        if quick < calm and held > 0:
            broker.order(symbol, -held)

    return decide


def naive_reversion(window: int, entry: float, leave: float, quantity: int, short: bool) -> Decide:
    def decide(broker: Broker, symbol: str, closes: list[float]) -> None:
        if len(closes) < window:
            return
        recent = closes[-window:]
        mean = sum(recent) / window
        deviation = (sum((each - mean) ** 2 for each in recent) / window) ** 0.5
        score = (closes[-1] - mean) / deviation
        held = broker.position(symbol)
        if held > 0 and score >= -leave:
            broker.order(symbol, -held)
        if held < 0 and score <= leave:
            broker.order(symbol, -held)
        if held == 0 and score <= -entry:
            broker.order(symbol, quantity)
        if held == 0 and short and score >= entry:
            broker.order(symbol, -quantity)

    return decide


def naive_rsi(window: int, oversold: float, leave: float, quantity: int) -> Decide:
    averages: dict[str, tuple[float, float]] = {}

    def decide(broker: Broker, symbol: str, closes: list[float]) -> None:
        if len(closes) <= window:
            return
        changes = [after - before for before, after in pairwise(closes[-window - 1 :])]
        if symbol not in averages:
            gain = sum(each for each in changes if each > 0) / window
            loss = sum(-each for each in changes if each < 0) / window
        else:
            gain, loss = averages[symbol]
            gain = (gain * (window - 1) + max(changes[-1], 0)) / window
            loss = (loss * (window - 1) + max(-changes[-1], 0)) / window
        averages[symbol] = gain, loss
        index = 100 - 100 / (1 + gain / loss)
        held = broker.position(symbol)
        if held == 0 and index < oversold:
            broker.order(symbol, quantity)
        if held > 0 and index > leave:
            broker.order(symbol, -held)

    return decide


def naive_hold(weight: Decimal) -> Decide:
    def decide(broker: Broker, symbol: str, closes: list[float]) -> None:
        if len(closes) == 1:
            broker.waiting.append((symbol, 0, weight))

    return decide


def naive_momentum(market: Market, bars: int, top: int, weight: Decimal) -> Broker:
    broker = Broker()
    closes: dict[str, list[float]] = {symbol: [] for symbol in market}
    months = [date[:7] for date, _ in slices(market)]
    for number, (_, slice_) in enumerate(slices(market)):
        for symbol, day in slice_.items():
            broker.fill(day, symbol)
        for symbol, day in slice_.items():
            broker.mark[symbol] = day.close
            closes[symbol].append(float(day.close))
        returns = {
            symbol: closes[symbol][-1] / closes[symbol][-1 - bars] - 1
            for symbol in slice_
            if len(closes[symbol]) > bars
        }
        best = sorted(returns, key=lambda symbol: -returns[symbol])
        keeps = [symbol for symbol in market if broker.position(symbol)]
        goal = broker.equity() * weight
        worth = {each: broker.position(each) * broker.mark.get(each, Decimal(0)) for each in market}
        if number == 0 or months[number] != months[number - 1]:
            for symbol in keeps:
                if symbol not in best[:top]:
                    broker.order(symbol, -broker.position(symbol))
                elif worth[symbol] > goal:
                    broker.order_weight(symbol, weight)
        elif number == 1 or months[number - 1] != months[number - 2]:
            free = top - len(keeps)
            for symbol in keeps + [each for each in best if each not in keeps][:free]:
                if worth[symbol] < goal:
                    broker.order_weight(symbol, weight)
    return broker


# The engine's side.


def run_engine(market: Market, strategy: Strategy) -> tuple[list[Trade], Decimal]:
    series = []
    for symbol, days in market.items():
        midnight = np.array([from_iso(day.date) for day in days], dtype=np.int64)
        closes = midnight + CLOSES_AT
        columns = {
            "ts_open": midnight + OPENS_AT,
            "ts_close": closes,
            "ts_known": closes,
            "session_close": closes,
            "quality": np.zeros(len(days), dtype=np.int64),
        }
        for name in ("open", "high", "low", "close", "volume"):
            columns[name] = np.array([float(getattr(day, name)) for day in days])
        series.append((make_equity(f"{symbol}.US", tick_size="0.0001"), columns))
    timeline = build_timeline(series, source="shared", timeframe="1d")
    fees = PerShareFees(rate=RATE, minimum=MINIMUM)
    run = run_session(timeline, strategy, capital=float(CAPITAL), fees=fees, limits=RiskLimits())
    assert run.quarantined == []
    assert run.denied == []
    trades = [
        Trade(
            str(np.datetime64(fill.ts_fill // NS_PER_DAY, "D")),
            fill.instrument.removesuffix(".US"),
            fill.lots * fill.side,
            Decimal(fill.ticks) * Decimal("0.0001"),
            fill.fee * MINOR,
        )
        for fill in run.fills
    ]
    return trades, run.equity() * MINOR


YEARS = {"start": "2003-01-01", "end": "2012-01-01"}
CROSS = (SmaCross(fast=10, slow=30, quantity=100.0), naive_sma(10, 30, 100))
BACK = (
    MeanReversion(window=20, entry=1.8, exit=0.3, quantity=70.0),
    naive_reversion(20, 1.8, 0.3, 70, False),
)
BOTH_WAYS = (
    MeanReversion(window=10, entry=1.5, exit=0.5, quantity=30.0, short=True),
    naive_reversion(10, 1.5, 0.5, 30, True),
)


@needs_shared
@pytest.mark.parametrize(
    ("strategy", "decide", "symbols", "trades_min"),
    [
        (*CROSS, ["spy"], 200),
        (*CROSS, ["aapl", "ibm", "bac"], 250),
        (*BACK, ["spy"], 100),
        (*BOTH_WAYS, ["spy", "iwm"], 300),
        (RsiReversal(window=14, oversold=35.0, exit=55.0, quantity=50.0),
         naive_rsi(14, 35.0, 55.0, 50), ["ibm"], 100),
        (BuyAndHold(), naive_hold(Decimal(1)), ["spy"], 1),
        (BuyAndHold(weight=0.5), naive_hold(Decimal("0.5")), ["aapl"], 1),
    ],
    ids=["sma_cross", "sma_cross_of_three", "mean_reversion", "mean_reversion_both_ways", "rsi",
         "buy_and_hold", "buy_and_hold_half"],
)  # fmt: skip
def test_shipped_strategy_makes_the_trades_of_its_naive_twin(strategy, decide, symbols, trades_min):
    market = {symbol: read_days(symbol) for symbol in symbols}
    naive = trade_each_bar(market, decide)
    trades, equity = run_engine(market, strategy)
    assert trades == naive.trades
    assert equity == naive.equity()
    assert len(trades) >= trades_min


@needs_shared
def test_momentum_rebalance_makes_the_trades_of_its_naive_twin():
    symbols = ["spy", "aapl", "ibm", "qqq", "bac", "iwm", "goog"]  # goog starts late, qqq pauses
    market = {symbol: read_days(symbol, **YEARS) for symbol in symbols}
    naive = naive_momentum(market, bars=60, top=2, weight=Decimal("0.475"))
    trades, equity = run_engine(market, MomentumRebalance(bars=60, top=2))
    assert trades == naive.trades
    assert equity == naive.equity()
    assert len(trades) >= 200
