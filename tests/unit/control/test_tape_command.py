"""`onetape tape show`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.events import CapitalDeposited, SessionStarted, SessionStopped, SignalRecorded
from onetape.tape.sqlite_store import SqliteTape

STARTED = SessionStarted(
    session="s", mode="backtest", config="{}", config_hash="", code_version="0",
    strategy_versions={}, seed=0, datasets=[],
)  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tape", "show", *arguments])


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    tape = SqliteTape.create(tmp_path / "tape.db")
    tape.append(1, 0, -1, [(STARTED, 0, 0), (CapitalDeposited("sma", "USD", 5), 0, 0)])
    for seq in range(3, 103):
        tape.append(seq, seq, seq, [(SignalRecorded("sma", "score", 0.5), 0, 0)])
    tape.append(103, 200, -1, [(SessionStopped(reason="end", market_events=0), 0, 0)])
    tape.close()
    return tmp_path


def test_tape_show_prints_one_event_a_line_and_says_that_more_follow(run_dir: Path) -> None:
    for target in (run_dir, run_dir / "tape.db"):
        result = run(str(target))
        assert result.exit_code == 0
        assert len(result.stdout.splitlines()) == 50
        assert result.stderr == "more follow: --from 51, or --limit 0 for all\n"


def test_tape_show_selects_by_seq_type_and_limit(run_dir: Path) -> None:
    assert len(run(str(run_dir), "--limit", "0").stdout.splitlines()) == 103
    assert len(run(str(run_dir), "--type", "session").stdout.splitlines()) == 2
    assert len(run(str(run_dir), "--type", "session.stopped").stdout.splitlines()) == 1
    assert len(run(str(run_dir), "--from", "100").stdout.splitlines()) == 4
    only = run(str(run_dir), "--type", "signal", "--from", "50", "--limit", "1")
    assert only.stdout.split()[0] == "50"


def test_tape_show_json_is_one_document(run_dir: Path) -> None:
    events = json.loads(run(str(run_dir), "--json", "--limit", "2").stdout)
    assert [each["type"] for each in events] == ["session.started", "account.deposited"]


def test_tape_show_of_an_incomplete_tape_says_so(tmp_path: Path) -> None:
    tape = SqliteTape.create(tmp_path / "tape.db")
    tape.append(1, 0, -1, [(STARTED, 0, 0)])
    tape.close()
    assert "incomplete" in run(str(tmp_path)).stderr


def test_tape_show_of_an_unknown_type_names_the_known_ones(run_dir: Path) -> None:
    result = run(str(run_dir), "--type", "ordr")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: no event has the type 'ordr' (known: account.deposited")


def test_tape_show_without_a_tape_names_the_path(tmp_path: Path) -> None:
    result = run(str(tmp_path))
    assert result.exit_code == 2
    assert result.stderr == f"error: {tmp_path}/tape.db: there is no tape here\n"
