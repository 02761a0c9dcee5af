"""Paper and live on quotes and trades of a local Alpaca, through Alpaca's own client library."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from onetape.domain.market import Quality, QuoteTick, TradeTick
from onetape.domain.timestamps import NS_PER_SECOND, from_iso
from onetape.domain.venue import TickHeard
from onetape.marketdata.tick_timeline import build_quote_timeline
from onetape.marketdata.timeline import Timeline
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.opening import open_tape
from tests.live.test_recorded_ticks import STRATEGY
from tests.live.test_session_alpaca import read_fills
from tests.support.alpaca_venue import AAPL, ACCOUNT, OPEN, LocalAlpaca, local_alpaca
from tests.support.live_sessions import RunningSession, make_config

ROWS = 160
LEFT = 20


def make_ticks() -> Timeline:
    """A quote every second, and a print half a second behind every other one."""
    at = from_iso(OPEN) + np.arange(ROWS) * NS_PER_SECOND
    middle = 100 + np.cumsum(np.random.default_rng(3).integers(-2, 3, ROWS)) / 100
    sizes = {"bid_size": np.full(ROWS, 300.0), "ask_size": np.full(ROWS, 200.0)}
    quotes = {"ts_event": at, "bid": np.round(middle - 0.01, 2), "ask": np.round(middle + 0.01, 2)}
    prints = {"ts_event": at[::2] + NS_PER_SECOND // 2, "price": np.round(middle[::2], 2),
              "size": np.full(ROWS // 2, 50.0)}  # fmt: skip
    return build_quote_timeline([(AAPL, quotes | sizes)], source="test",
                                trades={AAPL.id: prints})  # fmt: skip


def is_heard(world: LocalAlpaca) -> bool:
    return any(each._wanted["quotes"] for each in world.server._market)


async def run_session(mode: str, run_dir: Path, strategy: Path) -> None:
    timeline = make_ticks()
    async with local_alpaca(timeline, rows=1, is_open=False) as world:
        run_dir.mkdir()
        config = make_config(
            world, mode,
            data={"source": "alpaca", "timeframe": "quotes+trades", "instruments": [AAPL.id]},
            strategies=[{"name": "busy", "path": f"{strategy}:Busy", "capital": 50_000,
                         "params": {"quantity": 5}}],
        )  # fmt: skip
        session = RunningSession(world, config, run_dir)
        await session.until(0, **({"paused": []} if mode == "live" else {}))
        await world.until(lambda: is_heard(world), "the feed")
        for played in range(1, len(timeline) - LEFT):
            if played == 101:  # what is told while nobody listens can be had again, but not quotes
                await world.server.restart(0.05)
            await world.player.play_rows(1)
            if played == 103:
                await world.until(lambda: is_heard(world), "the feed again")
            if session.is_live and not 101 <= played < 103:
                await session.agree()
        await session.until(len(timeline) - LEFT - 8)
        await session.ask("stop")
        while not session.task.done() and await world.player.play_rows(1):
            await asyncio.sleep(0.05)  # a cancel is answered by the next row
        assert (await asyncio.wait_for(session.task, 30)).reason == "stopped by an operator"
        if mode == "live":
            lots = sum(side * lots for side, lots, _ in read_fills(run_dir))
            held = world.exchange.books(ACCOUNT).positions.get(AAPL.id)
            assert lots == (held.lots if held is not None else 0)


def test_paper_and_live_on_ticks_verify(tmp_path: Path) -> None:
    strategy = tmp_path / "busy.py"
    strategy.write_text(STRATEGY, encoding="utf-8")
    for mode in ("paper", "live"):
        asyncio.run(run_session(mode, tmp_path / mode, strategy))
        assert len(read_fills(tmp_path / mode)) >= 4
        found = verify_tape(tmp_path / mode / "tape.db")
        assert found.verdict is Verdict.IDENTICAL, found.what
        reader = open_tape(tmp_path / mode / "tape.db")
        ticks = [each.payload.tick for each in reader.events()
                 if isinstance(each.payload, TickHeard)]  # fmt: skip
        reader.close()
        ids = [each.trade_id for each in ticks if isinstance(each, TradeTick)]
        assert len(set(ids)) == len(ids)
        gaps = [each for each in ticks if each.quality & Quality.GAP_BEFORE]
        assert [type(each) for each in gaps] == [QuoteTick]
