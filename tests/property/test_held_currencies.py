"""Random strategies that hold and convert foreign cash: exact books in every currency."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    OrderFilled,
    PositionChanged,
)
from onetape.domain.market import Bar
from onetape.domain.numbers import to_minor
from onetape.domain.orders import ConvertIntent
from onetape.domain.postings import PostingKind
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.equity_curve import Marks
from onetape.portfolio.journal import read_journal
from onetape.portfolio.statement import days_of, state_day
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fold import check
from tests.parity.test_snapshots import records_of
from tests.property.test_currencies import make_world
from tests.support.currencies import EURO, YEN
from tests.support.random_strategies import RandomBars, World
from tests.support.session_runs import SessionRun

NAMES = ("USD", "EUR", "JPY")


class Converting(RandomBars):
    """Random orders, and between them conversions of what is held, owed or not there at all."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        chance = random.Random(f"{self.seed} convert {bar.instrument} {ctx.now}")
        if chance.random() < 0.25:
            source, target = chance.sample(NAMES, 2)
            there = abs(ctx.cash_in(source)) or 1_000
            ctx.convert(there * chance.choice((0.1, 0.5, 1.0, 1.01)), source, target)
        super().on_bar(bar, ctx)


def make_holding_world(seed: int, rows: int = 30) -> World:
    """The world of other currencies where cash is held, some of it on a cash account."""
    world = make_world(seed, rows)
    chance = random.Random(f"holds {seed}")
    terms = msgspec.structs.replace(
        world.terms,
        holds_currencies=True,
        conversion_minimum=chance.choice((0, 200_000_000)),
        settlement_days=chance.choice((0, 0, 1, 2)),
    )
    shrink = chance.choice(((), ("buying_power",)))
    limits = RiskLimits(max_leverage=chance.choice((1, 2, 5)), shrink=shrink)
    return replace(world, terms=terms, limits=limits)


def rates_of(world: World) -> dict[str, Fraction]:
    """The last marks of both pairs, exactly."""
    found = {"USD": Fraction(1)}
    for pair, currency in ((EURO, "EUR"), (YEN, "JPY")):
        close = world.timeline.columns["close"][world.timeline.rows_of(pair.id)[-1]]
        rate = floor(close / pair.tick_float + 0.5) * Fraction(pair.tick_size)
        found[currency] = rate if pair is EURO else 1 / rate
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**9))
def test_every_currency_balances_and_equity_is_cash_and_positions_at_the_rates(seed: int) -> None:
    world = make_holding_world(seed)
    run = world.run(Converting(seed=seed))
    quotes = {each.id: each.quote_currency for each in world.timeline.instruments}
    cash, outside, exchanged, cost = (dict.fromkeys(NAMES, 0) for _ in "abcd")
    at_cost: dict[str, int] = {}
    for event in run.events:
        match event.payload:
            case CapitalDeposited(amount=amount, currency=currency):
                cash[currency] += amount
                outside[currency] += amount
            case OrderFilled() as fill:
                currency = quotes[fill.instrument]
                cash[currency] -= fill.side * fill.notional + fill.fee
                outside[currency] -= fill.fee
            case PositionChanged() as change:
                currency = quotes[change.instrument]
                assert change.cash == cash[currency]
                outside[currency] += change.realized
                cost[currency] += change.cost - at_cost.get(change.instrument, 0)
                at_cost[change.instrument] = change.cost
            case CashPosted() as posted:
                cash[posted.currency] += posted.amount
                kind = exchanged if posted.kind is PostingKind.FX_CONVERSION else outside
                kind[posted.currency] += posted.amount
                assert posted.cash == cash[posted.currency]
            case _:
                pass
    for currency in NAMES:
        assert cash[currency] + cost[currency] == outside[currency] + exchanged[currency]
    ledger = run.ledger()
    assert isinstance(ledger, CurrencyLedger)
    ledger.check()
    assert cash == {currency: ledger.cash_in(currency) for currency in NAMES}

    marks = Marks(world.timeline)
    equity = 0
    for currency, rate in rates_of(world).items():
        held = [each for each in ledger.held.values() if quotes[each.instrument] == currency]
        worth = sum(
            each.lots * each.factor * int(marks.of(each.instrument).ticks[-1]) for each in held
        )
        equity += floor((cash[currency] + worth) * rate)
    assert run.equity() == equity
    summary = summarize_run(world.timeline, run.events, digest="")
    assert int(summary.curves.account.equity[-1]) == equity
    check_statements(run, world, equity)


