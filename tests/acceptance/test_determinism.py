"""The same configuration gives the same bytes: two processes, two hash seeds, two places."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli_data import import_wave

COMMAND = str(Path(sys.executable).with_name("onetape"))
COMPARED = (
    "config.json", "equity.parquet", "fills.parquet", "metrics.json", "orders.parquet",
    "report.html", "report.md", "round_trips.parquet", "tape.db",
)  # fmt: skip


def backtest(config: Path, folder: Path, hash_seed: str) -> Path:
    """Runs the command in a process of its own; returns the run's directory."""
    environment = {
        **os.environ,
        "PYTHONHASHSEED": hash_seed,
        "TZ": "Asia/Tokyo" if hash_seed > "1" else "UTC",
    }
    arguments = [COMMAND, "backtest", str(config), "--quiet"]
    arguments += ["--set", "execution.latency.mean_ms=20", "--set", "execution.latency.std_ms=7"]
    done = subprocess.run(
        arguments, cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return folder / done.stdout.strip()


def test_backtest_twice_leaves_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave()
    first, second = (backtest(Path("run.yaml"), tmp_path, seed) for seed in ("1", "4711"))
    assert first != second
    for name in COMPARED:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
