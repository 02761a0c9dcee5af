"""Every later onetape reads, folds, exports and verifies the tapes that an earlier one wrote."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import onetape
from onetape.domain.errors import DataError, StrategyError
from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    Event,
    OrderFilled,
    OrderPartiallyFilled,
    PositionAdjusted,
    PositionChanged,
    PositionSettled,
    SessionStarted,
)
from onetape.domain.numbers import E8
from onetape.research.artifacts import load_run
from onetape.runtime.replay.session import Replay
from onetape.runtime.sessions.resume import resume_backtest
from onetape.runtime.sessions.session_state import STATE_VERSION, decode_state
from onetape.runtime.verification import Verdict, verify_tape
from onetape.tape.envelope import TYPES
from onetape.tape.export import export_parquet
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.render import event_to_json
from onetape.telemetry.run_projection import project_run
from tests.golden import make

HERE = Path(__file__).parent
GOLDEN = sorted(each.parent.relative_to(HERE) for each in HERE.glob("*/*/expected.json"))
TAPE = Path("run/tape.db")

NEVER_IN_A_BACKTEST = {
    "order.unknown", "market.quote", "market.trade", "market.book", "market.bar", "market.tick",
    "connection.changed", "venue.report", "venue.state", "venue.differs", "control.operator",
    "session.resumed", "order.filled_stray",
}  # fmt: skip
"""Types that no golden session puts on its tape."""

CORRECTED = {
    "v1-contracts/shares": 168,  # a transfer of capital moved the peak of losses by its amount
}
"""Runs that a rule decided wrongly then: the first event that comes out otherwise now."""


@pytest.fixture(params=GOLDEN, ids=str)
def expected(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """What a golden run is known to be; a copy of it is the working directory."""
    shutil.copytree(HERE / request.param, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return json.loads(Path("expected.json").read_bytes()) | {"name": str(request.param)}


def read() -> list[Event]:
    with closing(SqliteTapeReader(TAPE)) as reader:
        return list(reader.events())


def test_there_are_golden_runs_of_every_kind() -> None:
    kinds = Counter(each.name for each in GOLDEN)
    assert kinds["orders"] >= 2
    assert kinds["portfolio"] >= 2
    assert min(kinds["killed"], kinds["contracts"], kinds["shares"]) >= 1


def test_every_golden_tape_audits_as_it_did(expected: dict[str, Any]) -> None:
    with closing(SqliteTapeReader(TAPE)) as reader:
        audit = reader.audit()
        assert reader.header.session == expected["session"]
        assert sum(1 for _ in reader.snapshots()) == expected["snapshots"]
    assert audit.damage is None
    found = (audit.complete, audit.digest, audit.records, audit.events)
    assert found == tuple(expected[key] for key in ("complete", "digest", "records", "events"))


def test_every_golden_tape_folds_to_the_numbers_of_then(expected: dict[str, Any]) -> None:
    """By hand: cash is deposits, less what fills cost, plus what they bring, less fees.

    A fill of a perpetual or future moves what it realizes instead, and its fee.
    """
    events = read()
    (header,) = (each.payload for each in events if isinstance(each.payload, SessionStarted))
    margined = {each.id for each in header.instruments if each.is_margined}
    cash: dict[str, int] = defaultdict(int)
    place = make.CashPlaces(events)
    lots: dict[tuple[str, str], int] = defaultdict(int)
    fee = 0
    for each in events:
        match each.payload:
            case CapitalDeposited(strategy, _, amount):
                cash[strategy] += amount
            case OrderFilled() as fill:
                fee = fill.fee
                if fill.instrument not in margined:
                    cash[place.of(fill.strategy, fill.instrument)] -= (
                        fill.side * fill.notional + fee
                    )
                lots[fill.strategy, fill.instrument] += fill.side * fill.lots
            case PositionChanged() as change:
                key = place.of(change.strategy, change.instrument)
                if change.instrument in margined:
                    cash[key] += change.realized - fee
                assert change.cash == cash[key]
                assert change.lots == lots[change.strategy, change.instrument]
            case PositionAdjusted() as change:
                key = place.of(change.strategy, change.instrument)
                cash[key] += change.amount
                lots[change.strategy, change.instrument] = change.lots
                assert change.cash == cash[key]
            case PositionSettled() as change:
                key = place.of(change.strategy, change.instrument)
                cash[key] += change.amount - change.fee
                lots[change.strategy, change.instrument] += change.traded
                assert change.cash == cash[key]
                assert change.lots == lots[change.strategy, change.instrument]
            case CashPosted() as posted:
                key = place.name(posted.strategy, posted.currency)
                cash[key] += posted.amount
                assert posted.cash == cash[key]
            case _:
                pass
    assert {name: cash[name] for name in expected["cash"]} == expected["cash"]
    positions = {
        strategy: {name: lots[strategy, name] for name in held}
        for strategy, held in expected["positions"].items()
    }
    assert positions == expected["positions"]
    assert sum(map(len, positions.values())) == len(lots) > 0
    assert Counter(each.type for each in events) == expected["types"]


def test_every_golden_tape_is_projected_and_measured_as_it_was(expected: dict[str, Any]) -> None:
    projection = project_run(read())
    assert projection.counts == expected["types"]
    assert (projection.stopped is not None) == expected["complete"]
    fills = expected["types"].get("order.filled", 0)
    assert len(projection.fills) == fills + expected["types"].get("order.partially_filled", 0)
    summary = load_run(Path("run"))
    assert int(summary.curves.account.equity[-1]) == expected["equity"]
    assert sum(each.fills for each in summary.instruments) == len(projection.fills)


def test_every_golden_tape_is_exported(expected: dict[str, Any]) -> None:
    with closing(SqliteTapeReader(TAPE)) as reader:
        assert export_parquet(reader, Path("tape.parquet")) == expected["events"]
    rows = pl.read_parquet("tape.parquet").to_dicts()
    assert [row["type"] for row in rows] == [each.type for each in read()]
    for row, event in zip(rows, read(), strict=True):
        payload = json.loads(row["payload"])
        assert json.dumps(payload) == json.dumps(event_to_json(event)["payload"])  # NaN as text


def test_every_golden_tape_verifies(expected: dict[str, Any]) -> None:
    before = TAPE.read_bytes()
    found = verify_tape(TAPE)
    if expected["name"] in CORRECTED:
        assert found.verdict is Verdict.CODE, found.what
        assert found.difference is not None
        assert found.difference.tape is not None
        assert found.difference.tape.seq == CORRECTED[expected["name"]]
        return
    assert found.difference is None, found.what
    assert (found.events, found.records) == (expected["events"], expected["records"])
    assert found.digest == expected["digest"]
    if onetape.__version__ == expected["onetape"]:
        whole = Verdict.IDENTICAL if expected["complete"] else Verdict.INCOMPLETE
        assert found.verdict is whole, found.what
    else:
        assert found.verdict is Verdict.CODE
        assert [each.recorded for each in found.changes] == [expected["onetape"]]
    assert TAPE.read_bytes() == before


def test_every_golden_tape_is_replayed(expected: dict[str, Any]) -> None:
    """With the commands of its operators, to its end or as far as it goes."""
    with closing(Replay(TAPE)) as replay:
        replay.begin()
        with replay.watching():
            while replay.take():
                pass
        if expected["name"] in CORRECTED:
            assert replay.departure is not None
            assert replay.departure.tape is not None
            assert replay.departure.tape.seq == CORRECTED[expected["name"]]
            return
        assert replay.departure is None
        assert replay.events == expected["events"]


def test_a_killed_golden_run_goes_on_or_says_who_can(expected: dict[str, Any]) -> None:
    if expected["complete"]:
        assert "whole" not in expected
        return
    with closing(SqliteTapeReader(TAPE)) as reader:
        newest = reader.newest_snapshot()
    assert newest is not None
    if onetape.__version__ != expected["onetape"]:
        with pytest.raises(StrategyError, match=f"onetape {expected['onetape']} wrote the tape"):
            resume_backtest(Path("run"))
        return
    before = TAPE.read_bytes()
    try:
        assert decode_state(newest.state).version == STATE_VERSION
    except DataError:  # of when a state held something else
        with pytest.raises(DataError, match="run the session again"):
            resume_backtest(Path("run"))
        assert TAPE.read_bytes() == before
        return
    # What was added may have more fields than then, so its digest is another one.
    resume_backtest(Path("run"))
    assert verify_tape(TAPE).verdict is Verdict.IDENTICAL
    whole, found = expected["whole"], make.describe(Path("run"))
    names = ("session", "complete", "records", "events", "snapshots", "equity", "cash", "positions",
             "types")  # fmt: skip
    assert [found[name] for name in names] == [whole[name] for name in names]
    assert whole["events"] > expected["events"]


def test_golden_runs_hold_every_type_of_event() -> None:
    """A new type needs a new set of golden runs that hold it."""
    types: set[str] = set()
    for each in GOLDEN:
        types |= json.loads((HERE / each / "expected.json").read_bytes())["types"].keys()
    assert types == set(TYPES.values()) - NEVER_IN_A_BACKTEST


def test_golden_fills_are_of_both_kinds() -> None:
    """So that the fold above adds up parts, and money is really counted in minor units."""
    with closing(SqliteTapeReader(HERE / GOLDEN[0] / TAPE)) as reader:
        fills = [each.payload for each in reader.events() if isinstance(each.payload, OrderFilled)]
    assert {type(each) for each in fills} == {OrderFilled, OrderPartiallyFilled}
    assert all(each.notional == each.lots * each.ticks * E8 // 100 for each in fills)


def test_make_never_writes_over_golden_runs() -> None:
    with pytest.raises(SystemExit, match="never written again"):
        make.main(GOLDEN[0].parts[0])
