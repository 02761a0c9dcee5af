"""Runs that a test kills: a catalog, a busy configuration, and processes that start quickly."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onetape.research.artifacts import write_artifacts
from onetape.runtime.config import SessionConfig
from onetape.runtime.sessions.backtest_run import BacktestResult, run_backtest
from onetape.runtime.sessions.resume import resume_backtest
from onetape.tape import store
from onetape.tape.opening import open_tape, tape_path
from onetape.tape.postgres_store import PostgresTape
from onetape.tape.sqlite_store import SqliteTape
from tests.support.cli_data import import_wave

BLOCK_EVENTS = 40
"""Small blocks, so that a short run commits often."""

STRATEGY = '''
from onetape.domain.events import OrderEvent
from onetape.domain.market import Bar
from onetape.features.average import Sma
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Busy(Strategy):
    """Orders of every kind, cancels, replaces, timers and state."""

    bars: int = state(0)
    updates: int = state(0)
    resting: str = state("")

    def features(self) -> FeatureMap:
        return {"slow": Sma(5)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        price = ctx.round_price(bar.instrument, bar.close * 0.995, 1)
        if self.resting and self.bars % 3 == 0:
            ctx.cancel(self.resting)
        if self.bars % 4 == 1:
            self.resting = ctx.buy(bar.instrument, 5, limit=price)
        elif self.bars % 4 == 2 and self.resting:
            ctx.replace(self.resting, bar.instrument, quantity=7)
        elif self.bars % 7 == 0:
            ctx.target(bar.instrument, self.updates % 50)
        if self.bars % 5 == 0:
            ctx.set_timer("later", ctx.now + 3_600_000_000_000)

    def on_timer(self, name: str, ctx: Context) -> None:
        ctx.signal("updates", self.updates)

    def on_order_update(self, update: OrderEvent, ctx: Context) -> None:
        self.updates += 1
'''


def write_run(folder: Path, days: int) -> Path:
    """A catalog and a configuration in `folder`, the working directory; the path of the latter."""
    import_wave(days)
    (folder / "busy.py").write_text(STRATEGY)
    config = folder / "busy.json"
    config.write_text(
        json.dumps(
            {
                "mode": "backtest",
                "clock": {"type": "historical", "start": "2024-01-01", "end": "2030-01-01"},
                "data": {"instruments": ["WAVE.SIM"], "timeframe": "1d", "path": "data/catalog"},
                "execution": {
                    "latency": {"mean_ms": 40_000, "std_ms": 30_000},
                    "fees": {"model": "per_share", "rate": 0.01, "minimum": 1},
                    "slippage": {"model": "fixed", "bps": 2},
                },
                "risk": {"max_orders_per_minute": 5, "max_drawdown_pct": 90},
                "strategies": [{"name": "busy", "path": "busy.py", "capital": 100_000}],
                "output": {"snapshot_events": 100},
            }
        )
    )
    return config


Death = tuple[int, bool] | None
"""At which write of the tape a process kills itself, and whether after it."""


def run(config: str, run_dir: str, die: Death = None) -> None:
    """A whole run with its artifacts, in a process that may be killed."""
    _prepare(die)
    parsed = SessionConfig.model_validate_json(Path(config).read_bytes())
    _finish(run_backtest(parsed, Path(run_dir)))


def resume(run_dir: str, die: Death = None) -> None:
    """The rest of a run with its artifacts, in a process that may be killed."""
    _prepare(die)
    _finish(resume_backtest(Path(run_dir)))


def _prepare(die: Death) -> None:
    store.BLOCK_EVENTS = BLOCK_EVENTS
    if die is None:
        return
    at, after = die
    writes = 0

    def deadly(write: Callable[..., None]) -> Callable[..., None]:
        def write_or_die(*args: Any) -> None:
            nonlocal writes
            writes += 1
            if writes - 1 == at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            write(*args)
            if writes - 1 == at:
                os.kill(os.getpid(), signal.SIGKILL)

        return write_or_die

    for kind in (SqliteTape, PostgresTape):
        for name in ("_store", "_store_snapshot"):
            setattr(kind, name, deadly(getattr(kind, name)))


def _finish(result: BacktestResult) -> None:
    reader = open_tape(tape_path(result.run_dir))
    write_artifacts(result.run_dir, result.timeline, reader.events(), digest=result.digest)
    reader.close()


def make_processes() -> Any:
    """A context whose processes are forked from one that has all modules loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context
