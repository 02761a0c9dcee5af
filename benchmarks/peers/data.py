"""The market of every workload, from one seed, as `.npy` files that any engine can read.

Prices lie on the instrument's grid. Opens differ from the closes before them, so that an engine
that fills at the close ends with another equity than one that fills at the next open.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

SEED = 7
MINUTE_NS = 60 * 1_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS
TS_FIRST = 1_577_836_800 * 1_000_000_000
"""2020-01-01, ns UTC: the first minute and the first trade."""

MINUTES = 525_600
SYMBOLS, DAYS = 500, 2_520
DAY_FIRST = 1_293_840_000 * 1_000_000_000
"""2011-01-01, ns UTC: the first of `DAYS` weekdays comes right after."""
TRADES = 5_000_000

Columns = dict[str, npt.NDArray[np.float64] | npt.NDArray[np.int64]]


def make_minutes() -> Columns:
    """W1, W3, W4: one instrument around the clock; tick 0.00001, so that fees are exact.

    Opens and closes are even numbers of ticks, highs and lows odd ones: a limit price of W4 is
    traded through or not, and no engine's view of a mere touch matters.
    """
    generator = np.random.default_rng(SEED)
    close = 2 * np.rint(5e6 * np.exp(np.cumsum(generator.normal(0, 4e-4, MINUTES))))
    gaps = np.exp(generator.normal(0, 5e-5, MINUTES))
    open_ = 2 * np.rint(np.concatenate([[1e7], close[:-1]]) * gaps / 2)
    reach = 2 * np.rint(generator.exponential(500, (2, MINUTES))) + 1
    return {
        "ts_open": TS_FIRST + np.arange(MINUTES, dtype=np.int64) * MINUTE_NS,
        "open": open_ / 1e5,
        "high": (np.maximum(open_, close) + reach[0]) / 1e5,
        "low": (np.minimum(open_, close) - reach[1]) / 1e5,
        "close": close / 1e5,
        "volume": np.full(MINUTES, 1e6),
    }


def make_days() -> Columns:
    """W2: weekdays (2,520,), prices (2,520, 500) on a grid of cents."""
    generator = np.random.default_rng(SEED + 1)
    days = DAY_FIRST + np.arange(2 * DAYS, dtype=np.int64) * DAY_NS
    weekday = (days // DAY_NS + 3) % 7  # 1970-01-01 was a Thursday; Monday is 0
    shape = (DAYS, SYMBOLS)
    first = generator.uniform(20, 200, SYMBOLS)
    drift = generator.normal(3e-4, 3e-4, SYMBOLS)
    steps = drift + generator.normal(0, 0.015, shape)
    close = _cents(first * np.exp(np.cumsum(steps, axis=0)))
    gaps = np.exp(generator.normal(0, 4e-3, shape))
    open_ = _cents(np.concatenate([first[None], close[:-1]]) * gaps)
    return {
        "ts_open": days[weekday < 5][:DAYS],
        "open": open_,
        "high": _cents(np.maximum(open_, close) * 1.002),
        "low": _cents(np.minimum(open_, close) * 0.998),
        "close": close,
        "volume": np.full(shape, 1e9),
    }


def make_trades() -> Columns:
    """W5: a trade every millisecond, which moves by at most one cent."""
    steps = np.random.default_rng(SEED + 2).integers(-1, 2, TRADES)
    cents = np.abs(10_000 + np.cumsum(steps) - 1_000) + 1_000  # never below 10.00
    return {
        "ts": TS_FIRST + np.arange(1, TRADES + 1, dtype=np.int64) * 1_000_000,
        "price": cents / 100.0,
        "quantity": np.ones(TRADES),
    }


MARKETS = {"minutes": make_minutes, "days": make_days, "trades": make_trades}


def write_market(name: str, folder: Path) -> Path:
    """Write one market as `folder/name/COLUMN.npy`, unless it is there; returns that folder."""
    place = folder / name
    if not place.exists():
        place.mkdir(parents=True)
        for column, values in MARKETS[name]().items():
            np.save(place / f"{column}.npy", values)
    return place


def _cents(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Nearest price on a grid of cents: the float64 that the decimal number reads as."""
    return np.rint(values * 100) / 100
