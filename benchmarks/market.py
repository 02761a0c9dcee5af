"""Seeded bars for the benchmarks: a rounded random walk."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from onetape.domain.instrument import make_equity
from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.timeline import Timeline, build_timeline

MINUTE_NS = 60 * 1_000_000_000
MINUTES_PER_YEAR = 525_600
TS_FIRST = 1_577_836_800 * 1_000_000_000  # 2020-01-01


def make_columns(
    steps: npt.NDArray[np.float64], bar_ns: int
) -> dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int64]]:
    """Bars of `bar_ns`, one after the other, whose closes are a walk of `steps` from 100."""
    rows = len(steps)
    close = np.maximum(np.round(100 * np.exp(np.cumsum(steps)), 2), 1.0)
    open_ = np.concatenate([[100.0], close[:-1]])
    ts_open = TS_FIRST + np.arange(rows, dtype=np.int64) * bar_ns
    ts_close = ts_open + bar_ns
    return {
        "ts_open": ts_open,
        "ts_close": ts_close,
        "ts_known": ts_close,
        "session_close": (ts_open // NS_PER_DAY + 1) * NS_PER_DAY,
        "quality": np.zeros(rows, dtype=np.int64),
        "open": open_,
        "high": np.maximum(open_, close) + 0.01,
        "low": np.minimum(open_, close) - 0.01,
        "close": close,
        "volume": np.full(rows, 1e6),
    }


def make_minutes(rows: int = MINUTES_PER_YEAR, seed: int = 7) -> Timeline:
    """One instrument, one bar a minute around the clock."""
    steps = np.random.default_rng(seed).normal(0, 4e-4, rows)
    instrument = make_equity("BENCH.XNAS", calendar="24/7")
    series = [(instrument, make_columns(steps, MINUTE_NS))]
    return build_timeline(series, source="benchmark", timeframe="1m")


def make_days(symbols: int = 500, days: int = 2_520, seed: int = 7) -> Timeline:
    """Many instruments, one bar a day each."""
    steps = np.random.default_rng(seed).normal(2e-4, 0.02, (symbols, days))
    series = [
        (make_equity(f"B{at:03}.XNAS", calendar="24/7"), make_columns(each, NS_PER_DAY))
        for at, each in enumerate(steps)
    ]
    return build_timeline(series, source="benchmark", timeframe="1d")
