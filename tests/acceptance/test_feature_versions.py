"""A feature's code changes: an old run still verifies, with the definition that it ran on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.rules import rule
from onetape.features import Sma
from onetape.features.average import SmaState, update_sma
from tests.support.cli_data import import_wave


@rule
def update_changed_sma(state: SmaState, close: float) -> float:
    """As `update_sma` was after somebody's correction."""
    return update_sma(state, close * 1.25) - 10.0


STRATEGY = '''\
"""Two versions of one feature, side by side."""

from onetape.domain.market import Bar
from onetape.features import Ema, FeatureMap, FeatureRegistry, Sma
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Both(Strategy):
    """Long while the new version is above the old one."""

    def features(self) -> FeatureMap:
        registry = FeatureRegistry()
        registry.add("trend", Sma(9))
        registry.add("trend", Ema(4), version=2)
        return {"old": registry.resolve("trend@1"), "new": registry.resolve("trend")}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        above = ctx.features.new > ctx.features.old
        if above and ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, 10)
        elif not above and ctx.position(bar.instrument) > 0:
            ctx.sell(bar.instrument, 10)
'''


def call(*arguments: str) -> tuple[int, Any]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, json.loads(result.stdout)


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    import_wave()
    Path("both.py").write_text(STRATEGY, encoding="utf-8")
    strategy = "strategies.0={name: both, path: both.py, capital: 10000}"
    result = CliRunner().invoke(app, ["backtest", "run.yaml", "--quiet", "--set", strategy])
    assert result.exit_code == 0, result.stderr
    (made,) = Path("runs").iterdir()
    return made


def test_two_versions_run_side_by_side_and_stand_on_the_tape(run_dir: Path) -> None:
    code, found = call("verify", str(run_dir), "--json")
    assert (code, found["verdict"]) == (0, "identical")
    assert found["decisions"] > 4
    kept = json.loads((run_dir / "features.json").read_bytes())["both"]
    assert kept["old"]["version"] == Sma(9).version
    assert kept["old"]["version"] != kept["new"]["version"]


def test_old_run_verifies_with_the_old_version(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Sma(9).version
    monkeypatch.setattr(Sma, "update", staticmethod(update_changed_sma))
    assert Sma(9).version != old
    code, found = call("verify", str(run_dir), "--json")
    assert (code, found["verdict"]) == (0, "identical")
    assert f"with feature old of strategy both in its version {old} of then" in found["what"]


def test_old_run_without_its_definitions_names_the_feature_that_changed(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run_dir / "features.json").unlink()
    monkeypatch.setattr(Sma, "update", staticmethod(update_changed_sma))
    code, found = call("verify", str(run_dir), "--json")
    assert (code, found["verdict"]) == (2, "code")
    assert "feature old of strategy both has version" in found["changes"][0]["what"]
    assert "parts from the tape" in found["what"]


def test_forged_definitions_do_not_pass_for_the_recorded_ones(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = run_dir / "features.json"
    kept = json.loads(file.read_bytes())
    kept["both"]["old"]["rules"][0]["source"] = (
        "@rule\ndef update_sma(state, close):\n    return close\n"
    )
    file.write_text(json.dumps(kept), encoding="utf-8")
    monkeypatch.setattr(Sma, "update", staticmethod(update_changed_sma))
    code, found = call("verify", str(run_dir), "--json")
    assert (code, found["verdict"]) == (2, "code")
