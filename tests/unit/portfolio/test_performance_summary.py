from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest

from onetape.domain.events import CapitalDeposited, OrderFilled
from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import Side
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.portfolio import performance
from onetape.portfolio.equity_curve import EquityCurve, Marks, compute_equity_curves
from onetape.portfolio.performance_summary import (
    ReturnsClock,
    choose_returns_clock,
    compute_calendar_returns,
    compute_growth,
    compute_returns,
    period_ends,
    summarize_performance,
)
from onetape.portfolio.round_trips import pair_round_trips
from tests.support.runs import EventLog, make_timeline

A = make_equity("A.X")
BTC = make_spot("BTC.X", base="BTC", quote="USD", tick_size="0.01", lot_size="0.001")
DAILY = ReturnsClock("1d", 252.0)


def make_curve(equity: list[int], deposited: list[int]) -> EquityCurve:
    zeros = np.zeros(len(equity), dtype=np.int64)
    return EquityCurve(
        ts=np.arange(1, len(equity) + 1) * NS_PER_DAY, equity=np.array(equity), cash=zeros,
        gross_exposure=zeros, net_exposure=zeros, positions=zeros, deposited=np.array(deposited),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("instruments", "timeframe", "expected"),
    [
        ([A], "1d", ("1d", 252.0)),
        ([A], "1m", ("1d", 252.0)),
        ([BTC], "1h", ("1d", 365.0)),
        ([A, BTC], "1d", ("1d", 365.0)),
        ([A], "1w", ("1w", 52.0)),
        ([BTC], "2w", ("2w", 26.0)),
        ([BTC], "5d", ("5d", 73.0)),
    ],
)
def test_returns_clock_is_days_or_longer_bars(instruments, timeframe, expected) -> None:
    assert choose_returns_clock(instruments, timeframe) == expected


@pytest.mark.parametrize(
    ("equity", "deposited", "expected"),
    [
        ([100, 110, 99], [100, 100, 100], [1.0, 1.1, 0.99]),
        ([105, 110], [100, 100], [1.05, 1.1]),
        ([0, 100, 120], [0, 100, 100], [1.0, 1.0, 1.2]),
        ([100, 120, 330], [100, 100, 300], [1.0, 1.2, 1.2 * 330 / 320]),
        ([100, -20, 10], [100, 100, 120], [1.0, -0.2, math.nan]),
        ([100, -50, -20], [100, 100, 120], [1.0, -0.5, math.nan]),
        ([100, -20, -30], [100, 100, 100], [1.0, -0.2, -0.3]),
    ],
)
def test_growth_takes_deposits_out(equity, deposited, expected) -> None:
    growth = compute_growth(make_curve(equity, deposited))
    assert growth.tolist() == pytest.approx(expected, nan_ok=True)


def test_returns_after_everything_is_lost_are_not_defined() -> None:
    returns = compute_returns(np.array([1.1, 0.55, -0.1, -0.2]))
    assert returns.tolist() == pytest.approx([0.1, -0.5, -0.65 / 0.55, math.nan], nan_ok=True)
    assert compute_returns(np.array([])).tolist() == []


def test_periods_end_with_the_last_slice_of_each_day_and_midnight_ends_a_day() -> None:
    moments = ["2024-01-01T10:00:00Z", "2024-01-01T12:00:00Z", "2024-01-02T00:00:00Z",
               "2024-01-02T00:01:00Z", "2024-01-05T10:00:00Z"]  # fmt: skip
    ts = np.array([from_iso(each) for each in moments])
    assert period_ends(ts, DAILY).tolist() == [2, 3, 4]
    assert period_ends(ts, ReturnsClock("1w", 52.0)).tolist() == [0, 1, 2, 3, 4]
    assert period_ends(ts[:0], DAILY).tolist() == []


