"""`onetape risk replay` as a user meets it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from tests.support.replayed_runs import write_run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in `run`."""
    folder = tmp_path_factory.mktemp("made")
    with contextlib.chdir(folder):
        write_run(60)
    return folder


@pytest.fixture(autouse=True)
def _here(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)


def ask(limits: Any, *more: str) -> Result:
    """The command on the run, with these limits in a file."""
    Path("limits.yaml").write_text(yaml.safe_dump(limits), encoding="utf-8")
    return CliRunner().invoke(app, ["risk", "replay", "run", "--limits", "limits.yaml", *more])


def answer(limits: Any) -> dict[str, Any]:
    result = ask(limits, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


OWN = {"max_orders_per_minute": 5, "max_leverage": 2}


@pytest.mark.parametrize("limits", [OWN, {"risk": OWN}])
def test_own_limits_come_out_as_in_the_run(limits: Any) -> None:
    found = answer(limits)
    assert found["orders"] > 20
    assert found["differing"] == []
    assert found["run"] == found["what_if"]
    assert found["gates"] == [] or found["run"]["denied"] > 0


def test_other_limits_tell_each_order_with_gate_and_numbers() -> None:
    found = answer({"risk": {**OWN, "max_order_quantity": 5}})
    assert found["what_if"]["denied"] == len(found["differing"]) > 5
    for each in found["differing"]:
        assert each["run"]["verdict"] == "passed"
        other = each["other"]
        assert (other["gate"], other["limit"], other["unit"]) == ("order_quantity", 5, "units")
        assert other["actual"] > 5
    shrunk = answer({**OWN, "max_order_quantity": 5, "shrink": ["order_quantity"]})
    lots = {(each["is_replace"], each["other"]["lots"]) for each in shrunk["differing"]}
    assert lots == {(False, 5), (True, 0)}  # a replace is never shrunk
    assert len(shrunk["differing"]) == len(found["differing"])


def test_table_and_page_say_what_they_can_t_know(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = ask({**OWN, "max_order_quantity": 5}, "--html", str(page))
    assert result.exit_code == 0, result.output
    for text in (result.stdout, page.read_text("utf-8")):
        assert "orders come out otherwise than in the run" in text
        assert "denied by order_quantity" in text
        assert "would have decided otherwise from the first such order on" in text
    again = ask(OWN, "--html", str(page))
    assert again.exit_code != 0
    assert "nothing is overwritten" in again.stderr


BAD: Sequence[tuple[Any, str]] = (
    ({"max_order_quantty": 5}, "risk.max_order_quantty is not a known key"),
    ({"max_order_quantity": -5}, "risk.max_order_quantity"),
    ({"breakers": [{"type": "drawdown", "pct": 1, "action": "pause"}]}, "breakers are not the run"),
    ({"breakers": [{"type": "drawdown", "pct": 1, "action": "kill", "cooldown_minutes": 5}]},
     "lifted by an operator"),
)  # fmt: skip


@pytest.mark.parametrize(("limits", "what"), BAD, ids=[what for _, what in BAD])
def test_limits_that_are_none_are_one_clear_error(limits: Any, what: str) -> None:
    result = ask(limits)
    assert result.exit_code != 0
    assert what in result.stderr
    assert len(result.stderr.splitlines()) == 1
