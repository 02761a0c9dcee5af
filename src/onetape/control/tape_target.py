"""A tape on the command line: its file, or the directory of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TapeArgument = Annotated[Path, typer.Argument(metavar="TAPE|RUN_DIR", help="A tape or its run.")]


def tape_of(target: Path) -> Path:
    """The file of the tape."""
    return target / "tape.db" if target.is_dir() else target
