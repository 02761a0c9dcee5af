"""`onetape parity`: a paper or live session beside its backtest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.options import CatalogNowOption, DebugOption, JsonOption
from onetape.control.tape_target import tape_of
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import DataError
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.research.report_tables import Table
    from onetape.runtime.parity.comparison import Comparison
    from onetape.runtime.parity.paths import OrderPath
    from onetape.runtime.parity.sentinel import Parity


def parity(
    session: Annotated[
        str,
        typer.Argument(
            metavar="SESSION|RUN_DIR",
            help="A run's directory or tape, the session's name or the beginning of its id.",
        ),
    ],
    *,
    runs: Annotated[Path, typer.Option("--runs", metavar="DIR", help="Where the runs are.")] = Path(
        "runs"
    ),
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as one HTML file.")
    ] = None,
    catalog: CatalogNowOption = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Verify a session, run it again as a backtest, and split what differs into its causes."""
    from onetape.runtime.parity.sentinel import check_parity

    found = check_parity(_find(session, runs), catalog)
    if html is not None:
        from onetape.research.parity_page import write_parity

        write_parity(html, found)
    if as_json:
        print_json(_describe(found))
    else:
        _print(found)
        if html is not None:
            print(f"Page: {html}")
    if found.exit_code:
        raise typer.Exit(found.exit_code)


def _find(session: str, runs: Path) -> Path:
    """The tape of a session that runs or has run.

    Raises:
        DataError: There is none like this, or more than one.
    """
    from onetape.tape.opening import open_tape, tape_path

    if Path(session).exists():
        return tape_of(Path(session))
    folders = sorted(each for each in runs.glob("*/") if tape_path(each).exists())
    found = [each for each in folders if f"-{session}-" in each.name]
    if not found:
        for each in folders:
            reader = open_tape(tape_path(each))
            try:
                if reader.header.session.startswith(session):
                    found.append(each)
            finally:
                reader.close()
    if len(found) == 1:
        return tape_path(found[0])
    named = ", ".join(str(each) for each in found[-5:])
    raise DataError(
        f"{len(found)} sessions are meant by {session}", where=str(runs),
        remedy=f"name the directory: {named}" if found else "name the directory of a run",
    )  # fmt: skip


def _print(found: Parity) -> None:
    from onetape.research.parity_page import (
        cause_table,
        describe_parity,
        order_table,
        result_table,
    )

    print(found.verification.what)
    for line in describe_parity(found):
        print(line)
    if found.comparison is None:
        return
    instruments = {each.id: each for each in found.instruments}
    for each in (
        result_table(found.comparison), cause_table(found.comparison),
        order_table(found.comparison, instruments),
    ):  # fmt: skip
        if each.rows:
            print()
            _print_rows(each)


def _print_rows(shown: Table) -> None:
    headers = (f"{'>' * (at >= shown.words)}{name}" for at, name in enumerate(shown.columns))
    print_table(tuple(headers), shown.rows)
    print(shown.remark)


def _describe(found: Parity) -> dict[str, Any]:
    """Exact decimals as text, so that nothing is lost on the way."""
    return {
        "name": found.name,
        "session": found.verification.session,
        "mode": found.mode,
        "verdict": found.verification.verdict.value,
        "what": found.verification.what,
        "exit_code": found.exit_code,
        "bars": found.bars,
        "doubtful_bars": found.doubtful_bars,
        "no_backtest": found.no_backtest,
        "is_backtest_same": found.is_backtest_same,
        "comparison": found.comparison and _describe_comparison(found.comparison),
    }


def _describe_comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "difference": _amount(comparison.total()),
        "strategies": [
            {
                "strategy": each.strategy,
                "currency": each.currency,
                "session": _amount(each.session_result),
                "backtest": _amount(each.backtest_result),
                "decisions": each.decisions,
                "same_decisions": each.same_decisions,
                "orders": each.orders,
                "same_orders": each.same_orders,
            }
            for each in comparison.strategies
        ],
        "partings": [
            {
                "strategy": each.strategy,
                "before": each.before,
                "time": to_iso(each.ts),
                "session": each.session,
                "backtest": each.backtest,
            }
            for each in comparison.partings
        ],
        "differences": [
            {
                "cause": each.cause.value,
                "strategy": each.strategy,
                "instrument": each.instrument,
                "lots": each.lots,
                "amount": _amount(each.amount),
                "session": _path(each.session),
                "backtest": _path(each.backtest),
            }
            for each in comparison.differences
        ],
    }


def _path(path: OrderPath | None) -> dict[str, Any] | None:
    return path and {
        "client_order_id": path.client_order_id,
        "side": path.side.name,
        "ending": path.ending,
        "fills": [
            {"time": to_iso(each.ts), "lots": each.lots, "ticks": each.ticks,
             "fee": _amount(each.fee)}
            for each in path.fills
        ],
    }  # fmt: skip


def _amount(minor: int) -> str:
    return f"{minor_to_decimal(minor):f}"
