"""How fast a session runs, beside its tape: what is measured decides nothing and is on no tape.

| figure           | what it is                                                                   |
| ---------------- | ---------------------------------------------------------------------------- |
| latency of an    | from the moment the session takes a row until it takes the next: everything  |
| event            | that the row has caused, up to the tape (in memory)                          |
| time of a        | between the call of a callback and its return                                |
| strategy         |                                                                              |
| rows a second    | over all rows, waiting, snapshots and writing included                       |
| memory           | resident memory of the whole process, loading included                       |

Latencies and callbacks are sampled, in whole blocks of rows: the first rows, and then one row in
`SAMPLE_EVERY`. Only there are the clocks read for each row, so that measuring costs less than 2 %
of a session. The clock itself takes some 0.05 microseconds, which are part of the figures.
"""

from __future__ import annotations

import math
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from time import perf_counter_ns  # taken out of its module: the guard replaces what is in there
from typing import Any, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.market import BarBlock
from onetape.runtime.run_files import write_whole
from onetape.runtime.runner import Runner

T = TypeVar("T")

SAMPLE_EVERY = 128
SAMPLE_AT_LEAST = 2048
MEASUREMENTS_VERSION = 1
_POINTS_MAX = 240
_FIRST_STRIDE_NS = 20_000_000
"""Between two points at first; it doubles when there are too many."""

_CALLBACKS = ("on_row", "on_slice", "on_order_update", "on_timer", "generate")
"""Attributes of a `Runner` that hold callbacks of its strategy, or None."""

_MIB = 2**20
_STEPS_A_DOUBLING = 16
"""Steps of a `Durations` for each doubling: two in one step are at most 4.4 % apart."""

RunBlock = Callable[[BarBlock, int], int]
"""`Pipeline.run_block`."""


class CallbackTime(msgspec.Struct, frozen=True, kw_only=True):
    """What a callback of a strategy took in the sampled rows, in microseconds."""

    strategy: str
    callback: str
    calls: int
    total_us: float
    p50_us: float
    p99_us: float
    max_us: float


class SpeedPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A moment of a run. `rows_per_second` counts from the point before it."""

    row: int
    seconds: float
    rows_per_second: float
    memory_mib: float


class Measurements(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a run was; see the table above.

    `first_row` is where measuring began: more than 0 when the run was resumed, and everything is
    about the rows from there on. `strategy_ratio` is the share of time spent in callbacks. `host`
    is what ran, `compiled` (where nothing is sampled) or `python`, and `host_note` says why. Memory
    is NaN where the machine does not tell it.
    """

    measurements_version: int = MEASUREMENTS_VERSION
    first_row: int
    rows: int
    seconds: float
    rows_per_second: float
    sampled_rows: int
    latency_p50_us: float
    latency_p99_us: float
    latency_max_us: float
    strategy_ratio: float
    callbacks: list[CallbackTime]
    memory_peak_mib: float
    points: list[SpeedPoint]
    host: str = "python"
    host_note: str = ""


