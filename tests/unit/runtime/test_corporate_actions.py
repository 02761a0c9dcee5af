"""What a session does at a corporate action, written by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from onetape.domain.errors import ConfigError, DataError
from onetape.domain.events import (
    KillSwitchSet,
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderFilled,
    OrderSubmitted,
    PositionAdjusted,
)
from onetape.domain.market import Bar, CorporateAction
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, OrderIntent, Side
from onetape.execution.simulated.latency import LatencyModel
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.equity_curve import Marks, compute_equity_curves
from onetape.portfolio.round_trips import pair_round_trips
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from onetape.telemetry.run_projection import project_run
from tests.support.actions import DELISTING, DIVIDEND, SPLIT, make_action, with_actions
from tests.support.session_runs import SessionRun, make_terms, run_session
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
    make_trade_timeline,
    opens,
    scripted,
)

FLAT = RiskLimits(max_leverage=10)


def buy(lots: int) -> Callable[[Context], object]:
    return lambda ctx: ctx.buy(AAPL, lots)


def lots_of(run: SessionRun) -> int:
    return run.ledger().positions[AAPL].lots


def sevenfold(*actions: CorporateAction) -> Timeline:
    """Bars of a minute, apart by a minute: 700 three times, then 100 three times."""
    columns = make_columns(flat(700, 700, 700, 100, 100, 100), step=2 * MINUTE, length=MINUTE)
    return build_timeline([(EQUITY, columns)], source="test", timeframe="1m", actions=actions)


def test_split_keeps_the_value_and_stands_before_the_first_bar_of_its_time() -> None:
    split = make_action(SPLIT, T0 + 6 * MINUTE, 7)
    run = run_session(sevenfold(split), at_rows({0: buy(10)}), limits=FLAT)
    assert lots_of(run) == 70
    assert run.equity() == 100_000 * E8
    (adjusted,) = run.of_type(PositionAdjusted)
    assert adjusted == PositionAdjusted(
        "s0", AAPL, SPLIT, 70, 7_000 * E8, 0, 0, 0, (100_000 - 7_000) * E8
    )
    types = [each.type for each in run.events]
    at = types.index("market.corporate_action")
    assert types[at + 1] == "position.adjusted"
    assert run.events[at].payload == split
    assert run.events[at].ts_event == T0 + 6 * MINUTE
    assert run.events[at + 1].causation_id == run.events[at].seq
    summary = summarize_run(sevenfold(split), run.events, digest=run.digest)
    assert set(summary.curves.account.equity.tolist()) == {100_000 * E8}
    (trip,) = summary.round_trips
    assert (trip.lots, trip.open_lots, trip.pnl_net) == (70, 70, 0)
    assert trip.entry_price == 100.0


def test_an_action_at_the_close_of_a_bar_comes_after_it() -> None:
    """Contiguous bars: the one before the ex-date closes when the next one opens."""
    timeline = with_actions(
        make_timeline(flat(700, 700, 700, 100, 100)), [make_action(SPLIT, opens(3), 7)]
    )
    assert timeline.actions[0].ts_known == opens(3) + 1
    assert timeline.action_rows == [3]
    run = run_session(timeline, at_rows({0: buy(10)}), limits=FLAT)
    assert (lots_of(run), run.equity()) == (70, 100_000 * E8)


def test_an_action_waits_for_a_bar_that_is_known_late() -> None:
    """The bar that closed before the split is known half a minute after it: still in old shares."""
    columns = make_columns(flat(700, 700, 100, 100), delay=MINUTE // 2)
    timeline = build_timeline(
        [(EQUITY, columns)], source="test", timeframe="1m",
        actions=[make_action(SPLIT, opens(2), 7)],
    )  # fmt: skip
    assert timeline.actions[0].ts_known == opens(2) + MINUTE // 2 + 1
    run = run_session(timeline, at_rows({0: buy(10)}), limits=FLAT)
    assert (lots_of(run), run.equity()) == (70, 100_000 * E8)


def test_equity_does_not_jump_while_the_split_instrument_has_no_bar_yet() -> None:
    """AAPL splits at minute 3 and trades again at minute 6; MSFT trades all the time.

    All that looks at equity has the adjusted mark: sizing, `ctx`, the loss gates, the curve.
    """
    aapl = make_columns(flat(700, 700, 700, 100), step=2 * MINUTE, length=MINUTE)
    msft = make_columns(flat(*[50] * 8), step=MINUTE)
    timeline = build_timeline(
        [(EQUITY, aapl), (OTHER, msft)], source="test", timeframe="1m",
        actions=[make_action(SPLIT, T0 + 5 * MINUTE, 7)],
    )  # fmt: skip
    seen: list[tuple[float, float]] = []

    def on_bar(bar: Bar, ctx: Context) -> None:
        if bar.instrument == AAPL and ctx.position(AAPL) == 0:
            ctx.buy(AAPL, 10)
        if bar.instrument == MSFT:
            seen.append((ctx.equity, ctx.mark(AAPL)))
            if ctx.position(AAPL) == 70:
                ctx.buy(MSFT, 1)  # a gate asks for the peak

    limits = RiskLimits(max_leverage=10, max_drawdown_pct=1, max_daily_loss_pct=1)
    run = run_session(timeline, scripted(on_bar=on_bar), limits=limits)
    assert {equity for equity, _ in seen} == {100_000.0}
    assert [mark for _, mark in seen][:1] == [700.0]
    assert 100.0 in [mark for _, mark in seen][5:6]
    assert not run.denied
    assert len(run.fills) > 2
    watch = run.session.runners["s0"].watch
    assert watch is not None
    watch.advance()
    assert watch.peak == 100_000 * E8
    curve = compute_equity_curves(Marks(timeline), project_run(run.events).account_events).account
    assert set(curve.equity.tolist()) == {100_000 * E8}


def test_dividend_pays_who_holds_and_leaves_orders_alone() -> None:
    actions = [make_action(DIVIDEND, opens(3), 0.25)]
    timeline = with_actions(make_timeline(flat(100, 100, 100, 99, 99)), actions)
    long = at_rows({0: buy(40), 1: lambda ctx: ctx.sell(AAPL, 40, limit=150)})
    short = at_rows({0: lambda ctx: ctx.sell(AAPL, 40)})
    late = at_rows({3: buy(40)})
    run = run_session(timeline, long, short, late, limits=FLAT)
    paid = {each.strategy: each.income for each in run.of_type(PositionAdjusted)}
    assert paid == {"s0": 10 * E8, "s1": -10 * E8}
    assert run.ledger("s0").cash == (100_000 - 4_000 + 10) * E8
    assert not run.of_type(OrderCanceled)
    summary = summarize_run(timeline, run.events, digest=run.digest)
    assert summary.sum_dividends() == 0
    assert summary.sum_dividends("s0") == 10
    nets = {each.strategy: each.pnl_net for each in summary.round_trips}
    assert nets == {"s0": (10 - 40) * E8, "s1": (40 - 10) * E8, "s2": 0}


@pytest.mark.parametrize("kind", [SPLIT, DELISTING])
def test_orders_of_the_instrument_end_before_its_split_or_delisting(kind: Any) -> None:
    """One rests, one is under way, one rests with a cancel under way; MSFT's stays."""
    timeline = make_timeline(flat(*[100] * 6), flat(*[50] * 6))
    timeline = with_actions(timeline, [make_action(kind, opens(3), 2)])
    heard: list[tuple[str, float]] = []

    def at_2(ctx: Context) -> None:
        ctx.cancel(ctx.open_orders()[0].client_order_id)
        ctx.buy(AAPL, 3)

    strategy = at_rows(
        {0: lambda ctx: [ctx.buy(AAPL, 1, limit=50), ctx.buy(AAPL, 2, limit=50),
                         ctx.buy(MSFT, 1, limit=10)],
         2: at_2},
        on_order_update=lambda update, ctx: (
            heard.append((update.client_order_id, ctx.position(AAPL)))
            if isinstance(update, OrderCanceled) else None
        ),
    )  # fmt: skip
    # Commands take 100 s: what bar 0 sends arrives in bar 2, what bar 2 sends after bar 3 opens.
    latency = LatencyModel(mean_ms=100_000)
    run = run_session(timeline, strategy, limits=FLAT, latency=latency)
    canceled = run.of_type(OrderCanceled)
    why = "its instrument splits" if kind is SPLIT else "its instrument is delisted"
    assert {each.reason for each in canceled} == {why}
    first = [each.client_order_id for each in run.of_type(OrderSubmitted)]
    assert {each.client_order_id for each in canceled} <= set(first)
    assert first[2] not in {each.client_order_id for each in canceled}
    assert len(canceled) == len(heard) == 3
    assert not [each for each in run.fills if each.instrument == AAPL]
    (rejected,) = run.of_type(OrderCancelRejected)
    assert rejected.client_order_id == first[0]
    assert run.session.save().venue.orders[0].command.client_order_id == first[2]


