from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY, to_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.record_kinds import RecordKind
from tests.support.cli_data import import_wave

GOOD = """\
from onetape.features import Ema, FeatureRegistry, Rsi

FEATURES = FeatureRegistry()
FEATURES.add("rsi", Rsi(5), low=0, high=100, nan_ratio_max=0)
FEATURES.add("calm", Ema(3, inputs=("rsi",)), low=0, high=100)
"""

BAD = """\
from onetape.domain.rules import rule
from onetape.features import Estimator, FeatureRegistry, State

ALL = []

class NoState(State):
    n: int = 0

class Plain(Estimator, frozen=True):
    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> NoState:
        return NoState()

@rule
def update_whole(state: NoState, close: float) -> float:
    return 1

class Whole(Plain, frozen=True):
    update = staticmethod(update_whole)

@rule
def update_early(state: NoState, close: float) -> float:
    state.n += 1
    return close / 3.0

class Early(Plain, frozen=True):
    update = staticmethod(update_early)

    @property
    def warm_up(self) -> int:
        return 5

def update_greatest(state: NoState, close: float) -> float:
    ALL.append(close)
    return max(ALL)

class Greatest(Plain, frozen=True):
    update = staticmethod(update_greatest)

FEATURES = FeatureRegistry()
FEATURES.add("whole", Whole())
FEATURES.add("early", Early(), high=30)
FEATURES.add("greatest", Greatest())
"""


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["features", *arguments])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave(60)
    Path("good.py").write_text(GOOD, encoding="utf-8")
    Path("bad.py").write_text(BAD, encoding="utf-8")


def test_list_tells_features_and_draws_what_they_are_made_of() -> None:
    result = call("list", "good.py", "--html", "lineage.html")
    assert result.exit_code == 0
    assert "calm@1 = Ema(3, inputs=('rsi',))\n`-- rsi@1 = Rsi(5)\n    `-- close" in result.stdout
    page = Path("lineage.html").read_text(encoding="utf-8")
    assert page.count("<rect") == 3
    assert page.count("<path") == 2
    assert "http" not in page
    found = json.loads(call("list", "good.py", "--json").stdout)
    assert [each["warm_up"] for each in found["features"]] == [8, 6]


def test_build_stores_once_and_show_tells_what_was_known_then() -> None:
    first = json.loads(call("build", "good.py", "--timeframe", "1d", "--json").stdout)
    assert [(each["rows"], each["nan"], each["was_stored"]) for each in first] == [
        (60, 7, False), (60, 5, False),
    ]  # fmt: skip
    again = json.loads(call("build", "good.py", "--timeframe", "1d", "--json").stdout)
    assert all(each["was_stored"] for each in again)
    arguments = ("show", "rsi", "good.py", "--timeframe", "1d", "--json")
    shown = json.loads(call(*arguments).stdout)
    assert 0 < shown["values"]["WAVE.SIM"] < 100
    assert [each["rows"] for each in shown["stored"]] == [60]
    early = json.loads(call(*arguments, "--at", "2024-01-03").stdout)
    assert early["values"] == {"WAVE.SIM": None}


def test_check_of_good_features_finds_nothing_and_measures() -> None:
    result = call("check", "good.py", "--timeframe", "1d", "--stationarity")
    assert result.exit_code == 0, result.stdout
    assert "2 features: ok" in result.stdout


def test_check_names_each_fault_with_its_line() -> None:
    result = call("check", "bad.py", "--timeframe", "1d", "--json")
    assert result.exit_code == 2
    findings = json.loads(result.stdout)["findings"]
    lines = {each["feature"]: Path(each["place"]).name for each in findings}
    last = BAD.count("\n")
    assert lines == {
        "whole@1": f"bad.py:{last - 2}", "early@1": f"bad.py:{last - 1}",
        "greatest@1": f"bad.py:{last}",
    }  # fmt: skip
    assert {(each["feature"], each["code"]) for each in findings} == {
        ("whole@1", "type"), ("early@1", "warm-up"), ("early@1", "range"), ("greatest@1", "rule"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('FEATURES.add("a", Ema(3, inputs=("rsy",)))', "reads 'rsy', and there is no such"),
        ('FEATURES.add("a", Ema(3, inputs=("a",)))', "in a circle: a@1 -> a@1"),
        ('FEATURES.add("rsi", Rsi(6))', "the name 'rsi' is taken"),
        ('FEATURES.add("rsi", Rsi(6), version=1)', "version 1 of feature 'rsi' is defined other"),
        ('FEATURES.add("a", Rsi("x"))', "window 'x' is not valid"),
        ('FEATURES.add("a", 5)', "feature 'a' is 5"),
        ('FEATURES.add("a", Rsi(500))', "stands at bar 501, and there are 60 1d bars of WAVE.SIM"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_bad_file_is_one_error_with_its_line(line: str, said: str) -> None:
    Path("mine.py").write_text(GOOD + line + "\n", encoding="utf-8")
    result = call("check", "mine.py", "--timeframe", "1d")
    assert result.exit_code == 2
    assert said in result.stderr
    assert f"mine.py:{GOOD.count(chr(10)) + 1}: " in result.stderr
    assert result.stderr.count("\n") == 1


def test_features_of_a_strategy_can_be_looked_at() -> None:
    assert CliRunner().invoke(app, ["strategy", "new", "idea"]).exit_code == 0
    found = json.loads(call("list", "idea.py", "--json").stdout)
    assert found["features"][0]["place"] == "idea.py"


def test_features_of_ticks_are_built_shown_and_checked() -> None:
    catalog, name = Catalog(Path("ticks")), InstrumentId("TICK.SIM")
    catalog.write_instrument(make_equity(name))
    ts = 19_000 * NS_PER_DAY + np.arange(400, dtype=np.int64) * (NS_PER_DAY // 200)
    quotes = {"bid": 10.0 + np.arange(400) % 7, "ask": 11.0 + np.arange(400) % 7}
    sizes = {"bid_size": np.full(400, 5.0), "ask_size": 5.0 + np.arange(400) % 3}
    catalog.records.write(RecordKind.QUOTES, name, {"ts_event": ts, **quotes, **sizes},
                          source="test", ts_ingest=1)  # fmt: skip
    Path("micro.py").write_text(
        "from onetape.features import FeatureRegistry, QuoteImbalance\n"
        "FEATURES = FeatureRegistry()\n"
        "FEATURES.add('imbalance', QuoteImbalance(), low=-1, high=0)\n"
    )
    where = ("micro.py", "--catalog", "ticks", "--timeframe", "quotes")
    first, again = (call("build", *where, "--json") for _ in range(2))
    assert [json.loads(each.stdout)[0]["was_stored"] for each in (first, again)] == [False, True]
    assert json.loads(first.stdout)[0]["rows"] == 400
    at = to_iso(int(ts[200]) - 1)  # the last of the first day
    shown = json.loads(call("show", "imbalance", *where, "--at", at, "--json").stdout)
    assert shown["values"] == {"TICK.SIM": -1 / 11}
    assert shown["stored"][0]["columns"] == 2
    assert call("check", *where).exit_code == 0
    refused = call("build", "micro.py", "--catalog", "ticks", "--timeframe", "trades")
    assert refused.exit_code == 2
    assert "there are no trades" in refused.output
