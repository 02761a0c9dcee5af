"""A strategy of a running session does not come back: the watchdog and an operator reach it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from onetape.domain.instrument import make_equity
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.runtime.config import SessionConfig
from onetape.runtime.realtime.clock import FeedClock
from onetape.runtime.realtime.control_socket import ask_session
from onetape.runtime.sessions.live_run import LiveParts, LiveResult, drive_live
from onetape.runtime.verification import Verdict, verify_tape
from tests.support.fake_feed import FakeFeed, list_bars
from tests.support.runs import make_walks

STOCKS = [make_equity(name, calendar="24/7") for name in ("A.TEST", "B.TEST")]
MINUTES = 12
BARS = MINUTES * len(STOCKS)

BODY = {
    "a loop": "while True:\n            pass",
    "asks ctx": "while True:\n            ctx.history(ctx.instruments[0], 5)",
    "asks ctx in one line": "return [ctx.mark(ctx.instruments[0]) for _ in iter(int, 1)]",
    "swallows": """while True:
            try:
                ctx.equity
            except Exception:
                ctx.signal('a', 1.0)""",
}

SOURCE = '''
from onetape.strategy.sdk import Strategy, state

class Sticks(Strategy):
    """Does not come back from its fourth {callback}."""

    calls: int = state(0)

    def {callback}(self, {arguments}):
        self.calls += 1
        if self.calls == {number}:
            ctx.buy(ctx.instruments[0], 3)
            {body}
        {returns}

    def on_slice(self, slice_, ctx):
        ctx.set_timer("soon", ctx.now + 10_000_000_000)
        ctx.buy(slice_.bars[0].instrument, 1)
'''

ARGUMENTS = {"on_bar": "bar, ctx", "on_timer": "name, ctx", "on_order_update": "update, ctx",
             "generate_orders": "ctx", "on_start": "ctx", "on_stop": "ctx"}  # fmt: skip


def write_strategy(folder: Path, callback: str, body: str) -> Path:
    file = folder / "sticks.py"
    file.write_text(
        SOURCE.format(
            callback=callback, arguments=ARGUMENTS[callback],
            body=BODY[body].replace("\n", "\n    "),
            number=1 if callback in ("on_start", "on_stop") else 4,
            returns="return []" if callback == "generate_orders" else "",
        )
    )  # fmt: skip
    return file


FEATURE_SOURCE = """
from onetape.domain.rules import rule
from onetape.features import Estimator, State

class LoopState(State):
    count: int = 0

@rule
def update_loop(state: LoopState, close: float) -> float:
    state.count += 1
    while state.count == 4:
        state.count += 0
    return close

class Loop(Estimator, frozen=True):
    update = staticmethod(update_loop)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> LoopState:
        return LoopState()
"""

WITH_FEATURE = """
from onetape.strategy.sdk import Strategy

class Sticks(Strategy):
    def features(self):
        return {"endless": Loop()}

    def on_bar(self, bar, ctx):
        ctx.buy(bar.instrument, 1)
