"""A session that goes on from a snapshot decides what it would have decided without."""

from __future__ import annotations

import random

import pytest

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.events import KillSwitchSet, OrderEvent, OrderFilled
from onetape.domain.market import Bar
from onetape.domain.numbers import to_minor
from onetape.features.average import Ema, Sma
from onetape.features.estimator import FeatureMap
from onetape.marketdata.timeline import build_timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import (
    BacktestSession,
    SessionIdentity,
    Snapshots,
    StrategySpec,
)
from onetape.runtime.sessions.session_state import SessionState, decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.actions import SPLIT, add_random_actions, make_action
from tests.support.random_strategies import (
    BarsAlone,
    BarsAloneGenerates,
    RandomBars,
    RandomSlices,
    World,
    make_world,
)
from tests.support.session_runs import make_terms
from tests.support.timelines import AAPL, EQUITY, MINUTE, OTHER, T0, at_rows, flat, make_columns

SEEDS = range(60)


class Remembers(Strategy):
    """Keeps one of everything that may be declared, and decides by it."""

    seed: int = param(0)
    entries: int = state(0)
    large: int = state(2**80)
    best: float = state(float("-inf"))
    order: str = state("")
    is_long: bool = state(False)

    def features(self) -> FeatureMap:
        return {"slow": Sma(4), "fast": Ema(2)}

    def on_start(self, ctx: Context) -> None:
        ctx.set_timer("start", ctx.now + 90_000_000_000)

    def on_timer(self, name: str, ctx: Context) -> None:
        fast = ctx.features.fast if ctx.features is not None else 0.0
        ctx.signal("heard", fast if fast == fast else self.best)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.best = max(self.best, bar.close)
        self.large += self.entries
        chance = random.Random(f"{self.seed} {ctx.now} {self.large} {self.order}")
        if chance.random() < 0.3:
            ctx.set_timer(f"t{self.entries % 3}", ctx.now + chance.randint(1, 10**11))
        if self.is_long:
            if self.order:
                ctx.cancel(self.order)
            ctx.target(bar.instrument, 0)
        elif ctx.features.fast > ctx.features.slow:
            size = ctx.instrument(bar.instrument).lot_float
            self.order = ctx.buy(bar.instrument, ctx.round_quantity(bar.instrument, 3 * size))
            self.entries += 1

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        if isinstance(update, OrderFilled):
            self.is_long = ctx.position(update.instrument) > 0


class Fails(RandomBars):
    """Raises somewhere in the middle."""

    heard: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.heard += 1
        if self.heard == 12:
            raise ValueError("in the middle")
        super().on_bar(bar, ctx)


def choose_strategies(seed: int) -> list[Strategy]:
    kinds = (RandomBars, RandomSlices, BarsAlone, BarsAloneGenerates, Remembers, Fails)
    chance = random.Random(seed)
    return [chance.choice(kinds)(seed=seed) for _ in range(chance.choice((1, 1, 2, 3)))]


def open_session(world: World, tape: MemoryTape) -> BacktestSession:
    specs = [
        StrategySpec(name=f"s{number}", strategy=each, capital=to_minor(20_000, "capital"))
        for number, each in enumerate(choose_strategies(world.seed))
    ]
    return BacktestSession(world.timeline, specs, world.terms, world.limits, tape,
                           SessionIdentity())  # fmt: skip


def records_of(tape: MemoryTape) -> list[bytes]:
    tape.commit()
    return list(MemoryTapeReader(tape).encoded_records())


def run_in_parts(world: World, stops: list[int]) -> tuple[list[bytes], SessionState]:
    """The records of a session that ends at each of `stops` and goes on from a snapshot."""
    records: list[bytes] = []
    tape = MemoryTape()
    session = open_session(world, tape)
    session.start()
    for stop in stops:
        session.advance(stop)
        records += records_of(tape)
        kept = encode_state(session.save())
        tape = MemoryTape()
        session = open_session(world, tape)
        session.restore(decode_state(kept))
        assert encode_state(session.save()) == kept
    for _, stop in session.cut_blocks(1):
        session.advance(stop)
    session.finish()
    return records + records_of(tape), session.save()


@pytest.mark.parametrize("trades", [False, True])
def test_session_in_parts_equals_the_whole_one(trades: bool) -> None:
    restored = 0
    for seed in SEEDS:
        world = make_world(seed, rows=40, trades=trades)
        tape = MemoryTape()
        whole = open_session(world, tape)
        whole.run()
        chance = random.Random(seed)
        ends = [stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)]
        stops = sorted(chance.sample(ends, min(len(ends), chance.randint(1, 6))))
        records, state = run_in_parts(world, stops)
        assert records == records_of(tape), f"seed {seed}, stops {stops}"
        assert encode_state(state) == encode_state(whole.save()), f"seed {seed}, stops {stops}"
        restored += len(stops)
    assert restored > 150


