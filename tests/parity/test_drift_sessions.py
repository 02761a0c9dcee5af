"""Drift alerts are part of the tape: the same in every run, from every snapshot, and harmless."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from onetape.control.cli import app
from onetape.domain.errors import StrategyError
from onetape.domain.events import FeatureDrifted
from onetape.domain.market import Bar
from onetape.features import FeatureMap, LogReturn, SimpleReturn
from onetape.features.drift import DriftSettings
from onetape.marketdata.timeline import Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.drift_watch import DriftWatch, Watched, WatchState
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.cli_data import import_wave
from tests.support.session_runs import make_terms
from tests.support.timelines import flat, make_timeline

SETTINGS = DriftSettings(reference=60, recent=40, every=10, cooldown=20)
STATISTICS = {"psi", "ks", "mean", "variance", "correlation", "nan", "stale"}


class Trades(Strategy):
    def features(self) -> FeatureMap:
        return {"one": SimpleReturn(), "two": LogReturn(3)}

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if ctx.features.one > 0 and ctx.position(bar.instrument) == 0:
            ctx.buy(bar.instrument, 1)
        elif ctx.features.one < 0 and ctx.position(bar.instrument) > 0:
            ctx.sell(bar.instrument, 1)


class Watches(Trades):
    """Quiet rows, that the pipeline passes by."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        pass


def make_rows(seed: int) -> list[float]:
    chance = np.random.default_rng(seed)
    steps = np.concatenate([chance.normal(0, 0.1, 120), chance.normal(0, 1.5, 130)])
    return np.round(np.maximum(200 + np.cumsum(steps), 1), 2).tolist()


TIMELINE = make_timeline(flat(*make_rows(1)), flat(*make_rows(2)))


def open_session(
    tape: MemoryTape, drift: DriftSettings | None, kind: type[Strategy] = Trades
) -> BacktestSession:
    spec = StrategySpec(name="s0", strategy=kind(), capital=10**13)
    return BacktestSession(TIMELINE, [spec], make_terms(TIMELINE), RiskLimits(max_leverage=4),
                           tape, SessionIdentity(), drift)  # fmt: skip


def run(
    drift: DriftSettings | None, kind: type[Strategy] = Trades
) -> tuple[MemoryTape, list[tuple[int, object]]]:
    tape = MemoryTape()
    open_session(tape, drift, kind).run()
    events = [(each.ts_event, each.payload) for each in MemoryTapeReader(tape).events()]
    return tape, events


def watch_live(restart: int) -> list[tuple[int, object]]:
    """The alerts of features that move bar by bar, the newest instrument of a slice first.

    At every `restart`-th slice the watch is saved, and another one goes on.
    """
    timeline: Timeline = TIMELINE
    ids = [each.id for each in timeline.instruments]
    kinds = Trades().features()
    watched = [Watched("s0", kinds, ids), Watched("idle", {}, ids)]
    features = {each: [kind.start() for kind in kinds.values()] for each in ids}
    watch = DriftWatch(watched, SETTINGS)
    found: list[tuple[int, object]] = []
    rows: list[int] = []
    slices = 0
    for row, ends in enumerate(timeline.row_ends):
        rows.append(row)
        if not ends:
            continue
        for each in reversed(rows):
            instrument = ids[timeline.row_owners[each]]
            close = float(timeline.columns["close"][each])
            watch.take("s0", instrument, [one.update(close) for one in features[instrument]])
            watch.take("idle", instrument, [])
        ts = int(timeline.columns["ts_known"][row])
        found += [(ts, each) for each in watch.end_slice()]
        slices += 1
        if slices % restart == 0:
            state = msgspec.msgpack.encode(watch.save())
            watch = DriftWatch(watched, SETTINGS)
            watch.restore(msgspec.msgpack.decode(state, type=WatchState))
        rows = []
    return found


@pytest.mark.parametrize("kind", [Trades, Watches])
def test_alerts_stand_where_a_live_watch_raises_them(kind: type[Strategy]) -> None:
    _, events = run(SETTINGS, kind)
    told = [(ts, each) for ts, each in events if isinstance(each, FeatureDrifted)]
    assert {each.statistic for _, each in told} >= {"variance", "ks"}
    assert {each.instrument for _, each in told} == {"AAPL.XNAS", "MSFT.XNAS"}
    for restart in (1, 37, 10_000):
        assert watch_live(restart) == told


def test_watch_does_not_go_on_from_another_session() -> None:
    ids = [each.id for each in TIMELINE.instruments]
    features = Trades().features()
    state = DriftWatch([Watched("s0", features, ids)], SETTINGS).save()
    with pytest.raises(StrategyError, match=r"s0 over AAPL\.XNAS, s0 over MSFT\.XNAS, and is now"):
        DriftWatch([Watched("s0", features, ids[:1])], SETTINGS).restore(state)
    with pytest.raises(StrategyError, match="can't go on"):
        DriftWatch([Watched("s0", {"one": LogReturn(3)}, ids)], SETTINGS).restore(state)


def test_alerts_change_nothing_else() -> None:
    _, watched = run(SETTINGS)
    _, plain = run(None)
    assert [each for each in watched if not isinstance(each[1], FeatureDrifted)] == plain
    assert len(watched) > len(plain)


@pytest.mark.parametrize("rows", [19, 64])
def test_session_in_parts_tells_the_same_alerts(rows: int) -> None:
    tape, _ = run(SETTINGS)
    whole = list(MemoryTapeReader(tape).encoded_records())
    tape = MemoryTape()
    session = open_session(tape, SETTINGS)
    session.start()
    records: list[bytes] = []
    for _, stop in list(session.cut_blocks(rows)):
        session.advance(stop)
        tape.commit()
        records += MemoryTapeReader(tape).encoded_records()
        state = encode_state(session.save())
        tape = MemoryTape()
        session = open_session(tape, SETTINGS)
        session.restore(decode_state(state))
    session.finish()
    tape.commit()
    assert records + list(MemoryTapeReader(tape).encoded_records()) == whole


def test_watched_run_verifies_and_draws_its_alerts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave(300)
    drift = "drift={reference: 40, recent: 30, every: 5, level: 0.9}"
    result = CliRunner().invoke(app, ["backtest", "run.yaml", "--quiet", "--set", drift])
    assert result.exit_code == 0, result.stderr
    (run_dir,) = Path("runs").iterdir()
    found = json.loads(CliRunner().invoke(app, ["verify", str(run_dir), "--json"]).stdout)
    assert found["verdict"] == "identical"
    page = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "Drift of features" in page
    assert 'id="drift-0"' in page
    assert "## Drift of features" in (run_dir / "report.md").read_text(encoding="utf-8")


def test_unknown_statistic_is_refused_with_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    import_wave(30)
    for value, said in (("[psi, kolmogorov]", "drift.statistics.1"), ("[psi, psi]", "psi twice")):
        setting = f"drift={{statistics: {value}}}"
        result = CliRunner().invoke(app, ["backtest", "run.yaml", "--set", setting])
        assert result.exit_code == 2
        assert said in result.stderr
