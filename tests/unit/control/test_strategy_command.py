"""`onetape strategy`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["strategy", *arguments])


def test_strategy_new_writes_a_file_that_passes_the_check() -> None:
    assert run("new", "my_idea").exit_code == 0
    checked = run("check", "my_idea.py")
    assert (checked.exit_code, checked.stdout) == (0, "my_idea.py: ok\n")


def test_strategy_new_never_overwrites() -> None:
    Path("my_idea.py").write_text("mine")
    result = run("new", "my_idea")
    assert result.exit_code == 2
    assert result.stderr == "error: my_idea.py: the file exists (choose another name)\n"
    assert Path("my_idea.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["../x", "class", "My-Idea", ""])
def test_strategy_new_with_a_bad_name_writes_nothing(name: str) -> None:
    assert run("new", name).exit_code == 2
    assert list(Path().iterdir()) == []


def test_strategy_new_in_a_missing_directory_names_it() -> None:
    result = run("new", "my_idea", "--dir", "nowhere")
    assert result.exit_code == 2
    assert result.stderr == "error: nowhere/my_idea.py: No such file or directory\n"


def test_strategy_check_prints_findings_by_line_and_exits_2() -> None:
    run("new", "my_idea")
    source = Path("my_idea.py")
    source.write_text(source.read_text() + "import requests\nimport random\n")
    lines = len(source.read_text().splitlines())
    result = run("check", "my_idea.py")
    assert result.exit_code == 2
    assert [each.split(" ")[0] for each in result.stdout.splitlines()] == [
        f"my_idea.py:{lines - 1}:",
        f"my_idea.py:{lines}:",
    ]


def test_strategy_check_of_a_missing_file_names_it() -> None:
    result = run("check", "nowhere.py")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: nowhere.py: the strategy file can't be read")


def test_strategy_list_names_every_shipped_strategy_and_its_params() -> None:
    names = ("buy_and_hold", "sma_cross", "mean_reversion", "rsi", "momentum_rebalance")
    text = run("list").stdout
    for name in (*names, "fast = 10 (>= 2)"):
        assert name in text
    listed = {each["name"]: each for each in json.loads(run("list", "--json").stdout)}
    assert set(names) <= set(listed)
    assert listed["sma_cross"]["params"]["fast"]["default"] == 10
