"""The report as one HTML file: styles, charts and plotly itself are inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files

from onetape.research import report_charts as charts
from onetape.research import report_format as text
from onetape.research import report_tables as tables
from onetape.research.report_tables import Table
from onetape.research.result_table import Row, alarms, figure_rows
from onetape.research.run_summary import RunSummary

MAX_PRICE_CHARTS = 6
TALL_ROWS = 40
"""A longer table scrolls in its own window."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_OUTERMOST = "<small>The outermost bars hold everything beyond four standard deviations.</small>"
_TONES = {1: ' class="good"', -1: ' class="bad"', 0: ""}


def render_html(summary: RunSummary) -> str:
    """The whole page."""
    from plotly.offline import get_plotlyjs

    figures = _figures(summary) if summary.account.slices else {}
    name = escape(str(summary.config.get("name", summary.projection.header.session)))
    body = "\n".join(_body(summary, name, figures))
    here = files("onetape.research")
    data = json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{name}</title>
<style>
{(here / "report.css").read_text("utf-8")}</style>
</head>
<body>
<main>
{body}
</main>
<script type="application/json" id="figures">{data}</script>
<script>{get_plotlyjs()}</script>
<script>
{(here / "report.js").read_text("utf-8")}</script>
</body>
</html>
"""


def _figures(summary: RunSummary) -> dict[str, charts.Figure]:
    """The charts by the id of their place."""
    traded = summary.instruments[:MAX_PRICE_CHARTS]
    return {
        "equity": charts.equity_chart(summary),
        "exposure": charts.exposure_chart(summary),
        "distribution": charts.distribution_chart(summary),
    } | {
        f"price-{number}": charts.price_chart(summary, each.instrument)
        for number, each in enumerate(traded)
    }


def _body(summary: RunSummary, name: str, figures: dict[str, charts.Figure]) -> Iterable[str]:
    account = summary.account
    yield _header(summary, name)
    yield _section("Key figures", _figures_grid(figure_rows(account, summary.currency)))
    if figures:
        yield _section("Equity and drawdown", _chart("equity"))
        yield _section("Returns by month", _heatmap(summary))
        yield '<div class="pair">'
        yield _section("Exposure, share of equity", _chart("exposure"))
        yield _section(
            f"Distribution of returns ({account.returns_clock})",
            _chart("distribution") + _OUTERMOST,
        )
        yield "</div>"
        yield from _prices(summary)
    if len(summary.strategies) > 1:
        yield _section("Strategies", _table(tables.strategies_table(summary)))
    yield _section("Instruments", _table(tables.instruments_table(summary)))
    yield _section("Round trips", _table(tables.round_trips_table(summary)))
    yield '<div class="pair">'
    yield _section("Costs", _table(tables.costs_table(summary)))
    yield _section("Orders", _table(tables.orders_table(summary)))
    yield "</div>"
    yield _section("Denied orders", _table(tables.denials_table(summary)))
    yield _section("Market data", _table(tables.datasets_table(summary)))
    yield _section("Assumptions", _table(tables.assumptions_table(summary)))
    yield _footer(summary)


def _header(summary: RunSummary, name: str) -> str:
    found = alarms(summary)
    words = list(dict.fromkeys(alarm.word for alarm in found))
    badges = "".join(f'<span class="badge bad">{word}</span>' for word in words)
    badges = badges or '<span class="badge">COMPLETE</span>'
    instruments = [each.id for each in summary.timeline.instruments]
    listed = ", ".join(instruments[:8])
    more = f" and {len(instruments) - 8:,} more" if len(instruments) > 8 else ""
    stories = "".join(
        f'<div class="alarm"><strong>{alarm.word}</strong>: {escape(alarm.story)}</div>'
        for alarm in found
    )
    account = summary.account
    return (
        f"<header><h1>{name}{badges}</h1>"
        f"<p>{escape(summary.projection.header.mode)}, {text.day(account.ts_start)} to "
        f"{text.day(account.ts_end)}, bars of {escape(summary.timeline.timeframe)}, "
        f"{escape(summary.currency)}</p>"
        f'<p class="soft">{escape(listed)}{more}</p>{stories}</header>'
    )


def _figures_grid(rows: Sequence[Row]) -> str:
    cells = (
        f"<div><dt>{escape(row.label)}</dt><dd{_TONES[row.tone]}>{escape(row.value)}</dd></div>"
        for row in rows
    )
    return f'<dl class="figures">{"".join(cells)}</dl>'


def _prices(summary: RunSummary) -> Iterable[str]:
    shown = summary.instruments[:MAX_PRICE_CHARTS]
    if not shown:
        return
    parts = [
        f"<h3>{escape(each.instrument)}</h3>{_chart(f'price-{number}')}"
        for number, each in enumerate(shown)
    ]
    rest = len(summary.instruments) - len(shown)
    if rest:
        parts.append(f"<p><small>The most traded; {rest:,} more were traded.</small></p>")
    if any(each.fills > charts.MAX_MARKERS for each in shown):
        parts.append(
            f"<p><small>Drawn are the newest {charts.MAX_MARKERS} fills of a kind; all are in "
            "fills.parquet.</small></p>"
        )
    yield _section("Price with entries and exits", "".join(parts))


def _heatmap(summary: RunSummary) -> str:
    """Years down, months across; the deeper the color, the larger the return."""
    months = dict(summary.returns_by_month)
    reach = max((abs(each) for each in months.values() if each == each), default=0.0) or 1.0

    def cell(value: float | None, *, tinted: bool = True) -> str:
        if value is None or value != value:
            return "<td></td>"
        color = "good" if value > 0 else "bad"
        depth = min(abs(value) / reach, 1.0) * 0.75 if tinted else 0.0
        shown = text.percent(value, 1).removesuffix(" %")
        return f'<td style="background:rgba(var(--heat-{color}),{depth:.2f})">{shown}</td>'

    def line(year: str, total: float) -> str:
        cells = "".join(cell(months.get(f"{year}-{month:02d}")) for month in range(1, 13))
        return f"<tr><th>{year}</th>{cells}{cell(total, tinted=False)}</tr>"

    rows = (line(year, total) for year, total in summary.returns_by_year)
    heads = "".join(f"<th>{month}</th>" for month in ("", *_MONTHS, "Year"))
    return (
        f'<div class="scroll"><table class="heat"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div><small>In percent.</small>"
    )


def _table(table: Table) -> str:
    if not table.rows:
        return '<p class="soft">None.</p>'

    def line(tag: str, row: Sequence[str]) -> str:
        left = f'<{tag} class="left">'
        cells = (
            f"{left if at < table.words else f'<{tag}>'}{escape(value)}</{tag}>"
            for at, value in enumerate(row)
        )
        return f"<tr>{''.join(cells)}</tr>"

    remark = f"<small>{escape(table.remark)}</small>" if table.remark else ""
    tall = " tall" if len(table.rows) > TALL_ROWS else ""
    return (
        f'<div class="scroll{tall}"><table><thead>{line("th", table.columns)}</thead>'
        f"<tbody>{''.join(line('td', row) for row in table.rows)}</tbody></table></div>{remark}"
    )


def _chart(identity: str) -> str:
    return f'<div class="chart" id="{identity}"></div>'


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _footer(summary: RunSummary) -> str:
    header = summary.projection.header
    digest = f"; tape <code>{escape(summary.digest)}</code>" if summary.digest else ""
    return (
        f"<footer>Session <code>{escape(header.session)}</code>, onetape "
        f"{escape(header.code_version)}; config <code>{escape(header.config_hash)}</code>{digest}. "
        "Every figure is defined in docs/metrics.md and stands in metrics.json.</footer>"
    )
