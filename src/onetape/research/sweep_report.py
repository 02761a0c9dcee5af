"""The report of a sweep: `report.html`, one file that opens offline, and `report.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from onetape.domain.errors import TryAgain
from onetape.research import report_format as text
from onetape.research import sweep_charts as charts
from onetape.research import sweep_tables as tables
from onetape.research.report_charts import Figure
from onetape.research.report_markdown import plain_cell, render_table
from onetape.research.report_page import chart, figures_grid, render_page, section, table
from onetape.research.report_tables import Table
from onetape.research.sweep_neighbors import find_neighborhoods
from onetape.research.sweep_run import SweepResult
from onetape.runtime.run_files import write_whole

if TYPE_CHECKING:
    import polars as pl

_OUTERMOST = (
    "The outermost bars hold everything beyond: one set in two hundred on each side. "
    "The dotted line is the best set."
)


class SweepReport(NamedTuple):
    """Where the page lies, the best sets with their neighbors, and how each of them runs again."""

    page: Path
    best: Table
    commands: list[str]


def write_sweep_report(result: SweepResult, source: Sequence[str] = ()) -> SweepReport:
    """Write both files into the directory of the sweep.

    Args:
        result: The sweep.
        source: Configuration and options that it was given, for the commands that run the best sets
            again; none: its own config.json.

    Raises:
        TryAgain: A file can't be written.
    """
    import polars as pl

    sets = pl.scan_parquet(result.directory / "sets.parquet")
    described = json.loads((result.directory / "sweep.json").read_bytes())
    plan = result.plan
    near = find_neighborhoods(sets, plan.grid.axes, plan.metric, result.best)
    best = tables.best_table(result, near)
    commands = tables.rerun_commands(result, source)
    parts = _Parts(result, sets, described, best, commands)
    page = result.directory / "report.html"
    try:
        write_whole(page, parts.render_html().encode())
        write_whole(result.directory / "report.md", parts.render_markdown().encode())
    except TryAgain as error:
        remedy = f"make room, then write it again with --resume {result.directory}"
        raise TryAgain(error.what, where=error.where, remedy=remedy) from error
    return SweepReport(page, best, commands)


class _Parts:
    """What both files say."""

    def __init__(
        self,
        result: SweepResult,
        sets: pl.LazyFrame,
        described: dict[str, Any],
        best: Table,
        commands: list[str],
    ) -> None:
        self._result = result
        self._sets = sets
        self._described = described
        self._best = best
        self._commands = commands
        self._axes = result.plan.grid.axes
        self._metric = result.plan.metric
        self._is_ranked = self._metric.rank(result.best[self._metric.field][0]) is not None

    def render_html(self) -> str:
        figures = self._figures() if self._is_ranked else {}
        return render_page(f"Sweep of {self._name}", self._body(figures), figures)

    def render_markdown(self) -> str:
        figures = Table(("Figure", "Value"), [row[:2] for row in tables.verdict_rows(self._result)])
        parts = [f"# Sweep of {plain_cell(self._name)}", plain_cell(self._story)]
        for title, content in (
            ("Best sets", self._best),
            ("Is it luck?", figures),
            *self._tables(),
        ):
            parts += [f"## {title}", render_table(content) if content.rows else "None."]
            if content.remark:
                parts.append(content.remark)
            if content is self._best:
                listed = "\n".join(f"    {command}" for command in self._commands)
                parts += ["Each of them again, as a full backtest:", listed]
            if content is figures:
                parts += map(plain_cell, self._result.verdict.sentences)
        return "\n\n".join(parts) + "\n"

    @property
    def _name(self) -> str:
        return str(self._described["name"])

    @property
    def _story(self) -> str:
        row = self._result.best.row(0, named=True)
        return (
            f"{text.count(self._result.sets)} sets of {self._result.plan.strategy.name}, "
            f"{_day(row['ts_start'])} to {_day(row['ts_end'])}, ranked by {self._metric.label}."
        )

    def _tables(self) -> Iterator[tuple[str, Table]]:
        if self._result.quarantined or self._result.failed:
            yield "Sets that raised or failed", tables.troubles_table(self._result, self._sets)
        yield "What was run", tables.facts_table(self._result)
        yield "Market data", tables.data_table(self._described)

    def _figures(self) -> dict[str, Figure]:
        """The charts by the id of their place."""
        best = self._result.best.row(0, named=True)
        figures = {
            "spread": charts.spread_chart(self._sets, self._metric, float(best[self._metric.field]))
        }
        if len(self._axes) == 1:
            return figures | {"line": charts.line_chart(self._sets, self._axes[0], self._metric)}
        pairs = charts.pair_charts(self._sets, self._axes, self._metric, best)
        parallel = charts.parallel_chart(self._sets, self._axes, self._metric, self._result.sets)
        return (
            figures
            | {f"pair-{one}-{other}": figure for (one, other), figure in pairs.items()}
            | {"parallel": parallel}
        )

    def _body(self, figures: dict[str, Figure]) -> Iterator[str]:
        result = self._result
        raised, failed = result.quarantined, result.failed
        badges = "".join(
            f'<span class="badge bad">{count:,} {word}</span>'
            for count, word in ((raised, "QUARANTINED"), (failed, "FAILED"))
            if count
        )
        yield (
            f"<header><h1>Sweep of {escape(self._name)}{badges}</h1>"
            f"<p>{escape(self._story)}</p></header>"
        )
        yield section("Best sets", table(self._best) + _commands(self._commands))
        said = "".join(f"<p>{escape(each)}</p>" for each in result.verdict.sentences)
        yield section("Is it luck?", figures_grid(tables.verdict_rows(result)) + said)
        yield from self._charts(figures)
        for title, content in self._tables():
            yield section(title, table(content))
        yield (
            f"<footer>onetape {escape(str(self._described['code_version']))}, strategy version "
            f"<code>{escape(str(self._described['strategy']['version']))}</code>, sweep "
            f"<code>{result.plan.hash}</code>. Every figure of every set stands in sets.parquet, "
            "and is defined in docs/metrics.md.</footer>"
        )

    def _charts(self, figures: dict[str, Figure]) -> Iterator[str]:
        label = self._metric.label
        if not figures:
            yield section(label, f'<p class="soft">No set has a {escape(label)}.</p>')
            return
        pairs = [name for name in figures if name.startswith("pair-")]
        if pairs:
            others = len(self._axes) > 2
            said = "Each cell is the best set over all other params. " if others else ""
            said += "The ring is the best set; an empty cell was not run or has no figure."
            shown = "".join(map(chart, pairs))
            shown = f'<div class="pair">{shown}</div>' if len(pairs) > 1 else shown
            rest = len(self._axes) * (len(self._axes) - 1) // 2 - len(pairs)
            said += f" {rest} more pairs are not shown." if rest else ""
            yield section(f"{label} by params", f"{shown}<small>{said}</small>")
            drawn = ""
            if self._result.sets > charts.MAX_LINES // 2:
                drawn = "<small>Drawn are the best sets and every n-th of the others.</small>"
            yield section("All params at once", chart("parallel") + drawn)
        else:
            yield section(f"{label} by {self._axes[0].name}", chart("line"))
        yield section(f"{label} of all sets", f"{chart('spread')}<small>{_OUTERMOST}</small>")


def _commands(commands: Sequence[str]) -> str:
    first, *others = (f"<code>{escape(command)}</code>" for command in commands)
    shown = f"<p>The best one again, as a full backtest: {first}</p>"
    if others:
        listed = "".join(f"<p>{command}</p>" for command in others)
        shown += f"<details><summary>The others again</summary>{listed}</details>"
    return shown


def _day(moment: Any) -> str:
    return text.DASH if moment is None else f"{moment:%Y-%m-%d}"
