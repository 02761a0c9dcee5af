"""What a session says of bars from outside of the exchange's hours."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onetape.domain.instrument import make_equity
from onetape.domain.timestamps import from_iso
from onetape.domain.venue import BarClosed
from onetape.marketdata.feeds.port import FeedEvent, PassedOver, Take
from onetape.runtime.config import SessionConfig
from onetape.runtime.realtime.clock import FeedClock
from onetape.runtime.realtime.control_socket import ask_session
from onetape.runtime.realtime.passed_bars import PassedBars
from onetape.runtime.sessions.live_run import LiveParts, drive_live
from onetape.telemetry.session_news import News
from tests.support.fake_feed import FakeFeed

STOCK = make_equity("A.FAKE", calendar="hours:America/New_York:09:30-16:00")
MINUTE = 60_000_000_000
OPENS = from_iso("2024-03-11T13:30:00Z")  # a Monday


def passed(text: str) -> PassedOver:
    return PassedOver(STOCK.id, from_iso(text))


def test_reason_names_the_next_opening_until_a_bar_is_taken() -> None:
    bars = PassedBars([STOCK])
    assert bars.describe() == {"bars": 0, "why": ""}
    assert bars.take_news() == (0, "")
    bars.add(passed("2024-03-08T23:00:00Z"))
    bars.add(passed("2024-03-11T13:30:00Z"))  # the last minute before it opens
    assert bars.describe() == {"bars": 2, "why": (
        "bars of A.FAKE come from outside of its hours (hours:America/New_York:09:30-16:00), the "
        "newest of 2024-03-11T13:30:00Z; it opens at 2024-03-11T13:30:00Z: wait, or let a local "
        "venue begin there (--start)"
    )}  # fmt: skip
    assert bars.take_news() == (OPENS, bars.why)
    assert bars.take_news() == (0, "")  # it is told once
    bars.end()
    assert bars.describe() == {"bars": 2, "why": ""}
    bars.add(passed("2024-03-11T20:01:00Z"))
    assert "it opens at 2024-03-12T13:30:00Z" in bars.take_news()[1]  # and in the next evening


class StepFeed(FakeFeed):
    """Tells its events when it is let."""

    def __init__(self, *events: FeedEvent) -> None:
        super().__init__([STOCK], events)
        self.steps: asyncio.Queue[None] = asyncio.Queue()

    async def run(self, instruments: Any, timeframe: str, take: Take) -> None:
        for event in self._events:
            await self.steps.get()
            await take(event)
        await asyncio.Event().wait()


def test_session_tells_why_nothing_happens_and_has_no_time_before_a_bar(tmp_path: Path) -> None:
    config = SessionConfig.model_validate({
        "mode": "paper",
        "clock": {"type": "live", "source": "feed"},
        "data": {"source": "alpaca", "timeframe": "1m", "instruments": [STOCK.id]},
        "execution": {"venue": "simulated"},
        "risk": {"max_order_quantity": 100},
        "strategies": [{"name": "buy_and_hold", "capital": 1_000}],
        "live": {"power_loss": False},
    })  # fmt: skip
    bar = BarClosed(STOCK.id, OPENS, OPENS + MINUTE, 0, 0, 9.0, 9.0, 9.0, 9.0, 1.0)
    feed = StepFeed(passed("2024-03-11T13:29:00Z"), passed("2024-03-11T13:30:00Z"), bar)
    news: list[News] = []

    async def ask(bars: int, key: str) -> Mapping[str, Any]:
        while True:
            now = await asyncio.to_thread(ask_session, tmp_path, {"action": "status"})
            if bars == (now["bars"] if key == "taken" else now["passed_over"]["bars"]):
                return now
            await asyncio.sleep(0.01)

    async def run() -> None:
        parts = LiveParts(feed=feed, clock=FeedClock())
        session = asyncio.create_task(drive_live(config, tmp_path, parts, None, news.append))
        while not (tmp_path / "session.json").exists():
            await asyncio.sleep(0.01)
        for count in (1, 2):
            feed.steps.put_nowait(None)
            now = await ask(count, "passed")
            assert now["now"] is None
            assert now["passed_over"]["why"].startswith("bars of A.FAKE come from outside")
            assert now["heard_seconds"] < 5
            assert len(now["troubles"]) == 1
        feed.steps.put_nowait(None)
        now = await ask(1, "taken")
        assert now["now"].startswith("2024-03-11T13:31:00")
        assert not now["passed_over"]["why"]
        await asyncio.to_thread(ask_session, tmp_path, {"action": "stop"})
        await session

    asyncio.run(run())
    kinds = [each.kind for each in news]
    assert kinds.count("feed.passed_over") == 1
    lines = [str(each) for each in news]
    assert lines[0].startswith(f"{'-':20} info    session.started")
    assert lines[1].startswith("2024-03-11T13:29:00Z warning feed.passed_over bars of A.FAKE")
    assert not any("1970" in each for each in lines)
