"""`onetape lookahead` finds every way to look ahead that this SDK leaves open, and nothing else.

The strategies that do it stand in `looking_ahead/`, each loaded from its file as a user's is. They
all pass the validator: what it refuses (reading a file, say) needs no proof.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.features import Atr, FeatureMap, Sma, Timeframed
from onetape.research.lookahead import LookaheadReport, prove_no_lookahead
from onetape.research.session_probe import Probe
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.sdk import Strategy
from tests.support.actions import add_random_actions
from tests.support.halts import make_random_halts, with_halts
from tests.support.random_strategies import BarsAloneGenerates, RandomBars, RandomSlices, make_world

STRATEGIES = Path(__file__).parent / "looking_ahead"
ROWS = 240
E8 = 10**8


def make_csv(seed: int) -> str:
    chance = random.Random(seed)
    lines, price = ["Date,Open,High,Low,Close,Volume"], 100.0
    for day in range(ROWS):
        close = price * (1 + chance.gauss(0.001, 0.02))
        high, low = max(price, close) * 1.004, min(price, close) * 0.996
        when = date(2020, 1, 1) + timedelta(days=day)
        if chance.random() < 0.9:  # gaps, others in each instrument
            volume = chance.randint(1_000, 9_000)
            lines.append(f"{when},{price:.2f},{high:.2f},{low:.2f},{close:.2f},{volume}")
        price = close
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of two instruments."""
    folder = tmp_path_factory.mktemp("lookahead")
    for seed, name in enumerate(("ONE.SIM", "TWO.SIM", "ENDS.SIM")):
        file = folder / f"{name}.csv"
        lines = make_csv(seed).splitlines(keepends=True)
        if name == "ENDS.SIM":
            del lines[-30:]
        file.write_text("".join(lines), encoding="utf-8")
        done = CliRunner().invoke(
            app,
            ["data", "import", str(file), "--instrument", name, "--timeframe", "1d", "--calendar",
             "24/7", "--tz", "UTC", "--catalog", str(folder / "catalog")],
        )  # fmt: skip
        assert done.exit_code == 0, done.stderr
    return folder


def write_config(home: Path, strategy: Path, instruments: str, more: str = "") -> Path:
    config = home / f"{strategy.stem}.yaml"
    config.write_text(
        "clock: {type: historical, start: 2020-01-01, end: 2021-01-01}\n"
        f"data: {{path: {home / 'catalog'}, instruments: [{instruments}], timeframe: 1d"
        f"{more}}}\n"
        f"strategies: [{{name: {strategy.stem}, path: {strategy}, capital: 100000}}]\n",
        encoding="utf-8",
    )
    return config


