"""A realtime session decides what a backtest over the same bars decides: the same records."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import groupby

import pytest

from onetape.domain.events import KillSwitchSet, SessionStarted
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import BAR_FLOAT_COLUMNS, BAR_INT_COLUMNS, CorporateAction
from onetape.domain.numbers import INT64_MAX, to_minor
from onetape.domain.venue import BarClosed, TickHeard
from onetape.features.drift import DriftSettings
from onetape.marketdata.timeline import Timeline
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.live_inputs import give, read_inputs
from onetape.runtime.sessions.realtime import (
    RealtimeIdentity,
    RealtimePolicy,
    RealtimeSession,
    decode_realtime,
    encode_realtime,
)
from onetape.tape.block import decode_record
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_snapshots import choose_strategies
from tests.support.actions import add_random_actions
from tests.support.heard_ticks import slice_ticks
from tests.support.random_strategies import World, make_world

SEEDS = range(80)
SESSION = "0123456789abcdef"


def list_specs(world: World) -> list[StrategySpec]:
    return [
        StrategySpec(name=f"s{number}", strategy=each, capital=to_minor(20_000, "capital"))
        for number, each in enumerate(choose_strategies(world.seed))
    ]


def slice_bars(timeline: Timeline) -> Iterator[tuple[BarClosed, ...]]:
    """The bars of a timeline as a feed would give them, a slice at a time."""
    columns = {name: timeline.columns[name].tolist()
               for name in (*BAR_INT_COLUMNS, *BAR_FLOAT_COLUMNS)}  # fmt: skip
    rows = range(len(timeline))
    owners = timeline.row_owners
    for _, group in groupby(rows, key=columns["ts_known"].__getitem__):
        yield tuple(
            BarClosed(
                instrument=InstrumentId(timeline.instruments[owners[row]].id),
                **{name: values[row] for name, values in columns.items()},
            )
            for row in group
        )


def open_realtime(
    world: World, tape: MemoryTape, drift: DriftSettings | None = None
) -> RealtimeSession:
    return RealtimeSession(
        world.timeline.instruments, world.timeline.timeframe, world.timeline.source,
        list_specs(world), world.terms, world.limits, tape,
        RealtimeIdentity(session=SESSION, mode="backtest"), RealtimePolicy(drift=drift),
    )  # fmt: skip


def records_of(tape: MemoryTape) -> list[bytes]:
    tape.commit()
    return list(MemoryTapeReader(tape).encoded_records())


def without_bars(records: Sequence[bytes]) -> list[bytes]:
    """The records but those of the bars; the header without what only a backtest pins."""
    kept = [each for each in records if not isinstance(decode_record(each).events[0][0], BarClosed)]
    assert isinstance(decode_record(kept[0]).events[0][0], SessionStarted)
    return kept


def run_backtest(world: World) -> list[bytes]:
    tape = MemoryTape()
    session = BacktestSession(world.timeline, list_specs(world), world.terms, world.limits, tape,
                              SessionIdentity(session=SESSION))  # fmt: skip
    session.run()
    return records_of(tape)


def run_realtime(
    world: World, chance: random.Random | None = None
) -> tuple[list[bytes], list[bytes]]:
    """The records of a realtime session, and states from which it could go on."""
    tape = MemoryTape()
    session = open_realtime(world, tape)
    columns = world.timeline.columns
    session.start(int(columns["ts_open"].min()))
    states: list[bytes] = []
    actions = deque(world.timeline.actions)
    for bars in slice_bars(world.timeline):
        give_actions(session, actions, bars[0].ts_known)
        if chance is not None and chance.random() < 0.5:  # the clock runs between two bars
            due = session.next_due
            session.advance(min(due, bars[0].ts_known - 1))
        session.take_rows(bars)
        states.append(encode_realtime(session.save()))
    give_actions(session, actions)
    session.pipeline.stop("end of data", int(columns["ts_known"][-1]))
    return records_of(tape), states


def give_actions(
    session: RealtimeSession, actions: deque[CorporateAction], until: int = INT64_MAX
) -> None:
    """The corporate actions up to the time `until`, each at its own."""
    while actions and actions[0].ts_known <= until:
        session.take(actions[0], actions[0].ts_known)
        actions.popleft()


@pytest.mark.parametrize("seed", SEEDS)
def test_same_records_as_a_backtest(seed: int) -> None:
    world = make_world(seed)
    records, _ = run_realtime(world, random.Random(seed))
    assert without_bars(records) == run_backtest(world)
    bars = [decode_record(each).events[0][0] for each in records]
    assert len([each for each in bars if isinstance(each, BarClosed)]) == len(world.timeline)


@pytest.mark.parametrize("seed", SEEDS)
def test_inputs_of_the_tape_give_the_tape(seed: int) -> None:
    world = make_world(seed)
    records, _ = run_realtime(world, random.Random(seed))
    tape = MemoryTape()
    session = open_realtime(world, tape)
    *inputs, stopped, _ = read_inputs(records)
    for each in inputs:
        give(session, each)
    session.pipeline.stop("end of data", stopped.ts)
    assert records_of(tape) == records


@pytest.mark.parametrize("seed", SEEDS)
def test_goes_on_from_any_state(seed: int) -> None:
    world = make_world(seed)
    records, states = run_realtime(world)
    slices = list(slice_bars(world.timeline))
    at = random.Random(seed).randrange(len(slices))
    tape = MemoryTape()
    session = open_realtime(world, tape)
    session.restore(decode_realtime(states[at]))
    assert encode_realtime(session.save()) == states[at]
    for bars in slices[at + 1 :]:
        session.take_rows(bars)
    session.pipeline.stop("end of data", int(world.timeline.columns["ts_known"][-1]))
    rest = records_of(tape)
    assert rest == records[len(records) - len(rest) :]
    assert encode_realtime(session.save()) == encode_realtime(_final(world, records).save())


def _final(world: World, records: Sequence[bytes]) -> RealtimeSession:
    session = open_realtime(world, MemoryTape())
    *inputs, stopped, _ = read_inputs(records)
    for each in inputs:
        give(session, each)
    session.pipeline.stop("end of data", stopped.ts)
    return session


def test_corporate_actions_among_prints_do_what_they_do_in_a_backtest() -> None:
    met = 0
    for seed in SEEDS[:15]:
        world = add_random_actions(make_world(seed, trades=True))
        tape = MemoryTape()
        session = open_realtime(world, tape)
        begun = int(world.timeline.columns["ts_open"].min())
        if any(each.ts_known <= begun for each in world.timeline.actions):
            continue  # two prints at the very first moment
        session.start(begun)
        actions = deque(world.timeline.actions)
        for heard in slice_ticks(world.timeline):
            give_actions(session, actions, heard[0].ts_known)
            session.take_rows(heard)
        give_actions(session, actions)
        session.pipeline.stop("end of data", int(world.timeline.columns["ts_known"][-1]))
        kept = [each for each in records_of(tape)
                if not isinstance(decode_record(each).events[0][0], TickHeard)]  # fmt: skip
        assert kept == run_backtest(world), seed
        met += len(session.actions)
    assert met > 20


@pytest.mark.parametrize("others", [False, True])
def test_corporate_actions_are_inputs_and_do_what_they_do_in_a_backtest(others: bool) -> None:
    """The same records as a backtest's, the same again from the tape, and from any state on."""
    met = adjusted = 0
    for seed in SEEDS[:30]:
        world = add_random_actions(make_world(seed), others=others)
        records, states = run_realtime(world, random.Random(seed))
        assert without_bars(records) == run_backtest(world), seed
        tape = MemoryTape()
        session = open_realtime(world, tape)
        inputs = list(read_inputs(records))
        for each in inputs[:-2]:
            give(session, each)
        session.pipeline.stop("end of data", inputs[-2].ts)
        assert records_of(tape) == records, seed
        at = random.Random(seed).randrange(len(states))
        again = open_realtime(world, MemoryTape())
        again.restore(decode_realtime(states[at]))
        assert encode_realtime(again.save()) == states[at]
        behind = again.now
        for each in inputs[:-2]:
            is_later = each.ts > behind or (each.ts == behind and not each.rows)
            if is_later and each.given not in again.actions:
                give(again, each)
        again.pipeline.stop("end of data", inputs[-2].ts)
        assert encode_realtime(again.save()) == encode_realtime(session.save()), seed
        met += len(session.actions)
        adjusted += sum(b"position.adjusted" in each for each in records)
    assert met > 60
    assert adjusted > 10


