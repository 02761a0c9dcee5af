"""A page of a report as one HTML file: styles, charts and plotly itself are inside."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path

from onetape.domain.errors import DataError
from onetape.research.report_charts import Figure
from onetape.research.report_tables import Table
from onetape.research.result_table import Row
from onetape.runtime.run_files import write_whole

TALL_ROWS = 40
"""A longer table scrolls in its own window."""
_TONES = {1: ' class="good"', -1: ' class="bad"', 0: ""}


def render_page(name: str, body: Iterable[str], figures: Mapping[str, Figure]) -> str:
    """The whole page.

    Args:
        name: Title, not escaped yet.
        body: Its parts, as HTML.
        figures: Charts by the id of their place.
    """
    from plotly.offline import get_plotlyjs

    here = files("onetape.research")
    content = "\n".join(body)
    data = json.dumps(figures, separators=(",", ":"), allow_nan=False).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}</title>
<style>
{(here / "report.css").read_text("utf-8")}</style>
</head>
<body>
<main>
{content}
</main>
<script type="application/json" id="figures">{data}</script>
<script>{get_plotlyjs()}</script>
<script>
{(here / "report.js").read_text("utf-8")}</script>
</body>
</html>
"""


def render_still_page(name: str, body: Iterable[str], *, remark: str = "", style: str = "") -> str:
    """A whole page without charts: it needs neither a network nor a script.

    Args:
        name: Title, not escaped yet.
        body: Its parts, as HTML.
        remark: Below the title, not escaped yet.
        style: CSS beside that of the reports.
    """
    below = f'<p class="soft">{escape(remark)}</p>' if remark else ""
    css = (files("onetape.research") / "report.css").read_text("utf-8")
    content = "\n".join(body)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(name)}</title>
<style>
{css}{style}</style>
</head>
<body>
<main>
<header><h1>{escape(name)}</h1>{below}</header>
{content}
</main>
</body>
</html>
"""


def check_target(path: Path) -> None:
    """Refuse a file that exists.

    Raises:
        DataError: It does.
    """
    if path.exists():
        raise DataError("the file exists, and nothing is overwritten", where=str(path),
                        remedy="remove it, or name another with --html")  # fmt: skip


def write_page(path: Path, html: str) -> None:
    """Write a page that somebody asked for, where nothing is yet.

    Raises:
        DataError: The file exists.
        TryAgain: It can't be written.
    """
    check_target(path)
    write_whole(path, html.encode())


def section(title: str, content: str) -> str:
    """A box with a heading; `content` is HTML."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def chart(identity: str) -> str:
    """The place of a chart."""
    return f'<div class="chart" id="{identity}"></div>'


def figures_grid(rows: Sequence[Row]) -> str:
    """Figures as label and value, side by side."""
    cells = (
        f"<div><dt>{escape(row.label)}</dt><dd{_TONES[row.tone]}>{escape(row.value)}</dd></div>"
        for row in rows
    )
    return f'<dl class="figures">{"".join(cells)}</dl>'


def table(content: Table) -> str:
    """A table with its remark; its cells are escaped here."""
    if not content.rows:
        return '<p class="soft">None.</p>'

    def line(tag: str, row: Sequence[str]) -> str:
        left = f'<{tag} class="left">'
        cells = (
            f"{left if at < content.words else f'<{tag}>'}{escape(value)}</{tag}>"
            for at, value in enumerate(row)
        )
        return f"<tr>{''.join(cells)}</tr>"

    remark = f"<small>{escape(content.remark)}</small>" if content.remark else ""
    tall = " tall" if len(content.rows) > TALL_ROWS else ""
    return (
        f'<div class="scroll{tall}"><table><thead>{line("th", content.columns)}</thead>'
        f"<tbody>{''.join(line('td', row) for row in content.rows)}</tbody></table></div>{remark}"
    )
