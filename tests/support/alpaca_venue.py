"""A local Alpaca, a real client of it, and what the client's session has heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import numpy as np
from pydantic import SecretStr

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderConditions, OrderType, Side, TimeInForce
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.domain.venue import ConnectionChanged, ReportKind, VenueReport
from onetape.execution.alpaca.access import AlpacaAccess
from onetape.execution.alpaca.gateway import AlpacaGateway
from onetape.execution.gateway import Heard
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.timeline import Timeline
from onetape.runtime.local_venues.alpaca import RULES, AlpacaServer
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultSchedule
from onetape.runtime.local_venues.replay import Player
from tests.support.local_venues import make_exchange, open_patiently
from tests.support.runs import make_walks

KEY, SECRET, ACCOUNT = "AKLOCAL", "very-secret", "me"
OPEN = "2024-03-11T13:31:00Z"
CLOSE = from_iso("2024-03-11T20:00:00Z")
HOURS = "hours:America/New_York:09:30-16:00"
AAPL = make_equity("AAPL.ALPACA", calendar=HOURS)
MSFT = make_equity("MSFT.ALPACA", calendar=HOURS)
MINUTE = 60 * NS_PER_SECOND


def make_minutes(*instruments: Instrument, bars: int = 200, seed: int = 7) -> Timeline:
    """Random walks of one session, all of it the same one."""
    timeline = make_walks(
        instruments or (AAPL,), bars, seed=seed, ts_start=OPEN, timeframe="1m", length_ns=MINUTE
    )
    timeline.columns["session_close"] = np.full_like(timeline.columns["ts_known"], CLOSE)
    return timeline


class LocalAlpaca:
    """Everything of one test.

    Attributes:
        heard: What the gateway has told, in order.
    """

    def __init__(self, timeline: Timeline, faults: FaultSchedule | None, **settings: Any) -> None:
        models = settings.pop("models", {})
        self.exchange: LocalExchange = make_exchange(
            timeline, RULES, fees=BpsFees(maker_bps=0, taker_bps=0),
            accounts={ACCOUNT: {"USD": settings.pop("cash", 100_000) * E8}}, **models,
        )  # fmt: skip
        self.player = Player(self.exchange)
        self.server = AlpacaServer(
            self.exchange, self.player, keys={KEY: (SECRET, ACCOUNT)}, faults=faults,
            per_minute=settings.pop("venue_per_minute", 100_000),
        )  # fmt: skip
        self.instruments = timeline.instruments
        self.settings = settings
        self.heard: list[Heard] = []
        self.gateway: AlpacaGateway | None = None
        self._orders = 0

    def access(self, **changes: Any) -> AlpacaAccess:
        """Fast and impatient."""
        usual = AlpacaAccess(
            key=SecretStr(KEY), secret=SecretStr(SECRET), base_url=self.server.rest_url,
            per_minute=1_000_000, burst=1_000, answer_s=5.0, settle_s=0.1, first_wait_s=0.01,
            longest_wait_s=0.1,
        )  # fmt: skip
        return msgspec.structs.replace(usual, **(self.settings | changes))

    def make_gateway(self, **changes: Any) -> AlpacaGateway:
        return AlpacaGateway(self.access(**changes), lambda: self.exchange.now)

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
        instrument: Instrument | None = None,
        conditions: OrderConditions | None = None,
    ) -> OrderSubmitted:
        self._orders += 1
        return OrderSubmitted(
            f"0123abcd-test-{self._orders:04d}", "test",
            (instrument or self.instruments[0]).id, side, order_type, time_in_force, lots, limit,
            stop, 0, conditions=conditions,
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

    async def play(self, rows: int = 1) -> None:
        await self.player.play_rows(rows)


@asynccontextmanager
async def local_alpaca(
    timeline: Timeline | None = None,
    *,
    faults: FaultSchedule | None = None,
    rows: int = 2,
    is_open: bool = True,
    **settings: Any,
) -> AsyncIterator[LocalAlpaca]:
    """A server on loopback with `rows` played, and an open gateway unless told otherwise."""
    world = LocalAlpaca(timeline or make_minutes(), faults, **settings)
    await world.server.start()
    await world.play(rows)
    try:
        if is_open:
            world.gateway = await open_patiently(world.make_gateway, world.instruments, world.hear)
        yield world
    finally:
        if world.gateway is not None:
            await world.gateway.close()
        await world.server.close()
