"""What a session does where shares turn into others, or are paid later, written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.events import OrderCanceled, OrderDenied, PositionAdjusted
from onetape.domain.market import Bar, CorporateAction
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode
from onetape.marketdata.corporate_actions import pay_dividend
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.block import Record
from onetape.telemetry.why import explain, trace_event
from tests.support.actions import (
    DELISTING,
    DIVIDEND,
    MERGER,
    PAYMENT,
    SPIN_OFF,
    STOCK_DIVIDEND,
    SYMBOL_CHANGE,
    make_action,
    with_actions,
)
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    MSFT,
    OTHER,
    T0,
    at_rows,
    flat,
    make_columns,
    make_timeline,
    opens,
    scripted,
)

FLAT = RiskLimits(max_leverage=10)
WATCHED = RiskLimits(max_leverage=10, max_drawdown_pct=1, max_daily_loss_pct=1)


def late(
    first: Sequence[float], second: Sequence[float], at: int, *actions: CorporateAction
) -> Timeline:
    """AAPL a bar a minute from the start, MSFT from minute `at` on; AAPL may end before."""
    series = [
        (EQUITY, make_columns(flat(*first))),
        (OTHER, make_columns(flat(*second), start=T0 + at * MINUTE)),
    ]
    return build_timeline(series, source="test", timeframe="1m", actions=actions)


def buy(lots: int) -> Callable[[Context], object]:
    return lambda ctx: ctx.buy(AAPL, lots)


def at_start(act: Callable[[Context], object]) -> Strategy:
    """At the first bar of AAPL."""

    def on_bar(bar: Bar, ctx: Context) -> None:
        if bar.instrument == AAPL and ctx.now == opens(1):
            act(ctx)

    return scripted(on_bar=on_bar)


def equities(run: SessionRun, timeline: Timeline) -> set[int]:
    return set(
        summarize_run(timeline, run.events, digest=run.digest).curves.account.equity.tolist()
    )


def test_spin_off_keeps_the_value_before_the_new_share_has_traded() -> None:
    """100 becomes 70 and a share of 30: stated before its first bar, which is two minutes later."""
    spin_off = make_action(SPIN_OFF, opens(3), 1.0, new_instrument=MSFT, price=30.0)
    timeline = late([100] * 3 + [70] * 4, [30] * 2, 5, spin_off)
    seen: list[tuple[float, float, float]] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        if bar.instrument == AAPL:
            seen.append((ctx.equity, ctx.position(MSFT), ctx.mark(AAPL)))
            if ctx.now == opens(1):
                ctx.buy(AAPL, 10)
            elif ctx.position(MSFT):
                ctx.buy(AAPL, 1)  # a gate asks for the peak

    at_once: list[tuple[float, float, float]] = []

    def on_corporate_action(_action: CorporateAction, ctx: Context) -> None:
        at_once.append((ctx.equity, ctx.mark(AAPL), ctx.mark(MSFT)))

    run = run_session(
        timeline, scripted(on_bar=on_bar, on_corporate_action=on_corporate_action), limits=WATCHED
    )
    assert not run.quarantined
    assert at_once == [(100_000.0, 70.0, 30.0)]
    assert {equity for equity, _, _ in seen} == {100_000.0}
    assert [held for _, held, _ in seen] == [0.0] * 3 + [10.0] * 4
    assert equities(run, timeline) == {100_000 * E8}
    (change,) = run.of_type(PositionAdjusted)
    assert (change.lots, change.cost) == (10, 700 * E8)
    assert (change.other, change.received, change.carried) == (MSFT, 10, 300 * E8)
    trips = summarize_run(timeline, run.events, digest="").round_trips
    assert [(each.instrument, each.open_lots, each.pnl_net) for each in trips] == [
        (AAPL, 13, 0), (MSFT, 10, 0),
    ]  # fmt: skip
    assert (trips[0].fills, trips[1].fills, trips[1].entry_price) == (4, 0, 30.0)


def test_mixed_merger_pays_and_gives_and_its_orders_end() -> None:
    """0.5 MSFT at 80 and 65 in cash for a share of 100; then every order of AAPL is denied."""
    merger = make_action(MERGER, opens(3), 1.0, 2.0, new_instrument=MSFT, cash=65.0)
    timeline = late([100] * 3, [80] * 6, 0, merger)
    script = {
        0: lambda ctx: (ctx.buy(AAPL, 11), ctx.buy(AAPL, 5, limit=1.0)),
        9: lambda ctx: None,
    }

    def on_bar(bar: Bar, ctx: Context) -> None:
        if bar.instrument == AAPL and ctx.now == opens(1):
            script[0](ctx)
        if bar.instrument == MSFT and ctx.now > opens(5):
            ctx.buy(AAPL, 1)

    run = run_session(timeline, scripted(on_bar=on_bar), limits=FLAT)
    (change,) = run.of_type(PositionAdjusted)
    assert (change.lots, change.received, change.amount) == (0, 5, 755 * E8)  # 11 * 65 + 0.5 * 80
    assert run.equity() == (100_000 + 11 * 5) * E8
    (canceled,) = run.of_type(OrderCanceled)
    assert canceled.reason == "its instrument is merged into MSFT.XNAS"
    assert {each.code for each in run.of_type(OrderDenied)} == {DenialCode.DELISTED}
    summary = summarize_run(timeline, run.events, digest="")
    assert int(summary.curves.account.equity[-1]) == run.equity()
    assert float(summary.sum_settled()) == 755.0
    assert [(each.instrument, each.is_open) for each in summary.round_trips] == [
        (AAPL, False), (MSFT, True),
    ]  # fmt: skip


def test_position_lives_on_under_the_new_symbol() -> None:
    """From minute 3 on the same share is MSFT; its first bar there is at minute 4."""
    change = make_action(SYMBOL_CHANGE, opens(3), 0.0, new_instrument=MSFT)
    timeline = late([100] * 3, [110] * 3, 4, change)
    run = run_session(
        timeline,
        scripted(on_bar=lambda bar, ctx: ctx.buy(AAPL, 7, stop=200.0) if ctx.position(AAPL)
                 else ctx.buy(AAPL, 7) if ctx.now == opens(1) else None),
        limits=WATCHED,
    )  # fmt: skip
    (adjusted,) = run.of_type(PositionAdjusted)
    assert (adjusted.lots, adjusted.other_lots, adjusted.other_cost) == (0, 7, 700 * E8)
    assert (adjusted.amount, adjusted.realized) == (0, 0)
    assert {each.reason for each in run.of_type(OrderCanceled)} == {
        "its instrument is MSFT.XNAS from now on"
    }
    assert run.equity() == 100_070 * E8
    assert equities(run, timeline) == {100_000 * E8, 100_070 * E8}
    (trip,) = summarize_run(timeline, run.events, digest="").round_trips
    assert (trip.instrument, trip.open_lots, trip.entry_price) == (MSFT, 7, 100.0)
    assert (trip.pnl_net, trip.ts_entry) == (70 * E8, opens(1))


def test_dividend_counts_at_the_ex_date_and_is_cash_at_the_pay_date() -> None:
    """10 shares of 100 go ex 2.00 at minute 3, are sold at minute 4, and paid at minute 6."""
    dividend = make_action(DIVIDEND, opens(3), 2.0, ts_pay=opens(6))
    timeline = with_actions(
        make_timeline(flat(100, 100, 100, 98, 98, 98, 98, 98)), [dividend, pay_dividend(dividend)]
    )
    cash: list[float] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        cash.append(ctx.cash)
        assert ctx.equity == 100_000
        if ctx.now == opens(1):
            ctx.buy(AAPL, 10)
        elif ctx.now == opens(4):
            ctx.sell(AAPL, 10)

    run = run_session(timeline, scripted(on_bar=on_bar), limits=WATCHED)
    assert not run.quarantined
    assert cash == [100_000, 99_000, 99_000, 99_000, 99_980, 99_980, 100_000, 100_000]
    ex, paid = run.of_type(PositionAdjusted)
    assert (ex.kind, ex.amount, ex.receivable, ex.income) == (DIVIDEND, 0, 20 * E8, 20 * E8)
    assert (paid.kind, paid.amount, paid.receivable, paid.income) == (PAYMENT, 20 * E8, -20 * E8, 0)
    assert equities(run, timeline) == {100_000 * E8}
    summary = summarize_run(timeline, run.events, digest="")
    assert (float(summary.sum_dividends()), summary.sum_settled(), summary.sum_receivable()) == (
        20.0, 0, 0,
    )  # fmt: skip
    (trip,) = summary.round_trips
    assert trip.pnl_net == 0


def test_dividend_that_is_not_paid_by_the_end_stays_receivable() -> None:
    dividend = make_action(DIVIDEND, opens(2), 2.0, ts_pay=opens(99))
    timeline = with_actions(make_timeline(flat(100, 100, 98, 98)), [dividend])
    run = run_session(timeline, at_rows({0: lambda ctx: ctx.sell(AAPL, 10)}), limits=FLAT)
    assert run.ledger().dues == {(AAPL, opens(99)): -20 * E8}
    assert run.equity() == 100_000 * E8
    summary = summarize_run(timeline, run.events, digest="")
    assert float(summary.sum_receivable()) == -20.0
    assert summary.metrics()["corporate_actions"]["account"]["receivable"] == -20.0


def test_a_payment_comes_after_a_delisting_too() -> None:
    dividend = make_action(DIVIDEND, opens(2), 2.0, ts_pay=opens(4))
    gone = make_action(DELISTING, opens(3), 98.0)
    timeline = with_actions(
        make_timeline(flat(100, 100, 98), flat(*[5] * 6)), [dividend, gone, pay_dividend(dividend)]
    )
    run = run_session(timeline, at_start(buy(10)), limits=FLAT)
    assert [each.kind for each in run.of_type(PositionAdjusted)] == [DIVIDEND, DELISTING, PAYMENT]
    assert run.ledger().cash == 100_000 * E8


def test_two_actions_of_one_slice_leave_the_later_mark() -> None:
    """MSFT alone has a bar in the slice of both: the curve has the mark after the second."""
    actions = [
        make_action(STOCK_DIVIDEND, opens(3), 1.0),
        make_action(STOCK_DIVIDEND, opens(3), 1.0),
    ]
    aapl = make_columns(flat(100, 100, 100))
    msft = make_columns(flat(*[5] * 7))
    timeline = build_timeline(
        [(EQUITY, aapl), (OTHER, msft)], source="test", timeframe="1m", actions=actions
    )
    run = run_session(timeline, at_start(buy(10)), limits=FLAT)
    assert run.ledger().positions[AAPL].lots == 40
    assert equities(run, timeline) == {100_000 * E8}


def test_why_tells_what_came_of_what() -> None:
    spin_off = make_action(SPIN_OFF, opens(3), 1.0, new_instrument=MSFT, price=30.0)
    dividend = make_action(DIVIDEND, opens(3), 2.0, ts_pay=opens(5))
    timeline = late([100] * 3 + [70] * 4, [30] * 2, 5, dividend, spin_off)
    run = run_session(timeline, at_rows({0: buy(10)}), limits=FLAT)
    changed = [each for each in run.events if isinstance(each.payload, PositionAdjusted)]
    records = [
        Record(first_seq=each.seq, ts=each.ts_event, market_index=-1,
               events=[(each.payload, each.correlation_id, 0)])
        for each in run.events
    ]  # fmt: skip
    told = [
        explain(trace_event(lambda: records, each.seq), timeline, {})[-1].text for each in changed
    ]
    assert told[0].endswith("; is owed 20.00 until 2024-01-02T14:35:00Z")
    assert told[1].endswith("; receives 10 MSFT.XNAS that carry 300.00 of the cost")


# fmt: off
WRONG = [
    (make_action(SPIN_OFF, opens(3), 1.0, new_instrument=MSFT), "has not traded before, so nobody"),
    (make_action(SPIN_OFF, opens(3), 5.0, new_instrument=MSFT, price=30.0), "gives away 150 a lot"),
    (make_action(MERGER, opens(3), 5.0, new_instrument="ORCL.XNYS", price=30.0), "not among"),
    (make_action(DIVIDEND, opens(3), 5.0, ts_pay=opens(2)), "is paid before, at 2024-01-02T14:32"),
]
# fmt: on


@pytest.mark.parametrize(("action", "what"), WRONG)
def test_actions_that_are_refused(action: CorporateAction, what: str) -> None:
    with pytest.raises(DataError, match=what):
        late([100] * 6, [30] * 2, 5, action)


def test_nothing_follows_a_merger_of_its_instrument() -> None:
    merger = make_action(MERGER, opens(3), 0.0, cash=65.0)
    dividend = make_action(DIVIDEND, opens(4), 1.0)
    with pytest.raises(DataError, match="comes after its merger"):
        with_actions(make_timeline(flat(*[100] * 6)), [merger, dividend])


def test_a_strategy_has_to_trade_what_its_shares_turn_into() -> None:
    from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
    from onetape.tape.store import MemoryTape
    from tests.support.session_runs import make_terms

    merger = make_action(MERGER, opens(3), 1.0, new_instrument=MSFT, price=30.0)
    timeline = late([100] * 3, [30] * 2, 5, merger)
    spec = StrategySpec(name="s0", strategy=at_rows({}), capital=E8, instruments=(AAPL,))
    with pytest.raises(ConfigError, match=r"turns into MSFT.XNAS \(merger\), but not that"):
        BacktestSession(
            timeline, [spec], make_terms(timeline), FLAT, MemoryTape(), SessionIdentity()
        )


@pytest.mark.parametrize("single", [True, False])
def test_loss_gates_count_what_is_receivable(single: bool) -> None:
    """1,000 shares of 100 go ex 10.00 and then rise to 95: the peak is 105,000, not 95,000."""
    dividend = make_action(DIVIDEND, opens(3), 10.0, ts_pay=opens(99))
    rows = flat(100, 100, 100, 90, 95, 95)
    timeline = make_timeline(rows) if single else make_timeline(rows, flat(*[5] * 6))
    timeline = with_actions(timeline, [dividend])

    def on_bar(bar: Bar, ctx: Context) -> None:
        if bar.instrument == AAPL and ctx.now in (opens(1), opens(5)):
            ctx.buy(AAPL, 1000 if ctx.now == opens(1) else 1)

    limits = RiskLimits(max_leverage=10, max_drawdown_pct=50)
    run = run_session(timeline, scripted(on_bar=on_bar), limits=limits)
    watch = run.session.runners["s0"].watch
    assert watch is not None
    assert watch.peak == 105_000 * E8
