"""Cases of `acceptance/cases.json`: numbers that other engines gave for the same rules and data."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest

from onetape.domain.events import OrderExpired
from onetape.domain.instrument import Instrument, InstrumentId, make_equity, make_spot
from onetape.domain.market import Bar, CorporateAction, CorporateActionKind
from onetape.domain.numbers import E8
from onetape.domain.orders import Side, TimeInForce
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.execution.simulated.fees import BpsFees, PerShareFees
from onetape.execution.simulated.fill_terms import FillTerms, MarketPrice
from onetape.execution.simulated.slippage import NoSlippage
from onetape.features.average import Ema, Sma
from onetape.features.estimator import FeatureMap
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.research.run_summary import summarize_run
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


def case(name: str, part: str = "expected") -> dict[str, Any]:
    cases = json.loads((SHARED / "acceptance" / "cases.json").read_text())["cases"]
    return next(each for each in cases if each["id"] == name)[part]


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
    actions: Sequence[CorporateAction] = (),
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
    return build_timeline([(instrument, columns)], source="shared", timeframe="1d", actions=actions)


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


def run_a11(rows: list[dict[str, str]], fill: FillTerms) -> SessionRun:
    """The case with our lots of a millionth and prices of a cent."""
    btc = make_spot("BTC-USD.GDAX", base="BTC", quote="USD", tick_size="0.01", lot_size="0.000001")
    names = ("open", "high", "low", "close", "volume_btc")
    timeline = daily(
        btc, rows, "2015-06-01", "2018-08-13", key="date_utc", names=names, hours=utc_day
    )
    return run_session(
        timeline, LongOnly(), capital=10_000, fees=BpsFees(maker_bps=10, taker_bps=10),
        slippage=NoSlippage(), limits=FREE_OF_LIMITS, fill=fill,
    )  # fmt: skip


def test_a11_sma_cross_fractional_with_fees_at_the_close_of_the_signal_bar() -> None:
    expected = case("A11")
    rows = [r for r in read("crypto/coinbase_btcusd_daily.csv.gz") if r["date_utc"] >= "2015-06-01"]
    run = run_a11(rows, FillTerms(market=MarketPrice.SAME_CLOSE))
    assert sum(fill.side is Side.BUY for fill in run.fills) == expected["trades"]
    assert money(run.equity()) == pytest.approx(expected["end_value"], rel=1e-4)
    assert fees_of(run) == pytest.approx(expected["total_fees"], rel=1e-4)
    closes = {row["date_utc"]: Decimal(row["close"]) for row in rows}
    for fill in run.fills:
        day = to_iso(fill.ts_fill - 1)[:10]  # it stands at the end of the day that decided it
        assert abs(Decimal(fill.ticks) / 100 - closes[day]) < Decimal("0.01")


def test_a11_sma_cross_fractional_with_fees_at_the_next_open() -> None:
    rows = [r for r in read("crypto/coinbase_btcusd_daily.csv.gz") if r["date_utc"] >= "2015-06-01"]
    run = run_a11(rows, FillTerms())
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


def intraday(
    instrument: Instrument,
    path: str,
    first: str,
    last: str,
    *,
    key: str,
    minutes: int,
    prefix: str = "",
    symbol: str = "spy",
) -> Timeline:
    """Bars of the regular sessions from `first` to `last`, prices times the peer's factor."""
    factor = lean_factor(symbol)
    times: list[tuple[int, int, int]] = []
    values: list[list[float]] = []
    for row in read(path):
        day, clock = row[key][:10], row[key][11:19]
        opens, closes = nyse_session({"date": day}, "date")
        start = max(local(day, clock), opens) if minutes == 60 else local(day, clock)
        end = local(day, clock) + minutes * 60 * 1_000_000_000
        if first <= day <= last and opens <= start < closes:
            times.append((start, end, closes))
            scale = factor(day)
            values.append([float(row[prefix + name]) * scale for name in PRICES])
    at, prices = np.array(times, dtype=np.int64), np.array(values)
    columns: dict[str, npt.NDArray[Any]] = {
        "ts_open": at[:, 0], "ts_close": at[:, 1], "ts_known": at[:, 1],
        "session_close": at[:, 2], "quality": np.zeros(len(at), dtype=np.int64),
        "volume": np.full(len(at), 1e9),
    }  # fmt: skip
    columns |= {name: prices[:, number].copy() for number, name in enumerate(PRICES)}
    return build_timeline([(instrument, columns)], source="shared", timeframe=f"{minutes}m")


