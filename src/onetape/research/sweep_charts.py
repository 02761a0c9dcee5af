"""Charts of a sweep as plain plotly figures (see `report_charts`).

Whatever the number of sets, a chart holds a bounded number of points: long axes are cut into ranges
of values, of which the best set is shown, and of many sets the best and every n-th are drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from onetape.research.grid import Axis
from onetape.research.report_charts import BLUE, RED, Figure
from onetape.research.sweep_frame import NUMBER, best_first, name_column, ranking
from onetape.research.sweep_metric import Metric
from onetape.research.sweep_tables import show_value

if TYPE_CHECKING:
    import polars as pl

MAX_CELLS = 60
"""Values of a param side by side on a chart; more are put together."""
MAX_PAIRS = 10
"""Pairs of params that get a heatmap."""
MAX_LINES = 1_500
_BARS_MAX = 41


class _Scale:
    """The values of a param on an axis of a chart, in order, as text.

    `labels` are those of the ticks; `expression` gives the position of each set.
    """

    def __init__(self, axis: Axis) -> None:
        import polars as pl

        column = pl.col(name_column(axis.name))
        values: Sequence[Any] = axis.values
        if isinstance(values[0], bool | str) or len(values) <= MAX_CELLS:
            if not isinstance(values[0], str):
                values = sorted(values)
            self.labels = [show_value(value) for value in values]
            self.expression = column.replace_strict(
                list(values), range(len(values)), return_dtype=pl.Int64
            )
            return
        low, high = min(values[0], values[-1]), max(values[0], values[-1])
        if isinstance(values, tuple):
            low, high = min(values), max(values)
        width = (high - low) / MAX_CELLS
        self.labels = [f"from {low + at * width:.6g}" for at in range(MAX_CELLS)]
        self.expression = ((column - low) / width).floor().clip(0, MAX_CELLS - 1).cast(pl.Int64)


def pair_charts(
    sets: pl.LazyFrame, axes: Sequence[Axis], metric: Metric, best: dict[str, Any]
) -> dict[tuple[str, str], Figure]:
    """A heatmap of each pair of params, the best over all others, with the best set marked."""
    import polars as pl

    pairs = list(combinations(axes, 2))[:MAX_PAIRS]
    scales = {axis.name: _Scale(axis) for axis in axes}
    grouped = [
        sets.group_by(y=scales[one.name].expression, x=scales[other.name].expression).agg(
            ranking(metric).max().alias("rank")
        )
        for one, other in pairs
    ]
    place = pl.DataFrame([best]).lazy()
    charts: dict[tuple[str, str], Figure] = {}
    for (one, other), cells in zip(pairs, pl.collect_all(grouped, engine="streaming"), strict=True):
        down, across = scales[one.name], scales[other.name]
        marked = place.select(y=down.expression, x=across.expression).collect()
        values: list[list[float | None]] = [[None] * len(across.labels) for _ in down.labels]
        for y, x, rank in cells.iter_rows():
            values[y][x] = _value(rank, metric)
        charts[one.name, other.name] = {
            "data": [
                {
                    "type": "heatmap",
                    "x": across.labels,
                    "y": down.labels,
                    "z": values,
                    "colorscale": "Viridis",
                    "reversescale": not metric.higher_is_better,
                    "colorbar": {"thickness": 12, "tickformat": metric.kind, "outlinewidth": 0},
                    "hovertemplate": f"{one.name} %{{y}}, {other.name} %{{x}}: "
                    f"%{{z{_format(metric)}}}<extra></extra>",
                },
                {
                    "type": "scatter",
                    "mode": "markers",
                    "x": [across.labels[marked["x"][0]]],
                    "y": [down.labels[marked["y"][0]]],
                    "marker": {"symbol": "circle-open", "size": 13, "color": RED,
                               "line": {"width": 3}},
                    "hoverinfo": "skip",
                },
            ],
            "layout": {
                "xaxis": _categories(other.name, across.labels),
                "yaxis": _categories(one.name, down.labels),
                "height": 420 if len(pairs) == 1 else 320,
                "hovermode": "closest",
                "showlegend": False,
            },
        }  # fmt: skip
    return charts


def line_chart(sets: pl.LazyFrame, axis: Axis, metric: Metric) -> Figure:
    """The metric over the values of the only param."""
    scale = _Scale(axis)
    cells = (
        sets.group_by(x=scale.expression)
        .agg(ranking(metric).max().alias("rank"))
        .sort("x")
        .collect(engine="streaming")
    )
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "x": [scale.labels[at] for at in cells["x"]],
                "y": [_value(rank, metric) for rank in cells["rank"]],
                "line": {"width": 1.5, "color": BLUE},
                "hovertemplate": f"{axis.name} %{{x}}: %{{y{_format(metric)}}}<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"type": "category", "title": {"text": axis.name}, "nticks": 12},
            "yaxis": {"title": {"text": metric.label}, "tickformat": metric.kind},
            "height": 320,
            "hovermode": "closest",
        },
    }


def parallel_chart(sets: pl.LazyFrame, axes: Sequence[Axis], metric: Metric, count: int) -> Figure:
    """Each set as a line through its params to the metric; the best ones are drawn on top.

    Args:
        sets: All sets.
        axes: The params that vary.
        metric: Where the lines end, and their color.
        count: How many sets there are.
    """
    import polars as pl

    step = max(1, -(-count // (MAX_LINES // 2)))
    ranked = sets.filter(ranking(metric).is_not_null())
    chosen = pl.concat(
        [
            best_first(ranked, metric, MAX_LINES // 2),
            ranked.filter(pl.col(NUMBER) % step == 0),
        ]
    )
    lines = chosen.unique(NUMBER).sort(ranking(metric), NUMBER).collect(engine="streaming")
    dimensions: list[dict[str, Any]] = []
    for axis in axes:
        values = lines[name_column(axis.name)]
        if isinstance(axis.values[0], bool | str):
            codes = {value: at for at, value in enumerate(axis.values)}
            dimensions.append(
                {
                    "label": axis.name,
                    "values": [codes[value] for value in values],
                    "tickvals": [*codes.values()],
                    "ticktext": [show_value(value) for value in codes],
                }
            )
        else:
            dimensions.append({"label": axis.name, "values": values.to_list()})
    results = [_round(float(value)) for value in lines[metric.field]]
    dimensions.append(
        {"label": metric.label, "values": results, "tickformat": metric.kind or ".3~g"}
    )
    return {
        "data": [
            {
                "type": "parcoords",
                "dimensions": dimensions,
                "line": {
                    "color": results,
                    "colorscale": "Viridis",
                    "reversescale": not metric.higher_is_better,
                },
            }
        ],
        "layout": {"height": 380, "margin": {"l": 48, "r": 48, "t": 48, "b": 24}},
    }


def spread_chart(sets: pl.LazyFrame, metric: Metric, best: float) -> Figure:
    """How many sets reached which value; the outermost bars hold what lies beyond."""
    known = (
        sets.filter(ranking(metric).is_not_null())
        .select(metric.field)
        .collect(engine="streaming")[metric.field]
        .cast(float)
        .to_numpy()
    )
    low, high = np.quantile(known, (0.005, 0.995))
    margin = (high - low) * 0.02 or abs(float(low)) * 0.02 or 1.0
    low, high = float(low - margin), float(high + margin)
    bars = min(_BARS_MAX, 5 + int(2 * len(known) ** 0.5))
    counts, edges = np.histogram(np.clip(known, low, high), bars, (low, high))
    inside = min(max(best, low), high)
    return {
        "data": [
            {
                "type": "bar",
                "x": [_round(each) for each in ((edges[1:] + edges[:-1]) / 2).tolist()],
                "y": counts.tolist(),
                "marker": {"color": BLUE, "line": {"width": 0}},
                "hovertemplate": f"%{{x{_format(metric)}}}: %{{y}} sets<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {"title": {"text": metric.label}, "tickformat": metric.kind, "nticks": 7},
            "yaxis": {"title": {"text": "sets"}, "nticks": 5},
            "bargap": 0.06,
            "height": 280,
            "hovermode": "closest",
            "shapes": [
                {"type": "line", "x0": inside, "x1": inside, "yref": "paper", "y0": 0, "y1": 1,
                 "line": {"color": RED, "width": 2, "dash": "dot"}},
            ],
            "annotations": [
                {"x": inside, "y": 1, "yref": "paper", "text": "best", "showarrow": False,
                 "xanchor": "right", "yanchor": "top", "font": {"color": RED}, "xshift": -4},
            ],
        },
    }  # fmt: skip


def _categories(name: str, labels: Sequence[str]) -> Figure:
    return {
        "type": "category",
        "title": {"text": name},
        "nticks": 12,
        "range": [-0.5, len(labels) - 0.5],
        "showgrid": False,
    }


def _value(rank: float | None, metric: Metric) -> float | None:
    """The metric whose rank it is."""
    return None if rank is None else _round(metric.value(rank))


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _format(metric: Metric) -> str:
    return ":.2%" if metric.kind else ":.4~g"
