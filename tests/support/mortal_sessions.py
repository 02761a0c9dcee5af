"""Live sessions at a local Alpaca whose process ends as by kill -9 at a point that a test chooses.

A process is one call of `drive_live` in the loop of the test. When it reaches its point, the run's
directory is copied as it stands at that moment; from then on nothing of it reaches the venue or
counts on disk: what it still writes while it is taken apart goes into the directory that nobody
reads any more. The next process goes on in the copy.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec
import pytest

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import RejectCode
from onetape.domain.venue import (
    OperatorAction,
    OperatorCommand,
    ReportKind,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.alpaca.rest import AlpacaRest
from onetape.execution.gateway import Capabilities, Hear, Heard, VenueGateway
from onetape.marketdata.feeds.ibkr_link import TwsLink
from onetape.marketdata.feeds.port import Feed, FeedEvent, Take
from onetape.runtime.config import SessionConfig
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.replay import Player
from onetape.runtime.realtime.shell import RealtimeShell
from onetape.runtime.sessions import live_run
from onetape.runtime.sessions.live_run import LiveParts, LiveResult, drive_live
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.sqlite_store import SqliteTape
from tests.support.alpaca_venue import LocalAlpaca
from tests.support.live_sessions import make_parts

LOOK_PAUSE_SECONDS = 0.02
_LIMIT_S = 30.0

T = TypeVar("T")
Point = tuple[str, int]
"""A place, and at which visit of it (from 1) the process ends."""


class Killed(BaseException):
    """Ends whatever runs; nothing that is orderly catches it."""


class Life:
    """One process of a session.

    Args:
        run_dir: Where it runs.
        point: Where it ends; None: when it is asked to. The place `any` counts all visits.

    Attributes:
        point: As given; may be set while it runs.
        visits: How often each place was visited.
        remains: The copy of the directory at the moment of its end; None: it lives.
        ended: Set at its end.
        shell: Its shell, once there is one.
    """

    current: ClassVar[Life]

    def __init__(self, run_dir: Path, point: Point | None) -> None:
        self.run_dir = run_dir
        self.visits: Counter[str] = Counter()
        self.remains: Path | None = None
        self.ended = asyncio.Event()
        self.shell: RealtimeShell | None = None
        self.point = point

    def visit(self, place: str) -> None:
        """The process comes by a place; raises `Killed` where it ends, and ever after."""
        if self.remains is None:
            self.visits.update((place, "any"))
            if self.point is None or self.visits[self.point[0]] < self.point[1]:
                return
            self.kill()
        raise Killed

    def kill(self) -> None:
        """The process is over at this moment."""
        if self.remains is None:
            remains = self.run_dir.with_name(f"{self.run_dir.name}+")
            shutil.copytree(self.run_dir, remains, ignore=shutil.ignore_patterns("*.sock"))
            self.remains = remains
            self.ended.set()


class MortalGateway:
    """A gateway whose process may end before and after each thing that it does."""

    def __init__(self, inner: VenueGateway, life: Life) -> None:
        self.name = inner.name
        self.capabilities: Capabilities = inner.capabilities
        self._inner = inner
        self._life = life

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        return await self._inner.define(instruments)

    async def open(self, instruments: Sequence[Instrument], hear: Hear) -> None:
        async def hear_or_die(heard: Heard) -> None:
            place = _place_of(heard)
            self._life.visit(f"{place}, before")
            await hear(heard)
            self._life.visit(f"{place}, after")

        await self._around("open", self._inner.open(instruments, hear_or_die))

    async def submit(self, order: OrderSubmitted) -> None:
        await self._around("send", self._inner.submit(order))

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        await self._around("send", self._inner.cancel(command, order))

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        await self._around("send", self._inner.replace(command, order))

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        self._life.visit("look, before")
        snapshot = await self._inner.look(reason, orders, since)
        self._life.visit("look, after")
        return snapshot

    async def close(self) -> None:
        await self._inner.close()

    async def _around(self, place: str, work: Awaitable[None]) -> None:
        try:
            self._life.visit(f"{place}, before")
        except Killed:
            work.close()  # pyright: ignore[reportAttributeAccessIssue]  # never began
            raise
        await work
        self._life.visit(f"{place}, after")


class MortalFeed:
    """A feed whose process may end before and after each bar."""

    def __init__(self, inner: Feed, life: Life) -> None:
        self.name = inner.name
        self._inner = inner
        self._life = life

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        return await self._inner.define(instruments)

    async def read_history(
        self, instruments: Sequence[Instrument], timeframe: str, bars: int
    ) -> Any:
        self._life.visit("history, before")
        return await self._inner.read_history(instruments, timeframe, bars)

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        async def take_or_die(event: FeedEvent) -> None:
            self._life.visit("bar, before")
            await take(event)
            self._life.visit("bar, after")

        await self._inner.run(instruments, timeframe, take_or_die)


def _place_of(heard: Heard) -> str:
    if not isinstance(heard, VenueReport):
        return "connection"
    return "fill" if heard.kind is ReportKind.FILLED else "answer"


class _Shell(RealtimeShell):
    """The real one, in no hurry between two looks, and known to its `Life`."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        terms = msgspec.structs.replace(args[7], look_pause_seconds=LOOK_PAUSE_SECONDS)
        given: list[Any] = [*args[:7], terms, *args[8:]]
        super().__init__(*given, **settings)
        self._life = Life.current
        self._life.shell = self

    async def hear_venue(self, heard: Heard) -> None:
        is_taken_back = isinstance(heard, VenueReport) and heard.code is RejectCode.NOT_RECEIVED
        if is_taken_back:
            self._life.visit("taken back, before")
        await super().hear_venue(heard)
        if is_taken_back:
            self._life.visit("taken back, after")


