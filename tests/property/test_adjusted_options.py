"""Random splits of a share with options on it: contracts of a naive twin, exact books, one fold."""

from __future__ import annotations

import random
from decimal import Decimal
from fractions import Fraction
from math import floor

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import ContractAdjusted, PositionAdjusted, PositionSettled
from onetape.domain.instrument import InstrumentId, OptionRight, OptionTerms
from onetape.domain.market import Bar, CorporateActionKind
from onetape.domain.numbers import E8, to_minor
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.option_adjustment import Deliverable
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fold import check
from tests.parity.test_snapshots import records_of
from tests.support.actions import make_action, with_actions
from tests.support.contracts import check_whole, make_contract_timeline, make_margin, make_option
from tests.support.random_strategies import RandomBars
from tests.support.session_runs import SessionRun, make_terms
from tests.support.timelines import AAPL, EQUITY, Prices, opens

ROWS = 30
RATIOS = ((2, 1), (3, 1), (3, 2), (5, 4), (1, 8), (1, 3), (1, 150))
K = CorporateActionKind


class Exercising(RandomBars):
    """Random orders; options that it holds are sometimes exercised, at home in their terms."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        super().on_bar(bar, ctx)
        held = ctx.position(bar.instrument)
        if bar.instrument != AAPL:
            assert ctx.contract(bar.instrument).strike > 0
            if held > 0 and int(held) % 4 == 1:
                ctx.exercise(bar.instrument, held)


def make_world(seed: int) -> Timeline:
    """A share that splits up to three times, and a call, a put and one that pays cash on it."""
    chance = random.Random(f"adjusted {seed}")
    starts = sorted(chance.sample(range(4, ROWS), chance.randint(1, 3)))
    price, rows, actions = 60.0, [], []
    for row in range(ROWS):
        if row in starts:
            if chance.random() < 0.2:
                action = make_action(K.STOCK_DIVIDEND, opens(row), 0.05)
                top, bottom = 21, 20
            else:
                top, bottom = chance.choice(RATIOS)
                action = make_action(K.SPLIT, opens(row), top, bottom)
            actions.append(action)
            price = max(1.0, price * bottom / top)
        close = round(max(1.0, price * chance.uniform(0.98, 1.02)), 2)
        opened = round(price, 2)
        rows.append((opened, max(opened, close), min(opened, close), close, 1e6))
        price = close
    options = [
        make_option(opens(chance.randint(10, ROWS)), right=right, cash_settled=pays,
                    strike=str(chance.choice((40, 61, 75))), name=f"{name}.OPRA")
        for name, right, pays in (
            ("CALL", OptionRight.CALL, False), ("PUT", OptionRight.PUT, False),
            ("CASH", chance.choice(list(OptionRight)), True),
        )
    ]  # fmt: skip
    series = [(EQUITY, rows)]
    for option in options:
        bars: list[Prices] = [
            (4.0, 4.5, 3.5, round(chance.uniform(3.5, 4.5), 2), 1e6) for _ in range(ROWS)
        ]
        series.append((option, bars[: max(2, sum(opens(at + 1) <= (option.ts_expiry or 0)
                                                for at in range(ROWS)))]))  # fmt: skip
    return with_actions(make_contract_timeline(*series), actions)


def open_session(timeline: Timeline, seed: int, tape: MemoryTape) -> BacktestSession:
    specs = [
        StrategySpec(name=f"s{at}", strategy=Exercising(seed=seed * 10 + at),
                     capital=to_minor(100_000, "capital"))
        for at in range(2)
    ]  # fmt: skip
    terms = make_terms(timeline, margin=make_margin(timeline, "20", "5"))
    return BacktestSession(timeline, specs, terms, RiskLimits(), tape, SessionIdentity())


def run(timeline: Timeline, seed: int) -> tuple[SessionRun, MemoryTape]:
    tape = MemoryTape()
    session = open_session(timeline, seed, tape)
    session.run()
    tape.close()
    return SessionRun(session, list(MemoryTapeReader(tape).events()), tape.digest), tape


def naive_contracts(timeline: Timeline) -> dict[InstrumentId, Deliverable]:
    """What the actions make of every option, with fractions and closes."""
    found: dict[InstrumentId, Deliverable] = {}
    closes = timeline.columns["close"]
    for each in timeline.instruments:
        terms = each.terms
        if not isinstance(terms, OptionTerms):
            continue
        strike, units, cash = terms.strike, Fraction(100), 0
        for action, before in zip(timeline.actions, timeline.action_rows, strict=True):
            if action.ts_known >= terms.ts_expiry:
                continue
            ratio = Fraction(str(action.value)) / Fraction(str(action.divisor))
            ratio += action.kind is K.STOCK_DIVIDEND
            if ratio.denominator == 1:
                cents = Fraction(strike) * 100 / ratio
                strike = Decimal(max(1, floor(cents + Fraction(1, 2)))) / 100
                continue
            units *= ratio
            if not terms.cash_settled:
                rows = timeline.rows_of(AAPL)
                last = int(rows[rows < before][-1])
                price = Fraction(round(float(closes[last]) * 100), 100) / ratio
                left = units - floor(units)
                units -= left
                cash += floor(left * floor(price * E8))
        found[each.id] = Deliverable(strike=int(strike * E8), top=units.numerator,
                                     bottom=units.denominator, cash=cash)  # fmt: skip
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9))
def test_contracts_are_those_of_a_naive_twin_and_the_books_are_exact(seed: int) -> None:
    timeline = make_world(seed)
    done, tape = run(timeline, seed)
    defined = naive_contracts(with_actions(timeline, []))
    naive = {
        name: each for name, each in naive_contracts(timeline).items() if each != defined[name]
    }
    state = done.session.save()
    assert {each.instrument: each.deliverable for each in state.options} == naive
    for event in done.of_type(ContractAdjusted):
        assert event.underlying == AAPL
    check_whole(done, timeline)
    folded = fold_tape(MemoryTapeReader(tape))
    check(folded, done.session, f"seed {seed}")
    assert {**defined, **folded.options} == {**defined, **naive}


def test_a_session_in_parts_equals_the_whole_one() -> None:
    for seed in range(6):
        timeline = make_world(seed)
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
            assert encode_state(session.save()) == kept
        for _, stop in session.cut_blocks(1):
            session.advance(stop)
        session.finish()
        assert records + records_of(part) == list(MemoryTapeReader(tape).encoded_records())
        assert encode_state(session.save()) == encode_state(whole.session.save())


def test_worlds_hold_every_way_out() -> None:
    seen: set[str] = set()
    for seed in range(14):
        done, _ = run(make_world(seed), seed)
        assert not done.session.pipeline.quarantined
        seen.update(each.kind.value for each in done.of_type(PositionSettled))
        seen.update(f"adjusted {each.instrument}" for each in done.of_type(PositionAdjusted))
        seen.update("cash" for each in done.of_type(ContractAdjusted) if each.cash)
    assert seen >= {"exercise", "assignment", "delivery", "worthless", "cash",
                    "adjusted CALL.OPRA", "adjusted PUT.OPRA", "adjusted CASH.OPRA"}  # fmt: skip