def test_strategies_hear_of_it_with_the_books_adjusted() -> None:
    heard: list[tuple[str, float, float]] = []

    class Hears(Strategy):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            if ctx.position(bar.instrument) == 0:
                ctx.buy(bar.instrument, 10)

        def on_corporate_action(self, action: CorporateAction, ctx: Context) -> None:
            heard.append((action.kind.value, ctx.position(AAPL), ctx.mark(AAPL)))
            ctx.sell(AAPL, 5)

    class Elsewhere(Hears):
        pass

    timeline = make_timeline(flat(*[700] * 3, *[100] * 3), flat(*[50] * 6))
    timeline = with_actions(timeline, [make_action(SPLIT, opens(3), 7)])
    run = run_session(
        timeline, Hears(), Elsewhere(), limits=FLAT, instruments=[(AAPL,), (MSFT,)]
    )  # fmt: skip
    assert heard == [("split", 70.0, 100.0)]
    sold = [each for each in run.fills if each.side < 0]
    assert [(each.lots, each.ticks) for each in sold] == [(5, 10_000)]
    intent = next(
        each
        for each in run.events
        if isinstance(each.payload, OrderIntent) and each.payload.side is Side.SELL
    )
    action = next(each for each in run.events if each.type == "market.corporate_action")
    assert intent.causation_id == action.seq


