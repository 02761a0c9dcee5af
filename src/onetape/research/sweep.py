"""Sweeps: one strategy, many sets of params, each a whole backtest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from onetape.domain.errors import ConfigError
from onetape.research.sweep_plan import SweepPlan, make_plan
from onetape.research.sweep_report import write_sweep_report
from onetape.research.sweep_run import HostChoice, run_sweep
from onetape.runtime.config import SessionConfig, load_config

if TYPE_CHECKING:
    import polars as pl


def sweep(
    config: SessionConfig | Path | str,
    params: Mapping[str, object],
    *,
    where: str | None = None,
    metric: str = "sharpe",
    workers: int | None = None,
    host: HostChoice = "auto",
    overrides: Sequence[str] = (),
    resume: Path | str | None = None,
    yes: bool = False,
) -> pl.DataFrame:
    """Run every combination of some params of a strategy.

    Args:
        config: A configuration or its file, with one enabled strategy.
        params: Values by param: a range, any iterable in order, one value, or text like `5:50:5`.
        where: A condition on the params, like `fast < slow`.
        metric: What ranks the sets: a figure of a run, or a short name like sharpe or drawdown.
        workers: How many threads (compiled host) or processes (Python host); None: one a core.
        host: `auto` is the compiled host where the strategy can be compiled.
        overrides: `key=value` texts for a configuration file, as with `--set`.
        resume: Directory of the same sweep, interrupted.
        yes: Run more than a million combinations.

    Returns:
        One row a set, in the order of the grid: its params, every figure of the run, `orders`,
        `denied`, `quarantined`, `failed`. The same is in `sets.parquet` of the sweep's directory in
        `output.path`, with the report.

    Raises:
        ConfigError: Something of the input makes no sense.
        DataError: The catalog lacks what is asked for.
        StrategyError: The strategy can't be loaded, or not be compiled where that is asked for.
        TryAgain: The disk is full, or workers are lost; what is done is kept.
        SweepInterrupted: By Ctrl-C; what is done is kept.
    """
    import polars as pl

    if not isinstance(config, SessionConfig):
        config = load_config(Path(config), overrides, os.environ)
    plan = make_plan(config, params, where, metric)
    if plan.is_large and not yes:
        raise refuse_large(plan)
    result = run_sweep(
        plan,
        now=datetime.now(UTC),
        workers=workers,
        host=host,
        resume=Path(resume) if resume else None,
    )
    write_sweep_report(result)
    return pl.read_parquet(result.directory / "sets.parquet")


def refuse_large(plan: SweepPlan) -> ConfigError:
    """What is said about a grid that nobody has said yes to."""
    return ConfigError(
        f"the grid has {plan.grid.combinations:,} combinations, --where not considered",
        remedy="make it coarser, or say --yes",
    )
