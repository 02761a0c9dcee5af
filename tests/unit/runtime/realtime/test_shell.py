"""The realtime shell when things go right, and when its parts fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from onetape.domain.errors import (
    ConfigError,
    InvariantBroken,
    OnetapeError,
    SourceUnavailable,
    TryAgain,
    VenueUnavailable,
)
from onetape.domain.events import (
    KillSwitchSet,
    OrderCancelPending,
    OrderEvent,
    OrderFilled,
    OrderSubmitted,
    OrderUnknown,
    Payload,
    SessionStopped,
    TimerFired,
)
from onetape.domain.instrument import Instrument, make_equity
from onetape.domain.market import Bar
from onetape.domain.numbers import E8
from onetape.domain.venue import (
    BarClosed,
    ConnectionChanged,
    ConnectionPart,
    OperatorAction,
    OperatorCommand,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.simulated.fees import NoFees, build_fee_schedule
from onetape.execution.simulated.latency import LatencyModel, build_latency
from onetape.execution.simulated.slippage import SlippageTerms
from onetape.execution.simulated.terms import VenueTerms
from onetape.marketdata.feeds.port import FeedEvent, Take
from onetape.risk.limits import RiskLimits
from onetape.runtime.realtime.shell import RealtimeShell, ShellTerms
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.runtime.sessions.realtime import RealtimeIdentity, RealtimePolicy, RealtimeSession
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from onetape.tape.block import decode_record
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.fake_feed import FakeFeed
from tests.support.fake_venue import FakeVenue

STOCK = make_equity("A.FAKE", calendar="24/7")
MINUTE = 60_000_000_000
T0 = 28_500_000 * MINUTE
CAPITAL = 1_000_000 * E8


def bar(minute: int) -> BarClosed:
    close = T0 + minute * MINUTE
    return BarClosed(STOCK.id, close - MINUTE, close, 0, 0, 100.0, 100.0, 100.0, 100.0, 1.0)


class SteppedClock:
    """Moves a millisecond each time it is asked, and to what the feed says."""

    def __init__(self) -> None:
        self.ts = T0

    def now(self) -> int:
        self.ts += 1_000_000
        return self.ts

    def hear(self, ts: int) -> None:
        self.ts = max(self.ts, ts)


class Orders(Strategy):
    """A resting order and a timer at each bar."""

    timers: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.buy(bar.instrument, 1, limit=90.0)
        ctx.set_timer("soon", ctx.now + 30_000_000_000)

    def on_timer(self, name: str, ctx: Context) -> None:
        self.timers += 1

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        pass


class Buys(Strategy):
    """Buys one at each bar."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.buy(bar.instrument, 1)


class World:
    """A session at a fake venue, its shell and its tape."""

    def __init__(
        self, feed: Any, strategy: Strategy | None = None, venue: FakeVenue | None = None,
        tape: MemoryTape | None = None, **terms: Any,
    ) -> None:  # fmt: skip
        self.clock = SteppedClock()
        self.tape = tape or MemoryTape()
        self.venue = venue or FakeVenue([STOCK], self.clock.now, CAPITAL)
        fees = {STOCK.id: build_fee_schedule(NoFees(), STOCK)}
        self.session = RealtimeSession(
            (STOCK,), "1m", "fake",
            [StrategySpec(name="s", strategy=strategy or Buys(), capital=CAPITAL)],
            VenueTerms(fees=fees, slippage=SlippageTerms(), limit_reach=0.0,
                       latency=build_latency(LatencyModel(), 0),
                       capabilities=FakeVenue.capabilities),
            RiskLimits(), self.tape, RealtimeIdentity(mode="live"),
            RealtimePolicy(is_simulated=False),
        )  # fmt: skip
        terms = {"look_seconds": 60.0, "look_pause_seconds": 0.0} | terms
        self.shell = RealtimeShell(self.session, self.tape, self.clock, feed, self.venue, (STOCK,),
                                   "1m", ShellTerms(**terms))  # fmt: skip
        self.feed = feed

    async def run(self, until: Callable[[], bool]) -> str:
        """Run until something is so, then ask to stop; returns why it was over."""
        await self.venue.open((STOCK,), self.shell.hear_venue)
        self.session.start(self.clock.now())
        task = asyncio.create_task(self.shell.run())
        for _ in range(5_000):
            if task.done() or until():
                break
            await asyncio.sleep(0.001)
        else:
            task.cancel()
            raise AssertionError("it has not come")
        if not task.done():
            self.shell.tell(OperatorCommand(OperatorAction.STOP, "", "test"))
        return await asyncio.wait_for(task, 30)

    def events(self, *kinds: type[Payload]) -> list[Any]:
        """What stands on the tape of some kinds."""
        found = MemoryTapeReader(self.tape).encoded_records()
        return [payload for each in found for payload, _, _ in decode_record(each).events
                if isinstance(payload, kinds)]  # fmt: skip

    @property
    def is_ready(self) -> bool:
        """Whether the venue's books have been found equal."""
        return not self.session.desk.is_paused("s")


