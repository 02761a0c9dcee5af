"""Ticks that Binance told on 2024-08-08 through a local venue: quotes, depth, and prints between.

The real client library hears them from a server that speaks Binance's protocol; a paper session on
them verifies, and the backtest of its tape says the same.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from onetape.domain.events import OrderFilled
from onetape.domain.market import BookDelta, QuoteTick, TickKind, TradeTick
from onetape.domain.numbers import E8
from onetape.domain.venue import TickHeard
from onetape.execution.simulated.fees import BpsFees
from onetape.marketdata.feeds.binance import BinanceFeed
from onetape.marketdata.feeds.binance_client import BinanceSettings
from onetape.marketdata.timeline import Timeline
from onetape.runtime.config import SessionConfig
from onetape.runtime.parity.sentinel import check_parity
from onetape.runtime.realtime.clock import FeedClock
from onetape.runtime.sessions.live_run import LiveParts
from onetape.runtime.verification import Verdict
from onetape.tape.opening import open_tape
from tests.live.test_day_of_data import DaySession, Venue
from tests.support.binance_live import World as LocalBinance
from tests.support.recorded_depth import BTCUSDT, read_book, read_quotes
from tests.support.shared_data import needs_shared

pytestmark = needs_shared

STRATEGY = '''
from onetape.domain.market import BookDelta, MarketEvent, QuoteTick, TradeTick
from onetape.domain.orders import Side
from onetape.features.average import Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Busy(Strategy):
    """In and out by the count of ticks; a limit rests at the mark between."""

    every: int = param(8, ge=1)
    quantity: float = param(0.01, gt=0)
    heard: int = state(0)

    def features(self):
        return {"mark": Sma(5), "size": Sma(5, inputs=("size",))}

    def on_market_event(self, event: MarketEvent, ctx: Context) -> None:
        self.heard += 1
        if self.heard % self.every or ctx.features.mark != ctx.features.mark:
            return
        name = event.instrument
        waiting = ctx.open_orders(name)
        for each in waiting:
            ctx.cancel(each.client_order_id)
        if waiting:
            return
        if ctx.position(name):
            ctx.sell(name, ctx.position(name))
        elif self.heard // self.every % 2:
            ctx.buy(name, self.quantity)
        else:
            ctx.buy(name, self.quantity, limit=ctx.round_price(name, ctx.mark(name), Side.BUY))
'''

SECONDS = 6.0


async def run_paper(timeline: Timeline, timeframe: str, run_dir: Path, strategy: Path) -> None:
    world = LocalBinance(timeline=timeline, fees=BpsFees(maker_bps=0, taker_bps=0),
                         cash={"USD": 100_000 * E8})  # fmt: skip
    async with world.serve():
        run_dir.mkdir()
        settings = BinanceSettings(base_url=world.server.rest_url)
        feed = BinanceFeed(settings, clock=lambda: world.exchange.now)
        parts = LiveParts(feed=feed, clock=FeedClock())
        config = SessionConfig.model_validate(
            {
                "mode": "paper",
                "clock": {"type": "live"},
                "data": {"source": "binance", "timeframe": timeframe, "instruments": [BTCUSDT]},
                "execution": {"venue": "simulated", "latency": {"mean_ms": 20, "std_ms": 5}},
                "risk": {"max_order_quantity": 1},
                "output": {"snapshot_events": 500},
                "strategies": [{"name": "busy", "path": f"{strategy}:Busy", "capital": 40_000}],
                "live": {"power_loss": False, "stop_seconds": 2},
            }
        )  # fmt: skip
        session = DaySession(Venue(world, "me"), config, parts, run_dir)
        await session.until(0)
        await world.until(lambda: any(each.streams for each in world.server._sockets))
        while await world.player.play_slice():
            await asyncio.sleep(0)
        ticks = len(timeline)
        if timeframe == "trades":
            ticks = int((timeline.columns["what"] == TickKind.PRINT).sum())
        # The snapshot of the depth holds what has changed before the subscription stood.
        assert (await session.until(int(ticks * 0.95)))["dropped"] == 0
        await session.ask("stop")
        # A cancel is answered by the next tick, and none follows: an order may be left open.
        result = await asyncio.wait_for(session.task, 60)
        assert result.reason.startswith("stopped by an operator")


@pytest.mark.parametrize(
    ("timeframe", "kinds"),
    [("trades", {TradeTick}), ("quotes+trades", {QuoteTick, TradeTick}),
     ("book+trades", {BookDelta, TradeTick})],
)  # fmt: skip
def test_paper_on_recorded_ticks_verifies_and_its_backtest_says_the_same(
    timeframe: str, kinds: set[type], tmp_path: Path
) -> None:
    strategy = tmp_path / "busy.py"
    strategy.write_text(STRATEGY, encoding="utf-8")
    timeline = read_book(SECONDS) if "book" in timeframe else read_quotes(SECONDS)
    run_dir = tmp_path / "run"
    asyncio.run(run_paper(timeline, timeframe, run_dir, strategy))
    reader = open_tape(run_dir / "tape.db")
    try:
        payloads = [each.payload for each in reader.events()]
    finally:
        reader.close()
    heard = [each.tick for each in payloads if isinstance(each, TickHeard)]
    assert {type(each) for each in heard} == kinds
    assert sum(isinstance(each, OrderFilled) for each in payloads) > 3
    found = check_parity(run_dir / "tape.db")
    assert found.verification.verdict is Verdict.IDENTICAL, found.verification.what
    assert found.no_backtest == ""
    assert found.is_backtest_same
    assert found.comparison is not None
