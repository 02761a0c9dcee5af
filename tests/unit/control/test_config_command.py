"""`onetape config`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.runtime.config import load_config

GOOD = """\
clock: {type: historical, start: 2023-01-01, end: 2024-01-01}
data: {instruments: [AAPL.XNAS], timeframe: 1d}
strategies: [{name: sma_cross, capital: 1000, params: {fast: 7}}]
"""


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run.yaml").write_text(GOOD)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["config", *arguments])


def test_config_check_names_session_and_hash() -> None:
    result = run("check", "run.yaml")
    assert result.exit_code == 0
    assert result.stdout.startswith("run.yaml: ok (session sma_cross, hash ")


def test_config_check_lists_every_problem() -> None:
    text = GOOD.replace("2024-01-01", "soon").replace("1d", "day")
    Path("run.yaml").write_text(text)
    result = run("check", "run.yaml")
    assert result.exit_code == 2
    assert [each[:17] for each in result.stderr.splitlines()] == [
        "error: run.yaml:1",
        "error: run.yaml:2",
    ]


def test_config_check_includes_the_params_of_strategies() -> None:
    result = run("check", "run.yaml", "--set", "strategies.0.params.fast=1")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: --set strategies.0.params.fast: strategies.0.params.fast: 1 is out of range "
        "(must be >= 2)\n"
    )


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_config_show_prints_a_configuration_that_loads_again(form: list[str]) -> None:
    result = run("show", "run.yaml", "--set", "seed=5", *form)
    assert result.exit_code == 0
    parsed = json.loads(result.stdout) if form else yaml.safe_load(result.stdout)
    assert parsed["seed"] == 5
    Path("shown.yaml").write_text(result.stdout)
    assert load_config(Path("shown.yaml"), [], {}) == load_config(Path("run.yaml"), ["seed=5"], {})


def test_config_schema_describes_every_section() -> None:
    result = run("schema")
    assert result.exit_code == 0
    schema = json.loads(result.stdout)
    assert {"clock", "data", "execution", "risk", "strategies"} <= set(schema["properties"])
    assert schema["additionalProperties"] is False
