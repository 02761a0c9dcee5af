"""Strategies are checked against their classes, and the message names the line of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from onetape.runtime.config import compose_document, validate_document
from onetape.runtime.config_strategies import check_strategies

STRATEGY = '''\
from onetape.strategy.sdk import Strategy, param
from onetape.domain.errors import StrategyError


class Crossing(Strategy):
    """Crosses."""

    version = "3"
    fast: int = param(10, ge=2)
    slow: int = param(50)

    def check_params(self) -> None:
        if self.fast >= self.slow:
            raise StrategyError("fast is not below slow", remedy="swap them")
'''

CONFIG = """\
clock: {type: historical, start: 2023-01-01, end: 2024-01-01}
data: {instruments: [AAPL.XNAS], timeframe: 1d}
strategies:
  - name: crossing
    path: crossing.py
    capital: 100
    params:
      fast: 5
"""


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("crossing.py").write_text(STRATEGY)


def problems(text: str) -> list[str]:
    Path("run.yaml").write_text(text)
    document = compose_document(Path("run.yaml"), [], {})
    config, invalid = validate_document(document)
    assert config is not None, invalid
    return [str(each) for each in check_strategies(config, document)]


def test_strategy_that_fits_has_no_problem() -> None:
    assert problems(CONFIG) == []
    assert problems(CONFIG.replace("path", 'version: "3"\n    path')) == []


CASES = [
    ("fast: 5", "fast: 1",
     ["run.yaml:8: strategies.0.params.fast: 1 is out of range (must be >= 2)"]),
    ("fast: 5", "fast: five",
     ["run.yaml:8: strategies.0.params.fast: 'five' is not of type int"]),
    ("fast: 5", "fsat: 5",
     ["run.yaml:8: strategies.0.params.fsat is no param of crossing (did you mean 'fast'?)"]),
    ("fast: 5", "zzz: 5\n      slow: x",
     ["run.yaml:8: strategies.0.params.zzz is no param of crossing (params: fast, slow)",
      "run.yaml:9: strategies.0.params.slow: 'x' is not of type int"]),
    ("fast: 5", "fast: 60",
     ["run.yaml:7: strategies.0.params: fast is not below slow (swap them)"]),
    ("path: crossing.py", 'path: crossing.py\n    version: "4"',
     ["run.yaml:6: strategies.0.version is '4', but crossing has version '3'"]),
    ("path: crossing.py", "path: absent.py",
     ["absent.py: the strategy file can't be read: No such file or directory "
      "(give the path of an existing .py file)"]),
]  # fmt: skip


@pytest.mark.parametrize(("found", "bad", "messages"), CASES)
def test_strategy_that_does_not_fit_names_the_place(
    found: str, bad: str, messages: list[str]
) -> None:
    assert problems(CONFIG.replace(found, bad)) == messages


def test_strategy_that_is_not_installed_names_the_line_and_the_nearest() -> None:
    text = CONFIG.replace("    path: crossing.py\n", "").replace("crossing", "sma_kross")
    assert problems(text) == [
        "run.yaml:4: strategy 'sma_kross' is not installed (did you mean 'sma_cross'?)"
    ]


def test_disabled_strategy_is_not_checked() -> None:
    text = CONFIG + "  - {name: absent, enabled: false, capital: 1}\n"
    assert problems(text) == []
