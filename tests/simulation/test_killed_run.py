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
from onetape.tape.reader import SqliteTapeReader
from tests.support.cli_data import import_wave

COMMAND = str(Path(sys.executable).with_name("onetape"))


def wait_for_tape(folder: Path, seconds: float = 60.0) -> Path:
    """The tape of the running session, once it holds its first block."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for tape in folder.glob("runs/*/tape.db*"):
            if tape.name == "tape.db-wal" and tape.stat().st_size > 50_000:
                return tape.with_name("tape.db")
        time.sleep(0.01)
    raise AssertionError("the session never wrote its tape")


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
        tape = wait_for_tape(tmp_path)
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
