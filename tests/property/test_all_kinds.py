"""Random events over all kinds of instruments at once: exact books, no NaN, one digest.

`ONETAPE_EVENTS` says how many events are wanted; `make soak` asks for a million.
"""

from __future__ import annotations

import math
import os
import random
from collections import Counter
from decimal import Decimal

import msgspec
import numpy as np

from onetape.domain.events import (
    CashPosted,
    ContractAdjusted,
    MarginStatusChanged,
    OrderFilled,
    PositionAdjusted,
    PositionSettled,
)
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind, OptionRight
from onetape.domain.market import Bar, ContractStep, CorporateActionKind
from onetape.domain.numbers import E8, INT64_MAX, to_minor
from onetape.domain.orders import ConvertIntent
from onetape.execution.simulated.carrying import CarryingModel, build_carrying
from onetape.execution.simulated.fees import BpsFees
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.equity_curve import EquityCurve, Marks, compute_equity_curves
from onetape.portfolio.performance_summary import choose_returns_clock, summarize_performance
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.strategy.context import Context
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from onetape.telemetry.run_projection import project_run
from tests.property import test_adjusted_options as adjusted
from tests.property import test_margin_currencies as foreign
from tests.support.actions import make_random_actions
from tests.support.contracts import (
    INVERSE,
    LINEAR,
    check_whole,
    make_funding,
    make_future,
    make_margin,
    make_option,
)
from tests.support.random_strategies import COARSE, COIN, SHARE, RandomBars
from tests.support.session_runs import SessionRun, make_terms
from tests.support.timelines import MINUTE, T0, Prices, make_columns

EVENTS = int(os.environ.get("ONETAPE_EVENTS", "20000"))
SESSIONS = 10
"""At least so many, whatever their events, so that every kind of event is among them."""

ROWS = 120
FOREIGN_ROWS = 64
STEP = 60 * MINUTE

PAIR = Instrument(
    id=InstrumentId("EURUSD.FX"), kind=InstrumentKind.FX, quote_currency="USD",
    base_currency="EUR", tick_size=Decimal("0.0001"), lot_size=Decimal(1),
)  # fmt: skip

CONTRACT = Instrument(
    id=InstrumentId("ODD.TEST"), kind=InstrumentKind.INDEX, quote_currency="USD",
    tick_size=Decimal("0.025"), lot_size=Decimal("0.5"), multiplier=Decimal(3),
)  # fmt: skip


def closes(row: int) -> int:
    """When bar `row` closes, ns UTC."""
    return T0 + (row + 1) * STEP


