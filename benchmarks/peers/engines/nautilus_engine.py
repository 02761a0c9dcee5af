# pyright: basic, reportMissingImports=false
"""NautilusTrader: a market order fills at once, in the bar or trade that decided it.

Its risk engine is bypassed, logging and the analysis after the run are off.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import nautilus_trader
import numpy as np
from measure import (
    CAPITAL,
    FAST,
    FLIP_EVERY,
    LIMIT_OFFSET,
    MOMENTUM_DAYS,
    NOTIONAL,
    SLOW,
    TOP,
    Ending,
    Task,
    is_month_start,
    measure,
    read_task,
    same,
    sweep_pairs,
)
from nautilus_trader.backtest.config import BacktestEngineConfig
from nautilus_trader.backtest.engine import BacktestEngine
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.indicators import SimpleMovingAverage
from nautilus_trader.model.currencies import USDT
from nautilus_trader.model.data import Bar, BarType, TradeTick
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import Equity
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.trading.strategy import Strategy

VENUE = Venue("SIM")
ONE = Quantity.from_int(1)
MINUTE_NS, DAY_NS = 60_000_000_000, 86_400_000_000_000


class Counted(Strategy):
    """Counts its fills, and knows what it holds of each instrument."""

    def __init__(self, instruments: list[Equity]) -> None:
        super().__init__()
        self.instruments = instruments
        self.identity = instruments[0].id
        self.fills = 0
        self.held: dict[InstrumentId, int] = {each.id: 0 for each in instruments}

    def on_order_filled(self, event: Any) -> None:
        """One more."""
        self.fills += 1
        units = int(event.last_qty)
        self.held[event.instrument_id] += units if event.is_buy else -units

    def trade(self, identity: InstrumentId, units: int) -> None:
        """A market order for signed units."""
        side = OrderSide.BUY if units > 0 else OrderSide.SELL
        size = ONE if abs(units) == 1 else Quantity.from_int(abs(units))
        self.submit_order(self.order_factory.market(identity, side, size))


class Cross(Counted):
    """W1: long one unit while the fast average is above the slow one."""

    def __init__(self, instruments: list[Equity], bars: BarType, fast: int, slow: int) -> None:
        super().__init__(instruments)
        self.bars = bars
        self.quick = SimpleMovingAverage(fast)
        self.calm = SimpleMovingAverage(slow)

    def on_start(self) -> None:
        """Both averages follow the bars."""
        self.register_indicator_for_bars(self.bars, self.quick)
        self.register_indicator_for_bars(self.bars, self.calm)
        self.subscribe_bars(self.bars)

    def on_bar(self, bar: Bar) -> None:
        """Enter above, leave below."""
        if not self.calm.initialized:
            return
        quick, calm, held = self.quick.value, self.calm.value, self.held[self.identity]
        if quick > calm and not held:
            self.trade(self.identity, 1)
        elif quick < calm and held:
            self.trade(self.identity, -1)


class Reorder(Counted):
    """W4: cancels its limit order and sends a new one at every bar."""

    def __init__(self, instruments: list[Equity], bars: BarType) -> None:
        super().__init__(instruments)
        self.bars = bars
        self.working: Any = None

    def on_start(self) -> None:
        """Every bar."""
        self.subscribe_bars(self.bars)

    def on_bar(self, bar: Bar) -> None:
        """Cancel what has not filled; buy below the close, or sell above it."""
        if self.working is not None and self.working.is_open:
            self.cancel_order(self.working)
        close = bar.close.as_double()
        if self.held[self.identity]:
            side, price = OrderSide.SELL, close + LIMIT_OFFSET
        else:
            side, price = OrderSide.BUY, close - LIMIT_OFFSET
        self.working = self.order_factory.limit(self.identity, side, ONE, Price(price, 5))
        self.submit_order(self.working)


class Rebalance(Counted):
    """W2: the targets of the first day of each month, of those with the most momentum."""

    def __init__(self, instruments: list[Equity], bars: list[BarType], task: Task) -> None:
        super().__init__(instruments)
        self.bars = bars
        self.starts = is_month_start(task.market["ts_open"]).tolist()
        self.closes = np.zeros((task.rows, len(instruments)))
        self.row, self.seen = 0, 0
        self.index = {each.id: at for at, each in enumerate(instruments)}

    def on_start(self) -> None:
        """Every bar of every instrument."""
        for each in self.bars:
            self.subscribe_bars(each)

    def on_bar(self, bar: Bar) -> None:
        """Wait for the last instrument's bar of the day."""
        self.closes[self.row, self.index[bar.bar_type.instrument_id]] = bar.close.as_double()
        self.seen += 1
        if self.seen == len(self.instruments):
            self.decide(self.row)
            self.row, self.seen = self.row + 1, 0

    def decide(self, row: int) -> None:
        """Sell what is no longer among the best, size the best anew."""
        if not self.starts[row] or row < MOMENTUM_DAYS or row == len(self.starts) - 1:
            return
        closes = self.closes[row]
        momentum = closes / self.closes[row - MOMENTUM_DAYS]
        best = set(np.argsort(-momentum, kind="stable")[:TOP].tolist())
        for index, each in enumerate(self.instruments):
            wanted = int(NOTIONAL // closes[index]) if index in best else 0
            if wanted != self.held[each.id]:
                self.trade(each.id, wanted - self.held[each.id])


class Flip(Counted):
    """W5: looks at every trade; buys one unit and sells it in turn at every thousandth."""

    waiting = 0

    def on_start(self) -> None:
        """Every trade."""
        self.subscribe_trade_ticks(self.identity)

    def on_trade_tick(self, tick: TradeTick) -> None:
        """Count, and trade at the thousandth."""
        self.waiting += 1
        if self.waiting == FLIP_EVERY:
            self.waiting = 0
            self.trade(self.identity, -1 if self.held[self.identity] else 1)


def main() -> None:
    """Measure the workload of the command line."""
    task = read_task()
    begun = time.perf_counter()
    digits = 2 if task.workload in ("W2", "W5") else 5
    symbols = task.market["close"].shape[1] if task.workload == "W2" else 1
    instruments = [make_instrument(f"S{index:03d}", digits) for index in range(symbols)]
    step = "1-DAY" if task.workload == "W2" else "1-MINUTE"
    kinds = [BarType.from_str(f"{each.id}-{step}-LAST-EXTERNAL") for each in instruments]
    data = make_trades(task, instruments[0]) if task.workload == "W5" else make_bars(task, kinds)
    prepared = time.perf_counter() - begun
    pairs = sweep_pairs(task.sets) if task.workload == "W3" else [(FAST, SLOW)]

    def make_strategies() -> list[Counted]:
        match task.workload:
            case "W1" | "W3":
                return [Cross(instruments, kinds[0], fast, slow) for fast, slow in pairs]
            case "W2":
                return [Rebalance(instruments, kinds, task)]
            case "W4":
                return [Reorder(instruments, kinds[0])]
            case _:
                return [Flip(instruments)]

    def run() -> Ending:
        endings = [run_one(instruments, data, each, task) for each in make_strategies()]
        return Ending(sum(each.fills for each in endings), sum(each.equity for each in endings))

    timing = {"W4": "next_open", "W5": "same_trade"}.get(task.workload, "close")
    measure(
        "NautilusTrader", nautilus_trader.__version__, task, run, same,
        units=task.rows * symbols * len(pairs), timing=timing, prepared_seconds=prepared,
        note="engine built, data added, run; its objects made before",
    )  # fmt: skip


def run_one(instruments: list[Equity], data: list[Any], strategy: Counted, task: Task) -> Ending:
    """One run of one strategy in an engine of its own."""
    engine = BacktestEngine(
        BacktestEngineConfig(
            logging=LoggingConfig(bypass_logging=True),
            risk_engine=RiskEngineConfig(bypass=True),
            run_analysis=False,
        )
    )
    engine.add_venue(
        VENUE, OmsType.NETTING, AccountType.CASH, [Money(CAPITAL, USDT)], base_currency=USDT
    )
    for each in instruments:
        engine.add_instrument(each)
    engine.add_data(data, validate=False)
    engine.add_strategy(strategy)
    engine.run()
    cash = engine.portfolio.account(VENUE).balance_total(USDT).as_double()
    last = task.market["price" if task.workload == "W5" else "close"][-1]
    marks = np.atleast_1d(last)
    held = np.array([strategy.held[each.id] for each in instruments])
    engine.dispose()
    return Ending(strategy.fills, float(cash + (held * marks).sum()))


def make_instrument(symbol: str, digits: int) -> Equity:
    """Whole units, priced in a currency with eight decimals so that fees are exact."""
    return Equity(
        instrument_id=InstrumentId(Symbol(symbol), VENUE),
        raw_symbol=Symbol(symbol),
        currency=USDT,
        price_precision=digits,
        price_increment=Price(10.0**-digits, digits),
        lot_size=ONE,
        maker_fee=Decimal("0.001"),
        taker_fee=Decimal("0.001"),
        ts_event=0,
        ts_init=0,
    )


def make_bars(task: Task, kinds: list[BarType]) -> list[Bar]:
    """Bars in time order, the instruments of one time one after the other."""
    market = task.market
    wide = market["close"].ndim == 2
    length = DAY_NS if wide else MINUTE_NS
    times = (market["ts_open"] + length).astype(np.uint64)
    made: list[list[Bar]] = []
    for index, kind in enumerate(kinds):
        columns = [
            np.ascontiguousarray(market[name][:, index] if wide else market[name]).copy()
            for name in ("open", "high", "low", "close", "volume")
        ]
        made.append(Bar.from_raw_arrays_to_list(kind, 2 if wide else 5, 0, *columns, times, times))
    return [bar for row in zip(*made, strict=True) for bar in row]


def make_trades(task: Task, instrument: Equity) -> list[TradeTick]:
    """The trades; the buyer is always the aggressor."""
    count = task.rows
    times = task.market["ts"].astype(np.uint64)
    return TradeTick.from_raw_arrays_to_list(
        instrument.id, 2, 0, task.market["price"].copy(), task.market["quantity"].copy(),
        np.ones(count, np.uint8), [str(number) for number in range(count)], times, times,
    )  # fmt: skip


if __name__ == "__main__":
    main()