def test_delisting_pays_closes_and_denies_from_then_on() -> None:
    timeline = with_actions(
        make_timeline(flat(*[100] * 6)), [make_action(DELISTING, opens(3), 12.5)]
    )
    run = run_session(timeline, at_rows({0: buy(8), 4: buy(1)}), limits=FLAT)
    (denied,) = run.denied
    assert (denied.code, denied.actual, denied.limit, denied.unit) == (
        DenialCode.DELISTED, 1, 0, "lots"
    )  # fmt: skip
    assert lots_of(run) == 0
    assert run.equity() == (100_000 - 800 + 100) * E8
    trips = pair_round_trips(Marks(timeline), project_run(run.events).account_events)
    assert [(each.is_open, each.exit_price, each.pnl_net) for each in trips] == [
        (False, 12.5, -700 * E8)
    ]


@pytest.mark.parametrize("kind", [SPLIT, DELISTING])
def test_an_action_after_the_last_bar_still_counts(kind: Any) -> None:
    timeline = with_actions(make_timeline(flat(*[100] * 4)), [make_action(kind, opens(9), 2)])
    run = run_session(timeline, at_rows({0: buy(8)}), limits=FLAT)
    assert lots_of(run) == (16 if kind is SPLIT else 0)
    assert run.events[-1].type == "session.stopped"
    summary = summarize_run(timeline, run.events, digest=run.digest)
    assert int(summary.curves.account.equity[-1]) == run.equity()
    assert run.equity() == (100_000 if kind is SPLIT else 100_000 - 800 + 16) * E8
    assert sum(each.pnl_net for each in summary.round_trips) == run.equity() - 100_000 * E8


def test_prints_split_too() -> None:
    timeline = make_trade_timeline([700, 700, 100, 100])
    ts = int(timeline.columns["ts_event"][2]) - 1
    run = run_session(
        with_actions(timeline, [make_action(SPLIT, ts, 7)]), at_rows({0: buy(10)}), limits=FLAT
    )
    assert (lots_of(run), run.equity()) == (70, 100_000 * E8)


