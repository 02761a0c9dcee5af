"""The live progress of a command that runs a session many times, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager

from onetape.control.terminal import console


@contextmanager
def live_runs(*, quiet: bool) -> Generator[Callable[[int, int], None] | None]:
    """A bar with runs done, runs planned and time left while the block runs.

    None, and nothing is shown, when stderr is no terminal, or `quiet` is set.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("runs"), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, planned: bar.update(task, completed=done, total=planned)
