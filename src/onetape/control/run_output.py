"""The result of a backtest on the terminal: a table, or one JSON document; and loud failures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onetape.control.terminal import console, plain, print_json

if TYPE_CHECKING:
    from onetape.domain.events import StrategyQuarantined
    from onetape.research.run_summary import RunSummary
    from onetape.runtime.sessions.backtest import BacktestResult

_STYLES = {-1: "red", 0: "", 1: "green"}


@dataclass(frozen=True)
class RunOutput:
    """What a backtest left: its result, its figures, the path of its HTML report."""

    name: str
    result: BacktestResult
    summary: RunSummary
    report: Path


def print_result(output: RunOutput) -> None:
    """The key figures as a table on stdout, and where everything lies."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from onetape.research.result_table import result_rows

    result = output.result
    table = Table(title=output.name, box=box.SIMPLE, show_header=False, title_justify="left")
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    for row in result_rows(output.summary):
        table.add_row(row.label, Text(plain(row.value), style=_STYLES[row.tone]))
    speed = result.market_events / result.seconds if result.seconds else 0.0
    table.add_row("Bars", f"{result.market_events:,} in {result.seconds:.2f} s ({speed:,.0f}/s)")
    console().print(table)
    print(f"Run:    {result.run_dir}")
    print(f"Report: {output.report}")


def print_result_json(output: RunOutput) -> None:
    """One JSON document on stdout: the run, and all of its metrics."""
    import msgspec

    from onetape.research.artifacts import encode_metrics

    result = output.result
    print_json(
        {
            "name": output.name,
            "run_dir": str(result.run_dir),
            "report": str(output.report),
            "session": result.session,
            "digest": result.digest,
            "market_events": result.market_events,
            "seconds": round(result.seconds, 3),
            "quarantined": list(result.quarantined),
            "metrics": msgspec.Raw(encode_metrics(output.summary.metrics())),
        }
    )


def print_quarantined(quarantined: Sequence[StrategyQuarantined]) -> None:
    """A red panel on stderr that names each strategy that raised."""
    from rich.panel import Panel
    from rich.text import Text

    lines = [
        f"{each.strategy} raised in {each.callback}: {each.error}"
        + (f" ({each.where})" if each.where else "")
        for each in quarantined
    ]
    story = "\n".join([*lines, "It took no part in the rest of the run; everything else went on."])
    title = "STRATEGY QUARANTINED"
    console(stderr=True).print(Panel(Text(story), title=title, style="red"))