def look(
    home: Path, strategy: Path, instruments: str = "ONE.SIM", code: int = 2, more: str = ""
) -> dict[str, Any]:
    """The report of `onetape lookahead` as JSON; `more` goes into the section `data`."""
    config = write_config(home, strategy, instruments, more)
    done = CliRunner().invoke(app, ["lookahead", str(config), "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


def place(name: str, code: str) -> str:
    """`on_bar (name:line)` of the line that holds `code`."""
    lines = (STRATEGIES / name).read_text(encoding="utf-8").splitlines()
    (line,) = [at for at, each in enumerate(lines, 1) if code in each]
    return f"on_bar ({name}:{line})"


def find(report: dict[str, Any], kind: str) -> dict[str, Any]:
    (found,) = [each for each in report["findings"] if each["kind"] == kind]
    return found


def test_centered_window_is_found_in_the_feature_and_in_the_decision(home: Path) -> None:
    report = look(home, STRATEGIES / "centered_window.py")
    feature, decision = find(report, "feature"), find(report, "decision")
    assert feature["responsible"] == "feature center of ONE.SIM"
    assert feature["rows_ahead"] == 5
    assert "feature center" in decision["responsible"]
    assert f"decided in {place('centered_window.py', 'ctx.target')}" in decision["responsible"]
    assert decision["ts"] <= decision["ts_cut"] < decision["ts_reach"]


def test_next_close_is_found_in_the_callback_that_read_it(home: Path) -> None:
    report = look(home, STRATEGIES / "next_close.py")
    decision = find(report, "decision")
    assert decision["responsible"] == place("next_close.py", "ctx.target")
    assert decision["rows_ahead"] == 1
    assert decision["ts"] == decision["ts_cut"]
    assert {each["kind"] for each in report["findings"]} == {"decision"}


def test_same_bar_low_is_found_before_the_bar_is_known(home: Path) -> None:
    decision = find(look(home, STRATEGIES / "same_bar_low.py"), "decision")
    assert decision["responsible"] == place("same_bar_low.py", "ctx.buy")
    assert decision["rows_ahead"] == 1
    assert "limit_ticks" in decision["before"] + decision["after"]


def test_full_sample_normalisation_reaches_to_the_last_bar(home: Path) -> None:
    report = look(home, STRATEGIES / "full_sample.py")
    decision = find(report, "decision")
    assert decision["responsible"].startswith("on_bar (full_sample.py:")
    assert decision["rows_ahead"] > 20
    changed = next(each for each in report["attempts"] if each["change"] == "changed")
    assert changed["decisions_moved"] > changed["runs"] // 2


def test_feature_fitted_on_all_data_is_found_from_its_first_value_on(home: Path) -> None:
    report = look(home, STRATEGIES / "fitted_feature.py")
    feature = find(report, "feature")
    assert feature["responsible"] == "feature residual of ONE.SIM"
    assert feature["ts"] == feature["ts_cut"], "the very first bar's value is fitted"
    assert feature["ts_reach"] > report["points"][-1], "to the last bar"
    assert "feature residual" in find(report, "decision")["responsible"]


def test_feature_of_a_closure_is_found_though_no_decision_moves(home: Path) -> None:
    report = look(home, STRATEGIES / "closure.py")
    assert [each["kind"] for each in report["findings"]] == ["feature"]
    assert find(report, "feature")["responsible"] == "feature rank of ONE.SIM"
    assert sum(each["decisions_moved"] for each in report["attempts"]) == 0


def test_length_of_the_file_is_found_where_rows_are_missing(home: Path) -> None:
    report = look(home, STRATEGIES / "last_bar.py")
    assert find(report, "decision")["responsible"].startswith("on_bar (last_bar.py:")
    moved = {each["change"]: each["decisions_moved"] for each in report["attempts"]}
    assert moved["changed"] == 0
    assert moved["deleted"] > 0


def test_state_shared_between_instruments_is_found(home: Path) -> None:
    report = look(home, STRATEGIES / "shared_state.py", "ONE.SIM, TWO.SIM")
    assert find(report, "feature")["responsible"] == "feature peak of TWO.SIM"
    assert look(home, STRATEGIES / "shared_state.py", "ONE.SIM", code=0)["findings"] == []


def test_hidden_attributes_of_the_context_are_found_with_how_far_they_reach(home: Path) -> None:
    decision = find(look(home, STRATEGIES / "whole_timeline.py"), "decision")
    assert decision["responsible"] == place("whole_timeline.py", "ctx.target")
    dates = [line.partition(",")[0] for line in make_csv(0).split()[1:]]
    closes_at = [from_iso(each) + NS_PER_DAY for each in dates]
    at, cut, reach = (closes_at.index(decision[key]) for key in ("ts", "ts_cut", "ts_reach"))
    assert reach - at == 20
    assert decision["rows_ahead"] == reach - cut > 0


def test_dividend_of_the_future_is_found(home: Path) -> None:
    file = home / "actions.csv"
    file.write_text(
        "instrument,kind,ex_date,value\n"
        + "".join(f"ONE.SIM,cash_dividend,2020-{month:02}-15,0.5\n" for month in range(2, 7))
    )
    report = look(home, STRATEGIES / "future_dividend.py", more=f", corporate_actions: {file}")
    decision = find(report, "decision")
    assert decision["responsible"] == place("future_dividend.py", "ctx.target")
    assert 1 <= decision["rows_ahead"] <= 8


def test_halt_of_the_future_is_found(home: Path) -> None:
    file = home / "halts.csv"
    rows = [
        f"ONE.SIM,2020-{month:02}-{day},{status}\n"
        for month in range(2, 7)
        for day, status in ((14, "halted"), (17, "resumed"))
    ]
    file.write_text("instrument,ts,status\n" + "".join(rows))
    report = look(home, STRATEGIES / "future_halt.py", more=f", halts: {file}")
    decision = find(report, "decision")
    assert decision["responsible"] == place("future_halt.py", "ctx.target")
    assert 1 <= decision["rows_ahead"] <= 8


def test_bar_of_a_longer_timeframe_that_is_not_closed_is_found(home: Path) -> None:
    decision = find(look(home, STRATEGIES / "unclosed_week.py"), "decision")
    assert decision["responsible"] == place("unclosed_week.py", "ctx.target")
    assert 1 <= decision["rows_ahead"] <= 4


def test_universe_of_today_applied_to_the_past_is_found(home: Path) -> None:
    """ENDS.SIM ends a month before ONE.SIM, and is never traded because of that."""
    config = write_config(home, STRATEGIES / "survivors.py", "ONE.SIM, ENDS.SIM")
    done = CliRunner().invoke(app, ["lookahead", str(config), "--json"])
    assert done.exit_code == 2, done.output
    decision = find(json.loads(done.stdout), "decision")
    assert decision["responsible"] == place("survivors.py", "ctx.target")
    assert decision["rows_ahead"] > 20


def test_feature_that_raises_without_later_bars_is_found(home: Path) -> None:
    report = look(home, STRATEGIES / "raises.py")
    raised = next(each for each in report["findings"] if each["responsible"] == "features()")
    assert "IndexError" in raised["after"]
    assert raised["change"] == "deleted"


CLOSES = [float(line.split(",")[4]) for line in make_csv(0).splitlines()[1:]]
TABLE = """\
from onetape.domain.market import Bar
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state

CLOSES = {closes}


class Table(Strategy):
    row: int = state(-1)

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        self.row += 1
        if self.row + 1 < len(CLOSES):
            ctx.target(bar.instrument, 10 if CLOSES[self.row + 1] > bar.close else 0)
"""
PRECOMPUTED = """\
import numpy as np

from onetape.domain.market import Bar
from onetape.domain.rules import rule
from onetape.features import Estimator, FeatureMap, State
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Path(State):
    closes: list[float]
    at: int = 0


@rule
def look_up(state: Path, close: float) -> float:
    '''The close of the next bar.'''
    state.at += 1
    return state.closes[min(state.at, len(state.closes) - 1)]


def read() -> list[float]:
    return np.lib.format.open_memmap("{file}").tolist()


class Ahead(Estimator, frozen=True):
    update = staticmethod(look_up)

    @property
    def warm_up(self) -> int:
        return 1

    def start_state(self) -> Path:
        return Path(closes=read())


class Precomputed(Strategy):
    def features(self) -> FeatureMap:
        return {{"ahead": Ahead()}}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        ctx.target(bar.instrument, 10 if ctx.features.ahead > bar.close else 0)
"""


def test_table_of_closes_in_the_source_is_found_though_nothing_moves_with_the_data(
    home: Path,
) -> None:
    file = home / "table.py"
    file.write_text(TABLE.format(closes=tuple(CLOSES)), encoding="utf-8")
    (found,) = look(home, file)["findings"]
    assert found["kind"] == "carried"
    assert found["responsible"] == f"CLOSES, {len(CLOSES)} numbers"
    assert found["before"] == f"{len(CLOSES)} of them stand in the close of ONE.SIM"


def test_closes_that_an_estimator_reads_from_a_file_are_found(home: Path) -> None:
    import numpy as np

    np.save(home / "closes.npy", np.array(CLOSES))
    file = home / "precomputed.py"
    file.write_text(PRECOMPUTED.format(file=home / "closes.npy"), encoding="utf-8")
    found = find(look(home, file), "carried")
    assert found["responsible"] == f"feature ahead, initial closes, {len(CLOSES)} numbers"


def test_table_of_other_numbers_is_no_finding_but_is_named(home: Path) -> None:
    file = home / "scores.py"
    scores = tuple(round(each * 0.5 + 1, 3) for each in CLOSES)
    file.write_text(TABLE.format(closes=scores).replace("Table", "Scores"), encoding="utf-8")
    report = look(home, file, code=0)
    assert [(each["where"], each["numbers"]) for each in report["carried"]] == [
        ("CLOSES", len(CLOSES))
    ]


def test_people_are_told_the_decision_its_callback_and_both_sides(home: Path) -> None:
    config = write_config(home, STRATEGIES / "next_close.py", "ONE.SIM")
    done = CliRunner().invoke(app, ["lookahead", str(config), "--points", "6"])
    assert done.exit_code == 2
    assert "DECISION: a decision at 2020-" in done.stdout
    assert "looks ahead to 2020-" in done.stdout
    assert "before: intent.order" in done.stdout or "after:  intent.order" in done.stdout
    assert "Look-ahead: 1 found; " in done.stdout
    assert done.stderr.startswith("error: a decision at 2020-")
    assert done.stderr.rstrip().endswith(place("next_close.py", "ctx.target"))


def test_report_is_the_same_in_another_process(home: Path) -> None:
    config = write_config(home, STRATEGIES / "centered_window.py", "ONE.SIM, TWO.SIM")
    reports: list[dict[str, Any]] = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [Path(sys.executable).with_name("onetape"), "lookahead", str(config), "--json"],
            env={"PYTHONHASHSEED": seed}, capture_output=True, check=False, timeout=120,
        )  # fmt: skip
        reports.append(json.loads(done.stdout) | {"seconds": 0})
    assert reports[0] == reports[1]
    assert reports[0]["findings"]


# No false alarm.


def prove_world(
    seed: int,
    *kinds: type[Strategy],
    points: int,
    has_actions: bool = False,
    has_halts: bool = False,
    **how: Any,
) -> LookaheadReport:
    world = make_world(seed, **how)
    if has_halts:
        statuses = make_random_halts(random.Random(seed), world.timeline)
        world = replace(world, timeline=with_halts(world.timeline, statuses))
    if has_actions:
        world = add_random_actions(world, others=seed % 2 == 1)
    probe = Probe(
        world.timeline,
        lambda: [
            StrategySpec(name=f"s{at}", strategy=kind(seed=seed), capital=20_000 * E8)
            for at, kind in enumerate(kinds)
        ],
        world.terms,
        world.limits,
    )
    return prove_no_lookahead(probe, points)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("buy_and_hold", "{}"),
        ("sma_cross", "{fast: 3, slow: 9, quantity: 10}"),
        ("mean_reversion", "{window: 8, entry: 1.2, exit: 0.2, quantity: 10, short: true}"),
        ("rsi", "{window: 5, oversold: 40, exit: 50, quantity: 10}"),
        ("momentum_rebalance", "{bars: 5, top: 1}"),
    ],
)
def test_shipped_strategies_raise_no_alarm(home: Path, name: str, params: str) -> None:
    config = write_config(home, Path(name), "ONE.SIM, TWO.SIM")
    text = config.read_text(encoding="utf-8").replace(f"path: {name}", f"params: {params}")
    config.write_text(text + "execution: {latency: {mean_ms: 40, std_ms: 20}}\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["lookahead", str(config), "--json"])
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["findings"] == report["carried"] == report["untested"] == []
    assert report["events"] >= 10
    assert [each["runs"] for each in report["attempts"]] == [20] * 5


@pytest.mark.parametrize("seed", range(8))
def test_random_worlds_raise_no_alarm(seed: int) -> None:
    """Gaps, late bars, timers, latencies, all order types."""
    report = prove_world(seed, RandomBars, points=12)
    assert report.findings == []
    assert report.untested == []
    assert report.events > 5
    assert len(report.points) == 12


def test_random_world_raises_no_alarm_after_any_slice() -> None:
    report = prove_world(37, RandomBars, points=1_000, instruments=2)
    assert report.findings == []
    assert len(report.points) > 40


class LongerTimeframes(RandomBars):
    """Decides by features of bars of three and five minutes, made of its own."""

    def features(self) -> FeatureMap:
        return {
            "average": Sma(2) - Timeframed(Sma(2), "3m"),
            "range": Timeframed(Atr(2), "5m"),
        }


@pytest.mark.parametrize("seed", range(50, 54))
def test_worlds_of_several_timeframes_and_of_corporate_actions_raise_no_alarm(seed: int) -> None:
    assert prove_world(seed, LongerTimeframes, points=12).findings == []
    report = prove_world(seed, RandomBars, points=12, has_actions=True)
    assert report.findings == []
    assert report.untested == []


@pytest.mark.parametrize("seed", range(60, 66))
def test_worlds_of_halts_raise_no_alarm(seed: int) -> None:
    """The venue knows of a halt before the bar around it tells the strategy."""
    report = prove_world(seed, RandomBars, points=12, has_halts=True, instruments=1 + seed % 3)
    assert report.findings == []
    assert report.untested == []


@pytest.mark.parametrize("seed", range(40, 44))
def test_worlds_of_prints_and_of_several_strategies_raise_no_alarm(seed: int) -> None:
    assert prove_world(seed, RandomBars, points=8, trades=True).findings == []
    kinds = (RandomSlices, BarsAloneGenerates, RandomBars)
    assert prove_world(seed, *kinds, points=8, instruments=3).findings == []
