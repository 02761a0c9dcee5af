"""What tests of pulling share: a requester that never waits, access, a source in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.timestamps import NS_PER_DAY, from_iso, timeframe_ns
from onetape.marketdata.sources.port import SourceAccess, SourcePage
from onetape.marketdata.sources.requester import Pace, Requester


@dataclass
class FakeTime:
    """A clock in seconds that only moves by sleeping; `slept` are the waits."""

    now_s: float = 0.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds


def make_requester(pace: Pace | None = None, time: FakeTime | None = None) -> Requester:
    time = time or FakeTime()
    pace = pace or Pace(per_minute=1e9, burst=1000, attempts=4)
    return Requester(
        pace, clock=time.clock, sleep=time.sleep, chance=lambda: 0.0, remedy="try later"
    )


def make_access(base_url: str = "", requester: Requester | None = None, **more) -> SourceAccess:
    return SourceAccess(requester=requester or make_requester(), base_url=base_url, **more)


@dataclass
class MemorySource:
    """Bars at every step of a grid but those in `holes`; remembers what it was asked.

    `factor` scales all prices, as after a split; `volume` is that of every bar.
    """

    name: str = "memory"
    adjustment: str = "none"
    ts_server: int | None = None
    first: int = 0
    last: int = 1 << 62
    holes: frozenset[int] = frozenset()
    factor: float = 1.0
    volume: float = 5.0
    page_bars: int = 7
    asked: list[tuple[int, int]] = field(default_factory=list)

    def define(self, instrument_id: InstrumentId) -> Instrument | None:
        return None

    def pages(
        self, instrument: Instrument, timeframe: str, start: int, end: int
    ) -> Iterator[SourcePage]:
        self.asked.append((start, end))
        step = timeframe_ns(timeframe)
        begin, stop = max(start, self.first), min(end, self.last)
        times = np.arange(-(-begin // step), -(-stop // step), dtype=np.int64) * step
        times = times[~np.isin(times, list(self.holes))]
        for at in range(0, len(times), self.page_bars):
            page = times[at : at + self.page_bars]
            price = 100.0 + page // step % 37
            yield SourcePage(
                times=page,
                values={
                    "open": price * self.factor,
                    "high": (price + 1) * self.factor,
                    "low": (price - 1) * self.factor,
                    "close": (price + 0.5) * self.factor,
                    "volume": np.full(len(page), self.volume),
                },
            )


def days(begin: str, end: str) -> tuple[int, int]:
    return from_iso(begin), from_iso(end)


DAY = NS_PER_DAY