PRICES = ("open", "high", "low", "close")
SPY = make_equity("SPY.ARCX", tick_size="0.00000001")
QUOTES = "equity_us/minute_raw/spy_quote_20131004_20131011.csv.gz"
TRADES = "equity_us/minute_raw/spy_trade_20131004_20131011.csv.gz"


class TrailOnce(Strategy):
    """One trailing stop of 100 shares at the first bar."""

    is_buy: bool = param(True)
    trail: float = param(2.0)
    sent: bool = state(False)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not self.sent:
            side = Side.BUY if self.is_buy else Side.SELL
            ctx.order(bar.instrument, side, 100, trail=self.trail)
            self.sent = True


def test_a07_trailing_stops_fill_where_the_peer_would_with_gaps_at_the_opening_quote() -> None:
    """A buy meets the ask and a sell the bid, so each leg runs on its own side's bars."""
    expected = case("A07")
    asks = intraday(SPY, QUOTES, "2013-10-07", "2013-10-11", key="bar_start_et", minutes=1,
                    prefix="ask_")  # fmt: skip
    (buy,) = run_session(asks, TrailOnce(), fees=LEAN_FEES, limits=FREE_OF_LIMITS).fills
    assert to_iso(buy.ts_fill).startswith("2013-10-10T13:30")
    assert buy.ticks / E8 == pytest.approx(144.634738, abs=1e-6)

    bids = intraday(SPY, QUOTES, "2013-10-10", "2013-10-11", key="bar_start_et", minutes=1,
                    prefix="bid_")  # fmt: skip
    (sell,) = run_session(
        bids, TrailOnce(is_buy=False, trail=0.5), fees=LEAN_FEES, limits=FREE_OF_LIMITS
    ).fills
    wanted = expected["fills"][1]
    assert sell.ticks / E8 == pytest.approx(wanted["price"], abs=2e-8)
    minute = datetime.fromisoformat(wanted["bar"]).timestamp()
    assert 0 < sell.ts_fill / 1e9 - minute <= 60
    end = 100_000 + 100 * (sell.ticks - buy.ticks) / E8 - money(sell.fee + buy.fee)
    assert end == pytest.approx(100024.95, abs=0.005)


class LimitsOfEveryKind(Strategy):
    """Six limit orders of 10 shares after the first bar."""

    sent: bool = state(False)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if self.sent:
            return
        self.sent = True
        end_of_day = local("2013-10-11", "00:00:00")
        for force, limits in (
            (TimeInForce.GTC, (100, 160)), (TimeInForce.DAY, (140, 180)),
            (TimeInForce.GTD, (100, 160)),
        ):  # fmt: skip
            for limit in limits:
                ctx.buy(bar.instrument, 10, limit=limit, time_in_force=force,
                        ts_expire=end_of_day if force is TimeInForce.GTD else 0)  # fmt: skip


def test_a08_time_in_force_leaves_the_orders_as_the_peer_does() -> None:
    expected = case("A08")
    bars = intraday(SPY, TRADES, "2013-10-07", "2013-10-11", key="bar_start_et", minutes=1)
    run = run_session(bars, LimitsOfEveryKind(), fees=LEAN_FEES, limits=FREE_OF_LIMITS)
    assert [fill.client_order_id[-1] for fill in run.fills] == ["2", "4", "6"]
    assert [fill.ticks / E8 for fill in run.fills] == pytest.approx([144.7990] * 3, abs=1e-4)
    expired = {
        each.payload.client_order_id[-1]: to_iso(each.ts_event)
        for each in run.events
        if isinstance(each.payload, OrderExpired)
    }
    assert expired["3"] == "2013-10-07T20:00:00Z"
    assert expired["5"] == "2013-10-11T13:31:00Z"  # told by the first bar behind the end
    assert sorted(expired) == ["3", "5"]
    assert [each.client_order_id[-1] for each in run.session.save().desk.orders] == ["1"]
    assert fees_of(run) == pytest.approx(expected["total_fees"])
    assert money(run.equity()) == pytest.approx(expected["end_equity"], abs=0.005)


