"""Random strategies in several currencies: every currency's books balance, and equity is exact."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import CapitalDeposited, CashPosted, OrderFilled, PositionChanged
from onetape.domain.instrument import Instrument
from onetape.domain.postings import PostingKind
from onetape.execution.simulated.carrying import CarryingModel, build_carrying
from onetape.marketdata.timeline import build_timeline
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.research.run_summary import summarize_run
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import encode_state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fold import check
from tests.parity.test_snapshots import open_session, records_of, run_in_parts
from tests.support.currencies import EQUITY, EURO, EURO_SHARE, YEN, YEN_SHARE
from tests.support.random_strategies import RandomBars, World, make_random_terms
from tests.support.timelines import Prices, make_columns

HOUR = 3_600_000_000_000


def make_prices(chance: random.Random, first: float, rows: int) -> list[Prices]:
    found: list[Prices] = []
    for _ in range(rows):
        last = first * chance.uniform(0.97, 1.03)
        low, high = sorted((first, last))
        found.append((first, high * 1.001, low * 0.999, last, 1e6))
        first = last
    return found


def make_world(seed: int, rows: int = 30) -> World:
    """Shares in three currencies and both pairs, which may begin later; all that books know."""
    chance = random.Random(seed)
    first = {EQUITY: 50.0, EURO_SHARE: 40.0, YEN_SHARE: 800.0, EURO: 1.1, YEN: 140.0}
    series: list[tuple[Instrument, dict[str, object]]] = []
    order = list(first)
    chance.shuffle(order)
    for each in order:
        columns = make_columns(make_prices(chance, first[each], rows), step=5 * HOUR, session=4)
        skipped = chance.choice((0, 0, 3)) if each in (EURO, YEN) else 0
        series.append((each, {name: column[skipped:] for name, column in columns.items()}))
    timeline = build_timeline(series, source="test", timeframe="5h")  # type: ignore[arg-type]
    model = CarryingModel(borrow_pct=Decimal("7.3"), margin_interest_pct=Decimal(5),
                          credit_interest_pct=Decimal(1))  # fmt: skip
    terms = msgspec.structs.replace(
        make_random_terms(chance, timeline, seed),
        conversion_e8=chance.choice((0, 2_000, 123_456)),
        carrying=build_carrying(model, timeline.instruments),
    )
    limits = RiskLimits(max_leverage=chance.choice((1, 2, 5)), max_drawdown_pct=60)
    return World(seed, timeline, terms, limits)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**9))
def test_every_currency_balances_and_equity_is_the_exact_sum(seed: int) -> None:
    world = make_world(seed)
    run = world.run(RandomBars(seed=seed))
    quotes = {each.id: each.quote_currency for each in world.timeline.instruments}
    cash = {"USD": 0, "EUR": 0, "JPY": 0}
    cost = dict(cash)
    exchanged = dict(cash)
    outside = dict(cash)
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
            case CashPosted(kind=PostingKind.FX_CONVERSION) as posted:
                cash[posted.currency] += posted.amount
                exchanged[posted.currency] += posted.amount
                assert posted.cash == cash[posted.currency]
                assert posted.currency == "USD" or posted.cash == 0
            case CashPosted() as posted:
                cash[posted.currency] += posted.amount
                outside[posted.currency] += posted.amount
                assert posted.cash == cash[posted.currency]
            case _:
                pass
    for currency in cash:  # assets are what came from outside and from other currencies, to 0
        assert cash[currency] + cost[currency] - outside[currency] - exchanged[currency] == 0
    ledger = run.ledger()
    assert isinstance(ledger, CurrencyLedger)
    ledger.check()
    assert cash == {currency: ledger.cash_in(currency) for currency in cash}

    marks = {
        each.id: world.timeline.columns["close"][world.timeline.rows_of(each.id)[-1]]
        for each in world.timeline.instruments
    }
    ticks = {e.id: floor(marks[e.id] / e.tick_float + 0.5) for e in world.timeline.instruments}
    rates = {"USD": Fraction(1), "EUR": Fraction(ticks[EURO.id], 100_000),
             "JPY": 1 / Fraction(ticks[YEN.id], 1000)}  # fmt: skip
    equity = 0
    for currency, rate in rates.items():
        held = [each for each in ledger.held.values() if quotes[each.instrument] == currency]
        worth = sum(each.lots * each.factor * ticks[each.instrument] for each in held)
        equity += floor((cash[currency] + worth) * rate)
    assert run.equity() == equity
    summary = summarize_run(world.timeline, run.events, digest="")
    last = int(world.timeline.columns["ts_known"][-1])
    late = sum(e.payload.amount for e in run.events if e.ts_event > last
               and isinstance(e.payload, CashPosted))  # fmt: skip
    assert late == 0
    assert int(summary.curves.account.equity[-1]) == equity


@pytest.mark.parametrize("seed", range(8))
def test_session_in_parts_equals_the_whole_one_and_its_fold(seed: int) -> None:
    world = replace(make_world(seed, rows=24), seed=seed)
    tape = MemoryTape()
    whole = open_session(world, tape)
    whole.run()
    ends = [stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)]
    stops = sorted(random.Random(seed).sample(ends, 4))
    records, state = run_in_parts(world, stops)
    assert records == records_of(tape)
    assert encode_state(state) == encode_state(whole.save())
    check(fold_tape(MemoryTapeReader(tape)), whole, f"seed {seed}")


def test_worlds_convert_all_currencies_and_deny_for_want_of_a_rate() -> None:
    pairs: set[str] = set()
    denials: set[str] = set()
    for seed in range(25):
        run = make_world(seed).run(RandomBars(seed=seed))
        pairs |= {each.instrument for each in run.of_type(CashPosted)
                  if each.kind is PostingKind.FX_CONVERSION}  # fmt: skip
        denials |= {each.code.value for each in run.denied}
    assert pairs == {EURO.id, YEN.id}
    assert "no_rate" in denials