def install(patch: pytest.MonkeyPatch) -> None:
    """Let the tape and the requests of whichever `Life` is the current one end it."""
    patch.setattr(live_run, "RealtimeShell", _Shell)
    for name, place in (("_store", "commit"), ("_store_snapshot", "snapshot")):
        patch.setattr(SqliteTape, name, _mortal(getattr(SqliteTape, name), place))
    ask = AlpacaRest.ask

    async def ask_or_die(self: AlpacaRest, *args: Any, **settings: Any) -> Any:
        life = Life.current
        life.visit("request, before")
        answer = await ask(self, *args, **settings)
        life.visit("request, after")
        return answer

    patch.setattr(AlpacaRest, "ask", ask_or_die)
    wait = TwsLink._wait

    async def wait_or_die(self: TwsLink, *args: Any) -> Any:
        life = Life.current
        life.visit("request, before")
        answer = await wait(self, *args)
        life.visit("request, after")
        return answer

    patch.setattr(TwsLink, "_wait", wait_or_die)


def _mortal(write: Callable[..., None], place: str) -> Callable[..., None]:
    def write_or_die(*args: Any) -> None:
        life = Life.current
        if life.remains is None:
            life.visit(f"{place}, before")
        write(*args)
        if life.remains is None:
            life.visit(f"{place}, after")

    return write_or_die


class PlayedVenue(Protocol):
    """A venue that the test plays."""

    exchange: LocalExchange
    player: Player


