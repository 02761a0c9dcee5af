"""The tables of a sweep as rows of text, for the terminal, HTML and markdown alike."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from onetape.research import report_format as text
from onetape.research.report_tables import Table
from onetape.research.result_table import Row
from onetape.research.sweep_frame import NUMBER, name_column
from onetape.research.sweep_metric import METRICS
from onetape.research.sweep_neighbors import MEANING, Neighborhood
from onetape.research.sweep_run import SweepResult

if TYPE_CHECKING:
    import polars as pl

_MAX_TROUBLES = 10
_MAX_LISTED = 12
_BESIDE = ("total_return", "sharpe_ratio", "max_drawdown", "round_trips", "annual_turnover_ratio")


def rerun_commands(result: SweepResult, source: Sequence[str]) -> list[str]:
    """The commands that run the best sets again as full backtests.

    Args:
        result: The sweep.
        source: Configuration and options that the sweep was given; none: its own config.json.
    """
    plan = result.plan
    given = source or [str(result.directory / "config.json")]
    commands: list[str] = []
    for row in result.best.iter_rows(named=True):
        overrides = plan.overrides({name: row[name_column(name)] for name in plan.grid.names})
        options = [part for each in overrides for part in ("--set", each)]
        commands.append(shlex.join(["onetape", "backtest", *given, *options]))
    return commands


def best_table(result: SweepResult, near: Sequence[Neighborhood]) -> Table:
    """The best sets: their params, the metric, what it is over the neighbors, other figures."""
    plan = result.plan
    metric = plan.metric
    beside = [METRICS[name] for name in _BESIDE if name != metric.field]
    columns = (
        "", *plan.grid.names, metric.label, "Median of neighbors", "Worst of neighbors",
        *(each.label for each in beside),
    )  # fmt: skip
    rows = [
        (
            str(place),
            *(show_value(row[name_column(name)]) for name in plan.grid.names),
            metric.show(row[metric.field]),
            metric.show(around.median),
            metric.show(around.worst),
            *(each.show(row[each.field]) for each in beside),
        )
        for place, (row, around) in enumerate(
            zip(result.best.iter_rows(named=True), near, strict=True), start=1
        )
    ]
    return Table(columns, rows, 1, MEANING)


def verdict_rows(result: SweepResult) -> list[Row]:
    """How much of the best result is luck, as figures."""
    verdict = result.verdict
    year = math.sqrt(result.best["periods_per_year"][0] or math.nan)
    return [
        Row("Trials so far", text.count(verdict.trials)),
        Row("Sharpe expected by luck", text.ratio(verdict.expected_max_sharpe * year)),
        Row("Deflated Sharpe ratio", text.percent(verdict.dsr, 1)),
        Row("Probability of overfitting", text.percent(verdict.pbo, 1)),
    ]


def facts_table(result: SweepResult) -> Table:
    """What was run."""
    plan, counts = result.plan, result.plan.counts
    rows = [
        ("Strategy", plan.strategy.name),
        *((f"Values of {axis.name}", _list(axis.values)) for axis in plan.grid.axes),
        ("Condition", plan.where.text if plan.where else "none"),
        ("Metric", f"{plan.metric.field}, {_direction(result)} is better"),
        ("Combinations", text.count(counts.combinations)),
        ("Left out by the condition", text.count(counts.left_out)),
        (f"Refused by {plan.kind.__name__}.check_params", text.count(counts.refused)),
        ("Sets run", text.count(counts.sets)),
        ("Sets in which the strategy raised", text.count(result.quarantined)),
        ("Sets that could not be run", text.count(result.failed)),
    ]
    return Table(("Setting", "Value"), rows, 2)


def troubles_table(result: SweepResult, sets: pl.LazyFrame) -> Table:
    """The first sets that raised or could not be run, and why."""
    import polars as pl

    names = result.plan.grid.names
    columns = [name_column(name) for name in names]
    found = (
        sets.filter((pl.col("quarantined") != "") | (pl.col("failed") != ""))
        .select(NUMBER, *columns, "quarantined", "failed")
        .head(_MAX_TROUBLES)
        .collect()
    )
    rows = [
        (
            *(show_value(row[name]) for name in columns),
            "failed" if row["failed"] else "quarantined",
            row["failed"] or row["quarantined"],
        )
        for row in found.iter_rows(named=True)
    ]
    total = result.quarantined + result.failed
    remark = f"The first {len(rows)} of {total:,}; all are in sets.parquet."
    return Table((*names, "", "Why"), rows, len(names) + 2, remark if total > len(rows) else "")


def data_table(described: dict[str, Any]) -> Table:
    """Which market data was read, by the words of sweep.json."""
    rows = [
        (
            pin["instrument"],
            pin["timeframe"],
            pin["adjustment"],
            str(pin["table_version"]),
            text.count(pin["rows"]),
            text.day(pin["ts_first"]),
            text.day(pin["ts_last"]),
            pin["content_hash"][:16],
        )
        for pin in described["datasets"][:_MAX_LISTED]
    ]
    total = len(described["datasets"])
    remark = f"The first {len(rows)} of {total:,}; all are in sweep.json."
    columns = ("Instrument", "Bars", "Adjustment", "Version", "Rows", "First", "Last", "Hash")
    return Table(columns, rows, 3, remark if total > len(rows) else "")


def show_value(value: object) -> str:
    """A value of a param."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _direction(result: SweepResult) -> str:
    return "higher" if result.plan.metric.higher_is_better else "lower"


def _list(values: Sequence[object]) -> str:
    if len(values) <= _MAX_LISTED:
        return ", ".join(map(show_value, values))
    first = ", ".join(show_value(values[at]) for at in range(3))
    return f"{first}, ... {show_value(values[-1])} ({len(values):,} values)"
