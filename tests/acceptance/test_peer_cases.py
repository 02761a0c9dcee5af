"""Cases of `acceptance/cases.json`: numbers that other engines gave for the same rules and data."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from onetape.domain.instrument import Instrument, make_equity, make_spot
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.orders import Side
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.execution.simulated.fees import BpsFees, PerShareFees
from onetape.execution.simulated.slippage import NoSlippage
from onetape.features.average import Ema, Sma
from onetape.features.estimator import FeatureMap
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from tests.support.session_runs import SessionRun, run_session
from tests.support.shared_data import SHARED, needs_shared

pytestmark = needs_shared

NEW_YORK = ZoneInfo("America/New_York")
LEAN_FEES = PerShareFees(rate="0.005", minimum="1", maximum_ratio="0.005")
FREE_OF_LIMITS = RiskLimits(max_leverage=10)
Row = dict[str, str]


def case(name: str) -> dict[str, Any]:
    cases = json.loads((SHARED / "acceptance" / "cases.json").read_text())["cases"]
    return next(each for each in cases if each["id"] == name)["expected"]


def read(path: str) -> list[Row]:
    file = SHARED / path
    opener = gzip.open if file.suffix == ".gz" else Path.open
    with opener(file, "rt") as text:  # type: ignore[operator]
        return list(csv.DictReader(text))


def local(day: str, clock: str) -> int:
    moment = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=NEW_YORK)
    return int(moment.timestamp()) * 1_000_000_000


def nyse_session(row: Row, key: str) -> tuple[int, int]:
    return local(row[key], "09:30:00"), local(row[key], "16:00:00")


def utc_day(row: Row, key: str) -> tuple[int, int]:
    start = int(datetime.fromisoformat(f"{row[key]}T00:00:00+00:00").timestamp()) * 1_000_000_000
    return start, start + NS_PER_DAY


def daily(
    instrument: Instrument,
    rows: list[Row],
    first: str,
    last: str,
    *,
    key: str = "date",
    names: tuple[str, ...] = ("open", "high", "low", "close", "volume"),
    hours: Callable[[Row, str], tuple[int, int]] = nyse_session,
    factor: Callable[[str], float] = lambda _: 1.0,
) -> Timeline:
    """Daily bars from `first` to `last` (inclusive), prices multiplied by `factor(date)`."""
    chosen = [row for row in rows if first <= row[key] <= last]
    times = np.array([hours(row, key) for row in chosen], dtype=np.int64)
    scale = np.array([factor(row[key]) for row in chosen])
    columns: dict[str, npt.NDArray[Any]] = {
        "ts_open": times[:, 0],
        "ts_close": times[:, 1],
        "ts_known": times[:, 1],
        "session_close": times[:, 1],
        "quality": np.zeros(len(chosen), dtype=np.int64),
    }
    for name, source in zip(("open", "high", "low", "close", "volume"), names, strict=True):
        values = np.array([float(row[source]) for row in chosen])
        columns[name] = values if name == "volume" else values * scale
    return build_timeline([(instrument, columns)], source="shared", timeframe="1d")


def lean_factor(symbol: str) -> Callable[[str], float]:
    path = SHARED / "equity_us" / "factor_files" / f"{symbol}.csv"
    table = [line.split(",") for line in path.read_text().split()]

    def factor(date: str) -> float:
        day = date.replace("-", "")
        row = next(row for row in table if row[0] >= day)
        return float(row[1]) * float(row[2])

    return factor


def adjusted_spy(first: str, last: str) -> Timeline:
    spy = make_equity("SPY.ARCX", tick_size="0.00000001")
    return daily(spy, read("equity_us/daily_raw/spy.csv.gz"), first, last,
                 factor=lean_factor("spy"))  # fmt: skip


def money(amount: int) -> float:
    return amount / E8


def fees_of(run: SessionRun) -> float:
    return money(sum(fill.fee for fill in run.fills))


class BuyAll(Strategy):
    """Buys with all equity but 0.25 % at the first bar."""

    done: bool = state(False)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not self.done:
            ctx.target_weight(bar.instrument, 0.9975)
            self.done = True


def test_a02_buy_and_hold_daily_fills_at_the_next_open() -> None:
    expected = case("A02")
    run = run_session(
        adjusted_spy("2013-10-08", "2013-10-17"), BuyAll(), fees=LEAN_FEES, limits=FREE_OF_LIMITS
    )
    (fill,) = run.fills
    assert fill.lots == expected["fill"]["qty"]
    assert fill.ticks / E8 == pytest.approx(expected["fill"]["price"], abs=2e-8)
    assert to_iso(fill.ts_fill).startswith(expected["fill"]["date"])
    assert fees_of(run) == pytest.approx(3.485, abs=1e-9)
    assert money(run.equity()) == pytest.approx(expected["end_equity"], abs=0.005)


class MacdTrend(Strategy):
    """Long while the MACD stands above its signal line by 0.25 % of the fast average."""

    seen: int = state(0)
    signal: float = state(0.0)

    def features(self) -> FeatureMap:
        return {"fast": Ema(12), "slow": Ema(26)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f = ctx.features
        if f.slow != f.slow:
            return
        macd = f.fast - f.slow
        self.seen += 1
        if self.seen <= 9:  # the running mean of the first nine values seeds the average
            self.signal += (macd - self.signal) / self.seen
        else:
            self.signal += (macd - self.signal) * 2 / 10
        if self.seen < 9:
            return
        distance = (macd - self.signal) / f.fast
        held = ctx.position(bar.instrument)
        if held == 0 and distance > 0.0025:
            ctx.target_weight(bar.instrument, 0.9975)
        elif held > 0 and distance < -0.0025:
            ctx.sell(bar.instrument, held)


def test_a03_macd_trend_gives_every_fill_of_the_peer() -> None:
    expected = case("A03")
    run = run_session(
        adjusted_spy("2004-01-01", "2014-12-31"), MacdTrend(), fees=LEAN_FEES,
        limits=FREE_OF_LIMITS,
    )  # fmt: skip
    rows = read("acceptance/A03_spy_macd_fills.csv")
    assert len(run.fills) == len(rows) == expected["fills"]
    for fill, row in zip(run.fills, rows, strict=True):
        assert to_iso(fill.ts_fill)[:10] == row["fill_date"]
        assert fill.lots * fill.side == int(row["qty"])
        assert fill.ticks / E8 == pytest.approx(float(row["adjusted_open_price"]), abs=2e-8)
        assert money(fill.fee) == pytest.approx(float(row["fee"]), abs=5e-5)
    assert fees_of(run) == pytest.approx(expected["total_fees"], abs=0.005)
    assert money(run.equity()) == pytest.approx(expected["end_equity"], abs=0.005)


class AlwaysIn(Strategy):
    """Flips between long and short at each cross of two averages; closes at the last open.

    The case words the size as 0.9999 of equity, but its trades are those of the whole equity: six
    of the 89 sizes differ by one share otherwise. The recorded trades decide.
    """

    fast: int = param(10)
    slow: int = param(30)
    ts_last: int = param(0)
    fast_before: float = state(0.0)
    slow_before: float = state(0.0)

    def features(self) -> FeatureMap:
        return {"fast": Sma(self.fast), "slow": Sma(self.slow)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f = ctx.features
        up = self.fast_before < self.slow_before and f.fast > f.slow
        down = self.fast_before > self.slow_before and f.fast < f.slow
        self.fast_before, self.slow_before = f.fast, f.slow
        held = ctx.position(bar.instrument)
        if bar.ts_close == self.ts_last:
            ctx.target(bar.instrument, 0.0)
        elif up or down:
            if held:
                ctx.target(bar.instrument, 0.0)
            ctx.spend_ratio(bar.instrument, 1.0, Side.BUY if up else Side.SELL)


def test_a10_sma_cross_long_short_gives_every_trade_of_the_peer() -> None:
    expected = case("A10")
    spy = make_equity("SPY.ARCX")
    timeline = daily(spy, read("equity_us/daily_raw/spy.csv.gz"), "2010-01-04", "2020-12-31")
    before_last = int(timeline.columns["ts_close"][-2])
    run = run_session(
        timeline, AlwaysIn(ts_last=before_last), fees=BpsFees(maker_bps=10, taker_bps=10),
        limits=FREE_OF_LIMITS,
    )  # fmt: skip
    trades = read("acceptance/A10_spy_smacross_trades.csv")
    entries, exits = run.fills[0::2], run.fills[1::2]
    assert len(entries) == len(exits) == len(trades) == expected["# Trades"]
    for entry, exit_, row in zip(entries, exits, trades, strict=True):
        assert entry.lots * entry.side == -exit_.lots * exit_.side == int(row["Size"])
        assert to_iso(entry.ts_fill)[:10] == row["EntryTime"]
        assert to_iso(exit_.ts_fill)[:10] == row["ExitTime"]
        assert entry.ticks == round(Decimal(row["EntryPrice"]) * 100)
        assert exit_.ticks == round(Decimal(row["ExitPrice"]) * 100)
        assert money(entry.fee + exit_.fee) == pytest.approx(float(row["Commission"]), rel=1e-9)
    assert fees_of(run) == pytest.approx(expected["Commissions [$]"], rel=1e-8)
    assert money(run.equity()) == pytest.approx(expected["Equity Final [$]"], rel=1e-8)


class LongOnly(Strategy):
    """Buys with all cash when the fast average crosses above the slow one, else sells."""

    fast_before: float = state(0.0)
    slow_before: float = state(0.0)

    def features(self) -> FeatureMap:
        return {"fast": Sma(10), "slow": Sma(30)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        f = ctx.features
        held = ctx.position(bar.instrument)
        if held == 0 and f.fast > f.slow and self.fast_before <= self.slow_before:
            ctx.spend(bar.instrument, ctx.cash)
        elif held > 0 and f.fast < f.slow and self.fast_before >= self.slow_before:
            ctx.sell(bar.instrument, held)
        self.fast_before, self.slow_before = f.fast, f.slow


def naive_next_open(rows: list[Row], lot: Decimal) -> tuple[Decimal, int]:
    """A11 filled at the next open: (final equity, round trips), in exact decimals."""
    closes = [float(row["close"]) for row in rows]
    opens = [Decimal(row["open"]) for row in rows]
    cash, units, trips = Decimal(10_000), Decimal(0), 0
    averages = [
        (sum(closes[at - 9 : at + 1]) / 10, sum(closes[at - 29 : at + 1]) / 30)
        for at in range(29, len(rows))
    ]
    for at in range(30, len(rows) - 1):
        (fast_before, slow_before), (fast, slow) = averages[at - 30], averages[at - 29]
        price = opens[at + 1]
        if units == 0 and fast > slow and fast_before <= slow_before:
            units = (cash / (price * Decimal("1.001"))) // lot * lot
            cash -= units * price * Decimal("1.001")
        elif units > 0 and fast < slow and fast_before >= slow_before:
            cash += units * price * Decimal("0.999")
            units, trips = Decimal(0), trips + 1
    return cash + units * Decimal(rows[-1]["close"]), trips + (units > 0)


def test_a11_sma_cross_fractional_with_fees_at_the_next_open() -> None:
    rows = [r for r in read("crypto/coinbase_btcusd_daily.csv.gz") if r["date_utc"] >= "2015-06-01"]
    btc = make_spot("BTC-USD.GDAX", base="BTC", quote="USD", tick_size="0.01", lot_size="0.000001")
    names = ("open", "high", "low", "close", "volume_btc")
    timeline = daily(
        btc, rows, "2015-06-01", "2018-08-13", key="date_utc", names=names, hours=utc_day
    )
    run = run_session(
        timeline, LongOnly(), capital=10_000, fees=BpsFees(maker_bps=10, taker_bps=10),
        slippage=NoSlippage(), limits=FREE_OF_LIMITS,
    )  # fmt: skip
    unrounded, trips = naive_next_open(rows, Decimal("1e-16"))
    assert (f"{unrounded:.2f}", trips) == ("179205.43", 17)  # the case's own next-open number
    on_grid, trips = naive_next_open(rows, Decimal("0.000001"))
    assert sum(fill.side is Side.BUY for fill in run.fills) == trips == 17
    assert money(run.equity()) == pytest.approx(float(on_grid), abs=0.005)
    assert money(run.equity()) == pytest.approx(179205.43, rel=1e-4)  # tolerance of the case


class PriceAboveAverage(Strategy):
    """Holds ten shares while the close is above its average."""

    def features(self) -> FeatureMap:
        return {"average": Sma(15)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        average = ctx.features.average
        held = ctx.position(bar.instrument)
        if held == 0 and bar.close > average:
            ctx.buy(bar.instrument, 10)
        elif held > 0 and bar.close < average:
            ctx.sell(bar.instrument, 10)


def test_a12_price_above_average_gives_every_fill_of_the_peer() -> None:
    expected = case("A12")
    rows = sorted(read("equity_us/wiki_orcl_2000.csv"), key=lambda row: row["Date"])
    names = ("Adj. Open", "Adj. High", "Adj. Low", "Adj. Close", "Adj. Volume")
    orcl = make_equity("ORCL.XNYS", tick_size="0.00000001")
    timeline = daily(orcl, rows, "2000-01-01", "2000-12-31", key="Date", names=names)
    run = run_session(timeline, PriceAboveAverage(), capital=1_000, limits=FREE_OF_LIMITS)
    fills = read("acceptance/A12_orcl_sma15_fills.csv")
    assert len(run.fills) == len(fills) == expected["fills"]
    for fill, row in zip(run.fills, fills, strict=True):
        assert to_iso(fill.ts_fill)[:10] == row["fill_date"]
        assert (fill.side.name, fill.lots) == (row["side"], int(row["qty"]))
        assert round(fill.ticks / E8, 2) == pytest.approx(float(row["price_2dp"]), abs=1e-9)
    assert money(run.equity()) == pytest.approx(expected["end_equity"], abs=0.005)
