"""`onetape sweep`, and `sweep` of Python."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.errors import ConfigError
from onetape.portfolio.performance_summary import PerformanceSummary
from onetape.research.sweep import sweep
from onetape.runtime.config import load_config

COMMAND = str(Path(sys.executable).with_name("onetape"))

GRID = ["--param", "fast=2:6:2", "--param", "slow=4:20:8"]

SLEEPY = '''\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, param, state


class Sleepy(Strategy):
    """Buys at every bar, and takes its time; a dict keeps it out of the compiled host."""

    size: int = param(1, ge=1)
    pace: int = param(20000, ge=1)
    total: int = state(0)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        numbers = {number: number for number in range(self.pace)}
        self.total = len(numbers)
        ctx.buy(bar.instrument, self.size)
'''
SLOW = ["--set", "strategies.0={name: sleepy, path: sleepy.py, capital: 1000000}"]


@pytest.fixture(autouse=True)
def _in_folder(in_wave: None) -> None:
    Path("sleepy.py").write_text(SLEEPY)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["sweep", "run.yaml", "--workers", "1", *arguments])


def sweeps() -> list[Path]:
    return sorted(Path("runs").glob("*sweep*"))


def tables(directory: Path) -> list[bytes]:
    return [(directory / f"{name}.parquet").read_bytes() for name in ("sets", "returns")]


def test_sweep_prints_the_best_sets_and_leaves_a_whole_sweep() -> None:
    result = run(*GRID, "--where", "fast < 5")
    assert result.exit_code == 0, result.stderr
    (directory,) = sweeps()
    assert {each.name for each in directory.iterdir()} == {
        "sweep.json", "config.json", "sets.parquet", "returns.parquet", "report.html", "report.md",
    }  # fmt: skip
    for part in (
        "fast", "slow", "Sharpe", "Median of neighbors", "Max drawdown",
        "Sets:   5 sets, 3 left out by --where, 1 refused by SmaCross.check_params; 5 ran in",
        f"Sweep:  {directory}", f"Report: {directory}/report.html",
        "Again:  onetape backtest run.yaml --set strategies.0.params.fast=",
        "worthless sets is expected to show",
    ):  # fmt: skip
        assert part in result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(("metric", "place"), [("sharpe", 0), ("fees", 3), ("max_drawdown", -1)])
def test_the_printed_command_of_a_row_gives_its_numbers(metric: str, place: int) -> None:
    document = json.loads(run(*GRID, "--metric", metric, "--set", "seed=3", "--json").stdout)
    row = document["best"][place]
    program, *arguments = shlex.split(row["again"])
    assert program == "onetape"
    assert "seed=3" in arguments
    backtest = CliRunner().invoke(app, [*arguments, "--json"])
    account = json.loads(backtest.stdout)["metrics"]["account"]
    assert account["fills"] > 0
    for name in PerformanceSummary.__struct_fields__:
        if not name.startswith("ts_"):
            assert row[name] == account[name], name
    pinned = ["backtest", f"{document['directory']}/config.json", *arguments[2:], "--json"]
    again = json.loads(CliRunner().invoke(app, pinned).stdout)["metrics"]["account"]
    assert again == account


def test_json_is_one_document() -> None:
    document = json.loads(run(*GRID, "--json").stdout)
    directory = Path(document["directory"])
    assert document["sweep"] == json.loads((directory / "sweep.json").read_text())
    assert document["sweep"]["sets"] == len(pl.read_parquet(directory / "sets.parquet")) == 7
    assert (document["ran"], document["quarantined"], document["failed"]) == (7, 0, 0)
    assert len(document["best"]) == 7
    assert len(document["overfitting"]["sentences"]) == 2


def test_quiet_prints_only_the_directory() -> None:
    result = run(*GRID, "--quiet")
    assert (result.stdout, result.stderr) == (f"{sweeps()[0]}\n", "")


def test_open_shows_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run(*GRID, "--open", "--quiet")
    assert opened == [(sweeps()[0] / "report.html").resolve().as_uri()]


def test_both_hosts_give_the_same_tables() -> None:
    for host in ("compiled", "python"):
        result = run(*GRID, "--host", host)
        assert result.exit_code == 0, result.stderr
        assert f"in the {host} host" in result.stdout
    one, other = sweeps()
    assert tables(one) == tables(other)


def test_what_does_not_compile_goes_on_in_python_and_says_where_and_what_to_do() -> None:
    result = run(*SLOW, "--param", "size=1,2", "--param", "pace=1")
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("does not compile") == 1
    assert "note: " in result.stderr
    assert "sleepy.py:14" in result.stderr
    assert "the sweep goes on in the Python host, in 1 processes" in result.stderr
    refused = run(*SLOW, "--param", "size=1,2", "--host", "compiled")
    assert refused.exit_code == 2
    assert "sleepy.py:14" in refused.stderr


BAD_INPUTS = [
    (["--param", "fats=1"], "error: --param fats: sma_cross has no param 'fats' (did you mean"),
    (["--param", "fast"], "is not name=values"),
    (["--param", "fast=0:4:1"], "--param fast: 0 is out of range (must be >= 2)"),
    (["--param", "fast=5:1:1"], "never gets from 5 to 1"),
    ([], "there is nothing to vary"),
    ([*GRID, "--where", "fast > 99"], "--where 'fast > 99' leaves out all 9 combinations"),
    ([*GRID, "--where", "import os"], "is not an expression"),
    ([*GRID, "--metric", "sharp"], "(did you mean 'sharpe'?)"),
    ([*GRID, "--metric", "returns"], "(did you mean 'return'?)"),
    ([*GRID, "--resume", "nowhere"], "nowhere: there is no sweep to resume"),
    ([*GRID, "--set", "data.timeframe=1h"], "there are no 1h bars of WAVE.SIM"),
    ([*GRID, "--set", "strategies.1={name: rsi, capital: 1}"], "a sweep varies one strategy"),
    (["--param", "fast=2:1001:1", "--param", "slow=3:1003:1"], "the grid has 1,001,000 combina"),
    (
        ["--param", "fast=2:1000000001:1", "--param", "slow=3:1000000002:1"],
        "the grid has 1,000,000,000,000,000,000 combinations",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "part"), BAD_INPUTS)
def test_bad_input_is_one_line_and_leaves_nothing(arguments: list[str], part: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sweeps() == []


def test_yes_runs_a_large_grid_without_holding_it() -> None:
    many = ["--param", "fast=2:500001:1", "--param", "slow=3,4,5", "--where", "fast < 4"]
    refused = run(*many)
    assert (refused.exit_code, "--yes" in refused.stderr) == (2, True)
    result = run(*many, "--yes")
    assert result.exit_code == 0, result.stderr
    assert "Sets:   5 sets, 1,499,994 left out by --where, 1 refused" in result.stdout


def test_sets_that_raise_or_fail_are_told_with_exit_code_5() -> None:
    Path("raises.py").write_text(
        SLEEPY.replace("ctx.buy", "1 // (self.size - 2)\n        ctx.buy").replace("Sleepy", "Rai")
    )
    result = run(
        "--set", "strategies.0={name: raises, path: raises.py, capital: 1000000}",
        "--param", "size=1,2,3", "--param", "pace=1",
    )  # fmt: skip
    assert result.exit_code == 5
    assert "the strategy raised in 1 sets, and 0 could not be run" in result.stderr
    assert pl.read_parquet(sweeps()[0] / "sets.parquet")["quarantined"].to_list()[1] != ""


# In a process of its own.


def start(*arguments: str, **how: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "sweep", "run.yaml", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **how,
    )  # fmt: skip


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it never happened")


def parts() -> list[Path]:
    return list(Path("runs").glob("*sweep*/parts/*.parquet"))


def children(pid: int) -> list[int]:
    """Processes that were started by `pid`."""
    found = Path(f"/proc/{pid}/task/{pid}/children")
    tasks = Path(f"/proc/{pid}/task").glob("*/children") if found.exists() else []
    return [int(each) for task in tasks for each in task.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


MANY = [*SLOW, "--param", "size=1:60:1", "--host", "python", "--workers", "2"]


def test_ctrl_c_keeps_what_is_done_and_the_sweep_goes_on_to_the_same_bytes() -> None:
    session = start(*MANY, start_new_session=True)
    wait_for(parts)
    workers = children(session.pid)
    assert len(workers) == 2
    os.killpg(session.pid, signal.SIGINT)  # as a terminal does
    _, told = session.communicate(timeout=30)
    assert session.returncode == 130, told
    (directory,) = sweeps()
    assert f"of 60 sets are kept in {directory}; go on with: onetape sweep run.yaml" in told
    assert "Traceback" not in told
    wait_for(lambda: not any(map(is_alive, workers)), 10)
    done = sum(pl.read_parquet(part).height for part in parts())
    assert 0 < done < 60

    command = told.rpartition("go on with: ")[2]
    resumed = CliRunner().invoke(app, [*shlex.split(command)[1:], "--json"])
    assert resumed.exit_code == 0, resumed.stderr
    assert json.loads(resumed.stdout)["ran"] == 60 - done
    whole = run(*MANY, "--quiet")
    assert whole.exit_code == 0
    assert tables(directory) == tables(Path(whole.stdout.strip()))


def test_a_killed_sweep_leaves_no_process_and_goes_on_from_what_was_written() -> None:
    session = start(*MANY)
    wait_for(parts)
    workers = children(session.pid)
    session.kill()
    session.communicate()
    wait_for(lambda: not any(map(is_alive, workers)), 30)
    (directory,) = sweeps()
    done = sum(pl.read_parquet(part).height for part in parts())
    resumed = run(*MANY, "--resume", str(directory), "--json")
    assert json.loads(resumed.stdout)["ran"] == 60 - done < 60


def test_a_killed_worker_costs_nothing_and_is_told_once() -> None:
    session = start(*MANY)
    (first, *_) = wait_for(lambda: children(session.pid))
    wait_for(parts)
    os.kill(first, signal.SIGKILL)
    out, told = session.communicate(timeout=120)
    assert session.returncode == 0, told
    assert told.count("a worker process was lost (killed by signal 9)") == 1
    assert "60 ran in" in out
    whole = run(*MANY, "--quiet")
    assert tables(sweeps()[0]) == tables(Path(whole.stdout.strip()))


def test_a_full_disk_is_one_line_and_the_sweep_goes_on_when_there_is_room() -> None:
    limit = "import resource, sys, os; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); "
    program = limit + f"os.execv({COMMAND!r}, sys.argv[1:])"
    many = ["--param", "fast=2:20:1", "--param", "slow=21:25:1", "--host", "python"]
    done = subprocess.run(
        [sys.executable, "-c", program, COMMAND, "sweep", "run.yaml", *many],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    (directory,) = sweeps()
    (line,) = [each for each in done.stderr.splitlines() if each.startswith("error: ")]
    assert "can't write: File too large" in line
    assert f"make room, then go on with --resume {directory}" in line
    assert "Traceback" not in done.stderr
    resumed = run(*many, "--resume", str(directory), "--json")
    assert resumed.exit_code == 0, resumed.stderr
    whole = run(*many, "--quiet")
    assert tables(directory) == tables(Path(whole.stdout.strip()))


def in_terminal(arguments: list[str], answer: str = "") -> tuple[int, str]:
    """Exit code and screen of a command that runs in a terminal."""
    pid, screen = pty.fork()
    if pid == 0:
        os.execv(COMMAND, [COMMAND, *arguments])
    shown = b""
    if answer:
        os.write(screen, f"{answer}\n".encode())
    while True:
        try:
            piece = os.read(screen, 65_536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(errors="replace")


def test_a_large_grid_is_asked_about_on_a_terminal() -> None:
    many = ["sweep", "run.yaml", "--param", "fast=2:1000001:1", "--param", "slow=3:5:1"]
    code, screen = in_terminal([*many, "--where", "fast < 4", "--host", "python"], "n")
    assert code == 1
    assert "The grid has 3,000,000 combinations. Run them?" in screen
    assert sweeps() == []


def test_a_terminal_shows_progress_with_sets_speed_and_best() -> None:
    code, screen = in_terminal(["sweep", "run.yaml", *SLOW, "--param", "size=1:12:1",
                                "--host", "python"])  # fmt: skip
    assert code == 0
    assert "12/12" in screen
    assert "sets/s" in screen
    assert "best Sharpe" in screen


# From Python.


def test_sweep_gives_a_frame_of_all_sets() -> None:
    frame = sweep("run.yaml", {"fast": range(2, 7, 2), "slow": [4, 12, 20]}, workers=1)
    assert frame["fast"].to_list() == [2, 2, 2, 4, 4, 6, 6]
    assert frame["slow"].to_list() == [4, 12, 20, 12, 20, 12, 20]
    assert frame["fills"].sum() > 0
    (directory,) = sweeps()
    assert frame.equals(pl.read_parquet(directory / "sets.parquet"), null_equal=True)
    assert (directory / "report.html").exists()


def test_sweep_takes_a_configuration_and_refuses_what_nobody_said_yes_to() -> None:
    config = load_config(Path("run.yaml"), [], {})
    assert len(sweep(config, {"fast": "2:6:2"}, metric="return", where="fast > 2", workers=1)) == 2
    with pytest.raises(ConfigError, match="the grid has 1,001,000 combinations"):
        sweep(config, {"fast": range(2, 1002), "slow": range(3, 1004)})


def test_a_script_without_a_main_guard_may_sweep() -> None:
    Path("script.py").write_text(
        "from onetape.research.sweep import sweep\n"
        "print(len(sweep('run.yaml', {'fast': [2, 4]}, host='python', workers=2)))\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
