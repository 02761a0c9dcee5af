# pyright: basic, reportMissingImports=false
"""backtrader: market orders fill at the next open, which is its default."""

from __future__ import annotations

import datetime as dt
import time

import backtrader as bt
import numpy as np
from measure import (
    CAPITAL,
    FAST,
    FEE_RATIO,
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

LINES = ("open", "high", "low", "close", "volume")


class ArrayFeed(bt.DataBase):
    """Bars from lists, a little faster than its own pandas feed."""

    params = (("columns", None),)

    def start(self) -> None:
        """Rewind."""
        super().start()
        self.rows = zip(*self.p.columns, strict=True)

    def _load(self) -> bool:
        row = next(self.rows, None)
        if row is None:
            return False
        lines = self.lines
        (lines.datetime[0], lines.open[0], lines.high[0], lines.low[0], lines.close[0],
         lines.volume[0]) = row  # fmt: skip
        lines.openinterest[0] = 0.0
        return True


class Counted(bt.Strategy):
    """Counts its fills."""

    fills = 0

    def notify_order(self, order: bt.Order) -> None:
        """One fill an order: sizes are far below the volume, and no filler is set."""
        if order.status == order.Completed:
            self.fills += 1


class Cross(Counted):
    """W1: long one unit while the fast average is above the slow one."""

    params = (("fast", FAST), ("slow", SLOW))

    def __init__(self) -> None:
        """Both averages of the close."""
        self.quick = bt.ind.SMA(self.data.close, period=self.p.fast)
        self.calm = bt.ind.SMA(self.data.close, period=self.p.slow)

    def next(self) -> None:
        """Enter above, leave below."""
        quick, calm = self.quick[0], self.calm[0]
        if quick > calm and not self.position.size:
            self.buy(size=1)
        elif quick < calm and self.position.size:
            self.sell(size=1)


class Reorder(Counted):
    """W4: cancels its limit order and sends a new one at every bar."""

    def __init__(self) -> None:
        """Nothing works yet."""
        self.working = None

    def next(self) -> None:
        """Cancel what has not filled; buy below the close, or sell above it."""
        if self.working is not None and self.working.alive():
            self.cancel(self.working)
        close = self.data.close[0]
        if self.position.size:
            self.working = self.sell(size=1, exectype=bt.Order.Limit, price=close + LIMIT_OFFSET)
        else:
            self.working = self.buy(size=1, exectype=bt.Order.Limit, price=close - LIMIT_OFFSET)


class Rebalance(Counted):
    """W2: the targets of the first day of each month, of those with the most momentum."""

    params = (("starts", None), ("last", 0))

    def next(self) -> None:
        """Sell what is no longer among the best, size the best anew."""
        row = len(self) - 1
        if not self.p.starts[row] or row < MOMENTUM_DAYS or row == self.p.last:
            return
        closes = np.array([data.close[0] for data in self.datas])
        past = np.array([data.close[-MOMENTUM_DAYS] for data in self.datas])
        best = set(np.argsort(-(closes / past), kind="stable")[:TOP].tolist())
        for index, data in enumerate(self.datas):
            held = self.getposition(data).size
            wanted = NOTIONAL // closes[index] if index in best else 0
            if wanted > held:
                self.buy(data, size=wanted - held)
            elif wanted < held:
                self.sell(data, size=held - wanted)


class Flip(Counted):
    """W5: looks at every trade; buys one unit and sells it in turn at every thousandth."""

    waiting = 0

    def next(self) -> None:
        """Count, and trade at the thousandth."""
        self.waiting += 1
        if self.waiting == FLIP_EVERY:
            self.waiting = 0
            if self.position.size:
                self.sell(size=1)
            else:
                self.buy(size=1)


def main() -> None:
    """Measure the workload of the command line."""
    task = read_task()
    begun = time.perf_counter()
    feeds = make_feeds(task)
    prepared = time.perf_counter() - begun
    strategies = list_strategies(task)

    def run() -> Ending:
        endings = [run_one(feeds, strategy, params) for strategy, params in strategies]
        return Ending(sum(each.fills for each in endings), sum(each.equity for each in endings))

    measure(
        "backtrader", bt.__version__, task, run, same,
        units=task.rows * len(feeds) * len(strategies),
        timing="next_trade" if task.workload == "W5" else "next_open",
        prepared_seconds=prepared, note="runonce, no observers, a feed that reads lists",
    )  # fmt: skip


def list_strategies(task: Task) -> list[tuple[type[Counted], dict]]:
    """The strategy of a workload with its params, once for each set."""
    match task.workload:
        case "W2":
            starts = is_month_start(task.market["ts_open"]).tolist()
            return [(Rebalance, {"starts": starts, "last": task.rows - 1})]
        case "W3":
            return [(Cross, {"fast": fast, "slow": slow}) for fast, slow in sweep_pairs(task.sets)]
        case "W4":
            return [(Reorder, {})]
        case "W5":
            return [(Flip, {})]
        case _:
            return [(Cross, {})]


def make_feeds(task: Task) -> list[list[list[float]]]:
    """Columns of each feed; a trade is a bar of one price."""
    market = task.market
    times = market["ts" if task.workload == "W5" else "ts_open"]
    days = (bt.date2num(dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) + times / 86_400e9).tolist()
    if task.workload == "W5":
        price = market["price"].tolist()
        return [[days, price, price, price, price, market["quantity"].tolist()]]
    if task.workload == "W2":
        symbols = range(market["close"].shape[1])
        return [[days, *(market[name][:, each].tolist() for name in LINES)] for each in symbols]
    return [[days, *(market[name].tolist() for name in LINES)]]


def run_one(feeds: list[list[list[float]]], strategy: type[Counted], params: dict) -> Ending:
    """One run of one strategy, with the settings that make it fastest."""
    cerebro = bt.Cerebro(stdstats=False)
    for columns in feeds:
        cerebro.adddata(ArrayFeed(columns=columns))
    cerebro.addstrategy(strategy, **params)
    cerebro.broker.setcash(CAPITAL)
    cerebro.broker.setcommission(FEE_RATIO)
    done = cerebro.run()[0]
    return Ending(done.fills, cerebro.broker.getvalue())


if __name__ == "__main__":
    main()
