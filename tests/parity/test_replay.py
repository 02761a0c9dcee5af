"""What a replay shows is what the session knew, at every place and however it got there."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from onetape.domain.events import (
    CapitalDeposited,
    Event,
    OrderFilled,
    OrderSubmitted,
    SessionStopped,
)
from onetape.domain.timestamps import from_iso, to_iso
from onetape.execution.oms import MOVES, OPEN
from onetape.runtime.replay import places
from onetape.runtime.replay.session import Moment, Replay
from onetape.runtime.replay.standing import Standing
from onetape.runtime.replay.vocabulary import Place, build_vocabulary
from onetape.runtime.replay.walk import Walk
from onetape.runtime.sessions.recorded import find_catalog, load_recorded
from onetape.runtime.sessions.session_state import SessionState, decode_state, encode_state
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.store import MemoryTape
from onetape.telemetry.why import explain, trace_event
from tests.support.replayed_runs import write_run

ALONE: dict[str, Any] = {
    "data": {"instruments": ["WAVE.SIM"], "timeframe": "1d", "path": "data/catalog"},
    "strategies": [{"name": "swing", "path": "swing.py", "capital": 20_000}],
    "output": {"snapshot_events": 8},
}
"""One strategy that hears nothing but rows: the engine takes most of them on its quiet path."""


@pytest.fixture(scope="module", params=[{}, ALONE], ids=["two", "alone"])
def tape(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("replayed")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield write_run(**request.param) / "tape.db"


@pytest.fixture(scope="module")
def moments(tape: Path) -> list[Moment]:
    """Every moment of a replay from the start to the end."""
    with closing(Replay(tape)) as replay:
        replay.begin()
        found: list[Moment] = []
        with replay.watching():
            while taken := replay.take():
                found += taken
        assert replay.end == "the session ends here"
        assert replay.departure is None
    return found


def as_told(state: SessionState) -> dict[str, Any]:
    """What a standing tells of a state."""
    strategies = state.pipeline.strategies
    return {
        "row": state.row,
        "seq": state.log.emitted + state.row,
        "ledgers": {name: each.ledger for name, each in strategies.items()},
        "orders": tuple(state.desk.orders),
        "state": {name: each.values for name, each in strategies.items()},
        "timers": tuple((due, who, name) for due, _, who, name in state.pipeline.timers.waiting),
        "quarantined": tuple(each.strategy for each in state.pipeline.quarantined),
    }


def told(standing: Standing) -> dict[str, Any]:
    names = ("row", "seq", "ledgers", "orders", "state", "timers", "quarantined")
    return {name: getattr(standing, name) for name in names}


def run_live(tape: Path) -> dict[int, SessionState]:
    """The state of the session itself after each slice, by row; run without any replay."""
    with closing(SqliteTapeReader(tape)) as reader:
        session, changes = load_recorded(reader.header, find_catalog(tape.parent))
    assert session is not None
    assert changes == []
    live = session.open(MemoryTape())
    live.start()
    states: dict[int, SessionState] = {}
    for _, stop in live.cut_blocks(1):
        live.advance(stop)
        states[stop - 1] = decode_state(encode_state(live.save()))
    return states


def test_replay_shows_all_events_of_the_tape_in_order(tape: Path, moments: list[Moment]) -> None:
    with closing(SqliteTapeReader(tape)) as reader:
        events = list(reader.events())
    assert [event for each in moments for event in each.events] == events
    assert len(events) > 30
    assert isinstance(events[-1].payload, SessionStopped)


def test_state_after_each_slice_is_that_of_the_session_itself(
    tape: Path, moments: list[Moment]
) -> None:
    live = run_live(tape)
    ends = [each for each in moments if not each.events]
    assert [each.standing.row for each in ends] == list(live)
    assert len(ends) == 90
    for each in ends:
        assert told(each.standing) == as_told(live[each.standing.row])


def test_state_at_the_snapshots_is_theirs(tape: Path, moments: list[Moment]) -> None:
    ends = {each.standing.row + 1: each.standing for each in moments if not each.events}
    with closing(SqliteTapeReader(tape)) as reader:
        snapshots = list(reader.snapshots())
    assert len(snapshots) > 2
    for snapshot in snapshots:
        assert told(ends[snapshot.rows]) == as_told(decode_state(snapshot.state))


class Fold:
    """Cash, positions and open orders by nothing but the events of the tape."""

    def __init__(self) -> None:
        self.cash: Counter[str] = Counter()
        self.lots: Counter[tuple[str, str]] = Counter()
        self.status: dict[str, Any] = {}

    def take(self, event: Event) -> None:
        payload = event.payload
        match payload:
            case CapitalDeposited():
                self.cash[payload.strategy] += payload.amount
            case OrderFilled():
                sign = int(payload.side)
                self.cash[payload.strategy] -= sign * payload.notional + payload.fee
                self.lots[payload.strategy, payload.instrument] += sign * payload.lots
            case OrderSubmitted():
                self.status[payload.client_order_id] = OPEN[0]
            case _:
                pass
        before = self.status.get(getattr(payload, "client_order_id", ""))
        if before is not None and (before, type(payload)) in MOVES:
            self.status[payload.client_order_id] = MOVES[before, type(payload)]  # type: ignore[union-attr]

    @property
    def open(self) -> set[str]:
        return {name for name, status in self.status.items() if status in OPEN}


def test_state_after_each_step_is_the_fold_of_the_events_up_to_it(moments: list[Moment]) -> None:
    fold = Fold()
    steps = 0
    for moment in moments:
        for event in moment.events:
            fold.take(event)
        standing = moment.standing
        held = {
            (name, instrument): lots
            for name, ledger in standing.ledgers.items()
            for instrument, lots, _ in ledger.held
        }
        assert {name: ledger.cash for name, ledger in standing.ledgers.items()} == fold.cash
        assert held == {key: lots for key, lots in fold.lots.items() if lots}
        assert {each.client_order_id for each in standing.orders} == fold.open
        assert {each.client_order_id: each.status for each in standing.orders} == {
            name: fold.status[name] for name in fold.open
        }
        if moment.events:
            assert standing.seq == moment.events[-1].seq
            assert standing.ts == moment.events[-1].ts_event
        steps += bool(moment.events)
    assert steps > 15


def test_marks_and_equity_are_those_that_the_session_values_its_books_at(
    tape: Path, moments: list[Moment]
) -> None:
    with closing(Replay(tape)) as replay:
        replay.begin()
        around = replay.surroundings
        live = replay.recorded.open(MemoryTape())
        live.start()
        by_row = {each.standing.row: each.standing for each in moments if not each.events}
        for _, stop in live.cut_blocks(1):
            live.advance(stop)
            standing = by_row[stop - 1]
            for name, runner in live.runners.items():
                runner.valuation.refresh()
                assert around.equity(standing, name) == runner.valuation.equity
                assert around.books(standing, name).equity == runner.valuation.equity
                for instrument in runner.context.instruments:
                    mark = runner.context.mark(instrument)
                    shown = around.column_at("close", instrument, standing.row)
                    assert shown == mark or mark != mark
                    features = runner.context.features_of(instrument)
                    told_features = around.features_at(name, instrument, standing.row)
                    if features is not None:
                        assert repr(told_features) == repr(
                            {each: getattr(features, each) for each in told_features}
                        )


def closes_of(instrument: str) -> dict[int, float]:
    """Closes by the time at which they are known: the end of their day."""
    lines = [each.split(",") for each in Path(f"{instrument}.csv").read_text().split()[1:]]
    day = 86_400 * 10**9
    return {from_iso(line[0]) + day: float(line[4]) for line in lines}


def test_names_of_conditions_have_the_values_of_their_place(
    tape: Path, moments: list[Moment]
) -> None:
    with closing(Replay(tape)) as replay:
        replay.begin()
        around = replay.surroundings
    vocabulary = build_vocabulary(around)
    closes = {name: closes_of(name) for name in around.instruments}
    stale = 0
    for moment in moments:
        standing = moment.standing
        ledgers = standing.ledgers.values()
        swing = standing.state["swing"]
        for name in around.instruments:
            place = Place(standing=standing, instrument=name)
            known = [close for ts, close in closes[name].items() if ts <= standing.ts]
            lots = sum(lots for each in ledgers for held, lots, _ in each.held if held == name)
            wanted = {
                "position": lots, f"position[{name}]": lots, "orders": len(standing.orders),
                "cash": sum(each.cash for each in ledgers) / 10**8, "instrument": name,
                "cash[swing]": standing.ledgers["swing"].cash / 10**8, "time": standing.ts,
                "seq": standing.seq, "type": "", "state.best": swing["best"],
                "state[swing].last": swing["last"],
            }  # fmt: skip
            if known and not moment.events:  # within a slice its own bar may be still to come
                wanted |= {"close": known[-1], f"close[{name}]": known[-1]}
                stale += standing.ts not in closes[name]
            assert {each: vocabulary[each].read(place) for each in wanted} == wanted
    assert stale > 10 or len(closes) == 1


def goals(tape: Path) -> list[int]:
    with closing(SqliteTapeReader(tape)) as reader:
        return [each.seq for each in reader.events()]


def test_place_by_seq_is_the_same_from_a_snapshot_and_step_by_step(
    tape: Path, moments: list[Moment]
) -> None:
    chance = random.Random(4)
    seqs = goals(tape)
    by_event = {event.seq: each.standing for each in moments for event in each.events}
    bars = sorted(set(range(seqs[-1])) - set(seqs))
    skipped = 0
    for seq in [0, *chance.sample(seqs, 12), *chance.sample(bars, 8), seqs[-1]]:
        with closing(Replay(tape)) as replay:
            goal = replay.places.find(str(seq))
            replay.begin(goal)
            skipped += replay.rows_skipped > 0
            walk = Walk(replay)
            assert walk.until(goal)
        if seq in by_event:
            assert walk.event is not None
            assert walk.event.seq == seq
            assert walk.standing == by_event[seq]
        else:
            wanted = next(each for each in moments if each.standing.seq >= seq)
            assert walk.standing == wanted.standing
    assert skipped > 10


def test_place_by_time_has_all_that_was_known_then_and_nothing_later(
    tape: Path, moments: list[Moment]
) -> None:
    chance = random.Random(5)
    first, last = moments[0].standing.ts, moments[-1].standing.ts
    known = sorted({each.standing.ts for each in moments})
    for ts in [
        first,
        last,
        *chance.sample(known, 8),
        *(chance.randint(first, last) for _ in "123456"),
    ]:
        with closing(Replay(tape)) as replay:
            goal = replay.places.find(to_iso(ts))
            replay.begin(goal)
            walk = Walk(replay)
            assert walk.until(goal)
        wanted = [each for each in moments if each.standing.ts <= ts][-1]
        assert walk.standing == wanted.standing


def test_one_replay_goes_forward_through_many_places(tape: Path, moments: list[Moment]) -> None:
    chance = random.Random(6)
    by_event = {event.seq: each.standing for each in moments for event in each.events}
    with closing(Replay(tape)) as replay:
        replay.begin()
        walk = Walk(replay)
        for seq in sorted(chance.sample(sorted(by_event), 15)):
            assert walk.until(replay.places.find(str(seq)))
            assert walk.standing == by_event[seq]
            chance.choice((walk.next_event, walk.next_slice, lambda: True))()
            if walk.seq >= max(by_event) - 60:
                break


def test_run_without_looking_ends_like_the_tape(tape: Path, moments: list[Moment]) -> None:
    with closing(Replay(tape)) as replay:
        replay.begin()
        replay.run_out()
        assert replay.end == "the session ends here"
        assert replay.events == len(goals(tape))
        assert told(replay.standing()) == told(moments[-1].standing)


def test_walk_that_is_asked_to_stop_can_go_on_as_if_nothing_had_happened(
    tape: Path, moments: list[Moment]
) -> None:
    by_event = {event.seq: each.standing for each in moments for event in each.events}
    seq = sorted(by_event)[-20]
    with closing(Replay(tape)) as replay:
        replay.begin()
        walk = Walk(replay)
        walk.add_breakpoint(f"seq == {seq} and type != ''")
        asked = 0

        def is_stop_asked() -> bool:
            nonlocal asked
            asked += 1
            return asked % 7 == 0

        walk.is_stop_asked = is_stop_asked
        stops = 0
        while walk.resume() is None:
            stops += 1
            assert not replay.end
            assert walk.standing in [each.standing for each in moments]
        assert stops > 5
        assert walk.seq == seq
        assert walk.standing == by_event[seq]


def test_progress_is_told_on_the_way(tape: Path) -> None:
    heard: list[tuple[int, int]] = []
    with closing(Replay(tape)) as replay:
        replay.begin()
        replay.run_out(lambda now: heard.append((now.rows_done, now.rows_total)))
        assert heard[-1] == (len(replay.timeline), len(replay.timeline))


def test_chain_of_every_event_is_that_of_the_whole_tape(
    tape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "_CHAIN_SPAN", 8)
    with closing(Replay(tape)) as replay:
        replay.begin()
        last = goals(tape)[-1]
        features = replay.surroundings.features
        for seq in range(last + 1):
            whole = trace_event(replay.reader.records, seq)
            assert replay.why(seq, last) == explain(whole, replay.timeline, features), seq
            for link in replay.why(seq, seq):
                assert link.seq <= seq
