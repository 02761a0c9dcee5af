"""The report as markdown: the figures and tables, without charts."""

from __future__ import annotations

from onetape.research import report_measures as measures
from onetape.research import report_tables as tables
from onetape.research.report_drift import drift_table
from onetape.research.report_tables import Table
from onetape.research.result_table import alarms, result_rows
from onetape.research.run_summary import RunSummary

NEWEST_ROUND_TRIPS = 20


def render_markdown(summary: RunSummary) -> str:
    """The whole document, ending in a newline."""
    header = summary.projection.header
    name = summary.config.get("name", header.session)
    figures = Table(("Figure", "Value"), [(row.label, row.value) for row in result_rows(summary)])
    sections = [
        ("Figures", figures),
        ("Strategies", tables.strategies_table(summary)),
        ("Risk", measures.risk_table(summary)),
        ("Exposure", measures.exposure_table(summary)),
        ("Greeks", measures.greeks_table(summary)),
        ("Correlation of returns", measures.correlation_table(summary)),
        ("Returns by year", tables.years_table(summary)),
        ("Instruments", tables.instruments_table(summary)),
        ("Round trips", tables.round_trips_table(summary, NEWEST_ROUND_TRIPS)),
        ("Costs", tables.costs_table(summary)),
        ("Orders", tables.orders_table(summary)),
        ("Execution", measures.execution_table(summary)),
        ("Why orders were not filled", measures.endings_table(summary)),
        ("Denied orders", tables.denials_table(summary)),
        *([("Drift of features", drift_table(summary))] if summary.projection.drifted else []),
        ("Market data", tables.datasets_table(summary)),
        ("Assumptions", tables.assumptions_table(summary)),
    ]
    parts = [f"# {plain_cell(str(name))}"]
    parts.extend(f"**{alarm.word}**: {plain_cell(alarm.story)}" for alarm in alarms(summary))
    for title, table in sections:
        parts.append(f"## {title}")
        parts.append(render_table(table) if table.rows else "None.")
        if table.remark:
            parts.append(table.remark)
    parts.append(
        f"Session `{header.session}`, mode {header.mode}, onetape {header.code_version}, "
        f"config `{header.config_hash}`, tape `{summary.digest}`."
    )
    return "\n\n".join(parts) + "\n"


def render_table(table: Table) -> str:
    """A table; its cells are made plain here."""
    rules = ["---" if at < table.words else "---:" for at in range(len(table.columns))]
    rows = [table.columns, tuple(rules), *table.rows]
    return "\n".join(f"| {' | '.join(map(plain_cell, row))} |" for row in rows)


def plain_cell(text: str) -> str:
    """Text that can't break out of a table cell or start markup."""
    for mark in "\\|`*_<>[]":
        text = text.replace(mark, f"\\{mark}")
    return " ".join(text.split())
