"""Paper sessions read again, a short one and a long one: how fast, in how much memory.

`python -m benchmarks.paper_sessions [PRINTS ...]`
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import msgspec

from benchmarks.ticks import T0, peak_mb
from onetape.domain.instrument import make_equity
from onetape.domain.market import TradeTick
from onetape.domain.timestamps import NS_PER_DAY, NS_PER_MS
from onetape.domain.venue import OperatorAction, OperatorCommand, TickHeard
from onetape.runtime.config import SessionConfig
from onetape.runtime.parity.sentinel import check_parity
from onetape.runtime.sessions.backtest import build_spec
from onetape.runtime.sessions.live_run import open_session
from onetape.runtime.sessions.tape_choice import create_tape
from onetape.runtime.verification import verify_tape
from onetape.tape.sqlite_store import Durability

PRINTS = (30_000, 120_000)
RSS_MB_MAX = 300
COMMANDS = {"verify": verify_tape, "parity": check_parity}

_INSTRUMENTS = [make_equity(f"S{number:02}.BENCH", calendar="24/7") for number in range(50)]
_STRATEGY = Path(__file__).parent / "tick_strategy.py"


class ReadFigures(NamedTuple):
    """What a process took that reads a session again."""

    command: str
    rows: int
    seconds: float
    rss_mb: float


def write_session(run_dir: Path, prints: int) -> None:
    """A paper session on a seeded walk of prints of 50 instruments, each committed by itself."""
    config = SessionConfig.model_validate({
        "mode": "paper",
        "clock": {"type": "live"},
        "data": {"source": "alpaca", "timeframe": "trades",
                 "instruments": [each.id for each in _INSTRUMENTS]},
        "strategies": [{"name": "PrintTrend", "path": str(_STRATEGY), "capital": 1_000_000,
                        "params": {"fast": 20, "slow": 200}}],
        "live": {"power_loss": False},
    })  # fmt: skip
    run_dir.mkdir()
    tape = create_tape(run_dir, config.output, Durability.PROCESS_END)
    specs = [build_spec(each) for each in config.enabled_strategies]
    session = open_session(config, specs, _INSTRUMENTS, tape, None, ts_start=T0)
    session.start(T0)
    chance = random.Random(7)
    prices = [100.0] * len(_INSTRUMENTS)
    for number in range(1, prints + 1):
        at = chance.randrange(len(prices))
        prices[at] = round(max(10.0, prices[at] + chance.choice((-0.01, 0.0, 0.01))), 2)
        ts = T0 + number * 50 * NS_PER_MS
        trade = TradeTick(_INSTRUMENTS[at].id, ts, ts + NS_PER_MS, prices[at], 100.0)
        session.take_rows([TickHeard(trade, (ts // NS_PER_DAY + 1) * NS_PER_DAY)])
        tape.commit()
    session.take(OperatorCommand(OperatorAction.STOP, "", ""), session.now + 1)
    session.stop("over", session.now + 1)
    tape.close()


def read_session(command: str, tape: Path, prints: int) -> ReadFigures:
    """Read it in this process; its peak of memory counts."""
    begun = time.perf_counter()
    COMMANDS[command](tape)
    return ReadFigures(command, prints, time.perf_counter() - begun, peak_mb())


def run_paper_sessions(prints: tuple[int, ...] = PRINTS) -> list[ReadFigures]:
    """Write sessions of so many prints, and read each in processes of their own."""
    found: list[ReadFigures] = []
    with tempfile.TemporaryDirectory() as folder:
        for each in prints:
            run_dir = Path(folder) / str(each)
            write_session(run_dir, each)
            for command in COMMANDS:
                told = subprocess.run(
                    [sys.executable, "-m", "benchmarks.paper_sessions", "--read", command,
                     str(run_dir / "tape.db"), str(each)],
                    capture_output=True, text=True, check=False,
                )  # fmt: skip
                if told.returncode:
                    raise RuntimeError(told.stderr)
                found.append(ReadFigures(*msgspec.json.decode(told.stdout)))
    return found


def print_paper_sessions(found: list[ReadFigures]) -> None:
    """A line for each."""
    print(f"{'paper session on prints of 50 instruments':<48}{'prints/s':>12}{'peak MB':>10}"
          f"{'at most':>10}")  # fmt: skip
    for each in found:
        print(f"{f'{each.command}, {each.rows:,} prints':<48}{each.rows / each.seconds:>12,.0f}"
              f"{each.rss_mb:>10.0f}{RSS_MB_MAX:>10}")  # fmt: skip


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        figures = read_session(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
        print(msgspec.json.encode(figures).decode())
    else:
        print_paper_sessions(run_paper_sessions(tuple(map(int, sys.argv[1:])) or PRINTS))
