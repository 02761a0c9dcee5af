"""`onetape tape state`: books and orders at any place of a tape."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from tests.support.cli_data import import_wave


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        import_wave()
        return folder / run("backtest", "run.yaml", "--quiet").stdout.strip()


def test_state_at_the_end_has_the_balances_of_the_report(run_dir: Path) -> None:
    result = run("tape", "state", str(run_dir), "--json")
    assert result.exit_code == 0, result.stderr
    state = json.loads(result.stdout)
    metrics = json.loads((run_dir / "metrics.json").read_bytes())
    (balance,) = state["balances"]
    assert state["complete"] is True
    assert balance["capital"] == "10000.00000000"
    assert float(balance["fees"]) == metrics["account"]["fees"]
    held = sum(float(each["quantity"]) * 1 for each in state["positions"])
    assert held in (0, 10)


def test_state_follows_the_tape_event_by_event(run_dir: Path) -> None:
    shown = json.loads(run("tape", "show", str(run_dir), "--json", "--limit", "0").stdout)
    seen: set[str] = set()
    for event in shown:
        state = json.loads(
            run("tape", "state", str(run_dir), "--json", "--until", str(event["seq"])).stdout
        )
        assert state["seq"] == event["seq"]
        if event["type"] == "order.submitted":
            (order,) = state["orders"]
            assert order["status"] == "submitted"
            assert order["quantity"] == "10"
        if event["type"] in ("position.opened", "position.closed"):
            quantities = [each["quantity"] for each in state["positions"]]
            assert quantities == (["10"] if event["type"] == "position.opened" else [])
        seen.add(event["type"])
    assert {"order.submitted", "position.opened", "position.closed"} <= seen


def test_state_as_a_table(run_dir: Path) -> None:
    result = run("tape", "state", str(run_dir), "--until", "0")
    assert result.exit_code == 0
    assert "behind event 0 (" in result.stdout
    assert "the session goes on behind" in result.stdout
    assert result.stdout.count("no ") == 3


def test_state_on_a_narrow_screen_keeps_every_digit(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    (balance,) = json.loads(run("tape", "state", str(run_dir), "--json").stdout)["balances"]
    result = run("tape", "state", str(run_dir))
    assert result.exit_code == 0, result.stderr
    assert "\u2026" not in result.stdout  # nothing is cut
    assert f"{Decimal(balance['cash']).normalize():,f}" in result.stdout
    assert "10,000.00" in result.stdout  # the capital
    assert "exchanged" not in result.stdout  # a balance that was never used


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("nowhere",), "there is no tape here"), ((".", "--until", "-1"), "Invalid value")],
)
def test_state_of_what_is_no_tape_is_refused(arguments: tuple[str, ...], message: str) -> None:
    result = run("tape", "state", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
