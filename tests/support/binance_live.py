"""A local Binance, the real client connected to it, and a list of everything that it hears."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import ccxt.pro  # noqa: F401  (takes seconds, which are no part of a test)
from pydantic import SecretStr

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderConditions, OrderType, Side, TimeInForce
from onetape.domain.venue import ConnectionChanged, ReportKind, VenueReport, VenueSnapshot
from onetape.execution.binance.gateway import BinanceGateway
from onetape.execution.gateway import Heard
from onetape.marketdata.feeds.binance_client import BinanceSettings
from onetape.marketdata.timeline import Timeline, build_timeline
from onetape.runtime.local_venues.binance import BinanceServer
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultSchedule
from onetape.runtime.local_venues.replay import Player
from tests.support.local_venues import ME, make_exchange, open_patiently
from tests.support.timelines import Prices, flat, make_columns

COIN = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01", lot_size="0.00001")
KEY = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
SECRET = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
SESSION, STRATEGY = "3f2a9c1d", "sma_cross"

BUY, SELL = Side.BUY, Side.SELL
K = ReportKind


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test's coroutine, which may take half a minute on a busy machine."""

    async def limited() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(limited())


def make_settings(server: BinanceServer, **fields: Any) -> BinanceSettings:
    usual = {"base_url": server.rest_url, "key": SecretStr(KEY), "secret": SecretStr(SECRET),
             "recv_window_ms": 400, "timeout_s": 5.0, "backoff_s": 0.01, "backoff_max_s": 0.1,
             "silent_s": 15.0}  # fmt: skip
    return BinanceSettings(**(usual | fields))


def order(number: int, side: Side = BUY, lots: int = 1000, *, limit: int = 0, stop: int = 0,
          life: TimeInForce = TimeInForce.GTC, strategy: str = STRATEGY,
          kind: OrderType | None = None,
          conditions: OrderConditions | None = None) -> OrderSubmitted:  # fmt: skip
    if kind is None:
        kind = OrderType.STOP_LIMIT if stop and limit else (
            OrderType.STOP if stop else OrderType.LIMIT if limit else OrderType.MARKET)  # fmt: skip
    return OrderSubmitted(
        f"{SESSION}-{strategy}-{number}", strategy, COIN.id, side, kind, life, lots, limit, stop,
        0, conditions=conditions,
    )  # fmt: skip


class World:
    """One local Binance on a few prices, with its books."""

    def __init__(self, rows: Sequence[Prices] = (), *, prices: Sequence[float] = (40_000.0,) * 12,
                 faults: FaultSchedule | None = None, instrument: Instrument = COIN,
                 secret: str = SECRET, timeline: Timeline | None = None,
                 cash: dict[str, int] | None = None,
                 **exchange: Any) -> None:  # fmt: skip
        if timeline is None:
            columns = make_columns(list(rows) or flat(*prices))
            timeline = build_timeline([(instrument, columns)], source="test", timeframe="1m")
        cash = cash or {"USDT": 100_000 * E8, "BTC": 2 * E8}
        self.exchange: LocalExchange = make_exchange(timeline, accounts={ME: cash}, **exchange)
        self.player = Player(self.exchange)
        self.server = BinanceServer(
            self.exchange, self.player, keys={KEY: (secret, ME)}, faults=faults
        )
        self.heard: list[Heard] = []
        self._came = asyncio.Event()

    async def hear(self, what: Heard) -> None:
        self.heard.append(what)
        self._came.set()

    @property
    def reports(self) -> list[VenueReport]:
        return [each for each in self.heard if isinstance(each, VenueReport)]

    @property
    def changes(self) -> list[ConnectionChanged]:
        return [each for each in self.heard if isinstance(each, ConnectionChanged)]

    def kinds(self, number: int = 1) -> list[ReportKind]:
        ours = f"{SESSION}-{STRATEGY}-{number}"
        return [each.kind for each in self.reports if each.client_order_id == ours]

    async def until(self, condition: Callable[[], bool], seconds: float = 30.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._came.clear()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._came.wait(), 0.05)

    async def until_kinds(self, *kinds: ReportKind, number: int = 1) -> None:
        try:
            await self.until(lambda: self.kinds(number) == list(kinds))
        except TimeoutError:
            raise AssertionError(f"heard {self.kinds(number)}, not {list(kinds)}") from None

    async def play(self, rows: int = 1) -> None:
        await self.player.play_rows(rows)

    @asynccontextmanager
    async def serve(self):
        await self.server.start()
        try:
            yield self.server
        finally:
            await self.server.close()

    @asynccontextmanager
    async def gateway(self, *, strategies: Sequence[str] = (STRATEGY,), **settings: Any):
        """A gateway that is open, after the first row has come."""
        await self.server.start()
        if not self.exchange.rows_played:
            await self.play()
        chosen = make_settings(self.server, **settings)
        gateway: BinanceGateway | None = None
        try:
            gateway = await open_patiently(
                lambda: BinanceGateway(chosen, strategies), COIN.id, self.hear
            )
            yield gateway
        finally:
            if gateway is not None:
                await gateway.close()
            await self.server.close()


def cancel(of: OrderSubmitted) -> OrderCancelPending:
    return OrderCancelPending(of.client_order_id)


def replace(of: OrderSubmitted, *, lots: int = 0, limit: int = 0, stop: int = 0,
            ) -> OrderReplacePending:  # fmt: skip
    return OrderReplacePending(of.client_order_id, lots, limit, stop)


def told(snapshot: VenueSnapshot, number: int = 1) -> list[ReportKind]:
    """What a snapshot says of an order."""
    ours = f"{SESSION}-{STRATEGY}-{number}"
    return [each.kind for each in snapshot.reports if each.client_order_id == ours]
