"""The report on the quality of stored bars as one HTML file."""

from __future__ import annotations

from html import escape

from onetape.domain.timestamps import to_iso
from onetape.marketdata.bar_policies import CheckReport, Finding
from onetape.research.report_charts import Figure
from onetape.research.report_page import chart, render_page, section, table
from onetape.research.report_tables import Table

_LISTED = 500


def render_quality_page(report: CheckReport) -> str:
    """The whole page: what each rule found, where, and the closes with the findings on them."""
    ts_open = report.columns["ts_open"]
    head = (
        f"<header><h1>{escape(report.instrument)} {escape(report.timeframe)}</h1>"
        f"<p>Version {report.version}, {len(ts_open):,} bars from {to_iso(int(ts_open[0]))} on, "
        f"calendar {escape(report.calendar)}</p></header>"
    )
    summary = Table(
        ("Rule", "Policy", "Bars"),
        [(each.rule.value, each.policy.value, f"{len(each.rows):,}") for each in report.findings],
        words=2,
    )
    body = [head, section("Findings", table(summary)), section("Closes", chart("closes"))]
    body += [
        section(each.rule.value, table(_list_rows(report, each)))
        for each in report.findings
        if len(each.rows)
    ]
    name = f"{report.instrument} {report.timeframe}: quality"
    return render_page(name, body, {"closes": _draw(report)})


def _list_rows(report: CheckReport, finding: Finding) -> Table:
    columns = report.columns
    rows = finding.rows[:_LISTED].tolist()
    more = len(finding.rows) - len(rows)
    names = ("open", "high", "low", "close", "volume")
    return Table(
        ("Open time, UTC", *(name.capitalize() for name in names)),
        [
            (
                to_iso(int(columns["ts_open"][row])),
                *(f"{columns[name][row]:,.10g}" for name in names),
            )
            for row in rows
        ],
        remark=f"and {more:,} more" if more else "",
    )


def _draw(report: CheckReport) -> Figure:
    times = (report.columns["ts_open"] // 1_000_000).tolist()
    closes = report.columns["close"].tolist()
    data: list[Figure] = [{"type": "scattergl", "mode": "lines", "name": "close", "x": times,
                           "y": closes, "line": {"width": 1}}]  # fmt: skip
    for each in report.findings:
        rows = each.rows.tolist()
        if rows:
            data.append({"type": "scattergl", "mode": "markers", "name": each.rule.value,
                         "x": [times[row] for row in rows],
                         "y": [closes[row] for row in rows]})  # fmt: skip
    axis = {"type": "date"}
    return {"data": data, "layout": {"height": 420, "showlegend": True, "xaxis": axis, "yaxis": {}}}
