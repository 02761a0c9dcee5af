"""The realtime shell: feeds and venue -> inbox -> core -> tape -> outbox -> venue.

One task runs the core; everything else waits outside. What the core has decided leaves for the
venue only after the tape has it. A task that fails ends the session in an orderly way, and the
failure is told; a feed or a venue that is gone is no failure but an input.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from time import perf_counter_ns
from typing import Any, NamedTuple, Protocol

import msgspec

from onetape.domain.errors import ConfigError, InvariantBroken, OnetapeError
from onetape.domain.events import KillSwitchSet, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateAction, QuoteTick, TradeTick
from onetape.domain.numbers import INT64_MAX
from onetape.domain.ports import SnapshotKeeper, TapeWriter
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_MS, NS_PER_SECOND
from onetape.domain.venue import (
    BarClosed,
    ConnectionChanged,
    ConnectionPart,
    OperatorAction,
    OperatorCommand,
    RowHeard,
    Tick,
    VenueReport,
    VenueSnapshot,
    find_manual,
)
from onetape.execution.gateway import VenueGateway
from onetape.execution.outbox import VenueOutbox
from onetape.marketdata.announced_actions import AnnouncedAction, Announcements
from onetape.marketdata.feeds.port import Feed, FeedEvent, FeedInput, PassedOver
from onetape.runtime.live_pipeline import LiveInput
from onetape.runtime.realtime.action_agenda import ActionAgenda
from onetape.runtime.realtime.clock import Clock
from onetape.runtime.realtime.dispatch import Dispatcher
from onetape.runtime.realtime.inbox import Inbox
from onetape.runtime.realtime.market_hours import MarketHours
from onetape.runtime.realtime.passed_bars import PassedBars
from onetape.runtime.realtime.slices import BarSlices
from onetape.runtime.realtime.ticks import TickGate
from onetape.runtime.realtime.watchdog import Watchdog
from onetape.runtime.run_monitor import Durations

_PARTS = {
    "feed": "feed", "silence": "watch of the feed", "looks": "gateway", "dispatch": "gateway",
    "actions": "watch of corporate actions",
}  # fmt: skip
"""What the tasks beside the core are, by their names."""

_SINCE_NS = 10 * NS_PER_DAY
"""Corporate actions are read from so long before the newest rows on."""

_AHEAD_NS = 3_600 * NS_PER_SECOND
"""So long before a local day begins they are read anew."""

_ACTIONS_SECONDS = 30.0
"""Between two looks at the clock for that."""

_BATCH = 256
"""Inputs between two commits, at the most: they become durable together."""


class RealtimeTape(TapeWriter, SnapshotKeeper, Protocol):
    """Where a realtime session writes, and keeps its state."""


class RealtimeCore(Protocol):
    """The core, as the shell drives it. Times are ns UTC.

    Attributes:
        session: Its id.
        now: The time of its newest input, or up to which it has advanced.
        outbox: What it has decided.
        ts_start: When it began.
        actions: The corporate actions that it has met.
    """

    session: str
    now: int
    outbox: VenueOutbox
    ts_start: int
    actions: list[CorporateAction]

    def newest_closes(self) -> dict[InstrumentId, int]:
        """When the newest row of each instrument closed."""
        ...

    @property
    def strategies(self) -> Sequence[str]:
        """The names of its strategies."""
        ...

    @property
    def next_due(self) -> int:
        """When `advance` has something to do."""
        ...

    @property
    def rows(self) -> int:
        """How many bars have come."""
        ...

    @property
    def events(self) -> int:
        """How many events have been written."""
        ...

    @property
    def open_orders(self) -> int:
        """How many orders are open."""
        ...

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        ...

    @property
    def uncanceled_orders(self) -> int:
        """How many orders are open that could be asked to be canceled."""
        ...

    @property
    def wants_look(self) -> str:
        """Why the venue's books are to be asked for; empty: they need not be."""
        ...

    def is_open(self, client_order_id: str) -> bool:
        """Whether an order of ours is open."""
        ...

    def submitted_orders(self) -> list[OrderSubmitted]:
        """The orders that are open at the venue, as they would be submitted now."""
        ...

    @property
    def look_since(self) -> int:
        """From when on fills may be unknown."""
        ...

    def take_rows(self, heard: Sequence[RowHeard]) -> None:
        """The bars of one time slice."""
        ...

    def take(self, given: LiveInput, ts: int) -> None:
        """Any other input."""
        ...

    def advance(self, ts: int) -> None:
        """Process what has come due."""
        ...

    def stop(self, reason: str, ts: int) -> None:
        """The last step."""
        ...

    def encode_state(self) -> bytes:
        """All of its state between two inputs."""
        ...


class ShellTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How a shell behaves; times in seconds."""

    grace_ms: int = 2_000
    inbox: int = 10_000
    stale_seconds: float = 120.0
    look_seconds: float = 60.0
    look_pause_seconds: float = 0.5
    stop_seconds: float = 20.0
    snapshot_events: int = 50_000
    cancels_on_stop: bool = True


class ShellFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How a shell has done so far.

    Latencies (microseconds) begin when the cause came into the inbox: those of orders end at the
    gateway, those of inputs when they are processed. NaN without any. `to_send` commands wait for
    the venue's rate limit; the feed was heard, and the venue's books were seen, so many seconds ago
    (the latter is NaN before the first time).
    """

    inputs: int
    waiting: int
    deepest: int
    held_back: int
    order_p50_us: float
    order_p99_us: float
    orders: int
    input_p50_us: float
    input_p99_us: float
    to_send: int
    heard_seconds: float
    looked_seconds: float


class Told(NamedTuple):
    """An operator's command, and who is to know when it has been followed."""

    command: KillSwitchSet | OperatorCommand
    on_done: Callable[[], None] | None


class Announced(NamedTuple):
    """The corporate actions that are to come, and who is to know when they are waited for."""

    actions: Sequence[AnnouncedAction]
    on_done: Callable[[], None] | None


Item = FeedInput | VenueReport | VenueSnapshot | Told | Announced


