# pyright: basic, reportMissingImports=false, reportAssignmentType=false
# pyright: reportAttributeAccessIssue=false
"""zipline-reloaded: an order meets the bar after it; the slippage model takes that bar's open.

Its own slippage models fill at that bar's close. No metric but the last equity is asked for.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import time
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa
import zipline
from exchange_calendars import ExchangeCalendar, register_calendar_type
from measure import (
    CAPITAL,
    FAST,
    FEE_RATIO,
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
)
from zipline.algorithm import TradingAlgorithm
from zipline.api import order, set_commission, set_slippage
from zipline.assets import AssetDBWriter, AssetFinder
from zipline.data.bcolz_daily_bars import BcolzDailyBarReader, BcolzDailyBarWriter
from zipline.data.bcolz_minute_bars import BcolzMinuteBarReader, BcolzMinuteBarWriter
from zipline.data.data_portal import DataPortal
from zipline.finance.commission import PerDollar
from zipline.finance.slippage import SlippageModel
from zipline.finance.trading import SimulationParameters
from zipline.utils.calendar_utils import get_calendar

FIELDS = ("open", "high", "low", "close", "volume")


class Weekdays(ExchangeCalendar):
    """W2's calendar. In its `24/5` a session closes at midnight, which is already the next one."""

    name = "WEEKDAYS"
    tz = dt.UTC
    open_times = ((None, dt.time(9, 30)),)
    close_times = ((None, dt.time(16)),)


class NextOpen(SlippageModel):
    """Fills everything at the open of the bar that the order meets."""

    def process_order(self, data: Any, order: Any) -> tuple[float, int]:
        """Price and amount."""
        return data.current(order.asset, "open"), order.amount


class LastEquity:
    """A metric that keeps what the ledger says at the end, and costs nothing before."""

    equity = 0.0

    def end_of_simulation(self, packet: Any, ledger: Any, *others: Any) -> None:
        """Portfolio value at the last close."""
        self.equity = float(ledger.portfolio.portfolio_value)


class Algorithm:
    """What the workloads share: models, and the end."""

    def initialize(self, context: Any) -> None:
        """Fees and fills."""
        set_slippage(NextOpen())
        set_commission(PerDollar(cost=FEE_RATIO))
        context.assets = context.asset_finder.retrieve_all(context.asset_finder.equities_sids)


class Cross(Algorithm):
    """W1: long one unit while the fast average is above the slow one.

    The averages are kept by hand: `data.history` at every bar takes several times as long.
    """

    def __init__(self) -> None:
        self.closes: deque[float] = deque(maxlen=SLOW)
        self.held = 0

    def handle_data(self, context: Any, data: Any) -> None:
        """Enter above, leave below."""
        asset = context.assets[0]
        closes = self.closes
        closes.append(data.current(asset, "close"))
        if len(closes) < SLOW:
            return
        values = list(closes)
        quick, calm = sum(values[-FAST:]) / FAST, sum(values) / SLOW
        if quick > calm and not self.held:
            self.held = 1
            order(asset, 1)
        elif quick < calm and self.held:
            self.held = 0
            order(asset, -1)