class StepFeed(FakeFeed):
    """Tells a bar when it is asked to."""

    def __init__(self) -> None:
        super().__init__([STOCK], [])
        self.next: asyncio.Queue[FeedEvent | Exception] = asyncio.Queue()

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        while True:
            event = await self.next.get()
            if isinstance(event, Exception):
                raise event
            await take(event)


def test_orders_leave_in_order_and_are_forgotten_when_they_close() -> None:
    async def run() -> World:
        world = World(StepFeed())

        def until() -> bool:
            if world.is_ready and not world.session.rows and world.feed.next.empty():
                for minute in range(20):
                    world.feed.next.put_nowait(bar(minute + 1))
            return len(world.events(OrderFilled)) == 20

        await world.run(until)
        return world

    world = asyncio.run(run())
    submitted = [each.client_order_id for each in world.events(OrderSubmitted)]
    assert [identity for _, identity in world.venue.sent] == submitted
    assert len(submitted) == 20
    assert world.shell.dispatcher is not None
    assert world.shell.dispatcher.submitted == {}
    assert world.events(SessionStopped)[-1].reason == "stopped by an operator"


class SlowVenue(FakeVenue):
    """Answers nothing before it is let."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.begun: list[str] = []
        self.let = asyncio.Event()

    async def submit(self, order: OrderSubmitted) -> None:
        self.begun.append(f"submit {order.client_order_id[-1]}")
        await self.let.wait()
        self.sent.append(("submit", order.client_order_id))
        self.open_orders[order.client_order_id] = order

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        self.begun.append(f"cancel {order.client_order_id[-1]}")
        await super().cancel(command, order)


def test_stop_cancels_open_orders_each_command_behind_the_one_before() -> None:
    """The cancel waits for the submit of the same order, and the stop for the answers."""

    async def run() -> World:
        clock = SteppedClock()
        venue = SlowVenue([STOCK], clock.now, CAPITAL)
        world = World(StepFeed(), Orders(), venue)

        def until() -> bool:
            if world.is_ready and not world.session.rows and world.feed.next.empty():
                for minute in range(3):
                    world.feed.next.put_nowait(bar(minute + 1))
            if len(venue.begun) == 3:
                asyncio.get_running_loop().call_later(0.05, venue.let.set)
            return len(venue.begun) == 3

        await world.run(until)
        return world

    world = asyncio.run(run())
    venue = world.venue
    assert isinstance(venue, SlowVenue)
    assert venue.begun == ["submit 1", "submit 2", "submit 3", "cancel 1", "cancel 2", "cancel 3"]
    assert [what for what, _ in venue.sent] == ["submit"] * 3 + ["cancel"] * 3
    assert world.session.open_orders == 0
    assert venue.open_orders == {}


def test_stop_does_not_wait_for_ever() -> None:
    async def run() -> str:
        clock = SteppedClock()
        world = World(StepFeed(), Orders(), SlowVenue([STOCK], clock.now, CAPITAL),
                      stop_seconds=0.02)  # fmt: skip

        def until() -> bool:
            if world.is_ready and not world.session.rows and world.feed.next.empty():
                world.feed.next.put_nowait(bar(1))
            return world.session.open_orders == 1

        return await world.run(until)

    assert asyncio.run(run()) == "stopped by an operator; 1 orders are open"


def test_timer_fires_at_its_time_and_not_before() -> None:
    async def run() -> World:
        world = World(StepFeed(), Orders())
        strategy = world.session.runners["s"].strategy
        world.feed.next.put_nowait(bar(1))

        def until() -> bool:
            if world.session.rows == 1 and not strategy.timers:  # type: ignore[attr-defined]
                assert world.clock.ts < T0 + MINUTE + 31_000_000_000
                world.clock.ts += 1_000_000_000
                world.shell.tell(KillSwitchSet(active=False, reason="wakes the core"))
            return strategy.timers == 1  # type: ignore[attr-defined]

        await world.run(until)
        return world

    fired = asyncio.run(run()).events(TimerFired)
    assert [each.name for each in fired] == ["soon"]


def test_silence_counts_and_is_over_with_the_first_bar() -> None:
    async def run() -> World:
        world = World(StepFeed(), stale_seconds=0.05)

        def until() -> bool:
            changes = world.events(ConnectionChanged)
            if len(changes) == 1 and world.feed.next.empty() and not world.session.rows:
                assert world.session.pipeline.down == [("feed", "fake (silence)")]
                world.feed.next.put_nowait(bar(1))
            return len(changes) >= 2

        await world.run(until)
        return world

    world = asyncio.run(run())
    changes = world.events(ConnectionChanged, BarClosed)
    assert [type(each).__name__ for each in changes[:3]] == [
        "ConnectionChanged", "ConnectionChanged", "BarClosed",
    ]  # fmt: skip
    assert [each.is_up for each in changes[:2]] == [False, True]


@pytest.mark.parametrize("error", [SourceUnavailable("gone"), ConfigError("the keys are wrong")])
def test_feed_that_gives_up_is_an_input(error: OnetapeError) -> None:
    async def run() -> World:
        world = World(StepFeed())
        world.feed.next.put_nowait(error)
        await world.run(lambda: bool(world.session.pipeline.down))
        return world

    world = asyncio.run(run())
    (change,) = world.events(ConnectionChanged)
    assert (change.part, change.is_up, change.reason) == (ConnectionPart.FEED, False, str(error))


def test_feed_that_breaks_ends_the_session_in_order() -> None:
    async def run(world: World) -> None:
        world.feed.next.put_nowait(bar(1))
        world.feed.next.put_nowait(KeyError("t"))
        await world.run(lambda: False)

    async def both() -> None:
        world = World(StepFeed())
        with pytest.raises(InvariantBroken, match=r"the feed failed: KeyError: 't'.*--resume"):
            await run(world)
        assert not world.events(SessionStopped)
        assert MemoryTapeReader(world.tape).audit().damage is None
        names = {each.get_name() for each in asyncio.all_tasks()}
        assert not names & {"core", "feed", "silence", "looks", "dispatch"}

    asyncio.run(both())


class BrokenVenue(FakeVenue):
    """Raises `error` at every submit and look of a name."""

    error: Exception = RuntimeError("a bug of the client library")
    at = "submit"

    async def submit(self, order: OrderSubmitted) -> None:
        self.sent.append(("submit", order.client_order_id))
        if self.at == "submit":
            raise self.error
        await super().submit(order)

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        if self.at == "look":
            raise self.error
        return await super().look(reason, orders, since)


def make_broken(at: str, error: Exception) -> World:
    clock = SteppedClock()
    venue = BrokenVenue([STOCK], clock.now, CAPITAL)
    venue.at, venue.error = at, error
    return World(StepFeed(), Buys(), venue)


@pytest.mark.parametrize("at", ["submit", "look"])
def test_gateway_that_breaks_ends_the_session_in_order(at: str) -> None:
    async def run() -> None:
        world = make_broken(at, RuntimeError("a bug of the client library"))
        unhandled: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, each: unhandled.append(each))

        def until() -> bool:
            if world.is_ready and not world.session.rows and world.feed.next.empty():
                world.feed.next.put_nowait(bar(1))
            return False

        with pytest.raises(InvariantBroken, match="the gateway failed: RuntimeError: a bug"):
            await world.run(until)
        assert unhandled == []
        assert MemoryTapeReader(world.tape).audit().damage is None
        assert len(world.events(OrderSubmitted)) == len(world.venue.sent)

    asyncio.run(run())


def test_command_that_fails_on_the_way_is_unknown() -> None:
    async def run() -> World:
        world = make_broken("submit", VenueUnavailable("the connection was lost"))

        def until() -> bool:
            if world.is_ready and not world.session.rows and world.feed.next.empty():
                world.feed.next.put_nowait(bar(1))
            return bool(world.events(OrderUnknown))

        await world.run(until)
        return world

    world = asyncio.run(run())
    assert world.events(VenueReport)[0].reason == "the connection was lost"


def test_look_that_fails_pauses_until_one_succeeds() -> None:
    async def run() -> World:
        world = make_broken("look", VenueUnavailable("no route"))
        venue = world.venue
        assert isinstance(venue, BrokenVenue)

        def until() -> bool:
            if world.session.pipeline.down:
                venue.at = "nothing"
            return world.is_ready

        await world.run(until)
        return world

    changes = asyncio.run(run()).events(ConnectionChanged)
    assert [(each.part, each.is_up) for each in changes] == [
        (ConnectionPart.VENUE, False), (ConnectionPart.VENUE, True),
    ]  # fmt: skip


class FullTape(MemoryTape):
    """A tape whose commits fail from some moment on."""

    is_full = False

    def commit(self) -> None:
        if self.is_full:
            raise TryAgain("the disk is full", where="tape.db")
        super().commit()


def test_full_disk_ends_the_session_and_nothing_leaves_that_is_not_on_the_tape() -> None:
    async def run() -> World:
        tape = FullTape()
        world = World(StepFeed(), tape=tape)

        def until() -> bool:
            if world.is_ready and not world.session.rows and world.feed.next.empty():
                world.feed.next.put_nowait(bar(1))
            if len(world.events(OrderFilled)) == 1 and not tape.is_full:
                tape.is_full = True
                world.feed.next.put_nowait(bar(2))
            return False

        with pytest.raises(TryAgain, match="the disk is full"):
            await world.run(until)
        return world

    world = asyncio.run(run())
    submitted = [each.client_order_id for each in world.events(OrderSubmitted)]
    assert len(submitted) == 1
    assert [identity for _, identity in world.venue.sent] == submitted
    assert not world.events(SessionStopped)


def test_kill_does_not_wait_behind_a_full_inbox() -> None:
    async def run() -> World:
        world = World(StepFeed(), inbox=50)
        world.session.start(world.clock.now())
        for minute in range(40):
            await world.shell.inbox.put(bar(minute + 1))
        done = asyncio.Event()
        world.shell.tell(OperatorCommand(OperatorAction.STOP, "", "last"))
        world.shell.tell(KillSwitchSet(active=True, reason="now"), done.set)
        await asyncio.wait_for(world.shell.run(), 30)
        assert done.is_set()
        return world

    found = asyncio.run(run()).events(KillSwitchSet, BarClosed)
    assert isinstance(found[0], KillSwitchSet)
    assert len(found) == 41
