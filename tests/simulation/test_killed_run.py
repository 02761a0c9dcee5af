"""A backtest that is killed leaves what it had, and says so afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import DataError, InvariantBroken, TryAgain
from onetape.domain.market import Bar
from onetape.risk.limits import RiskLimits
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader, SqliteTapeReader
from onetape.tape.store import MemoryTape
from tests.support.cli_data import import_wave
from tests.support.session_runs import make_terms
from tests.support.timelines import flat, make_timeline

COMMAND = str(Path(sys.executable).with_name("onetape"))


def wait_for_events(folder: Path, count: int, seconds: float = 60.0) -> Path:
    """The tape of the running session, once it holds `count` events."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for tape in folder.glob("runs/*/tape.db"):
            if count_events(tape) >= count:
                return tape
        time.sleep(0.02)
    raise AssertionError("the session never wrote its tape")


def count_events(tape: Path) -> int:
    """Events that a reader sees now; 0 while the file is being made."""
    try:
        reader = SqliteTapeReader(tape)
    except (DataError, TryAgain):
        return 0
    try:
        return sum(1 for _ in reader.events())
    finally:
        reader.close()


def test_killed_backtest_is_reported_as_incomplete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave()
    Path("busy.py").write_text(
        "from onetape.domain.market import Bar\n"
        "from onetape.strategy.context import Context\n"
        "from onetape.strategy.sdk import Strategy\n\n\n"
        "class Busy(Strategy):\n"
        "    def on_bar(self, bar: Bar, ctx: Context) -> None:\n"
        "        for _ in range(2_000):\n"
        "            ctx.buy(bar.instrument, 1, limit=1)\n"
    )
    session = subprocess.Popen(
        [COMMAND, "backtest", "run.yaml", "--quiet", "--set",
         "strategies.0={name: busy, path: busy.py, capital: 1000000000}"],
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )  # fmt: skip
    try:
        tape = wait_for_events(tmp_path, 5_000)
    finally:
        session.send_signal(signal.SIGKILL)
        session.wait()
    reader = SqliteTapeReader(tape)
    assert not reader.is_complete
    assert reader.audit().damage is None
    reader.close()
    assert not (tape.parent / "metrics.json").exists()

    result = CliRunner().invoke(app, ["report", str(tape.parent), "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads((tape.parent / "metrics.json").read_bytes())
    assert "INCOMPLETE" in (tape.parent / "report.md").read_text().upper()


def test_session_that_breaks_at_its_first_bar_has_its_header_on_the_tape() -> None:
    class Broken(Strategy):
        def on_bar(self, bar: Bar, ctx: Context) -> None:
            raise InvariantBroken("a bug of ours")

    tape = MemoryTape()
    timeline = make_timeline(flat(10, 11))
    spec = StrategySpec(name="s0", strategy=Broken(), capital=1)
    session = BacktestSession(
        timeline, [spec], make_terms(timeline), RiskLimits(), tape, SessionIdentity()
    )
    with pytest.raises(InvariantBroken):
        session.run()
    reader = MemoryTapeReader(tape)
    assert reader.header.session == session.session
    assert not reader.is_complete
