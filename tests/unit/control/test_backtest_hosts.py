"""`onetape backtest` in both hosts: the same tape, the same files, the same verification."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner, Result

from onetape.control.boundary import QUARANTINED
from onetape.control.cli import app
from onetape.runtime.compiled import attempt
from onetape.runtime.config import SessionConfig
from onetape.runtime.sessions import host_runner
from onetape.runtime.sessions.backtest_run import run_backtest
from onetape.tape.opening import open_tape
from tests.support.cli_data import import_wave

TABLES = ("equity", "orders", "executions", "exposures", "fills", "round_trips")

STRATEGY = '''\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Mine(Strategy):
    """Buys, sells, and does what the test puts in."""

    bars: int = state(0)
    working: str = state("")

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.bars += 1
        if self.bars % 7 == 0:
            self.working = ctx.buy(bar.instrument, 3.0, limit=round(bar.close * 0.99, 2), label="a")
        if self.bars % 11 == 0:
            ctx.target(bar.instrument, 0.0, label="flat")
        if self.bars % 13 == 0 and self.working:
            ctx.cancel(self.working)
        {then}
'''


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("imported")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        import_wave()
    return directory


@pytest.fixture(autouse=True)
def _in_directory(imported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shutil.copytree(imported, tmp_path / "here"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def backtest(*overrides: str, code: int = 0) -> Path:
    """The directory of a run."""
    settings = [part for each in overrides for part in ("--set", each)]
    result = run("backtest", "run.yaml", "--quiet", *settings)
    assert result.exit_code == code, result.stderr
    return Path(result.stdout.strip())


def write_strategy(then: str) -> tuple[str, ...]:
    """A strategy file, and the settings that run it."""
    Path("mine.py").write_text(STRATEGY.format(then=then))
    return "strategies.0.path=mine.py", "strategies.0.params={}"


def read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def host_of(run_dir: Path) -> tuple[str, str]:
    measured = read_json(run_dir / "performance.json")
    return measured["host"], measured["host_note"]


def assert_same_run(one: Path, other: Path) -> None:
    assert (one / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
    for name in ("features.json", "report.md"):
        assert (one / name).read_bytes().replace(one.name.encode(), b"") == (
            other / name
        ).read_bytes().replace(other.name.encode(), b""), name
    for name in TABLES:
        tables = [pl.read_parquet(each / f"{name}.parquet") for each in (one, other)]
        assert tables[0].equals(tables[1]), name
    readers = [open_tape(each / "tape.db") for each in (one, other)]
    try:
        assert [*readers[0].encoded_records()] == [*readers[1].encoded_records()]
    finally:
        for each in readers:
            each.close()


@pytest.mark.parametrize("is_shipped", [True, False])
def test_both_hosts_leave_the_same_run(*, is_shipped: bool) -> None:
    settings = () if is_shipped else write_strategy("pass")
    python = backtest("host=python", *settings)
    compiled = backtest("host=compiled", *settings)
    assert host_of(python) == ("python", "")
    assert host_of(compiled) == ("compiled", "")
    assert_same_run(python, compiled)
    assert read_json(compiled / "metrics.json")["account"]["fills"] > 0
    assert run("verify", str(compiled)).exit_code == 0


def test_what_compiled_code_gives_up_goes_on_in_python() -> None:
    settings = write_strategy("self.bars += 0 // (70 - self.bars)")
    python = backtest("host=python", *settings, code=QUARANTINED)
    compiled = backtest("host=compiled", *settings, code=QUARANTINED)
    assert host_of(compiled)[0] == "python"
    assert host_of(compiled)[1].startswith("compiled code gave up: ZeroDivisionError")
    assert_same_run(python, compiled)


def test_what_is_not_carried_is_an_error_where_compiled_code_is_asked_for() -> None:
    settings = write_strategy("ctx.signal('x', 1.0)")
    result = run("backtest", "run.yaml", "--set", "host=compiled",
                 *[part for each in settings for part in ("--set", each)])  # fmt: skip
    assert result.exit_code == 2
    assert "mine.py:" in result.stderr
    assert "ctx.signal is not carried" in result.stderr
    assert not list(Path("runs").glob("*"))


@pytest.mark.parametrize(
    ("override", "message"),
    [("clock.speed=10", "the session is paced"), ("risk.account.max_leverage=3", "risk.account")],
)
def test_a_session_that_is_not_carried_is_an_error_too(override: str, message: str) -> None:
    result = run("backtest", "run.yaml", "--set", "host=compiled", "--set", override)
    assert result.exit_code == 2
    assert f"{message}, which the compiled host does not carry" in result.stderr


def test_a_session_that_is_not_carried_says_why_it_runs_in_python() -> None:
    host, note = host_of(backtest("risk.account.max_leverage=3"))
    assert host == "python"
    assert "the session has risk.account, which the compiled host does not carry" in note


def test_a_short_run_stays_in_the_python_host() -> None:
    assert host_of(backtest()) == ("python", "compiled code would not pay")
    assert "Host:   python: compiled code would not pay" in run("backtest", "run.yaml").stdout


def switch_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(host_runner, "PATIENCE_SECONDS", -1.0)
    patch.setattr(host_runner, "WORTH_SECONDS", -1.0)


@pytest.mark.parametrize("is_shipped", [True, False])
def test_a_long_run_is_taken_over_by_compiled_code(
    monkeypatch: pytest.MonkeyPatch, *, is_shipped: bool
) -> None:
    settings = () if is_shipped else write_strategy("pass")
    python = backtest("host=python", *settings)
    switch_at_once(monkeypatch)
    taken_over = backtest(*settings)
    host, note = host_of(taken_over)
    assert host == "compiled"
    assert note.endswith(" s in the Python host")
    assert_same_run(python, taken_over)


def test_a_long_run_that_does_not_compile_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = write_strategy("ctx.signal('x', 1.0)")
    python = backtest("host=python", *settings)
    switch_at_once(monkeypatch)
    other = backtest(*settings)
    assert host_of(other)[0] == "python"
    assert "ctx.signal is not carried" in host_of(other)[1]
    assert_same_run(python, other)


def test_a_label_that_is_computed_is_written_by_the_python_host() -> None:
    settings = write_strategy("ctx.buy(bar.instrument, 1.0, label=str(self.bars))")
    result = run("backtest", "run.yaml", "--set", "host=compiled",
                 *[part for each in settings for part in ("--set", each)])  # fmt: skip
    assert result.exit_code == 2
    assert "a label that is no plain text is not carried" in result.stderr


def test_a_run_that_is_stopped_is_sound_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = backtest("host=compiled")
    monkeypatch.setattr(attempt, "STRETCH_ROWS", 16)
    monkeypatch.setattr(attempt, "PAUSE_EVENTS", 4)
    config = SessionConfig.model_validate_json((whole / "config.json").read_bytes())
    part = Path("runs/stopped-20261122")
    part.mkdir()
    asked = iter([False, False, False, True])
    with pytest.raises(KeyboardInterrupt):
        run_backtest(config, part, is_stop_asked=lambda: next(asked))
    reader = open_tape(part / "tape.db")
    audit = reader.audit()
    reader.close()
    assert audit.damage is None
    assert not audit.complete
    assert audit.records > 3
    assert run("backtest", "--resume", str(part)).exit_code == 0
    assert_same_run(whole, part)
