"""The command as a process: help and its time, version, exit codes, encodings, pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """\
clock: {type: historical, start: 2023-01-01, end: 2024-01-01}
data: {instruments: [AAPL.XNAS], timeframe: 1d}
strategies: [{name: sma_cross, capital: 1000}]
"""


def run(
    *arguments: str, cwd: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from onetape.control.cli import main; main()", *arguments],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = run("--help", cwd=tmp_path)
    assert done.returncode == 0
    for command in ("backtest", "data", "strategy", "report", "tape", "config", "version"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("arguments", [[], ["backtest"], ["data"], ["data", "import"]])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys; from onetape.control.cli import app\n"
        f"app({[*arguments, '--help']!r}, standalone_mode=False)\n"
        "heavy = {'numpy', 'polars', 'pydantic', 'rich', 'yaml', 'numba', 'plotly', 'deltalake',"
        " 'msgspec', 'asyncio'}\n"
        "sys.exit(repr(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


def test_version_prints_one_line(tmp_path: Path) -> None:
    done = run("version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("onetape 0.")


def test_unknown_command_is_a_usage_error(tmp_path: Path) -> None:
    done = run("bakctest", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'backtest'?" in done.stderr


def test_config_error_is_one_line_with_exit_code_2_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(GOOD.replace("timeframe", "timefram"))
    done = run("backtest", "run.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        "error: run.yaml:2: data.timefram is not a known key (did you mean 'timeframe'?)\n"
    )
    assert [each.name for each in tmp_path.iterdir()] == ["run.yaml"]


@pytest.mark.parametrize("environ", [{"PYTHONIOENCODING": "ascii"}, {"NO_COLOR": "1"}])
def test_output_on_an_ascii_or_colorless_terminal_is_readable(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    (tmp_path / "run.yaml").write_text(GOOD, encoding="utf-8")
    listed = run("strategy", "list", cwd=tmp_path, environ=environ)
    assert listed.returncode == 0, listed.stderr
    assert "sma_cross" in listed.stdout
    assert "\x1b" not in listed.stdout
    refused = run("config", "check", "run.yaml", "--set", "mode=prüfen", cwd=tmp_path,
                  environ=environ)  # fmt: skip
    assert refused.returncode == 2
    assert "mode is 'pr" in refused.stderr
