"""Bars made of real intraday data, against polars and against the vendors' own longer bars.

Source of all numbers: the shared data folder (Lean's SPY, Coinbase and Binance files, a recorded
trade stream of Binance).
"""

from __future__ import annotations

import gzip
import json
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest

from onetape.domain.market import BAR_FLOAT_COLUMNS
from onetape.marketdata.aggregation import aggregate
from onetape.marketdata.bar_rule import parse_bar_rule
from onetape.marketdata.bars import BarColumns
from onetape.marketdata.calendars import build_calendar
from onetape.marketdata.pieces import bars_as_pieces, trades_as_pieces
from tests.support.shared_data import SHARED, needs_shared

pytestmark = needs_shared

MINUTE = 60_000_000_000
XNYS = build_calendar("XNYS")
CLOCK = build_calendar("24/7")
SPY = "equity_us/minute_raw/spy_trade_20131004_20131011.csv.gz"
BITCOIN = "crypto/coinbase_btcusd_minute_trade_20180404_20180405.csv.gz"


def read_frame(name: str) -> pl.DataFrame:
    """Rows with `ts` (UTC) and the five numbers."""
    frame = pl.read_csv(SHARED / name)
    first = frame.columns[0]
    ts = pl.col(first).str.to_datetime("%Y-%m-%dT%H:%M:%S%#z", time_zone="UTC", time_unit="ns")
    return frame.select(ts.alias("ts"), *(pl.col(n).cast(pl.Float64) for n in BAR_FLOAT_COLUMNS))


def as_columns(frame: pl.DataFrame) -> BarColumns:
    ts_open = frame["ts"].to_physical().to_numpy()
    times = {"ts_open": ts_open, "ts_close": ts_open + MINUTE, "ts_known": ts_open + MINUTE,
             "session_close": ts_open + MINUTE,
             "quality": np.zeros(len(ts_open), dtype=np.int64)}  # fmt: skip
    return {**times, **{name: frame[name].to_numpy().copy() for name in BAR_FLOAT_COLUMNS}}


def by_polars(frame: pl.DataFrame, every: str) -> pl.DataFrame:
    return frame.group_by_dynamic("ts", every=every).agg(
        pl.col("open").first(), pl.col("high").max(), pl.col("low").min(),
        pl.col("close").last(), pl.col("volume").sum(),
    )  # fmt: skip


def assert_equal(columns: BarColumns, expected: pl.DataFrame, *, unfinished: int = 0) -> None:
    assert (
        columns["ts_open"].tolist()
        == (expected["ts"].to_physical().to_list()[: len(expected) - unfinished])
    )
    for name in ("open", "high", "low", "close"):
        assert columns[name].tolist() == expected[name].to_list()[: len(columns[name])], name
    volume = expected["volume"].to_numpy()[: len(columns["volume"])]
    np.testing.assert_allclose(columns["volume"], volume, rtol=1e-12)


@pytest.mark.parametrize("name", [SPY, BITCOIN])
@pytest.mark.parametrize("timeframe", ["5m", "15m", "1h", "4h", "1d"])
def test_bars_of_the_clock_equal_polars_on_real_minutes(name: str, timeframe: str) -> None:
    frame = read_frame(name)
    rule = parse_bar_rule(timeframe, by_session=False)

    made = aggregate(bars_as_pieces(as_columns(frame), name), rule, CLOCK)

    expected = by_polars(frame, timeframe)
    is_over = int(made.columns["ts_close"][-1]) > int(expected["ts"].to_physical()[-1])
    assert_equal(made.columns, expected, unfinished=0 if is_over else 1)
    assert (made.unfinished == 0) == is_over


