"""A day of a live session in a minute: nothing grows, nothing is lost, a failure stays where it is.

Three strategies on one feed: one trades, one raises at a drawn bar, one loops for ever at another.
`make test` runs two hours of 10 instruments in paper and at a venue; `ONETAPE_SOAK_HOURS=24` runs
24 hours of 50 instruments, 72,000 bars each, and prints the memory over time.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from onetape.domain.events import OrderFilled, OrderSubmitted, StrategyQuarantined
from onetape.domain.instrument import Instrument, make_equity
from onetape.domain.numbers import E8
from onetape.domain.venue import BarClosed
from onetape.marketdata.feeds.port import Take
from onetape.runtime.config import SessionConfig
from onetape.runtime.realtime.clock import FeedClock
from onetape.runtime.realtime.control_socket import ask_session
from onetape.runtime.sessions.live_run import LiveParts, LiveResult, drive_live
from onetape.runtime.sessions.realtime import decode_realtime
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.reader import SqliteTapeReader
from tests.support.fake_feed import FakeFeed, list_bars
from tests.support.fake_venue import FakeVenue
from tests.support.runs import make_walks

HOURS = float(os.environ.get("ONETAPE_SOAK_HOURS", "2"))
IS_WHOLE = "ONETAPE_SOAK_HOURS" in os.environ
INSTRUMENTS = [make_equity(f"S{number:02}.SOAK", calendar="24/7")
               for number in range(50 if IS_WHOLE else 10)]  # fmt: skip
MINUTES = int(HOURS * 60)
BARS = MINUTES * len(INSTRUMENTS)
MINUTE = 60_000_000_000
CAPITAL = 1_000_000

MEMORY_GROWTH_MAX = 3 * 2**20
"""Bytes that the fitted line may rise from a quarter of the whole soak to its end: what the
allocator and SQLite's caches vary by. A closed order that stays costs some 500 bytes, so that a
tenth of the orders of the day would be seen."""

STRATEGIES = Path(__file__).parents[1] / "support" / "soak_strategies.py"


class SampledFeed(FakeFeed):
    """Notes the memory of the process (bytes) at every slice."""

    def __init__(self, instruments: Sequence[Instrument], events: Sequence[BarClosed]) -> None:
        super().__init__(instruments, events)
        self.memory: list[int] = []

    async def run(self, instruments: Sequence[Instrument], timeframe: str, take: Take) -> None:
        count = 0

        async def take_sampled(event: Any) -> None:
            nonlocal count
            await take(event)
            count += 1
            if count % len(INSTRUMENTS) == 0:
                self.memory.append(read_memory())

        await super().run(instruments, timeframe, take_sampled)


def read_memory() -> int:
    """Resident bytes of this process; 0 where the system does not say (not Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except FileNotFoundError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


class Soaked(NamedTuple):
    mode: str
    run_dir: Path
    result: LiveResult
    memory: list[int]
    unhandled: list[dict[str, Any]]
    venue: FakeVenue | None


def make_config(mode: str) -> SessionConfig:
    third = {"capital": CAPITAL, "path": None}
    strategies = [
        third | {"name": "trades", "path": f"{STRATEGIES}:Trades"},
        third | {"name": "raises", "path": f"{STRATEGIES}:Raises",
                 "params": {"bars_max": BARS // 2}},
        third | {"name": "sticks", "path": f"{STRATEGIES}:Sticks",
                 "params": {"stuck_at": BARS // 3}},
    ]  # fmt: skip
    return SessionConfig.model_validate({
        "mode": mode,
        "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": "1m", "history_bars": 60,
                 "instruments": [each.id for each in INSTRUMENTS]},
        "execution": {"venue": "simulated" if mode == "paper" else "alpaca"},
        "risk": {"max_order_quantity": 100, "max_daily_loss_pct": 90},
        "strategies": strategies,
        "output": {"snapshot_events": max(500, BARS // 10)},
        "live": {"power_loss": False, "callback_seconds": 0.6, "inbox": 100, "look_seconds": 0.3,
                 "stop_seconds": 5},
    })  # fmt: skip


async def soak(mode: str, run_dir: Path) -> Soaked:
    unhandled: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: unhandled.append(context))
    clock = FeedClock()
    walks = make_walks(INSTRUMENTS, MINUTES, ts_start="2024-03-11T00:01:00Z", timeframe="1m",
                       length_ns=MINUTE)  # fmt: skip
    feed = SampledFeed(INSTRUMENTS, list_bars(walks))
    venue = None
    if mode == "live":
        venue = FakeVenue(INSTRUMENTS, clock.now, 3 * CAPITAL * E8)
    parts = LiveParts(feed=feed, clock=clock, gateway=venue)
    run_dir.mkdir()
    task = asyncio.create_task(drive_live(make_config(mode), run_dir, parts))
    told = asyncio.create_task(feed.told.wait())
    await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if not task.done():
        while True:
            status = await asyncio.to_thread(ask_session, run_dir, {"action": "status"})
            if status["bars"] == BARS and not status["inbox"]["waiting"]:
                break
            await asyncio.sleep(0.05)
        await asyncio.to_thread(ask_session, run_dir, {"action": "stop"})
    result = await task
    gc.collect()  # a task whose error nobody took says so when it goes
    await asyncio.sleep(0)
    return Soaked(mode, run_dir, result, feed.memory, unhandled, venue)


@pytest.fixture(scope="module", params=["paper", "live"])
def soaked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Soaked:
    return asyncio.run(soak(request.param, tmp_path_factory.mktemp("soak") / request.param))


def test_every_bar_is_taken_and_no_task_fails(soaked: Soaked) -> None:
    assert soaked.result.market_events == BARS
    assert soaked.result.reason.startswith("stopped by an operator")
    assert soaked.unhandled == []


def test_two_are_quarantined_and_the_third_goes_on(soaked: Soaked) -> None:
    found = {each.strategy: each.error for each in soaked.result.quarantined}
    assert found.keys() == {"raises", "sticks"}
    assert found["raises"] == "ValueError: one day"
    assert "did not come back within 0.6 s" in found["sticks"]
    reader = SqliteTapeReader(soaked.run_dir / "tape.db")
    try:
        events = list(reader.events())
    finally:
        reader.close()
    out = max(each.seq for each in events if isinstance(each.payload, StrategyQuarantined))
    orders = [each for each in events if isinstance(each.payload, OrderSubmitted)]
    behind = [each.payload.strategy for each in orders if each.seq > out]
    assert set(behind) == {"trades"}
    assert len(behind) > MINUTES // 4
    filled = [each.payload for each in events if isinstance(each.payload, OrderFilled)]
    assert len(filled) > MINUTES // 4
    if soaked.venue is not None:
        held = {each.id: 0 for each in INSTRUMENTS}
        for each in filled:
            held[each.instrument] += each.side * each.lots
        assert held == {key: soaked.venue.lots.get(key, 0) for key in held}


def test_tape_verifies(soaked: Soaked) -> None:
    found = verify_tape(soaked.run_dir / "tape.db")
    assert found.verdict is Verdict.IDENTICAL, found.what


def test_what_a_session_remembers_does_not_grow(soaked: Soaked) -> None:
    reader = SqliteTapeReader(soaked.run_dir / "tape.db")
    try:
        sizes = [len(each.state) for each in reader.snapshots()]
        newest = reader.newest_snapshot()
    finally:
        reader.close()
    assert newest is not None
    decode_realtime(newest.state)
    half = sizes[len(sizes) // 2 :]
    assert len(half) >= 3
    assert max(half) < 1.1 * min(half), sizes


@pytest.mark.skipif(not IS_WHOLE, reason="memory is measured over a day")
def test_memory_is_flat(soaked: Soaked) -> None:
    memory = np.array(soaked.memory[len(soaked.memory) // 4 :], dtype=np.float64)
    slope, start = np.polyfit(np.arange(len(memory)), memory, 1)
    noise = float(np.std(memory - (start + slope * np.arange(len(memory)))))
    hours = [f"{each / 2**20:.1f}" for each in soaked.memory[:: max(1, len(soaked.memory) // 24)]]
    print(
        f"\n{soaked.mode}: {BARS:,} bars; MiB every {HOURS / 24:g} h: {' '.join(hours)}; "
        f"from a quarter on {slope * len(memory) / 2**20:+.2f} MiB, noise {noise / 2**20:.2f} MiB"
    )
    assert slope * len(memory) < MEMORY_GROWTH_MAX
