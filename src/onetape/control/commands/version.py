"""`onetape version`, and `onetape --version`."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from onetape import __version__


def version() -> None:
    """Print the version."""
    print(f"onetape {__version__} (Python {platform.python_version()})")


def _print_and_end(asked: bool) -> None:
    if asked:
        version()
        raise typer.Exit


def options(
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_and_end, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """One strategy codebase in research, backtest, paper and live, on one replayable tape."""
