"""Bars for tests of the command line: a CSV file, a catalog that holds it, a configuration."""

from __future__ import annotations

import math
from datetime import date, timedelta
from pathlib import Path

from typer.testing import CliRunner

from onetape.control.cli import app

CONFIG = """\
clock: {type: historical, start: 2024-01-01, end: 2025-01-01}
data: {instruments: [WAVE.SIM], timeframe: 1d}
strategies:
  - {name: sma_cross, capital: 10000, params: {fast: 3, slow: 8, quantity: 10}}
"""


def make_rows(days: int = 120) -> list[str]:
    """CSV lines of daily bars on a sine wave, header first."""
    rows = ["Date,Open,High,Low,Close,Volume"]
    price = 100.0
    for day in range(days):
        close = round(100 + 20 * math.sin(day / 7), 2)
        high, low = max(price, close) + 1, min(price, close) - 1
        when = date(2024, 1, 1) + timedelta(days=day)
        rows.append(f"{when},{price:.2f},{high:.2f},{low:.2f},{close:.2f},1000000")
        price = close
    return rows


def write_csv(path: Path, rows: list[str]) -> Path:
    """Write lines as a file."""
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def import_wave(days: int = 120) -> None:
    """A catalog with WAVE.SIM, and run.yaml, in the working directory."""
    write_csv(Path("wave.csv"), make_rows(days))
    Path("run.yaml").write_text(CONFIG, encoding="utf-8")
    arguments = ["data", "import", "wave.csv", "--instrument", "WAVE.SIM", "--timeframe", "1d"]
    result = CliRunner().invoke(app, [*arguments, "--calendar", "24/7", "--tz", "UTC"])
    assert result.exit_code == 0, result.stderr
