"""`onetape parity` as a user types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.events import OrderSubmitted
from onetape.domain.venue import VenueReport
from tests.support.cli_data import import_wave
from tests.support.parity_runs import fill_at, make_live_run, reject


def reality(number: int, order: OrderSubmitted, ticks: int) -> VenueReport:
    """Two cents dearer; the fifth order is refused."""
    if number == 5:
        return reject(order, "halted <for news>")
    return fill_at(order, ticks + 2 * order.side.value)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "20240311T133000Z-made-01234567"
    make_live_run(folder, reality)
    return folder


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["parity", *map(str, arguments)])


def test_tables_name_causes_and_amounts(run_dir: Path) -> None:
    done = run(run_dir)
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("identical, ")
    assert "sma_cross decides otherwise after " in done.stdout
    assert "all of the difference" in done.stdout
    assert "rejected: halted <for news>" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(" price ")]
    assert rows[0][-1] == f"{float(rows[0][-2]) * -0.2:+.2f}", "ten shares, two cents each"


def test_json_holds_every_difference_and_sums(run_dir: Path) -> None:
    done = run(run_dir, "--json")
    told = json.loads(done.stdout)
    comparison = told["comparison"]
    parts = [float(each["amount"]) for each in comparison["differences"]]
    (each,) = comparison["strategies"]
    assert sum(parts) == pytest.approx(float(comparison["difference"]), abs=1e-9)
    assert float(each["session"]) - float(each["backtest"]) == pytest.approx(sum(parts), abs=1e-9)
    assert {each["cause"] for each in comparison["differences"]} >= {"price", "venue_rule"}
    assert (told["verdict"], told["exit_code"], told["is_backtest_same"]) == ("identical", 0, True)
    assert comparison["partings"][0]["session"] != comparison["partings"][0]["backtest"]


def test_page_is_written_once(run_dir: Path, tmp_path: Path) -> None:
    page = tmp_path / "parity.html"
    assert f"Page: {page}" in run(run_dir, "--html", page).stdout
    text = page.read_text("utf-8")
    assert "<title>Parity of made</title>" in text
    assert "halted &lt;for news&gt;" in text
    again = run(run_dir, "--html", page)
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.stderr


@pytest.mark.parametrize("by", ["made", "id"])
def test_session_by_its_name_or_id(run_dir: Path, by: str) -> None:
    name = json.loads(run(run_dir, "--json").stdout)["session"][:6] if by == "id" else by
    done = run(name, "--runs", run_dir.parent)
    assert done.exit_code == 0, done.stderr


def test_unknown_session_says_what_to_name(run_dir: Path) -> None:
    done = run("nobody", "--runs", run_dir.parent)
    assert done.exit_code == 2
    assert "0 sessions are meant by nobody" in done.stderr


def test_killed_session_has_the_exit_code_of_verify(tmp_path: Path) -> None:
    make_live_run(tmp_path / "run", reality, ends=False)
    done = run(tmp_path / "run")
    assert done.exit_code == 2
    assert done.stdout.startswith("the tape is incomplete")
    assert "all of the difference" in done.stdout


def test_backtest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave()
    assert CliRunner().invoke(app, ["backtest", "run.yaml"]).exit_code == 0
    (folder,) = Path("runs").iterdir()
    done = run(folder)
    assert done.exit_code == 2
    assert "a backtest has no parity to keep" in done.stderr
