# pyright: basic, reportMissingImports=false
"""backtesting.py: market orders fill at the next open, which is its default."""

from __future__ import annotations

import warnings

import backtesting
import pandas as pd
from backtesting import Backtest, Strategy
from measure import (
    CAPITAL,
    FAST,
    FEE_RATIO,
    FLIP_EVERY,
    LIMIT_OFFSET,
    SLOW,
    Ending,
    Task,
    measure,
    read_task,
    same,
    sweep_pairs,
)


class Cross(Strategy):
    """Long one unit while the fast average is above the slow one."""

    fast = FAST
    slow = SLOW

    def init(self) -> None:
        """Both averages of the close."""
        close = pd.Series(self.data.Close)
        self.quick = self.I(lambda: close.rolling(self.fast).mean(), plot=False)
        self.calm = self.I(lambda: close.rolling(self.slow).mean(), plot=False)

    def next(self) -> None:
        """Enter above, leave below."""
        quick, calm = self.quick[-1], self.calm[-1]
        if quick > calm and not self.position:
            self.buy(size=1)
        elif quick < calm and self.position:
            self.position.close()


class Reorder(Strategy):
    """W4: cancels its limit order and sends a new one at every bar."""

    def init(self) -> None:
        """No indicators."""

    def next(self) -> None:
        """Cancel what has not filled; buy below the close, or sell above it."""
        for order in self.orders:
            order.cancel()
        close = self.data.Close[-1]
        if self.position:
            self.sell(size=1, limit=close + LIMIT_OFFSET)
        else:
            self.buy(size=1, limit=close - LIMIT_OFFSET)


class Flip(Strategy):
    """W5: looks at every trade; buys one unit and sells it in turn at every thousandth."""

    def init(self) -> None:
        """Nothing is waiting."""
        self.waiting = 1  # `next` begins at the second row

    def next(self) -> None:
        """Count, and trade at the thousandth."""
        self.waiting += 1
        if self.waiting == FLIP_EVERY:
            self.waiting = 0
            if self.position:
                self.position.close()
            else:
                self.buy(size=1)


def main() -> None:
    """Measure the workload of the command line."""
    task = read_task()
    strategy = {"W4": Reorder, "W5": Flip}.get(task.workload, Cross)
    backtest = Backtest(make_frame(task), strategy, cash=CAPITAL, commission=FEE_RATIO)
    sets = [{"fast": fast, "slow": slow} for fast, slow in sweep_pairs(task.sets)]
    sets = sets if task.workload == "W3" else [{}]

    def run() -> Ending:
        fills, equity = 0, 0.0
        for params in sets:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stats = backtest.run(**params)
            strategy = stats["_strategy"]
            fills += 2 * len(stats["_trades"]) + len(strategy.trades)
            equity += float(stats["Equity Final [$]"])
        return Ending(fills, equity)

    measure(
        "backtesting.py", backtesting.__version__, task, run, same, units=task.rows * len(sets),
        timing="next_trade" if task.workload == "W5" else "next_open",
        note="Backtest.run with its statistics",
    )  # fmt: skip


def make_frame(task: Task) -> pd.DataFrame:
    """The bars as it wants them; a trade is a bar of one price."""
    market = task.market
    if task.workload == "W5":
        price = market["price"]
        columns = {"Open": price, "High": price, "Low": price, "Close": price}
        return pd.DataFrame(columns, index=pd.to_datetime(market["ts"]))
    return pd.DataFrame(
        {name.capitalize(): market[name] for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(market["ts_open"]),
    )


if __name__ == "__main__":
    main()
