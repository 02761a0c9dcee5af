"""The statement of a day as one small HTML file; every line has the seq of its event."""

from __future__ import annotations

from pathlib import Path

from onetape.domain.numbers import show_minor
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.portfolio.statement import Balances, Statement
from onetape.research.report_page import render_still_page, section, table, write_page
from onetape.research.report_tables import Table


def write_statement(path: Path, session: str, stated: Statement) -> None:
    """Write the page; the same statement gives the same bytes.

    Raises:
        DataError: The file exists.
        TryAgain: It can't be written.
    """
    write_page(path, render_statement(session, stated))


def render_statement(session: str, stated: Statement) -> str:
    """The whole page; it needs neither a network nor a script."""
    title = f"Statement of {to_iso(stated.day * NS_PER_DAY)[:10]}"
    return render_still_page(
        title, map(_section, stated.balances), remark=f"session {session}, UTC"
    )


def _section(each: Balances) -> str:
    return section(
        f"{each.strategy}, {each.currency}", table(book_table(each)) + table(position_table(each))
    )


def book_table(each: Balances) -> Table:
    """Opening, every entry with the seq of its event, closing; accounts that are used."""
    names = [
        name
        for name in each.closing
        if each.opening[name] or each.closing[name] or any(name in e.changes for e in each.entries)
    ]
    lines = [
        (
            str(entry.seq), to_iso(entry.ts)[11:19],
            " ".join(filter(None, (entry.kind, entry.instrument, entry.text))),
            *(show_minor(entry.changes[name], "+") if name in entry.changes else ""
              for name in names),
        )
        for entry in each.entries
    ]  # fmt: skip
    opening = ("", "", "opening", *(show_minor(each.opening[name]) for name in names))
    closing = ("", "", "closing", *(show_minor(each.closing[name]) for name in names))
    return Table(("event", "time", "what", *names), [opening, *lines, closing], words=3)


def position_table(each: Balances) -> Table:
    """What is held at the end of the day, at its marks."""
    return Table(
        ("position", "quantity", "cost", "mark", "value", "unrealized"),
        [
            (
                position.instrument, f"{position.quantity:,f}", show_minor(position.cost),
                "" if position.mark is None else f"{position.mark:,f}",
                show_minor(position.value), show_minor(position.unrealized),
            )
            for position in each.positions
        ],
        words=1,
        remark=f"Equity {show_minor(each.equity)} {each.currency}.{_translation(each)}",
    )  # fmt: skip


def _translation(each: Balances) -> str:
    """Foreign cash in the currency of the books: what moved it, and what the rate made of it."""
    made = each.translation
    if made is None:
        return ""
    return (
        f" That is {show_minor(made.equity)} {made.home}. Cash in {made.home}: "
        f"{show_minor(made.opening)} at the opening, {show_minor(made.moved, '+')} moved, "
        f"{show_minor(made.revaluation, '+')} by the rate, {show_minor(made.closing)} at the close."
    )