@pytest.mark.parametrize(("trades", "others"), [(False, False), (True, False), (False, True)])
def test_session_with_corporate_actions_in_parts_equals_the_whole_one(
    trades: bool, others: bool
) -> None:
    """Stopped right before each action, and where a mark is still that of a split."""
    at_actions = adjusted = 0
    for seed in SEEDS:
        world = add_random_actions(make_world(seed, rows=40, trades=trades), others=others)
        tape = MemoryTape()
        whole = open_session(world, tape)
        whole.run()
        stops = sorted({*world.timeline.action_rows, *(each + 3 for each in
                        world.timeline.action_rows)} & {
            stop for _, stop in open_session(world, MemoryTape()).cut_blocks(1)
        })  # fmt: skip
        records, state = run_in_parts(world, stops)
        assert records == records_of(tape), f"seed {seed}, stops {stops}"
        assert encode_state(state) == encode_state(whole.save()), f"seed {seed}, stops {stops}"
        assert state.actions == len(world.timeline.actions)
        at_actions += len(stops)
        adjusted += sum(b"position.adjusted" in each for each in records)
    assert at_actions > 150
    assert adjusted > 40


def test_mark_of_a_split_survives_a_snapshot() -> None:
    """AAPL has split and not traded since; the session goes on between two bars of MSFT."""
    aapl = make_columns(flat(700, 700, 50), step=4 * MINUTE, length=MINUTE)
    timeline = build_timeline(
        [(EQUITY, aapl), (OTHER, make_columns(flat(*[50] * 12)))], source="test", timeframe="1m",
        actions=[make_action(SPLIT, T0 + 5 * MINUTE, 7), make_action(SPLIT, T0 + 6 * MINUTE, 2)],
    )  # fmt: skip

    def open_with(tape: MemoryTape) -> BacktestSession:
        strategy = at_rows({0: lambda ctx: ctx.buy(AAPL, 10)})
        spec = StrategySpec(name="s0", strategy=strategy, capital=10**13)
        return BacktestSession(timeline, [spec], make_terms(timeline), RiskLimits(max_leverage=4),
                               tape, SessionIdentity())  # fmt: skip

    session = open_with(MemoryTape())
    session.start()
    marks = []
    for _, stop in session.cut_blocks(1):
        session.advance(stop)
        again = open_with(MemoryTape())
        again.restore(decode_state(encode_state(session.save())))
        marks.append(again.save() == session.save())
        for one in (session, again):
            valuation = one.runners["s0"].valuation
            valuation.expire()
            valuation.refresh()
            assert valuation.equity == 10**13
    assert all(marks)


def test_session_keeps_its_state_every_so_many_events_and_when_it_is_asked_to_stop() -> None:
    world = make_world(3, rows=60)
    kept: list[tuple[int, bytes]] = []

    class Keeper:
        def keep(self, rows: int, ts: int, state: bytes) -> None:
            kept.append((rows, state))

    session = open_session(world, MemoryTape())
    session.run(snapshots=Snapshots(keeper=Keeper(), events=1))
    assert len(kept) > 20
    kept.clear()
    session = open_session(world, MemoryTape())
    with pytest.raises(KeyboardInterrupt):
        session.run(snapshots=Snapshots(keeper=Keeper(), events=10**9, is_stop_asked=lambda: True))
    assert len(kept) == 1


def test_kill_switch_survives_a_snapshot() -> None:
    world = make_world(5, rows=30)
    session = open_session(world, MemoryTape())
    session.start()
    (_, stop), *_ = session.cut_blocks(10)
    session.advance(stop)
    ts = int(world.timeline.columns["ts_known"][stop - 1])
    session.pipeline.control(KillSwitchSet(active=True, reason="a test"), ts)
    kept = session.save()
    again = open_session(world, MemoryTape())
    again.restore(kept)
    assert again.save().desk.kill_active
    assert again.save().desk.kill_reason == "a test"


def test_snapshot_of_other_strategies_is_refused() -> None:
    world = make_world(4, rows=30, instruments=1)
    spec = StrategySpec(name="s0", strategy=Remembers(), capital=10**12)

    def open_with(strategy: Strategy) -> BacktestSession:
        changed = StrategySpec(name="s0", strategy=strategy, capital=spec.capital)
        return BacktestSession(world.timeline, [changed], world.terms, world.limits, MemoryTape(),
                               SessionIdentity())  # fmt: skip

    session = open_with(Remembers())
    session.start()
    session.advance(15)
    kept = session.save()

    class OtherFeatures(Remembers):
        def features(self) -> FeatureMap:
            return {"slow": Sma(5), "fast": Ema(2)}

    with pytest.raises(StrategyError, match="not those of the snapshot"):
        open_with(OtherFeatures()).restore(kept)
    with pytest.raises(StrategyError, match="not those of the snapshot"):
        open_with(RandomBars()).restore(kept)


def test_snapshot_of_another_version_is_refused() -> None:
    with pytest.raises(DataError, match="can't be read"):
        decode_state(b"\x00nothing")
