from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

import pytest

from onetape.domain.errors import DataError, TryAgain
from onetape.tape.block import Step
from onetape.tape.reader import MemoryTapeReader, SqliteTapeReader
from onetape.tape.sqlite_store import Durability, SqliteTape
from onetape.tape.store import MemoryTape, TapeStore
from tests.support.tape_steps import make_session

REPO = Path(__file__).resolve().parents[3]


def append_all(tape: TapeStore, steps: Iterable[Step]) -> None:
    for step in steps:
        tape.append(*step)


def write(path: Path, steps: Iterable[Step]) -> None:
    with closing(SqliteTape.create(path)) as tape:
        append_all(tape, steps)


def test_create_over_an_existing_file_refuses_and_leaves_it(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    path.write_text("mine")
    with pytest.raises(DataError, match=r"tape\.db: a tape is never overwritten"):
        SqliteTape.create(path)
    assert path.read_text() == "mine"


def test_create_in_a_missing_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="can't be made: No such file or directory"):
        SqliteTape.create(tmp_path / "nowhere" / "tape.db")


def test_create_that_fails_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    (tmp_path / "tape.db-wal").mkdir()
    with pytest.raises(DataError, match="can't be used"):
        SqliteTape.create(path)
    assert not path.exists()


def test_close_leaves_one_file_with_the_same_bytes_for_the_same_events(tmp_path: Path) -> None:
    session = make_session(orders=1500)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "tape.db", session)
        assert [path.name for path in (tmp_path / name).iterdir()] == ["tape.db"]
    assert (tmp_path / "one/tape.db").read_bytes() == (tmp_path / "two/tape.db").read_bytes()


