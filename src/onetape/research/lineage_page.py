"""The lineage of features as a self-contained HTML page: boxes in layers, and lines."""

from __future__ import annotations

import html

from onetape.features.lineage import LineageNode

_WIDTH, _HEIGHT = 250, 44
_GAP_X, _GAP_Y = 90, 18
_MARGIN = 20
_CHARACTERS = 34

_STYLE = """
body { font: 14px system-ui, sans-serif; margin: 2em; color: #1a1a1a; background: #fff; }
svg { max-width: 100%; height: auto; }
rect { fill: #eef3fb; stroke: #4a6fa5; rx: 5; }
rect.column { fill: #f4f4f4; stroke: #999; }
path { fill: none; stroke: #8a9bb5; }
text { font-size: 13px; fill: #1a1a1a; }
text.formula { font: 11px ui-monospace, monospace; fill: #555; }
"""


def render_lineage_page(nodes: list[LineageNode], title: str) -> str:
    """The page. `nodes` come from `trace_lineage`."""
    places = _place(nodes)
    width = max((x for x, _ in places.values()), default=0) + _WIDTH + _MARGIN
    height = max((y for _, y in places.values()), default=0) + _HEIGHT + _MARGIN
    drawn = [_line(places[key], places[each.key]) for each in nodes for key in each.reads]
    drawn += [_box(each, *places[each.key]) for each in nodes]
    body = "\n".join(drawn)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}'
        f"</title><style>{_STYLE}</style></head>\n<body><h1>{html.escape(title)}</h1>\n"
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-label="What each feature is made of">\n{body}\n</svg>\n</body></html>\n'
    )


def _place(nodes: list[LineageNode]) -> dict[str, tuple[int, int]]:
    """The upper left corner of each box: columns of bars left, what reads them to the right."""
    rows: dict[int, int] = {}
    places: dict[str, tuple[int, int]] = {}
    for each in nodes:
        row = rows.get(each.depth, 0)
        rows[each.depth] = row + 1
        places[each.key] = (
            _MARGIN + each.depth * (_WIDTH + _GAP_X),
            _MARGIN + row * (_HEIGHT + _GAP_Y),
        )
    return places


def _box(node: LineageNode, x: int, y: int) -> str:
    kind = "feature" if node.formula else "column"
    formula = html.escape(_shorten(node.formula))
    return (
        f"<g><title>{html.escape(node.formula or 'column of bars')}</title>"
        f'<rect class="{kind}" x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}"/>'
        f'<text x="{x + 10}" y="{y + 18}">{html.escape(node.key)}</text>'
        f'<text class="formula" x="{x + 10}" y="{y + 35}">{formula}</text></g>'
    )


def _shorten(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[: _CHARACTERS - 1]}…"


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    x, y = start[0] + _WIDTH, start[1] + _HEIGHT // 2
    to_x, to_y = end[0], end[1] + _HEIGHT // 2
    middle = (x + to_x) // 2
    return f'<path d="M{x},{y} C{middle},{y} {middle},{to_y} {to_x},{to_y}"/>'
