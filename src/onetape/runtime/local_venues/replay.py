"""Plays a local exchange in wall time: by a speed, as fast as it goes, or as a test says.

At a speed the virtual clock follows the wall clock, and a command arrives at the virtual time of
its receipt. As fast as it goes, and under a test's control, the clock stands at what was played
last. A *barrier* makes it wait after everything that it tells, until whoever listens is through.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from onetape.domain.errors import ConfigError
from onetape.runtime.local_venues.exchange import LocalExchange

NS_PER_S = 1_000_000_000
Barrier = Callable[[], Awaitable[None]]
"""Returns when whoever listens has caught up with what was told."""


class WallClock(Protocol):
    """What the player knows of real time."""

    def monotonic_ns(self) -> int:
        """A clock that never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The clock of this machine."""

    def monotonic_ns(self) -> int:
        """A clock that never goes back."""
        return time.monotonic_ns()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class Player:
    """Steps an exchange through its rows.

    Args:
        exchange: What is played.
        speed: Virtual seconds in a real one; 0: as fast as it goes.
        gap_max_s: Virtual seconds that a longer pause of the data (a night) takes; 0: all of it.
        clock: Real time.

    Attributes:
        barriers: Awaited, one after the other, after reports of orders were told and after each
            row, except where `sync` has to play.

    Raises:
        ConfigError: The speed or the longest gap is negative.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        speed: float = 0.0,
        *,
        gap_max_s: float = 0.0,
        clock: WallClock | None = None,
    ) -> None:
        if not 0 <= speed < float("inf") or not 0 <= gap_max_s < float("inf"):
            raise ConfigError(
                f"a speed of {speed} and gaps of at most {gap_max_s} s",
                remedy="give 0 or more: 1 is as it was, 100 a hundred times faster, 0 the fastest",
            )
        self._exchange = exchange
        self._speed = speed
        self._gap_max_ns = int(gap_max_s * NS_PER_S)
        self._clock = clock or SystemClock()
        self._origin: tuple[int, int] | None = None
        self.barriers: list[Barrier] = []

    @property
    def is_over(self) -> bool:
        """Whether the last row was played."""
        return self._exchange.rows_played == self._exchange.rows_total

    def sync(self) -> int:
        """Bring the exchange to the virtual time of this moment, and return that (ns UTC).

        A server calls it before it handles a command.
        """
        if self._origin is not None:
            self._exchange.advance(self._virtual_now())
        return self._exchange.now

    async def run(self) -> None:
        """Play to the end, at the speed; may be canceled and called again."""
        exchange = self._exchange
        if self._speed:
            self._origin = (self._clock.monotonic_ns(), exchange.now)
        try:
            while (ts := exchange.next_ts) is not None:
                if self._speed:
                    self._shorten_gap(ts)
                    wait_ns = (ts - self._virtual_now()) / self._speed
                    if wait_ns > 0:
                        await self._clock.sleep(wait_ns / NS_PER_S)
                        continue  # a command may have come that arrives earlier
                await self._play_next(ts)
                await asyncio.sleep(0)
        finally:
            self._origin = None

    async def play_until(self, ts: int) -> None:
        """Play everything up to `ts` (ns UTC, included) as fast as it goes, and stand there."""
        while (following := self._exchange.next_ts) is not None and following <= ts:
            await self._play_next(following)
        self._exchange.advance(ts)

    async def play_rows(self, count: int = 1) -> int:
        """Play so many rows as fast as it goes; returns how many there were."""
        stop = min(self._exchange.rows_played + count, self._exchange.rows_total)
        before = self._exchange.rows_played
        while self._exchange.rows_played < stop and (ts := self._exchange.next_ts) is not None:
            await self._play_next(ts)
        return self._exchange.rows_played - before

    async def play_slice(self) -> int:
        """Play all rows of the next time; returns how many there were."""
        ts = self._exchange.next_row_ts
        if ts is None:
            return 0
        before = self._exchange.rows_played
        await self.play_until(ts)
        return self._exchange.rows_played - before

    async def _play_next(self, ts: int) -> None:
        """The next thing that happens: an arrival, or a row with what comes of it."""
        exchange = self._exchange
        said = exchange.updates
        if exchange.next_row_ts != ts:
            exchange.advance(ts)
            await self._wait(said)
        elif exchange.match_row():
            await self._wait(said)
            exchange.tell_row()
            await self._wait(-1)

    async def _wait(self, said: int) -> None:
        if self._exchange.updates != said:
            for barrier in tuple(self.barriers):
                await barrier()

    def _virtual_now(self) -> int:
        if self._origin is None:
            return self._exchange.now
        wall, virtual = self._origin
        return virtual + int((self._clock.monotonic_ns() - wall) * self._speed)

    def _shorten_gap(self, ts: int) -> None:
        """Let the virtual clock jump where nothing happens for longer than is wanted."""
        if not self._gap_max_ns or self._origin is None:
            return
        now = self._virtual_now()
        if ts - self._exchange.now > self._gap_max_ns and ts - now > self._gap_max_ns:
            wall, virtual = self._origin
            self._origin = (wall, virtual + ts - now - self._gap_max_ns)
