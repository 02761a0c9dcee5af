"""A local Alpaca in a thread, and `onetape live` at it: in this process or in one of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from onetape.domain.errors import OnetapeError
from onetape.marketdata.timeline import Timeline
from onetape.runtime.realtime.control_socket import ask_session
from tests.support.alpaca_venue import LocalAlpaca, local_alpaca

T = TypeVar("T")
_LIMIT_S = 60.0
_COMMAND = "from onetape.control.cli import main; main()"


class ThreadedAlpaca:
    """A venue that runs in a thread of its own, for sessions that block this one."""

    def __init__(self, world: LocalAlpaca, loop: asyncio.AbstractEventLoop) -> None:
        self.world = world
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Something in the venue's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LIMIT_S)

    def play_slices(self, count: int) -> None:
        """The next rows."""
        for _ in range(count):
            self.run(self.world.player.play_slice())


@contextmanager
def threaded_alpaca(timeline: Timeline, rows: int, **settings: Any) -> Generator[ThreadedAlpaca]:
    """A venue that has played so many rows."""
    ready, over = threading.Event(), threading.Event()
    found: list[ThreadedAlpaca] = []

    async def serve() -> None:
        async with local_alpaca(timeline, is_open=False, rows=rows, **settings) as world:
            found.append(ThreadedAlpaca(world, asyncio.get_running_loop()))
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert ready.wait(_LIMIT_S)
    try:
        yield found[0]
    finally:
        over.set()
        thread.join(_LIMIT_S)


def write_config(file: Path, url: str, **changes: Any) -> None:
    """A live session at `url`: right, but for `changes` (`a.b` is a key in a)."""
    keys = {"key": "env:LOCAL_KEY", "secret": "env:LOCAL_SECRET"}
    sections: dict[str, Any] = {
        "mode": "live",
        "clock": {"type": "live", "source": "feed"},
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": ["AAPL.ALPACA"],
                 "connection": {"url": url, **keys}},
        "execution": {"venue": "alpaca", "connection": {"url": url, **keys}},
        "risk": {"max_order_quantity": 100, "max_daily_loss_pct": 50},
        "strategies": [{"name": "sma_cross", "capital": 50_000,
                        "params": {"fast": 3, "slow": 8, "quantity": 10}}],
        "live": {"power_loss": False, "without_backtest": True},
    }  # fmt: skip
    for path, value in changes.items():
        *parents, name = path.split(".")
        section = sections
        for each in parents:
            section = section[each]
        section[name] = value
    file.write_text(json.dumps(sections))


class LiveProcess:
    """`onetape live` in a process of its own, in the folder where its configuration is."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self._folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "live", *arguments],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    @property
    def run_dir(self) -> Path:
        """Where it runs."""
        (found,) = self._folder.glob("runs/*/")
        return found

    def until_trading(self, bars: int) -> Mapping[str, Any]:
        """Its status when it has so many bars and may open positions."""
        now: Mapping[str, Any] = {}
        end = time.monotonic() + _LIMIT_S
        while time.monotonic() < end:
            assert self.process.poll() is None, self.process.communicate()[0]
            try:
                now = ask_session(self.run_dir, {"action": "status"})
            except (OnetapeError, ValueError):
                now = {}
            if now.get("state") == "running" and now["bars"] >= bars and not now["paused"]:
                return now
            time.sleep(0.02)
        raise AssertionError(f"{bars} bars have not come: {now}")

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.communicate()

    def stop(self) -> int:
        """Ask it to stop; its exit code."""
        ask_session(self.run_dir, {"action": "stop"})
        self.process.communicate(timeout=_LIMIT_S)
        return self.process.returncode
