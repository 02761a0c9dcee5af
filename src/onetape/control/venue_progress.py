"""The live progress of a local venue, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onetape.control.terminal import console
from onetape.domain.timestamps import to_iso

if TYPE_CHECKING:
    from onetape.runtime.local_venues.serving import ServingProgress


@contextmanager
def live_venue() -> Generator[Callable[[ServingProgress], None]]:
    """A bar with virtual time, clients, orders, fills and faults while the block runs.

    Nothing is shown when stderr is no terminal.
    """
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn
    from rich.progress import Progress as Screen

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[now]}"))
    with Screen(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, now="")
        yield lambda now: bar.update(
            task, total=now.rows_total, completed=now.rows_played, now=describe(now)
        )


def describe(now: ServingProgress) -> str:
    """One line of how far a local venue is."""
    faults = f", {now.faults:,} faults" if now.faults else ""
    return (
        f"{to_iso(now.ts)}, {now.clients:,} streams, {now.orders:,} orders, "
        f"{now.executions:,} fills{faults}"
    )
