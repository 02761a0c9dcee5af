"""Runs the sets of a sweep on several cores: threads in the compiled host, processes in Python's.

The threads are the same for both: each runs a batch of sets, in the compiled host itself, which
releases the GIL, or by way of a worker process. Batches are cut by time, so that neither handing
over nor waiting for the last one costs much. Results come in any order; who stores them sorts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from itertools import islice
from queue import SimpleQueue
from time import perf_counter
from typing import Any, NamedTuple, Protocol

from onetape.domain.errors import TryAgain
from onetape.research.grid import Value
from onetape.research.sweep_worker import (
    Params,
    SetHost,
    SetResult,
    Worker,
    WorkerLost,
    WorkerSetup,
    attempt,
)

BATCH_SECONDS = 0.05
BATCH_SETS_MAX = 256
SETS_AHEAD_MAX = 8_192
"""How far a set may be ahead of the oldest one that is still running: bounds what waits in memory
for a slow set."""
TILED_SETS = 4_096
"""Sets that may change places among each other, so that near ones run one after the other."""
LOSSES_MAX = 3
"""So often in a row a batch may lose its worker."""


class NumberedSet(NamedTuple):
    """A set and its number: its place among the sets that are run, in the order of the grid."""

    number: int
    values: tuple[Value, ...]


class BatchRunner(Protocol):
    """Runs batches of sets, several at a time."""

    def run(self, batch: Sequence[Params]) -> list[SetResult]:
        """The results of a batch, in order; called from several threads."""
        ...

    def close(self) -> None:
        """Let the batches that are running come to an end soon; none follows."""
        ...


class HostRunner:
    """Runs batches in this process, in a host that several threads may use at once."""

    def __init__(self, host: SetHost) -> None:
        self._host = host
        self._closed = False

    def run(self, batch: Sequence[Params]) -> list[SetResult]:
        """The results of a batch; those of its first sets when it is closed meanwhile."""
        return [attempt(self._host, params) for params in batch if not self._closed]

    def close(self) -> None:
        """End with the sets that are running."""
        self._closed = True


class ProcessRunner:
    """Runs batches in worker processes of the Python host.

    Args:
        setup: What they run.
        workers: How many processes.
        on_note: Told once when a worker was lost.
    """

    def __init__(self, setup: WorkerSetup, workers: int, on_note: Callable[[str], None]) -> None:
        self._workers = [Worker(setup) for _ in range(workers)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._on_note = on_note
        self._told = False
        self._closed = False

    def run(self, batch: Sequence[Params]) -> list[SetResult]:
        """The results of a batch; a batch whose worker is lost is run again in a new one.

        Raises:
            TryAgain: It loses one worker after the other.
            FixInput: A worker can't do with what it was given.
        """
        worker = self._idle.get()
        losses = 0
        try:
            while not self._closed:
                try:
                    return worker.run(batch)
                except WorkerLost as lost:
                    losses += 1
                    self._tell(lost, len(batch))
                    if losses == LOSSES_MAX:
                        told = ", ".join(f"{name}={value}" for name, value in batch[0].items())
                        raise TryAgain(
                            f"{losses} worker processes in a row were lost ({lost}) at {told}",
                            remedy="if memory is short, take fewer --workers",
                        ) from None
            return []
        finally:
            self._idle.put(worker)

    def close(self) -> None:
        """Kill the processes."""
        self._closed = True
        for worker in self._workers:
            worker.close()

    def _tell(self, lost: WorkerLost, count: int) -> None:
        if not self._told and not self._closed:
            self._told = True
            sets = "set is" if count == 1 else f"{count} sets are"
            self._on_note(f"a worker process was lost ({lost}); its {sets} run again in a new one")


def in_tiles(sets: Iterator[NumberedSet]) -> Iterator[NumberedSet]:
    """The same sets, but near ones after each other: few different values of each param at a time.

    A host keeps the feature columns of the newest sets, and a row of the grid may need more of them
    than it can keep. Sets are sorted by the bits of their places on the axes, interleaved (Morton
    1966, Z-order), a few thousand at a time.
    """
    while group := list(islice(sets, TILED_SETS)):
        columns = zip(*(each.values for each in group), strict=True)
        places = [{value: at for at, value in enumerate(dict.fromkeys(each))} for each in columns]
        yield from sorted(group, key=partial(_interleave, places))


def _interleave(places: Sequence[Mapping[Value, int]], each: NumberedSet) -> str:
    bits = [f"{place[value]:012b}" for place, value in zip(places, each.values, strict=True)]
    return "".join(map("".join, zip(*bits, strict=True)))


def run_sets(
    runner: BatchRunner,
    sets: Iterator[NumberedSet],
    params_of: Callable[[tuple[Value, ...]], dict[str, Any]],
    workers: int,
) -> Generator[tuple[NumberedSet, SetResult]]:
    """The result of each set, as they come.

    Args:
        runner: What runs them; closed at the end, also when the generator is closed early.
        sets: What to run, by and large with rising numbers; taken as it is needed.
        params_of: All params of a set.
        workers: How many batches run at a time.

    Raises:
        TryAgain: Workers are lost again and again.
        FixInput: A worker can't do with what it was given.
    """

    def run(batch: list[NumberedSet]) -> tuple[list[SetResult], float]:
        begun = perf_counter()
        results = runner.run([params_of(each.values) for each in batch])
        return results, perf_counter() - begun

    pending: dict[Future[tuple[list[SetResult], float]], list[NumberedSet]] = {}
    size, newest = 1, -1
    with ThreadPoolExecutor(workers, "sweep") as threads:
        try:
            while True:
                while len(pending) < 2 * workers:
                    if pending and newest - _oldest(pending.values()) > SETS_AHEAD_MAX:
                        break
                    batch = list(islice(sets, size))
                    if not batch:
                        break
                    newest = max(newest, *(each.number for each in batch))
                    pending[threads.submit(run, batch)] = batch
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    batch = pending.pop(future)
                    results, seconds = future.result()
                    size = _cut(seconds / len(batch))
                    yield from zip(batch, results, strict=True)
        finally:
            for future in pending:
                future.cancel()
            runner.close()


def _oldest(batches: Iterable[list[NumberedSet]]) -> int:
    return min(each.number for batch in batches for each in batch)


def _cut(seconds_per_set: float) -> int:
    """How many sets to run at a time."""
    return max(1, min(BATCH_SETS_MAX, int(BATCH_SECONDS / max(seconds_per_set, 1e-9))))