def test_several_actions_of_one_time_run_in_their_order() -> None:
    """Dividend before the split: 10 x 1.00; behind it: 20 x 1.00."""
    split, dividend = make_action(SPLIT, opens(2), 2), make_action(DIVIDEND, opens(2), 1)
    for actions, income in (([dividend, split], 10), ([split, dividend], 20)):
        timeline = with_actions(make_timeline(flat(100, 100, 50)), actions)
        run = run_session(timeline, at_rows({0: buy(10)}), limits=FLAT)
        assert run.ledger().income == income * E8


@pytest.mark.parametrize(
    ("actions", "what"),
    [
        ([make_action(SPLIT, opens(2) + 1, 2)], "the split of AAPL.XNAS at .* falls into the bar"),
        ([make_action(SPLIT, opens(2), 2, instrument=MSFT)], "MSFT.XNAS, which has no bars"),
        ([make_action(DELISTING, opens(1), 0), make_action(SPLIT, opens(2), 2)],
         "the split of AAPL.XNAS at .* comes after its delisting"),
        ([make_action(SPLIT, opens(2), 0)], "value 0 of a split is not positive"),
    ],
)  # fmt: skip
def test_actions_that_do_not_fit_the_bars(actions: list[CorporateAction], what: str) -> None:
    with pytest.raises(DataError, match=what):
        with_actions(make_timeline(flat(1, 2, 3, 4)), actions)


def test_an_action_between_bars_known_at_once_is_refused() -> None:
    columns = make_columns(flat(1, 2, 3))
    columns["ts_known"][:] = columns["ts_known"][-1]
    with pytest.raises(DataError, match="falls between two bars that were known at once"):
        build_timeline([(EQUITY, columns)], source="test", timeframe="1m",
                       actions=[make_action(SPLIT, opens(1), 2)])  # fmt: skip


def test_compiled_host_refuses_by_name() -> None:
    timeline = with_actions(make_timeline(flat(1, 2, 3)), [make_action(SPLIT, opens(1), 2)])
    spec = StrategySpec(name="s0", strategy=at_rows({}), capital=E8)
    with pytest.raises(ConfigError, match="corporate actions, which the compiled host does not"):
        CompiledHost(timeline, spec, make_terms(timeline), FLAT)


def test_an_order_sent_after_the_action_lives() -> None:
    timeline = with_actions(make_timeline(flat(*[100] * 3, *[50] * 3)),
                            [make_action(SPLIT, opens(3), 2)])  # fmt: skip
    again: list[str] = []

    def on_order_update(update: Any, ctx: Context) -> None:
        if isinstance(update, OrderCanceled) and not again:
            again.append(ctx.buy(AAPL, 1))

    strategy = at_rows({1: lambda ctx: ctx.buy(AAPL, 1, limit=10)}, on_order_update=on_order_update)
    run = run_session(timeline, strategy, limits=FLAT)
    assert [each.client_order_id for each in run.of_type(OrderFilled)] == again
    assert len(run.of_type(OrderAccepted)) == 2


def test_operators_commands_and_actions_come_in_the_order_of_time() -> None:
    """Both in the gap between two bars, one command before the action, one with it, one after."""
    ts = T0 + 6 * MINUTE
    timeline = sevenfold(make_action(SPLIT, ts, 7))
    spec = StrategySpec(name="s0", strategy=at_rows({}), capital=E8)
    tape = MemoryTape()
    session = BacktestSession(
        timeline, [spec], make_terms(timeline), FLAT, tape, SessionIdentity()
    )  # fmt: skip
    at = (ts - 1, ts, ts + 1)
    session.run(controls=[(each, KillSwitchSet(True, str(each - ts))) for each in at])
    tape.close()
    met = [
        payload.reason if isinstance(payload := each.payload, KillSwitchSet) else each.type
        for each in MemoryTapeReader(tape).events()
    ]
    assert met[2:-1] == ["-1", "0", "market.corporate_action", "1"]