class MortalSession:
    """A live session over several processes; `install` comes before it.

    Args:
        world: The venue.
        config: Of the session.
        run_dir: Where it begins.
        make: What connects a process; None: the local Alpaca.

    Attributes:
        world: The venue.
        life: The process that runs now, or ran last.
    """

    def __init__(
        self,
        world: PlayedVenue,
        config: SessionConfig,
        run_dir: Path,
        make: Callable[[], LiveParts] | None = None,
    ) -> None:
        run_dir.mkdir()
        self.world = world
        self._make = make
        self._config = config
        self._run_dir = run_dir
        self._task: asyncio.Task[LiveResult]
        self._gateway: VenueGateway
        self.life: Life
        self.has_begun = False

    @property
    def run_dir(self) -> Path:
        """Where it runs now."""
        return self._run_dir

    @property
    def rows(self) -> int:
        """Bars that it has taken."""
        shell = self.life.shell
        return shell.session.rows if shell is not None else 0

    def begin(self, point: Point | None = None) -> None:
        """A process begins, or goes on where the one before was killed."""
        asyncio.get_running_loop().set_exception_handler(_tell)
        life = self.life = Life.current = Life(self._run_dir, point)
        self.has_begun = True
        if self._make is not None:
            inner = self._make()
        else:
            assert isinstance(self.world, LocalAlpaca)
            inner = make_parts(self.world, self._config.mode)
        assert inner.gateway is not None
        self._gateway = inner.gateway
        parts = LiveParts(
            feed=MortalFeed(inner.feed, life),
            clock=inner.clock,
            gateway=MortalGateway(inner.gateway, life),
        )
        self._task = asyncio.create_task(drive_live(self._config, self._run_dir, parts))

    async def until(self, happened: Callable[[RealtimeShell], bool]) -> bool:
        """Waits for it; False: the process was killed before.

        Raises:
            AssertionError: It does not happen.
        """
        if await self.wait(happened, _LIMIT_S):
            return True
        assert self.life.remains is not None, f"it has not happened: {self.describe()}"
        return False

    async def wait(self, happened: Callable[[RealtimeShell], bool], seconds: float) -> bool:
        """Whether it happens in so many seconds, and before the process is killed.

        A session that has been asked to stop is not waited for.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            if self.life.remains is not None:
                return False
            shell = self.life.shell
            if shell is not None and shell.session.is_stopping:
                return True
            if self._task.done() and not isinstance(self._task.exception(), Killed):
                self._task.result()
                raise AssertionError("the session is over")
            if shell is not None and happened(shell):
                return True
            await asyncio.sleep(0.003)
        return False

    async def until_quiet(self, rows: int) -> bool:
        """Waits until so many bars are taken, nothing is unclear and entries are free."""
        return await self.until(lambda shell: shell.session.rows >= rows and is_quiet(shell))

    async def bury(self) -> None:
        """Take the killed process apart; the next one goes on with what it has left."""
        life = self.life
        assert life.remains is not None
        for _ in range(100):
            if self._task.done():
                break
            self._task.cancel()
            await asyncio.wait([self._task], timeout=0.2)
        assert self._task.done()
        await self._gateway.close()  # its sockets end with it, wherever it was
        if not self._task.cancelled():
            self._task.exception()  # it is known how it ended
        self._run_dir = life.remains

    def flatten(self) -> None:
        """What `onetape flatten` does."""
        assert self.life.shell is not None
        self.life.shell.tell(OperatorCommand(OperatorAction.FLATTEN, "", "the test flattens"))

    async def stop(self) -> LiveResult | None:
        """Ask it to stop; None: it was killed before it had."""
        shell = self.life.shell
        assert shell is not None
        if not shell.session.is_stopping:
            shell.tell(OperatorCommand(OperatorAction.STOP, "", "the test ends"))
        ended = asyncio.create_task(self.life.ended.wait())
        await asyncio.wait([self._task, ended], timeout=_LIMIT_S,
                           return_when=asyncio.FIRST_COMPLETED)  # fmt: skip
        ended.cancel()
        if self.life.remains is not None:
            return None
        assert self._task.done(), f"it does not stop: {self.describe()}"
        return self._task.result()

    @property
    def has_ended(self) -> bool:
        """Whether the killed process had written the session's end."""
        assert self.life.remains is not None
        file = self.life.remains / "tape.db"
        if SqliteTape.remove_empty(file):
            return False
        reader = SqliteTapeReader(file)
        try:
            return reader.is_complete
        finally:
            reader.close()

    def describe(self) -> str:
        """Where it stands, for whoever looks at a failure."""
        shell = self.life.shell
        if shell is None:
            return "no shell yet"
        session: Any = shell.session
        memory = session.save().memory
        states = [session.state_of(each) for each in session.strategies]
        return (
            f"{session.rows} rows, {session.open_orders} open orders, "
            f"down {session.pipeline.down}, states {states}, {memory}, "
            f"venue: {self.world.exchange.books('me').open_orders}"
        )


def run_to_end(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, where tasks of killed processes may need to be told twice that it is over."""

    async def run() -> T:
        try:
            return await main
        finally:
            for _ in range(20):
                others = asyncio.all_tasks() - {asyncio.current_task()}
                if not others:
                    break
                for each in others:
                    each.cancel()
                await asyncio.wait(others, timeout=0.5)

    return asyncio.run(run())


def _tell(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What nobody has waited for; that it was killed is known."""
    if not isinstance(context.get("exception"), Killed):
        loop.default_exception_handler(context)


def is_quiet(shell: RealtimeShell, state: str = "running") -> bool:
    """Whether nothing waits, nothing is unclear, and every strategy is in this state."""
    session: Any = shell.session
    return (
        not shell.inbox
        and not session.wants_look
        and not session.unanswered()
        and not session.pipeline.down
        and not session._venue_desk.save().is_blocked
        and all(session.state_of(each) == state for each in session.strategies)
    )
