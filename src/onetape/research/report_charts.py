"""Charts of the report as plain plotly figures: dicts of data and layout, ready for JSON.

Long series are thinned to the lowest and highest point of each bucket, so that a year of minutes
stays a small file and no spike is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    OrderFilled,
    PositionAdjusted,
    PositionSettled,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import E8
from onetape.portfolio.performance import drawdowns
from onetape.portfolio.performance_summary import (
    ReturnsClock,
    compute_growth,
    compute_returns,
    period_ends,
)
from onetape.research.run_summary import RunSummary

Figure = dict[str, Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_POINTS = 4_000
"""Points of one line, at the most."""
MAX_MARKERS = 400
"""Fills of one kind drawn on a price chart; the newest are kept."""
MAX_AVERAGES = 1_000
"""Points of a line that shows averages instead of extremes."""

BLUE, GREEN, RED, GRAY = "#2f6fde", "#128a5c", "#cf3f36", "#8a94a3"
_MARKERS = {
    "Long entry": ("triangle-up", GREEN),
    "Long exit": ("triangle-down-open", GREEN),
    "Short entry": ("triangle-down", RED),
    "Short exit": ("triangle-up-open", RED),
}


def thin(values: Floats, limit: int = MAX_POINTS) -> Ints:
    """Rows to draw of a series: all, or first, last, and the extremes of `limit / 2` buckets."""
    rows = len(values)
    if rows <= limit:
        return np.arange(rows)
    width = -(-rows // (limit // 2 - 1))
    padding = np.full(-rows % width, values[-1])
    buckets = np.concatenate((values, padding)).reshape(-1, width)
    starts = np.arange(len(buckets)) * width
    chosen = (starts + buckets.argmin(axis=1), starts + buckets.argmax(axis=1), (0, rows - 1))
    return np.unique(np.minimum(np.concatenate(chosen), rows - 1))


def equity_chart(summary: RunSummary) -> Figure:
    """Equity above, drawdown below, one time axis."""
    curve = summary.curves.account
    equity = curve.equity / E8
    below = drawdowns(compute_growth(curve))
    lines = [_line("Equity", curve.ts, equity, BLUE, digits=2)]
    if len(summary.curves.strategies) > 1:
        lines.extend(
            _line(name, each.ts, each.equity / E8, None, digits=2) | {"visible": "legendonly"}
            for name, each in summary.curves.strategies.items()
        )
    fall = _line("Drawdown", curve.ts, below, RED, digits=6) | {
        "yaxis": "y2",
        "fill": "tozeroy",
        "fillcolor": "rgba(207,63,54,0.15)",
        "hovertemplate": "%{y:.2%}",
        "showlegend": False,
    }
    return {
        "data": [*lines, fall],
        "layout": {
            "xaxis": _time_axis(summary) | {"anchor": "y2"},
            "yaxis": {"domain": [0.34, 1], "tickformat": "~s"},
            "yaxis2": {
                "domain": [0, 0.26],
                "tickformat": ".0%",
                "nticks": 4,
                "rangemode": "tozero",
            },
            "height": 440,
            "showlegend": len(lines) > 1,
        },
    }


def exposure_chart(summary: RunSummary) -> Figure:
    """Gross and net exposure as shares of equity; averages where there are many slices."""
    curve = summary.curves.account
    equity = curve.equity.astype(np.float64)
    starts = np.arange(0, len(equity), -(-len(equity) // MAX_AVERAGES))
    lengths = np.diff(starts, append=len(equity))
    shares: list[Floats] = []
    for each in (curve.gross_exposure, curve.net_exposure):
        share = np.full(len(equity), np.nan)
        np.divide(each, equity, out=share, where=equity > 0)
        shares.append(np.add.reduceat(share, starts) / lengths)
    ts = curve.ts[starts]
    gross, net = shares
    step = {"line": {"width": 1.5, "shape": "hv", "color": BLUE}, "hovertemplate": "%{y:.1%}"}
    area = {"fill": "tozeroy", "fillcolor": "rgba(47,111,222,0.15)"}
    dotted = {"line": {"width": 1.2, "shape": "hv", "color": GRAY}}
    return {
        "data": [
            _line("Gross", ts, gross, BLUE, digits=5) | step | area,
            _line("Net", ts, net, GRAY, digits=5) | step | dotted,
        ],
        "layout": {
            "xaxis": _time_axis(summary),
            "yaxis": {"tickformat": ".0%", "rangemode": "tozero"},
            "height": 260,
        },
    }


def distribution_chart(summary: RunSummary) -> Figure:
    """How many periods had which return; the outermost bars hold everything beyond 4 deviations."""
    account = summary.account
    clock = ReturnsClock(account.returns_clock, account.periods_per_year)
    curve = summary.curves.account
    returns = compute_returns(compute_growth(curve)[period_ends(curve.ts, clock)])
    known = returns[np.isfinite(returns)]
    largest = float(np.abs(known).max(initial=0.0))
    spread = 4 * float(np.std(known)) if len(known) else 0.0
    reach = min(largest, spread or largest) or 0.01
    counts, edges = np.histogram(np.clip(known, -reach, reach), 41, (-reach, reach))
    middles = (edges[1:] + edges[:-1]) / 2
    colors = np.where(np.abs(middles) < reach / 82, GRAY, np.where(middles > 0, GREEN, RED))
    return {
        "data": [
            {
                "type": "bar",
                "x": np.round(middles, 8).tolist(),
                "y": counts.tolist(),
                "width": round(2 * reach / 41, 8),
                "marker": {"color": colors.tolist(), "line": {"width": 0}},
                "hovertemplate": "%{x:.2%}: %{y}<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": {
                "tickformat": ".1%",
                "nticks": 5,
                "tickangle": 0,
                "range": [-1.03 * reach, 1.03 * reach],
            },
            "yaxis": {"nticks": 5},
            "bargap": 0.08,
            "height": 260,
        },
    }


def price_chart(summary: RunSummary, instrument: InstrumentId) -> Figure:
    """Closes of one instrument with the fills that entered and left positions."""
    marks = summary.marks.of(instrument)
    terms = marks.instrument
    rows = summary.timeline.rows_of(instrument)[: len(marks.ts_close)]
    closes = summary.timeline.columns["close"][rows]
    digits = max(0, -int(terms.tick_size.normalize().as_tuple().exponent))
    close = _line("Close", marks.ts_close, closes, BLUE, digits=digits)
    close["line"]["width"] = 1.2
    data = [close]
    for name, fills in _sort_fills(summary, instrument).items():
        symbol, color = _MARKERS[name]
        shown = fills[-MAX_MARKERS:]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": name,
                "x": [each.ts_fill // 1_000_000 for each in shown],
                "y": [float(terms.ticks_to_price(each.ticks)) for each in shown],
                "text": [f"{terms.lots_to_quantity(each.lots):,f}" for each in shown],
                "marker": {"symbol": symbol, "color": color, "size": 9 if len(shown) < 150 else 6},
                "hovertemplate": f"{name} %{{text}} at %{{y}}<extra></extra>",
            }
        )
    return {
        "data": data,
        "layout": {
            "xaxis": _time_axis(summary),
            "yaxis": {},
            "height": 320,
            "showlegend": True,
        },
    }


def _sort_fills(summary: RunSummary, instrument: InstrumentId) -> dict[str, list[OrderFilled]]:
    """Fills of one instrument by what they did to their strategy's position; a flip enters."""
    kinds: dict[str, list[OrderFilled]] = {name: [] for name in _MARKERS}
    held: dict[str, int] = {}
    for _, fill in summary.projection.account_events:
        if isinstance(fill, PositionAdjusted):
            for name, lots in ((fill.instrument, fill.lots), (fill.other, fill.other_lots)):
                if name == instrument:
                    held[fill.strategy] = lots
            continue
        if isinstance(fill, CapitalDeposited | CashPosted) or fill.instrument != instrument:
            continue
        if isinstance(fill, PositionSettled):
            held[fill.strategy] = fill.lots
            continue
        before = held.get(fill.strategy, 0)
        after = held[fill.strategy] = before + int(fill.side) * fill.lots
        enters = after * fill.side > 0
        long = (after if enters else before) > 0
        kinds[f"{'Long' if long else 'Short'} {'entry' if enters else 'exit'}"].append(fill)
    return {name: fills for name, fills in kinds.items() if fills}


def _time_axis(summary: RunSummary) -> Figure:
    """The same span on every chart, a little wider than the run."""
    first, last = int(summary.marks.slice_ts[0]), int(summary.marks.slice_ts[-1])
    margin = max((last - first) // 100, 1_000_000)
    return {"type": "date", "range": [(first - margin) // 1_000_000, (last + margin) // 1_000_000]}


def _line(name: str, ts: Ints, values: Floats, color: str | None, *, digits: int) -> Figure:
    drawn = thin(values)
    shown = np.round(values[drawn], digits)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": (ts[drawn] // 1_000_000).tolist(),
        "y": [None if value != value else value for value in shown.tolist()],
        "line": {"width": 1.5} | ({"color": color} if color else {}),
        "hovertemplate": "%{y:,}",
    }
