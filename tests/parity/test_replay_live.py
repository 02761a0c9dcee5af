"""A replay of a live session shows what the session knew behind each of its events."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    CapitalDeposited,
    OrderFilled,
    OrderSubmitted,
    PositionChanged,
)
from onetape.domain.venue import (
    BarClosed,
    ConnectionChanged,
    ConnectionPart,
    OperatorAction,
    OperatorCommand,
)
from onetape.runtime.replay.comparison import compare_with
from onetape.runtime.replay.other import Other
from onetape.runtime.replay.session import Moment, Replay
from onetape.runtime.replay.walk import Walk
from onetape.tape.opening import open_tape
from tests.support.parity_runs import fill_at, make_live_run

INPUTS = {
    20: [ConnectionChanged(ConnectionPart.VENUE, "alpaca", is_up=False, reason="test"),
         ConnectionChanged(ConnectionPart.VENUE, "alpaca", is_up=True, reason="test")],
    30: [OperatorCommand(OperatorAction.PAUSE, "", "test"),
         OperatorCommand(OperatorAction.RESUME, "", "test")],
}  # fmt: skip


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("live") / "run"
    return make_live_run(run_dir, lambda _, order, ticks: fill_at(order, ticks), inputs=INPUTS)


@pytest.fixture
def replay(tape: Path) -> Iterator[Replay]:
    with closing(Replay(tape)) as replay:
        yield replay


def take_all(replay: Replay) -> list[Moment]:
    replay.begin()
    found: list[Moment] = []
    with replay.watching():
        while taken := replay.take():
            found += taken
    return found


def test_replay_has_every_event_of_the_tape_once_and_in_order(replay: Replay, tape: Path) -> None:
    moments = take_all(replay)
    assert replay.departure is None
    assert replay.end == "the session ends here"
    reader = open_tape(tape)
    expected = list(reader.events())
    reader.close()
    assert [event for each in moments for event in each.events] == expected
    assert sum(isinstance(each.payload, OrderFilled) for each in expected) > 3
    slices = [each for each in moments if not each.events]
    bars = sum(isinstance(each.payload, BarClosed) for each in expected)
    assert [each.rows[1] for each in slices] == list(range(1, bars + 1))


def test_books_behind_each_step_are_those_that_the_tape_tells(replay: Replay) -> None:
    """Cash, lots and open orders, added up from the events by themselves."""
    cash, lots, waiting, seq = 0, 0, set[str](), -1
    for moment in take_all(replay):
        for event in moment.events:
            seq = event.seq
            match event.payload:
                case CapitalDeposited(amount=amount):
                    cash += amount
                case OrderSubmitted():
                    waiting.add(event.payload.client_order_id)
                case OrderFilled():
                    waiting.discard(event.payload.client_order_id)
                case PositionChanged():
                    cash, lots = event.payload.cash, event.payload.lots
        ledger = moment.standing.ledgers["sma_cross"]
        assert (ledger.cash, sum(count for _, count, _ in ledger.held)) == (cash, lots)
        assert {each.client_order_id for each in moment.standing.orders} == waiting
        assert moment.standing.seq == seq


def test_walk_goes_to_a_place_and_tells_why(replay: Replay) -> None:
    fill = next(each for each in replay.reader.events() if isinstance(each.payload, OrderFilled))
    goal = replay.places.find(str(fill.seq))
    replay.begin(goal)
    walk = Walk(replay)
    assert walk.until(goal)
    assert walk.event == fill
    chain = replay.why(fill.seq, walk.seq)
    assert [each.kind for each in chain if each.seq == fill.seq] == ["order.filled"]
    assert any(each.kind == "features" for each in chain)


def test_killed_session_ends_where_its_tape_does(tmp_path: Path) -> None:
    path = make_live_run(tmp_path / "run", lambda _, order, ticks: fill_at(order, ticks),
                         ends=False)  # fmt: skip
    with closing(Replay(path)) as replay:
        moments = take_all(replay)
        assert replay.departure is None
        assert replay.end == "the tape ends here: it is incomplete"
        assert sum(len(each.events) for each in moments) > 90


def test_live_session_is_not_run_with_other_parameters(replay: Replay) -> None:
    other = Other(strategy="", replace="", overrides=["strategies.0.params.fast=4"])
    with pytest.raises(ConfigError, match="a live session is not run with other"):
        compare_with(replay, other)
