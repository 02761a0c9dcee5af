"""The statements of all days add up to the final books, and every line names its event."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.marketdata.timeline import Timeline
from onetape.portfolio.equity_curve import Marks
from onetape.portfolio.journal import ACCOUNTS, CREDIT, DEBIT, read_journal
from onetape.portfolio.ledger import LedgerState
from onetape.portfolio.statement import days_of, state_day
from tests.property.test_contracts import make_timeline as make_contracts
from tests.property.test_contracts import run as run_contracts
from tests.property.test_currencies import make_world
from tests.support.actions import make_other_actions, make_random_actions, with_actions
from tests.support.random_strategies import RandomBars
from tests.support.session_runs import SessionRun


def run_world(seed: int) -> tuple[Timeline, SessionRun]:
    """Several currencies, carrying costs and corporate actions over days, two strategies."""
    world = make_world(seed, rows=24)
    make = make_other_actions if seed % 2 else make_random_actions
    actions = make(random.Random(seed), world.timeline)
    pairs = {"EURUSD.FX", "USDJPY.FX"}
    kept = [
        each
        for each in actions
        if each.instrument not in pairs and each.new_instrument not in pairs
    ]
    timeline = with_actions(world.timeline, kept)
    return timeline, replace(world, timeline=timeline).run(
        RandomBars(seed=seed), RandomBars(seed=seed + 1)
    )


def by_currency(run: SessionRun) -> dict[tuple[str, str], LedgerState]:
    found: dict[tuple[str, str], LedgerState] = {}
    for name, runner in run.session.runners.items():
        state = runner.ledger.save()
        found[name, "USD"] = state
        found.update(((name, currency), other) for currency, other in state.others)
    return found


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**9))
def test_statements_of_all_days_are_the_final_books(seed: int) -> None:
    timeline, run = run_world(seed)
    entries = list(read_journal(run.events))
    marks = Marks(timeline)
    sums: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys(ACCOUNTS, 0))
    seqs: list[int] = []
    last: dict[tuple[str, str], dict[str, int]] = {}
    stated = None
    for day in days_of(entries, marks):
        stated = state_day(entries, marks, day)
        for each in stated.balances:
            key = each.strategy, each.currency
            assert each.opening == last.get(key, dict.fromkeys(ACCOUNTS, 0))
            for entry in each.entries:
                changes = entry.changes
                debit = sum(changes.get(name, 0) for name in DEBIT)
                assert debit == sum(changes.get(name, 0) for name in CREDIT)
                seqs.append(entry.seq)
                for name, amount in changes.items():
                    sums[key][name] += amount
            assert each.closing == sums[key]
            last[key] = each.closing
    books = by_currency(run)
    assert {key: dict.fromkeys(ACCOUNTS, 0) | value for key, value in sums.items()} == {
        key: {name: getattr(state, name) for name in ACCOUNTS} for key, state in books.items()
    }
    assert sorted(seqs) == sorted(entry.seq for entry in entries)
    assert len(set(seqs)) == len(seqs)
    on_tape = {event.seq: event for event in run.events}
    assert all(on_tape[entry.seq].payload.strategy == entry.strategy for entry in entries)  # type: ignore[union-attr]

    assert stated is not None
    quotes = {each.id: each.quote_currency for each in timeline.instruments}
    for each in stated.balances:
        state = books[each.strategy, each.currency]
        held = {name: cost for name, _, cost in state.held
                if quotes[name] == each.currency}  # fmt: skip
        assert {position.instrument: position.cost for position in each.positions} == held
        assert sum(position.cost for position in each.positions) == each.closing["inventory"]


@pytest.mark.parametrize("seed", range(4))
def test_equity_of_the_last_statement_is_that_of_the_session(seed: int) -> None:
    timeline, run = run_world(seed)
    entries, marks = list(read_journal(run.events)), Marks(timeline)
    stated = state_day(entries, marks, days_of(entries, marks)[-1])
    currencies, end = marks.currencies("USD"), int(marks.slice_ts[-1])
    for name in ("s0", "s1"):
        own = [each for each in stated.balances if each.strategy == name]
        assert run.equity(name) == sum(
            currencies.at_time(each.currency, each.equity, end) for each in own
        )


@pytest.mark.parametrize("inverse", [False, True])
def test_statements_know_contracts(inverse: bool) -> None:
    """Futures, perpetuals and options: entries are the final books, equity is the session's."""
    held = 0
    for seed in range(6):
        timeline = make_contracts(seed, inverse=inverse)
        done = run_contracts(timeline, seed)
        entries, marks = list(read_journal(done.events)), Marks(timeline)
        stated = state_day(entries, marks, days_of(entries, marks)[-1])
        assert [each.strategy for each in stated.balances] == list(done.session.runners)
        for balances in stated.balances:
            state = done.session.runners[balances.strategy].ledger.save()
            assert balances.closing == {each: getattr(state, each) for each in ACCOUNTS}
            costs = {each.instrument: each.cost for each in balances.positions}
            assert costs == {instrument: cost for instrument, _, cost in state.held}
            assert balances.equity == done.equity(balances.strategy)
            held += len(balances.positions)
    assert held
