"""The quiet path of one strategy that listens to bars is the general path, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import CapitalDeposited, Event, SignalRecorded, StrategyQuarantined
from onetape.domain.market import Bar
from onetape.runtime.pacing import Pacer
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.context import Context
from onetape.tape.store import MemoryTape
from tests.support.random_strategies import (
    BarsAlone,
    BarsAloneGenerates,
    Idle,
    RandomBars,
    RandomSlices,
    World,
    make_world,
)

REPO = Path(__file__).resolve().parents[2]
WORLDS = settings(max_examples=80, deadline=None)
KINDS = pytest.mark.parametrize("trades", [False, True], ids=["bars", "trades"])

seeds = st.integers(0, 2**32)
lengths = st.integers(1, 60)


def shifted(events: list[Event], deposits: int) -> list[tuple[object, ...]]:
    """Events behind the header and the deposits, numbered as if these had not been there."""

    def down(seq: int) -> int:
        return seq - deposits - 1 if seq > deposits else 0

    return [
        (down(each.seq), each.ts_event, each.payload, down(each.correlation_id),
         down(each.causation_id))
        for each in events[deposits + 1 :]
    ]  # fmt: skip


@WORLDS
@given(seeds, lengths)
def test_quiet_path_gives_the_bytes_of_the_general_path(seed: int, rows: int) -> None:
    """An `on_slice` that does nothing takes the general path and changes nothing."""
    world = make_world(seed, rows)
    quiet = world.run(RandomBars(seed=seed))
    assert world.run(RandomSlices(seed=seed)).digest == quiet.digest


@KINDS
@WORLDS
@given(seeds, lengths)
def test_intents_handed_over_by_generate_orders_are_those_of_the_queue(
    trades: bool, seed: int, rows: int
) -> None:
    """Signals may change places with the intents of their step; nothing else differs."""
    world = make_world(seed, rows, trades=trades)

    def story(strategy: RandomBars) -> list[object]:
        events = world.run(strategy).events
        return [each.payload for each in events if not isinstance(each.payload, SignalRecorded)]

    assert story(BarsAloneGenerates(seed=seed)) == story(BarsAlone(seed=seed))


@KINDS
@WORLDS
@given(seeds, lengths)
def test_idle_neighbor_changes_nothing_but_the_header(trades: bool, seed: int, rows: int) -> None:
    """Two strategies take the general path."""
    world = make_world(seed, rows, trades=trades)
    alone = world.run(RandomBars(seed=seed))
    beside = world.run(RandomBars(seed=seed), Idle())
    assert len(alone.of_type(CapitalDeposited)) == 1
    assert shifted(beside.events, 2) == shifted(alone.events, 1)


def digest_in_blocks(world: World, pacer: Pacer | None) -> str:
    tape = MemoryTape()
    spec = StrategySpec(name="s0", strategy=RandomBars(seed=world.seed), capital=20_000 * 10**8)
    session = BacktestSession(
        world.timeline, [spec], world.terms, world.limits, tape, SessionIdentity()
    )
    session.run(None, pacer)
    return tape.digest


@KINDS
@WORLDS
@given(seeds, lengths)
def test_pace_and_blocks_change_nothing(trades: bool, seed: int, rows: int) -> None:
    """A time slice at a time, or all at once."""
    world = make_world(seed, rows, trades=trades)
    assert digest_in_blocks(world, Pacer(10**15)) == digest_in_blocks(world, None)


class FailsInTheMiddle(RandomBars):
    """Raises at one bar of its world."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        super().on_bar(bar, ctx)
        if bar.close % 1 < 0.05 and ctx.position(bar.instrument) != 0:
            raise ValueError("in the middle")


class FailsInTheMiddleSlices(FailsInTheMiddle, RandomSlices):
    """The same in the general path."""


@WORLDS
@given(seeds, lengths)
def test_quarantine_in_the_quiet_path_is_that_of_the_general_path(seed: int, rows: int) -> None:
    world = make_world(seed, rows)
    quiet = world.run(FailsInTheMiddle(seed=seed))
    assert world.run(FailsInTheMiddleSlices(seed=seed)).digest == quiet.digest


def test_quarantine_happens_in_some_worlds() -> None:
    runs = [make_world(seed).run(FailsInTheMiddle(seed=seed)) for seed in range(30)]
    assert 5 < sum(bool(run.of_type(StrategyQuarantined)) for run in runs) < 30


@pytest.mark.parametrize("seed", [3, 17])
def test_digest_does_not_depend_on_the_hash_seed_of_the_process(seed: int) -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-m", "tests.support.random_strategies", str(seed)],
            cwd=REPO, env={**os.environ, "PYTHONHASHSEED": hash_seed}, check=True,
            capture_output=True, text=True,
        ).stdout.strip()
        for hash_seed in ("0", "4711")
    }  # fmt: skip
    assert digests == {make_world(seed).run().digest}
