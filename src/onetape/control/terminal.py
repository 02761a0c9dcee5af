"""What commands write: tables for people, one JSON document for programs."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH_OF_FILES = 160


def make_streams_safe() -> None:
    """A character that the terminal's encoding lacks prints as `?` and never raises."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def plain(text: str) -> str:
    """`text` with the minus sign and the dash of typography as `-`, which any terminal has."""
    return text.replace("\u2212", "-").replace("\u2013", "-")


def console(*, stderr: bool = False) -> Console:
    """A console that prints text as it is: no markup, no highlighting, no emoji.

    Where nobody looks at a screen (a pipe, a file) it is wide enough for tables.
    """
    from rich.console import Console

    made = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not made.is_terminal and "COLUMNS" not in os.environ:
        made.width = _WIDTH_OF_FILES
    return made


def print_table(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout. A header that starts with `>` aligns its column to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for header in headers:
        table.add_column(
            header.lstrip(">"),
            justify="right" if header.startswith(">") else "left",
            overflow="fold",
        )
    for row in rows:
        table.add_row(*row)
    console().print(table)


def print_json(value: Any) -> None:
    """`value` as one indented JSON document on stdout; Decimals as text."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def open_in_browser(page: Path) -> None:
    """Show a local file in the user's browser."""
    import webbrowser

    webbrowser.open(page.resolve().as_uri())