class Rebalance(Algorithm):
    """W2: the targets of the first day of each month, of those with the most momentum."""

    def __init__(self, task: Task) -> None:
        self.starts = is_month_start(task.market["ts_open"]).tolist()
        self.row = -1

    def handle_data(self, context: Any, data: Any) -> None:
        """Sell what is no longer among the best, size the best anew."""
        self.row += 1
        row = self.row
        if not self.starts[row] or row < MOMENTUM_DAYS or row == len(self.starts) - 1:
            return
        window = data.history(context.assets, "close", MOMENTUM_DAYS + 1, "1d")[context.assets]
        closes = window.to_numpy()
        best = set(np.argsort(-(closes[-1] / closes[0]), kind="stable")[:TOP].tolist())
        positions = context.portfolio.positions
        for index, asset in enumerate(context.assets):
            held = positions[asset].amount if asset in positions else 0
            wanted = int(NOTIONAL // closes[-1, index]) if index in best else 0
            if wanted != held:
                order(asset, wanted - held)


def main() -> None:
    """Measure the workload of the command line."""
    warnings.simplefilter("ignore")
    register_calendar_type("WEEKDAYS", Weekdays)
    task = read_task()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        calendar, sessions, portal = make_portal(task, Path(folder))
        prepared = time.perf_counter() - begun
        parameters = SimulationParameters(
            start_session=sessions[0], end_session=sessions[-1], trading_calendar=calendar,
            capital_base=CAPITAL, data_frequency="daily" if task.workload == "W2" else "minute",
            emission_rate="daily",
        )  # fmt: skip
        benchmark = pd.Series(0.0, index=sessions)

        def run() -> Ending:
            user = Rebalance(task) if task.workload == "W2" else Cross()
            last = LastEquity()
            algorithm = TradingAlgorithm(
                parameters, data_portal=portal, initialize=user.initialize,
                handle_data=user.handle_data, metrics_set={last}, benchmark_returns=benchmark,
            )  # fmt: skip
            algorithm.run()
            orders = algorithm.blotter.orders.values()
            fills = sum(each.filled != 0 for each in orders)
            return Ending(fills, last.equity)

        symbols = task.market["close"].shape[1] if task.workload == "W2" else 1
        measure(
            "zipline-reloaded", zipline.__version__, task, run, same, units=task.rows * symbols,
            timing="next_open", prepared_seconds=prepared,
            note="custom slippage model for the next open, one metric",
        )  # fmt: skip


def make_portal(task: Task, folder: Path) -> tuple[Any, Any, DataPortal]:
    """Its own stores on disk: an asset database and bcolz bars, prices to the last digit."""
    wide = task.workload == "W2"
    first = pd.Timestamp(int(task.market["ts_open"][0]))
    last = pd.Timestamp(int(task.market["ts_open"][-1]))
    calendar = get_calendar("WEEKDAYS" if wide else "24/7")
    sessions = calendar.sessions_in_range(first.normalize(), last.normalize())
    symbols = task.market["close"].shape[1] if wide else 1
    finder = make_assets(folder / "assets.db", symbols, sessions)
    if wide:
        assert (sessions.asi8 == task.market["ts_open"]).all()
        frames = (
            (sid, pd.DataFrame({name: task.market[name][:, sid] for name in FIELDS}, sessions))
            for sid in range(symbols)
        )
        BcolzDailyBarWriter(str(folder / "daily"), calendar, sessions[0], sessions[-1]).write(
            frames
        )
        reader = BcolzDailyBarReader(str(folder / "daily"))
        portal = DataPortal(finder, calendar, sessions[0], equity_daily_reader=reader)
    else:
        minutes = calendar.sessions_minutes(sessions[0], sessions[-1])[: task.rows]
        assert len(minutes) == task.rows, (len(minutes), task.rows)
        writer = BcolzMinuteBarWriter(
            str(folder), calendar, sessions[0], sessions[-1], 1_440, default_ohlc_ratio=100_000
        )
        frame = pd.DataFrame({name: task.market[name] for name in FIELDS}, minutes)
        writer.write_sid(0, frame)
        portal = DataPortal(finder, calendar, sessions[0],
                            equity_minute_reader=BcolzMinuteBarReader(str(folder)))  # fmt: skip
    return calendar, sessions, portal


def make_assets(path: Path, symbols: int, sessions: Any) -> AssetFinder:
    """An asset database with one equity a symbol."""
    equities = pd.DataFrame(
        {
            "symbol": [f"S{index:03d}" for index in range(symbols)],
            "asset_name": "",
            "start_date": sessions[0],
            "end_date": sessions[-1],
            "auto_close_date": sessions[-1] + pd.Timedelta(days=30),
            "exchange": "SIM",
        },
        index=range(symbols),
    )
    exchanges = pd.DataFrame([{"exchange": "SIM", "canonical_name": "SIM", "country_code": "US"}])
    engine = sa.create_engine(f"sqlite:///{path}")
    AssetDBWriter(engine).write(equities=equities, exchanges=exchanges)
    return AssetFinder(engine)


if __name__ == "__main__":
    main()