class AtMidnight(Strategy):
    """A timer at midnight sends a market-on-open order and a plain market order."""

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer("midnight", local("2021-03-02", "00:00:00"))

    def on_timer(self, name: str, ctx: Context) -> None:
        (spy,) = ctx.instruments
        ctx.order(spy, Side.BUY, 1, time_in_force=TimeInForce.AT_THE_OPEN)
        ctx.buy(spy, 1)


def test_a09_orders_sent_at_midnight_fill_at_the_open_of_the_session() -> None:
    expected = case("A09")
    bars = intraday(SPY, "equity_us/hour_raw/spy.csv.gz", "2021-03-01", "2021-03-03",
                    key="bar_start_et_naive", minutes=60)  # fmt: skip
    run = run_session(bars, AtMidnight(), fees=LEAN_FEES, limits=FREE_OF_LIMITS)
    assert [to_iso(fill.ts_fill) for fill in run.fills] == ["2021-03-02T14:30:00Z"] * 2
    assert fees_of(run) == pytest.approx(expected["total_fees"])
    assert money(run.equity()) == pytest.approx(expected["end_equity"], abs=0.005)


def factor_rows(symbol: str) -> list[list[str]]:
    text = (SHARED / "equity_us" / "factor_files" / f"{symbol}.csv").read_text()
    return [line.split(",") for line in text.split()]


def dividends_of(symbol: str, first: str, last: str) -> list[CorporateAction]:
    """A dividend on the first session behind each row of the factor file whose factor changes.

    The rows name the last day before the ex-date, the price factor up to it, and its close.
    """
    days = [row["date"] for row in read(f"equity_us/daily_raw/{symbol}.csv.gz")]
    table = factor_rows(symbol)
    actions: list[CorporateAction] = []
    for (day, before, _, close), (_, after, _, _) in pairwise(table):
        last_day = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        if before == after or not first <= last_day < last:
            continue
        ex_date = next(each for each in days if each > last_day)
        amount = round(float(close) * (1 - float(before) / float(after)), 2)
        actions.append(
            CorporateAction(
                instrument=InstrumentId("SPY.ARCX"), kind=CorporateActionKind.CASH_DIVIDEND,
                ts_event=local(ex_date, "09:30:00"), ts_known=local(ex_date, "09:30:00"),
                value=amount,
            )
        )  # fmt: skip
    return actions


class TargetOnce(Strategy):
    """Targets a weight at the first bar: equity less 0.25 %, of which the fee is kept back too."""

    weight: float = param(1.0)
    done: bool = state(False)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not self.done:
            ctx.target_weight(bar.instrument, self.weight * 0.9975)
            self.done = True


def test_a04_cash_dividends_on_raw_prices() -> None:
    expected = case("A04")
    spy = make_equity("SPY.ARCX")
    rows = read("equity_us/daily_raw/spy.csv.gz")
    dividends = dividends_of("spy", "1998-01-01", "2006-01-01")
    assert len(dividends) == expected["dividends"]
    assert sum(each.value for each in dividends) == pytest.approx(
        expected["dividend_per_share_sum"]
    )
    timeline = daily(spy, rows, "1998-01-01", "2005-12-31", actions=dividends)
    run = run_session(timeline, TargetOnce(weight=0.5), fees=LEAN_FEES, limits=FREE_OF_LIMITS)
    (fill,) = run.fills
    assert (fill.lots, fill.ticks / 100) == (expected["qty"], expected["fill_price"])
    assert to_iso(fill.ts_fill).startswith("1998-01-05")
    assert fees_of(run) == pytest.approx(expected["total_fees"], abs=0.005)
    assert money(run.ledger().income) == pytest.approx(512 * 13.26, abs=1e-9)
    assert money(run.equity()) == pytest.approx(expected["end_equity"], abs=0.005)
    summary = summarize_run(timeline, run.events, digest=run.digest)
    assert float(summary.account.equity) == money(run.equity())
    assert -100 * summary.account.max_drawdown == pytest.approx(
        expected["max_drawdown_pct"], abs=0.05
    )