def check_statements(run: SessionRun, world: World, equity: int) -> None:
    """Every day begins where the last one ended, and the last one ends with the equity."""
    entries, marks = list(read_journal(run.events)), Marks(world.timeline)
    last: dict[str, int] = {}
    total = 0
    for day in days_of(entries, marks):
        total = 0
        for each in state_day(entries, marks, day).balances:
            made = each.translation
            total += each.equity if made is None else made.equity
            if made is not None:
                assert made.opening == last.get(each.currency, 0)
                assert made.opening + made.moved + made.revaluation == made.closing
                last[each.currency] = made.closing
    assert total == equity


def open_session(world: World, tape: MemoryTape) -> BacktestSession:
    specs = [
        StrategySpec(name=f"s{at}", strategy=Converting(seed=world.seed + at),
                     capital=to_minor(20_000, "capital"))
        for at in range(2)
    ]  # fmt: skip
    return BacktestSession(world.timeline, specs, world.terms, world.limits, tape,
                           SessionIdentity())  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
def test_session_in_parts_equals_the_whole_one_and_its_fold(seed: int) -> None:
    world = make_holding_world(seed, rows=24)
    tape = MemoryTape()
    whole = open_session(world, tape)
    whole.run()
    ends = [stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)]
    records: list[bytes] = []
    part = MemoryTape()
    session = open_session(world, part)
    session.start()
    for stop in sorted(random.Random(seed).sample(ends, 4)):
        session.advance(stop)
        records += records_of(part)
        kept = encode_state(session.save())
        part = MemoryTape()
        session = open_session(world, part)
        session.restore(decode_state(kept))
    for _, stop in session.cut_blocks(1):
        session.advance(stop)
    session.finish()
    assert records + records_of(part) == records_of(tape)
    assert encode_state(session.save()) == encode_state(whole.save())
    folded = fold_tape(MemoryTapeReader(tape))
    check(folded, whole, f"seed {seed}")
    for name, runner in whole.runners.items():
        assert folded.unsettled.get(name, 0) == runner.unsettled
        for currency in NAMES[1:]:
            waits = folded.unsettled_in.get((name, currency), 0)
            assert waits == runner.unsettled_in.get(currency, 0)


def test_worlds_hold_owe_and_convert_all_currencies() -> None:
    kinds: set[str] = set()
    pairs: set[str] = set()
    owed: set[str] = set()
    units: set[str] = set()
    for seed in range(20):
        world = make_holding_world(seed)
        run = world.run(Converting(seed=seed))
        for posted in run.of_type(CashPosted):
            if posted.kind is PostingKind.FX_CONVERSION:
                pairs.add(posted.instrument)
            if posted.cash < 0:
                owed.add(posted.currency)
            kinds.add(posted.kind.value)
        assert run.of_type(ConvertIntent)
        units |= {each.unit for each in run.denied}
        if world.limits.max_leverage == 1:
            assert not {each.unit for each in run.denied} & {"USD borrowed"}
    assert pairs == {EURO.id, YEN.id}
    assert kinds >= {"fx_conversion", "fee", "margin_interest", "credit_interest", "borrow_fee"}
    assert owed == set(NAMES)
    assert units >= {"EUR cash", "JPY cash", "USD borrowed"}
