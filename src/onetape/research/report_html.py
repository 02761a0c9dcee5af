"""The report of a run as one HTML file."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from onetape.domain.market import BOOK, QUOTES, TRADES
from onetape.research import report_charts as charts
from onetape.research import report_format as text
from onetape.research import report_measures as measures
from onetape.research import report_tables as tables
from onetape.research.report_drift import drift_charts, drift_section
from onetape.research.report_page import chart, figures_grid, render_page, section, table
from onetape.research.report_performance import performance_section
from onetape.research.result_table import (
    action_rows,
    alarms,
    contract_rows,
    figure_rows,
    posting_rows,
)
from onetape.research.run_summary import RunSummary

MAX_PRICE_CHARTS = 6
_ROWS = {TRADES: "trade prints", QUOTES: "quotes", BOOK: "changes of the depth"}
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_OUTERMOST = "<small>The outermost bars hold everything beyond four standard deviations.</small>"


def render_html(summary: RunSummary) -> str:
    """The whole page."""
    figures = _figures(summary) if summary.account.slices else {}
    name = str(summary.config.get("name", summary.projection.header.session))
    return render_page(name, _body(summary, escape(name), figures), figures)


def _figures(summary: RunSummary) -> dict[str, charts.Figure]:
    """The charts by the id of their place."""
    traded = summary.instruments[:MAX_PRICE_CHARTS]
    return (
        drift_charts(summary)
        | {
            "equity": charts.equity_chart(summary),
            "exposure": charts.exposure_chart(summary),
            "distribution": charts.distribution_chart(summary),
        }
        | {
            f"price-{number}": charts.price_chart(summary, each.instrument)
            for number, each in enumerate(traded)
        }
    )


def _body(summary: RunSummary, name: str, figures: dict[str, charts.Figure]) -> Iterable[str]:
    account = summary.account
    yield _header(summary, name)
    yield section(
        "Key figures",
        figures_grid(
            [
                *figure_rows(account, summary.currency),
                *action_rows(summary),
                *posting_rows(summary),
                *contract_rows(summary),
            ]
        ),
    )
    if figures:
        yield section("Equity and drawdown", chart("equity"))
        yield section("Returns by month", _heatmap(summary))
        yield '<div class="pair">'
        yield section("Exposure, share of equity", chart("exposure"))
        yield section(
            f"Distribution of returns ({account.returns_clock})",
            chart("distribution") + _OUTERMOST,
        )
        yield "</div>"
        yield from _prices(summary)
    if len(summary.strategies) > 1:
        yield section("Strategies", table(tables.strategies_table(summary)))
    yield section("Risk", _risk(summary))
    yield section("Instruments", table(tables.instruments_table(summary)))
    yield section("Round trips", table(tables.round_trips_table(summary)))
    yield '<div class="pair">'
    yield section("Costs", table(tables.costs_table(summary)))
    yield section("Orders", table(tables.orders_table(summary)))
    yield "</div>"
    yield section("Execution", table(measures.execution_table(summary)))
    yield section("Why orders were not filled", table(measures.endings_table(summary)))
    yield section("Denied orders", table(tables.denials_table(summary)))
    if summary.projection.drifted:
        yield section("Drift of features", drift_section(summary))
    yield section("Market data", table(tables.datasets_table(summary)))
    yield section("Assumptions", table(tables.assumptions_table(summary)))
    yield performance_section()
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
    timeframe = summary.timeline.timeframe
    rows = _ROWS.get(timeframe, f"bars of {timeframe}")
    return (
        f"<header><h1>{name}{badges}</h1>"
        f"<p>{escape(summary.projection.header.mode)}, {text.day(account.ts_start)} to "
        f"{text.day(account.ts_end)}, {escape(rows)}, "
        f"{escape(summary.currency)}</p>"
        f'<p class="soft">{escape(listed)}{more}</p>{stories}</header>'
    )


def _prices(summary: RunSummary) -> Iterable[str]:
    shown = summary.instruments[:MAX_PRICE_CHARTS]
    if not shown:
        return
    parts = [
        f"<h3>{escape(each.instrument)}</h3>{chart(f'price-{number}')}"
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
    yield section("Price with entries and exits", "".join(parts))


def _risk(summary: RunSummary) -> str:
    losses = table(measures.risk_table(summary))
    further = {
        "Correlation of returns": measures.correlation_table(summary),
        "Exposure": measures.exposure_table(summary),
        "Greeks": measures.greeks_table(summary),
    }
    shown = (f"<h3>{name}</h3>{table(each)}" for name, each in further.items() if each.rows)
    return losses + "".join(shown)


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


def _footer(summary: RunSummary) -> str:
    header = summary.projection.header
    digest = f"; tape <code>{escape(summary.digest)}</code>" if summary.digest else ""
    return (
        f"<footer>Session <code>{escape(header.session)}</code>, onetape "
        f"{escape(header.code_version)}; config <code>{escape(header.config_hash)}</code>{digest}. "
        "Every figure is defined in docs/metrics.md and stands in metrics.json.</footer>"
    )
