# pyright: basic, reportMissingImports=false
"""vectorbt, Rust engine: signals of a bar are shifted by one bar and filled at its open.

Only what it needs is switched on: no stops, records for as many orders as there can be.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import vectorbt as vbt
from measure import (
    CAPITAL,
    FAST,
    FEE_RATIO,
    FLIP_EVERY,
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
from vectorbt.portfolio import dispatch

ENGINE = "rust"
VERSION = f"{vbt.__version__} (Rust engine)"
ORDERS = 100_000
"""Room for the orders of one column; by default there is room for one on every bar."""


def main() -> None:
    """Measure the workload of the command line."""
    vbt.settings["engine"] = ENGINE
    task = read_task()
    sweep = measure_kernel if task.variant == "kernel" else measure_sweep
    {"W1": measure_crosses, "W2": measure_rebalances, "W3": sweep, "W5": measure_flips}[
        task.workload
    ](task)


def average(close: pd.Series, windows: list[int]) -> dict[int, np.ndarray]:
    """Each moving average once."""
    return {window: vbt.MA.run(close, window).ma.to_numpy() for window in sorted(set(windows))}


def signal(fast: np.ndarray, slow: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Entries and exits, one bar after the averages that decide them."""
    entries, exits = np.zeros(len(fast), np.bool_), np.zeros(len(fast), np.bool_)
    np.greater(fast[:-1], slow[:-1], out=entries[1:])
    np.less(fast[:-1], slow[:-1], out=exits[1:])
    return entries, exits


def simulate(close: pd.Series, open_: pd.Series, fast: np.ndarray, slow: np.ndarray) -> Ending:
    """Long one unit while fast is above slow."""
    entries, exits = signal(fast, slow)
    portfolio = vbt.Portfolio.from_signals(
        close, entries, exits, price=open_, size=1.0, fees=FEE_RATIO, init_cash=CAPITAL,
        use_stops=False, ffill_val_price=False, max_orders=ORDERS, freq="1min", engine=ENGINE,
    )  # fmt: skip
    return Ending(len(portfolio.order_records), float(portfolio.final_value()))


def measure_crosses(task: Task) -> None:
    """W1."""
    times = pd.to_datetime(task.market["ts_open"])
    close = pd.Series(task.market["close"], times)
    open_ = pd.Series(task.market["open"], times)
    given = average(close, [FAST, SLOW])

    def run() -> Ending:
        averages = average(close, [FAST, SLOW])
        return simulate(close, open_, averages[FAST], averages[SLOW])

    measure(
        "vectorbt", VERSION, task, run, same, units=task.rows, timing="next_open",
        simulate=lambda: simulate(close, open_, given[FAST], given[SLOW]),
        note="Portfolio.from_signals on shifted signals",
    )  # fmt: skip


def measure_sweep(task: Task) -> None:
    """W3: a loop over the pairs; wider calls (4 to 40 columns) took two to three times as long."""
    times = pd.to_datetime(task.market["ts_open"])
    close = pd.Series(task.market["close"], times)
    open_ = pd.Series(task.market["open"], times)
    pairs = sweep_pairs(task.sets)
    windows = [window for pair in pairs for window in pair]

    def run() -> Ending:
        averages = average(close, windows)
        endings = [simulate(close, open_, averages[fast], averages[slow]) for fast, slow in pairs]
        return Ending(sum(each.fills for each in endings), sum(each.equity for each in endings))

    measure(
        "vectorbt", VERSION, task, run, same, units=task.rows * task.sets, timing="next_open",
        note="each average once, then Portfolio.from_signals a pair",
    )  # fmt: skip


