"""The tape: what it costs a session, and how long a fold of it takes."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.hosts import CancelAndReorder, make_session
from benchmarks.market import make_minutes
from onetape.domain.events import Payload
from onetape.domain.ports import TapeWriter
from onetape.runtime.sessions.backtest import Snapshots
from onetape.runtime.sessions.recovery import fold_tape
from onetape.strategy.library.sma_cross import SmaCross
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.sqlite_store import SqliteTape

EVENTS = 1_000_000
BARS_OF_A_MILLION = 250_000


class NoTape:
    """A `TapeWriter` that forgets, to compare with."""

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Forget a step."""

    def commit(self) -> None:
        """Nothing."""


class Line:
    """What is printed: a number, what it should not exceed, and of what."""

    def __init__(self, name: str, value: float, limit: float, unit: str) -> None:
        self.name = name
        self.value = value
        self.limit = limit
        self.unit = unit


def _time(run: Callable[[], object]) -> float:
    """CPU seconds: the tape writes and reads in this thread."""
    begun = time.process_time()
    run()
    return time.process_time() - begun


def run_tape(runs: int) -> list[Line]:
    """Overhead of the tape on a year of minutes; folds of a million events."""
    minutes = make_minutes()
    overheads: list[float] = []
    folds: dict[str, list[float]] = {"fold of a million events": [], "with snapshots": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(runs):
            seconds: list[float] = []
            tape = SqliteTape.create(Path(folder) / f"w1-{number}.db")
            writers: tuple[TapeWriter, TapeWriter] = (NoTape(), tape)
            for writer in writers:
                session = make_session(minutes, SmaCross(fast=10, slow=50), writer)
                keeper = Snapshots(keeper=tape) if writer is tape else None
                seconds.append(_time(lambda: session.run(snapshots=keeper)))  # noqa: B023
            seconds[1] += _time(tape.close)
            overheads.append(100 * (seconds[1] / seconds[0] - 1))
        path = Path(folder) / "million.db"
        tape = SqliteTape.create(path)
        session = make_session(make_minutes(BARS_OF_A_MILLION), CancelAndReorder(), tape)
        session.start()
        snapshots = Snapshots(keeper=tape)
        for _, stop in session.cut_blocks(4096):
            session.advance(stop, snapshots)
            if tape.events_written > EVENTS:
                break
        tape.close()
        for _ in range(runs):
            for values, use in zip(folds.values(), (False, True), strict=True):
                reader = SqliteTapeReader(path)
                values.append(_time(lambda: fold_tape(reader, use_snapshots=use)))  # noqa: B023
                reader.close()
    medians = {name: statistics.median(values) for name, values in folds.items()}
    return [
        Line("tape and snapshots of a year of minutes", statistics.median(overheads), 15, "%"),
        *(Line(name, value, limit, "s")
          for (name, value), limit in zip(medians.items(), (5, 1), strict=True)),
    ]  # fmt: skip
