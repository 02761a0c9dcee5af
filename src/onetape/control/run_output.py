"""A run on the terminal: its figures as a table or one JSON document, and loud failures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onetape.control.terminal import console, plain

if TYPE_CHECKING:
    from onetape.domain.events import StrategyQuarantined
    from onetape.research.run_summary import DenialGroup, RunSummary
    from onetape.runtime.run_monitor import Measurements

_REASONS_MAX = 4
_STYLES = {-1: "red", 0: "", 1: "green"}


def print_result(summary: RunSummary, run_dir: Path, report: Path) -> None:
    """The figures as a table on stdout, and where everything lies."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from onetape.research.result_table import alarms, result_rows

    screen = console()
    shouted = alarms(summary)
    for alarm in shouted:
        screen.print(Text(f"{alarm.word}: {plain(alarm.story)}", "bold red"))
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", overflow="fold")
    for row in result_rows(summary)[len(shouted) :]:
        style = _STYLES[row.tone]
        table.add_row(row.label, Text(plain(row.value), style))
    screen.print(table)
    if summary.denials:
        print(f"Denied: {describe_denials(summary.denials)}")
    print(f"Run:    {run_dir}")
    print(f"Report: {report}")


def describe_result(summary: RunSummary, run_dir: Path, report: Path) -> dict[str, Any]:
    """The same for programs: where everything lies, and the content of metrics.json."""
    import msgspec

    from onetape.research.artifacts import encode_metrics

    return {
        "run_dir": str(run_dir),
        "report": str(report),
        "metrics": msgspec.Raw(encode_metrics(summary.metrics())),
    }


def describe_denials(denials: Sequence[DenialGroup]) -> str:
    """Why risk refused orders and since when, the most frequent reason first; in one line."""
    from onetape.research.report_format import minute

    since = minute(min(each.ts_first for each in denials))
    reasons = [f"{each.count:,} by {each.code}" for each in denials[:_REASONS_MAX]]
    rest = sum(each.count for each in denials[_REASONS_MAX:])
    others = [f"{rest:,} by others"] if rest else []
    return f"{', '.join([*reasons, *others])}, from {since} UTC on; the report has the numbers"


def describe_speed(measured: Measurements) -> str:
    """How fast a session ran, in one line."""
    resumed = f" from row {measured.first_row:,} on, resumed" if measured.first_row else ""
    parts = [f"{measured.rows_per_second:,.0f} rows/s{resumed}"]
    if measured.strategy_ratio == measured.strategy_ratio:
        parts.append(f"{100 * measured.strategy_ratio:.0f} % of the time in strategies")
    if measured.latency_p99_us == measured.latency_p99_us:
        parts.append(f"99 % of events within {measured.latency_p99_us:,.1f} us")
    parts.append(f"{measured.memory_peak_mib:,.0f} MiB at most")
    return ", ".join(parts)


def describe_host(measured: Measurements) -> str:
    """Which host ran, and why, in one line."""
    return ": ".join(filter(None, (measured.host, measured.host_note)))


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
    panel = Panel(Text(story), title="STRATEGY QUARANTINED", style="bold red")
    console(stderr=True).print(panel)