class Durations:
    """Durations in ns, counted in steps of equal ratio, so that any number takes the same room."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.max = 0
        self._counts: npt.NDArray[np.int64] = np.zeros(64 * _STEPS_A_DOUBLING, dtype=np.int64)

    def add(self, nanoseconds: npt.NDArray[np.int64]) -> None:
        """Count some more; none may be negative."""
        if not len(nanoseconds):
            return
        steps = np.log2(np.maximum(nanoseconds, 1)) * _STEPS_A_DOUBLING
        self._counts += np.bincount(steps.astype(np.int64), minlength=len(self._counts))
        self.count += len(nanoseconds)
        self.total += int(nanoseconds.sum())
        self.max = max(self.max, int(nanoseconds.max()))

    def add_one(self, nanoseconds: int) -> None:
        """Count one more; it may not be negative."""
        self._counts[int(math.log2(max(nanoseconds, 1)) * _STEPS_A_DOUBLING)] += 1
        self.count += 1
        self.total += nanoseconds
        self.max = max(self.max, nanoseconds)

    def quantile_us(self, share: float) -> float:
        """The duration that `share` of them do not exceed, in microseconds; NaN without any.

        The middle of its step in ratio, so at most 2.2 % off, and never above the longest.
        """
        if not self.count:
            return float("nan")
        reached = np.cumsum(self._counts) >= share * self.count
        step = int(np.argmax(reached))
        return min(2.0 ** ((step + 0.5) / _STEPS_A_DOUBLING), float(self.max)) / 1e3

    @property
    def max_us(self) -> float:
        """The longest; NaN without any."""
        return self.max / 1e3 if self.count else float("nan")


class RunMonitor:
    """Measures a session while it runs.

    Args:
        sample_every: Rows of which one is sampled.
        sample_at_least: Rows that are sampled at the beginning.
    """

    def __init__(
        self, sample_every: int = SAMPLE_EVERY, sample_at_least: int = SAMPLE_AT_LEAST
    ) -> None:
        self._every = sample_every
        self._at_least = sample_at_least
        self._stride = _FIRST_STRIDE_NS
        self._next_point = 0
        self._first_row = -1
        self._row = 0
        self._begun = 0
        self._sampled_rows = 0
        self._sampled_ns = 0
        self._latency = Durations()
        self._callbacks: dict[tuple[str, str], Durations] = {}
        self._points: list[tuple[int, int, float]] = []

    def around(self, run_block: RunBlock, runners: Iterable[Runner]) -> RunBlock:
        """`run_block`, measured; it does the same."""
        watched = tuple(runners)

        def run(block: BarBlock, first_row: int) -> int:
            if self._first_row < 0:
                self.begin(first_row)
            sampled = self._sampled_rows
            if sampled < self._at_least or sampled * self._every <= first_row - self._first_row:
                row = self._sample(run_block, watched, block, first_row)
            else:
                row = run_block(block, first_row)
            self.reach(row)
            return row

        return run

    def begin(self, row: int) -> None:
        """Measure from now on, in front of `row`."""
        self._first_row = self._row = row
        self._begun = perf_counter_ns()
        self._note(self._begun)

    def reach(self, row: int) -> None:
        """The run stands in front of `row` now."""
        self._row = row
        now = perf_counter_ns()
        if now >= self._next_point:
            self._note(now)

    def finish(self) -> Measurements | None:
        """What was measured up to here; None when no row has run."""
        if self._first_row < 0:
            return None
        if not self._points or self._points[-1][0] != self._row:
            self._note(perf_counter_ns())
        rows, seconds = self._row - self._first_row, (perf_counter_ns() - self._begun) / 1e9
        callbacks = sum(each.total for each in self._callbacks.values())
        return Measurements(
            first_row=self._first_row,
            rows=rows,
            seconds=seconds,
            rows_per_second=rows / seconds,
            sampled_rows=self._sampled_rows,
            latency_p50_us=self._latency.quantile_us(0.5),
            latency_p99_us=self._latency.quantile_us(0.99),
            latency_max_us=self._latency.max_us,
            strategy_ratio=callbacks / self._sampled_ns if self._sampled_ns else float("nan"),
            callbacks=[
                CallbackTime(
                    strategy=strategy, callback=name, calls=each.count, total_us=each.total / 1e3,
                    p50_us=each.quantile_us(0.5), p99_us=each.quantile_us(0.99),
                    max_us=each.max_us,
                )
                for (strategy, name), each in sorted(self._callbacks.items())
                if each.count
            ],
            memory_peak_mib=read_peak_memory_mib(),
            points=self._speed_points(),
        )  # fmt: skip

    def _note(self, now: int) -> None:
        """A point of the run's course; when there are too many, every other one goes."""
        self._points.append((self._row, now, read_memory_mib()))
        if len(self._points) > _POINTS_MAX:
            self._points = self._points[::2]
            self._stride *= 2
        self._next_point = now + self._stride

    def _speed_points(self) -> list[SpeedPoint]:
        points: list[SpeedPoint] = []
        for before, point in zip(self._points, self._points[1:], strict=False):
            seconds = (point[1] - before[1]) / 1e9
            points.append(
                SpeedPoint(
                    row=point[0],
                    seconds=(point[1] - self._begun) / 1e9,
                    rows_per_second=(point[0] - before[0]) / seconds if seconds else float("nan"),
                    memory_mib=point[2],
                )
            )
        return points

    def _sample(
        self, run_block: RunBlock, runners: tuple[Runner, ...], block: BarBlock, first_row: int
    ) -> int:
        """Run a block with a clock read at each row and around each callback."""
        taken: list[int] = []
        spent: dict[tuple[str, str], list[int]] = {}
        kept: list[tuple[Runner, str, Callable[..., Any]]] = []
        for runner in runners:
            for place in _CALLBACKS:
                callback = getattr(runner, place)
                if callback is not None:
                    kept.append((runner, place, callback))
                    name = getattr(callback, "__name__", place)
                    times = spent.setdefault((runner.name, name), [])
                    setattr(runner, place, _timed(callback, times.append))
        _stamp_rows(block, taken.append)
        begun = perf_counter_ns()
        try:
            row = run_block(block, first_row)
        finally:
            ended = perf_counter_ns()
            for runner, place, callback in kept:
                setattr(runner, place, callback)
        taken.append(ended)
        self._latency.add(np.diff(np.array(taken, dtype=np.int64)))
        for key, times in spent.items():
            durations = self._callbacks.setdefault(key, Durations())
            durations.add(np.array(times, dtype=np.int64))
        self._sampled_rows += row - first_row
        self._sampled_ns += ended - begun
        return row


def _timed(callback: Callable[..., T], add: Callable[[int], None]) -> Callable[..., T]:
    def timed(*args: Any) -> T:
        begun = perf_counter_ns()
        try:
            return callback(*args)
        finally:
            add(perf_counter_ns() - begun)

    return timed


def _stamp_rows(block: BarBlock, add: Callable[[int], None]) -> None:
    """Have `block` note the time whenever a row of it is taken."""
    take_all, take = block.events, block.event

    def events(start: int = 0) -> Iterator[Any]:
        for event in take_all(start):
            add(perf_counter_ns())
            yield event

    def event(row: int) -> Any:
        add(perf_counter_ns())
        return take(row)

    # For this one block: whoever asks it for a row finds these instead of its methods.
    vars(block).update(events=events, event=event)


def read_memory_mib() -> float:
    """Resident memory of this process now; NaN where /proc does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
    except (OSError, IndexError, ValueError):
        return float("nan")
    return pages * resource.getpagesize() / _MIB


def read_peak_memory_mib() -> float:
    """The most that this process has had."""
    try:
        for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except (OSError, IndexError, ValueError):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MIB if sys.platform == "darwin" else peak / 1024


def save_measurements(run_dir: Path, measurements: Measurements) -> None:
    """Write performance.json, and the same as performance.js, which report.html shows.

    Like versions.json they are not the same in any two runs.

    Raises:
        TryAgain: A file can't be written.
    """
    text = msgspec.json.encode(measurements)
    write_whole(run_dir / "performance.json", msgspec.json.format(text, indent=2) + b"\n")
    write_whole(run_dir / "performance.js", b"window.onetapePerformance = " + text + b";\n")
