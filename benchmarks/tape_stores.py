"""What a commit costs a live session: one small block each, in every store, however durable.

`python -m benchmarks.tape_stores [--server postgresql://USER@HOST/NAME [--password env:NAME]]`
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from onetape.domain.events import SignalRecorded
from onetape.tape.block import Step
from onetape.tape.pointer import TapeServer
from onetape.tape.sqlite_store import Durability, SqliteTape
from onetape.tape.store import MemoryTape, TapeStore

COMMITS = 2000
EVENTS = 4
"""Events of a step: an intent, its approval, the order, the venue's answer."""


def make_step(number: int) -> Step:
    """A step as long as that of an order, some 200 bytes."""
    events = [(SignalRecorded("sma_cross", f"number {number}", 0.25), 1, 1)] * EVENTS
    return number * EVENTS + 1, number, number, events


def measure(tape: TapeStore, commits: int) -> tuple[float, float, float]:
    """Commits a second, and the median and 99th percentile of one (ms of wall time)."""
    times: list[float] = []
    for number in range(commits):
        step = make_step(number)
        begun = time.perf_counter()
        tape.append(*step)
        tape.commit()
        times.append(time.perf_counter() - begun)
    tape.close()
    ordered = sorted(times)
    return (commits / sum(times), 1e3 * statistics.median(ordered),
            1e3 * ordered[int(0.99 * commits)])  # fmt: skip


def main() -> None:
    """Parse the arguments, measure each store, print one table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tape_stores", description=__doc__)
    parser.add_argument("--server", default="", help="a PostgreSQL database; without, none")
    parser.add_argument("--password", default="", help="where its password is: env:NAME, file:PATH")
    parser.add_argument("--commits", type=int, default=COMMITS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".") as folder:
        stores: dict[str, Callable[[], TapeStore]] = {"memory": MemoryTape}
        for durability in Durability:
            stores[f"SQLite, {durability.name}"] = lambda durability=durability: SqliteTape.create(
                Path(folder) / f"{durability.name}.db", durability
            )
        if given.server:
            from onetape.tape.postgres_store import PostgresTape

            server = TapeServer(url=given.server, password=given.password)
            for durability in Durability:
                stores[f"PostgreSQL, {durability.name}"] = lambda durability=durability: (
                    PostgresTape.create(
                        Path(folder) / f"{durability.name}.json", server, durability
                    )
                )
        print(f"| {given.commits:,} commits of {EVENTS} events | commits/s | p50 ms | p99 ms |")
        print("| --- | --: | --: | --: |")
        for name, create in stores.items():
            rate, median, tail = measure(create(), given.commits)
            print(f"| {name} | {rate:,.0f} | {median:.3f} | {tail:.3f} |")


if __name__ == "__main__":
    main()
