"""A run on fundamentals: figures as they were known, pinned, and told when they have changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.events import DatasetPin
from onetape.tape.reader import SqliteTapeReader
from tests.support.cli_data import import_wave

STRATEGY = '''\
"""Buys what is cheap by its earnings."""

from onetape.domain.market import Bar
from onetape.features import FeatureMap, Fundamental, PriceEarnings
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state


class Cheap(Strategy):
    """Holds while the price is below 20 times the earnings."""

    def features(self) -> FeatureMap:
        return {"pe": PriceEarnings(), "eps": Fundamental()}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        held = ctx.position(bar.instrument)
        if ctx.features.pe < 20 and held == 0:
            ctx.buy(bar.instrument, 1)
        elif ctx.features.pe >= 20 and held > 0:
            ctx.sell(bar.instrument, held)
'''

FIGURES = """\
instrument,item,period_end,ts_known,value
WAVE.SIM,eps,2023-03-31,2023-05-02,1.2
WAVE.SIM,eps,2023-06-30,2023-08-02,1.3
WAVE.SIM,eps,2023-09-30,2023-11-02,1.2
WAVE.SIM,eps,2023-12-31,2024-01-20T12:00:00Z,1.4
WAVE.SIM,eps,2023-12-31,2024-03-10T12:00:00Z,1.1
"""


def call(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def verify(run_dir: Path) -> dict[str, Any]:
    return json.loads(call("verify", str(run_dir), "--json")[1])


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    import_wave(150)
    Path("cheap.py").write_text(STRATEGY, encoding="utf-8")
    Path("figures.csv").write_text(FIGURES, encoding="utf-8")
    config = Path("run.yaml").read_text(encoding="utf-8")
    config = config.replace("timeframe: 1d}", "timeframe: 1d, fundamentals: figures.csv}")
    config = config.replace("sma_cross,", "cheap, path: cheap.py,")
    config = config.replace(", params: {fast: 3, slow: 8, quantity: 10}", "")
    Path("run.yaml").write_text(config, encoding="utf-8")
    code, _, error = call("backtest", "run.yaml", "--quiet")
    assert code == 0, error
    (made,) = Path("runs").iterdir()
    return made


def test_run_decides_on_what_was_known_and_verifies(run_dir: Path) -> None:
    found = verify(run_dir)
    assert found["verdict"] == "identical", found["what"]
    assert found["decisions"] > 3
    assert call("report", str(run_dir))[0] == 0
    code, out, _ = call("lookahead", "run.yaml", "--points", "4")
    assert code == 0, out


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (",1.4", ",1.5", "data"),  # a figure that the session knew
        ("2024-01-20T12", "2024-01-19T12", "data"),  # known earlier
        ("2023-11-02,1.2\n", "2023-11-02,1.2\nWAVE.SIM,eps,2024-03-31,2026-05-02,9\n", "identical"),
    ],
)
def test_changed_figures_are_told(run_dir: Path, before: str, after: str, verdict: str) -> None:
    assert before in FIGURES
    Path("figures.csv").write_text(FIGURES.replace(before, after, 1), encoding="utf-8")
    found = verify(run_dir)
    assert found["verdict"] == verdict
    if verdict == "data":
        assert "published figures of WAVE.SIM" in found["changes"][0]["what"]


def test_figures_that_are_gone_are_told(run_dir: Path) -> None:
    Path("figures.csv").unlink()
    found = verify(run_dir)
    assert found["verdict"] == "data"
    assert "no such file of fundamentals" in found["changes"][0]["what"]


def test_strategy_without_the_file_is_told_which_column_it_lacks(run_dir: Path) -> None:
    code, _, error = call("backtest", "run.yaml", "--quiet", "--set", "data.fundamentals=null")
    assert code == 2
    assert "there is no column 'eps_ttm'" in error


def pins_of(run_dir: Path) -> list[DatasetPin]:
    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        return reader.header.datasets
    finally:
        reader.close()


def test_figures_of_the_catalog_decide_alike_and_are_pinned_by_version(run_dir: Path) -> None:
    """The same figures from both homes give the same orders; later ones leave a run as it is."""
    text = Path("run.yaml").read_text(encoding="utf-8")
    text = text.replace("fundamentals: figures.csv", "fundamentals: catalog")
    Path("run.yaml").write_text(text, encoding="utf-8")
    code, _, error = call("backtest", "run.yaml", "--quiet")
    assert code == 2
    assert "the catalog has no figures of these instruments" in error

    command = ("data", "import-records", "figures.csv", "--kind", "fundamentals")
    code, out, error = call(*command)
    assert (code, out) == (0, "WAVE.SIM fundamentals: 5 rows written, version 0\n"), error
    code, out, error = call("backtest", "run.yaml", "--quiet")
    assert code == 0, error
    (made,) = [each for each in Path("runs").iterdir() if each != run_dir]
    pins = [pins_of(each)[-1] for each in (made, run_dir)]
    assert pins[0] == pins[1]
    orders = [verify(each)["decisions"] for each in (made, run_dir)]
    assert orders[0] == orders[1] > 3

    Path("figures.csv").write_text(FIGURES.replace("1.1\n", "9.9\n"), encoding="utf-8")
    assert call(*command)[0] == 2
    assert call(*command, "--replace")[0] == 0
    assert verify(made)["verdict"] == "identical"
    assert call("report", str(made))[0] == 0
    code, _, error = call("backtest", "run.yaml", "--quiet")
    assert code == 0, error
    assert len(list(Path("runs").iterdir())) == 3
