"""Contracts and margin in several currencies: exact books, the margin of a naive twin, one fold."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import CashPosted, MarginStatusChanged, PositionSettled
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind, OptionRight
from onetape.domain.market import ContractStep
from onetape.domain.numbers import E8, to_minor
from onetape.execution.simulated.carrying import CarryingModel, build_carrying
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.equity_curve import Marks, compute_equity_curves
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.margin_desk import MarginDesk
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from onetape.telemetry.run_projection import project_run
from tests.parity.test_fold import check
from tests.parity.test_snapshots import records_of
from tests.property.test_held_currencies import Converting
from tests.support.contracts import INVERSE, make_funding, make_future, make_margin, make_option
from tests.support.currencies import EURO, EURO_SHARE, YEN, YEN_SHARE
from tests.support.session_runs import SessionRun, make_terms
from tests.support.timelines import MINUTE, T0, Prices, make_columns

ROWS = 32
STEP = 60 * MINUTE
COIN = Instrument(
    id=InstrumentId("BTC-USD.TEST"), kind=InstrumentKind.SPOT, base_currency="BTC",
    quote_currency="USD", tick_size=Decimal("0.01"), lot_size=Decimal("0.001"),
)  # fmt: skip
"""The rate of what the inverse perpetual is settled in."""


def of_currency(instrument: Instrument, currency: str, name: str) -> Instrument:
    """The same contract in another currency."""
    return msgspec.structs.replace(instrument, quote_currency=currency, id=InstrumentId(name))


def closes(row: int) -> int:
    """When bar `row` closes, ns UTC."""
    return T0 + (row + 1) * STEP


def make_instruments(rows: int) -> list[tuple[Instrument, float, float]]:
    """What is traded, the price that it begins at, and how far it moves in a bar."""
    expiry = closes(rows // 2)
    future = of_currency(make_future(expiry), "EUR", "FESX.XEUR")
    option = make_option(expiry, right=OptionRight.PUT, strike="40", underlying=EURO_SHARE.id)
    return [
        (EURO, 1.1, 0.01), (YEN, 140, 0.01), (COIN, 50_000, 0.03), (INVERSE, 50_000, 0.03),
        (EURO_SHARE, 40, 0.02), (YEN_SHARE, 800, 0.02), (future, 400, 0.01),
        (of_currency(option, "EUR", "PUT.XEUR"), 3, 0.1),
    ]  # fmt: skip


def make_timeline(seed: int, rows: int = ROWS) -> Timeline:
    """Shares, a future, an option and an inverse perpetual, none of them in dollars."""
    chance = random.Random(f"foreign contracts {seed}")
    expiry = closes(rows // 2)
    series: list[tuple[Instrument, dict[str, object]]] = []
    for instrument, price, swing in make_instruments(rows):
        count = rows // 2 + 1 if instrument.ts_expiry == expiry else rows
        step = instrument.tick_float
        bars: list[Prices] = []
        close = price
        for _ in range(count):
            opened = close
            close = max(20 * step, close * (1 + chance.uniform(-swing, swing)))
            high, low = max(opened, close) * 1.002, max(step, min(opened, close) * 0.998)
            grid = (round(round(each / step) * step, 8) for each in (opened, high, low, close))
            bars.append((*grid, 1e4))
        series.append((instrument, make_columns(bars, session=8, step=STEP)))
    steps: list[ContractStep] = [
        make_funding(closes(at), round(chance.uniform(-0.002, 0.002), 8), INVERSE)
        for at in range(7, rows, 8)
    ]
    return build_timeline(series, source="test", timeframe="1h", steps=steps)  # type: ignore[arg-type]


def open_session(
    timeline: Timeline, seed: int, tape: MemoryTape, strategy: type[Converting] = Converting
) -> BacktestSession:
    """Two strategies with dollars, on margin; some hold foreign cash."""
    chance = random.Random(f"foreign terms {seed}")
    rates = CarryingModel(borrow_pct=Decimal(3), margin_interest_pct=Decimal(6),
                          margin_interest_pct_of={"JPY": Decimal(2)})  # fmt: skip
    terms = msgspec.structs.replace(
        make_terms(timeline, fees=BpsFees(maker_bps=Decimal(-1), taker_bps=Decimal(5))),
        conversion_e8=chance.choice((0, 2_000)), conversion_minimum=chance.choice((0, E8)),
        holds_currencies=chance.random() < 0.6,
        carrying=build_carrying(rates, timeline.instruments),
        margin=make_margin(
            timeline, chance.choice(("5", "20")), "4", fee_e8=500_000,
            step_e8=chance.choice((E8, 30_000_000)), is_portfolio=chance.random() < 0.3,
        ),
    )  # fmt: skip
    specs = [
        StrategySpec(name=f"s{at}", strategy=strategy(seed=seed * 10 + at),
                     capital=to_minor(chance.choice((5_000, 50_000)), "capital"))
        for at in range(2)
    ]  # fmt: skip
    limits = RiskLimits(max_drawdown_pct=90, shrink=("buying_power",) if seed % 2 else ())
    return BacktestSession(timeline, specs, terms, limits, tape, SessionIdentity())


def run(timeline: Timeline, seed: int) -> tuple[SessionRun, MemoryTape]:
    tape = MemoryTape()
    session = open_session(timeline, seed, tape)
    session.run()
    tape.close()
    return SessionRun(session, list(MemoryTapeReader(tape).events()), tape.digest), tape


def rates_at_end(timeline: Timeline) -> dict[str, Fraction]:
    marks = Marks(timeline)
    found = {"USD": Fraction(1)}
    for pair, name in ((EURO, "EUR"), (YEN, "JPY"), (COIN, "BTC")):
        rate = int(marks.of(pair.id).ticks[-1]) * Fraction(pair.tick_size)
        found[name] = 1 / rate if pair is YEN else rate
    return found


def check_whole(done: SessionRun, timeline: Timeline) -> None:
    """Equity is what cash and positions of each currency are worth; so is the last point."""
    marks, rates = Marks(timeline), rates_at_end(timeline)
    total = 0
    for name, runner in done.session.runners.items():
        ledger = runner.ledger
        assert isinstance(ledger, CurrencyLedger)
        ledger.check()
        worth = {each: ledger.cash_in(each) for each in rates}
        for identity, position in ledger.held.items():
            terms = marks.of(identity).instrument
            ticks = int(marks.of(identity).ticks[-1])
            value = Fraction(position.lots * terms.minor_per_tick_lot * ticks)
            if terms.is_inverse:
                value = Fraction(-position.lots * terms.inverse_factor, ticks)
            gain = floor(value) - position.cost if terms.is_margined else floor(value)
            worth[terms.settlement_currency] += gain
        equity = sum(floor(worth[each] * rate) for each, rate in rates.items())
        assert done.equity(name) == equity
        total += equity
    events = project_run(done.events).account_events
    assert int(compute_equity_curves(marks, events).account.equity[-1]) == total


def naive_maintenance(desk: MarginDesk, done: SessionRun, name: str, timeline: Timeline) -> int:
    """4 % of every notional (of options their rule) at the rates, each rounded up."""
    marks, rates = Marks(timeline), rates_at_end(timeline)
    runner = done.session.runners[name]
    longs = shorts = 0
    for identity, position in runner.ledger.held.items():
        terms = marks.of(identity).instrument
        ticks = int(marks.of(identity).ticks[-1])
        size = Fraction(abs(position.lots) * terms.minor_per_tick_lot * ticks)
        if terms.is_inverse:
            size = Fraction(abs(position.lots) * terms.inverse_factor, ticks)
        assert terms.kind is not InstrumentKind.OPTION  # it has expired by now
        own = ceil(ceil(size) * Fraction(4, 100))
        at_home = ceil(own * rates[terms.settlement_currency])
        longs += at_home if position.lots > 0 else 0
        shorts += at_home if position.lots < 0 else 0
    needed = max(longs, shorts) if desk.agreement.is_portfolio else longs + shorts
    if runner.exchange is not None and runner.exchange.holds:
        runner.valuation.refresh()
        worths: dict[str, int] = runner.valuation.worths  # type: ignore[attr-defined]
        owed = sum(ceil(-min(worths[each], 0) * rate) for each, rate in rates.items())
        needed += ceil(owed * Fraction(5, 100))
    return needed


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**9))
def test_books_and_margin_in_several_currencies_are_exact(seed: int) -> None:
    timeline = make_timeline(seed)
    done, tape = run(timeline, seed)
    check_whole(done, timeline)
    desk = done.session.desk.check.margin
    assert desk is not None
    for name, runner in done.session.runners.items():
        assert desk.maintenance(runner) == naive_maintenance(desk, done, name, timeline)
    check(fold_tape(MemoryTapeReader(tape)), done.session, f"seed {seed}")
    summarize_run(timeline, done.events, digest="")


def test_a_session_in_parts_equals_the_whole_one() -> None:
    for seed in range(4):
        timeline = make_timeline(seed, rows=24)
        whole, tape = run(timeline, seed)
        ends = [stop for _, stop in open_session(timeline, seed, MemoryTape()).cut_blocks(1)]
        part, records = MemoryTape(), []
        session = open_session(timeline, seed, part)
        session.start()
        for stop in sorted(random.Random(seed).sample(ends, 4)):
            session.advance(stop)
            records += records_of(part)
            kept = encode_state(session.save())
            part = MemoryTape()
            session = open_session(timeline, seed, part)
            session.restore(decode_state(kept))
        for _, stop in session.cut_blocks(1):
            session.advance(stop)
        session.finish()
        assert records + records_of(part) == list(MemoryTapeReader(tape).encoded_records())
        assert encode_state(session.save()) == encode_state(whole.session.save())


def test_worlds_hold_what_is_measured() -> None:
    seen: set[str] = set()
    for seed in range(12):
        done, _ = run(make_timeline(seed), seed)
        seen.update(each.status.value for each in done.of_type(MarginStatusChanged))
        seen.update(each.kind.value for each in done.of_type(PositionSettled))
        seen.update(f"{each.kind.value} {each.currency}" for each in done.of_type(CashPosted))
        assert not done.session.pipeline.quarantined
    assert seen >= {
        "called", "liquidation", "sufficient", "variation", "final", "funding BTC",
        "fx_conversion BTC", "fx_conversion EUR", "fx_conversion JPY", "fx_conversion USD",
    }, sorted(seen)  # fmt: skip
