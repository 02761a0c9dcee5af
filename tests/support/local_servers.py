"""Local venues for tests: in the test's loop, in a thread beside it, or in a process of their own.

In the loop where the client is code of the test. In a thread where the client is another process
that may be killed, and the test wants to step the venue and to look at its books. In a process
where the venue itself is killed.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from onetape.marketdata.timeline import Timeline
from onetape.runtime.local_venues.messages import Books
from onetape.runtime.local_venues.names import ACCOUNT, LOOPBACK, VenueName
from onetape.runtime.local_venues.serving import LocalTerms, LocalVenue

SRC = Path(__file__).resolve().parents[2] / "src"
_START_S = 30.0
T = TypeVar("T")


@asynccontextmanager
async def serving(
    name: VenueName, timeline: Timeline, terms: LocalTerms | None = None
) -> AsyncGenerator[LocalVenue]:
    """A local venue in the running loop; it plays when the test says so (`venue.player`)."""
    venue = LocalVenue(name, timeline, terms)
    await venue.start()
    try:
        yield venue
    finally:
        await venue.close()


class ThreadedVenue:
    """A local venue in a thread; every method waits until it is done there."""

    def __init__(self, name: VenueName, timeline: Timeline, terms: LocalTerms | None) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.venue = self.call(self._build(name, timeline, terms))

    async def _build(
        self, name: VenueName, timeline: Timeline, terms: LocalTerms | None
    ) -> LocalVenue:
        venue = LocalVenue(name, timeline, terms)
        await venue.start()
        return venue

    def call(self, work: Coroutine[Any, Any, T], timeout_s: float = 60.0) -> T:
        """Run a coroutine in the venue's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    @property
    def url(self) -> str:
        """Base address of requests."""
        return f"http://{LOOPBACK}:{self.venue.port}"

    def books(self) -> Books:
        """The account's, exactly."""

        async def look() -> Books:
            return self.venue.exchange.books(ACCOUNT)

        return self.call(look())

    def play_rows(self, count: int = 1) -> int:
        """Play so many rows; returns how many there were."""
        return self.call(self.venue.player.play_rows(count))

    def play_until(self, ts: int) -> None:
        """Play everything up to `ts` (ns UTC)."""
        self.call(self.venue.player.play_until(ts))

    def restart(self, down_s: float = 0.0) -> None:
        """Drop all connections."""
        self.call(self.venue.server.restart(down_s))

    def close(self) -> None:
        """Serve no more, and end the thread."""
        self.call(self.venue.close())
        self.call(_settle())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


async def _settle() -> None:
    """Let canceled tasks and closed transports end."""
    others = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
    for each in others:
        each.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()


@contextmanager
def serving_in_thread(
    name: VenueName, timeline: Timeline, terms: LocalTerms | None = None
) -> Generator[ThreadedVenue]:
    """A local venue in a thread."""
    venue = ThreadedVenue(name, timeline, terms)
    try:
        yield venue
    finally:
        venue.close()


class VenueProcess:
    """`onetape venue` as a process; `kill` is SIGKILL, `stop` what Ctrl-C does."""

    def __init__(self, name: VenueName, data: Path, options: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from onetape.control.cli import main; main()", "venue",
             name.value, "--data", str(data), "--port", "0", *options],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
            env={**os.environ, "PYTHONPATH": str(SRC), "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        found = re.search(rf"{re.escape(LOOPBACK)}:(\d+)", first)
        if found is None:
            raise AssertionError(first + self.process.communicate(timeout=_START_S)[1])
        self.port = int(found[1])
        self.url = f"http://{LOOPBACK}:{self.port}"

    def stop(self, signal: int) -> tuple[str, str, int]:
        """(what it printed, its errors, exit code) after a signal."""
        self.process.send_signal(signal)
        return self.wait()

    def wait(self) -> tuple[str, str, int]:
        """(what it printed, its errors, exit code) at its end."""
        out, err = self.process.communicate(timeout=_START_S)
        return out, err, self.process.returncode

    def end(self) -> None:
        """Make sure that it is gone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


@contextmanager
def serving_in_process(name: VenueName, data: Path, *options: str) -> Generator[VenueProcess]:
    """A local venue in its own process, over a catalog or a configuration."""
    process = VenueProcess(name, data, options)
    try:
        yield process
    finally:
        process.end()
