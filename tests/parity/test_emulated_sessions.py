"""Random sessions at a venue that lacks most: the same in every mode and from anywhere."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import msgspec
import pytest

from onetape.domain.events import (
    OrderCanceled,
    OrderEmulated,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderReleased,
    OrderSubmitted,
)
from onetape.domain.orders import Contingency, DenialCode, OrderType, TimeInForce
from onetape.execution.gateway import Capabilities
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import encode_state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fold import check
from tests.parity.test_realtime import records_of, run_backtest, run_realtime, without_bars
from tests.parity.test_snapshots import open_session, run_in_parts
from tests.support.random_strategies import World, make_world
from tests.support.session_runs import SessionRun

SEEDS = range(16)
_ENDS = (OrderCanceled, OrderExpired, OrderRejected)


def make_lacking(seed: int, *, trades: bool = False) -> World:
    """A random world whose venue has market and limit orders, and sometimes stops."""
    world = make_world(seed, rows=40, trades=trades)
    kinds = {OrderType.MARKET, OrderType.LIMIT}
    times = {TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK}
    if seed % 3 == 0:
        kinds.add(OrderType.STOP)
        times.add(TimeInForce.DAY)
    capabilities = Capabilities(order_types=frozenset(kinds), times_in_force=frozenset(times))
    return replace(world, terms=msgspec.structs.replace(world.terms, capabilities=capabilities))


def count_at_venue(run: SessionRun) -> Counter[str]:
    """What happened, after checking that no two orders of a group were at the venue at once."""
    happened: Counter[str] = Counter()
    sent: dict[str, OrderSubmitted] = {}
    there: dict[str, set[str]] = {}
    for event in run.events:
        payload = event.payload
        happened[event.type] += 1
        if isinstance(payload, OrderSubmitted):
            sent[payload.client_order_id] = payload
            continue
        if not isinstance(payload, (OrderReleased, OrderFilled, *_ENDS)):
            continue
        order = sent[payload.client_order_id]
        terms = order.conditions
        if terms is None or not terms.group or terms.contingency is Contingency.NONE:
            continue
        group = there.setdefault(f"{order.strategy} {terms.group}", set())
        if isinstance(payload, OrderReleased):
            group.add(order.client_order_id)
            happened["of a group"] += 1
        elif isinstance(payload, _ENDS) or not payload.leaves:
            group.discard(order.client_order_id)
        else:
            assert order.client_order_id in group
        assert len(group) <= 1, f"seed: {group} at {event.seq}"
    return happened


@pytest.mark.parametrize("trades", [False, True])
def test_one_order_of_a_group_is_at_the_venue(trades: bool) -> None:
    happened: Counter[str] = Counter()
    for seed in SEEDS:
        run = make_lacking(seed, trades=trades).run()
        happened += count_at_venue(run)
        unsupported = [each for each in run.denied if each.code is DenialCode.UNSUPPORTED]
        assert not any(each.unit in ("order lists", "stop", "gtd") for each in unsupported)
        known = {each.client_order_id for each in run.of_type(OrderEmulated)}
        assert {each.client_order_id for each in run.of_type(OrderReleased)} <= known
    assert happened["order.emulated"] > 100
    assert happened["order.released"] > 30
    assert happened["of a group"] > 10
    assert happened["order.triggered"] > 20


@pytest.mark.parametrize("trades", [False, True])
def test_session_in_parts_equals_the_whole_one(trades: bool) -> None:
    held = 0
    for seed in SEEDS:
        world = make_lacking(seed, trades=trades)
        tape = MemoryTape()
        session = open_session(world, tape)
        session.run()
        whole = records_of(tape)
        stops = [stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)]
        chosen = sorted(random.Random(seed).sample(stops[:-1], 3))
        parts, state = run_in_parts(world, chosen)
        assert parts == whole, f"seed {seed}"
        assert state.emulator is not None
        held += sum(each.is_here for each in state.emulator.orders)
    assert held > 5


def test_fold_of_a_tape_equals_the_session_that_writes_it() -> None:
    held = 0
    for seed in SEEDS:
        tape = MemoryTape()
        session = open_session(make_lacking(seed), tape)
        session.start()
        reader = MemoryTapeReader(tape)
        for number, (_, stop) in enumerate(session.cut_blocks(1)):
            session.advance(stop)
            tape.commit()
            folded = fold_tape(reader)
            check(folded, session, f"seed {seed}, {stop} rows")
            held += sum(each.status.name == "EMULATED" for each in folded.orders.values())
            if number == 10:
                tape.keep(session.row, folded.ts, encode_state(session.save()))
    assert held > 100


def test_realtime_session_writes_the_records_of_a_backtest() -> None:
    emulated = 0
    for seed in SEEDS:
        world = make_lacking(seed)
        records, _ = run_realtime(world, random.Random(seed))
        assert without_bars(records) == run_backtest(world), f"seed {seed}"
        emulated += sum(b"order.released" in each for each in records)
    assert emulated > 20