def test_minutes_of_spy_give_the_vendors_hours_and_days() -> None:
    """The vendor's hours and days were made from other prints of the same tape.

    Times and volumes are equal. Of its 30 daily prices one is a cent off (a low); of its 42 hours
    opens and closes are up to 3 cents off, and six highs and six lows are others: they contradict
    its own days, which are ours.
    """
    minutes = bars_as_pieces(as_columns(read_frame(SPY)), "spy")
    by_five = aggregate(minutes, parse_bar_rule("5m", by_session=True), XNYS)
    chain = bars_as_pieces(by_five.columns, "5m")
    hours = aggregate(chain, parse_bar_rule("1h"), CLOCK).columns
    days = aggregate(chain, parse_bar_rule("1d"), XNYS).columns
    assert by_five.outside == 4_839 - 6 * 390

    told = pl.read_csv(SHARED / "equity_us/hour_raw/spy.csv.gz", try_parse_dates=True)
    ts = pl.col("bar_start_et_naive").dt.replace_time_zone("America/New_York")
    told = told.with_columns(ts.dt.convert_time_zone("UTC").dt.cast_time_unit("ns").alias("ts"))
    told = told.filter(pl.col("ts").dt.date().is_between(date(2013, 10, 4), date(2013, 10, 11)))
    assert hours["ts_open"].tolist() == told["ts"].to_physical().to_list()
    assert hours["volume"].tolist() == told["volume"].to_list()
    for name in ("open", "close"):
        assert np.abs(hours[name] - told[name].to_numpy()).max() < 0.031
    for name in ("high", "low"):
        assert np.count_nonzero(hours[name] != told[name].to_numpy()) == 6
    daily = pl.read_csv(SHARED / "equity_us/daily_raw/spy.csv.gz")
    daily = daily.filter(pl.col("date").is_between(pl.lit("2013-10-04"), pl.lit("2013-10-11")))
    for name in ("open", "high", "close", "volume"):
        assert days[name].tolist() == daily[name].to_list(), name
    assert np.round(days["low"] - daily["low"].to_numpy(), 9).tolist() == [0, 0, -0.01, 0, 0, 0]


def test_minutes_of_bitcoin_give_the_vendors_days() -> None:
    frame = read_frame(BITCOIN)
    days = aggregate(bars_as_pieces(as_columns(frame), "btc"), parse_bar_rule("1d"), CLOCK)

    told = pl.read_csv(SHARED / "crypto/coinbase_btcusd_daily.csv.gz")
    told = told.filter(pl.col("date_utc").is_between(pl.lit("2018-04-04"), pl.lit("2018-04-05")))
    for name in ("open", "high", "low", "close"):
        assert days.columns[name].tolist() == told[name].to_list(), name
    volume = np.round(days.columns["volume"], 8)
    assert volume.tolist() == told["volume_btc"].to_list()  # the file has eight decimals


def read_trades() -> dict[str, Any]:
    rows: list[tuple[int, float, float]] = []
    recording = SHARED / "protocol/binance/spot_ws_recording_btcusdt_20240808.gz"
    with gzip.open(recording, "rt") as lines:
        for line in lines:
            if '"e":"trade"' in line:
                data = json.loads(line.partition(" ")[2])["data"]
                rows.append((data["T"] * 1_000_000, float(data["p"]), float(data["q"])))
    ts, price, size = zip(*rows, strict=True)
    return {"ts_event": np.array(ts), "price": np.array(price), "size": np.array(size)}


@pytest.fixture(scope="module")
def trades() -> dict[str, Any]:
    return read_trades()


@pytest.mark.parametrize("timeframe", ["1s", "10s", "1m"])
def test_recorded_prints_give_the_bars_of_polars(trades: dict[str, Any], timeframe: str) -> None:
    made = aggregate(trades_as_pieces(trades, "btc"), parse_bar_rule(timeframe), CLOCK)

    ts = pl.Series(trades["ts_event"]).cast(pl.Datetime("ns", "UTC"))
    price, size = pl.Series(trades["price"]), pl.Series(trades["size"])
    frame = pl.DataFrame({"ts": ts, **dict.fromkeys(("open", "high", "low", "close"), price),
                          "volume": size})  # fmt: skip
    assert_equal(made.columns, by_polars(frame, timeframe), unfinished=1)


@pytest.mark.parametrize(("name", "column"), [("500tick", None), ("5volume", "size"),
                                              ("250000dollar", "turnover")])  # fmt: skip
def test_recorded_prints_give_bars_of_equal_activity(
    trades: dict[str, Any], name: str, column: str | None
) -> None:
    """Each bar but for its last print is below the threshold, and with it is not."""
    made = aggregate(trades_as_pieces(trades, "btc"), parse_bar_rule(name), CLOCK).columns
    rule = parse_bar_rule(name)
    measures = {None: np.ones(len(trades["price"])), "size": trades["size"],
                "turnover": trades["price"] * trades["size"]}[column]  # fmt: skip
    total = 0.0
    ends: list[int] = []
    for row, each in enumerate(measures.tolist()):
        total += each
        if total >= rule.threshold:
            ends.append(row)
            total = 0.0

    assert len(made["ts_open"]) == len(ends) > 2
    assert made["close"].tolist() == trades["price"][ends].tolist()
    starts = [0, *(each + 1 for each in ends[:-1])]
    assert made["open"].tolist() == trades["price"][starts].tolist()
