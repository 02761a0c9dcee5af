"""What every engine must end with: exact integer books of the workloads, written without an engine.

Two timings: `next_open` fills a market order at the open of the bar after the decision, `close` at
the close of the bar that decided. Money is in currency, exact up to the one division at the end.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from benchmarks.peers.data import Columns

CAPITAL = 10_000_000
FEE_DIVISOR = 1_000
"""10 bps of the notional."""
FAST, SLOW = 10, 50
LIMIT_OFFSET = 0.08
MOMENTUM_DAYS, TOP, NOTIONAL = 126, 50, 20_000
FLIP_EVERY = 1_000

Ints = npt.NDArray[np.int64]


class Books(NamedTuple):
    """How a workload ends."""

    fills: int
    equity: float


def sweep_pairs() -> list[tuple[int, int]]:
    """W3: 1,000 pairs of SMA windows."""
    return [(fast, slow) for fast in range(5, 55, 2) for slow in range(60, 260, 5)]


class Averages:
    """Rolling sums of a close on its grid, each window summed once."""

    def __init__(self, close: Ints) -> None:
        self._total = np.concatenate([[0], np.cumsum(close)])
        self._sums: dict[int, Ints] = {}

    def sums(self, window: int) -> Ints:
        """Sum of the last `window` closes for bars `window - 1` on."""
        if window not in self._sums:
            self._sums[window] = self._total[window:] - self._total[:-window]
        return self._sums[window]

    def positions(self, fast: int, slow: int) -> tuple[Ints, int]:
        """Wanted position (0 or 1) after each bar, and on how many bars the averages are equal."""
        quick = self.sums(fast)[slow - fast :] * slow
        slow_sums = self.sums(slow) * fast
        sign = np.sign(quick - slow_sums)
        filled = np.maximum.accumulate(np.where(sign != 0, np.arange(len(sign)), 0))
        wanted = (sign[filled] > 0).astype(np.int64)
        return np.concatenate([np.zeros(slow - 1, np.int64), wanted]), int((sign == 0).sum())


def trade_positions(wanted: Ints, price: Ints, mark: int, scale: int) -> Books:
    """Books of a wanted position of 0 or 1, each change filled at `price` of the same row."""
    change = np.diff(wanted, prepend=0)
    rows = np.flatnonzero(change)
    paid = price[rows]
    cash = -int((change[rows] * paid).sum()) * FEE_DIVISOR - int(paid.sum())
    total = cash + int(wanted[-1]) * mark * FEE_DIVISOR
    return Books(len(rows), CAPITAL + total / (scale * FEE_DIVISOR))


def run_crosses(
    market: Columns, pairs: list[tuple[int, int]]
) -> tuple[dict[str, list[Books]], int]:
    """W1 and W3: books of every pair by timing, and the equal averages met."""
    scale = 100_000
    close, open_ = _grid(market["close"], scale), _grid(market["open"], scale)
    averages = Averages(close)
    books: dict[str, list[Books]] = {"next_open": [], "close": []}
    ties = 0
    for fast, slow in pairs:
        wanted, equal = averages.positions(fast, slow)
        ties += equal
        mark = int(close[-1])
        books["close"].append(trade_positions(wanted, close, mark, scale))
        late = np.concatenate([[0], wanted[:-1]])
        books["next_open"].append(trade_positions(late, open_, mark, scale))
    return books, ties


def run_limits(market: Columns) -> Books:
    """W4: a limit order each bar, which buys below the close or sells above it."""
    scale = 100_000
    opens, lows, highs, closes = (
        _grid(market[name], scale).tolist() for name in ("open", "low", "high", "close")
    )
    offset = round(LIMIT_OFFSET * scale)
    cash = held = fills = limit = 0
    for row, close in enumerate(closes):
        if row:
            reached = lows[row] <= limit if not held else highs[row] >= limit
            if reached:
                better = min(opens[row], limit) if not held else max(opens[row], limit)
                cash += (better if held else -better) * FEE_DIVISOR - better
                held = 1 - held
                fills += 1
        limit = close + offset if held else close - offset
    total = cash + held * closes[-1] * FEE_DIVISOR
    return Books(fills, CAPITAL + total / (scale * FEE_DIVISOR))


def month_starts(ts_open: Ints) -> Ints:
    """Rows of the first day of each month after the first."""
    months = ts_open.astype("datetime64[ns]").astype("datetime64[M]").astype(np.int64)
    return np.flatnonzero(np.diff(months)) + 1


def run_rebalances(market: Columns) -> dict[str, Books]:
    """W2: targets of whole units worth `NOTIONAL` at the close that decides."""
    scale = 100
    close, open_ = _grid(market["close"], scale), _grid(market["open"], scale)
    ts_open = np.asarray(market["ts_open"], dtype=np.int64)
    held = np.zeros(close.shape[1], np.int64)
    fills, cash = 0, {"next_open": 0, "close": 0}
    for row in month_starts(ts_open).tolist():
        if row < MOMENTUM_DAYS or row + 1 == len(close):
            continue
        momentum = close[row] / close[row - MOMENTUM_DAYS]
        best = np.argsort(-momentum, kind="stable")[:TOP]
        wanted = np.zeros_like(held)
        wanted[best] = NOTIONAL * scale // close[row][best]
        delta = wanted - held
        fills += int((delta != 0).sum())
        for timing, price in (("next_open", open_[row + 1]), ("close", close[row])):
            cash[timing] -= int((delta * price).sum()) * FEE_DIVISOR
            cash[timing] -= int((np.abs(delta) * price).sum())
        held = wanted
    worth = int((held * close[-1]).sum()) * FEE_DIVISOR
    return {
        timing: Books(fills, CAPITAL + (money + worth) / (scale * FEE_DIVISOR))
        for timing, money in cash.items()
    }


def run_flips(market: Columns) -> dict[str, Books]:
    """W5: buy and sell one unit in turn, decided at every thousandth trade.

    `next_trade` fills at the price of the trade after it, `same_trade` at its own.
    """
    price = _grid(market["price"], 100)
    books: dict[str, Books] = {}
    decided = np.arange(FLIP_EVERY - 1, len(price), FLIP_EVERY)
    for timing, rows in (("next_trade", decided + 1), ("same_trade", decided)):
        paid = price[rows[rows < len(price)]]
        sign = np.where(np.arange(len(paid)) % 2 == 0, 1, -1)
        cash = -int((sign * paid).sum()) * FEE_DIVISOR - int(paid.sum())
        total = cash + len(paid) % 2 * int(price[-1]) * FEE_DIVISOR
        books[timing] = Books(len(paid), CAPITAL + total / (100 * FEE_DIVISOR))
    return books


def expect(workload: str, timing: str, market: Columns, sets: int) -> tuple[Books, int]:
    """Books of a workload (added up over the sets of W3), and the equal averages met.

    Where averages are exactly equal, the last bit of a float average decides what an engine does.
    """
    match workload:
        case "W2":
            return run_rebalances(market)[timing], 0
        case "W4":
            return run_limits(market), 0
        case "W5":
            return run_flips(market)[timing], 0
        case _:
            pairs = sweep_pairs()[:sets] if workload == "W3" else [(FAST, SLOW)]
            books, ties = run_crosses(market, pairs)
            found = books[timing]
            return Books(sum(e.fills for e in found), sum(e.equity for e in found)), ties


def _grid(values: npt.NDArray[np.float64] | npt.NDArray[np.int64], scale: int) -> Ints:
    return np.rint(np.asarray(values) * scale).astype(np.int64)
