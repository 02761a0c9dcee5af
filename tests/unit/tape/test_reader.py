from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from onetape.domain.errors import DataError, TryAgain
from onetape.tape.reader import SqliteTapeReader
from onetape.tape.sqlite_store import SqliteTape
from tests.support.tape_steps import make_order_step, make_session


def make_tape(folder: Path) -> Path:
    path = folder / "tape #1?.db"
    with closing(SqliteTape.create(path)) as tape:
        for step in make_session(orders=3):
            tape.append(*step)
    return path


def alter(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_open_of_a_missing_file_says_so_and_makes_none(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    with pytest.raises(DataError, match=r"tape\.db: there is no tape here"):
        SqliteTapeReader(path)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a tape"),
        (b"ts,open,high,low,close\n" * 100, r"not a tape \(no SQLite file\)"),
        (b"SQLite format 3\0" + b"\xff" * 4096, "not a tape"),
    ],
    ids=["empty", "csv", "only_the_magic"],
)
def test_open_of_what_is_no_tape_says_so(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "tape.db"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        SqliteTapeReader(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE orders (id)"],
        ["CREATE TABLE meta (a)", "INSERT INTO meta VALUES (1)"],
        ["CREATE TABLE meta (a, b)", "INSERT INTO meta VALUES ('other', 1)"],
        ["CREATE TABLE meta (a, b)"],
    ],
)
def test_open_of_another_database_says_so(tmp_path: Path, statements: list[str]) -> None:
    path = tmp_path / "orders.db"
    for statement in statements:
        alter(path, statement)
    with pytest.raises(DataError, match="a SQLite file, but not a tape"):
        SqliteTapeReader(path)


def test_open_of_an_unknown_version_says_which(tmp_path: Path) -> None:
    path = make_tape(tmp_path)
    alter(path, "UPDATE meta SET version = 2")
    with pytest.raises(DataError, match="tape version 2, and this onetape reads 1") as caught:
        SqliteTapeReader(path)
    assert "\n" not in str(caught.value)


def test_open_of_a_locked_tape_says_try_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_tape(tmp_path)
    monkeypatch.setattr("onetape.tape.reader.LOCK_WAIT_SECONDS", 0.01)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TryAgain, match="locked by another program"):
            SqliteTapeReader(path)
    with closing(SqliteTapeReader(path)) as reader:
        assert reader.is_complete


def test_reader_can_not_change_the_tape(tmp_path: Path) -> None:
    path = make_tape(tmp_path)
    before = path.read_bytes()
    with closing(SqliteTapeReader(path)) as reader:
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader._connection.execute("DELETE FROM block")
        assert reader.audit().complete
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_reader_sees_what_is_committed_while_it_reads(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    with closing(SqliteTape.create(path)) as tape, closing(SqliteTapeReader(path)) as reader:
        tape.append(*make_order_step(1, 1))
        tape.commit()
        events = reader.events()
        assert next(events).seq == 1
        tape.append(*make_order_step(6, 2))
        tape.commit()
        assert [event.seq for event in events] == [2, 3, 4, 6, 7, 8, 9]


def test_event_that_this_version_does_not_know_raises_a_readable_error(tmp_path: Path) -> None:
    path = make_tape(tmp_path)
    alter(path, "UPDATE block SET payload = CAST(replace(payload, 'risk.', 'rusk.') AS BLOB)")
    unknown = pytest.raises(DataError, match=r"a record can't be read: .*rusk\.approved")
    with closing(SqliteTapeReader(path)) as reader, unknown as caught:
        list(reader.events())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("blocks", [1, 2, 31, 32, 33, 70])
def test_blocks_from_any_place_are_those_that_end_there_or_later(
    tmp_path: Path, blocks: int
) -> None:
    path = tmp_path / "tape.db"
    with closing(SqliteTape.create(path)) as tape:
        for step in make_session(orders=70)[:blocks]:
            tape.append(*step)
            tape.commit()
    with closing(SqliteTapeReader(path)) as reader:
        stored = list(reader.blocks())
        assert len(stored) == blocks
        for seq in range(stored[-1].last_seq + 2):
            wanted = [each.number for each in stored if each.last_seq >= seq]
            assert [each.number for each in reader.blocks(seq)] == wanted


def test_blocks_in_front_of_one_that_can_not_be_read_are_read(tmp_path: Path) -> None:
    """Many come of one query, and an error in it does not hide those before it."""
    path = tmp_path / "tape.db"
    with closing(SqliteTape.create(path)) as tape:
        for step in make_session(orders=40):
            tape.append(*step)
            tape.commit()
    alter(path, "UPDATE block SET records = 'many' WHERE number = 5")
    with closing(SqliteTapeReader(path)) as reader:
        blocks = reader.blocks()
        assert [next(blocks).number for _ in range(5)] == [0, 1, 2, 3, 4]
        with pytest.raises(DataError, match="a block's row is damaged"):
            next(blocks)
