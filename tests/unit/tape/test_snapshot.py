"""A snapshot's digest ties its state to its place on one tape."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from onetape.tape.audit import DamageKind, audit_blocks
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.snapshot import Snapshot, is_sound, make_snapshot
from onetape.tape.store import MemoryTape
from tests.support.tape_steps import make_session

CHAIN = bytes(range(32))
SOUND = make_snapshot(2, 7, 300, 41, 1_700_000_000_000_000_000, CHAIN, b"the state")


def test_digest_is_what_the_format_says() -> None:
    """Naive twin: SHA-256 of the format's name, the record before, the place and the state."""
    genesis = sha256(b"onetape snapshot 1").digest()
    place = msgspec.msgpack.encode([2, 7, 300, 41, 1_700_000_000_000_000_000])
    assert SOUND.digest == sha256(genesis + CHAIN + place + b"the state").digest()


def test_digest_of_the_format_stays_what_it_was() -> None:
    """Pinned: a change of this number is a change of the format."""
    assert SOUND.digest.hex() == "7b9340ababff9507f60231f08c0679601f697600b070c80f61aa588908c49d5f"


@pytest.mark.parametrize("field", Snapshot.__struct_fields__)
def test_no_field_changes_unnoticed(field: str) -> None:
    value = getattr(SOUND, field)
    changed = value + 1 if isinstance(value, int) else bytes([value[0] ^ 1]) + value[1:]
    assert is_sound(SOUND)
    assert not is_sound(msgspec.structs.replace(SOUND, **{field: changed}))


@given(
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=5, max_size=5),
    st.binary(min_size=32, max_size=32),
    st.binary(max_size=64),
)
def test_whatever_was_made_is_sound(place: list[int], chain: bytes, state: bytes) -> None:
    number, blocks, events, rows, ts = place
    assert is_sound(make_snapshot(number, blocks, events, rows, ts, chain, state))


def test_bytes_can_not_move_from_one_field_to_the_next() -> None:
    moved = make_snapshot(2, 7, 300, 41, SOUND.ts, CHAIN, b"the stat")
    assert moved.digest != SOUND.digest
    place = msgspec.msgpack.encode((2, 7, 300, 41, SOUND.ts))
    longer = make_snapshot(2, 7, 300, 41, SOUND.ts, CHAIN + place, b"the state")
    assert longer.digest != SOUND.digest


# On a tape.


def make_tape() -> MemoryTape:
    """Three snapshots, behind 3, 6 and 9 of 12 steps."""
    tape = MemoryTape()
    for number, step in enumerate(make_session(orders=10), 1):
        tape.append(*step)
        if number in (3, 6, 9):
            tape.keep(number, number, b"state %d" % number)
    tape.commit()
    return tape


def forged(snapshot: Snapshot, **changes: object) -> Snapshot:
    """Another snapshot whose own digest fits."""
    changed = msgspec.structs.replace(snapshot, **changes)
    return make_snapshot(*msgspec.structs.astuple(changed)[:-1])


# fmt: off
DAMAGES = [
    # what was done              snapshots as they are then                                 found at
    ("state altered",            lambda a, b, c: [a, replace(b, state=b"?"), c],              1),
    ("digest altered",           lambda a, b, c: [a, b, replace(c, digest=CHAIN)],            2),
    ("first deleted",            lambda a, b, c: [b, c],                                     1),
    ("one in between deleted",   lambda a, b, c: [a, c],                                     2),
    ("two swapped",              lambda a, b, c: [b, a, c],                                  1),
    ("one stands twice",         lambda a, b, c: [a, a, b, c],                               0),
    ("forged, of another tape",  lambda a, b, c: [a, forged(b, chain=CHAIN), c],             1),
    ("forged, at another block", lambda a, b, c: [a, forged(b, blocks=1), c],                1),
    ("forged, behind the end",   lambda a, b, c: [a, b, forged(c, blocks=99)],               2),
    ("forged, another number",   lambda a, b, c: [a, b, forged(c, number=5)],                5),
]
# fmt: on


@pytest.mark.parametrize(
    ("damage", "number"), [row[1:] for row in DAMAGES], ids=[row[0] for row in DAMAGES]
)
def test_audit_finds_a_damaged_snapshot(damage: object, number: int) -> None:
    tape = make_tape()
    assert MemoryTapeReader(tape).audit().damage is None
    tape.snapshots[:] = damage(*tape.snapshots)  # type: ignore[operator]
    found = MemoryTapeReader(tape).audit()
    assert found.damage is not None
    assert found.damage.kind is DamageKind.SNAPSHOT
    assert found.damage.detail == f"snapshot {number} does not match its digest or its place"
    assert (found.records, found.complete) == (12, False)


def test_audit_tells_of_a_damaged_record_before_a_damaged_snapshot() -> None:
    tape = make_tape()
    tape.snapshots[0] = msgspec.structs.replace(tape.snapshots[0], state=b"?")
    payload = tape.blocks[2].payload
    tape.blocks[2] = msgspec.structs.replace(
        tape.blocks[2], payload=bytes([payload[9] ^ 1 if at == 9 else each
                                       for at, each in enumerate(payload)])
    )  # fmt: skip
    damage = MemoryTapeReader(tape).audit().damage
    assert damage is not None
    assert damage.kind is not DamageKind.SNAPSHOT
    assert damage.block == 2


def test_last_snapshots_can_be_missing() -> None:
    """They prove nothing; without them a session goes on from an earlier place."""
    tape = make_tape()
    tape.snapshots.pop()
    assert MemoryTapeReader(tape).audit().damage is None


def test_audit_leaves_out_snapshots_that_come_meanwhile() -> None:
    """A session that runs on keeps one behind the last block that the audit has read."""
    tape = make_tape()
    before, after = tape.snapshots[:-1], list(tape.snapshots)
    last = after[-1].blocks
    answers = iter([before, after])
    found = audit_blocks(lambda: iter(tape.blocks[: last - 1]), lambda: iter(next(answers)))
    assert found.damage is None
