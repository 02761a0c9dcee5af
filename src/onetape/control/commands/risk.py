"""`onetape risk`: what other limits would have done to a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.options import CatalogNowOption, DebugOption, JsonOption
from onetape.control.progress import live_progress
from onetape.control.tape_target import TapeArgument, tape_of
from onetape.control.terminal import print_json
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.runtime.risk_audit import AuditedOrder
    from onetape.runtime.risk_replay import RiskReplay

app = typer.Typer(help="Ask what other risk limits would have done.", no_args_is_help=True)

SHOWN_MAX = 30
"""Orders that the table in the terminal lists; --json and --html have all."""


@app.callback()
def _risk() -> None:
    """Ask what other risk limits would have done."""


@app.command()
def replay(
    target: TapeArgument,
    *,
    limits: Annotated[
        Path, typer.Option(metavar="FILE", help="YAML with a `risk` section: the other limits.")
    ],
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write all orders as one HTML file.")
    ] = None,
    catalog: CatalogNowOption = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Tell which orders of a finished run other limits would have denied or shrunk."""
    from onetape.runtime.risk_replay import CAVEAT, read_limits, replay_risk

    asked = read_limits(limits, os.environ)
    with live_progress(quiet=as_json) as on_progress:
        found = replay_risk(tape_of(target), asked, catalog, on_progress)
    for each in (*found.changes, *found.idle):
        print(f"warning: {each}", file=sys.stderr)
    if html is not None:
        from onetape.research.risk_page import write_risk_page

        write_risk_page(html, found)
    if as_json:
        print_json(_describe(found) | {"caveat": CAVEAT})
        return
    _print(found)
    print(f"\n{CAVEAT}")
    if html is not None:
        print(f"Page: {html}")


def _describe(found: RiskReplay) -> dict[str, Any]:
    return {
        "session": found.session,
        "orders": len(found.orders),
        "run": found.count(run=True),
        "what_if": found.count(run=False),
        "gates": [
            {"verdict": verdict, "gate": gate, "orders": number}
            for (verdict, gate), number in found.count_gates().items()
        ],
        "differing": [_describe_order(each) for each in found.differing],
        "changes": found.changes,
        "idle": found.idle,
    }


def _describe_order(order: AuditedOrder) -> dict[str, Any]:
    import msgspec

    values = msgspec.to_builtins(order)
    return values | {"ts": to_iso(order.ts), "side": order.side.name}


def _print(found: RiskReplay) -> None:
    from onetape.research.risk_page import ORDER_COLUMNS, order_row, tell_counts

    for line in tell_counts(found):
        print(line)
    rows = [order_row(each) for each in found.differing]
    if not rows:
        return
    shown = [ORDER_COLUMNS, *rows[:SHOWN_MAX]]
    widths = [max(len(row[at]) for row in shown) for at in range(len(ORDER_COLUMNS))]
    print()
    for row in shown:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    if len(rows) > SHOWN_MAX:
        print(f"and {len(rows) - SHOWN_MAX:,} more: --json or --html has all")
