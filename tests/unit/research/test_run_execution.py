"""Execution and risk of whole runs: real sessions of all order types, and made tapes by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import OrderAccepted, OrderCanceled, OrderExpired, OrderRejected
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.numbers import compute_ticks, minor_to_decimal
from onetape.domain.orders import OrderStatus, RejectCode, Side
from onetape.execution.simulated.bar_matching import (
    WINDOW_NONE,
    WINDOW_WHOLE,
    compute_bar_window,
)
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.execution_analytics import OrderExecution
from onetape.portfolio.performance_summary import ReturnsClock
from onetape.portfolio.risk_analytics import historical_cvar, normal_var
from onetape.research.artifacts import encode_metrics, write_artifacts
from onetape.research.report_html import render_html
from onetape.research.report_markdown import render_markdown
from onetape.research.report_measures import (
    correlation_table,
    endings_table,
    execution_table,
    risk_table,
)
from onetape.research.run_execution import EndingCount
from onetape.research.run_risk import measure_run_risk, measure_tail_risk
from onetape.research.run_summary import RunSummary, summarize_run
from tests.support.random_strategies import make_world
from tests.support.runs import EventLog, make_run, make_timeline

A = make_equity("A.X")


def summarize(*, strategies: tuple[str, ...] = ("trend", "reversal")) -> RunSummary:
    run = make_run(strategies=strategies)
    return summarize_run(run.timeline, run.events, digest="ab" * 32)


@pytest.fixture(scope="module")
def summary() -> RunSummary:
    return summarize()


def naive_prices(
    timeline: Timeline, order: OrderExecution
) -> tuple[int | None, int | None, int | None]:
    """Decision, arrival and (of an open order) end by walking over every bar."""
    (instrument,) = (each for each in timeline.instruments if each.id == order.instrument)
    columns = timeline.columns
    decision = arrival = end = None
    for row in timeline.rows_of(order.instrument).tolist():
        known, opened, closed = (
            int(columns[name][row]) for name in ("ts_known", "ts_open", "ts_close")
        )
        end = compute_ticks(float(columns["close"][row]), instrument.tick_float, 0)
        if known <= order.ts_decision:
            decision = end
        if order.ts_arrival is None or arrival is not None:
            continue
        window = compute_bar_window(order.ts_arrival, opened, closed)
        if window != WINDOW_NONE:
            price = columns["open" if window == WINDOW_WHOLE else "close"][row]
            arrival = compute_ticks(float(price), instrument.tick_float, 0)
    return decision, arrival, end


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
def test_orders_of_any_session_are_measured_to_the_last_unit(seed: int, trades: bool) -> None:
    world = make_world(seed, trades=trades)
    run = world.run()
    summary = summarize_run(world.timeline, run.events, digest="")
    orders = {each.client_order_id: each for each in summary.execution.orders}
    accepted = {
        each.payload.client_order_id: each.ts_event
        for each in run.events
        if isinstance(each.payload, OrderAccepted)
    }
    assert {name: each.ts_arrival for name, each in orders.items()} == {
        name: accepted.get(name) for name in orders
    }
    assert list(orders) == list(summary.projection.orders)
    total = summary.execution.total
    assert total.fees == summary.account.fees
    assert total.shortfall == total.delay + total.execution + total.opportunity + total.fees
    assert sum(each.filled_notional for each in orders.values()) == sum(
        fill.notional for fill in run.fills
    )
    for identity, order in orders.items():
        state = summary.projection.orders[identity]
        decision, arrival, last = naive_prices(world.timeline, order)
        if decision is None:  # a limit order before the first price
            decision = order.end_ticks if arrival is None else arrival
        assert order.decision_ticks == decision
        assert order.arrival_ticks == arrival
        assert order.filled_lots == state.filled_lots <= state.lots or not state.lots
        if state.status is OrderStatus.ACCEPTED:
            assert order.end_ticks == last
        side, factor = (
            int(order.side),
            order.paper_notional // max(order.lots * order.decision_ticks, 1),
        )
        gain = (order.lots * (order.end_ticks - order.decision_ticks)) * side * factor
        real = (order.filled_lots * order.end_ticks * factor - order.filled_notional) * side
        if order.lots:
            assert order.shortfall == gain - real + order.fees


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_summary_of_any_session_can_be_shown(seed: int) -> None:
    world = make_world(seed)
    summary = summarize_run(world.timeline, world.run().events, digest="ab")
    json.loads(encode_metrics(summary.metrics()))
    assert "Implementation shortfall" in render_markdown(summary) or not summary.execution.orders
    assert "<h2>Risk</h2>" in render_html(summary)


def test_endings_count_denials_rejections_cancels_and_expiries() -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    reports = [
        lambda identity: OrderRejected(identity, RejectCode.ORDER_CLOSED, "market is closed"),
        lambda identity: OrderRejected(identity, RejectCode.ORDER_CLOSED, "at 12:30: no"),
        lambda identity: OrderCanceled(identity, "requested"),
        lambda identity: OrderExpired(identity, "time in force"),
    ]
    for ts, report in enumerate(reports, start=2):
        identity = log.submit(ts, "s", "A.X", Side.BUY, 5)
        if isinstance(report(identity), OrderRejected):  # before it was accepted
            log.events.pop()
        log.emit(ts, report(identity))
    log.trade(7, "s", "A.X", Side.BUY, 5, 100)
    log.submit(8, "s", "A.X", Side.BUY, 5)
    log.stop(10)
    timeline = make_timeline([A], [(0, 2, 1.0), (0, 10, 1.0)])
    summary = summarize_run(timeline, log.events, digest="")
    assert summary.execution.endings == [
        EndingCount("rejected", "order_closed", 2),
        EndingCount("canceled", "requested", 1),
        EndingCount("expired", "time in force", 1),
    ]
    assert [each.ts_arrival for each in summary.execution.orders] == [None, None, 4, 5, 7, 8]
    total = summary.execution.total
    assert (total.orders, total.filled, total.unfilled) == (6, 1, 5)
    assert endings_table(summary).rows[0] == ("rejected", "order_closed", "2")


def test_denials_are_endings_too(summary: RunSummary) -> None:
    denied = [each for each in summary.execution.endings if each.status == "denied"]
    assert sum(each.count for each in denied) == len(summary.projection.denied) > 0
    counts = [each.count for each in summary.execution.endings]
    assert counts == sorted(counts, reverse=True)


def test_executions_frame_holds_each_order_and_adds_up(tmp_path: Path) -> None:
    run = make_run(strategies=("trend", "reversal"))
    summary = write_artifacts(tmp_path, run.timeline, run.events, digest="ab" * 32)
    frame = pl.read_parquet(tmp_path / "executions.parquet")
    orders = summary.execution.orders
    assert frame["client_order_id"].to_list() == [each.client_order_id for each in orders]
    parts = frame["delay_minor"] + frame["execution_minor"] + frame["opportunity_minor"]
    assert (parts + frame["fees_minor"] == frame["shortfall_minor"]).all()
    total = summary.execution.total
    assert minor_to_decimal(int(frame["shortfall_minor"].sum())) == total.shortfall
    assert frame["shortfall"].sum() == pytest.approx(float(total.shortfall))
    assert frame.schema["arrival_ticks"] == pl.Int64
    assert frame.schema["ts_first_fill"] == pl.Datetime("ns", "UTC")
    traded = frame.filter(pl.col("filled_lots") > 0)
    value = traded["arrival_ticks"] * traded["filled_lots"] * 1_000_000
    bps = traded["execution_minor"] / value * 10_000
    assert traded["arrival_slippage_bps"].to_list() == pytest.approx(bps.to_list())
    value = traded["decision_ticks"] * traded["filled_lots"] * 1_000_000
    bps = (traded["delay_minor"] + traded["execution_minor"]) / value * 10_000
    assert traded["decision_slippage_bps"].to_list() == pytest.approx(bps.to_list())
    bps = frame["shortfall_minor"] / frame["paper_notional_minor"] * 10_000
    assert frame["shortfall_bps"].to_list() == pytest.approx(bps.to_list())
    assert frame["decision_price"].to_list() == [each.decision_ticks / 100 for each in orders]
    unfilled = frame.filter(pl.col("filled_lots") == 0)
    assert unfilled["vwap"].null_count() == unfilled["ts_first_fill"].null_count() == len(unfilled)


def test_frame_of_a_run_without_orders_is_empty_and_typed(tmp_path: Path) -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    log.stop(10)
    timeline = make_timeline([A], [(0, 2, 1.0), (0, 10, 1.0)])
    summary = write_artifacts(tmp_path, timeline, log.events, digest="")
    frame = pl.read_parquet(tmp_path / "executions.parquet")
    assert len(frame) == 0
    assert frame.schema["shortfall_minor"] == pl.Int64
    assert frame.schema["vwap"] == pl.Float64
    assert execution_table(summary).rows == []
    assert '<h2>Execution</h2><p class="soft">None.</p>' in render_html(summary)


def test_tables_show_the_figures(summary: RunSummary) -> None:
    shown = {row[0]: row[1] for row in execution_table(summary).rows}
    total = summary.execution.total
    assert shown["Orders"] == f"{total.orders:,}"
    assert shown["Implementation shortfall"].endswith(" bps)")
    assert shown["Fees"] == f"{total.fees:,.2f} USD"
    losses = risk_table(summary)
    assert losses.columns == ("", "Account", "trend", "reversal")
    var = summary.risk.account.historical_var_95
    assert losses.rows[0][:2] == ("Historical VaR 95 %", f"{var * 100:,.2f} %")
    matrix = correlation_table(summary)
    assert [row[0] for row in matrix.rows] == ["trend", "reversal"]
    assert matrix.rows[0][1] == matrix.rows[1][2] == "1.00"
    assert matrix.rows[0][2] == matrix.rows[1][1]


def test_run_of_one_strategy_has_no_correlation() -> None:
    alone = summarize(strategies=("trend",))
    assert alone.risk.correlation == {}
    assert correlation_table(alone).rows == []
    assert risk_table(alone).columns == ("", "Account")
    assert "Correlation" not in render_html(alone)


def test_risk_is_that_of_the_sampled_returns() -> None:
    run = make_run(bars=600, timeframe="1h", length_ns=3_600 * 10**9)
    summary = summarize_run(run.timeline, run.events, digest="")
    assert summary.account.returns_clock == "1d"
    clock = ReturnsClock(summary.account.returns_clock, summary.account.periods_per_year)
    assert measure_run_risk(summary.curves, clock) == summary.risk
    curve = summary.curves.account
    days = (curve.ts - 1) // (86_400 * 10**9)
    ends = [at for at, day in enumerate(days) if at + 1 == len(days) or days[at + 1] != day]
    equity = np.array([curve.deposited[0], *curve.equity[ends]], dtype=np.float64)
    returns = np.diff(equity) / equity[:-1]
    assert summary.risk.account.historical_cvar_95 == pytest.approx(
        historical_cvar(returns, confidence=0.95)
    )
    assert summary.risk.account.normal_var_99 == pytest.approx(normal_var(returns, confidence=0.99))


def test_risk_of_no_returns_is_not_defined() -> None:
    risk = measure_tail_risk(np.empty(0))
    assert all(math.isnan(value) for value in msgspec.structs.astuple(risk))


def test_metrics_hold_execution_and_risk(summary: RunSummary) -> None:
    metrics = json.loads(encode_metrics(summary.metrics()))
    execution, risk = metrics["execution"], metrics["risk"]
    assert execution["total"]["shortfall"] == float(summary.execution.total.shortfall)
    assert set(execution["by_type"]) == {"market"}
    assert execution["endings"][0]["count"] == summary.execution.endings[0].count
    assert risk["correlation"]["trend"]["trend"] == 1.0
    assert risk["strategies"]["reversal"].keys() == risk["account"].keys()


def test_instruments_of_another_market_do_not_change_an_order() -> None:
    """An order's prices come from the bars of its own instrument."""
    b = make_equity("B.X")
    log = EventLog([A, b])
    log.start(1)
    log.deposit(1, "s")
    identity = log.submit(5, "s", "A.X", Side.BUY, 2)
    log.fill(6, identity, "s", "A.X", Side.BUY, 2, 130)
    log.stop(10)
    bars = [(0, 2, 1.20), (0, 6, 1.30), (1, 3, 9.0), (1, 7, 8.0)]
    (order,) = summarize_run(make_timeline([A, b], bars), log.events, digest="").execution.orders
    assert order.instrument == InstrumentId("A.X")
    assert (order.decision_ticks, order.arrival_ticks, order.end_ticks) == (120, 130, 130)
