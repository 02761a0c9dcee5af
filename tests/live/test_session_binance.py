"""Paper and live sessions at a local Binance, through its real client."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onetape.domain.numbers import E8
from onetape.execution.simulated.fees import BpsFees
from onetape.runtime.config import SessionConfig
from onetape.runtime.sessions.adapters import build_parts
from onetape.runtime.sessions.live_run import LiveParts, drive_live
from onetape.runtime.verification import Verdict, verify_tape
from tests.live.test_session_alpaca import read_fills, read_orders
from tests.support.binance_live import COIN, KEY, SECRET, World
from tests.support.live_sessions import WARM_UP, RunningSession

BARS = 60
PRICES = [40_000.0 + 40 * ((n * 7) % 23) - 60 * ((n // 9) % 3) for n in range(WARM_UP + BARS + 4)]


class VenueClock:
    def __init__(self, world: World) -> None:
        self._world = world

    def now(self) -> int:
        return self._world.exchange.now

    def hear(self, ts: int) -> None:
        pass


class Running(RunningSession):
    """A session at the local Binance, wired by its configuration."""

    def __init__(self, world: World, mode: str, run_dir: Path) -> None:
        self.world = world
        self.run_dir = run_dir
        self.is_live = mode == "live"
        world.instruments = (COIN,)
        venue = world.server.rest_url
        connection = {"url": venue, "key": "env:KEY", "secret": "env:SECRET"}
        sections = {
            "mode": mode,
            "clock": {"type": "live"},
            "data": {"source": "binance", "timeframe": "1m", "instruments": [COIN.id],
                     "connection": {"url": venue}},
            "execution": {"venue": "simulated"} if mode == "paper" else {
                "venue": "binance", "connection": connection},
            "risk": {"max_order_quantity": 1, "max_daily_loss_pct": 50},
            "strategies": [{"name": "sma_cross", "capital": 50_000, "currency": "USDT",
                            "params": {"fast": 3, "slow": 8, "quantity": 0.25}}],
            "live": {"look_seconds": 1, "power_loss": False, "foreign_cash": "ignore"},
        }  # fmt: skip
        wired = SessionConfig.model_validate(sections)
        parts = build_parts(wired, {"KEY": KEY, "SECRET": SECRET})
        for section in ("data", "execution"):
            sections[section].pop("connection", None)
        config = SessionConfig.model_validate(sections)
        clock = VenueClock(world)
        parts.feed._clock = clock.now
        parts = LiveParts(feed=parts.feed, clock=clock, gateway=parts.gateway)
        self.task = asyncio.create_task(drive_live(config, run_dir, parts))

    async def play(self, bars: int) -> None:
        """Row by row; what a row makes the session order has arrived before the next."""
        came = (await self.until(0))["bars"]
        for _ in range(bars):
            await self.world.play()
            came = (await self.until(came + 1))["bars"]
            if self.is_live:
                await self.until_same_orders()

    async def until_same_orders(self) -> None:
        for _ in range(2_000):
            status = await self.ask("status")
            if status["open_orders"] == len(self.world.exchange.open_orders("me")):
                return
            await asyncio.sleep(0.002)
        raise AssertionError("the orders of session and venue differ")


def run_session(mode: str, run_dir: Path) -> None:
    async def run() -> None:
        world = World([(each,) for each in PRICES], fees=BpsFees(maker_bps=0, taker_bps=0),
                      cash={"USDT": 100_000 * E8})  # fmt: skip
        async with world.serve():
            await world.play(WARM_UP)
            run_dir.mkdir()
            session = Running(world, mode, run_dir)
            await session.until(1)
            if mode == "live":
                await session.until(1, paused=[])
            await asyncio.sleep(0.1)
            await session.play(BARS)
            result = await session.stop()
            assert result.reason == "stopped by an operator"
            if mode == "live":
                lots = sum(side * lots for side, lots, _ in read_fills(run_dir))
                held = world.exchange.books("me").balances.get("BTC")
                assert lots * 1000 == (held.total if held else 0)

    asyncio.run(run())


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("runs")
    for mode in ("paper", "live"):
        run_session(mode, parent / mode)
    return {mode: parent / mode for mode in ("paper", "live")}


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_tape_of_a_session_verifies(runs: dict[str, Path], mode: str) -> None:
    found = verify_tape(runs[mode] / "tape.db")
    assert found.verdict is Verdict.IDENTICAL, found.what
    assert found.decisions >= 5


def test_paper_and_live_decide_and_fill_the_same(runs: dict[str, Path]) -> None:
    assert read_orders(runs["paper"]) == read_orders(runs["live"])
    assert read_fills(runs["paper"]) == read_fills(runs["live"])
    assert len(read_fills(runs["live"])) >= 5
