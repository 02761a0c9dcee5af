"""Paper and live sessions in the loop of a test, at a local Alpaca that plays row by row."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import SecretStr

from onetape.domain.errors import OnetapeError
from onetape.domain.instrument import Instrument
from onetape.execution.alpaca.gateway import AlpacaGateway
from onetape.marketdata.feeds.alpaca import AlpacaFeed
from onetape.marketdata.feeds.alpaca_connection import AlpacaDataAccess
from onetape.runtime.config import SessionConfig
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.realtime.control_socket import ask_session
from onetape.runtime.sessions.live_run import LiveParts, LiveResult, drive_live
from tests.support.alpaca_venue import ACCOUNT, KEY, SECRET, LocalAlpaca

WARM_UP = 20
"""Bars that the venue has played when a session begins."""


class Playing(Protocol):
    """What has a local exchange."""

    exchange: LocalExchange


class Trading(Protocol):
    """What has instruments."""

    instruments: tuple[Instrument, ...]


class VenueClock:
    """The clock of a local venue."""

    def __init__(self, world: Playing) -> None:
        self._world = world

    def now(self) -> int:
        return self._world.exchange.now

    def hear(self, ts: int) -> None:
        pass


def make_config(world: Trading, mode: str, **changes: Any) -> SessionConfig:
    """A moving-average cross on every instrument of the venue; `changes` are whole sections."""
    sections: dict[str, Any] = {
        "mode": mode,
        "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": "1m",
                 "instruments": [each.id for each in world.instruments]},
        "execution": {"venue": "simulated" if mode == "paper" else "alpaca"},
        "risk": {"max_order_quantity": 100, "max_daily_loss_pct": 50},
        "strategies": [
            {"name": "sma_cross", "capital": 50_000,
             "params": {"fast": 3, "slow": 8, "quantity": 10}},
        ],
        "live": {"look_seconds": 1, "power_loss": False, "foreign_cash": "ignore"},
    }  # fmt: skip
    return SessionConfig.model_validate(sections | changes)


def make_parts(world: LocalAlpaca, mode: str) -> LiveParts:
    """Alpaca's own client library, with the addresses of the local venue."""
    server = world.server
    access = AlpacaDataAccess(
        key=SecretStr(KEY), secret=SecretStr(SECRET), base_url=server.rest_url,
        assets_url=server.rest_url,
        stream_url=server.data_stream_url, pair_stream_url=server.crypto_stream_url,
        first_wait_s=0.01, longest_wait_s=0.1, per_minute=1_000_000,
    )  # fmt: skip
    clock = VenueClock(world)
    gateway = None
    if mode == "live":
        gateway = AlpacaGateway(world.access(skew_s_max=None), clock.now)
    return LiveParts(feed=AlpacaFeed(access, clock.now), clock=clock, gateway=gateway)


class RunningSession:
    """A session that runs beside the test."""

    def __init__(self, world: LocalAlpaca, config: SessionConfig, run_dir: Path) -> None:
        self.world = world
        self.run_dir = run_dir
        self.is_live = config.mode == "live"
        self.task = asyncio.create_task(drive_live(config, run_dir, make_parts(world, config.mode)))

    async def ask(self, action: str, **more: str) -> Mapping[str, Any]:
        """An operator's command, through the session's own inbox."""
        return await asyncio.to_thread(ask_session, self.run_dir, {"action": action, **more})

    async def until(self, bars: int, **state: Any) -> Mapping[str, Any]:
        """The status when so many bars have come and these fields are so."""
        now: Mapping[str, Any] = {}
        for _ in range(3_000):
            if self.task.done():
                self.task.result()
                raise AssertionError("the session is over")
            try:
                now = await self.ask("status")
            except OnetapeError:
                await asyncio.sleep(0.02)
                continue
            rows = now.get("bars", now.get("ticks", 0))
            if rows >= bars and all(now[key] == state[key] for key in state):
                return now
            await asyncio.sleep(0.005)
        raise AssertionError(f"{bars} bars, {state} have not come: {now}")

    async def agree(self) -> None:
        """Wait until orders and holdings are the same here and at the venue; some seconds at most.

        Reports and bars come by two sockets, so which is heard first is chance otherwise.
        """
        for _ in range(600):
            now = await self.ask("status")
            books = self.world.exchange.books(ACCOUNT)
            held: dict[str, float] = {}
            for each in now["strategies"].values():
                for name, units in each["positions"].items():
                    held[name] = held.get(name, 0.0) + units
            theirs = {
                each.id: each.lots_to_float(books.positions[each.id].lots)
                for each in self.world.instruments
                if each.id in books.positions and books.positions[each.id].lots
            }
            if now["open_orders"] == len(books.open_orders) and held == theirs:
                return
            await asyncio.sleep(0.005)

    async def play(self, bars: int) -> None:
        """So many more slices of the venue, each when the session has taken the one before."""
        per_slice = len(self.world.instruments)
        came = (await self.until(0))["bars"]
        for _ in range(bars):
            await self.world.player.play_rows(per_slice)
            came = (await self.until(came + per_slice))["bars"]
            if self.is_live:
                await self.agree()

    async def stop(self) -> LiveResult:
        """Ask it to stop, and wait for it."""
        await self.ask("stop")
        return await asyncio.wait_for(self.task, 30)


async def start(world: LocalAlpaca, mode: str, run_dir: Path, **changes: Any) -> RunningSession:
    """A session over the rest of the venue's rows, which has got its bars from before."""
    run_dir.mkdir()
    await world.player.play_rows(WARM_UP * len(world.instruments))
    session = RunningSession(world, make_config(world, mode, **changes), run_dir)
    await session.until(1)
    if mode == "live":
        await session.until(1, paused=[])  # the first look has found the books equal
        world.player.barriers.append(session.agree)  # a fill is heard before the bar behind it
    await asyncio.sleep(0.1)
    return session
