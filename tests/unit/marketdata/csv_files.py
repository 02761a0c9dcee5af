"""Builders of small data files and columns for the tests of marketdata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.importer import ImportOptions, ImportResult, import_bars

NOW = from_iso("2024-06-01")
NEW_YORK_HOURS = "hours:America/New_York:09:30-16:00"
BTC = make_spot("BTC-USD.COIN", base="BTC", quote="USD", tick_size="0.01", lot_size="0.0001")
SPY = make_equity("SPY.ARCX", calendar=NEW_YORK_HOURS)

HEADER = "date,open,high,low,close,volume"


def write_csv(folder: Path, *rows: str, header: str = HEADER, name: str = "prices.csv") -> Path:
    """A CSV file; line 1 is the header, so the first row is line 2."""
    path = folder / name
    path.write_text("\n".join([header, *rows, ""]))
    return path


def daily_rows(*days: str, price: str = "10,12,9,11,100") -> list[str]:
    """One row for each date."""
    return [f"{day},{price}" for day in days]


def import_csv(
    path: Path, timeframe: str = "1d", instrument: Instrument = BTC, **options: Any
) -> ImportResult:
    """`import_bars` with the clock of the tests."""
    return import_bars(path, instrument, timeframe, ImportOptions(**options), ts_now=NOW)


def make_columns(
    rows: int, *, start: str = "2024-01-01", step: int = NS_PER_DAY, price: float = 100.0
) -> BarColumns:
    """Bars side by side whose close is `price`, `price` + 1, ..."""
    ts_open = from_iso(start) + np.arange(rows, dtype=np.int64) * step
    close = price + np.arange(rows, dtype=np.float64)
    return {
        "ts_open": ts_open,
        "ts_close": ts_open + step,
        "ts_known": ts_open + step,
        "session_close": ts_open + step,
        "quality": np.zeros(rows, dtype=np.int64),
        "open": close - 0.5,
        "high": close + 1.0,
        "low": close - 1.0,
        "close": close,
        "volume": np.full(rows, 1000.0),
    }
