"""Real minutes and hours of the shared data folder as timelines, read in place."""

from __future__ import annotations

import csv
import gzip
from typing import Any

import numpy as np

from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_SECOND, from_iso
from onetape.marketdata.timeline import Timeline, build_timeline
from tests.support.shared_data import SHARED

MINUTE = 60 * NS_PER_SECOND
HOUR = 60 * MINUTE
HOURS = "hours:America/New_York:09:30-16:00"
SPY = make_equity("SPY.ALPACA", calendar=HOURS)
AAPL = make_equity("AAPL.ALPACA", calendar=HOURS)
AAPL_AT_IB = make_equity("AAPL.IBKR", calendar=HOURS)
BTCUSDT = make_spot(
    "BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001"
)
ETHUSDT = make_spot(
    "ETHUSDT.BINANCE", base="ETH", quote="USDT", tick_size="0.01", lot_size="0.0001"
)

_FILES = {
    SPY.id: "equity_us/minute_raw/spy_trade_20131004_20131011.csv.gz",
    AAPL.id: "equity_us/minute_raw/aapl_trade_20140605_20140609.csv.gz",
    AAPL_AT_IB.id: "equity_us/minute_raw/aapl_trade_20140605_20140609.csv.gz",
    BTCUSDT.id: "crypto/coinbase_btcusd_minute_trade_20180404_20180405.csv.gz",
    ETHUSDT.id: "crypto/coinbase_ethusd_minute_trade_20180404_20180405.csv.gz",
}
_OPEN, _CLOSE = "09:30", "16:00"


def read_minutes(day: str, *instruments: Instrument, bars: int | None = None) -> Timeline:
    """A day of minutes: the regular session of shares (New York), all of UTC's day of coins.

    Coinbase's dollar stands for Binance's USDT. `bars` leaves out what comes after so many minutes
    of the first bar.
    """
    series = [(each, _read(each, day)) for each in instruments]
    if bars is not None:
        end = int(series[0][1]["ts_open"][0]) + bars * MINUTE
        series = [(each, {n: c[columns["ts_open"] < end] for n, c in columns.items()})
                  for each, columns in series]  # fmt: skip
    return build_timeline(series, source="shared", timeframe="1m")


def read_hours() -> Timeline:
    """BTCUSDT of Binance, five days of hours from 2018-05-01 on."""
    path = "crypto/binance_btcusdt_hour_20180501_20180505.csv.gz"
    rows = _rows(path, "")
    return build_timeline([(BTCUSDT, _columns(rows, HOUR, "24/7"))], source="b", timeframe="1h")


def _read(instrument: Instrument, day: str) -> dict[str, Any]:
    rows = _rows(_FILES[instrument.id], day)
    if instrument.calendar == HOURS:
        rows = [row for row in rows if _OPEN <= row[0][11:16] < _CLOSE]
    return _columns(rows, MINUTE, instrument.calendar)


def _rows(path: str, day: str) -> list[list[str]]:
    """Rows of a file that begin on a day (all for an empty one): the start of the bar first."""
    with gzip.open(SHARED / path, "rt", encoding="utf-8", newline="") as lines:
        return [row for row in list(csv.reader(lines))[1:] if row[0].startswith(day)]


def _columns(rows: list[list[str]], length: int, calendar: str) -> dict[str, Any]:
    ts_open = np.array([from_iso(row[0]) for row in rows], dtype=np.int64)
    values = np.array([row[1:6] for row in rows], dtype=np.float64)
    close = from_iso(f"{rows[-1][0][:10]}T{_CLOSE}{rows[-1][0][19:]}")
    ends = (
        np.full(len(rows), close) if calendar == HOURS else (ts_open // NS_PER_DAY + 1) * NS_PER_DAY
    )
    return {
        "ts_open": ts_open,
        "ts_close": ts_open + length,
        "ts_known": ts_open + length,
        "session_close": ends,
        "quality": np.zeros(len(rows), dtype=np.int64),
        **{
            n: values[:, at].copy()
            for at, n in enumerate(("open", "high", "low", "close", "volume"))
        },
    }
