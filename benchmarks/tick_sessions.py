"""Sessions on prints of the catalog, a short one and a long one: how fast, in how much memory."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.ticks import NAME, RSS_MB_MAX, T0, peak_mb, write_prints
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.catalog import Catalog
from onetape.runtime.config import SessionConfig
from onetape.runtime.sessions.backtest_run import run_backtest

DAYS = (2, 6)
"""Half a million prints, and three times as many. 5 and 20 million (`--days 20 80`) took 290 and
299 MB at the peak, at 450,000 prints/s on two busy cores of a Xeon."""

_STRATEGY = Path(__file__).parent / "tick_strategy.py"


class SessionFigures(NamedTuple):
    """What a process took that runs a session: until its first row, and to its end."""

    rows: int
    seconds: float
    rss_mb: float
    digest: str


def run_session(folder: Path, days: int) -> SessionFigures:
    """Run the session in this process; its peak of memory counts."""
    config = SessionConfig.model_validate(
        {
            "clock": {
                "type": "historical",
                "start": to_iso(T0),
                "end": to_iso(T0 + days * NS_PER_DAY),
            },
            "data": {"path": str(folder), "instruments": [NAME], "timeframe": "trades"},
            "strategies": [
                {"name": "PrintTrend", "path": str(_STRATEGY), "capital": 1_000_000, "params": {}}
            ],
        }
    )
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as run_dir:
        result = run_backtest(config, Path(run_dir))
    seconds = time.perf_counter() - begun
    return SessionFigures(result.market_events, seconds, peak_mb(), result.digest)


def run_tick_sessions(days: tuple[int, ...] = DAYS) -> list[SessionFigures]:
    """Write the prints, and run a session on so many days of them, each in its own process."""
    found: list[SessionFigures] = []
    with tempfile.TemporaryDirectory() as folder:
        catalog = Catalog(Path(folder))
        catalog.write_instrument(
            Instrument(
                id=InstrumentId(NAME), kind=InstrumentKind.EQUITY, quote_currency="USD",
                tick_size=Decimal("0.01"), lot_size=Decimal(1),
            )
        )  # fmt: skip
        write_prints(catalog, max(days))
        for each in days:
            told = subprocess.run(
                [sys.executable, "-m", "benchmarks.tick_sessions", "--run", folder, str(each)],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if told.returncode:
                raise RuntimeError(told.stderr)
            found.append(SessionFigures(*msgspec.json.decode(told.stdout)))
    return found


def print_tick_sessions(found: list[SessionFigures]) -> None:
    """A line a session."""
    print(f"{'session on prints of the catalog, tape on disk':<48}{'prints/s':>12}{'peak MB':>10}"
          f"{'at most':>10}")  # fmt: skip
    for each in found:
        print(f"{f'{each.rows:,} prints':<48}{each.rows / each.seconds:>12,.0f}"
              f"{each.rss_mb:>10.0f}{RSS_MB_MAX:>10}")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1] == "--run":
        print(msgspec.json.encode(run_session(Path(sys.argv[2]), int(sys.argv[3]))).decode())
    else:
        print_tick_sessions(run_tick_sessions(tuple(map(int, sys.argv[2:]))))
