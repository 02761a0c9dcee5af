from __future__ import annotations

import json
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from onetape.control.cli import app
from onetape.domain.errors import DataError
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.seal import check_seal, read_seal, seal_path, seal_tape
from onetape.tape.sqlite_store import SqliteTape
from tests.support.tape_steps import make_session

RECORDS = 12


def write_tape(path: Path, records: int = RECORDS, kept: int | None = None) -> Path:
    """A session of `records` records, three a block; of which only the first `kept`."""
    with closing(SqliteTape.create(path)) as store:
        for count, step in enumerate(make_session(orders=records - 2)[:kept], 1):
            store.append(*step)
            if count % 3 == 0:
                store.commit()
    return path


def change(path: Path, *statements: str) -> None:
    path.chmod(0o644)
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["tape", *arguments])


@pytest.fixture
def tape(tmp_path: Path) -> Path:
    return write_tape(tmp_path / "tape.db")


def test_seal_holds_the_final_digest_and_makes_both_files_read_only(tape: Path) -> None:
    before = tape.read_bytes()
    seal = seal_tape(tape)
    with closing(SqliteTapeReader(tape)) as reader:
        assert (seal.digest, seal.records) == (reader.digest, RECORDS)
        assert seal.events == sum(1 for _ in reader.events())
        assert seal.session == reader.header.session
    assert read_seal(tape) == seal
    assert tape.read_bytes() == before
    for path in (tape, seal_path(tape)):
        assert not stat.S_IMODE(path.stat().st_mode) & 0o222


def test_seal_twice_changes_nothing(tape: Path) -> None:
    first = seal_tape(tape)
    text = seal_path(tape).read_bytes()
    assert seal_tape(tape) == first
    assert seal_path(tape).read_bytes() == text


def swap(one: int, other: int) -> tuple[str, ...]:
    return (
        f"UPDATE block SET number = -1 WHERE number = {one}",
        f"UPDATE block SET number = {one} WHERE number = {other}",
        f"UPDATE block SET number = {other} WHERE number = -1",
    )


def flip(byte: int) -> tuple[str, ...]:
    """The byte of block 1's payload at `byte` (from 1) becomes another one."""
    return (
        f"UPDATE block SET payload = CAST(substr(payload, 1, {byte - 1}) || "
        f"CASE substr(payload, {byte}, 1) WHEN x'2a' THEN x'2b' ELSE x'2a' END || "
        f"substr(payload, {byte + 1}) AS BLOB) WHERE number = 1",
    )


# Each kind of tampering; blocks hold the records 0-2, 3-5, 6-8 and 9-11.
# fmt: off
TAMPERED: list[tuple[str, tuple[str, ...], str, int]] = [
    # what was done           SQL                                              found     at record
    ("first byte flipped",    flip(1),                                         "altered",    3),
    ("byte 300 flipped",      flip(300),                                       "altered",    4),
    ("block deleted",         ("DELETE FROM block WHERE number = 1",),         "missing",    3),
    ("blocks swapped",        swap(1, 2),                                      "reordered",  3),
    ("last block deleted",    ("DELETE FROM block WHERE number = 3",),         "missing",    9),
    ("last two deleted",      ("DELETE FROM block WHERE number > 1",),         "missing",    6),
    ("payload cut",           ("UPDATE block SET payload = x'93' WHERE number = 1",),
                                                                               "unreadable", 3),
]
# fmt: on


@pytest.mark.parametrize(
    ("statements", "kind", "record"),
    [row[1:] for row in TAMPERED],
    ids=[row[0] for row in TAMPERED],
)
def test_audit_of_a_sealed_tape_that_was_changed_locates_it(
    tape: Path, statements: tuple[str, ...], kind: str, record: int
) -> None:
    seal_tape(tape)
    change(tape, *statements)
    result = run("audit", str(tape), "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 4
    assert (found["damage"]["kind"], found["damage"]["record"]) == (kind, record)
    assert not found["complete"]
    assert run("audit", str(tape.parent)).stdout.startswith(f"damaged: {kind} at record {record} ")


def test_audit_of_another_whole_tape_in_the_place_of_a_sealed_one_says_so(tape: Path) -> None:
    seal_tape(tape)
    tape.unlink()
    write_tape(tape, records=RECORDS + 1)
    result = run("audit", str(tape))
    assert result.exit_code == 4
    assert "not the tape that its seal (12 records) knows" in result.stdout


def test_audit_of_a_cut_tape_without_a_seal_says_incomplete(tape: Path) -> None:
    change(tape, "DELETE FROM block WHERE number = 3")
    result = run("audit", str(tape))
    assert result.exit_code == 2
    assert result.stdout.startswith("sound, but incomplete: ")


def test_audit_of_a_sound_tape_says_so(tape: Path) -> None:
    for seal in (lambda: None, lambda: seal_tape(tape)):
        seal()
        result = run("audit", str(tape))
        assert (result.exit_code, result.stdout[:17]) == (0, "sound and complet")


@pytest.mark.parametrize(("complete", "found"), [(True, "missing"), (False, None)])
def test_metrics_is_a_witness_only_of_a_complete_run(
    tape: Path, complete: bool, found: str | None
) -> None:
    with closing(SqliteTapeReader(tape)) as reader:
        metrics = {"tape_digest": reader.digest, "complete": complete}
    (tape.parent / "metrics.json").write_text(json.dumps(metrics))
    change(tape, "DELETE FROM block WHERE number = 3")
    with closing(SqliteTapeReader(tape)) as reader:
        damage = check_seal(tape, reader.audit()).damage
    assert (damage.kind.value if damage else None) == found


def break_seal(tape: Path) -> None:
    seal_path(tape).write_text("{}")


def cut(tape: Path) -> None:
    change(tape, "DELETE FROM block WHERE number = 3")


def damage(tape: Path) -> None:
    change(tape, *flip(1))


def drop(tape: Path) -> None:
    tape.unlink()


# fmt: off
REFUSED: list[tuple[Callable[[Path], None], str]] = [
    (break_seal, "the seal can't be read"),
    (cut,        "not sealed: the tape is sound, but incomplete"),
    (damage,     "not sealed: the tape is damaged: altered at record 3"),
    (drop,       "there is no tape here"),
]
# fmt: on


@pytest.mark.parametrize(("harm", "told"), REFUSED, ids=[row[0].__name__ for row in REFUSED])
def test_seal_refuses_what_is_not_whole(
    tape: Path, harm: Callable[[Path], None], told: str
) -> None:
    harm(tape)
    with pytest.raises(DataError, match=told):
        seal_tape(tape)
    assert harm is break_seal or not seal_path(tape).exists()


def test_seal_command_prints_the_digest(tape: Path) -> None:
    result = run("seal", str(tape.parent))
    assert result.exit_code == 0
    assert result.stdout.endswith(f"digest {seal_tape(tape).digest}\n")
