"""A realtime session on ticks decides what a backtest over the same ticks decides."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import OrderDenied, SessionStarted
from onetape.domain.market import MarketEvent, TickKind, TimeSlice
from onetape.domain.orders import DenialCode, OrderType, TimeInForce
from onetape.domain.ports import StandingMarket
from onetape.domain.venue import BarClosed, TickHeard
from onetape.execution.gateway import Capabilities
from onetape.execution.simulated.latency import LatencyModel
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.marketdata.session_rows import LiveRows
from onetape.risk.limits import RiskLimits
from onetape.runtime.live_market import LiveMarket
from onetape.runtime.market_state import MarketState
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.live_inputs import give, read_inputs
from onetape.runtime.sessions.live_timeline import build_rows, read_happenings
from onetape.runtime.sessions.realtime import (
    RealtimeIdentity,
    RealtimePolicy,
    RealtimeSession,
    decode_realtime,
    encode_realtime,
)
from onetape.strategy.context import Context
from onetape.tape.block import decode_record
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_fill_snapshots import WORLDS, Restless
from tests.support.heard_ticks import slice_ticks
from tests.support.session_runs import make_terms
from tests.support.ticks import make_quote_timeline
from tests.support.timelines import EQUITY, SECOND

SESSION = "0123456789abcdef"
TICK_WORLDS = [each for each in range(len(WORLDS)) if WORLDS[each][0].__name__ != "make_bars"]
SEEDS = (0, 2, 3, 4, 7)


class Listening(Restless):
    """Also has features over ticks, and asks back for history."""

    def features(self) -> FeatureMap:
        return {"mark": Sma(3), "size": Sma(2, inputs=("size",))}

    def on_market_event(self, event: MarketEvent, ctx: Context) -> None:
        if self.heard % 5 == 4 and not isinstance(event, TimeSlice):
            ctx.signal("seen", float(ctx.history(event.instrument, 3, "price").sum()))
            ctx.signal("size", float(ctx.features.size))
            ctx.signal("mark", float(ctx.features.mark))
        super().on_market_event(event, ctx)


class World:
    """One session on ticks: its rows, how they fill, and its strategy."""

    def __init__(self, world: int, seed: int) -> None:
        make, fill, ratio = WORLDS[world]
        chance = random.Random(seed)
        self.timeline = make(chance, SECOND * (seed % 2))
        self.seed = seed
        self.terms = make_terms(
            self.timeline, fill=fill, max_volume_ratio=ratio, seed=seed,
            latency=LatencyModel(mean_ms=chance.choice((0, 400)), std_ms=chance.choice((0, 200))),
        )  # fmt: skip

    def spec(self) -> StrategySpec:
        return StrategySpec(name="s0", strategy=Listening(seed=self.seed), capital=10**15)

    def open(self, tape: MemoryTape) -> RealtimeSession:
        one = self.timeline
        return RealtimeSession(
            one.instruments, one.timeframe, one.source, [self.spec()], self.terms,
            RiskLimits(max_leverage=4), tape, RealtimeIdentity(session=SESSION, mode="backtest"),
            RealtimePolicy(),
        )  # fmt: skip

    def run_backtest(self) -> list[bytes]:
        tape = MemoryTape()
        session = BacktestSession(self.timeline, [self.spec()], self.terms,
                                  RiskLimits(max_leverage=4), tape,
                                  SessionIdentity(session=SESSION))  # fmt: skip
        session.run()
        assert not session.pipeline.quarantined
        return records_of(tape)

    def run(self, chance: random.Random | None = None) -> tuple[list[bytes], list[bytes]]:
        """The records of a realtime session, and states from which it could go on."""
        tape = MemoryTape()
        session = self.open(tape)
        session.start(int(self.timeline.columns["ts_open"].min()))
        states: list[bytes] = []
        for heard in slice_ticks(self.timeline):
            if chance is not None and chance.random() < 0.5:  # the clock runs between two ticks
                session.advance(min(session.next_due, heard[0].ts_known - 1))
            session.take_rows(heard)
            states.append(encode_realtime(session.save()))
        session.pipeline.stop("end of data", int(self.timeline.columns["ts_known"][-1]))
        return records_of(tape), states


def records_of(tape: MemoryTape) -> list[bytes]:
    tape.commit()
    return list(MemoryTapeReader(tape).encoded_records())


def without_ticks(records: Sequence[bytes]) -> list[bytes]:
    kept = [each for each in records
            if not isinstance(decode_record(each).events[0][0], TickHeard)]  # fmt: skip
    assert isinstance(decode_record(kept[0]).events[0][0], SessionStarted)
    return kept


@pytest.mark.parametrize("world", TICK_WORLDS)
def test_same_records_as_a_backtest(world: int) -> None:
    fills = 0
    for seed in SEEDS:
        one = World(world, seed)
        records, _ = one.run(random.Random(seed))
        assert without_ticks(records) == one.run_backtest(), seed
        assert len(records) - len(without_ticks(records)) == len(one.timeline)
        fills += sum(b"order.filled" in each for each in records)
    assert fills > 20


def test_what_a_venue_lacks_is_denied_on_quotes() -> None:
    """Held orders are met by bars and prints, so nothing holds them here; as in a backtest."""
    one = World(TICK_WORLDS[1], 2)
    can = Capabilities(order_types=frozenset((OrderType.MARKET, OrderType.LIMIT)),
                       times_in_force=frozenset(TimeInForce))  # fmt: skip
    one.terms = msgspec.structs.replace(one.terms, capabilities=can)
    records, _ = one.run()
    assert without_ticks(records) == one.run_backtest()
    denied = [payload for each in records for payload, _, _ in decode_record(each).events
              if isinstance(payload, OrderDenied)]  # fmt: skip
    reasons = {each.unit for each in denied if each.code is DenialCode.UNSUPPORTED}
    lacking = {f"{each}, which is not emulated on quotes or depth"
               for each in ("stop_limit", "trailing_stop")}  # fmt: skip
    assert lacking <= reasons


@pytest.mark.parametrize("world", TICK_WORLDS)
def test_inputs_of_the_tape_give_the_tape(world: int) -> None:
    one = World(world, 1)
    records, _ = one.run(random.Random(1))
    tape = MemoryTape()
    session = one.open(tape)
    *inputs, stopped, _ = read_inputs(records)
    for each in inputs:
        give(session, each)
    session.pipeline.stop("end of data", stopped.ts)
    assert records_of(tape) == records


def test_what_time_alone_made_due_before_the_stop_comes_again() -> None:
    reports = 0
    for seed in range(8):
        one = World(TICK_WORLDS[1], seed)
        tape = MemoryTape()
        session = one.open(tape)
        session.start(int(one.timeline.columns["ts_open"].min()))
        for heard in slice_ticks(one.timeline):
            session.take_rows(heard)
        before = session.events
        if session.next_due < 2**62:
            session.advance(session.next_due)  # a command arrives, and no tick follows
        reports += session.events - before
        session.stop("end", session.now + 10**9)
        records = records_of(tape)
        again = MemoryTape()
        rerun = one.open(again)
        for each in read_inputs(records):
            give(rerun, each)
        assert records_of(again) == records
    assert reports


@pytest.mark.parametrize("world", TICK_WORLDS)
def test_goes_on_from_any_state(world: int) -> None:
    for seed in SEEDS:
        one = World(world, seed)
        records, states = one.run()
        slices = list(slice_ticks(one.timeline))
        at = random.Random(seed).randrange(len(slices))
        tape = MemoryTape()
        session = one.open(tape)
        session.restore(decode_realtime(states[at]))
        assert encode_realtime(session.save()) == states[at]
        for heard in slices[at + 1 :]:
            session.take_rows(heard)
            assert encode_realtime(session.save()) == states[slices.index(heard)]
        session.pipeline.stop("end of data", int(one.timeline.columns["ts_known"][-1]))
        rest = records_of(tape)
        assert rest == records[len(records) - len(rest) :]


@pytest.mark.parametrize("world", TICK_WORLDS)
def test_tape_gives_the_timeline_back(world: int) -> None:
    """The rows of the tape, put together again, are the columns that the session ran on."""
    for seed in SEEDS:
        one = World(world, seed)
        records, _ = one.run()
        heard = [each for each in read_happenings(records) if isinstance(each, TickHeard)]
        timeline = build_rows(
            one.timeline.instruments,
            lambda heard=heard: heard,
            one.timeline.timeframe,
            "test",
        )
        assert timeline.kind == one.timeline.kind
        for name, column in one.timeline.columns.items():
            assert timeline.columns[name].tolist() == column.tolist(), name


BETWEEN = make_quote_timeline(
    [(99.0, 101.0, 3, 4), (99.5, 101.0, 2, 0), (99.5, 100.5, 2, 7)],
    prints=([(100.0, 2), (100.5, 3)], [SECOND // 2, 3 * SECOND // 2]),
)
"""Prints that no quote of the same moment follows."""


@pytest.mark.parametrize("world", [*TICK_WORLDS, -1])
def test_standing_market_is_that_of_the_timeline(world: int) -> None:
    for seed in SEEDS if world >= 0 else range(1):
        timeline = World(world, seed).timeline if world >= 0 else BETWEEN
        rows = LiveRows(timeline.instruments, timeline.timeframe, "test")
        market = MarketState(timeline)
        live = LiveMarket(rows)
        for heard in slice_ticks(timeline):
            first = rows.total
            given = rows.take(heard)
            live.begin_slice(first, given.rows, given.owners)
            live.row = market.row = rows.total - 1
            for each in timeline.instruments:
                assert describe(live.standing(each.id)) == describe(market.standing(each.id))


def describe(depth: StandingMarket) -> tuple[object, ...]:
    levels = [list(depth.levels(is_bid=each)) for each in (True, False)]
    near = range(190, 211)  # a tick is 0.5 here or there
    return (
        depth.row, depth.what, depth.is_late, depth.is_whole, depth.has_quotes, depth.has_levels,
        levels, [depth.best(is_bid=each) for each in (True, False)],
        [depth.lots_at(ticks, is_bid=each) for ticks in near for each in (True, False)],
        [depth.stamp(ticks, is_bid=each) for side, each in zip(levels, (True, False), strict=True)
         for ticks, _ in side],
        depth.mark() if depth.row >= 0 else None,
        depth.trade() if depth.what == TickKind.PRINT else None,
    )  # fmt: skip


def test_depth_of_a_session_that_goes_on_is_forgotten() -> None:
    """The feed tells the levels again; what stood before must not stay among them."""
    one = World(TICK_WORLDS[-1], 0)
    session = one.open(MemoryTape())
    session.start(1)
    for heard in list(slice_ticks(one.timeline))[:9]:
        session.take_rows(heard)
    (changes,) = session.clear_depth()
    assert len(changes) == len(session.save().standing[0].levels) > 2
    before = session.save().standing[0]
    now = session.now + 1
    session.take_rows([TickHeard(each, now, is_history=True).known_at(now) for each in changes])
    after = session.save()
    assert (after.standing[0].levels, after.market.depths[0].levels) == ([], [])
    assert after.standing[0].quote == (0.0, 0.0, 0.0, 0.0)
    assert after.standing[0].mark == before.mark
    assert session.clear_depth() == []


def test_bar_among_ticks_is_our_mistake() -> None:
    session = World(TICK_WORLDS[1], 0).open(MemoryTape())
    session.start(1)
    bar = BarClosed(EQUITY.id, 0, 10, 10, 20, 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(InvariantBroken, match="1 bars and 0 ticks"):
        session.take_rows([bar])
