"""The parity sentinel over live tapes whose reality is planted."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from onetape.domain.events import KillSwitchSet, OrderSubmitted, StrategyQuarantined
from onetape.domain.venue import (
    BarClosed,
    ConnectionChanged,
    ConnectionPart,
    OperatorAction,
    OperatorCommand,
    ReportKind,
    VenueReport,
)
from onetape.runtime.live_pipeline import StuckCall
from onetape.runtime.parity.causes import Cause
from onetape.runtime.parity.comparison import Comparison
from onetape.runtime.parity.sentinel import Parity, check_parity, run_simulated, time_at_close
from onetape.runtime.sessions.live_inputs import Input, read_inputs
from onetape.runtime.sessions.recorded import load_recorded
from onetape.runtime.verification import Verdict
from onetape.tape.opening import open_tape
from tests.support.parity_runs import AAPL, fill_at, make_live_run, reject

CENT = 1_000_000


def as_modeled(number: int, order: OrderSubmitted, ticks: int) -> VenueReport:
    return fill_at(order, ticks)


def two_cents_dearer(number: int, order: OrderSubmitted, ticks: int) -> VenueReport:
    return fill_at(order, ticks + 2 * order.side.value)


def compared(found: Parity) -> Comparison:
    assert found.verification.verdict is Verdict.IDENTICAL, found.verification.what
    assert found.comparison is not None
    return found.comparison


def test_reality_as_modeled_differs_in_nothing(tmp_path: Path) -> None:
    """Though every bar came 0.3 s late and every fill a second later."""
    found = check_parity(make_live_run(tmp_path / "run", as_modeled))
    comparison = compared(found)
    assert not comparison.differences
    assert not comparison.partings
    (each,) = comparison.strategies
    assert each.decisions == each.same_decisions >= 8
    assert each.session_result == each.backtest_result != 0
    assert found.is_backtest_same
    assert found.exit_code == 0


def test_slippage_beyond_the_model_is_price(tmp_path: Path) -> None:
    """Two cents on each of ten shares of every order."""
    comparison = compared(check_parity(make_live_run(tmp_path / "run", two_cents_dearer)))
    assert {each.cause for each in comparison.differences} == {Cause.PRICE}
    (each,) = comparison.strategies
    filled = len(comparison.differences)
    assert comparison.total() == -filled * 10 * 2 * CENT
    assert filled >= 8
    assert comparison.total() == each.session_result - each.backtest_result


def test_an_order_the_venue_refuses_is_a_venue_rule(tmp_path: Path) -> None:
    def reality(number: int, order: OrderSubmitted, ticks: int) -> VenueReport:
        return reject(order, "halted") if number == 3 else fill_at(order, ticks)

    comparison = compared(check_parity(make_live_run(tmp_path / "run", reality)))
    refused = comparison.differences[0]
    assert refused.cause is Cause.VENUE_RULE
    assert refused.session is not None
    assert refused.session.ending == "rejected: halted"
    assert len(comparison.partings) == 1, "without a position it goes another way"


def test_fees_that_the_model_does_not_know_are_fees(tmp_path: Path) -> None:
    def reality(number: int, order: OrderSubmitted, ticks: int) -> VenueReport:
        return fill_at(order, ticks, fee=35 * CENT)

    comparison = compared(check_parity(make_live_run(tmp_path / "run", reality)))
    assert {each.cause for each in comparison.differences} == {Cause.FEES}
    assert comparison.total() == -35 * CENT * len(comparison.differences)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (OperatorCommand(OperatorAction.PAUSE, "", ""), "an operator intervened"),
        (KillSwitchSet(active=True, reason=""), "an operator intervened"),
        (ConnectionChanged(ConnectionPart.FEED, "alpaca", is_up=False, reason="gone"),
         "a connection was gone"),
    ],
)  # fmt: skip
def test_what_a_backtest_has_not_is_run_at_the_simulated_venue_only(
    tmp_path: Path, given: OperatorCommand | KillSwitchSet | ConnectionChanged, why: str
) -> None:
    found = check_parity(make_live_run(tmp_path / "run", as_modeled, inputs={40: [given]}))
    comparison = compared(found)
    assert found.no_backtest == why
    assert not comparison.differences
    assert not comparison.partings
    assert found.exit_code == 0


def test_a_session_that_was_killed_is_compared_as_far_as_it_goes(tmp_path: Path) -> None:
    found = check_parity(make_live_run(tmp_path / "run", two_cents_dearer, ends=False))
    assert found.verification.verdict is Verdict.INCOMPLETE
    assert found.comparison is not None
    assert found.comparison.total() < 0
    assert found.exit_code == 2


def test_a_tape_that_does_not_verify_is_not_compared(tmp_path: Path) -> None:
    tape = make_live_run(tmp_path / "run", as_modeled)
    data = tape.read_bytes()
    at = data.rindex(b"sma_cross-3")
    tape.write_bytes(data[:at] + b"sma_cross-4" + data[at + 11 :])
    found = check_parity(tape)
    assert found.verification.verdict is Verdict.TAPE
    assert found.comparison is None
    assert found.exit_code == 4


def stuck_in(call: int) -> tuple[StuckCall, StrategyQuarantined]:
    """In a step of the tape, which is another one in its backtest."""
    what = f"on_bar did not come back within 1 s; call {call} of the step"
    return (
        ("sma_cross", 4_711, -1, call), StrategyQuarantined("sma_cross", "on_bar", what, ""),
    )  # fmt: skip


def test_bars_come_at_their_close_but_not_before_an_operator() -> None:
    def bar(closes: int, known: int) -> Input:
        return Input(known, (BarClosed(AAPL.id, 0, closes, known, 0, 1.0, 1.0, 1.0, 1.0, 1.0),))

    report = VenueReport(kind=ReportKind.ACCEPTED, client_order_id="a", instrument=AAPL.id)
    pause = OperatorCommand(OperatorAction.PAUSE, "", "")
    up = ConnectionChanged(ConnectionPart.FEED, "alpaca", is_up=True, reason="")
    timed = list(time_at_close(
        [
            Input(100, given=up), bar(200, 203), Input(204, given=report, stuck=(stuck_in(2),)),
            Input(301, given=up), bar(300, 303), bar(300, 310), Input(405, given=pause),
            bar(400, 407), Input(500),
        ]
    ))  # fmt: skip
    assert [each.ts for each in timed] == [100, 200, 300, 301, 302, 405, 406, 500]
    assert [bar.ts_known for each in timed for bar in each.rows] == [200, 300, 301, 406]
    assert [(each.ts, each.stuck) for each in timed if each.stuck] == [(302, (stuck_in(2),))]


@pytest.mark.parametrize("call", [1, 9])
def test_a_strategy_that_did_not_come_back_is_taken_out_there_too(
    tmp_path: Path, call: int
) -> None:
    """Also where it is not called nine times in one input."""
    tape = make_live_run(tmp_path / "run", as_modeled)
    reader = open_tape(tape)
    try:
        inputs = list(time_at_close(read_inputs(reader.encoded_records())))
        half = next(at for at, each in enumerate(inputs) if at > 60 and each.rows)
        inputs[half] = msgspec.structs.replace(inputs[half], stuck=(stuck_in(call),))
        recorded, _ = load_recorded(reader.header, tmp_path, tape.parent, reader.encoded_records)
        assert recorded is not None
        decisions = run_simulated(recorded, inputs).decisions["sma_cross"]
    finally:
        reader.close()
    whole = check_parity(tape).comparison
    assert whole is not None
    assert 0 < len(decisions) < whole.strategies[0].decisions
    assert all(each.ts <= inputs[half + 1].ts for each in decisions)
