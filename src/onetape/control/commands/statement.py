"""`onetape statement`: the books of a run on one day, every minor unit with its event."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onetape.control.options import CatalogNowOption, DebugOption, JsonOption
from onetape.control.terminal import print_json, print_table
from onetape.domain.errors import DataError
from onetape.domain.numbers import minor_to_decimal
from onetape.domain.timestamps import NS_PER_DAY, from_iso, to_iso

if TYPE_CHECKING:
    from onetape.portfolio.statement import Balances, Statement


def statement(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The directory of a run.")],
    date: Annotated[str, typer.Argument(metavar="DATE", help="A UTC date such as 2024-01-31.")],
    *,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write it as one HTML file.")
    ] = None,
    catalog: CatalogNowOption = None,
    as_json: JsonOption = False,
    _debug: DebugOption = False,
) -> None:
    """Print the statement of a day: balances, what changed them by which event, positions."""
    from onetape.portfolio.statement import state_day

    day = from_iso(date, "date", error=DataError) // NS_PER_DAY
    session, entries, marks = _load(run_dir, catalog)
    _require_day(day, entries, marks)
    stated = state_day(entries, marks, day)
    if html is not None:
        from onetape.research.statement_page import write_statement

        write_statement(html, session, stated)
    if as_json:
        print_json({"session": session, **describe(stated)})
        return
    print(f"session {session}, {_date(day)} (UTC)")
    for each in stated.balances:
        _print(each)
    if html is not None:
        print(f"Page: {html}")


def _load(run_dir: Path, catalog: Path | None) -> tuple[str, Any, Any]:
    from onetape.portfolio.equity_curve import Marks
    from onetape.portfolio.journal import read_journal
    from onetape.research.artifacts import load_tape_timeline
    from onetape.runtime.sessions.recorded import find_catalog, find_files
    from onetape.tape.opening import open_tape, tape_path

    reader = open_tape(tape_path(run_dir))
    try:
        header = reader.header
        timeline = load_tape_timeline(reader, catalog or find_catalog(run_dir), find_files(run_dir))
        return header.session, list(read_journal(reader.events())), Marks(timeline)
    finally:
        reader.close()


def _require_day(day: int, entries: Any, marks: Any) -> None:
    from onetape.portfolio.statement import days_of

    days = days_of(entries, marks)
    if day not in days:
        raise DataError(
            f"the session has no {_date(day)}",
            remedy=f"it went from {_date(days[0])} to {_date(days[-1])}",
        )


def describe(stated: Statement) -> dict[str, Any]:
    """Exact decimals as text, so that nothing is lost on the way."""
    return {
        "date": _date(stated.day),
        "balances": [
            {
                "strategy": each.strategy,
                "currency": each.currency,
                "opening": _amounts(each.opening),
                "entries": [
                    {
                        "seq": entry.seq,
                        "time": to_iso(entry.ts),
                        "kind": entry.kind,
                        "instrument": entry.instrument,
                        "text": entry.text,
                        "changes": _amounts(entry.changes),
                    }
                    for entry in each.entries
                ],
                "closing": _amounts(each.closing),
                "positions": [
                    {
                        "instrument": position.instrument,
                        "quantity": f"{position.quantity:f}",
                        "mark": None if position.mark is None else f"{position.mark:f}",
                        "cost": _amount(position.cost),
                        "value": _amount(position.value),
                        "unrealized": _amount(position.unrealized),
                    }
                    for position in each.positions
                ],
                "equity": _amount(each.equity),
                **_describe_translation(each),
            }
            for each in stated.balances
        ],
    }


def _describe_translation(each: Balances) -> dict[str, Any]:
    """What foreign cash is worth at home, where there is any."""
    if each.translation is None:
        return {}
    names = ("opening", "moved", "revaluation", "closing", "equity")
    amounts = {name: _amount(getattr(each.translation, name)) for name in names}
    return {"translation": {"currency": each.translation.home, **amounts}}


def _amounts(accounts: dict[str, int]) -> dict[str, str]:
    return {name: _amount(amount) for name, amount in accounts.items()}


def _amount(minor: int) -> str:
    return f"{minor_to_decimal(minor):f}"


def _date(day: int) -> str:
    return to_iso(day * NS_PER_DAY)[:10]


def _print(each: Balances) -> None:
    from onetape.research.statement_page import book_table, position_table

    print(f"\n{each.strategy}, {each.currency}")
    for shown in (book_table(each), position_table(each)):
        if len(shown.rows):
            headers = (f"{'>' * (at >= shown.words)}{name}"
                       for at, name in enumerate(shown.columns))  # fmt: skip
            print_table(tuple(headers), shown.rows)
    print(position_table(each).remark)
