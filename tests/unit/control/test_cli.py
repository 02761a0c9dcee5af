"""The command as a process: help and its time, version, exit codes, encodings, pipes."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli_data import import_wave

GOOD = """\
clock: {type: historical, start: 2023-01-01, end: 2024-01-01}
data: {instruments: [AAPL.XNAS], timeframe: 1d}
strategies: [{name: sma_cross, capital: 1000}]
"""


def run(
    *arguments: str, cwd: Path, environ: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "onetape", *arguments],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_help_lists_every_command(tmp_path: Path) -> None:
    done = run("-h", cwd=tmp_path)
    assert done.stdout == run("--help", cwd=tmp_path).stdout
    assert done.returncode == 0
    for command in ("backtest", "data", "strategy", "report", "tape", "config", "version"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("arguments", [[], ["backtest"], ["data"], ["data", "import"]])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys; from onetape.control.cli import app\n"
        f"app({[*arguments, '--help']!r}, standalone_mode=False)\n"
        "heavy = {'numpy', 'polars', 'rich', 'yaml', 'numba', 'plotly', 'deltalake', 'msgspec'}\n"
        "sys.exit(repr(sorted(heavy & set(sys.modules))) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("asked", ["version", "--version"])
def test_version_prints_one_line(tmp_path: Path, asked: str) -> None:
    done = run(asked, cwd=tmp_path)
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


def read_terminal(descriptor: int) -> str:
    """All that a process writes to a terminal until it ends."""
    seen = b""
    with contextlib.suppress(OSError):
        while chunk := os.read(descriptor, 65_536):
            seen += chunk
    os.close(descriptor)
    return seen.decode()


def test_backtest_shows_progress_on_a_terminal_and_nothing_of_it_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pty = pytest.importorskip("pty")
    monkeypatch.chdir(tmp_path)
    import_wave()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from onetape.control.cli import main; main()", "backtest",
         "run.yaml"],
        env={**os.environ, "TERM": "xterm"}, stdout=subprocess.PIPE, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = read_terminal(ours)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "bars/s" in seen
    assert "equity " in seen
    assert b"bars/s" not in stdout
    assert b"\x1b" not in stdout


def test_output_into_a_closed_pipe_is_quiet(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", "from onetape.control.cli import main; main()", "config", "schema"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 1
