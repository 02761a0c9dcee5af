"""Hosts that make up the outcome of a set, and a world to sweep in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from onetape.domain.errors import StrategyError
from onetape.portfolio.performance_summary import PerformanceSummary
from onetape.research.sweep_plan import SweepPlan, make_plan
from onetape.research.sweep_run import (
    CompileHost,
    SweepProgress,
    SweepResult,
    SweepWatch,
    run_sweep,
)
from onetape.runtime.config import load_config
from onetape.runtime.set_outcome import SetOutcome
from onetape.strategy.checks.finding import Finding

PERIODS = 40
NOW = datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC)


def make_outcome(seed: int = 0, **changed: Any) -> SetOutcome:
    """An outcome of made-up figures, the same for the same seed; `changed` are figures of it."""
    random = np.random.default_rng(seed)
    returns = random.normal(0.001, 0.01, PERIODS)
    net = Decimal(int(random.integers(-(10**12), 10**12))).scaleb(-8)
    figures: dict[str, Any] = {
        "ts_start": 1_704_067_200_000_000_000,
        "ts_end": 1_707_523_200_000_000_000,
        "slices": PERIODS,
        "returns_clock": "1d",
        "periods_per_year": 365.0,
        "periods": PERIODS,
        "deposited": Decimal(10_000),
        "equity": Decimal(10_000) + net,
        "net_profit": net,
        "total_return": float(random.normal()),
        "annual_return": float(random.normal()),
        "annual_volatility": 0.2,
        "sharpe_ratio": float(random.normal()),
        "sortino_ratio": float("nan"),
        "calmar_ratio": float(random.normal()),
        "max_drawdown": -float(random.uniform(0, 0.5)),
        "max_drawdown_duration_ns": 86_400_000_000_000,
        "max_drawdown_slices": 1,
        "time_exposure_ratio": 0.5,
        "average_gross_exposure_ratio": 0.25,
        "annual_turnover_ratio": 3.0,
        "round_trips": int(random.integers(0, 100)),
        "open_round_trips": 0,
        "win_ratio": 0.5,
        "profit_factor": 1.5,
        "expectancy": 2.0,
        "average_duration_ns": 86_400_000_000_000,
        "best_round_trip": Decimal("1.5"),
        "worst_round_trip": None,
        "fills": 20,
        "traded_notional": Decimal("123456.78"),
        "fees": Decimal("12.00000001"),
        "fee_turnover_ratio": 0.0001,
    }
    return SetOutcome(
        summary=PerformanceSummary(**(figures | changed)), returns=returns, orders=7, denied=1
    )


@dataclass
class FakeHost:
    """Answers at once, and remembers what it was asked.

    `outcome` makes the outcome of a set; `interrupt_at` raises KeyboardInterrupt instead of
    answering the n-th question (from 1).
    """

    outcome: Callable[[Mapping[str, Any]], SetOutcome] = lambda params: make_outcome(
        sum(int(1000 * float(value)) * (at + 7) for at, value in enumerate(params.values()))
    )
    interrupt_at: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)

    def run(self, params: Mapping[str, Any], /) -> SetOutcome:
        self.asked.append(dict(params))
        if len(self.asked) == self.interrupt_at:
            raise KeyboardInterrupt
        return self.outcome(params)

    def build(self, *_: Any) -> FakeHost:
        """Stands in for what makes the compiled host."""
        return self


class NotCompilable(StrategyError):
    """As the compiled host says that it can't."""

    findings = (Finding(12, "no-dict", "a dict", "use params"),)


def refuse_to_compile(*_: Any) -> Any:
    """A compiled host that can't."""
    raise NotCompilable("Mine does not compile: a dict", where="mine.py:12", remedy="use params")


@dataclass
class Watcher:
    """Keeps what it is told."""

    progress: list[SweepProgress] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def watch(self) -> SweepWatch:
        return SweepWatch(on_progress=self.progress.append, on_note=self.notes.append)


def plan_wave(
    *params: str, where: str = "", metric: str = "sharpe", overrides: tuple[str, ...] = ()
) -> SweepPlan:
    """A plan on run.yaml of the working directory (see `cli_data.import_wave`)."""
    config = load_config(Path("run.yaml"), overrides, os.environ)
    return make_plan(config, params or ["fast=2:10:1", "slow=4:20:2"], where, metric)


def run_fake(
    plan: SweepPlan,
    compile_host: CompileHost | None = None,
    *,
    watcher: Watcher | None = None,
    **how: Any,
) -> SweepResult:
    """Run a plan in a fake of the compiled host."""
    watcher = watcher or Watcher()
    host = compile_host or FakeHost().build
    return run_sweep(plan, now=NOW, compile_host=host, watch=watcher.watch, **{"workers": 1} | how)
