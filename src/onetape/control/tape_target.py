"""A tape on the command line: its file (or its pointer), or the directory of its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TapeArgument = Annotated[Path, typer.Argument(metavar="TAPE|RUN_DIR", help="A tape or its run.")]


def tape_of(target: Path) -> Path:
    """The file of the tape, or its pointer where it lies on a server."""
    from onetape.tape.opening import tape_path

    return tape_path(target) if target.is_dir() else target