def measure_rebalances(task: Task) -> None:
    """W2."""
    times = pd.to_datetime(task.market["ts_open"])
    close = pd.DataFrame(task.market["close"], times)
    open_ = pd.DataFrame(task.market["open"], times)
    ts_open = task.market["ts_open"]

    def run() -> Ending:
        closes = close.to_numpy()
        targets = np.full(closes.shape, np.nan)
        for row in np.flatnonzero(is_month_start(ts_open)).tolist():
            if MOMENTUM_DAYS <= row < len(closes) - 1:
                momentum = closes[row] / closes[row - MOMENTUM_DAYS]
                best = np.argsort(-momentum, kind="stable")[:TOP]
                targets[row + 1] = 0.0
                targets[row + 1, best] = NOTIONAL // closes[row, best]
        portfolio = vbt.Portfolio.from_orders(
            close, targets, size_type="targetamount", price=open_, fees=FEE_RATIO,
            init_cash=CAPITAL, cash_sharing=True, group_by=True, ffill_val_price=False,
            max_orders=ORDERS, freq="1D", engine=ENGINE,
        )  # fmt: skip
        return Ending(len(portfolio.order_records), float(portfolio.final_value()))

    measure(
        "vectorbt", VERSION, task, run, same, units=task.rows * task.market["close"].shape[1],
        timing="next_open", note="targets by numpy, then Portfolio.from_orders, cash shared",
    )  # fmt: skip


def measure_flips(task: Task) -> None:
    """W5: trades as rows, the position wanted at each flip as a target."""
    times = pd.to_datetime(task.market["ts"])
    price = pd.Series(task.market["price"], times)

    def run() -> Ending:
        targets = np.full(task.rows, np.nan)
        targets[FLIP_EVERY :: 2 * FLIP_EVERY] = 1.0
        targets[2 * FLIP_EVERY :: 2 * FLIP_EVERY] = 0.0
        portfolio = vbt.Portfolio.from_orders(
            price, targets, size_type="targetamount", fees=FEE_RATIO, init_cash=CAPITAL,
            ffill_val_price=False, max_orders=ORDERS, engine=ENGINE,
        )  # fmt: skip
        return Ending(len(portfolio.order_records), float(portfolio.final_value()))

    measure(
        "vectorbt", VERSION, task, run, same, units=task.rows, timing="next_trade",
        note="no strategy looks at the trades: an array of targets, Portfolio.from_orders",
    )  # fmt: skip


def measure_kernel(task: Task) -> None:
    """W3 below the public door: the kernel's order records alone, equity added up from them."""
    rows, capital = task.rows, np.array([CAPITAL])
    times = pd.to_datetime(task.market["ts_open"])
    close, open_ = task.market["close"][:, None], task.market["open"][:, None]
    series = pd.Series(task.market["close"], times)
    pairs = sweep_pairs(task.sets)
    windows = [window for pair in pairs for window in pair]
    one, fees = np.asarray(1.0), np.asarray(FEE_RATIO)
    columns, calls = np.array([1]), np.zeros((rows, 1), dtype=np.int64)

    def run() -> Ending:
        averages = average(series, windows)
        fills, equity = 0, 0.0
        for fast, slow in pairs:
            entries, exits = signal(averages[fast], averages[slow])
            records, _ = dispatch.simulate_from_signals(
                (rows, 1), columns, capital, calls, long_entries=entries[:, None],
                long_exits=exits[:, None], size=one, price=open_, fees=fees, close=close,
                use_stops=False, ffill_val_price=False, max_orders=ORDERS, engine=ENGINE,
            )  # fmt: skip
            sign = np.where(records["side"] == 0, 1.0, -1.0) * records["size"]
            paid = (sign * records["price"]).sum() + records["fees"].sum()
            fills += len(records)
            equity += CAPITAL - paid + sign.sum() * close[-1, 0]
        return Ending(fills, float(equity))

    measure(
        "vectorbt kernel", VERSION, task, run, same, units=task.rows * task.sets,
        timing="next_open",
        note="not its public interface: order records only, equity added up by the benchmark",
    )  # fmt: skip


if __name__ == "__main__":
    main()
