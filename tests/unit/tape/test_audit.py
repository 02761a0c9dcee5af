from __future__ import annotations

import random
import sqlite3
import struct
from contextlib import closing
from pathlib import Path

import pytest

from onetape.domain.errors import DataError
from onetape.domain.events import Event
from onetape.tape.audit import Audit, DamageKind
from onetape.tape.block import encode_record
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.sqlite_store import SqliteTape
from tests.support.tape_steps import make_session

RECORDS_PER_BLOCK = 4
RECORDS = 24


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    """Six blocks of four records each."""
    path = tmp_path / "tape.db"
    with closing(SqliteTape.create(path)) as store:
        for count, step in enumerate(make_session(orders=RECORDS - 2), 1):
            store.append(*step)
            if count % RECORDS_PER_BLOCK == 0:
                store.commit()
    return path


def audit(path: Path) -> Audit:
    with closing(SqliteTapeReader(path)) as reader:
        return reader.audit()


def change(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def on_2(assignments: str) -> tuple[str, ...]:
    """SQL: change block 2, which holds the records 8 to 11."""
    return (f"UPDATE block SET {assignments} WHERE number = 2",)


def flip(column: str, at: str) -> tuple[str, ...]:
    """SQL: the byte of `column` at 1-based `at` becomes another one."""
    return on_2(
        f"{column} = CAST(substr({column}, 1, {at} - 1) || "
        f"CASE substr({column}, {at}, 1) WHEN x'2a' THEN x'2b' ELSE x'2a' END || "
        f"substr({column}, {at} + 1) AS BLOB)"
    )


def cut(column: str, start: int, size: int) -> str:
    """SQL: `size` bytes from 0-based `start` on are taken out of `column`."""
    return (
        f"{column} = CAST(substr({column}, 1, {start}) || substr({column}, {start + size + 1}) "
        "AS BLOB)"
    )


def swap(one: int, other: int) -> tuple[str, ...]:
    return (
        f"UPDATE block SET number = -1 WHERE number = {one}",
        f"UPDATE block SET number = {one} WHERE number = {other}",
        f"UPDATE block SET number = {other} WHERE number = -1",
    )


def without(number: int) -> str:
    return f"DELETE FROM block WHERE number = {number}"


SIZES = [len(encode_record(step)) for step in make_session(orders=RECORDS - 2)[8:12]]
"""Bytes of the records of block 2."""
SIZE = SIZES[0]

WITHOUT_9 = on_2(
    f"records = 3, {cut('lengths', 4, 4)}, {cut('digests', 32, 32)}, {cut('payload', SIZE, SIZE)}"
)
MOVED = struct.pack("<4I", SIZES[0] - 1, SIZES[1] + 1, *SIZES[2:]).hex()
OTHER_LENGTHS = on_2(f"lengths = x'{MOVED}'")
CLOSE_GAP = "UPDATE block SET number = number - 1 WHERE number > 2"
TWICE = (
    "UPDATE block SET number = -number - 1 WHERE number > 2",
    "UPDATE block SET number = -number WHERE number < 0",
    "INSERT INTO block SELECT 3, first_seq, last_seq, ts_first, ts_last, records, lengths, "
    "digests, payload FROM block WHERE number = 2",
)

ALTERED, REORDERED, MISSING, INDEX, UNREADABLE, *_ = DamageKind
# fmt: off
DAMAGES: list[tuple[str, tuple[str, ...], DamageKind, int]] = [
    # what was done                SQL                                      found       at record
    ("first byte flipped",         flip("payload", "1"),                    ALTERED,     8),
    ("byte of record 9 flipped",   flip("payload", f"{SIZE + 9}"),          ALTERED,     9),
    ("last byte flipped",          flip("payload", "length(payload)"),      ALTERED,    11),
    ("digest flipped",             flip("digests", "33"),                   ALTERED,     9),
    ("last digest flipped",        flip("digests", "128"),                  ALTERED,    11),
    ("length flipped",             flip("lengths", "5"),                    UNREADABLE,  8),
    ("lengths moved, sum kept",    OTHER_LENGTHS,                           ALTERED,     8),
    ("payload cut",                on_2("payload = substr(payload, 1, 9)"), UNREADABLE,  8),
    ("payload emptied",            on_2("payload = x''"),                   UNREADABLE,  8),
    ("payload became text",        on_2("payload = 'text'"),                UNREADABLE,  8),
    ("first seq changed",          on_2("first_seq = first_seq + 1"),       INDEX,       8),
    ("last seq changed",           on_2("last_seq = last_seq + 1"),         INDEX,       8),
    ("first time changed",         on_2("ts_first = 0"),                    INDEX,       8),
    ("last time changed",          on_2("ts_last = 0"),                     INDEX,       8),
    ("count changed",              on_2("records = 3"),                     UNREADABLE,  8),
    ("record deleted",             WITHOUT_9,                               ALTERED,     9),
    ("block deleted",              (without(2),),                           MISSING,     8),
    ("first block deleted",        (without(0),),                           MISSING,     0),
    ("block deleted, gap closed",  (without(2), CLOSE_GAP),                 ALTERED,     8),
    ("two blocks swapped",         swap(2, 3),                              REORDERED,   8),
    ("far blocks swapped",         swap(1, 4),                              REORDERED,   4),
    ("block stands twice",         TWICE,                                   REORDERED,  12),
]
# fmt: on


@pytest.mark.parametrize(
    ("statements", "kind", "record"),
    [row[1:] for row in DAMAGES],
    ids=[row[0].replace(" ", "_") for row in DAMAGES],
)
def test_audit_of_a_damaged_tape_locates_the_first_damage(
    tape: Path, statements: tuple[str, ...], kind: DamageKind, record: int
) -> None:
    change(tape, *statements)
    found = audit(tape)
    assert found.damage is not None
    assert (found.damage.kind, found.damage.record) == (kind, record)
    assert found.damage.block == record // RECORDS_PER_BLOCK
    assert found.records == record
    assert not found.complete
    assert str(found).startswith(f"damaged: {kind.value} at record {record} ")
    assert "\n" not in str(found)


def test_audit_of_a_sound_tape_finds_nothing(tape: Path) -> None:
    found = audit(tape)
    assert (found.damage, found.complete) == (None, True)
    assert (found.blocks, found.records, found.events) == (6, RECORDS, 2 + 4 * (RECORDS - 2))
    assert str(found) == f"sound and complete: 90 events in 24 records, digest {found.digest}"


def test_audit_of_a_tape_cut_at_a_block_says_incomplete(tape: Path) -> None:
    change(tape, "DELETE FROM block WHERE number = 5")
    found = audit(tape)
    assert (found.damage, found.complete, found.records) == (None, False, 20)
    assert str(found).startswith("sound, but incomplete: 77 events in 20 records")


def test_audit_tells_the_predecessor_of_a_moved_record(tape: Path) -> None:
    change(tape, *swap(2, 3))
    damage = audit(tape).damage
    assert damage is not None
    assert damage.detail == "it follows record 15"


def _read(path: Path) -> tuple[list[Event], Audit] | None:
    """Events and audit; None when the tape is refused."""
    try:
        with closing(SqliteTapeReader(path)) as reader:
            return list(reader.events()), reader.audit()
    except DataError:
        return None


def _overwrite(path: Path, sound: bytes, at: int, value: int) -> None:
    path.write_bytes(sound[:at] + bytes([value]) + sound[at + 1 :])


@pytest.mark.parametrize("seed", range(4))
def test_no_byte_of_the_file_changes_an_event_unnoticed(tape: Path, seed: int) -> None:
    sound = tape.read_bytes()
    whole = _read(tape)
    assert whole is not None
    chance = random.Random(seed)
    used = [at for at, byte in enumerate(sound) if byte]
    for at in chance.sample(used, 150):
        _overwrite(tape, sound, at, sound[at] ^ (1 << chance.randrange(8)))
        read = _read(tape)
        unnoticed = read is not None and read[1].damage is None and read[1].complete
        assert not unnoticed or read == whole, f"byte {at}, seed {seed}"


@pytest.mark.parametrize("keep", [0, 1, 99, 100, 4096, 16_384, 20_000, 32_768, 40_000])
def test_file_cut_anywhere_never_passes_for_whole(tape: Path, keep: int) -> None:
    sound = tape.read_bytes()
    assert keep < len(sound)
    tape.write_bytes(sound[:keep])
    read = _read(tape)
    assert read is None or not read[1].complete
