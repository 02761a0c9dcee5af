from __future__ import annotations

import msgspec
import pytest

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import SessionStopped
from onetape.tape.block import GENESIS
from onetape.tape.repeated import RepeatedTape
from onetape.tape.store import MemoryTape
from tests.support.tape_steps import append_steps, encode_steps, make_session

SESSION = make_session(20)


def write(count: int) -> MemoryTape:
    tape = MemoryTape()
    for step in SESSION[:count]:
        tape.append(*step)
    return tape


@pytest.mark.parametrize("done", [0, 1, 5, len(SESSION)])
@pytest.mark.parametrize("cut", [1, 3, 100])
def test_what_is_there_must_come_again_and_the_rest_is_added(done: int, cut: int) -> None:
    whole = write(len(SESSION)).digest
    for is_encoded in (False, True):
        tape = write(done)
        again = RepeatedTape(tape)
        digest = GENESIS
        for start in range(0, len(SESSION), cut):
            part = SESSION[start : start + cut]
            if is_encoded:
                steps = encode_steps(part, digest)
                again.append_encoded(steps)
                digest = steps.digests[-len(digest) :]
            else:
                for step in part:
                    again.append(*step)
            again.commit()
        again.check_over()
        assert tape.digest == whole
        assert tape.records_written == len(SESSION)


@pytest.mark.parametrize("at", [0, 4])
def test_another_record_than_the_tape_holds_ends_the_session(at: int) -> None:
    tape = write(5)
    digest = tape.digest
    first_seq, ts, row, events = SESSION[at]
    other = [*SESSION[:at], (first_seq, ts + 1, row, events), *SESSION[at + 1 :]]
    with pytest.raises(InvariantBroken, match="departed from its tape"):
        RepeatedTape(tape).append_encoded(encode_steps(other))
    again = RepeatedTape(tape)
    with pytest.raises(InvariantBroken, match="departed from its tape"):
        append_steps(again, other)
    assert tape.digest == digest


def test_a_session_that_ends_before_its_tape_is_an_error() -> None:
    again = RepeatedTape(write(5))
    for step in SESSION[:4]:
        again.append(*step)
    with pytest.raises(InvariantBroken, match="departed from its tape"):
        again.check_over()


def test_states_are_kept_behind_the_end_of_the_tape_alone() -> None:
    tape = write(5)
    again = RepeatedTape(tape)
    for step in SESSION[:7]:
        again.append(*step)
        again.keep(step[2] + 1, step[1], b"state")
    assert len(tape.snapshots) == 3


def test_a_step_without_events_is_nothing() -> None:
    tape = write(5)
    again = RepeatedTape(tape)
    again.append(0, 0, -1, [])
    for step in SESSION:
        again.append(*step)
    again.append_encoded(encode_steps([]))
    assert tape.digest == write(len(SESSION)).digest


def test_the_end_of_a_session_is_a_record_like_the_others() -> None:
    stopped = SESSION[-1][3][0][0]
    assert isinstance(stopped, SessionStopped)
    first_seq, ts, row, _ = SESSION[-1]
    other = msgspec.structs.replace(stopped, reason="other")
    again = RepeatedTape(write(len(SESSION)))
    with pytest.raises(InvariantBroken):
        again.append_encoded(encode_steps([*SESSION[:-1], (first_seq, ts, row, [(other, 0, 0)])]))