class Everything(RandomBars):
    """Random orders of every type; options that it holds are sometimes exercised."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        super().on_bar(bar, ctx)
        held = ctx.position(bar.instrument)
        if ctx.instrument(bar.instrument).is_contract and held > 0 and int(held) % 5 == 1:
            ctx.exercise(bar.instrument, held)


def walk(chance: random.Random, price: float, instrument: Instrument, swing: float) -> list[Prices]:
    """Bars around a random walk, on the grid, with volume."""
    step = instrument.tick_float
    rows: list[Prices] = []
    for _ in range(ROWS):
        opened = price
        price = max(250 * step, price * (1 + chance.uniform(-swing, swing)))
        high, low = max(opened, price) * 1.002, max(step, min(opened, price) * 0.998)
        rows.append((*(round(each / step) * step for each in (opened, high, low, price)), 10_000.0))
    return [(*map(lambda each: round(each, 8), row),) for row in rows]  # noqa: C417


def make_world(seed: int, *, inverse: bool) -> Timeline:
    """Every kind but those that settle in another currency."""
    chance = random.Random(f"all kinds {seed}")
    perpetual = INVERSE if inverse else LINEAR
    swings: list[tuple[Instrument, float, float]] = [(perpetual, 50_000, 0.03)]
    expiry, last = closes(ROWS // 2), closes(ROWS - 1)
    if not inverse:
        swings += [
            (SHARE, 100, 0.02),
            (COARSE, 40, 0.03),
            (COIN, 300, 0.03),
            (PAIR, 1.1, 0.004),
            (CONTRACT, 70, 0.02),
            (make_future(expiry), 5_000, 0.01),
            (make_option(expiry, name="C.OPRA"), 4, 0.1),
            (make_option(last, right=OptionRight.PUT, cash_settled=True, name="P.OPRA"), 4, 0.1),
        ]
    series: list[tuple[Instrument, list[Prices]]] = []
    for instrument, price, swing in swings:
        rows = walk(chance, price, instrument, swing)
        ended = instrument.ts_expiry == expiry
        series.append((instrument, rows[: ROWS // 2 + 1] if ended else rows))
    steps: list[ContractStep] = [
        make_funding(
            closes(at), round(chance.uniform(-0.002, 0.002), 8), perpetual,
            float(chance.randint(40_000, 60_000)),
        )
        for at in range(7, ROWS, 8)
    ]  # fmt: skip
    bars = [(each, make_columns(rows, session=8, step=STEP)) for each, rows in series]
    plain = build_timeline(bars, source="test", timeframe="1h")
    actions = [
        each
        for each in (() if inverse else make_random_actions(chance, plain))
        if each.instrument == COARSE.id and each.kind is not CorporateActionKind.DELISTING
    ]
    return build_timeline(bars, source="test", timeframe="1h", steps=steps, actions=actions)


def run(timeline: Timeline, seed: int, *, inverse: bool) -> SessionRun:
    chance = random.Random(f"terms {seed}")
    terms = make_terms(
        timeline, fees=BpsFees(maker_bps=-1, taker_bps=5), slippage=FixedSlippage(bps=1),
        latency=LatencyModel(mean_ms=chance.choice((0, 400)), std_ms=chance.choice((0, 200))),
        max_volume_ratio=chance.choice((None, 0.01)), seed=seed,
        margin=make_margin(
            timeline, chance.choice(("5", "20")), "4", fee_e8=500_000,
            step_e8=chance.choice((E8, 30_000_000)),
        ),
    )  # fmt: skip
    rates = CarryingModel(
        borrow_pct=Decimal(3), margin_interest_pct=Decimal(6), credit_interest_pct=Decimal(2)
    )
    terms = msgspec.structs.replace(terms, carrying=build_carrying(rates, timeline.instruments))
    currency, capital = ("BTC", 3) if inverse else ("USD", 200_000)
    specs = [
        StrategySpec(
            name=f"s{at}", strategy=Everything(seed=seed * 10 + at), currency=currency,
            capital=to_minor(capital, "capital"),
        )
        for at in range(2)
    ]  # fmt: skip
    tape = MemoryTape()
    limits = RiskLimits(max_drawdown_pct=80 if seed % 2 else None)
    session = BacktestSession(timeline, specs, terms, limits, tape, SessionIdentity())
    session.run()
    tape.close()
    folded, state = fold_tape(MemoryTapeReader(tape)), session.save()
    for name, runner in state.pipeline.strategies.items():
        assert folded.ledgers[name].save() == runner.ledger
    return SessionRun(session, list(MemoryTapeReader(tape).events()), tape.digest)


def check_figures(done: SessionRun, timeline: Timeline) -> None:
    """No figure of the run is NaN where there is something to measure, none has overflowed."""
    marks = Marks(timeline)
    curves = compute_equity_curves(marks, project_run(done.events).account_events)
    for name in EquityCurve.__struct_fields__:
        values = getattr(curves.account, name)
        assert values.dtype == np.int64
        assert int(np.abs(values).max()) < INT64_MAX
    clock = choose_returns_clock(timeline.instruments, timeline.timeframe)
    figures = summarize_performance(curves.account, done.of_type(OrderFilled), [], clock)
    assert math.isfinite(figures.total_return)
    assert math.isfinite(figures.max_drawdown)


def run_world(seed: int) -> tuple[Timeline, SessionRun]:
    """One of four worlds: all in dollars, an inverse perpetual in coin, several currencies (held or
    converted, on margin), and options on a share that splits.
    """
    match seed % 5:
        case 4:
            timeline = make_world(seed, inverse=True)
            done = run(timeline, seed, inverse=True)
            check_whole(done, timeline)
        case 2:
            timeline = foreign.make_timeline(seed, FOREIGN_ROWS)
            done, _ = foreign.run(timeline, seed)
            foreign.check_whole(done, timeline)
        case 0:
            timeline = adjusted.make_world(seed)
            done, _ = adjusted.run(timeline, seed)
            check_whole(done, timeline)
        case _:
            timeline = make_world(seed, inverse=False)
            done = run(timeline, seed, inverse=False)
            check_whole(done, timeline)
    return timeline, done


def test_random_events_of_all_kinds_leave_exact_books_and_one_digest() -> None:
    """A ledger checks itself after every posting; the OMS refuses what its table does not know."""
    seen: Counter[str] = Counter()
    events = seed = 0
    while events < EVENTS or seed < SESSIONS:
        seed += 1
        timeline, done = run_world(seed)
        assert not done.quarantined
        check_figures(done, timeline)
        if seed % 7 in (1, 2, 5):
            assert run_world(seed)[1].digest == done.digest
        events += len(done.events)
        seen.update(each.kind.value for each in done.of_type(PositionSettled))
        seen.update(each.status.value for each in done.of_type(MarginStatusChanged))
        seen.update(each.kind.value for each in done.of_type(CashPosted))
        seen.update(each.currency for each in done.of_type(CashPosted))
        seen.update("adjusted" for _ in done.of_type(ContractAdjusted))
        seen.update("converted" for _ in done.of_type(ConvertIntent))
        seen.update(each.kind.value for each in done.of_type(PositionAdjusted))
        seen.update(each.instrument for each in done.of_type(OrderFilled))
    kinds = {
        "variation", "final", "exercise", "worthless", "funding", "borrow_fee", "split",
        "cash_dividend", "called", *(each.id for each in (SHARE, COARSE, COIN, PAIR, CONTRACT)),
        "adjusted", "converted", "fx_conversion", "EUR", "JPY", "BTC", "USD",
        LINEAR.id, INVERSE.id, "ESH4.XCME", "C.OPRA", "P.OPRA",
    }  # fmt: skip
    assert kinds <= seen.keys(), sorted(kinds - seen.keys())