"""


async def run(
    folder: Path, file: Path, callback_seconds: float, kill: bool
) -> tuple[LiveResult, dict[str, Any], dict[str, Any]]:
    """A session of two strategies over all bars; with `kill` an operator kills it while stuck."""
    clock = FeedClock()
    walks = make_walks(STOCKS, MINUTES, ts_start="2024-03-11T00:01:00Z", timeframe="1m",
                       length_ns=60 * NS_PER_SECOND)  # fmt: skip
    feed = FakeFeed(STOCKS, list_bars(walks))
    config = SessionConfig.model_validate({
        "mode": "paper", "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": "1m",
                 "instruments": [each.id for each in STOCKS]},
        "strategies": [
            {"name": "sticks", "capital": 100_000, "path": f"{file}:Sticks"},
            {"name": "sma_cross", "capital": 100_000, "params": {"fast": 2, "slow": 4}},
        ],
        "live": {"power_loss": False, "callback_seconds": callback_seconds, "stop_seconds": 1},
    })  # fmt: skip
    run_dir = folder / "run"
    run_dir.mkdir()
    operator = asyncio.create_task(asyncio.to_thread(operate_stuck, run_dir)) if kill else None
    await asyncio.sleep(0)  # its thread runs before the loop stands still
    task = asyncio.create_task(drive_live(config, run_dir, LiveParts(feed=feed, clock=clock)))

    async def operate() -> tuple[dict[str, Any], dict[str, Any]]:
        stuck: dict[str, Any] = {}
        killed: dict[str, Any] = {}
        while not (run_dir / "session.json").exists():
            await asyncio.sleep(0.01)
        if operator is not None:
            stuck, killed = await operator
        while True:
            status = await asyncio.to_thread(ask_session, run_dir, {"action": "status"})
            if status.get("bars") == BARS:
                await asyncio.to_thread(ask_session, run_dir, {"action": "stop"})
                return stuck, killed
            await asyncio.sleep(0.02)

    stuck, killed = await operate()
    return await task, stuck, killed


def operate_stuck(run_dir: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """What `status` and `kill` answer; in a thread, since the loop stands still."""
    while not (run_dir / "session.json").exists():
        sleep(0.01)
    while (status := dict(ask_session(run_dir, {"action": "status"})))["state"] != "stuck":
        sleep(0.01)
    return status, dict(ask_session(run_dir, {"action": "kill", "reason": "enough"}))


@pytest.mark.parametrize(
    ("callback", "body"),
    [
        ("on_bar", "a loop"), ("on_bar", "asks ctx"), ("on_bar", "asks ctx in one line"),
        ("on_bar", "swallows"), ("on_timer", "a loop"), ("on_order_update", "asks ctx"),
        ("generate_orders", "a loop"), ("on_start", "a loop"), ("on_stop", "a loop"),
    ],
)  # fmt: skip
def test_watchdog_takes_a_stuck_strategy_out(tmp_path: Path, callback: str, body: str) -> None:
    file = write_strategy(tmp_path, callback, body)
    result, _, _ = asyncio.run(run(tmp_path, file, 0.3, kill=False))
    (found,) = result.quarantined
    assert (found.strategy, found.callback) == ("sticks", callback)
    assert "did not come back within 0.3 s" in found.error
    assert found.where.startswith("sticks.py:")
    assert result.market_events == BARS
    verified = verify_tape(result.run_dir / "tape.db")
    assert verified.verdict is Verdict.IDENTICAL, verified.what


def test_watchdog_takes_out_a_strategy_whose_feature_does_not_come_back(tmp_path: Path) -> None:
    file = tmp_path / "sticks.py"
    file.write_text(FEATURE_SOURCE + WITH_FEATURE)
    result, _, _ = asyncio.run(run(tmp_path, file, 0.3, kill=False))
    (found,) = result.quarantined
    assert (found.strategy, found.callback) == ("sticks", "feature endless")
    assert "did not come back within 0.3 s" in found.error
    assert found.where.startswith("update_loop, line ")
    assert result.market_events == BARS
    verified = verify_tape(result.run_dir / "tape.db")
    assert verified.verdict is Verdict.IDENTICAL, verified.what


def test_kill_works_while_a_strategy_is_stuck(tmp_path: Path) -> None:
    file = write_strategy(tmp_path, "on_bar", "a loop")
    result, stuck, killed = asyncio.run(run(tmp_path, file, 30.0, kill=True))
    assert stuck["busy_seconds"] >= 1.5
    assert killed["done"]
    assert "was stuck" in killed["note"]
    assert [each.strategy for each in result.quarantined] == ["sticks"]
    verified = verify_tape(result.run_dir / "tape.db")
    assert verified.verdict is Verdict.IDENTICAL, verified.what
