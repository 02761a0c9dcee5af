"""The chain of an order or event as one small HTML file: a price line, its moments, the story."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from html import escape
from pathlib import Path

import numpy as np

from onetape.domain.timestamps import to_iso
from onetape.marketdata.timeline import Timeline
from onetape.research.report_page import render_still_page, section, write_page
from onetape.telemetry.why import Chain, Link

_WIDTH, _HEIGHT, _MARGIN = 1100, 320, 14
_AROUND_ROWS = 30
"""Rows of the instrument that are drawn before the first moment and after the last."""
_POINTS_MAX = 2000
_LABEL_WIDTH = 40
_STYLE = """
svg { width: 100%; height: auto; display: block; }
svg .price { fill: none; stroke: var(--soft); stroke-width: 1.5; }
svg .moment line { stroke: var(--rule); stroke-dasharray: 4 3; }
svg .moment circle { fill: var(--good); }
svg .moment.risk circle, svg .moment.failure circle { fill: var(--bad); }
svg text { fill: var(--ink); font-size: 12px; }
td.story { text-align: left; white-space: normal; }
"""


def write_why(path: Path, chain: Chain, links: list[Link], timeline: Timeline) -> None:
    """Write the page of a chain; the same chain gives the same bytes.

    Raises:
        DataError: The file exists.
        TryAgain: It can't be written.
    """
    write_page(path, render_why(chain, links, timeline))


def render_why(chain: Chain, links: list[Link], timeline: Timeline) -> str:
    """The whole page; it needs neither a network nor a script."""
    title = f"Why {chain.order}" if chain.order else f"Why event {links[-1].seq}"
    rows = "".join(
        f'<tr><td>{number}</td><td>{link.seq}</td><td class="left">{to_iso(link.ts)}</td>'
        f'<td class="left">{escape(link.kind)}</td><td class="story">{escape(link.text)}</td></tr>'
        for number, link in enumerate(links, 1)
    )
    named = "".join(f'<th class="left">{name}</th>' for name in ("time, UTC", "what", "story"))
    head = f"<th></th><th>seq</th>{named}"
    story = f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
    return render_still_page(
        title,
        [
            section("When", _picture(links, timeline)),
            section("What", story),
        ],
        style=_STYLE,
    )


def _picture(links: list[Link], timeline: Timeline) -> str:
    """The closes around the chain as a line, with a numbered dot for each moment."""
    rows = [link.row for link in links if link.row >= 0]
    if not rows:
        return '<p class="soft">No bar stands behind it.</p>'
    columns = timeline.columns
    instrument = timeline.instruments[int(timeline.instrument_index[rows[0]])].id
    own = timeline.rows_of(instrument)
    known, moments_of = columns["ts_known"].item, [link.ts for link in links]
    first = bisect_left(own.data, min(moments_of), key=known)
    last = bisect_right(own.data, max(moments_of), key=known)
    shown = own[max(0, first - _AROUND_ROWS) : last + _AROUND_ROWS]
    shown = shown[:: max(1, -(-len(shown) // _POINTS_MAX))]
    ts, close = columns["ts_known"][shown], columns["close"][shown]
    low, high = float(close.min()), float(close.max())
    start, span = int(ts[0]), max(int(ts[-1] - ts[0]), 1)

    def across(moment: int) -> float:
        place = min(max((moment - start) / span, 0.0), 1.0)
        return round(_MARGIN + place * (_WIDTH - 2 * _MARGIN), 1)

    def down(price: float) -> float:
        place = (high - price) / ((high - low) or 1.0)
        return round(_MARGIN + 20 + place * (_HEIGHT - 2 * _MARGIN - 40), 1)

    line = " ".join(
        f"{across(int(moment))},{down(float(price))}"
        for moment, price in zip(ts, close, strict=True)
    )
    moments: dict[int, list[int]] = {}
    for number, link in enumerate(links, 1):
        moments.setdefault(link.ts, []).append(number)
    dots, level, label_x = "", 0, -math.inf
    for moment, numbers in moments.items():
        at = min(max(int(np.searchsorted(ts, moment, side="right")) - 1, 0), len(ts) - 1)
        x, y = across(moment), down(float(close[at]))
        level = level + 1 if x - label_x < _LABEL_WIDTH else 0  # one below the other, where near
        label_x = x
        kinds = {links[number - 1].kind.partition(".")[0] for number in numbers}
        denied = any(links[number - 1].kind == "risk.denied" for number in numbers)
        marked = " risk" if denied else " failure" if "failure" in kinds else ""
        named = f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]}-{numbers[-1]}"
        hint = "; ".join(f"{links[each - 1].kind}: {links[each - 1].text}" for each in numbers)
        dots += (
            f'<g class="moment{marked}"><title>{escape(hint)}</title>'
            f'<line x1="{x}" y1="{_MARGIN}" x2="{x}" y2="{_HEIGHT - _MARGIN}"/>'
            f'<circle cx="{x}" cy="{y}" r="5"/>'
            f'<text x="{x + 4}" y="{_MARGIN + 8 + 14 * level}">{named}</text></g>'
        )
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="closes of {escape(instrument)}"><polyline class="price" points="{line}"/>'
        f"{dots}</svg><small>Closes of {escape(instrument)} from {to_iso(start)} to "
        f"{to_iso(int(ts[-1]))}, {low:,.6g} to {high:,.6g}; the numbers are those of the table."
        "</small>"
    )
