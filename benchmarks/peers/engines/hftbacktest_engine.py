# pyright: basic, reportMissingImports=false, reportArgumentType=false, reportCallIssue=false
"""hftbacktest under njit: the market is a stream of depth and trade events, no bars.

W4: each bar is two trades, a sale at its low and a purchase at its high, in a book too wide to
matter; the algorithm wakes at each close and is handed the closes; orders arrive at once. W5: half
a millisecond after each decision the book's near side moves to the price of the trade to come, and
a tenth later the market order arrives.
"""

from __future__ import annotations

import time

import hftbacktest
import numpy as np
from hftbacktest import (
    BUY_EVENT,
    DEPTH_EVENT,
    EXCH_EVENT,
    GTC,
    LIMIT,
    LOCAL_EVENT,
    MARKET,
    SELL_EVENT,
    TRADE_EVENT,
    BacktestAsset,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.types import event_dtype
from measure import (
    CAPITAL,
    FEE_RATIO,
    FLIP_EVERY,
    LIMIT_OFFSET,
    Ending,
    Task,
    measure,
    read_task,
    same,
)
from numba import njit

BOTH = EXCH_EVENT | LOCAL_EVENT
BID, ASK = DEPTH_EVENT | BOTH | BUY_EVENT, DEPTH_EVENT | BOTH | SELL_EVENT
BOUGHT, SOLD = TRADE_EVENT | BOTH | BUY_EVENT, TRADE_EVENT | BOTH | SELL_EVENT
MINUTE_NS = 60_000_000_000
FEED = 2
"""What `wait_next_feed` answers when a market event has come."""


@njit
def reorder(hbt, closes, offset):
    """W4: cancels its limit order and sends a new one at every close."""
    orders = hbt.orders(0)
    for row in range(len(closes)):
        if hbt.elapse(MINUTE_NS) != 0:
            return row
        hbt.clear_inactive_orders(0)
        if row in orders:
            hbt.cancel(0, row, False)
        if hbt.position(0) == 0:
            hbt.submit_buy_order(0, row + 1, closes[row] - offset, 1.0, GTC, LIMIT, False)
        else:
            hbt.submit_sell_order(0, row + 1, closes[row] + offset, 1.0, GTC, LIMIT, False)
    return len(closes)


@njit
def flip(hbt, first, trades, every):
    """W5: looks at every trade; buys one unit and sells it in turn at every thousandth."""
    seen = waiting = flips = 0
    while seen < trades:
        if hbt.wait_next_feed(False, 1_000_000_000) != FEED:
            return seen
        if (hbt.current_timestamp - first) % 1_000_000 != 0:
            continue  # the book, not a trade
        seen += 1
        waiting += 1
        if waiting == every:
            waiting = 0
            flips += 1
            hbt.clear_inactive_orders(0)
            if hbt.position(0) == 0:
                hbt.submit_buy_order(0, flips, 0.0, 1.0, GTC, MARKET, False)
            else:
                hbt.submit_sell_order(0, flips, 0.0, 1.0, GTC, MARKET, False)
    return seen


def main() -> None:
    """Measure the workload of the command line."""
    task = read_task()
    {"W4": measure_reorders, "W5": measure_flips}[task.workload](task)


def measure_reorders(task: Task) -> None:
    """W4."""
    begun = time.perf_counter()
    events, closes = make_bar_events(task), task.market["close"].astype(np.float64)
    prepared = time.perf_counter() - begun

    def run() -> Ending:
        hbt = make_backtest(events, tick=0.00001, low=1.0, high=200.0)
        done = reorder(hbt, closes, LIMIT_OFFSET)
        assert done == task.rows, done
        return settle(hbt, float(closes[-1]))

    measure(
        "hftbacktest", hftbacktest.__version__, task, run, same, units=task.rows,
        timing="next_open",
        prepared_seconds=prepared, note="njit, ROI vector depth, two trades a bar",
    )  # fmt: skip


def measure_flips(task: Task) -> None:
    """W5."""
    begun = time.perf_counter()
    events = make_trade_events(task)
    prepared = time.perf_counter() - begun
    first, last = int(task.market["ts"][0]), float(task.market["price"][-1])

    def run() -> Ending:
        hbt = make_backtest(events, tick=0.01, low=1.0, high=400.0, latency_ns=600_000)
        done = flip(hbt, first, task.rows, FLIP_EVERY)
        assert done == task.rows, done
        return settle(hbt, last)

    measure(
        "hftbacktest", hftbacktest.__version__, task, run, same, units=task.rows,
        timing="next_trade",
        prepared_seconds=prepared, note="njit, ROI vector depth, one wake a trade",
    )  # fmt: skip


def make_backtest(events, tick: float, low: float, high: float, latency_ns: int = 0):
    """One asset with fees, and limit orders that fill when the price trades through them."""
    asset = (
        BacktestAsset()
        .data(events)
        .linear_asset(1.0)
        .constant_order_latency(latency_ns, 0)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(FEE_RATIO, FEE_RATIO)
        .tick_size(tick)
        .lot_size(1.0)
        .roi_lb(low)
        .roi_ub(high)
        .last_trades_capacity(0)
    )
    return ROIVectorMarketDepthBacktest([asset])


def settle(hbt, mark: float) -> Ending:
    """The books at the end, the position at the last price."""
    state = hbt.state_values(0)
    equity = CAPITAL + state.balance + state.position * mark - state.fee
    ending = Ending(int(state.num_trades), float(equity))
    hbt.close()
    return ending


def make_bar_events(task: Task) -> np.ndarray:
    """A wide book, two trades inside each bar, and one more event to end on."""
    first = int(task.market["ts_open"][0])
    inside = np.zeros((task.rows, 2), event_dtype)
    for column, flags, name, after in ((0, SOLD, "low", 20), (1, BOUGHT, "high", 40)):
        put(inside[:, column], flags, task.market["ts_open"] + after * 1_000_000_000,
            task.market[name])  # fmt: skip
    book, end = np.zeros(2, event_dtype), np.zeros(1, event_dtype)
    put(book[:1], BID, first, 2.0)
    put(book[1:], ASK, first, 199.0)
    put(end, BID, int(task.market["ts_open"][-1]) + 3 * MINUTE_NS, 2.0)
    return np.concatenate([book, inside.ravel(), end])


def make_trade_events(task: Task) -> np.ndarray:
    """The trades, the book half a millisecond before each that an order waits for, and an end."""
    price, times = task.market["price"], task.market["ts"]
    trades = np.zeros(task.rows, event_dtype)
    put(trades, BOUGHT, times, price)
    rows = np.arange(FLIP_EVERY, task.rows, FLIP_EVERY)
    buys = np.arange(len(rows)) % 2 == 0
    bid = np.where(buys, price[rows] - 0.01, price[rows])
    ask = np.where(buys, price[rows], price[rows] + 0.01)
    book = np.zeros((len(rows), 4), event_dtype)
    before = times[rows] - 500_000
    for column, flags, prices, quantity in (
        (0, BID, np.concatenate([[2.0], bid[:-1]]), 0.0),
        (1, ASK, np.concatenate([[399.0], ask[:-1]]), 0.0),
        (2, BID, bid, 100.0),
        (3, ASK, ask, 100.0),
    ):
        put(book[:, column], flags, before, prices, quantity)
    start, end = np.zeros(2, event_dtype), np.zeros(1, event_dtype)
    put(start[:1], BID, int(times[0]) - 1_500_000, 2.0)
    put(start[1:], ASK, int(times[0]) - 1_500_000, 399.0)
    put(end, BID, int(times[-1]) + 500_000, 2.0)
    merged = np.concatenate([start, trades, book.ravel(), end])
    return merged[np.argsort(merged["exch_ts"], kind="stable")]


def put(events: np.ndarray, flags: int, ts, price, quantity: float = 100.0) -> None:
    """Fill events in place: the exchange and the algorithm see them at once."""
    events["ev"] = flags
    events["exch_ts"] = events["local_ts"] = ts
    events["px"] = price
    events["qty"] = quantity


if __name__ == "__main__":
    main()