def test_close_while_somebody_reads_keeps_everything_readable(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    tape = SqliteTape.create(path)
    append_all(tape, make_session(orders=3))
    tape.commit()
    with closing(SqliteTapeReader(path)) as reader:
        events = reader.events()
        next(events)
        tape.close()
        assert sum(1 for _ in events) == 13
    with closing(SqliteTapeReader(path)) as reader:
        assert reader.audit().complete


def test_close_twice_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    write(path, make_session(orders=1))
    tape = SqliteTape.create(tmp_path / "other.db")
    tape.close()
    tape.close()


def test_commit_on_a_full_disk_says_so_and_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    session = make_session(orders=3000)
    tape = SqliteTape.create(path)
    tape._connection.execute("PRAGMA max_page_count = 12")
    with pytest.raises(TryAgain, match=r"tape\.db: the disk is full.*free space") as caught:
        append_all(tape, session)
    assert "\n" not in str(caught.value)
    with closing(SqliteTapeReader(path)) as reader:
        stored = reader.audit()
    assert (stored.damage, stored.complete, stored.blocks) == (None, False, 1)

    tape._connection.execute("PRAGMA max_page_count = 1000000")
    append_all(tape, session[tape_steps(tape) :])
    tape.close()
    reference = MemoryTape()
    append_all(reference, session)
    with closing(SqliteTapeReader(path)) as reader:
        assert reader.audit().digest == reference.digest


def tape_steps(tape: SqliteTape) -> int:
    """How many steps of `make_session` the tape has taken: the first has one event, others four."""
    return (tape.events_written - 1) // 4 + 1


def test_commit_on_a_locked_tape_says_so_and_can_be_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    with closing(SqliteTape.create(path)) as tape:
        tape._connection.execute("PRAGMA busy_timeout = 10")
        append_all(tape, make_session(orders=2))
        with closing(sqlite3.connect(path)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(TryAgain, match="locked by another program"):
                tape.commit()
        tape.commit()
        with closing(SqliteTapeReader(path)) as reader:
            assert reader.is_complete


@pytest.mark.parametrize(
    ("durability", "synchronous"), [(Durability.PROCESS_END, 1), (Durability.POWER_LOSS, 2)]
)
def test_durability_sets_how_sqlite_waits_for_the_disk(
    tmp_path: Path, durability: Durability, synchronous: int
) -> None:
    with closing(SqliteTape.create(tmp_path / "tape.db", durability)) as tape:
        assert tape._connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)
        assert tape._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


WRITE_FOR_LONG = """
import sys
from pathlib import Path
from onetape.tape.sqlite_store import SqliteTape
from tests.support.tape_steps import make_session
tape = SqliteTape.create(Path(sys.argv[1]))
for step in make_session(orders=20_000):
    tape.append(*step)
    if step[2] % 50 == 0:
        tape.commit()
        print(tape.events_written, flush=True)
"""


@pytest.mark.parametrize("shared_memory", [True, False], ids=["as_left", "without_shm"])
def test_tape_of_a_killed_process_reads_up_to_the_last_commit(
    tmp_path: Path, shared_memory: bool
) -> None:
    path = tmp_path / "tape.db"
    command = [sys.executable, "-c", WRITE_FOR_LONG, str(path)]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        for _ in range(40):
            committed = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
    if not shared_memory:
        (tmp_path / "tape.db-shm").unlink()
    with closing(SqliteTapeReader(path)) as reader:
        audit = reader.audit()
        assert (audit.damage, audit.complete) == (None, False)
        assert audit.events >= committed
        assert not reader.is_complete
        assert sum(1 for _ in reader.events()) == audit.events
    # A copy of the file and its WAL is as good.
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("tape.db", "tape.db-wal"):
        shutil.copy(tmp_path / name, copy)
    with closing(SqliteTapeReader(copy / "tape.db")) as reader:
        assert reader.audit().digest == audit.digest


# A tape that goes on.


def reopen(path: Path) -> SqliteTape:
    with closing(SqliteTapeReader(path)) as reader:
        audit = reader.audit()
    return SqliteTape.reopen(path, audit)


@pytest.mark.parametrize("stored", [1, 2, 7, 21])
def test_reopened_tape_ends_like_one_that_was_written_at_once(tmp_path: Path, stored: int) -> None:
    session = make_session(orders=20)
    path, whole = tmp_path / "tape.db", MemoryTape()
    write(path, session[:stored])
    with closing(reopen(path)) as tape:
        assert tape.events_written == sum(len(step[3]) for step in session[:stored])
        append_all(tape, session[stored:])
    append_all(whole, session)
    with closing(SqliteTapeReader(path)) as reader:
        audit = reader.audit()
        assert (audit.damage, audit.complete, audit.digest) == (None, True, whole.digest)
        assert list(reader.records()) == list(MemoryTapeReader(whole).records())
    assert [each.name for each in tmp_path.iterdir()] == ["tape.db"]


def test_reopened_tape_goes_on_counting_snapshots(tmp_path: Path) -> None:
    session = make_session(orders=20)
    path = tmp_path / "tape.db"
    with closing(SqliteTape.create(path)) as tape:
        append_all(tape, session[:5])
        tape.keep(5, 5, b"first")
    with closing(reopen(path)) as tape:
        append_all(tape, session[5:10])
        tape.keep(10, 10, b"second")
    with closing(SqliteTapeReader(path)) as reader:
        found = [(each.number, each.blocks, each.state) for each in reader.snapshots()]
        assert found == [(0, 1, b"first"), (1, 2, b"second")]
        assert reader.audit().damage is None


def test_reopened_tape_of_before_snapshots_can_keep_one(tmp_path: Path) -> None:
    session = make_session(orders=20)
    path = tmp_path / "tape.db"
    write(path, session[:5])
    with closing(sqlite3.connect(path)) as file:
        file.execute("DROP TABLE snapshot")
        file.commit()
    with closing(SqliteTapeReader(path)) as reader:
        assert (list(reader.snapshots()), reader.newest_snapshot()) == ([], None)
        assert reader.audit().damage is None
    with closing(reopen(path)) as tape:
        tape.keep(5, 5, b"first")
    with closing(SqliteTapeReader(path)) as reader:
        assert [each.state for each in reader.snapshots()] == [b"first"]


def test_reopen_of_what_is_complete_or_damaged_refuses_and_leaves_it(tmp_path: Path) -> None:
    whole, damaged = tmp_path / "whole.db", tmp_path / "damaged.db"
    write(whole, make_session(orders=3))
    write(damaged, make_session(orders=3)[:-1])
    with closing(sqlite3.connect(damaged)) as file:
        file.execute("UPDATE block SET first_seq = 9")
        file.commit()
    for path, told in ((whole, "sound and complete"), (damaged, "damaged: index at record 0")):
        before = path.read_bytes()
        with pytest.raises(DataError, match=f"it can't be continued: the tape is {told}"):
            reopen(path)
        assert path.read_bytes() == before


# One writer at a time.


def test_tape_that_is_written_can_not_be_opened_for_writing_again(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    session = make_session(orders=5)
    with closing(SqliteTape.create(path)) as tape:
        append_all(tape, session[:3])
        tape.commit()
        for attempt in (lambda: reopen(path), lambda: SqliteTape.remove_empty(path)):
            with pytest.raises(TryAgain, match="another process writes this tape") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        append_all(tape, session[3:])
    with closing(SqliteTapeReader(path)) as reader:
        assert reader.audit().complete


def test_lock_ends_with_close_and_with_the_process(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    command = [sys.executable, "-c", WRITE_FOR_LONG, str(path)]
    with subprocess.Popen(command, cwd=REPO, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        with pytest.raises(TryAgain, match="another process writes this tape"):
            reopen(path)
        writer.send_signal(signal.SIGKILL)
    for _ in range(2):
        reopen(path).close()


def test_lock_is_given_back_when_a_tape_can_not_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    path.write_bytes(b"no database at all" * 100)
    for _ in range(2):
        with pytest.raises(DataError, match="not a tape"):
            SqliteTape.remove_empty(path)


# A session that was killed before its first event.


def test_remove_empty_removes_what_holds_no_event(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    assert SqliteTape.remove_empty(path)
    path.touch()  # killed before there was a table
    assert SqliteTape.remove_empty(path)
    assert not path.exists()
    SqliteTape.create(path).close()
    assert SqliteTape.remove_empty(path)
    assert list(tmp_path.iterdir()) == []


def test_remove_empty_leaves_a_tape_with_an_event(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    write(path, make_session(orders=3)[:1])
    before = path.read_bytes()
    assert not SqliteTape.remove_empty(path)
    assert path.read_bytes() == before


def test_remove_empty_leaves_what_is_another_database(tmp_path: Path) -> None:
    path = tmp_path / "tape.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE mine (value)")
        file.commit()
    with pytest.raises(DataError):
        SqliteTape.remove_empty(path)
    assert path.exists()
