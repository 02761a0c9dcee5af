"""Writers that are killed or that race leave a catalog that can be read, no row lost or doubled.

`ONETAPE_KILLS` sets how many are killed (`make soak`: 100 or more).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from onetape.domain.instrument import InstrumentId, make_equity
from onetape.marketdata.bars import BarColumns, check_columns, compute_content_hash, slice_rows
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordKind
from tests.unit.marketdata.csv_files import make_columns

KILLS = int(os.environ.get("ONETAPE_KILLS", "4"))
SPY = InstrumentId("SPY.ARCX")
ROWS = 60

INGEST = """
import sys
from pathlib import Path
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.bars import slice_rows
from onetape.marketdata.record_kinds import RecordKind
from tests.unit.marketdata.csv_files import make_columns

catalog, first, step = Catalog(Path(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
bars = make_columns({rows})
SPY = InstrumentId("SPY.ARCX")
print("ready", flush=True)
for start in range(first, {rows}, step):
    part = slice_rows(bars, start, start + 1)
    catalog.write_bars(SPY, "1d", part, source="s", adjustment="none", ts_ingest=start,
                       definition=make_equity(SPY))
    prints = {{"ts_event": part["ts_open"], "price": part["close"], "size": part["volume"]}}
    catalog.records.write(RecordKind.TRADES, SPY, prints, source="s", ts_ingest=start)
"""


def start_ingest(folder: Path, first: int = 0, step: int = 1) -> subprocess.Popen[str]:
    program = INGEST.format(rows=ROWS)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), str(first), str(step)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


def read(folder: Path) -> tuple[BarColumns | None, list[int]]:
    """What a reader sees now; it must always see something whole."""
    catalog = Catalog(folder)
    bars = catalog.read_bars(SPY, "1d") if catalog.datasets() else None
    if bars is not None:
        check_columns(bars, "bars")
    prints: list[int] = []
    if catalog.records.datasets():
        prints = catalog.records.read(RecordKind.TRADES, SPY).columns["ts_event"].tolist()
    return bars, prints


def test_killed_ingest_leaves_whole_commits_and_a_rerun_completes_it(tmp_path: Path) -> None:
    whole = make_columns(ROWS)
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    seen = 0
    for _ in range(KILLS):
        process = start_ingest(tmp_path)
        time.sleep(chance.uniform(0.0, 0.6))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        bars, prints = read(tmp_path)
        rows = 0 if bars is None else len(bars["ts_open"])
        assert seen <= rows <= ROWS
        if bars is not None:
            assert compute_content_hash(bars) == compute_content_hash(slice_rows(whole, 0, rows))
        assert prints == whole["ts_open"][: len(prints)].tolist()
        assert rows - 1 <= len(prints) <= rows
        seen = rows

    finish(start_ingest(tmp_path))

    bars, prints = read(tmp_path)
    assert bars is not None
    assert compute_content_hash(bars) == compute_content_hash(whole)
    assert prints == whole["ts_open"].tolist()


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each writes every second row; the slower one of each race plans anew."""
    Catalog(tmp_path).write_instrument(make_equity(SPY))
    writers = [start_ingest(tmp_path, first, 2) for first in (0, 1)]
    for each in writers:
        finish(each)

    bars, prints = read(tmp_path)
    assert bars is not None
    assert compute_content_hash(bars) == compute_content_hash(make_columns(ROWS))
    assert prints == np.sort(make_columns(ROWS)["ts_open"]).tolist()
