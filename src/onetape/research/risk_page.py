"""Orders of a run under other limits, as text and as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from onetape.domain.timestamps import to_iso
from onetape.research.report_page import render_still_page, section, write_page
from onetape.runtime.risk_audit import AuditedOrder, RiskOutcome
from onetape.runtime.risk_replay import CAVEAT, RiskReplay

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
    write_page(path, render_risk_page(found))


def render_risk_page(found: RiskReplay) -> str:
    """The whole page; it needs neither a network nor a script."""
    title = f"Other limits on session {found.session}"
    counts = "".join(f"<p>{escape(line)}</p>" for line in tell_counts(found))
    head = "".join(f'<th class="left">{name}</th>' for name in ORDER_COLUMNS)
    rows = "".join(f"<tr>{_cells(order_row(each))}</tr>" for each in found.differing)
    table = f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
    return render_still_page(
        title,
        [
            section("How many", counts),
            section("Orders that come out otherwise", table),
        ],
        remark=CAVEAT,
    )


def _cells(row: tuple[str, ...]) -> str:
    return "".join(f'<td class="left">{escape(cell)}</td>' for cell in row)
