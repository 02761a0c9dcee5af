"""A live session whose process is killed anywhere, by any number of times, loses nothing.

`ONETAPE_KILLS` says how many sessions are killed (`make soak`: 500), `ONETAPE_FIRST_SEED` which
seed comes first. A failure prints its seed.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.events import OrderSubmitted, SignalRecorded
from onetape.domain.numbers import E8
from onetape.domain.venue import BarClosed, SessionResumed
from onetape.runtime.sessions.live_run import LiveParts
from tests.support import ibkr_venue
from tests.support.alpaca_venue import (
    AAPL,
    ACCOUNT,
    KEY,
    MSFT,
    SECRET,
    LocalAlpaca,
    local_alpaca,
    make_minutes,
)
from tests.support.live_books import check_session, read_tape
from tests.support.live_processes import LiveProcess, threaded_alpaca, write_config
from tests.support.live_sessions import make_config
from tests.support.mortal_sessions import MortalSession, Point, install, run_to_end
from tests.support.seeds import draw_seeds

KILLS = draw_seeds("ONETAPE_KILLS", 20)
PROCESSES = KILLS[: 1 if len(KILLS) < 100 else 10]
CASH = 200_000
WARM_UP, BARS = 8, 14
INSTRUMENTS = (AAPL, MSFT)

STRATEGY = '''
from onetape.domain.market import Bar
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Busy(Strategy):
    """What it wants follows from the bar and an average alone, so that it can be compared."""

    def features(self) -> FeatureMap:
        return {"slow": Sma(5)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        slow = ctx.features.slow
        way = 1 if bar.close > slow else -1
        ctx.signal(bar.instrument, way * bar.close)
        step = (bar.ts_close // 60_000_000_000 + bar.instrument.startswith("MSFT")) % 6
        resting = ctx.open_orders(bar.instrument)
        if step == 0:
            ctx.target(bar.instrument, 20 if way > 0 else 4)
        elif step == 1:
            price = ctx.round_price(bar.instrument, bar.close * 0.9995, 1)
            ctx.buy(bar.instrument, 9, limit=price)
        elif step == 2 and resting:
            ctx.replace(resting[0].client_order_id, bar.instrument, quantity=12)
        elif step == 3 and ctx.position(bar.instrument) > 3:
            ctx.sell(bar.instrument, 3)
        elif step == 4 and resting:
            ctx.cancel(resting[0].client_order_id)
        elif step == 5:
            price = ctx.round_price(bar.instrument, bar.close * 1.0005, -1)
            ctx.sell(bar.instrument, 5, limit=price)
'''


def make_settings(folder: Path) -> dict[str, object]:
    """Two strategies on the same instruments, one of which is never quiet."""
    file = folder / "busy.py"
    file.write_text(STRATEGY)
    return {
        "strategies": [
            {"name": "busy", "path": str(file), "capital": 100_000},
            {"name": "sma_cross", "capital": 50_000,
             "params": {"fast": 2, "slow": 5, "quantity": 10}},
        ],
        "output": {"snapshot_events": 60},
        "live": {"look_seconds": 0.05, "power_loss": False},
    }  # fmt: skip


def split(lots: int) -> list[int]:
    """A fill comes in three parts."""
    parts = [lots // 3, lots // 3, lots - 2 * (lots // 3)]
    return [each for each in parts if each]


@asynccontextmanager
async def open_alpaca() -> AsyncGenerator[tuple[LocalAlpaca, None]]:
    timeline = make_minutes(*INSTRUMENTS, bars=WARM_UP + 2 * BARS + 40, seed=3)
    async with local_alpaca(timeline, is_open=False, rows=WARM_UP * 2, cash=CASH) as world:
        yield world, None


@asynccontextmanager
async def open_ibkr() -> AsyncGenerator[tuple[ibkr_venue.LocalTws, Callable[[], LiveParts]]]:
    instruments = ibkr_venue.AAPL, ibkr_venue.MSFT
    bars = WARM_UP + 2 * BARS + 40
    timeline = ibkr_venue.make_minutes(*instruments, bars=bars, seed=3)
    async with ibkr_venue.local_tws(timeline, is_open=False, rows=WARM_UP * 2, cash=CASH) as world:
        yield world, lambda: ibkr_venue.make_parts(world, "live")


SITES = {"alpaca": open_alpaca, "ibkr": open_ibkr}


async def run_killed(
    folder: Path,
    seed: int,
    points: list[Point],
    bars: int = BARS,
    settings: Callable[[Path], dict[str, object]] = make_settings,
    venue: str = "alpaca",
) -> MortalSession:
    """A session that is killed at these points, one process after another, and then checked."""
    chance = random.Random(seed)
    waiting = list(points)
    async with SITES[venue]() as (world, make):
        world.exchange.split_fill = split
        names = [each.id for each in world.instruments]
        sections: dict[str, Any] = {
            "data": {"source": venue, "timeframe": "1m", "instruments": names},
            "execution": {"venue": venue},
        }
        config = make_config(world, "live", **sections | settings(folder))
        session = MortalSession(world, config, folder / "run", make)

        async def go_on() -> None:
            """The venue goes on meanwhile; another process begins."""
            while True:
                if session.has_begun:
                    await session.bury()
                    if isinstance(world, ibkr_venue.LocalTws):
                        await world.close_feeds()
                    for _ in range(chance.choice((0, 0, 0, 1, 2, 4))):
                        await world.player.play_slice()
                session.begin(waiting.pop(0) if waiting else None)
                if await session.until_quiet(1):
                    return

        await go_on()
        for _ in range(bars):
            before = session.rows
            await world.player.play_slice()
            if not await session.until_quiet(before + len(INSTRUMENTS)):
                await go_on()
        while await session.stop() is None:
            if session.has_ended:  # it was killed behind its last event
                await session.bury()
                break
            await go_on()
        check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir)
        return session


Decisions = dict[tuple[str, int], list[tuple[object, ...]]]


def read_decisions(run_dir: Path) -> Decisions:
    """What `busy` said and asked for at each bar that it heard, as far as the bar alone decides."""
    found: Decisions = {}
    bars: dict[int, BarClosed] = {}
    for each in read_tape(run_dir):
        payload = each.payload
        if isinstance(payload, BarClosed):
            bars[each.seq] = payload
            if not payload.is_history:
                found[payload.instrument, payload.ts_close] = []
        bar = bars.get(each.correlation_id)
        if bar is None:
            continue
        heard = found[bar.instrument, bar.ts_close]
        if isinstance(payload, SignalRecorded):
            heard.append((payload.name, payload.value))
        elif isinstance(payload, OrderSubmitted) and payload.limit_ticks:
            heard.append((payload.side, payload.lots, payload.limit_ticks))
    return found


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Decisions:
    """What a session decides that nobody kills, over more bars than any other one hears."""
    return decide_uninterrupted(tmp_path_factory.mktemp("whole"), "alpaca")


def decide_uninterrupted(folder: Path, venue: str) -> Decisions:
    with pytest.MonkeyPatch.context() as patch:
        install(patch)
        session = run_to_end(run_killed(folder, 0, [], 2 * BARS + 30, venue=venue))
    return read_decisions(session.run_dir)


PLACES = {
    "commit, before": 95, "commit, after": 95, "snapshot, before": 7, "snapshot, after": 7,
    "send, before": 36, "send, after": 36, "answer, before": 36, "answer, after": 36,
    "fill, before": 52, "fill, after": 52, "bar, before": 28, "bar, after": 28,
    "look, before": 12, "look, after": 12, "request, before": 150, "request, after": 150,
    "connection, before": 1, "open, after": 1, "history, before": 1, "any": 900,
}  # fmt: skip
"""Where a process may end, and about how often a session that nobody kills comes by."""


def choose_points(seed: int) -> list[Point]:
    """Where the first process ends, and often those that go on behind it: in their return too."""
    chance = random.Random(seed)
    place = chance.choice(list(PLACES))
    points = [(place, chance.randint(1, PLACES[place]))]
    while chance.random() < 0.4:
        if chance.random() < 0.6:
            points.append(("any", chance.randint(1, 60)))
        else:
            place = chance.choice(list(PLACES))
            points.append((place, chance.randint(1, max(1, PLACES[place] // 4))))
    return points


@pytest.mark.usefixtures("mortal")
@pytest.mark.parametrize("seed", KILLS)
def test_session_that_is_killed_loses_nothing(
    tmp_path: Path, uninterrupted: Decisions, seed: int
) -> None:
    points = choose_points(seed)
    print(f"seed {seed}, killed at {points}")
    session = run_to_end(run_killed(tmp_path, seed, points))
    decided = read_decisions(session.run_dir)
    assert len(decided) >= BARS
    assert decided == {bar: uninterrupted[bar] for bar in decided}


@pytest.mark.parametrize("seed", PROCESSES)
def test_process_that_is_killed_loses_nothing(tmp_path: Path, seed: int) -> None:
    """The same by `onetape live` in processes of its own and real kills, at any moment."""
    chance = random.Random(seed)
    environment = {**os.environ, "LOCAL_KEY": KEY, "LOCAL_SECRET": SECRET}
    timeline = make_minutes(*INSTRUMENTS, bars=WARM_UP + 80, seed=seed)
    with threaded_alpaca(timeline, rows=WARM_UP * 2, cash=CASH) as venue:
        venue.world.exchange.split_fill = split
        settings = make_settings(tmp_path)
        write_config(
            tmp_path / "config.json", venue.world.server.rest_url,
            strategies=settings["strategies"], output={"snapshot_events": 60, "path": "runs"},
            **{"data.instruments": [each.id for each in INSTRUMENTS]},
        )  # fmt: skip
        process = LiveProcess(tmp_path, "config.json", "--quiet", **environment)
        for _ in range(2):
            process.until_trading(1)
            killer = threading.Timer(chance.uniform(0.05, 0.6), process.kill)
            killer.start()
            venue.play_slices(8)
            killer.join()
            venue.play_slices(chance.choice((0, 1, 3)))
            process = LiveProcess(tmp_path, "--resume", str(process.run_dir), "--quiet",
                                  **environment)  # fmt: skip
        bars = process.until_trading(1)["bars"]
        venue.play_slices(4)
        process.until_trading(bars + 4 * len(INSTRUMENTS))
        assert process.stop() == 0
        check_session(venue.world.exchange, ACCOUNT, CASH * E8, process.run_dir)
        events = [type(each.payload) for each in read_tape(process.run_dir)]
        assert SessionResumed in events  # a process may be killed before it has begun
        assert OrderSubmitted in events


@pytest.mark.usefixtures("mortal")
def test_session_that_is_killed_while_it_stops_goes_on_stopping(tmp_path: Path) -> None:
    async def run() -> str:
        timeline = make_minutes(*INSTRUMENTS, bars=WARM_UP + BARS)
        async with local_alpaca(timeline, is_open=False, rows=2 * WARM_UP, cash=CASH) as world:
            config = make_config(world, "live", **make_settings(tmp_path))
            session = MortalSession(world, config, tmp_path / "run")
            session.begin()
            await session.until_quiet(1)
            while not world.exchange.open_orders(ACCOUNT):
                before = session.rows
                await world.player.play_slice()
                await session.until_quiet(before + len(INSTRUMENTS))
            session.life.point = "send, before", session.life.visits["send, before"] + 1
            assert await session.stop() is None
            await session.bury()
            assert world.exchange.open_orders(ACCOUNT)
            session.begin()
            await session.until(lambda shell: shell.session.is_stopping)
            result = await session.stop()
            assert result is not None
            check_session(world.exchange, ACCOUNT, CASH * E8, session.run_dir)
            return result.reason

    assert run_to_end(run()) == "stopped by an operator"
