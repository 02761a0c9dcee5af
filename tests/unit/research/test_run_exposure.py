"""Exposure of runs by currency, sector and Greeks, by hand and against the equity curve."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from onetape.portfolio.performance_summary import ReturnsClock, choose_returns_clock, period_ends
from onetape.research.artifacts import save_summary
from onetape.research.report_html import render_html
from onetape.research.run_exposure import NO_SECTOR, measure_run_exposure
from onetape.research.run_summary import RunSummary, summarize_run
from onetape.risk.limits import RiskLimits
from tests.support.contracts import make_contract_timeline, make_margin, make_option
from tests.support.random_strategies import make_world
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import AAPL, EQUITY, MSFT, at_rows, closes, flat, make_timeline

DAY = 86_400_000_000_000


def summarize(run: SessionRun) -> RunSummary:
    return summarize_run(run.session._timeline, run.events, digest="")


# A period a day of a bar. 100 AAPL from 10.00 and 50 MSFT short from 20.00, on 10,000. At the ends
# of the last two days (equity 10,000 and 10,100):
#
#            AAPL               MSFT            equity
#   day 1    100 x 10 = 1,000   -50 x 20 = -1,000   10,000
#   day 2    100 x 12 = 1,200   -50 x 22 = -1,100   10,100
def two_shares() -> SessionRun:
    timeline = make_timeline(flat(10, 10, 12), flat(20, 20, 22), step=DAY, session=1)
    orders = {0: lambda ctx: (ctx.buy(AAPL, 100), ctx.sell(MSFT, 50))}
    return run_session(timeline, at_rows(orders, instrument=MSFT), capital=10_000)


def test_exposure_by_sector_is_a_share_of_equity_at_the_ends_of_periods() -> None:
    summary = summarize(two_shares())
    found = measure_run_exposure(
        summary.marks, summary.projection.account_events, summary.curves.account,
        summary.marks.currencies("USD"), summary.timeline.instruments,
        ReturnsClock("1d", 365), {AAPL: "Technology"},
    )  # fmt: skip
    (usd,) = found.by_currency
    assert (usd.name, usd.net, usd.gross) == ("USD", Decimal(100), Decimal(2300))
    ratios = np.array([0, 2_000 / 10_000, 2_300 / 10_100])
    assert usd.average_gross_ratio == pytest.approx(ratios.mean())
    assert usd.max_gross_ratio == pytest.approx(2_300 / 10_100)
    assert usd.average_net_ratio == pytest.approx(100 / 10_100 / 3)
    assert [(each.name, each.net) for each in found.by_sector] == [
        (NO_SECTOR, Decimal(-1100)), ("Technology", Decimal(1200)),
    ]  # fmt: skip
    assert summary.exposure.by_sector == []  # the session was told of no sectors


def test_positions_add_up_to_the_curve() -> None:
    held = 0
    for seed in range(12):
        world = make_world(seed, rows=30)
        summary = summarize(world.run())
        account = summary.curves.account
        clock = choose_returns_clock(world.timeline.instruments, "1m")
        ends = period_ends(account.ts, clock)
        found = summary.exposure.positions
        zeros = np.zeros(len(ends), dtype=np.int64)
        net = sum((each.notional for each in found), start=zeros)
        gross = sum((np.abs(each.notional) for each in found), start=zeros)
        assert net.tolist() == account.net_exposure[ends].tolist()
        assert gross.tolist() == account.gross_exposure[ends].tolist()
        held += len(found)
    assert held > 5


# A covered call: 100 shares at 100 and one call of 100 sold at 3.99, strike 100, a quarter of a
# year to go. 3.99 is the value at 20 % a year without rates: d1 = 0.05, N(d1) = 0.51994 and
# n(d1) = 0.39844 in tables of the normal distribution.
#
#   delta 100 - 100 x 0.51994 = 48.006     gamma -100 x 0.39844 / (100 x 0.1) = -3.9844
#   vega  -100 x 100 x 0.39844 x 0.5 = -1,992.2    theta 1,992.2 x 0.2 / (2 x 0.25) = 796.9
def test_greeks_of_a_covered_call() -> None:
    option = make_option(closes(3) + DAY * 365 // 4)
    timeline = make_contract_timeline((EQUITY, flat(*[100] * 4)), (option, flat(*[3.99] * 4)))
    orders = {0: lambda ctx: (ctx.buy(AAPL, 100), ctx.sell(option.id, 1))}
    run = run_session(
        timeline, at_rows(orders, instrument=option.id), limits=RiskLimits(),
        margin=make_margin(timeline, "50", "25"),
    )  # fmt: skip
    (greeks,) = summarize(run).exposure.greeks
    assert (greeks.underlying, greeks.options, greeks.without_volatility) == (AAPL, 1, 0)
    assert greeks.delta == pytest.approx(48.006, rel=1e-3)
    assert greeks.gamma == pytest.approx(-3.9844, rel=2e-3)
    assert greeks.vega == pytest.approx(-1_992.2, rel=1e-3)
    assert greeks.theta == pytest.approx(796.9, rel=2e-3)


def test_an_option_whose_mark_no_volatility_gives_is_counted_as_without() -> None:
    """A call 10 in the money that stands at 4.00 was not traded lately."""
    option = make_option(closes(3) + DAY, strike="90")
    timeline = make_contract_timeline((EQUITY, flat(*[100] * 4)), (option, flat(*[4] * 4)))
    strategy = at_rows({0: lambda ctx: ctx.buy(option.id, 2)}, instrument=option.id)
    run = run_session(
        timeline, strategy, limits=RiskLimits(), margin=make_margin(timeline, "50", "25")
    )
    (greeks,) = summarize(run).exposure.greeks
    assert (greeks.without_volatility, greeks.delta, greeks.gamma) == (1, 200.0, 0.0)


def test_report_and_tables_have_it(tmp_path: Path) -> None:
    summary = summarize(two_shares())
    save_summary(tmp_path, summary)
    frame = pl.read_parquet(tmp_path / "exposures.parquet")
    assert frame.select("instrument", "quantity", "notional_minor").rows() == [
        (AAPL, 100.0, 1_000 * 10**8), (MSFT, -50.0, -1_000 * 10**8),
        (AAPL, 100.0, 1_200 * 10**8), (MSFT, -50.0, -1_100 * 10**8),
    ]  # fmt: skip
    assert not (tmp_path / "greeks.parquet").exists()
    risk = json.loads((tmp_path / "metrics.json").read_bytes())["risk"]
    assert [each["name"] for each in risk["exposure_by_currency"]] == ["USD"]
    page = render_html(summary)
    assert "<h3>Exposure</h3>" in page
    assert "<h3>Greeks</h3>" not in page
