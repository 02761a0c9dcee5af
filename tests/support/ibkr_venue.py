"""A local TWS, ib_async connected to it, and what the client's session has heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderConditions, OrderType, Side, TimeInForce
from onetape.domain.venue import ConnectionChanged, ReportKind, VenueReport
from onetape.execution.gateway import Heard
from onetape.execution.ibkr.gateway import IbkrGateway
from onetape.execution.simulated.fee_presets import make_ibkr_us_fixed
from onetape.execution.simulated.fees import FeeModel
from onetape.marketdata.feeds.ibkr import IbkrFeed
from onetape.marketdata.feeds.ibkr_link import TwsAccess
from onetape.marketdata.timeline import Timeline
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultSchedule
from onetape.runtime.local_venues.ibkr import RULES, IbkrServer
from onetape.runtime.local_venues.replay import Player
from onetape.runtime.sessions.live_run import LiveParts
from tests.support.alpaca_venue import CLOSE, HOURS, MINUTE, OPEN
from tests.support.live_sessions import VenueClock
from tests.support.local_venues import make_exchange, open_patiently
from tests.support.runs import make_walks

ACCOUNT = "me"
AAPL = make_equity("AAPL.IBKR", calendar=HOURS)
MSFT = make_equity("MSFT.IBKR", calendar=HOURS)


def make_minutes(*instruments: Instrument, bars: int = 200, seed: int = 7) -> Timeline:
    """Random walks of one session, all of it the same one."""
    timeline = make_walks(
        instruments or (AAPL,), bars, seed=seed, ts_start=OPEN, timeframe="1m", length_ns=MINUTE
    )
    timeline.columns["session_close"] = np.full_like(timeline.columns["ts_known"], CLOSE)
    return timeline


class LocalTws:
    """Everything of one test.

    Attributes:
        heard: What the gateway has told, in order.
    """

    def __init__(self, timeline: Timeline, faults: FaultSchedule | None, **settings: Any) -> None:
        models = settings.pop("models", {})
        fees: FeeModel = settings.pop("fees", make_ibkr_us_fixed())
        self.exchange: LocalExchange = make_exchange(
            timeline, RULES, fees=fees,
            accounts={ACCOUNT: {"USD": settings.pop("cash", 100_000) * E8}}, **models,
        )  # fmt: skip
        self.player = Player(self.exchange)
        self.server = IbkrServer(
            self.exchange, self.player, account=ACCOUNT, faults=faults,
            per_second=settings.pop("venue_per_second", 1_000_000),
        )  # fmt: skip
        self.instruments = timeline.instruments
        self.settings = settings
        self.heard: list[Heard] = []
        self.gateway: IbkrGateway | None = None
        self._feeds: list[IbkrFeed] = []
        self._orders = 0

    def access(self, **changes: Any) -> TwsAccess:
        """Fast and impatient."""
        usual = TwsAccess(
            port=self.server.port, answer_s=5.0, settle_s=0.1, fee_wait_s=0.1, first_wait_s=0.01,
            longest_wait_s=0.1, per_second=0, history_requests=1_000_000,
        )  # fmt: skip
        return msgspec.structs.replace(usual, **(self.settings | changes))

    def make_gateway(self, **changes: Any) -> IbkrGateway:
        return IbkrGateway(self.access(**changes), lambda: self.exchange.now)

    def make_feed(self, **changes: Any) -> IbkrFeed:
        feed = IbkrFeed(self.access(**({"client_id": 2} | changes)), lambda: self.exchange.now)
        self._feeds.append(feed)
        return feed

    async def close_feeds(self) -> None:
        """The sockets of feeds whose process is no more end with it."""
        for each in self._feeds:
            await each.close()
        self._feeds.clear()

    async def hear(self, heard: Heard) -> None:
        self.heard.append(heard)

    def order(
        self,
        lots: int = 10,
        *,
        side: Side = Side.BUY,
        order_type: OrderType = OrderType.MARKET,
        time_in_force: TimeInForce = TimeInForce.DAY,
        limit: int = 0,
        stop: int = 0,
        ts_expire: int = 0,
        instrument: Instrument | None = None,
        conditions: OrderConditions | None = None,
    ) -> OrderSubmitted:
        self._orders += 1
        return OrderSubmitted(
            f"0123abcd-test-{self._orders:04d}", "test",
            (instrument or self.instruments[0]).id, side, order_type, time_in_force, lots, limit,
            stop, ts_expire, conditions=conditions,
        )  # fmt: skip

    async def submit(self, order: OrderSubmitted) -> None:
        assert self.gateway is not None
        await self.gateway.submit(order)

    async def cancel(self, order: OrderSubmitted) -> None:
        assert self.gateway is not None
        await self.gateway.cancel(OrderCancelPending(order.client_order_id), order)

    async def replace(
        self, order: OrderSubmitted, *, lots: int = 0, limit: int = 0, stop: int = 0
    ) -> None:
        assert self.gateway is not None
        command = OrderReplacePending(order.client_order_id, lots, limit, stop)
        await self.gateway.replace(command, order)

    def reports(self, order: OrderSubmitted | None = None) -> list[VenueReport]:
        """What was said of an order, or of all."""
        return [
            each
            for each in self.heard
            if isinstance(each, VenueReport)
            and (order is None or each.client_order_id == order.client_order_id)
        ]

    def kinds(self, order: OrderSubmitted | None = None) -> list[ReportKind]:
        return [each.kind for each in self.reports(order)]

    def changes(self) -> list[ConnectionChanged]:
        return [each for each in self.heard if isinstance(each, ConnectionChanged)]

    async def until(self, happened: Callable[[], bool], what: str = "") -> None:
        """Waits for it; for long, because the machine may be busy."""
        for _ in range(6_000):
            if happened():
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"{what or 'it'} did not happen; heard: {self.heard}")

    async def until_kinds(self, order: OrderSubmitted, *kinds: ReportKind) -> None:
        await self.until(lambda: self.kinds(order) == list(kinds), f"{kinds}")

    async def play(self, rows: int = 1) -> None:
        await self.player.play_rows(rows)


class Ghosts(dict[int, Any]):
    """The clients of a TWS that has not noticed that some have gone.

    Attributes:
        logins: So many more of them it refuses.
    """

    def __init__(self, clients: dict[int, Any], gone: Collection[int], logins: int) -> None:
        super().__init__(clients)
        self._gone = gone
        self.logins = logins

    def __contains__(self, client_id: object) -> bool:
        if client_id in self._gone and self.logins > 0:
            self.logins -= 1
            return True
        return super().__contains__(client_id)


def haunt(world: LocalTws, client_id: int, logins: int) -> Ghosts:
    """TWS takes a client for connected, for so many logins more, and does not tell it anything."""
    server: Any = world.server
    server._connections = ghosts = Ghosts(server._connections, (client_id,), logins)
    return ghosts


@asynccontextmanager
async def local_tws(
    timeline: Timeline | None = None,
    *,
    faults: FaultSchedule | None = None,
    rows: int = 2,
    is_open: bool = True,
    **settings: Any,
) -> AsyncIterator[LocalTws]:
    """A server on loopback with `rows` played, and an open gateway unless told otherwise."""
    world = LocalTws(timeline or make_minutes(), faults, **settings)
    await world.server.start()
    await world.play(rows)
    try:
        if is_open:
            world.gateway = await open_patiently(world.make_gateway, world.instruments, world.hear)
        yield world
    finally:
        if world.gateway is not None:
            await world.gateway.close()
        await world.close_feeds()
        await world.server.close()


def make_parts(world: LocalTws, mode: str, **changes: Any) -> LiveParts:
    """What connects a session with the local TWS."""
    gateway = world.make_gateway(skew_s_max=None, **changes) if mode == "live" else None
    return LiveParts(feed=world.make_feed(**changes), clock=VenueClock(world), gateway=gateway)
