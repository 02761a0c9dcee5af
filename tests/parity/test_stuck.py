"""A strategy that does not come back is taken out at the same call when its session runs again.

Where the watchdog strikes is chance, so what the callback has done by then may not count: here it
asks for an order and a timer before it is taken out. In a re-run it is not called at all.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from onetape.domain.errors import StrategyStuck
from onetape.domain.events import OrderEvent, StrategyQuarantined
from onetape.domain.instrument import make_equity
from onetape.domain.market import Bar, TimeSlice
from onetape.domain.numbers import E8
from onetape.domain.orders import Intent, OrderIntent, OrderType, QuantityBasis, Side, TimeInForce
from onetape.domain.venue import ConnectionChanged, ConnectionPart
from onetape.execution.simulated.fees import NoFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyModel, build_latency
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.runtime.sessions.live_inputs import give, read_inputs
from onetape.runtime.sessions.realtime import (
    RealtimeIdentity,
    RealtimePolicy,
    RealtimeSession,
    decode_realtime,
    encode_realtime,
)
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state
from onetape.tape.block import decode_record
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.parity.test_realtime import slice_bars
from tests.support.runs import make_walks

STOCKS = [make_equity(name, calendar="24/7") for name in ("A.TEST", "B.TEST")]
MINUTE = 60_000_000_000
SLICES = 30
CAPITAL = 1_000_000 * E8

PLACES = [("on_start", 1), ("on_stop", 1)] + [
    (callback, number)
    for callback in ("on_bar", "on_slice", "on_order_update", "on_timer", "on_connection",
                     "generate_orders")
    for number in (1, 2, 5, 8)
]  # fmt: skip


class Hang:
    """Where a strategy hangs, and whether it may be called there."""

    def __init__(self, callback: str, number: int, *, again: bool) -> None:
        self.callback, self.number, self.again = callback, number, again
        self.calls = 0

    def visit(self, callback: str, ctx: Context) -> None:
        if callback != self.callback:
            return
        self.calls += 1
        if self.calls != self.number:
            return
        assert not self.again, f"{callback} is called again"
        ctx.buy(STOCKS[0].id, 7)
        ctx.set_timer("never", ctx.now + 1)
        raise StrategyStuck("did not come back within 1 s (look for a loop without an end)")


HANGS: dict[str, Hang] = {}
"""By name of the strategy: not its own state, since a re-run has another one."""


class Busy(Strategy):
    """Hears everything, and orders by timer and by bar."""

    me: str = param("busy")
    heard: int = state(0)

    def visit(self, callback: str, ctx: Context) -> None:
        self.heard += 1
        if self.me in HANGS:
            HANGS[self.me].visit(callback, ctx)

    def on_start(self, ctx: Context) -> None:
        self.visit("on_start", ctx)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.visit("on_bar", ctx)
        if ctx.position(bar.instrument) <= 0:
            ctx.buy(bar.instrument, 3)
        else:
            ctx.sell(bar.instrument, 2)

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        self.visit("on_slice", ctx)
        ctx.set_timer("soon", ctx.now + 20_000_000_000)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        self.visit("on_order_update", ctx)

    def on_timer(self, name: str, ctx: Context) -> None:
        self.visit("on_timer", ctx)
        ctx.buy(STOCKS[1].id, 1)

    def on_connection(self, change: ConnectionChanged, ctx: Context) -> None:
        self.visit("on_connection", ctx)

    def on_stop(self, ctx: Context) -> None:
        self.visit("on_stop", ctx)


class Generating(Busy):
    """The same, with an order of its own making where time has gone on."""

    made: int = state(0)
    ts_made: int = state(0)

    def generate_orders(self, ctx: Context) -> Sequence[Intent]:
        self.visit("generate_orders", ctx)
        if ctx.now - self.ts_made < MINUTE // 4:
            return []
        self.ts_made = ctx.now
        self.made += 1
        return [
            OrderIntent(self.me, 1_000 + self.made, STOCKS[0].id, Side.BUY, QuantityBasis.LOTS, 1,
                        OrderType.MARKET, TimeInForce.GTC)
        ]  # fmt: skip


def open_session(tape: MemoryTape, kind: type[Busy]) -> RealtimeSession:
    specs = [
        StrategySpec(name=name, strategy=kind(me=name), capital=CAPITAL)
        for name in ("busy", "calm")
    ]
    terms = VenueTerms(
        fees={each.id: build_fee_schedule(NoFees(), each) for each in STOCKS},
        slippage=SlippageTerms(), latency=build_latency(LatencyModel(mean_ms=5_000), 0),
        limit_reach=0.0,
    )  # fmt: skip
    return RealtimeSession(
        STOCKS, "1m", "made", specs, terms, RiskLimits(), tape,
        RealtimeIdentity(session="0123456789abcdef", mode="paper"), RealtimePolicy(),
    )  # fmt: skip


def records_of(tape: MemoryTape) -> list[bytes]:
    tape.commit()
    return list(MemoryTapeReader(tape).encoded_records())


def run(kind: type[Busy], hang: Hang) -> tuple[list[bytes], list[tuple[int, bytes]]]:
    """The records of a session in which time goes on between bars, and states with their event."""
    chance = random.Random(hang.number)
    tape = MemoryTape()
    HANGS.clear()
    HANGS["busy"] = hang
    session = open_session(tape, kind)
    walks = make_walks(STOCKS, SLICES, timeframe="1m", length_ns=MINUTE)
    states: list[tuple[int, bytes]] = []
    session.start(int(walks.columns["ts_open"].min()))
    for number, bars in enumerate(slice_bars(walks)):
        while chance.random() < 0.7 and session.next_due < bars[0].ts_known - 10:
            session.advance(session.next_due)
            states.append((session.events, encode_realtime(session.save())))
        if number % 4 == 1:
            session.take(
                ConnectionChanged(ConnectionPart.FEED, "made", is_up=number % 8 == 5, reason="x"),
                max(session.now + 1, bars[0].ts_known - 5),
            )
            states.append((session.events, encode_realtime(session.save())))
        session.take_rows(bars)
        states.append((session.events, encode_realtime(session.save())))
    session.stop("end", session.now + 1)
    return records_of(tape), states


def run_again(
    kind: type[Busy], hang: Hang, records: Sequence[bytes], state: bytes = b""
) -> list[bytes]:
    tape = MemoryTape()
    HANGS.clear()
    HANGS["busy"] = Hang(hang.callback, hang.number, again=True)
    session = open_session(tape, kind)
    if state:
        session.restore(decode_realtime(state))
        HANGS["busy"].number = -1  # what it had counted is gone with its process
    for each in read_inputs(records):
        give(session, each)
    return records_of(tape)


@pytest.mark.parametrize(("callback", "number"), PLACES)
def test_stuck_call_is_taken_out_at_the_same_place(callback: str, number: int) -> None:
    kind = Generating if callback == "generate_orders" or number == 5 else Busy
    hang = Hang(callback, number, again=False)
    records, states = run(kind, hang)
    assert hang.calls == number
    taken_out = [
        payload
        for each in records
        for payload, _, _ in decode_record(each).events
        if isinstance(payload, StrategyQuarantined)
    ]
    assert [(each.strategy, each.callback) for each in taken_out] == [("busy", callback)]
    assert "call" in taken_out[0].error
    assert run_again(kind, hang, records) == records
    quarantined_at = next(at for at, each in enumerate(records) if b"strategy_quarantined" in each)
    behind = decode_record(records[quarantined_at]).first_seq
    before = [each for each in states if each[0] <= behind][-3:]
    for events, saved in before:  # a process that was killed goes on from any of these
        rest = [each for each in records if decode_record(each).first_seq >= events]
        assert run_again(kind, hang, rest, saved) == rest


def test_two_stuck_in_one_input() -> None:
    hang = Hang("on_bar", 3, again=False)
    tape = MemoryTape()
    HANGS.clear()
    HANGS.update({"busy": hang, "calm": Hang("on_bar", 3, again=False)})
    session = open_session(tape, Busy)
    walks = make_walks(STOCKS, 6, timeframe="1m", length_ns=MINUTE)
    session.start(int(walks.columns["ts_open"].min()))
    for bars in slice_bars(walks):
        session.take_rows(bars)
    session.stop("end", session.now + 1)
    records = records_of(tape)
    assert [each.strategy for each in session.pipeline.quarantined] == ["busy", "calm"]
    again = MemoryTape()
    HANGS.update({name: Hang("on_bar", 3, again=True) for name in ("busy", "calm")})
    rerun = open_session(again, Busy)
    for each in read_inputs(records):
        give(rerun, each)
    assert records_of(again) == records
