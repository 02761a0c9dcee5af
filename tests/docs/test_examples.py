"""Every shipped example proves itself on the demo's data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from tests.docs.demo import Demo
from tests.docs.pages import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_verify_of_every_shipped_example_is_identical(
    path: Path, demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(demo.folder)
    options = ["--quiet", "--set", f"output.path={tmp_path}"]
    done = CliRunner().invoke(app, ["backtest", str(path), *options])
    assert done.exit_code == 0, done.stderr
    result = CliRunner().invoke(app, ["verify", done.stdout.strip(), "--json"])
    found = json.loads(result.stdout)
    assert (found["verdict"], result.exit_code) == ("identical", 0), found["what"]
    assert found["decisions"] >= 3
    assert found["digest"] == json.loads(metrics_of(done.stdout))["tape_digest"]


def metrics_of(printed: str) -> bytes:
    return (Path(printed.strip()) / "metrics.json").read_bytes()
