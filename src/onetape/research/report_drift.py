"""Drift of features in the report: what was told, and the distributions before and then."""

from __future__ import annotations

from itertools import pairwise

from onetape.domain.events import FeatureDrifted
from onetape.domain.timestamps import to_iso
from onetape.research.report_charts import BLUE, GRAY, Figure
from onetape.research.report_page import chart, table
from onetape.research.report_tables import Table
from onetape.research.run_summary import RunSummary

CHARTS_MAX = 12
"""Distributions drawn: the newest alert of each feature and instrument, the newest of these."""

_REMARK = (
    "Each value is above its threshold; mean, variance and correlation in standard errors. "
    "Alerts change nothing in the session."
)


def drift_table(summary: RunSummary) -> Table:
    """Every alert, in order."""
    rows = [
        (
            to_iso(ts), each.strategy, each.instrument,
            f"{each.feature} and {each.other}" if each.other else each.feature,
            each.statistic, f"{each.value:.4g}", f"{each.threshold:.4g}",
        )
        for ts, each in summary.projection.drifted
    ]  # fmt: skip
    columns = ("Known at", "Strategy", "Instrument", "Feature", "Statistic", "Value", "Threshold")
    return Table(columns, rows, words=5, remark=_REMARK)


def drift_charts(summary: RunSummary) -> dict[str, Figure]:
    """Distributions by the id of their place."""
    return {
        f"drift-{number}": _distribution(ts, each)
        for number, (ts, each) in enumerate(_newest(summary))
    }


def drift_section(summary: RunSummary) -> str:
    """The content of the section, as HTML."""
    drawn = "".join(chart(identity) for identity in drift_charts(summary))
    return table(drift_table(summary)) + f'<div class="pair">{drawn}</div>'


def _newest(summary: RunSummary) -> list[tuple[int, FeatureDrifted]]:
    newest = {
        (each.strategy, each.instrument, each.feature): (ts, each)
        for ts, each in summary.projection.drifted
    }
    return list(newest.values())[-CHARTS_MAX:]


def _distribution(ts: int, drifted: FeatureDrifted) -> Figure:
    """Shares of the values in each bin, reference beside recent."""
    edges = [f"{edge:.4g}" for edge in drifted.edges]
    names = [f"{a} to {b}" for a, b in pairwise(edges)]
    bins = [f"below {edges[0]}", *names, f"from {edges[-1]}"] if edges else ["all"]
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": bins,
            "y": [round(count / max(sum(counts), 1), 6) for count in counts],
            "marker": {"color": color},
            "hovertemplate": "%{x}: %{y:.1%}<extra></extra>",
        }
        for name, counts, color in (
            ("reference", drifted.reference, GRAY),
            ("recent", drifted.recent, BLUE),
        )
    ]
    title = f"{drifted.feature}, {drifted.instrument}, {to_iso(ts)[:10]}"
    return {
        "data": bars,
        "layout": {
            "barmode": "group",
            "xaxis": {"type": "category", "tickfont": {"size": 9}, "title": {"text": title}},
            "yaxis": {"tickformat": ".0%"},
            "height": 300,
            "showlegend": True,
        },
    }
