"""The report of a run: `report.html`, one file that opens offline, and `report.md`."""

from __future__ import annotations

from pathlib import Path

from onetape.research.report_html import render_html
from onetape.research.report_markdown import render_markdown
from onetape.research.run_summary import RunSummary
from onetape.runtime.run_files import write_whole


def write_report(run_dir: Path, summary: RunSummary) -> Path:
    """Write both files into the run's directory and return the path of the HTML.

    The content depends on the summary alone. A run that broke off, or whose strategies raised, has
    a report too, which says so first.

    Raises:
        TryAgain: A file can't be written.
    """
    html = run_dir / "report.html"
    write_whole(html, render_html(summary).encode())
    write_whole(run_dir / "report.md", render_markdown(summary).encode())
    return html