def split_of_aapl(value: float, divisor: float) -> CorporateAction:
    ts = local("2014-06-09", "09:30:00")
    return CorporateAction(
        instrument=InstrumentId("AAPL.XNAS"), kind=CorporateActionKind.SPLIT, ts_event=ts,
        ts_known=ts, value=value, divisor=divisor,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("value", "divisor", "lots", "part", "tolerance"),
    [(1, 0.1428572, -1077, "expected", 0.02), (7, 1, -1078, "exact_ratio_alternative", 0.005)],
)
def test_a05_split_while_short(
    value: float, divisor: float, lots: int, part: str, tolerance: float
) -> None:
    """Both ratios: the rounded one of the factor file, 0.0357143 / 0.25, and the exact 7 for 1."""
    timeline = daily(
        make_equity("AAPL.XNAS"), read("equity_us/daily_raw/aapl.csv.gz"), "2014-06-05",
        "2014-06-11", actions=[split_of_aapl(value, divisor)],
    )  # fmt: skip
    run = run_session(timeline, TargetOnce(weight=-1.0), fees=LEAN_FEES, limits=FREE_OF_LIMITS)
    (fill,) = run.fills
    assert (fill.lots, fill.ticks, fill.side) == (154, 65_000, Side.SELL)
    assert fees_of(run) == case("A05")["total_fees"]
    assert run.ledger().positions[timeline.instruments[0].id].lots == lots
    assert money(run.equity()) == pytest.approx(case("A05", part)["end_equity"], abs=tolerance)


def minute_bars(instrument: Instrument, path: str, action: CorporateAction) -> Timeline:
    """Minute bars of the regular sessions."""
    rows = [row for row in read(path) if "09:30" <= row["bar_start_et"][11:16] < "16:00"]
    starts = [datetime.fromisoformat(row["bar_start_et"]) for row in rows]
    ts_open = np.array([int(each.timestamp()) * 1_000_000_000 for each in starts], dtype=np.int64)
    ends = [local(row["bar_start_et"][:10], "16:00:00") for row in rows]
    columns: dict[str, npt.NDArray[Any]] = {
        "ts_open": ts_open,
        "ts_close": ts_open + 60_000_000_000,
        "ts_known": ts_open + 60_000_000_000,
        "session_close": np.array(ends, dtype=np.int64),
        "quality": np.zeros(len(rows), dtype=np.int64),
    }
    for name in ("open", "high", "low", "close", "volume"):
        columns[name] = np.array([float(row[name]) for row in rows])
    return build_timeline(
        [(instrument, columns)], source="shared", timeframe="1m", actions=[action]
    )


class BuyOne(Strategy):
    """Buys one share at the first bar."""

    done: bool = state(False)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not self.done:
            ctx.buy(bar.instrument, 1)
            self.done = True


@pytest.mark.parametrize(
    ("value", "divisor", "lots", "part"),
    [(1, 0.1428572, 6, "expected"), (7, 1, 7, "exact_ratio_alternative")],
)
def test_a06_fraction_of_a_share_is_settled_in_cash(
    value: float, divisor: float, lots: int, part: str
) -> None:
    """The case: the next trade bar opens at the ask that the peer fills at, 646.26."""
    aapl = make_equity("AAPL.XNAS")
    timeline = minute_bars(
        aapl, "equity_us/minute_raw/aapl_trade_20140605_20140609.csv.gz",
        split_of_aapl(value, divisor),
    )  # fmt: skip
    run = run_session(timeline, BuyOne(), fees=LEAN_FEES, limits=FREE_OF_LIMITS)
    (fill,) = run.fills
    assert (fill.ticks, money(fill.fee)) == (64_626, case("A06")["total_fees"])
    assert run.ledger().positions[aapl.id].lots == lots
    assert money(run.equity()) == pytest.approx(case("A06", part)["end_equity"], abs=0.005)
