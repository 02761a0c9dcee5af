"""Runs to replay: two instruments with gaps, two strategies that do a bit of everything."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.runtime.config import SessionConfig
from onetape.runtime.sessions.backtest_run import run_backtest
from tests.support.cli_data import make_rows, write_csv
from tests.support.killed_runs import STRATEGY

SWING = '''
from onetape.domain.market import Bar
from onetape.features.average import Ema, Sma
from onetape.features.estimator import FeatureMap
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Swing(Strategy):
    """In while the fast average is above the slow one."""

    size: float = param(10.0, gt=0)
    entries: int = state(0)
    best: float = state(0.0)
    is_in: bool = state(False)
    last: str = state("")

    def features(self) -> FeatureMap:
        return {"fast": Ema(2), "slow": Sma(6)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.best = max(self.best, bar.high)
        held = ctx.position(bar.instrument)
        if ctx.features.fast > ctx.features.slow and held == 0:
            ctx.buy(bar.instrument, self.size)
            self.entries += 1
            self.is_in = True
            self.last = bar.instrument
        elif ctx.features.fast < ctx.features.slow and held > 0:
            ctx.sell(bar.instrument, held)
            self.is_in = False
            ctx.signal("best", self.best)
'''


def make_config(**changes: Any) -> dict[str, Any]:
    """A configuration of both strategies on both instruments."""
    config: dict[str, Any] = {
        "mode": "backtest",
        "clock": {"type": "historical", "start": "2024-01-01", "end": "2025-01-01"},
        "data": {
            "instruments": ["WAVE.SIM", "HOLE.SIM"],
            "timeframe": "1d",
            "path": "data/catalog",
        },
        "execution": {
            "latency": {"mean_ms": 40_000, "std_ms": 30_000},
            "fees": {"model": "per_share", "rate": 0.01, "minimum": 1},
            "slippage": {"model": "fixed", "bps": 2},
        },
        "risk": {"max_orders_per_minute": 5, "max_leverage": 2},
        "strategies": [
            {"name": "busy", "path": "busy.py", "capital": 100_000, "instruments": ["WAVE.SIM"]},
            {"name": "swing", "path": "swing.py", "capital": 20_000},
        ],
        "output": {"snapshot_events": 80},
    }
    return config | changes


def import_bars(name: str, rows: Sequence[str]) -> None:
    """Daily bars into the catalog of the working directory."""
    write_csv(Path(f"{name}.csv"), list(rows))
    arguments = ["data", "import", f"{name}.csv", "--instrument", name, "--timeframe", "1d"]
    result = CliRunner().invoke(app, [*arguments, "--calendar", "24/7", "--tz", "UTC"])
    assert result.exit_code == 0, result.stderr


def write_run(days: int = 90, **changes: Any) -> Path:
    """A run in the working directory, with its catalog and strategies; its directory."""
    rows = make_rows(days)
    import_bars("WAVE.SIM", rows)
    import_bars("HOLE.SIM", [row for at, row in enumerate(rows) if at == 0 or at % 5 > 1])
    Path("busy.py").write_text(STRATEGY)
    Path("swing.py").write_text(SWING)
    return run(make_config(**changes))


def run(config: dict[str, Any], name: str = "run") -> Path:
    """Run a configuration; its directory."""
    folder = Path(name)
    folder.mkdir()
    run_backtest(SessionConfig.model_validate_json(json.dumps(config)), folder)
    return folder
