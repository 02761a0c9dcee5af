"""Orders of a run under other limits, as text and as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files
from pathlib import Path

from onetape.domain.errors import DataError
from onetape.domain.timestamps import to_iso
from onetape.research.report_page import section
from onetape.runtime.risk_audit import AuditedOrder, RiskOutcome
from onetape.runtime.risk_replay import CAVEAT, RiskReplay
from onetape.runtime.run_files import write_whole

ORDER_COLUMNS = ("time, UTC", "order", "instrument", "side", "lots", "in the run", "what if")


def order_row(order: AuditedOrder) -> tuple[str, ...]:
    """An order as one row of `ORDER_COLUMNS`."""
    change = " (replace)" if order.is_replace else ""
    return (
        to_iso(order.ts), order.client_order_id + change, order.instrument, order.side.name,
        f"{order.lots:,}", _tell(order.run), _tell(order.other),
    )  # fmt: skip


def _tell(outcome: RiskOutcome) -> str:
    if outcome.verdict == "passed":
        return "passed"
    left = f" to {outcome.lots:,} lots" if outcome.verdict == "shrunk" else ""
    return (
        f"{outcome.verdict}{left} by {outcome.gate}: {outcome.actual:,.10g} against "
        f"{outcome.limit:,.10g} {outcome.unit}"
    )


def tell_counts(found: RiskReplay) -> Iterator[str]:
    """How many orders passed, were shrunk and denied under both limits, and by which gates."""
    yield f"{len(found.orders):,} orders came to the gates"
    for name, is_run in (("in the run", True), ("what if", False)):
        counts = found.count(run=is_run).items()
        told = ", ".join(f"{number:,} {verdict}" for verdict, number in counts)
        yield f"{name}: {told}"
    for (verdict, gate), number in found.count_gates().items():
        yield f"  {number:,} {verdict} by {gate}"
    yield f"{len(found.differing):,} orders come out otherwise than in the run"


def write_risk_page(path: Path, found: RiskReplay) -> None:
    """Write the page; the same result gives the same bytes.

    Raises:
        DataError: The file exists.
        TryAgain: It can't be written.
    """
    if path.exists():
        raise DataError("the file exists, and nothing is overwritten", where=str(path),
                        remedy="remove it, or name another with --html")  # fmt: skip
    write_whole(path, render_risk_page(found).encode())


def render_risk_page(found: RiskReplay) -> str:
    """The whole page; it needs neither a network nor a script."""
    title = f"Other limits on session {found.session}"
    css = (files("onetape.research") / "report.css").read_text("utf-8")
    counts = "".join(f"<p>{escape(line)}</p>" for line in tell_counts(found))
    head = "".join(f"<th>{name}</th>" for name in ORDER_COLUMNS)
    rows = "".join(f"<tr>{_cells(order_row(each))}</tr>" for each in found.differing)
    table = f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>
{css}</style>
</head>
<body>
<main>
<header><h1>{escape(title)}</h1><p>{escape(CAVEAT)}</p></header>
{section("How many", counts)}
{section("Orders that come out otherwise", table)}
</main>
</body>
</html>
"""


def _cells(row: tuple[str, ...]) -> str:
    return "".join(f'<td class="left">{escape(cell)}</td>' for cell in row)