def test_drift_is_told_as_in_a_backtest() -> None:
    told = 0
    for seed in range(6):
        world = make_world(seed, rows=160)
        settings = DriftSettings(reference=30, recent=20, every=10, level=0.3, cooldown=10)
        tape, live = MemoryTape(), MemoryTape()
        session = BacktestSession(world.timeline, list_specs(world), world.terms, world.limits,
                                  tape, SessionIdentity(session=SESSION), settings)  # fmt: skip
        session.run()
        realtime = open_realtime(world, live, settings)
        realtime.start(int(world.timeline.columns["ts_open"].min()))
        for bars in slice_bars(world.timeline):
            realtime.take_rows(bars)
        realtime.pipeline.stop("end of data", int(world.timeline.columns["ts_known"][-1]))
        assert without_bars(records_of(live)) == records_of(tape)
        told += sum(b"feature.drifted" in each for each in records_of(tape))
    assert told


def test_kill_switch_is_an_input() -> None:
    world = make_world(3)
    tape = MemoryTape()
    session = open_realtime(world, tape)
    session.start(int(world.timeline.columns["ts_open"].min()))
    for number, bars in enumerate(slice_bars(world.timeline)):
        session.take_rows(bars)
        if number == 5:
            session.take(KillSwitchSet(active=True, reason="by hand"), bars[0].ts_known + 1)
    session.stop("end", session.now + 1)
    records = records_of(tape)
    again = MemoryTape()
    rerun = open_realtime(world, again)
    for each in read_inputs(records):
        give(rerun, each)
    assert records_of(again) == records
