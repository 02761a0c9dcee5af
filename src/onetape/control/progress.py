"""The live progress of a backtest, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from onetape.control.terminal import console
from onetape.domain.numbers import minor_to_float

if TYPE_CHECKING:
    from onetape.runtime.sessions.backtest import Progress


@contextmanager
def live_progress(*, quiet: bool) -> Generator[Callable[[Progress], None] | None]:
    """A bar with bars/s, time left and equity while the block runs; None when nobody watches.

    Nobody watches when stderr is no terminal, or `quiet` is set.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Screen

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[speed_text]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[equity_text]}"),
    )
    with Screen(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, speed_text="loading data", equity_text="")
        started, rows_before = 0.0, 0

        def show(now: Progress) -> None:
            nonlocal started, rows_before
            if not started:
                started, rows_before = monotonic(), now.rows_done
            seconds = monotonic() - started
            speed = (now.rows_done - rows_before) / seconds if seconds else 0.0
            bar.update(
                task,
                total=now.rows_total,
                completed=now.rows_done,
                speed_text=f"{speed:,.0f} bars/s",
                equity_text=f"equity {minor_to_float(now.equity):,.2f}",
            )

        yield show
