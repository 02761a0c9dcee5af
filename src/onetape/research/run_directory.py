"""The directory of one run: its name, and that it is never shared or overwritten."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import datetime
from pathlib import Path


def make_run_directory(parent: Path, name: str, config_hash: str, now: datetime) -> Path:
    """Make `<parent>/<UTC time>-<name>-<8 hex digits of the hash>`, with `-2`, ... when taken.

    Raises:
        OSError: It can't be made; `filename` says which.
    """
    stem = f"{now:%Y%m%dT%H%M%SZ}-{name}-{config_hash[:8]}"
    parent.mkdir(parents=True, exist_ok=True)
    path, number = parent / stem, 1
    while True:
        try:
            path.mkdir()
        except FileExistsError:
            number += 1
            path = parent / f"{stem}-{number}"
        else:
            return path


def remove_run_directory(path: Path) -> None:
    """Remove a run that did not begin, and the directory of runs when nothing else is in it."""
    shutil.rmtree(path)
    with suppress(OSError):
        path.parent.rmdir()
