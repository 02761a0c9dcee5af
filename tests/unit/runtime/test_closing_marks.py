"""Positions marked at the side that would close them: longs at the bid, shorts at the ask."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    MarginStatus,
    MarginStatusChanged,
    PositionSettled,
)
from onetape.domain.numbers import E8
from onetape.domain.orders import PositionSide, Side
from onetape.marketdata.tick_timeline import build_quote_timeline
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.equity_curve import Marks, compute_equity_curves
from onetape.portfolio.journal import read_journal
from onetape.portfolio.position_values import value_positions
from onetape.portfolio.round_trips import pair_round_trips
from onetape.portfolio.statement import day_of, state_day
from onetape.risk.limits import AccountLimits, RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from onetape.telemetry.run_projection import project_run
from tests.support.contracts import check_whole, make_margin
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.ticks import (
    make_book_timeline,
    make_deltas,
    make_quote_timeline,
    make_quotes,
)
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MSFT,
    OTHER,
    make_timeline,
    make_trade_timeline,
    scripted,
)

LONG, SHORT = PositionSide.LONG, PositionSide.SHORT

QUOTES = [(99.0, 101.0), (99.0, 101.0), (107.0, 110.0), (104.0, 106.0)]

Ask = Callable[[Context], object]


def on_quotes(actions: dict[int, Ask], seen: list[int] | None = None) -> Strategy:
    """A strategy that does `actions[n]` at the n-th quote; `seen` gets the equity at each."""
    rows = [-1]

    def hear(_event: Any, ctx: Context) -> None:
        rows[0] += 1
        if seen is not None:
            seen.append(round(ctx.equity))
        if rows[0] in actions:
            actions[rows[0]](ctx)

    return scripted(on_market_event=hear)  # pyright: ignore[reportCallIssue]


def run_closing(
    timeline: Timeline, *strategies: Strategy, marks_closing_side: bool = True, **how: Any
) -> SessionRun:
    return run_session(timeline, *strategies, marks_closing_side=marks_closing_side, **how)


def curve_of(run: SessionRun, timeline: Timeline) -> list[int]:
    marks = Marks(timeline)
    curve = compute_equity_curves(marks, project_run(run.events).account_events).account
    return [each // E8 for each in curve.equity.tolist()]


@pytest.mark.parametrize(
    ("order", "has_legs", "market", "closing"),
    [
        # 10 bought at 101, marked at 99, 107, 104: 98,990 + 990, 1,070, 1,040
        (lambda ctx: ctx.buy(AAPL, 10), False,
         [99_990, 100_075, 100_040], [99_980, 100_060, 100_030]),
        # 10 sold at 99, marked at 101, 110, 106: 100,990 - 1,010, 1,100, 1,060
        (lambda ctx: ctx.sell(AAPL, 10), False,
         [99_990, 99_905, 99_940], [99_980, 99_890, 99_930]),
        # both at once: the spread is lost twice
        (lambda ctx: (ctx.buy(AAPL, 10, leg=LONG), ctx.sell(AAPL, 10, leg=SHORT)), True,
         [99_980, 99_980, 99_980], [99_960, 99_950, 99_960]),
    ],
    ids=["long", "short", "both legs"],
)  # fmt: skip
def test_equity_is_what_closing_now_would_leave(
    order: Ask, has_legs: bool, market: list[int], closing: list[int]
) -> None:
    """Hand-worked: quotes 99/101, 99/101, 107/110, 104/106; filled at the first."""
    for is_closing, expected in ((False, market), (True, closing)):
        timeline = make_quote_timeline(QUOTES)
        seen: list[int] = []
        run = run_closing(
            timeline, on_quotes({0: order}, seen), has_legs=has_legs, marks_closing_side=is_closing
        )
        measured = timeline.with_legs() if has_legs else timeline
        if is_closing:
            measured = measured.at_closing_side()
        assert seen == [100_000, *expected]
        assert curve_of(run, measured) == [expected[0], *expected]
        check_whole(run, measured)


def test_report_and_statement_have_the_marks_of_the_session() -> None:
    timeline = make_quote_timeline(QUOTES).at_closing_side()
    run = run_closing(timeline, on_quotes({0: lambda ctx: ctx.sell(AAPL, 10)}))
    marks, events = Marks(timeline), project_run(run.events).account_events
    (trip,) = pair_round_trips(marks, events)
    assert (trip.is_open, trip.pnl_net) == (True, -70 * E8)  # sold at 99, marked at 106
    day = day_of(int(timeline.columns["ts_known"][-1]))
    (balances,) = state_day(read_journal(run.events), marks, day).balances
    (position,) = balances.positions
    assert (position.mark, position.unrealized) == (106, -70 * E8)
    assert balances.equity == 99_930 * E8
    (held,) = value_positions(marks, events, marks.currencies("USD"), np.array([1, 2]))
    assert held.ticks.tolist() == [10_100, 11_000]


def test_side_that_is_empty_has_the_mark() -> None:
    """Without a bid a long is marked at the middle of the newest quote that had both: 100."""
    quotes = [(99.0, 101.0), (99.0, 101.0), (0.0, 111.0, 0.0, 5.0)]
    timeline = make_quote_timeline(
        [(*each, 1e6, 1e6) if len(each) == 2 else each for each in quotes]
    )
    seen: list[int] = []
    run_closing(timeline, on_quotes({0: lambda ctx: ctx.buy(AAPL, 10)}, seen))
    assert seen == [100_000, 99_980, 99_990]


def test_depth_is_marked_at_its_best_prices() -> None:
    deltas = make_deltas([
        (0, 1, 99, 50), (0, 0, 101, 50), (1, 1, 98, 50), (2, 1, 99, 0), (3, 0, 100, 50),
    ])  # fmt: skip
    timeline = make_book_timeline(deltas)
    seen: list[int] = []
    run = run_closing(timeline, on_quotes({1: lambda ctx: ctx.buy(AAPL, 10)}, seen))
    # bought at 101; marked at 99, then at 98
    assert seen[-3:] == [99_980, 99_970, 99_970]
    check_whole(run, timeline.at_closing_side())


@pytest.mark.parametrize(("is_closing", "status"), [(False, None), (True, "called")])
def test_margin_is_judged_at_the_closing_side(is_closing: bool, status: str | None) -> None:
    """100 bought at 101 with 1,250 of equity: at 98/102 it is 1,150 by the middle, 950 by the bid.

    5 % of 10,000 (or 9,800) is asked for, and a call comes below twice that.
    """
    timeline = make_quote_timeline([(99.0, 101.0), (99.0, 101.0), (98.0, 102.0)])
    run = run_closing(
        timeline, on_quotes({0: lambda ctx: ctx.buy(AAPL, 100)}), capital=1_250,
        marks_closing_side=is_closing, limits=RiskLimits(),
        margin=make_margin(timeline, "10", "5", call_e8=2 * E8),
    )  # fmt: skip
    found = run.of_type(MarginStatusChanged)
    assert [each.status.value for each in found] == ([status] if status else [])
    if found:
        assert (found[0].equity, found[0].maintenance) == (950 * E8, 490 * E8)


def test_liquidation_closes_at_the_closing_side() -> None:
    timeline = make_quote_timeline([(99.0, 101.0), (99.0, 101.0), (89.0, 99.0)])
    run = run_closing(
        timeline, on_quotes({0: lambda ctx: ctx.buy(AAPL, 100)}), capital=1_500,
        limits=RiskLimits(), margin=make_margin(timeline, "10", "5"),
    )  # fmt: skip
    first = run.of_type(MarginStatusChanged)[0]
    assert (first.status, first.equity) == (MarginStatus.LIQUIDATION, 300 * E8)
    assert [(each.lots, each.ticks) for each in run.of_type(PositionSettled)] == [(0, 8_900)]


def test_watch_of_losses_looks_at_the_closing_side() -> None:
    """From 100,000 to 99,890 are 0.11 %: more than 0.1 %, which the middle (99,905) is not."""
    for is_closing, denied in ((False, []), (True, ["daily_loss", "account_daily_loss"])):
        for limits in (
            RiskLimits(max_leverage=4, max_daily_loss_pct=0.1),
            RiskLimits(max_leverage=4, account=AccountLimits(max_daily_loss_pct=0.1)),
        ):
            run = run_closing(
                make_quote_timeline(QUOTES),
                on_quotes({0: lambda ctx: ctx.sell(AAPL, 10), 2: lambda ctx: ctx.sell(AAPL, 1)}),
                limits=limits, marks_closing_side=is_closing,
            )  # fmt: skip
            codes = [each.code.value for each in run.denied]
            assert set(codes) <= set(denied)
            assert bool(codes) is is_closing


class RandomQuotes(Strategy):
    """Trades two instruments at random."""

    seed: int = 0

    def on_market_event(self, event: Any, ctx: Context) -> None:
        chance = random.Random(f"{self.version} {ctx.now} {event.instrument}")
        if chance.random() < 0.6:
            side = chance.choice(list(Side))
            ctx.order(event.instrument, side, chance.randint(1, 20))


def draw_timeline(seed: int, *, spread: bool = True) -> Timeline:
    chance = random.Random(f"quotes {seed}")
    series: list[Any] = []
    for instrument in (EQUITY, OTHER):
        middle, rows = 100.0, []
        for _ in range(30):
            middle = round(middle + chance.randint(-100, 100) / 100, 2)
            half = chance.randint(0, 200) / 100 if spread else 0.0
            size = 0.0 if spread and chance.random() < 0.1 else 1e6
            rows.append((round(middle - half, 2), round(middle + half, 2), size, 1e6))
        series.append((instrument, make_quotes(rows)))
    return build_quote_timeline(series, source="test")


def test_session_in_parts_and_the_watch_equal_the_whole_curve() -> None:
    """Peak and equity of the watch are those of the curve; a snapshot changes nothing."""
    for seed in range(8):
        timeline = draw_timeline(seed)
        terms = make_terms(timeline, marks_closing_side=True)
        limits = RiskLimits(
            max_leverage=50, max_drawdown_pct=90, account=AccountLimits(max_drawdown_pct=90)
        )
        specs = [StrategySpec(name=f"s{at}", strategy=RandomQuotes(), capital=50_000 * E8,
                              instruments=(AAPL, MSFT)[at:]) for at in range(2)]  # fmt: skip

        def opened(tape: MemoryTape) -> BacktestSession:
            return BacktestSession(timeline, specs, terms, limits, tape, SessionIdentity())  # noqa: B023

        tape, part = MemoryTape(), MemoryTape()
        whole, session = opened(tape), opened(part)
        whole.run()
        session.start()
        records: list[bytes] = []
        for number, (_, stop) in enumerate(session.cut_blocks(1)):
            session.advance(stop)
            if number % 7 == 3:
                kept = encode_state(session.save())
                part.commit()
                records += MemoryTapeReader(part).encoded_records()
                part = MemoryTape()
                session = opened(part)
                session.restore(decode_state(kept))
        session.finish()
        tape.commit(), part.commit()
        records += MemoryTapeReader(part).encoded_records()
        assert records == list(MemoryTapeReader(tape).encoded_records())
        assert encode_state(session.save()) == encode_state(whole.save())
        events = project_run(MemoryTapeReader(tape).events()).account_events
        curves = compute_equity_curves(Marks(timeline.at_closing_side()), events)
        for name, curve in curves.strategies.items():
            valuation = whole.runners[name].valuation
            valuation.refresh()
            assert valuation.equity == curve.equity[-1]
            assert valuation.gross == curve.gross_exposure[-1]
            assert valuation.net == curve.net_exposure[-1]


def test_without_a_spread_the_watch_is_the_plain_one() -> None:
    """Where bid and ask are one price, peaks, losses and equity are those of the middle."""
    peaks: set[int] = set()
    for seed in range(8):
        timeline = draw_timeline(seed, spread=False)
        limits = RiskLimits(
            max_leverage=50, max_drawdown_pct=90, account=AccountLimits(max_drawdown_pct=90)
        )
        runs = [
            run_closing(timeline, RandomQuotes(), RandomQuotes(), limits=limits,
                        marks_closing_side=is_closing)
            for is_closing in (False, True)
        ]  # fmt: skip
        plain, closing = ([each for each in run.events if each.type.startswith("order")]
                          for run in runs)  # fmt: skip
        assert plain == closing
        states = [run.session.save() for run in runs]
        watches = [
            [*(each.watch for each in state.pipeline.strategies.values()),
             state.desk.controls.account_watch if state.desk.controls else None]
            for state in states
        ]  # fmt: skip
        for one, other in zip(*watches, strict=True):
            assert one is not None
            assert other is not None
            assert (one.row, one.equity, one.peak, one.session_start) == (
                other.row, other.equity, other.peak, other.session_start,
            )  # fmt: skip
            peaks.add(other.peak)
    assert len(peaks) > 8


@pytest.mark.parametrize(
    ("timeline", "kind"),
    [(make_timeline([(100, 100, 100, 100, 1)]), "bars"), (make_trade_timeline([100]), "trades")],
)
def test_session_without_quotes_refuses_them_by_name(timeline: Timeline, kind: str) -> None:
    with pytest.raises(ConfigError, match=f"runs on {kind}, which have neither") as refused:
        run_closing(timeline, scripted())
    assert refused.value.where == "execution.marks"
