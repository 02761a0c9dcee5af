"""The live progress of a sweep, on stderr."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from onetape.control.terminal import console, plain

if TYPE_CHECKING:
    from onetape.research.sweep_metric import Metric
    from onetape.research.sweep_run import SweepProgress


@contextmanager
def live_sweep(metric: Metric, *, quiet: bool) -> Generator[Callable[[SweepProgress], None]]:
    """A bar with sets done, sets/s, time left and the best metric so far while the block runs.

    Nothing is shown when stderr is no terminal, or `quiet` is set.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed_text]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[best_text]}"),
    )
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, speed_text="loading and compiling", best_text="")
        started, done_before = 0.0, 0

        def show(now: SweepProgress) -> None:
            nonlocal started, done_before
            if not started:
                started, done_before = monotonic(), now.done
            seconds = monotonic() - started
            speed = (now.done - done_before) / seconds if seconds else 0.0
            bar.update(
                task,
                total=now.total,
                completed=now.done,
                speed_text=f"{speed:,.0f} sets/s" if speed >= 10 else f"{speed:.1f} sets/s",
                best_text=f"best {plain(metric.label)} {plain(metric.show(now.best))}",
            )

        yield show
