"""Prints streamed from the catalog a day at a time: how fast, and in how much memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from onetape.domain.timestamps import NS_PER_DAY
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordKind

PER_DAY = 250_000
DAYS = 8
"""2 million prints. 50 million (`--days 200`) took 231 MB at the peak, at 3.1 million/s on two busy
cores of a Xeon: a day's memory, not the run's."""

RSS_MB_MAX = 500
T0 = 1_704_067_200_000_000_000
NAME = "TICKS.SIM"


class StreamFigures(NamedTuple):
    """What a process took that streams all prints and sums price x size."""

    rows: int
    seconds: float
    rss_mb: float
    turnover: float


def write_prints(catalog: Catalog, days: int) -> None:
    """A seeded random walk of prints, a write a day."""
    random = np.random.default_rng(7)
    price = 100.0
    for day in range(days):
        walk = price * np.exp(np.cumsum(random.normal(0, 1e-5, PER_DAY)))
        price = float(walk[-1])
        moments = np.sort(random.integers(0, NS_PER_DAY, PER_DAY))
        columns = {
            "ts_event": T0 + day * NS_PER_DAY + moments,
            "price": np.round(walk, 2),
            "size": random.integers(1, 500, PER_DAY).astype(np.float64),
            "aggressor": random.integers(-1, 2, PER_DAY),
        }
        catalog.records.write(RecordKind.TRADES, NAME, columns, source="made", ts_ingest=0)


def stream(folder: Path) -> StreamFigures:
    """Stream in this process; its peak of memory counts."""
    begun = time.perf_counter()
    rows, turnover = 0, 0.0
    for columns in Catalog(folder).records.stream(RecordKind.TRADES, NAME):
        rows += len(columns["price"])
        turnover += float(columns["price"] @ columns["size"])
    seconds = time.perf_counter() - begun
    return StreamFigures(rows, seconds, peak_mb(), turnover)


def peak_mb() -> float:
    """Of this process since it began (`getrusage` counts its parent's too); NaN without /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")


def run_ticks(days: int = DAYS) -> StreamFigures:
    """Write the prints, and stream them in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        write_prints(Catalog(Path(folder)), days)
        told = subprocess.run(
            [sys.executable, "-m", "benchmarks.ticks", "--stream", folder],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return StreamFigures(*msgspec.json.decode(told.stdout))


def print_ticks(found: StreamFigures) -> None:
    """One line."""
    print(f"{'prints streamed from the catalog':<48}{'prints/s':>12}{'peak MB':>10}{'at most':>10}")
    print(f"{f'{found.rows:,} prints, a day at a time':<48}{found.rows / found.seconds:>12,.0f}"
          f"{found.rss_mb:>10.0f}{RSS_MB_MAX:>10}")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "--stream":
        print(msgspec.json.encode(stream(Path(sys.argv[2]))).decode())
    else:
        print_ticks(run_ticks(int(sys.argv[2])))
