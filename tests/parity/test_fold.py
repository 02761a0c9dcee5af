"""State = fold(tape): what a session knows of books and orders follows from its tape."""

from __future__ import annotations

import random
from dataclasses import replace

import msgspec

from onetape.domain.events import PositionAdjusted
from onetape.execution.oms import Order
from onetape.runtime.sessions.backtest import BacktestSession
from onetape.runtime.sessions.recovery import FoldedState, fold_tape
from onetape.runtime.sessions.session_state import encode_state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_snapshots import open_session
from tests.support.actions import make_other_actions, make_random_actions, with_actions
from tests.support.halts import make_random_halts, with_halts
from tests.support.random_strategies import make_world


def without_costs(order: Order) -> Order:
    """What a lot can cost follows from marks, which are not on the tape of a backtest."""
    return msgspec.structs.replace(order, lot_cost=0, asked_lot_cost=0)


def check(folded: FoldedState, session: BacktestSession, place: str) -> None:
    state = session.save()
    orders = [without_costs(each) for each in folded.orders.values()]
    assert orders == [without_costs(each) for each in state.desk.orders], place
    assert folded.kill_switch.active == state.desk.kill_active, place
    assert folded.halted == session.desk.halted, place
    assert folded.quarantined == state.pipeline.quarantined, place
    assert list(folded.ledgers) == list(state.pipeline.strategies), place
    for name, runner in state.pipeline.strategies.items():
        assert folded.ledgers[name].save() == runner.ledger, place


def test_fold_of_a_tape_equals_the_session_that_writes_it() -> None:
    orders = positions = 0
    for seed in range(40):
        world = make_world(seed, rows=30)
        tape = MemoryTape()
        session = open_session(world, tape)
        session.start()
        reader = MemoryTapeReader(tape)
        for number, (_, stop) in enumerate(session.cut_blocks(1)):
            session.advance(stop)
            tape.commit()
            folded = fold_tape(reader)
            check(folded, session, f"seed {seed}, {stop} rows")
            if number == 10:
                tape.keep(session.row, folded.ts, encode_state(session.save()))
            orders += len(folded.orders)
            positions += sum(len(each.held) for each in folded.ledgers.values())
        whole = fold_tape(reader, use_snapshots=False)
        check(whole, session, f"seed {seed}, without snapshots")
    assert orders > 1_000
    assert positions > 500


def test_fold_follows_corporate_actions() -> None:
    adjusted = 0
    for seed in range(30):
        plain = make_world(seed, rows=40)
        make = make_random_actions if seed % 2 else make_other_actions
        actions = make(random.Random(seed), plain.timeline)
        world = replace(plain, timeline=with_actions(plain.timeline, actions))
        tape = MemoryTape()
        session = open_session(world, tape)
        session.start()
        reader = MemoryTapeReader(tape)
        for _, stop in session.cut_blocks(1):
            session.advance(stop)
            tape.commit()
            check(fold_tape(reader), session, f"seed {seed}, {stop} rows")
        adjusted += sum(isinstance(each.payload, PositionAdjusted) for each in reader.events())
    assert adjusted > 20


def test_fold_follows_halts() -> None:
    halted = 0
    for seed in range(8):
        chance = random.Random(seed)
        plain = make_world(seed, rows=30)
        statuses = make_random_halts(chance, plain.timeline)
        world = replace(plain, timeline=with_halts(plain.timeline, statuses))
        tape = MemoryTape()
        session = open_session(world, tape)
        session.start()
        reader = MemoryTapeReader(tape)
        for number, (_, stop) in enumerate(session.cut_blocks(1)):
            session.advance(stop)
            tape.commit()
            folded = fold_tape(reader)
            check(folded, session, f"seed {seed}, {stop} rows")
            halted += len(folded.halted)
            if number % 4 == 0:  # what was halted before is known from these alone
                tape.keep(session.row, folded.ts, encode_state(session.save()))
    assert halted > 40


def test_fold_until_an_event_is_the_fold_of_the_tape_that_ends_there() -> None:
    world = make_world(7, rows=30)
    tape = MemoryTape()
    session = open_session(world, tape)
    session.start()
    for _, stop in session.cut_blocks(1):
        session.advance(stop)
        if stop == 20:
            tape.commit()
            tape.keep(session.row, 0, encode_state(session.save()))
    tape.commit()
    reader = MemoryTapeReader(tape)
    events = list(reader.events())
    for at in (0, 5, len(events) // 2, len(events) - 1):
        folded = fold_tape(reader, events[at].seq)
        plain = fold_tape(reader, events[at].seq, use_snapshots=False)
        assert folded.seq == plain.seq == events[at].seq
        assert plain.folded == at + 1
        assert [*map(without_costs, folded.orders.values())] == [*plain.orders.values()]
        assert [each.save() for each in folded.ledgers.values()] == [
            each.save() for each in plain.ledgers.values()
        ]
    assert fold_tape(reader).folded < len(events)
