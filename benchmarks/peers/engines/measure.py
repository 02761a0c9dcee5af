"""What every engine's script shares: arguments, timing, and one line of JSON. Numpy only."""

from __future__ import annotations

import argparse
import gc
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

CAPITAL = 10_000_000.0
FEE_RATIO = 0.001
FAST, SLOW = 10, 50
LIMIT_OFFSET = 0.08
MOMENTUM_DAYS, TOP, NOTIONAL = 126, 50, 20_000
FLIP_EVERY = 1_000
PATIENCE_SECONDS = 60.0
"""An engine whose first call takes longer is not called again."""


Work = TypeVar("Work")


class Ending(NamedTuple):
    """How a run ends: fills and equity, added up over the sets where there are several."""

    fills: int
    equity: float


class Task(NamedTuple):
    """What a script is asked to measure: `rows` of the market, `sets` of W3, how many `calls`.

    `variant` names one of an engine's ways where it has several.
    """

    workload: str
    variant: str
    market: dict[str, Any]
    rows: int
    sets: int
    workers: int
    calls: int


def read_task() -> Task:
    """The task of the command line; columns are cut to `--rows`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workload", required=True)
    parser.add_argument("--market", type=Path, required=True, help="folder of COLUMN.npy")
    parser.add_argument("--variant", default="")
    parser.add_argument("--rows", type=int, default=0)
    parser.add_argument("--sets", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--calls", type=int, default=4)
    given = parser.parse_args()
    market = {path.stem: np.load(path) for path in sorted(given.market.glob("*.npy"))}
    rows = given.rows or max(len(values) for values in market.values())
    market = {name: values[:rows] for name, values in market.items()}
    return Task(given.workload, given.variant, market, rows, given.sets, given.workers, given.calls)


def sweep_pairs(sets: int) -> list[tuple[int, int]]:
    """The first `sets` of the 1,000 pairs of windows of W3."""
    pairs = [(fast, slow) for fast in range(5, 55, 2) for slow in range(60, 260, 5)]
    return pairs[:sets]


def same(ending: Ending) -> Ending:
    """For engines whose `run` gives the ending itself."""
    return ending


def is_month_start(ts_open: Any) -> Any:
    """True on the first day of each month after the first."""
    months = ts_open.astype("datetime64[ns]").astype("datetime64[M]")
    starts = np.zeros(len(months), dtype=np.bool_)
    starts[1:] = months[1:] != months[:-1]
    return starts


def peak_mb() -> float:
    """Highest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(
    engine: str,
    version: str,
    task: Task,
    run: Callable[[], Work],
    settle: Callable[[Work], Ending],
    *,
    units: int,
    timing: str,
    simulate: Callable[[], Work] | None = None,
    prepared_seconds: float = 0.0,
    note: str = "",
) -> None:
    """Call `run` `task.calls` times, settle the last one, and print the result.

    Args:
        engine: Its name in the table.
        version: Its version.
        task: What was asked for.
        run: The whole work from arrays to books.
        settle: Reads the ending off what `run` gives; not timed.
        units: Bars or ticks of one call, times the sets.
        timing: Whose books of the reference it should end with.
        simulate: The same without the indicators, where an engine can tell them apart.
        prepared_seconds: What was spent before, on feeds and the like, and is not in the calls.
        note: How this engine does the work.
    """
    before = peak_mb()
    seconds, work = _time(run, task.calls)
    peak = peak_mb()
    ending = settle(work)
    result: dict[str, object] = {
        "engine": engine,
        "version": version,
        "python": sys.version.split()[0],
        "workload": task.workload,
        "rows": task.rows,
        "sets": task.sets if task.workload == "W3" else 1,
        "workers": task.workers,
        "units": units,
        "seconds": seconds,
        "fills": ending.fills,
        "equity": ending.equity,
        "timing": timing,
        "peak_mb": round(peak, 1),
        "growth_mb": round(peak - before, 1),
        "prepared_seconds": round(prepared_seconds, 3),
        "note": note,
    }
    if simulate is not None:
        result["simulate_seconds"], work = _time(simulate, task.calls)
        assert settle(work) == ending, (settle(work), ending)
    print(json.dumps(result))


def _time(run: Callable[[], Work], calls: int) -> tuple[list[float], Work]:
    seconds: list[float] = []
    work = None
    for _ in range(calls):
        work = None  # the one before may hold a lot of memory
        gc.collect()
        begun = time.perf_counter()
        work = run()
        seconds.append(time.perf_counter() - begun)
        if seconds[0] > PATIENCE_SECONDS:
            break
    assert work is not None
    return seconds, work
