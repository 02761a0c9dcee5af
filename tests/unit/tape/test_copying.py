from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from onetape.domain.errors import DataError, TryAgain
from onetape.tape.copying import copy_tape
from onetape.tape.opening import open_tape
from onetape.tape.pointer import TapeServer
from onetape.tape.sqlite_store import SqliteTape
from tests.support.postgres_proxy import Loss, PostgresProxy
from tests.support.postgres_server import PostgresServer
from tests.support.tape_steps import make_session


def write(path: Path, orders: int = 30, *, whole: bool = True) -> None:
    session = make_session(orders)
    with closing(SqliteTape.create(path)) as tape:
        for number, step in enumerate(session if whole else session[:-1]):
            tape.append(*step)
            if number % 7 == 6:
                tape.keep(number, step[1], b"state %d" % number)


def contents(path: Path) -> tuple[object, ...]:
    with closing(open_tape(path)) as reader:
        return list(reader.blocks()), list(reader.snapshots()), reader.audit()


def count_tapes(server: TapeServer) -> int:
    with psycopg.connect(server.url) as connection:
        row = connection.execute("SELECT count(*) FROM onetape.tape").fetchone()
        assert row is not None
        return row[0]


@pytest.mark.parametrize("whole", [True, False])
def test_copy_there_and_back_is_the_same_file(
    postgres: PostgresServer, tmp_path: Path, whole: bool
) -> None:
    source, there, back = (tmp_path / name for name in ("tape.db", "tape.json", "back.db"))
    write(source, whole=whole)
    audit = copy_tape(source, there, postgres.server)
    assert (audit.damage, audit.complete) == (None, whole)
    assert copy_tape(there, back) == audit
    assert contents(source) == contents(there) == contents(back)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["back.db", "tape.db", "tape.json"]


def test_copy_over_something_refuses_and_leaves_it(tmp_path: Path) -> None:
    source, target = tmp_path / "tape.db", tmp_path / "mine.db"
    write(source)
    target.write_text("mine")
    with pytest.raises(DataError, match="never overwritten"):
        copy_tape(source, target)
    assert target.read_text() == "mine"


def test_copy_of_a_damaged_tape_refuses_and_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "tape.db"
    write(source)
    with closing(sqlite3.connect(source)) as file:
        file.execute("UPDATE block SET first_seq = 9 WHERE number = 1")
        file.commit()
    with pytest.raises(DataError, match="not copied: the tape is damaged: index at record 7"):
        copy_tape(source, tmp_path / "copy.db")
    assert [each.name for each in tmp_path.iterdir()] == ["tape.db"]


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[PostgresProxy]:
    proxy = PostgresProxy(postgres)
    yield proxy
    proxy.close()


def test_copy_whose_connection_is_lost_leaves_nothing_and_can_be_tried_again(
    postgres: PostgresServer, proxy: PostgresProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onetape.tape.postgres_store import PostgresTape

    source, target = tmp_path / "tape.db", tmp_path / "tape.json"
    write(source)
    copy_tape(source, tmp_path / "other.json", postgres.server)
    before = count_tapes(postgres.server)
    store = PostgresTape._store_snapshot

    def store_and_lose(tape: PostgresTape, snapshot: object) -> None:
        store(tape, snapshot)  # type: ignore[arg-type]
        proxy.loss = Loss.REQUEST

    with monkeypatch.context() as patch:
        patch.setattr(PostgresTape, "_store_snapshot", store_and_lose)
        with pytest.raises(TryAgain, match="the connection to the tape is lost"):
            copy_tape(source, target, proxy.server)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["other.json", "tape.db"]
    assert count_tapes(postgres.server) == before
    copy_tape(source, target, proxy.server)
    assert contents(source) == contents(target)


def test_copy_after_one_that_was_killed(postgres: PostgresServer, tmp_path: Path) -> None:
    source = tmp_path / "tape.db"
    write(source)
    write(tmp_path / ".partial-copy.db", orders=3)
    copy_tape(source, tmp_path / "copy.db")
    from onetape.tape.postgres_store import PostgresTape

    PostgresTape.create(tmp_path / ".partial-tape.json", postgres.server).close()
    copy_tape(source, tmp_path / "tape.json", postgres.server)
    assert contents(source) == contents(tmp_path / "copy.db") == contents(tmp_path / "tape.json")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["copy.db", "tape.db", "tape.json"]
