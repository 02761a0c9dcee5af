"""A tape that goes on compares what it holds already, and writes only behind it."""

from __future__ import annotations

import pytest

from onetape.domain.errors import CallAPerson
from onetape.tape.block import Step
from onetape.tape.continued import ContinuedTape
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.older_writers import older_record
from tests.support.tape_steps import make_session

SESSION = make_session(orders=8)
KEPT = 5
"""Steps that the tape holds when its session goes on."""


def make_tape() -> MemoryTape:
    """The first steps, with a snapshot after two of them and one at the end."""
    tape = MemoryTape()
    for number, step in enumerate(SESSION[:KEPT], 1):
        tape.append(*step)
        if number in (2, KEPT):
            tape.keep(number, number, b"state %d" % number)
    return tape


def go_on(tape: MemoryTape, records: list[bytes] | None = None) -> ContinuedTape:
    """The whole session once more."""
    reader = MemoryTapeReader(tape)
    stored = list(reader.encoded_records()) if records is None else records
    return ContinuedTape(tape, iter(stored), iter(list(reader.snapshots())))


def append_all(tape: ContinuedTape, steps: list[Step]) -> None:
    for step in steps:
        tape.append(*step)


def test_continued_tape_ends_like_one_that_was_written_at_once() -> None:
    tape = make_tape()
    blocks = len(tape.blocks)
    continued = go_on(tape)
    append_all(continued, SESSION[:KEPT])
    continued.commit()
    assert len(tape.blocks) == blocks
    append_all(continued, SESSION[KEPT:])
    continued.commit()
    whole = MemoryTape()
    for step in SESSION:
        whole.append(*step)
    assert tape.digest == whole.digest
    assert MemoryTapeReader(tape).audit().complete


@pytest.mark.parametrize("at", range(KEPT))
def test_step_that_is_another_one_than_stored_departs_and_writes_nothing(at: int) -> None:
    tape = make_tape()
    before = list(tape.blocks)
    continued = go_on(tape)
    append_all(continued, SESSION[:at])
    first_seq, ts, row, events = SESSION[at]
    with pytest.raises(CallAPerson, match=f"departs from its tape at event {first_seq}; the tape"):
        continued.append(first_seq, ts + 1, row, events)
    assert tape.blocks == before


def test_step_that_an_older_writer_stored_is_the_same_step() -> None:
    tape = make_tape()
    stored = list(MemoryTapeReader(tape).encoded_records())
    older = [older_record(each) for each in stored]
    assert older != stored
    continued = go_on(tape, older)
    append_all(continued, SESSION)
    continued.commit()
    assert sum(1 for _ in MemoryTapeReader(tape).records()) == len(SESSION)


def test_snapshots_are_compared_where_the_tape_has_them_and_kept_behind_its_end() -> None:
    tape = make_tape()
    continued = go_on(tape)
    append_all(continued, SESSION[:2])
    continued.keep(2, 2, b"state 2")
    append_all(continued, SESSION[2:KEPT])
    continued.keep(KEPT, KEPT, b"state %d" % KEPT)
    append_all(continued, SESSION[KEPT:])
    assert [each.state for each in tape.snapshots] == [b"state 2", b"state %d" % KEPT]
    continued.keep(20, 20, b"new")
    assert tape.snapshots[-1].state == b"new"
    assert MemoryTapeReader(tape).audit().damage is None


def test_snapshot_of_another_state_departs() -> None:
    tape = make_tape()
    continued = go_on(tape)
    append_all(continued, SESSION[:2])
    with pytest.raises(CallAPerson, match=r"at snapshot 0 \(after 2 rows\)"):
        continued.keep(2, 2, b"other")


def test_snapshot_at_another_place_inside_the_tape_is_not_kept() -> None:
    tape = make_tape()
    continued = go_on(tape)
    append_all(continued, SESSION[:1])
    continued.keep(1, 1, b"asked to stop")
    append_all(continued, SESSION[1:KEPT])
    assert len(tape.snapshots) == 2
