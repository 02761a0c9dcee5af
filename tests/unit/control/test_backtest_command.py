"""`onetape backtest` and `onetape report`."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import webbrowser
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import onetape.runtime.sessions.backtest_run
import onetape.strategy.library.sma_cross
from onetape.control.cli import app
from onetape.runtime.config import SessionConfig

RAISES = '''\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Raises(Strategy):
    """Raises."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        raise ValueError("no more")
'''

FILES = {
    "config.json", "versions.json", "features.json", "tape.db", "metrics.json",
    "equity.parquet", "orders.parquet", "executions.parquet", "exposures.parquet",
    "fills.parquet",
    "round_trips.parquet", "report.html", "report.md", "performance.json", "performance.js",
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("in_wave")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def test_backtest_prints_figures_and_leaves_a_whole_run() -> None:
    result = run("backtest", "run.yaml")
    assert result.exit_code == 0, result.stderr
    assert "Total return" in result.stdout
    assert "Bars:   120 in " in result.stdout
    assert re.search(r"^Speed:  [\d,]+ rows/s, \d+ % of the time in strategies, 99 % of events "
                     r"within [\d,.]+ us, [\d,]+ MiB at most$", result.stdout, re.M)  # fmt: skip
    assert result.stderr == ""
    (run_dir,) = Path("runs").iterdir()
    assert {each.name for each in run_dir.iterdir()} == FILES
    assert f"Report: {run_dir}/report.html" in result.stdout


def test_backtest_says_why_risk_denied_its_orders() -> None:
    result = run("backtest", "run.yaml", "--set", "risk.max_order_quantity=1")
    assert result.exit_code == 0, result.stderr
    assert re.search(r"^Denied: \d+ by order_quantity, from \S+ \S+ UTC on", result.stdout, re.M)


def test_backtest_json_is_one_document_with_exact_figures() -> None:
    result = run("backtest", "run.yaml", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    run_dir = Path(document["run_dir"])
    assert document["metrics"] == json.loads((run_dir / "metrics.json").read_text())
    measured = json.loads((run_dir / "performance.json").read_text())
    assert document["performance"] == measured
    assert (measured["first_row"], measured["rows"], measured["sampled_rows"]) == (0, 120, 120)
    assert document["market_events"] == 120
    assert document["metrics"]["account"]["fills"] > 0


def test_backtest_set_changes_the_run_and_its_hash() -> None:
    for override in ("seed=1", "seed=1", "seed=2"):
        assert run("backtest", "run.yaml", "--quiet", "--set", override).exit_code == 0
    hashes = [each.name.split("-")[2] for each in sorted(Path("runs").iterdir())]
    assert len(hashes) == 3
    assert len(set(hashes)) == 2


def test_backtest_quiet_prints_only_the_run_directory() -> None:
    result = run("backtest", "run.yaml", "--quiet")
    (run_dir,) = Path("runs").iterdir()
    assert (result.stdout, result.stderr) == (f"{run_dir}\n", "")


def test_backtest_open_shows_the_report(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    run("backtest", "run.yaml", "--open", "--quiet")
    (page,) = Path("runs").resolve().glob("*/report.html")
    assert opened == [page.as_uri()]
    run("report", str(page.parent), "--open")
    assert opened == [page.as_uri()] * 2


def test_backtest_with_a_strategy_that_raises_completes_loudly_with_exit_code_5() -> None:
    Path("raises.py").write_text(RAISES)
    second = "strategies.1={name: bad, path: raises.py, capital: 5}"
    table = run("backtest", "run.yaml", "--set", second)
    assert table.exit_code == 5
    assert "QUARANTINED: bad raised in on_bar" in table.stdout
    assert "Total return" in table.stdout
    for part in ("STRATEGY QUARANTINED", "bad raised in on_bar", "no more", "raises.py:10"):
        assert part in table.stderr
    document = run("backtest", "run.yaml", "--json", "--set", second)
    assert document.exit_code == 5
    assert json.loads(document.stdout)["metrics"]["quarantined"][0]["strategy"] == "bad"


BAD_INPUTS = [
    ("data.instruments.0=WAVE.SIN", "did you mean 'WAVE.SIM 1d'"),
    ("data.path=nowhere", "error: nowhere: "),
    ("data.timeframe=1h", "there are no 1h bars of WAVE.SIM"),
    ("clock={type: historical, start: 1999-01-01, end: 1999-02-01}", "WAVE.SIM"),
    ("clock.end=2023-01-01", "error: --set clock.end: clock.end is not after clock.start"),
    ("strategies.0.currency=EUR", "WAVE.SIM is quoted in USD"),
    ("strategies.0.params.fast=0", "strategies.0.params.fast: 0 is out of range (must be >= 2)"),
    ("strategies.0.params.fast=9", "strategies.0.params: fast 9 is not below slow 8"),
    ("strategies.0.name=sma_kross", "did you mean 'sma_cross'?"),
    ("strategies.0.path=bad.py", "import of random"),
    ("risk.max_leverag=2", "(did you mean 'max_leverage'?)"),
    ("mode=paper", "error: run.yaml:1: clock.type must be live in paper and live"),
    ("clock.type=live", "clock.start is not a known key"),
]


@pytest.mark.parametrize(("override", "part"), BAD_INPUTS)
def test_backtest_with_bad_input_is_one_line_and_leaves_nothing(override: str, part: str) -> None:
    Path("bad.py").write_text("import random\n" + RAISES)
    result = run("backtest", "run.yaml", "--set", override)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert part in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not Path("runs").exists()


def test_backtest_keeps_other_runs_when_the_input_is_wrong() -> None:
    run("backtest", "run.yaml", "--quiet")
    run("backtest", "run.yaml", "--set", "data.path=nowhere")
    assert len(list(Path("runs").iterdir())) == 1


def test_backtest_of_a_missing_configuration_names_it() -> None:
    result = run("backtest", "none.yaml")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: none.yaml: the configuration can't be read: No such")


def break_off(monkeypatch: pytest.MonkeyPatch, error: BaseException, *, keep_tape: bool) -> None:
    """Let the session end with `error` after its tape was begun."""
    complete = onetape.runtime.sessions.backtest_run.run_backtest

    def broken(config: SessionConfig, run_dir: Path, *_: object) -> None:
        complete(config, run_dir, None)
        if not keep_tape:
            (run_dir / "tape.db").unlink()
        raise error

    monkeypatch.setattr(onetape.runtime.sessions.backtest_run, "run_backtest", broken)


def test_backtest_interrupted_keeps_what_it_has_with_exit_code_130(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_off(monkeypatch, KeyboardInterrupt(), keep_tape=True)
    result = run("backtest", "run.yaml")
    (run_dir,) = Path("runs").iterdir()
    assert result.exit_code == 130
    assert result.stderr == (
        f"error: interrupted; go on with: onetape backtest --resume {run_dir}\n"
    )


def test_backtest_that_is_asked_to_stop_goes_on_to_the_same_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Path(run("backtest", "run.yaml", "--quiet").stdout.strip())
    monkeypatch.setattr(onetape.runtime.sessions.backtest, "BLOCK_ROWS", 10)
    advance = onetape.runtime.sessions.backtest.BacktestSession.advance

    def advance_and_ask(self: Any, stop: int, *rest: Any) -> None:
        if stop == 60 and self.row == 50:
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self, stop, *rest)

    session = onetape.runtime.sessions.backtest.BacktestSession
    monkeypatch.setattr(session, "advance", advance_and_ask)
    result = run("backtest", "run.yaml", "--quiet")
    assert result.exit_code == 130
    run_dir = Path(result.stderr.strip().rpartition(" ")[2])
    assert not (run_dir / "metrics.json").exists()
    monkeypatch.setattr(session, "advance", advance)
    result = run("backtest", "--resume", str(run_dir), "--quiet")
    assert (result.exit_code, result.stdout) == (0, f"{run_dir}\n"), result.stderr
    names = {each.name for each in whole.iterdir() if "performance" not in each.name} - {"tape.db"}
    assert {name: (run_dir / name).read_bytes() for name in names} == {
        name: (whole / name).read_bytes() for name in names
    }
    measured = json.loads((run_dir / "performance.json").read_bytes())
    assert (measured["first_row"], measured["rows"]) == (60, 60)
    again = run("backtest", "--resume", str(run_dir))
    assert "Bars:   120 in " in again.stdout
    assert "Speed:" not in again.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "there is no configuration: onetape backtest CONFIG, or --resume RUN_DIR"),
        (("run.yaml", "--resume", "x"), "leave CONFIG and --set out"),
        (("run.yaml", "--catalog", "x"), "set data.path for a new run"),
        (("--resume", "nowhere"), "there is no run to go on with here"),
    ],
)
def test_backtest_resume_with_wrong_arguments_is_one_line(
    arguments: tuple[str, ...], message: str
) -> None:
    result = run("backtest", *arguments)
    assert result.exit_code == 2
    assert message.split(": ")[-1] in result.stderr
    assert result.stderr.count("\n") == 1


def test_backtest_resume_after_the_strategy_changed_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_off(monkeypatch, KeyboardInterrupt(), keep_tape=True)
    run("backtest", "run.yaml")
    (run_dir,) = Path("runs").iterdir()
    monkeypatch.setattr(onetape.strategy.library.sma_cross.SmaCross, "version", "2")
    before = (run_dir / "tape.db").read_bytes()
    result = run("backtest", "--resume", str(run_dir))
    assert result.exit_code == 2
    assert "it can't go on: strategy sma_cross" in result.stderr
    assert (run_dir / "tape.db").read_bytes() == before


def test_backtest_interrupted_before_the_tape_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    break_off(monkeypatch, KeyboardInterrupt(), keep_tape=False)
    result = run("backtest", "run.yaml")
    assert (result.exit_code, result.stderr) == (130, "error: interrupted\n")
    assert not Path("runs").exists()


def test_backtest_on_a_full_disk_says_so_with_exit_code_3(monkeypatch: pytest.MonkeyPatch) -> None:
    break_off(monkeypatch, OSError(28, "No space left on device", "x/tape.db"), keep_tape=True)
    result = run("backtest", "run.yaml")
    assert (result.exit_code, result.stderr) == (3, "error: x/tape.db: No space left on device\n")


def test_report_writes_the_same_bytes_again() -> None:
    run_dir = Path(run("backtest", "run.yaml", "--quiet").stdout.strip())
    before = {each.name: each.read_bytes() for each in run_dir.iterdir()}
    for name in ("report.html", "report.md", "metrics.json", "equity.parquet"):
        (run_dir / name).unlink()
    result = run("report", str(run_dir))
    assert result.exit_code == 0, result.stderr
    assert "Total return" in result.stdout
    assert {each.name: each.read_bytes() for each in run_dir.iterdir()} == before
    assert json.loads(run("report", str(run_dir), "--json").stdout)["run_dir"] == str(run_dir)


def test_report_after_the_catalog_grew_and_moved_still_reads_the_pinned_bars() -> None:
    run_dir = Path(run("backtest", "run.yaml", "--quiet").stdout.strip())
    metrics = (run_dir / "metrics.json").read_bytes()
    rows = Path("wave.csv").read_text().splitlines()
    Path("more.csv").write_text(f"{rows[0]}\n2024-04-30,100,101,99,100,5\n")
    arguments = ["--instrument", "WAVE.SIM", "--timeframe", "1d", "--tz", "UTC"]
    assert run("data", "import", "more.csv", *arguments).exit_code == 0
    shutil.move("data/catalog", "moved")
    lost = run("report", str(run_dir))
    assert lost.exit_code == 2
    assert "data/catalog" in lost.stderr
    assert run("report", str(run_dir), "--catalog", "moved").exit_code == 0
    assert (run_dir / "metrics.json").read_bytes() == metrics


def test_report_with_a_catalog_of_other_bars_is_refused() -> None:
    run_dir = Path(run("backtest", "run.yaml", "--quiet").stdout.strip())
    metrics = (run_dir / "metrics.json").read_bytes()
    rows = Path("wave.csv").read_text().splitlines()
    Path("other.csv").write_text("\n".join(rows[:100]) + "\n")
    arguments = ["--instrument", "WAVE.SIM", "--timeframe", "1d", "--tz", "UTC"]
    there = ["--calendar", "24/7", "--catalog", "other"]
    assert run("data", "import", "other.csv", *arguments, *there).exit_code == 0
    result = run("report", str(run_dir), "--catalog", "other")
    assert result.exit_code == 2
    assert "error: other: WAVE.SIM 1d version 0 holds other bars" in result.stderr
    assert result.stderr.count("\n") == 1
    assert (run_dir / "metrics.json").read_bytes() == metrics


def test_report_of_a_run_that_broke_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    session = onetape.runtime.sessions.backtest.BacktestSession
    monkeypatch.setattr(onetape.runtime.sessions.backtest, "BLOCK_ROWS", 10)

    def stop_half_way(progress: onetape.runtime.sessions.backtest.Progress) -> None:
        if progress.rows_done >= 60:
            raise KeyboardInterrupt

    complete = session.run

    def run_half(self: object, *_: object, **__: object) -> None:
        complete(self, stop_half_way)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(session, "run", run_half)
    assert run("backtest", "run.yaml").exit_code == 130
    (run_dir,) = Path("runs").iterdir()
    result = run("report", str(run_dir))
    assert result.exit_code == 0
    assert result.stdout.startswith("INCOMPLETE: the session still runs, or broke off")
    assert json.loads((run_dir / "metrics.json").read_text())["complete"] is False


def test_report_of_what_is_no_run_names_the_path() -> None:
    result = run("report", "data")
    assert (result.exit_code, result.stderr) == (2, "error: data/tape.db: there is no tape here\n")
