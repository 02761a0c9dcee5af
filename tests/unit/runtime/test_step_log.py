"""Numbering of events: pinned market rows take a seq and stand on no tape."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.events import Payload, SignalRecorded
from onetape.runtime.step_log import StepLog


class ListTape:
    """A tape that is a list of (first seq, ts, market index, causes)."""

    def __init__(self) -> None:
        self.steps: list[tuple[int, int, int, list[tuple[int, int]]]] = []

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        self.steps.append((first_seq, ts, market_index, [causes for _, *causes in events]))  # type: ignore[misc]

    def commit(self) -> None:
        """Nothing to do."""


SIGNAL = SignalRecorded("s", "score", 1.0)


def test_step_log_numbers_market_rows_and_events_in_one_sequence() -> None:
    """seq: start 0 1 | row 0 = 2 | its event 3 | row 1 = 4, silent | row 2 = 5 | events 6 7."""
    tape = ListTape()
    log = StepLog(tape)
    log.begin(100, -1)
    assert [log.emit(SIGNAL, 0, 0) for _ in range(2)] == [0, 1]
    log.finish()
    log.begin_market(0, 110)
    assert log.market_seq == 2
    assert log.emit(SIGNAL, 2, 2) == 3
    log.finish()
    log.begin_market(1, 120)
    assert log.market_seq == 4
    log.finish()
    log.begin_market(2, 130)
    assert [log.emit(SIGNAL, 5, cause) for cause in (5, 6)] == [6, 7]
    log.finish()
    log.begin(135, 2)
    assert log.emit(SIGNAL, 0, 0) == 8
    log.finish()
    assert [step[:3] for step in tape.steps] == [
        (0, 100, -1), (3, 110, 0), (6, 130, 2), (8, 135, -1),
    ]  # fmt: skip
    assert log.emitted == 6
    assert log.now == 135


def test_step_log_rows_that_nobody_looked_at_take_their_seq_too() -> None:
    log = StepLog(ListTape())
    log.begin_market(41, 100)
    assert log.market_seq == 41
    assert log.emit(SIGNAL, 41, 41) == 42
    log.finish()
    log.begin_market(99, 200)
    assert log.market_seq == 100


def test_step_log_silent_step_leaves_no_record() -> None:
    tape = ListTape()
    log = StepLog(tape)
    log.begin(1, -1)
    log.finish()
    assert tape.steps == []


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3))))
def test_step_log_seqs_equal_one_counter_over_everything(
    script: list[tuple[bool, int, int]],
) -> None:
    """(is a row, rows skipped before it, events): a naive log counts one by one."""
    tape = ListTape()
    log = StepLog(tape)
    counter = 0
    row = -1
    naive: list[tuple[int, int, int]] = []
    for ts, (is_row, skipped, events) in enumerate(script):
        if is_row:
            row += 1 + skipped
            counter += skipped
            log.begin_market(row, ts)
            assert log.market_seq == counter
            counter += 1
        else:
            log.begin(ts, row)
        if events:
            naive.append((counter, ts, row if is_row else -1))
        for _ in range(events):
            assert log.emit(SIGNAL, 0, 0) == counter
            counter += 1
        log.finish()
    assert [step[:3] for step in tape.steps] == naive