def test_calendar_returns_compound_to_the_total() -> None:
    moments = ["2023-11-30T21:00:00Z", "2023-12-29T21:00:00Z", "2024-01-01T00:00:00Z",
               "2024-02-29T21:00:00Z"]  # fmt: skip
    ts = np.array([from_iso(each) for each in moments])
    growth = np.array([1.1, 1.21, 1.331, 1.4641])
    months = compute_calendar_returns(ts, growth, "M")
    assert [name for name, _ in months] == ["2023-11", "2023-12", "2024-02"]
    assert [value for _, value in months] == pytest.approx([0.1, 0.21, 0.1])
    years = compute_calendar_returns(ts, growth, "Y")
    assert years == [("2023", pytest.approx(0.331)), ("2024", pytest.approx(0.1))]
    assert compute_calendar_returns(ts[:0], growth[:0], "M") == []


def test_summary_of_a_small_run_is_what_a_hand_calculates() -> None:
    closes = [10.0, 11.0, 12.0, 9.0, 10.0]
    timeline = make_timeline(
        [A], [(0, (day + 1) * NS_PER_DAY, close) for day, close in enumerate(closes)]
    )
    log = EventLog([A])
    log.deposit(1, "s", 1_000 * E8)
    log.trade(2 * NS_PER_DAY, "s", A.id, Side.BUY, 50, 1_000, fee=E8)
    log.trade(4 * NS_PER_DAY, "s", A.id, Side.SELL, 50, 1_150, fee=E8)
    log.trade(5 * NS_PER_DAY, "s", A.id, Side.BUY, 10, 1_000)
    events = [
        (event.ts_event, event.payload)
        for event in log.events
        if isinstance(event.payload, (CapitalDeposited, OrderFilled))
    ]
    marks = Marks(timeline)
    curve = compute_equity_curves(marks, events).account
    fills = [event for _, event in events if isinstance(event, OrderFilled)]
    trips = pair_round_trips(marks, events)
    equity = [1_000.0, 1_049.0, 1_099.0, 1_073.0, 1_073.0]
    assert (curve.equity / E8).tolist() == equity

    s = summarize_performance(curve, fills, trips, DAILY)
    returns = np.array([0.0, 49 / 1000, 50 / 1049, -26 / 1099, 0.0])
    assert (s.deposited, s.equity, s.net_profit) == (1000, 1073, 73)
    assert (s.slices, s.periods, s.returns_clock, s.periods_per_year) == (5, 5, "1d", 252.0)
    assert s.total_return == pytest.approx(0.073)
    assert s.annual_return == pytest.approx(1.073 ** (252 / 5) - 1)
    assert s.sharpe_ratio == pytest.approx(
        performance.sharpe_ratio(returns, periods_per_year=252.0)
    )
    assert s.max_drawdown == pytest.approx(-26 / 1099)
    assert (s.max_drawdown_slices, s.max_drawdown_duration_ns) == (2, 2 * NS_PER_DAY)
    assert s.calmar_ratio == pytest.approx(s.annual_return / (26 / 1099))
    assert s.time_exposure_ratio == 0.6
    assert s.average_gross_exposure_ratio == pytest.approx(
        (550 / 1049 + 600 / 1099 + 100 / 1073) / 5
    )
    assert s.annual_turnover_ratio == pytest.approx(1175 / np.mean(equity) / (5 / 252))
    assert (s.round_trips, s.open_round_trips, s.fills) == (1, 1, 3)
    assert (s.win_ratio, s.expectancy, s.average_duration_ns) == (1.0, 73.0, 2 * NS_PER_DAY)
    assert math.isnan(s.profit_factor)
    assert s.best_round_trip == s.worst_round_trip == Decimal(73)
    assert (s.traded_notional, s.fees) == (1175, 2)
    assert s.fee_turnover_ratio == pytest.approx(2 / 1175)


def test_summary_of_no_slices_is_undefined_everywhere() -> None:
    s = summarize_performance(make_curve([], []), [], [], DAILY)
    assert (s.ts_start, s.ts_end, s.slices, s.equity) == (None, None, 0, 0)
    assert (s.best_round_trip, s.average_duration_ns, s.max_drawdown_slices) == (None, None, None)
    for name in ("total_return", "sharpe_ratio", "max_drawdown", "win_ratio", "expectancy"):
        assert math.isnan(getattr(s, name))
