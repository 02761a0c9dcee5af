"""Sessions with legs: whole and in parts, folded, and realtime, they say the same."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderFilled, PositionAdjusted
from onetape.domain.legs import market_of, side_of
from onetape.domain.orders import PositionSide
from onetape.runtime.sessions.realtime import (
    RealtimeIdentity,
    RealtimePolicy,
    RealtimeSession,
    decode_realtime,
    encode_realtime,
)
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fold import check
from tests.parity.test_realtime import records_of, slice_bars, without_bars
from tests.support.actions import make_other_actions, make_random_actions, with_actions
from tests.support.legs import hedge, list_specs, open_session
from tests.support.random_strategies import World, make_world

SESSION = "0123456789abcdef"


def make_hedged(seed: int, rows: int = 40) -> World:
    """Random; every third with corporate actions."""
    world = make_world(seed, rows=rows)
    if seed % 3 == 0:
        make = make_random_actions if seed % 2 else make_other_actions
        actions = make(random.Random(seed), world.timeline)
        world = replace(world, timeline=with_actions(world.timeline, actions))
    return hedge(world)


def test_session_in_parts_and_its_fold_equal_the_whole_one() -> None:
    both = adjusted = fills = 0
    for seed in range(24):
        world = make_hedged(seed)
        tape = MemoryTape()
        whole = open_session(world, tape)
        whole.run()
        assert not whole.pipeline.quarantined, seed
        records: list[bytes] = []
        part = MemoryTape()
        session = open_session(world, part)
        session.start()
        chance = random.Random(seed)
        for _, stop in session.cut_blocks(1):
            session.advance(stop)
            part.commit()
            for runner in session.runners.values():
                for name, position in runner.ledger.held.items():
                    assert side_of(name) is not None
                    assert (position.lots > 0) == (side_of(name) is PositionSide.LONG)
                both += len(runner.ledger.held) > len(set(map(market_of, runner.ledger.held)))
            if chance.random() < 0.2:
                kept = encode_state(session.save())
                records += records_of(part)
                part = MemoryTape()
                session = open_session(world, part)
                session.restore(decode_state(kept))
                assert encode_state(session.save()) == kept
        session.finish()
        assert records + records_of(part) == records_of(tape), f"seed {seed}"
        reader = MemoryTapeReader(tape)
        check(fold_tape(reader, use_snapshots=False), whole, f"seed {seed}")
        adjusted += sum(isinstance(each.payload, PositionAdjusted) for each in reader.events())
        fills += sum(isinstance(each.payload, OrderFilled) for each in reader.events())
    assert both > 200
    assert adjusted > 10
    assert fills > 500


def test_realtime_session_equals_the_backtest_and_goes_on_from_its_state() -> None:
    fills = 0
    for seed in range(12):
        world = hedge(make_world(seed, rows=40))
        tape = MemoryTape()
        backtest = open_session(world, tape, SESSION)
        backtest.run()
        columns = world.timeline.columns
        live_tape, part = MemoryTape(), MemoryTape()
        session, later = open_realtime(world, live_tape), open_realtime(world, part)
        session.start(int(columns["ts_open"].min()))
        slices = list(slice_bars(world.timeline))
        middle = len(slices) // 2
        for number, bars in enumerate(slices):
            session.take_rows(bars)
            if number > middle:
                later.take_rows(bars)
            elif number == middle:
                later.restore(decode_realtime(encode_realtime(session.save())))
        for each in (session, later):
            each.pipeline.stop("end of data", int(columns["ts_known"][-1]))
        records = records_of(live_tape)
        assert without_bars(records) == records_of(tape), f"seed {seed}"
        rest = records_of(part)
        assert rest == records[len(records) - len(rest) :], f"seed {seed}"
        assert encode_realtime(later.save()) == encode_realtime(session.save())
        fills += sum(isinstance(each.payload, OrderFilled)
                     for each in MemoryTapeReader(tape).events())  # fmt: skip
    assert fills > 300


def test_real_venue_refuses_legs_by_name() -> None:
    world = hedge(make_world(1, rows=4))
    with pytest.raises(ConfigError, match="real venue") as refused:
        open_realtime(world, MemoryTape(), is_simulated=False)
    assert refused.value.where == "execution.position_mode"


def open_realtime(world: World, tape: MemoryTape, *, is_simulated: bool = True) -> RealtimeSession:
    return RealtimeSession(
        world.timeline.instruments, world.timeline.timeframe, world.timeline.source,
        list_specs(world), world.terms, world.limits, tape,
        RealtimeIdentity(session=SESSION, mode="backtest"),
        RealtimePolicy(is_simulated=is_simulated),
    )  # fmt: skip
