# pyright: basic, reportMissingImports=false
"""backtesting.py: market orders fill at the next open, which is its default."""

from __future__ import annotations

import warnings

import backtesting
import pandas as pd
from backtesting import Backtest, Strategy
from measure import CAPITAL, FAST, FEE_RATIO, SLOW, Ending, Task, measure, read_task, same, sweep_pairs


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


def main() -> None:
    """Measure the workload of the command line."""
    task = read_task()
    backtest = Backtest(make_frame(task), Cross, cash=CAPITAL, commission=FEE_RATIO)
    pairs = sweep_pairs(task.sets) if task.workload == "W3" else [(FAST, SLOW)]

    def run() -> Ending:
        fills, equity = 0, 0.0
        for fast, slow in pairs:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                stats = backtest.run(fast=fast, slow=slow)
            strategy = stats["_strategy"]
            fills += 2 * len(stats["_trades"]) + len(strategy.trades)
            equity += float(stats["Equity Final [$]"])
        return Ending(fills, equity)

    measure(
        "backtesting.py", backtesting.__version__, task, run, same, units=task.rows * len(pairs),
        timing="next_open", note="Backtest.run with its statistics",
    )  # fmt: skip


def make_frame(task: Task) -> pd.DataFrame:
    """The bars as it wants them."""
    market = task.market
    return pd.DataFrame(
        {name.capitalize(): market[name] for name in ("open", "high", "low", "close", "volume")},
        index=pd.to_datetime(market["ts_open"]),
    )


if __name__ == "__main__":
    main()
