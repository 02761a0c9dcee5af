"""What an operator types while `onetape live` runs in a process of its own, and what it answers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.runtime.realtime.control_socket import FILE
from tests.support.alpaca_venue import AAPL, KEY, SECRET, make_minutes
from tests.support.live_processes import (
    LiveProcess,
    ThreadedAlpaca,
    threaded_alpaca,
    write_config,
)

ENVIRONMENT = {**os.environ, "LOCAL_KEY": KEY, "LOCAL_SECRET": SECRET, "COLUMNS": "200"}


@pytest.fixture
def venue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[ThreadedAlpaca]:
    monkeypatch.chdir(tmp_path)
    for name in ("LOCAL_KEY", "LOCAL_SECRET", "COLUMNS"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    with threaded_alpaca(make_minutes(AAPL), rows=20) as found:
        yield found


def ask(*arguments: str) -> Result:
    """One `onetape` command, as typed in a terminal of its own."""
    return CliRunner().invoke(app, arguments)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Half a minute at most."""
    end = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_operator_sees_why_and_hears_what_was_done(tmp_path: Path, venue: ThreadedAlpaca) -> None:
    write_config(tmp_path / "c.json", venue.world.server.rest_url)
    process = LiveProcess(tmp_path, "c.json", **ENVIRONMENT)
    process.until_trading(0)
    run_dir = process.run_dir
    dead = tmp_path / "runs" / "20200101T000000Z-dead-00000000"
    shutil.copytree(run_dir, dead, ignore=shutil.ignore_patterns("tape*", "control*"))
    about = json.loads((dead / FILE).read_text())
    (dead / FILE).write_text(json.dumps({**about, "socket": str(tmp_path / "gone")}))

    done = ask("kill", "--reason", "a storm")  # though another one is there, and gone
    assert (done.exit_code, done.stdout, done.stderr) == (
        0, "done: sma_cross killed; no open orders, flat\n", "",
    )  # fmt: skip
    shown = ask("status")
    assert "KILL SWITCH is set: a storm (onetape kill --off lifts it)" in shown.stdout
    assert "paused: kill switch" in shown.stdout
    assert "no open orders" in shown.stdout
    everybody = ask("resume", "--all")
    assert everybody.stdout.startswith(f"runs/{run_dir.name}: done: sma_cross killed")
    assert not everybody.stderr
    told = ask("status", "dead")
    assert told.exit_code == 2
    assert "is gone" in told.stderr

    process.process.send_signal(signal.SIGTERM)
    log, _ = process.process.communicate(timeout=30)
    assert process.process.returncode == 0, log
    lines = [line.split(maxsplit=1)[1] for line in log.splitlines() if line.startswith("20")]
    assert any(line.startswith("warning control.kill_switch kill switch set: a storm") for line in
               lines)  # fmt: skip
    assert any(line.startswith("warning control.operator stop all strategies: SIGTERM") for line in
               lines)  # fmt: skip
    assert "Ended:  stopped by an operator; left: no open orders, flat" in log
    gone = ask("status")
    assert gone.exit_code == 2
    assert "no session runs" in gone.stderr
    assert str(dead.name) in gone.stderr


@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_it_connects_ends_it_and_leaves_nothing(
    tmp_path: Path, which: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        write_config(tmp_path / "c.json", f"http://127.0.0.1:{silent.getsockname()[1]}")
        process = LiveProcess(tmp_path, "c.json", **ENVIRONMENT)
        asked, _ = silent.accept()
        with asked:
            asked.recv(1)
            process.process.send_signal(which)
    output, _ = process.process.communicate(timeout=30)
    assert process.process.returncode == 130, output
    assert output.splitlines()[-1] == "error: interrupted"
    assert not (tmp_path / "runs").exists()


def test_session_whose_configuration_was_edited_says_what_is_other(
    tmp_path: Path, venue: ThreadedAlpaca
) -> None:
    write_config(tmp_path / "c.json", venue.world.server.rest_url)
    process = LiveProcess(tmp_path, "c.json", **ENVIRONMENT)
    process.until_trading(0)
    process.kill()
    file = process.run_dir / "config.json"
    config = json.loads(file.read_text())
    config["risk"]["max_order_quantity"] = 7
    file.write_text(json.dumps(config))
    refused = ask("live", "--resume", f"runs/{process.run_dir.name}")
    assert refused.exit_code == 2, refused.stderr
    (line,) = [each for each in refused.stderr.splitlines() if each.startswith("error")]
    assert line == (
        f"error: runs/{process.run_dir.name}/config.json: the session began with another "
        "configuration: risk.max_order_quantity is 7 and was 100 (bring back what it began with, "
        "or start a new session)"
    )


def test_service_that_is_started_again_goes_on_with_what_has_not_ended(
    tmp_path: Path, venue: ThreadedAlpaca
) -> None:
    write_config(tmp_path / "c.json", venue.world.server.rest_url)
    process = LiveProcess(tmp_path, "c.json", "--go-on", **ENVIRONMENT)
    session = process.until_trading(0)["session"]
    process.kill()
    refused = ask("live", "c.json", "--go-on", "--set", "risk.max_order_quantity=7")
    assert refused.exit_code == 2
    assert "has not ended, and began with another configuration" in refused.stderr
    process = LiveProcess(tmp_path, "c.json", "--go-on", **ENVIRONMENT)
    assert process.until_trading(0)["session"] == session
    process.stop()
    process = LiveProcess(tmp_path, "c.json", "--go-on", **ENVIRONMENT)
    wait_until(lambda: len(list((tmp_path / "runs").iterdir())) == 2)
    process.kill()
