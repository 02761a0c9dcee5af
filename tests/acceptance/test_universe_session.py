"""Sessions on a universe: members as of now, denials of others, listings, delistings, the proof."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import ConfigError, DataError
from onetape.domain.events import OrderDenied, OrderFilled, SessionStarted, SignalRecorded
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.timestamps import NS_PER_DAY, from_iso
from onetape.marketdata.catalog import Catalog
from onetape.marketdata.membership import Membership
from onetape.marketdata.record_kinds import RecordKind
from onetape.research.lookahead import prove_no_lookahead
from onetape.research.perturbation import Change, Perturbation, Perturber
from onetape.research.session_probe import probe_config
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.config import SessionConfig, load_config
from onetape.runtime.sessions.backtest import build_spec, build_terms
from onetape.runtime.sessions.backtest_run import BacktestResult, run_backtest
from onetape.runtime.sessions.resume import resume_backtest
from onetape.runtime.verification import verify_tape
from onetape.tape.reader import SqliteTapeReader
from tests.unit.marketdata.csv_files import make_columns

T0 = from_iso("2024-01-01")
DAYS = 60

STRATEGY = '''\
"""Tells who is in, and trades everybody all the time."""

from onetape.domain.market import TimeSlice
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy


class Eager(Strategy):
    """Adds ten shares of each instrument a day, and closes what is no member any more."""

    def on_slice(self, slice_: TimeSlice, ctx: Context) -> None:
        members = ctx.universe()
        ctx.signal("members", float(len(members)))
        for bar in slice_.bars:
            if ctx.is_member(bar.instrument) != (bar.instrument in members):
                ctx.signal("contradiction", 1.0)
            ctx.buy(bar.instrument, 10)
            if bar.instrument not in members and ctx.position(bar.instrument) > 0:
                ctx.sell(bar.instrument, ctx.position(bar.instrument), reduce_only=True)
'''

RUN = """\
clock: {type: historical, start: 2024-01-01, end: 2024-03-01}
data: {path: data, timeframe: 1d, universe: {name: INDEX}, corporate_actions: actions.csv}
strategies: [{name: eager, path: eager.py, capital: 10000000}]
output: {snapshot_events: 100}
"""


def day(number: float) -> int:
    return T0 + int(number * NS_PER_DAY)


def write_members(catalog: Catalog, *rows: tuple[int, int, str, int], name: str = "INDEX") -> None:
    days, delays, names, values = zip(*rows, strict=True)
    ts = T0 + np.array(days, dtype=np.int64) * NS_PER_DAY
    columns = {
        "ts_event": ts,
        "ts_known": ts + np.array(delays, dtype=np.int64) * NS_PER_DAY,
        "name": np.array(names),
        "value": np.array(values, dtype=np.float64),
    }
    catalog.records.write(RecordKind.MEMBERSHIP, name, columns, source="s", ts_ingest=1)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionConfig:
    """STAY is in all the time, LEFT until day 20, NEW is listed on day 30 and joins on day 40,
    told on day 42, DEAD is delisted on day 35 though nobody took it out.
    """
    monkeypatch.chdir(tmp_path)
    catalog = Catalog(Path("data"))
    for name, first, rows in (("STAY.X", 0, DAYS), ("LEFT.X", 0, DAYS), ("NEW.X", 30, DAYS - 30),
                              ("DEAD.X", 0, 35)):  # fmt: skip
        start = np.datetime_as_string(np.datetime64("2024-01-01") + first)
        catalog.write_bars(
            InstrumentId(name), "1d", make_columns(rows, start=str(start)), source="s",
            adjustment="none", ts_ingest=1, definition=make_equity(name),
        )  # fmt: skip
    write_members(
        catalog, (-9, 0, "DEAD.X", 1), (-9, 0, "LEFT.X", 1), (-9, 0, "STAY.X", 1),
        (20, 0, "LEFT.X", 0), (40, 2, "NEW.X", 1),
    )  # fmt: skip
    Path("actions.csv").write_text("instrument,kind,ex_date,value\nDEAD.X,delisting,2024-02-06,1\n")
    Path("eager.py").write_text(STRATEGY, encoding="utf-8")
    Path("run.yaml").write_text(RUN, encoding="utf-8")
    return load_config(Path("run.yaml"), (), {})


def run(config: SessionConfig, run_dir: Path, **options: Any) -> BacktestResult:
    run_dir.mkdir()
    return run_backtest(config, run_dir, **options)


def read(run_dir: Path) -> list[Any]:
    reader = SqliteTapeReader(run_dir / "tape.db")
    try:
        return list(reader.events())
    finally:
        reader.close()


def fills_of(result: BacktestResult) -> list[tuple[str, int, int]]:
    payloads = [each.payload for each in read(result.run_dir)]
    return [(e.instrument, e.lots, e.ts_fill) for e in payloads if isinstance(e, OrderFilled)]


def test_only_members_are_opened_and_whoever_left_is_closed(config: SessionConfig) -> None:
    result = run(config, Path("one"))
    assert [each.id for each in result.timeline.instruments] == [
        "DEAD.X", "LEFT.X", "NEW.X", "STAY.X"
    ]  # fmt: skip
    events = read(result.run_dir)
    denied = [each for each in events if isinstance(each.payload, OrderDenied)]
    known = {
        (each.payload.instrument, (each.ts_event - T0) // NS_PER_DAY)
        for each in denied
        if each.payload.code.value == "not_a_member"
    }
    # A bar of day n is known when day n + 1 begins, and NEW joins when day 42 does.
    expected = {("LEFT.X", at) for at in range(20, DAYS + 1)}
    expected |= {("NEW.X", at) for at in range(31, 42)}
    assert known == expected
    assert {each.payload.instrument for each in denied} == {"LEFT.X", "NEW.X"}
    fills = [each for each in events if isinstance(each.payload, OrderFilled)]
    bought: dict[str, list[int]] = {}
    position: dict[str, int] = {}
    for each in fills:
        name, side = each.payload.instrument, each.payload.side.value
        position[name] = position.get(name, 0) + each.payload.lots * side
        if side > 0:
            bought.setdefault(name, []).append(each.ts_event)
    assert max(bought["LEFT.X"]) <= day(21)
    assert min(bought["NEW.X"]) >= day(42)
    assert max(bought["DEAD.X"]) <= day(36)
    told = [each.payload for each in events if isinstance(each.payload, SignalRecorded)]
    assert {each.name for each in told} == {"members"}
    assert [each.value for each in told] == [
        *[3.0] * 19, *[2.0] * 22, *[3.0] * (DAYS - 41)
    ]  # fmt: skip
    assert position["LEFT.X"] == 0
    assert position["STAY.X"] > 0


def test_universe_is_pinned_and_a_later_one_leaves_the_run_as_it_is(config: SessionConfig) -> None:
    result = run(config, Path("one"))
    (header,) = [e.payload for e in read(result.run_dir) if isinstance(e.payload, SessionStarted)]
    (pin,) = [each for each in header.datasets if each.timeframe == "membership"]
    assert (pin.instrument, pin.rows) == ("INDEX", 5)

    write_members(Catalog(Path("data")), (50, 0, "LEFT.X", 1))
    found = verify_tape(result.run_dir / "tape.db")
    assert (found.verdict.value, found.decisions > 50) == ("identical", True)
    assert CliRunner().invoke(app, ["report", str(result.run_dir)]).exit_code == 0

    again = run(config, Path("two"))
    assert again.session != result.session
    assert again.digest != result.digest
    older = config.data.model_copy(update={"versions": {"INDEX": pin.table_version}})
    pinned = run(config.model_copy(update={"data": older}), Path("three"))
    assert fills_of(pinned) == fills_of(result) != fills_of(again)


def test_verify_tells_a_universe_that_is_another_one_than_was_pinned(
    config: SessionConfig,
) -> None:
    result = run(config, Path("one"))
    shutil.rmtree("data/records")
    write_members(Catalog(Path("data")), (-9, 0, "STAY.X", 1), (20, 0, "LEFT.X", 1))
    found = verify_tape(result.run_dir / "tape.db")
    assert found.verdict.value == "data"
    assert "other instruments are in universe INDEX of data at version 0" in found.what


def test_run_that_was_stopped_goes_on_to_the_same_tape(config: SessionConfig) -> None:
    whole = run(config, Path("whole"))
    asked = iter([False, True])
    with pytest.raises(KeyboardInterrupt):
        run(config, Path("part"), is_stop_asked=lambda: next(asked, True))
    assert resume_backtest(Path("part")).digest == whole.digest


def test_perturbed_universe_is_the_same_before_and_another_one_after(
    config: SessionConfig,
) -> None:
    timeline = probe_config(config).timeline
    perturber = Perturber(timeline)
    known = timeline.columns["ts_known"]
    cut = int(np.searchsorted(known, day(30)))
    ts = int(known[cut])
    for change in Change:
        moved = perturber.apply(Perturbation(change), cut).universe
        assert moved is not None
        assert moved.pin == timeline.universe.pin
        for at in range(1, DAYS):
            before = set(timeline.universe.members_at(day(at)))
            after = set(moved.members_at(day(at)))
            if day(at) < ts or change is Change.GAPS:
                assert after == before
            elif change is Change.CHANGED:
                assert after == set(timeline.universe.toggles) - before
            else:
                assert after == set(timeline.universe.members_at(ts - 1))
    one = perturber.apply(Perturbation(Change.CHANGED, InstrumentId("NEW.X")), cut).universe
    assert one is not None
    assert set(one.members_at(day(50))) == {"DEAD.X", "STAY.X"}


def test_proof_raises_no_alarm_and_finds_members_of_the_future(
    config: SessionConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prove_no_lookahead(probe_config(config), points=6).findings == []

    is_member = Membership.is_member
    monkeypatch.setattr(
        Membership, "is_member", lambda self, name, ts: is_member(self, name, ts + 5 * NS_PER_DAY)
    )
    findings = prove_no_lookahead(probe_config(config), points=6).findings
    assert [each.kind for each in findings] == ["decision"]


def test_momentum_holds_members_only(config: SessionConfig) -> None:
    text = RUN.replace("eager, path: eager.py", "momentum_rebalance, params: {bars: 1, top: 2}")
    Path("run.yaml").write_text(text, encoding="utf-8")
    result = run(load_config(Path("run.yaml"), (), {}), Path("momentum"))
    events = read(result.run_dir)
    assert not [each for each in events if isinstance(each.payload, OrderDenied)]
    fills = [
        (each.payload.instrument, each.payload.side.value)
        for each in events
        if isinstance(each.payload, OrderFilled) and each.ts_event > day(21)
    ]
    assert {name for name, side in fills if side > 0} == {"STAY.X"}
    assert {name for name, side in fills if side < 0} == {"DEAD.X", "LEFT.X"}


def test_compiled_host_refuses_a_universe_by_name(config: SessionConfig) -> None:
    probe = probe_config(config)
    timeline = probe.timeline
    timeline.actions = ()
    terms = build_terms(config.execution, 0, timeline.instruments)
    with pytest.raises(ConfigError, match="the session has a universe") as refused:
        CompiledHost(timeline, build_spec(config.strategies[0]), terms, config.risk.limits())
    assert refused.value.where == "data.universe"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{name: INDX}", "there are no membership of INDX in the catalog"),
        ("{name: INDEX, sectors: [TECH]}", "there are no membership of TECH in the catalog"),
        ("{name: INDEX, min_market_value: 5}", "there are no fundamentals of DEAD.X"),
    ],
)
def test_universe_that_is_not_there_is_told(config: SessionConfig, data: str, message: str) -> None:
    del config
    Path("run.yaml").write_text(RUN.replace("{name: INDEX}", data), encoding="utf-8")
    with pytest.raises(DataError, match=message):
        run(load_config(Path("run.yaml"), (), {}), Path("one"))


def test_sweep_in_processes_reads_the_universe_of_the_plan(config: SessionConfig) -> None:
    del config
    text = RUN.replace("eager, path: eager.py", "momentum_rebalance, params: {bars: 1, top: 2}")
    Path("run.yaml").write_text(text, encoding="utf-8")
    done = CliRunner().invoke(
        app, ["sweep", "run.yaml", "--param", "top=1,2", "--workers", "1", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)
