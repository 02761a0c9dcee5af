"""The section "Performance" of a report: the place for measurements that lie beside the file.

No two runs take the same time, and the report of a run is the same bytes each time. So the page
holds the place and a script only. It shows what `performance.js` beside the page sets, or says that
there is none.
"""

from __future__ import annotations

from importlib.resources import files

from onetape.research.report_page import section

NO_MEASUREMENTS = "No measurements beside this file."


def performance_section() -> str:
    """The section; always the same."""
    script = (files("onetape.research") / "report_performance.js").read_text("utf-8")
    return section(
        "Performance",
        f'<div id="performance"><p class="soft">{NO_MEASUREMENTS}</p></div>'
        '<script src="performance.js" defer></script>\n'
        f'<script id="show-performance">\n{script}</script>',
    )