class RealtimeShell:
    """Runs one session until it is asked to stop.

    Args:
        session: The core, started or restored.
        tape: What the core writes into; committed here.
        clock: Its time.
        feed: Market data.
        gateway: The venue; None in paper.
        instruments: Of the session.
        timeframe: Of its bars, or which ticks.
        terms: How it behaves.
        announcements: Where corporate actions are read; None: the session has none.
        watchdog: Who notices a strategy that does not come back; None: nobody.
        on_step: Called after each commit and each bar that is passed over, for who shows what
            happens.

    Attributes:
        agenda: The corporate actions that are to come.
        passed: Bars from outside of the exchange's hours.
    """

    def __init__(
        self,
        session: RealtimeCore,
        tape: RealtimeTape,
        clock: Clock,
        feed: Feed,
        gateway: VenueGateway | None,
        instruments: Sequence[Instrument],
        timeframe: str,
        terms: ShellTerms,
        watchdog: Watchdog | None = None,
        on_step: Callable[[], None] | None = None,
        announcements: Announcements | None = None,
    ) -> None:
        self.session = session
        self._tape = tape
        self._clock = clock
        self._feed = feed
        self._gateway = gateway
        self._instruments = tuple(instruments)
        self._timeframe = timeframe
        self._terms = terms
        self._watchdog = watchdog
        self._on_step = on_step
        self.inbox = Inbox[Item](terms.inbox)
        self._slices = BarSlices(instruments, terms.grace_ms * NS_PER_MS if len(instruments) > 1
                                 else 0)  # fmt: skip
        self.ticks = TickGate(instruments)
        self.passed = PassedBars(instruments)
        self.agenda = ActionAgenda(terms.grace_ms * NS_PER_MS)
        self._announcements = announcements
        self._order_times = Durations()
        self._input_times = Durations()
        self.dispatcher = (
            Dispatcher(gateway, self.hear_venue, self._order_times.add_one, self._fail)
            if gateway is not None
            else None
        )
        self._snapshot_events = 0
        self._looks = asyncio.Event()
        self._why_look = ""
        self._heard_at = perf_counter_ns()
        self._looked_at: int | None = None
        self._is_silent = False
        self._stop_by: int | None = None
        self._failed = asyncio.Event()
        self._failure: BaseException | None = None

    # From outside.

    def tell(
        self, command: KillSwitchSet | OperatorCommand, on_done: Callable[[], None] | None = None
    ) -> None:
        """An operator's command; it does not wait behind a full inbox, and a kill behind nothing.

        `on_done` is called when it has been followed and stands on the tape.
        """
        is_kill = isinstance(command, KillSwitchSet) and command.active
        (self.inbox.put_first if is_kill else self.inbox.put_now)(Told(command, on_done))

    async def find_actions(self) -> Sequence[AnnouncedAction]:
        """The corporate actions from some days before the newest rows on.

        Raises:
            OnetapeError: They can't be read; `status` tells why too.
        """
        if self._announcements is None:
            return ()
        closes = [each for each in self.session.newest_closes().values() if each >= 0]
        since = min([self._clock.now(), *closes]) - _SINCE_NS
        try:
            return await asyncio.to_thread(self._announcements.read, since)
        except OnetapeError as error:
            self.agenda.problem = str(error)
            raise

    async def read_actions(self, on_done: Callable[[], None] | None = None) -> None:
        """Read them anew; `on_done` is called when they are waited for instead of those of before.

        Raises:
            OnetapeError: The session has none, or they can't be read: those of before are.
        """
        if self._announcements is None:
            raise ConfigError("the session has no corporate actions",
                              where="data.corporate_actions",
                              remedy="say catalog there, and start a new one")  # fmt: skip
        self.inbox.put_now(Announced(await self.find_actions(), on_done))

    def look_soon(self, reason: str) -> None:
        """Ask the venue for its books as soon as possible."""
        self._why_look = reason
        self._looks.set()

    def figures(self) -> ShellFigures:
        """How it has done so far."""
        return ShellFigures(
            inputs=self.inbox.taken,
            waiting=len(self.inbox),
            deepest=self.inbox.deepest,
            held_back=self.inbox.held_back,
            order_p50_us=self._order_times.quantile_us(0.5),
            order_p99_us=self._order_times.quantile_us(0.99),
            orders=self._order_times.count,
            input_p50_us=self._input_times.quantile_us(0.5),
            input_p99_us=self._input_times.quantile_us(0.99),
            to_send=self.dispatcher.waiting if self.dispatcher is not None else 0,
            heard_seconds=(perf_counter_ns() - self._heard_at) / NS_PER_SECOND,
            looked_seconds=(perf_counter_ns() - self._looked_at) / NS_PER_SECOND
            if self._looked_at is not None else float("nan"),
        )  # fmt: skip

    @property
    def dropped(self) -> int:
        """Bars that came again or too late, and ticks that can't be."""
        return self._slices.dropped + self.ticks.dropped

    async def _take_feed(self, event: FeedEvent) -> None:
        if not isinstance(event, ConnectionChanged):
            self._heard_at = perf_counter_ns()
            if self._is_silent:
                await self._tell_silence(is_silent=False, what="heard again")
            if isinstance(event, PassedOver):
                self._pass_over(event)
                return
            self.passed.end()
        await self.inbox.put(event)

    def _pass_over(self, bar: PassedOver) -> None:
        self.passed.add(bar)
        if self._on_step is not None:
            self._on_step()

    async def hear_venue(self, heard: VenueReport | ConnectionChanged) -> None:
        """What a gateway says."""
        await self.inbox.put(heard)

    # The tasks.

    async def run(self) -> str:
        """Run until the session is over; returns why.

        Raises:
            OnetapeError: A part of the shell failed, or a promise of ours does not hold. The tape
                is sound up to the last commit.
            InvariantBroken: The feed or the gateway raised what its port does not know.
        """
        if self.session.is_stopping:  # it was killed meanwhile
            self._begin_stop()
        core = asyncio.create_task(self._run_core(), name="core")
        tasks: list[asyncio.Task[Any]] = [core]
        tasks.append(asyncio.create_task(self._run_feed(), name="feed"))
        tasks.append(asyncio.create_task(self._watch_silence(), name="silence"))
        if self._announcements is not None:
            tasks.append(
                asyncio.create_task(self._watch_actions(self._announcements), name="actions")
            )
        if self._gateway is not None and self.dispatcher is not None:
            looks = self._run_looks(self._gateway, self.dispatcher)
            tasks.append(asyncio.create_task(looks, name="looks"))
            tasks.append(asyncio.create_task(self._await_failure(), name="dispatch"))
        try:
            while not core.done():
                done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                for each in done:
                    if each is not core:
                        tasks.remove(each)
                        self._check_part(each)
            return core.result()
        finally:
            for each in tasks:
                each.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.dispatcher is not None:
                await self.dispatcher.settle(1.0)

    def _check_part(self, task: asyncio.Task[Any]) -> None:
        """Raise what a part of the shell failed with, if it did."""
        error = task.exception()
        if error is None:
            return
        if isinstance(error, OnetapeError) or not isinstance(error, Exception):
            raise error
        raise InvariantBroken(
            f"the {_PARTS[task.get_name()]} failed: {type(error).__name__}: {error}",
            remedy="the tape is sound: --resume goes on with the session",
        ) from error

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        self._failed.set()

    async def _await_failure(self) -> None:
        """Raise what a command of ours has made the gateway raise."""
        await self._failed.wait()
        if self._failure is not None:
            raise self._failure

    async def _run_feed(self) -> None:
        try:
            await self._feed.run(self._instruments, self._timeframe, self._take_feed)
            reason = "the feed has ended"
        except OnetapeError as error:
            reason = str(error)
        await self.inbox.put(
            ConnectionChanged(ConnectionPart.FEED, self._feed.name, is_up=False, reason=reason)
        )

    async def _watch_silence(self) -> None:
        """Tell when the feed has said nothing for too long in an open market."""
        seconds = self._terms.stale_seconds
        hours = MarketHours(self._instruments)
        while True:
            await asyncio.sleep(seconds / 4)
            now = self._clock.now()
            ts_open = hours.find_open(now)
            if (
                not self._is_silent
                and (perf_counter_ns() - self._heard_at) / NS_PER_SECOND > seconds
                and ts_open is not None
                and (now - ts_open) / NS_PER_SECOND > seconds
            ):
                await self._tell_silence(is_silent=True, what=f"silent for {seconds:g} s")

    async def _tell_silence(self, *, is_silent: bool, what: str) -> None:
        self._is_silent = is_silent
        await self.inbox.put(
            ConnectionChanged(ConnectionPart.FEED, f"{self._feed.name} (silence)",
                              is_up=not is_silent, reason=what)
        )  # fmt: skip

    async def _watch_actions(self, announcements: Announcements) -> None:
        """Read the corporate actions anew before a trading day begins."""
        days = announcements.days_at(self._clock.now() + _AHEAD_NS)
        while True:
            await asyncio.sleep(_ACTIONS_SECONDS)
            today = announcements.days_at(self._clock.now() + _AHEAD_NS)
            if today != days:
                days = today
                with suppress(OnetapeError):  # the agenda tells what was wrong
                    await self.read_actions()

    async def _run_looks(self, gateway: VenueGateway, dispatcher: Dispatcher) -> None:
        """Ask the venue for its books: at the start, when it is unclear, and now and then."""
        self.look_soon("start")
        failure = ""
        while True:
            try:
                async with asyncio.timeout(self._terms.look_seconds):
                    await self._looks.wait()
                reason = self._why_look
            except TimeoutError:
                reason = "regular"
            self._looks.clear()
            dispatcher.forget_closed(self.session.is_open)
            try:
                snapshot = await gateway.look(
                    reason, list(dispatcher.submitted.values()), self.session.look_since
                )
            except OnetapeError as error:
                if failure != str(error):
                    failure = str(error)
                    await self._tell_look(gateway, failure, is_up=False)
                await asyncio.sleep(min(1.0, self._terms.look_seconds))
                self.look_soon(reason)
                continue
            if failure:
                failure = ""
                await self._tell_look(gateway, "it tells its books again", is_up=True)
            self._looked_at = perf_counter_ns()
            await self.inbox.put(snapshot)
            await asyncio.sleep(self._terms.look_pause_seconds)

    async def _tell_look(self, gateway: VenueGateway, reason: str, *, is_up: bool) -> None:
        await self.inbox.put(
            ConnectionChanged(ConnectionPart.VENUE, f"{gateway.name} (look)", is_up, reason)
        )

    # The core.

    async def _run_core(self) -> str:
        reason = ""
        while not reason:
            await self.inbox.wait(self._wait_seconds())
            batch = self.inbox.take(_BATCH)
            for came, item in batch:
                self._process(item, came)
            self._run_clock()
            self._commit()
            for _, item in batch:
                if isinstance(item, Told | Announced) and item.on_done is not None:
                    item.on_done()
            reason = self._why_over()
            if self._on_step is not None:
                self._on_step()
            await asyncio.sleep(0)  # others may run between two batches
        self._stop(reason)
        return reason

    def _stop(self, reason: str) -> None:
        with self.watched():
            self.session.stop(reason, self._next_ts())
        self._tape.commit()

    @contextmanager
    def watched(self) -> Generator[None]:
        """While the block runs, a strategy that does not come back is taken out."""
        if self._watchdog is not None:
            self._watchdog.begin()
        try:
            yield
        finally:
            if self._watchdog is not None:
                self._watchdog.end()

    def _wait_seconds(self) -> float | None:
        """How long the core may wait for an input; None: until there is one."""
        waits: list[float] = []
        due = self.session.next_due
        if self._slices.next_due is not None:
            due = min(due, self._slices.next_due)
        if self.agenda.next_due is not None:
            due = min(due, self.agenda.next_due)
        if due != INT64_MAX:
            waits.append((due - self._clock.now()) / NS_PER_SECOND)
        if self._stop_by is not None:  # patience is the machine's time, whatever the feed's is
            waits.append((self._stop_by - perf_counter_ns()) / NS_PER_SECOND)
        return max(0.0, min(waits)) if waits else None

    def _next_ts(self) -> int:
        """The time of the next input: now, and later than everything before."""
        return max(self._clock.now(), self.session.now + 1)

    def _process(self, item: Item, came: int) -> None:
        with self.watched():
            self._apply_actions()
            if isinstance(item, BarClosed):
                self._clock.hear(item.ts_close)
                for bars in self._slices.add(item, self._clock.now()):
                    self._take_rows(bars)
            elif isinstance(item, QuoteTick | TradeTick):
                self._take_ticks((item,))
            elif isinstance(item, Told):
                self._take(item.command)
            elif isinstance(item, Announced):
                self.announce(item.actions)
            elif isinstance(item, tuple):  # of changes of the depth
                self._take_ticks(item)
            else:
                self._take(item)
            self._send(came)
        self._input_times.add_one(perf_counter_ns() - came)

    def _take_ticks(self, ticks: Sequence[Tick]) -> None:
        self._clock.hear(ticks[0].ts_event)
        heard = self.ticks.take(ticks)
        if heard:
            self._take_rows(heard)

    def announce(self, actions: Sequence[AnnouncedAction]) -> None:
        """These corporate actions are to come, and no others."""
        session = self.session
        self.agenda.announce(actions, session.actions, session.newest_closes(), session.ts_start)

    def take_history(self, rows: Sequence[RowHeard]) -> None:
        """Rows of one slice from before, which the session has not got; what comes before them."""
        self._apply_actions(rows, now=0)
        ts = self._next_ts()
        self.session.take_rows([each.known_at(ts) for each in rows])

    def _apply_actions(self, rows: Sequence[RowHeard] = (), now: int | None = None) -> None:
        """Corporate actions that are due, each at its own time as far as that has not gone."""
        if not self.agenda.ahead:
            return
        now = self._clock.now() if now is None else now
        while due := self.agenda.take_due(now, rows):
            for action in due:
                newest = self.session.actions[-1:]
                is_behind_one = newest and newest[0].ts_known == self.session.now
                ts = max(action.ts_event, self.session.now + (not is_behind_one))
                self.session.take(msgspec.structs.replace(action, ts_known=ts), ts)

    def _take_rows(self, rows: Sequence[RowHeard]) -> None:
        self._apply_actions(rows)
        ts = max(self._next_ts(), *(each.ts_close for each in rows))
        self.session.take_rows([each.known_at(ts) for each in rows])

    def _take(self, given: LiveInput) -> None:
        self.session.take(given, self._next_ts())
        if isinstance(given, VenueSnapshot) and self.dispatcher is not None:
            orders = self.session.submitted_orders()  # it may have adopted some
            self.dispatcher.know([each for each in orders if find_manual(each.client_order_id)])
        if isinstance(given, ConnectionChanged) and given.is_up and (
            given.part is ConnectionPart.VENUE
        ):  # fmt: skip
            self.look_soon("the venue is there again")
        if self.session.wants_look:
            self.look_soon(self.session.wants_look)
        if isinstance(given, OperatorCommand) and given.action is OperatorAction.STOP:
            self._begin_stop()
        elif isinstance(given, VenueSnapshot) and self.session.is_stopping and (
            self._terms.cancels_on_stop and self.session.uncanceled_orders
        ):  # fmt: skip
            self.tell(OperatorCommand(OperatorAction.STOP, "", "a cancel did not come through"))

    def _begin_stop(self) -> None:
        if self._stop_by is None:
            self._stop_by = perf_counter_ns() + int(self._terms.stop_seconds * NS_PER_SECOND)

    def _run_clock(self) -> None:
        """What time alone makes due: slices that have waited, timers, simulated arrivals."""
        now = self._clock.now()
        with self.watched():
            self._apply_actions()
            for bars in self._slices.expire(now):
                self._take_rows(bars)
            if self.session.next_due <= now:
                self.session.advance(now)
            self._send(perf_counter_ns())

    def _send(self, came: int) -> None:
        """Commands leave once the tape has them."""
        outbox = self.session.outbox
        if self.dispatcher is None or not (outbox.waiting or outbox.strays):
            return
        self._tape.commit()
        self.dispatcher.send(outbox.take(), came)
        for each in outbox.take_strays():
            self.dispatcher.cancel_stray(each, came)

    def _commit(self) -> None:
        self._tape.commit()
        if self.dispatcher is not None and (
            len(self.dispatcher.submitted) > self.session.open_orders
        ):
            self.dispatcher.forget_closed(self.session.is_open)
        if self.session.events - self._snapshot_events >= self._terms.snapshot_events:
            self.keep_state()

    def keep_state(self) -> None:
        """Keep the state of the session, to go on from here."""
        self._snapshot_events = self.session.events
        self._tape.keep(self.session.rows, self.session.now, self.session.encode_state())

    def _why_over(self) -> str:
        """Why the session is over; empty: it is not."""
        if self._stop_by is None:
            return ""
        if not self._terms.cancels_on_stop or not self.session.open_orders:
            return "stopped by an operator"
        if perf_counter_ns() >= self._stop_by:
            return f"stopped by an operator; {self.session.open_orders} orders are open"
        return ""
