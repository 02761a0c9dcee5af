"""Two runs on the same inputs as one HTML page: equity curves, where they part, the figures."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np

from onetape.domain.numbers import E8, show_minor
from onetape.domain.timestamps import to_iso
from onetape.portfolio.equity_curve import EquityCurve
from onetape.research.report_charts import BLUE, RED, Figure, thin
from onetape.research.report_format import percent
from onetape.research.report_page import chart, render_page, section, table, write_page
from onetape.research.report_tables import Table
from onetape.runtime.replay.comparison import Comparison
from onetape.telemetry.why import Link


def write_comparison(path: Path, comparison: Comparison, story: str) -> None:
    """Write the page of a comparison; the same comparison gives the same bytes.

    Args:
        path: Where to.
        comparison: What to draw.
        story: What came out, in a sentence.

    Raises:
        DataError: The file exists.
        TryAgain: It can't be written.
    """
    write_page(path, render_comparison(comparison, story))


def render_comparison(comparison: Comparison, story: str) -> str:
    """The whole page; it needs no network."""
    parting = comparison.parting
    body = [
        f"<header><h1>Replay of {escape(comparison.session)}</h1><p>{escape(story)}</p></header>",
        section("Equity of the account", chart("equity")),
        section("Side by side", table(figures(comparison))),
    ]
    if parting is not None:
        body += [
            section("On the tape", table(_chain(parting.tape_chain))),
            section("Other", table(_chain(parting.other_chain))),
        ]
    return render_page(f"Replay of {comparison.session}", body, {"equity": _equity(comparison)})


def figures(comparison: Comparison) -> Table:
    """Counts and money of both sides with their difference, exact."""
    tape, other = comparison.tape, comparison.other
    rows: list[tuple[str, ...]] = [
        (name, f"{one:,}", f"{two:,}", f"{two - one:+,}")
        for name, one, two in (
            (name, getattr(tape, name), getattr(other, name))
            for name in ("decisions", "orders", "fills", "denials")
        )
    ]
    for name in {**tape.strategies, **other.strategies}:
        sides = [side.strategies.get(name) for side in (tape, other)]
        rows.append(
            _money_row(
                f"PnL of {name}, {comparison.currency}", *(each and each.pnl for each in sides)
            )
        )
    unit = comparison.currency
    if len({**tape.strategies, **other.strategies}) > 1:
        rows.append(_money_row(f"PnL, {unit}", tape.account.pnl, other.account.pnl))
    rows += [
        _money_row(f"final equity, {unit}", tape.account.equity, other.account.equity),
        ("max drawdown", *(percent(each.account.max_drawdown) for each in (tape, other)), ""),
    ]
    rows += [
        (f"quarantined: {failure.strategy}", *_marked(failure in tape.quarantined,
                                                      failure in other.quarantined), "")
        for failure in dict.fromkeys((*tape.quarantined, *other.quarantined))
    ]  # fmt: skip
    return Table(columns=("", "tape", "other", "difference"), rows=rows)


def _marked(*sides: bool) -> tuple[str, ...]:
    return tuple("yes" if each else "no" for each in sides)


def _money_row(name: str, one: int | None, two: int | None) -> tuple[str, ...]:
    difference = ""
    if one is not None and two is not None:
        difference = _exact(two - one, sign="+")
    return name, _exact(one), _exact(two), difference


def _exact(minor: int | None, sign: str = "") -> str:
    return "-" if minor is None else show_minor(minor, sign)


def _chain(links: Iterable[Link]) -> Table:
    rows = [(to_iso(each.ts), each.kind, each.text) for each in links]
    return Table(columns=("time, UTC", "what", "story"), rows=rows, words=3)


def _equity(comparison: Comparison) -> Figure:
    sides = (("tape", comparison.tape, BLUE), ("other", comparison.other, RED))
    lines = [_line(name, side.curve, color) for name, side, color in sides]
    layout: Figure = {
        "xaxis": {"type": "date"},
        "yaxis": {"tickformat": "~s"},
        "height": 420,
        "showlegend": True,
    }
    if comparison.parting is not None:
        at = comparison.parting.ts // 1_000_000
        text = "decisions part" if comparison.is_decision else "events part"
        layout["shapes"] = [
            {"type": "line", "x0": at, "x1": at, "y0": 0, "y1": 1, "yref": "paper",
             "line": {"width": 1, "dash": "dot", "color": RED}}
        ]  # fmt: skip
        layout["annotations"] = [
            {"x": at, "y": 1, "yref": "paper", "xanchor": "left", "yanchor": "top", "text": text,
             "showarrow": False}
        ]  # fmt: skip
    return {"data": lines, "layout": layout}


def _line(name: str, curve: EquityCurve, color: str) -> Figure:
    equity = curve.equity / E8
    drawn = thin(equity) if len(equity) else np.arange(0)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": (curve.ts[drawn] // 1_000_000).tolist(),
        "y": np.round(equity[drawn], 2).tolist(),
        "line": {"width": 1.5, "color": color},
        "hovertemplate": "%{y:,}",
    }
