"""`onetape statement`: a day of a run, as a table, JSON and a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.timestamps import NS_PER_DAY, from_iso, to_iso
from tests.support.cli_data import import_wave


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statement")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        import_wave()
        made = run("backtest", "run.yaml", "--quiet", "--set", "execution.carrying.borrow_pct=1",
                   "--set", "execution.carrying.credit_interest_pct=3.6")  # fmt: skip
        assert made.exit_code == 0, made.stderr
        return folder / made.stdout.strip()


@pytest.fixture(autouse=True)
def _there(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run_dir.parent.parent)


def last_day(run_dir: Path) -> str:
    state = json.loads(run("tape", "state", str(run_dir), "--json").stdout)
    return to_iso(from_iso(state["time"]) - 1)[:10]


def test_statement_of_the_last_day_closes_with_the_balances_of_the_tape(run_dir: Path) -> None:
    date = last_day(run_dir)
    result = run("statement", str(run_dir), date, "--json")
    assert result.exit_code == 0, result.stderr
    stated = json.loads(result.stdout)
    (balances,) = stated["balances"]
    (state,) = json.loads(run("tape", "state", str(run_dir), "--json").stdout)["balances"]
    assert stated["date"] == date
    assert balances["closing"] == {name: state[name] for name in balances["closing"]}
    metrics = json.loads((run_dir / "metrics.json").read_bytes())
    assert float(balances["equity"]) == metrics["account"]["equity"]
    assert float(balances["closing"]["financing"]) < 0


def test_lines_name_events_of_the_tape(run_dir: Path) -> None:
    shown = json.loads(run("tape", "show", str(run_dir), "--json", "--limit", "0").stdout)
    types = {event["seq"]: event["type"] for event in shown}
    day = from_iso(last_day(run_dir)) // NS_PER_DAY
    kinds: set[str] = set()
    for place in range(day - 60, day + 1):
        result = run("statement", str(run_dir), to_iso(place * NS_PER_DAY)[:10], "--json")
        if result.exit_code:
            continue
        for entry in json.loads(result.stdout)["balances"][0]["entries"]:
            expected = "account.posted" if entry["kind"] == "credit_interest" else entry["kind"]
            assert types[entry["seq"]] == expected
            kinds.add(entry["kind"])
    assert {"order.filled", "credit_interest"} <= kinds


def test_statement_as_table_and_page(run_dir: Path, tmp_path: Path) -> None:
    page = tmp_path / "day.html"
    result = run("statement", str(run_dir), last_day(run_dir), "--html", str(page))
    assert result.exit_code == 0, result.stderr
    assert "opening" in result.stdout
    assert "credit_interest 3.6% a year on" in result.stdout
    html = page.read_text("utf-8")
    assert f"<title>Statement of {last_day(run_dir)}</title>" in html
    assert "credit_interest 3.6% a year on" in html
    again = run("statement", str(run_dir), last_day(run_dir), "--html", str(page))
    assert again.exit_code == 2
    assert "nothing is overwritten" in again.stderr


@pytest.mark.parametrize(
    ("date", "message"),
    [("1999-01-01", "the session has no 1999-01-01 (it went from"), ("soon", "is not an ISO")],
)
def test_statement_of_no_day_of_the_run_is_an_error(run_dir: Path, date: str, message: str) -> None:
    result = run("statement", str(run_dir), date)
    assert result.exit_code == 2
    assert message in result.stderr
