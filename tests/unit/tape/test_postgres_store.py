from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from onetape.domain.errors import CallAPerson, ConfigError, DataError, TryAgain
from onetape.tape.audit import DamageKind
from onetape.tape.block import Step
from onetape.tape.opening import open_tape, tape_path
from onetape.tape.pointer import TapeServer, read_pointer
from onetape.tape.postgres_reader import PostgresTapeReader
from onetape.tape.postgres_server import connect, make_tables
from onetape.tape.postgres_store import PostgresTape
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.sqlite_store import Durability, SqliteTape
from onetape.tape.store import MemoryTape, TapeStore
from tests.support.postgres_proxy import Loss, PostgresProxy
from tests.support.postgres_server import PASSWORD, PostgresServer, run_server
from tests.support.tape_steps import make_session


def append_all(tape: TapeStore, steps: Iterable[Step], *, commit: bool = False) -> None:
    for step in steps:
        tape.append(*step)
        if commit:
            tape.commit()


def digest_of(steps: Iterable[Step]) -> str:
    tape = MemoryTape()
    append_all(tape, steps)
    return tape.digest


def ask(server: TapeServer, query: str, *values: object) -> list[tuple[Any, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), values)
        return cursor.fetchall() if cursor.description else []


def reopen(path: Path) -> PostgresTape:
    with closing(PostgresTapeReader(path)) as reader:
        audit = reader.audit()
    return PostgresTape.reopen(path, audit)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "run-of-mine"
    folder.mkdir()
    return folder / "tape.json"


# Where a tape is.


def test_create_leaves_a_pointer_in_the_run_and_its_name_in_the_database(
    postgres: PostgresServer, path: Path
) -> None:
    PostgresTape.create(path, postgres.server).close()
    number = json.loads(path.read_bytes())["tape"]
    assert json.loads(path.read_bytes()) == {
        "store": "postgresql", "url": postgres.server.url, "password": "", "tape": number,
        "name": "run-of-mine",
    }  # fmt: skip
    rows = ask(postgres.server, "SELECT * FROM onetape.tape WHERE number = %s", number)
    assert rows == [(number, "run-of-mine", "onetape tape", 1)]
    assert tape_path(path.parent) == path
    assert [each.name for each in path.parent.iterdir()] == ["tape.json"]


def test_create_over_an_existing_pointer_refuses_and_leaves_it(
    postgres: PostgresServer, path: Path
) -> None:
    path.write_text("mine")
    with pytest.raises(DataError, match=r"tape\.json: a tape is never overwritten"):
        PostgresTape.create(path, postgres.server)
    assert path.read_text() == "mine"


def test_pointer_to_another_database_is_told_apart(postgres: PostgresServer, path: Path) -> None:
    PostgresTape.create(path, postgres.server).close()
    pointer = json.loads(path.read_bytes())
    for change, told in (
        ({"name": "other"}, "another tape there: run-of-mine"),
        ({"tape": 10**9}, "no such tape"),
        ({"url": pointer["url"].replace("/postgres?", "/template1?")}, "a database without tapes"),
    ):
        path.write_text(json.dumps(pointer | change))
        with pytest.raises(DataError, match=told):
            PostgresTapeReader(path)


def test_tape_of_another_version_is_refused(postgres: PostgresServer, path: Path) -> None:
    PostgresTape.create(path, postgres.server).close()
    number = read_pointer(path).tape
    ask(postgres.server, "UPDATE onetape.tape SET version = 2 WHERE number = %s", number)
    for use in (open_tape, lambda path: PostgresTape(path, Durability.PROCESS_END)):
        with pytest.raises(DataError, match="tape version 2, and this onetape reads 1"):
            use(path)


@pytest.mark.parametrize("content", ["{", "{}", '{"url": 1}', '{"tape": "x", "more": 1}'])
def test_pointer_that_is_damaged_is_told(path: Path, content: str) -> None:
    path.write_text(content)
    with pytest.raises(DataError, match="does not say where the tape is"):
        open_tape(path)


# Logins.


def test_password_comes_from_where_the_reference_says(
    postgres: PostgresServer, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = path.parent / "secret"
    secret.write_text(f"{PASSWORD}\n")
    monkeypatch.setenv("MY_SECRET", PASSWORD)
    for number, reference in enumerate(("env:MY_SECRET", f"file:{secret}")):
        place = path.with_name(f"tape{number}.json")
        PostgresTape.create(place, TapeServer(url=postgres.url, password=reference)).close()
        with closing(open_tape(place)) as reader:
            assert reader.audit().damage is None
        assert PASSWORD not in place.read_text()


@pytest.mark.parametrize("reference", ["", "env:WRONG"])
def test_refused_login_is_one_line_without_the_password(
    postgres: PostgresServer, path: Path, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    monkeypatch.setenv("WRONG", "tr0ub4dor")
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(path.parent / "none"))
    with pytest.raises(ConfigError, match="the server refuses the login") as caught:
        PostgresTape.create(path, TapeServer(url=postgres.url, password=reference))
    assert "\n" not in str(caught.value)
    assert "tr0ub4dor" not in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize("reference", ["env:NOT_SET_AT_ALL", "file:/nowhere/at/all"])
def test_reference_that_leads_nowhere_is_told(path: Path, reference: str) -> None:
    server = TapeServer(url="postgresql://me@127.0.0.1:1/x", password=reference)
    with pytest.raises(ConfigError, match=reference):
        PostgresTape.create(path, server)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hunter2@db/tapes",
        "postgresql://db/tapes?password=hunter2",
        "postgresql://db/tapes?sslpassword=hunter2",
        "mysql://db/hunter2",
        "postgresql://db",
        "postgresql://[hunter2/tapes",
        "",
    ],
)
def test_address_with_a_password_or_without_a_database_is_refused_unseen(
    path: Path, url: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        PostgresTape.create(path, TapeServer(url=url))
    assert "hunter2" not in str(caught.value)


def test_server_that_does_not_answer_is_try_again(path: Path) -> None:
    with pytest.raises(TryAgain, match="the server can't be reached"):
        PostgresTape.create(path, TapeServer(url="postgresql://me@127.0.0.1:1/x"))
    assert not path.exists()


def test_missing_extra_is_one_line(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"need an extra \(pip install 'onetape\[postgres\]'\)"):
        PostgresTape.create(path, TapeServer(url="postgresql://me@127.0.0.1:1/x"))


def test_user_who_may_only_read_is_told_so(postgres: PostgresServer, path: Path) -> None:
    PostgresTape.create(path, postgres.server).close()
    ask(postgres.server, "CREATE ROLE guest LOGIN")
    pointer = json.loads(path.read_bytes())
    path.write_text(json.dumps(pointer | {"url": pointer["url"].replace("//onetape@", "//guest@")}))
    with pytest.raises(DataError, match="not allowed: permission denied for schema onetape"):
        open_tape(path)


def test_user_needs_no_more_than_the_rights_that_the_docs_name(
    postgres: PostgresServer, path: Path
) -> None:
    """docs/tape.md, In a database."""
    PostgresTape.create(path.with_name("first.json"), postgres.server).close()
    ask(postgres.server, "CREATE ROLE writer LOGIN")
    ask(postgres.server, "CREATE ROLE watcher LOGIN")
    ask(postgres.server, """
        GRANT USAGE ON SCHEMA onetape TO writer, watcher;
        GRANT SELECT ON ALL TABLES IN SCHEMA onetape TO writer, watcher;
        GRANT INSERT ON ALL TABLES IN SCHEMA onetape TO writer;
        GRANT DELETE ON onetape.tape, onetape.snapshot TO writer
    """)  # fmt: skip
    url = postgres.server.url.replace("//onetape@", "//writer@")
    PostgresTape.create(path, TapeServer(url=url)).close()
    assert PostgresTape.remove_empty(path)
    with closing(PostgresTape.create(path, TapeServer(url=url))) as tape:
        append_all(tape, make_session(orders=2)[:2])
        tape.keep(2, 2, b"state")
    reopen(path).close()
    path.write_text(path.read_text().replace("//writer@", "//watcher@"))
    with closing(open_tape(path)) as reader:
        assert reader.audit().records == 2


def test_both_ends_notice_within_seconds_that_the_other_machine_is_gone(
    postgres: PostgresServer,
) -> None:
    server = TapeServer(url=postgres.url, password=f"file:{postgres.secret}")
    with connect(server) as connection:
        rows = connection.execute(
            "SELECT name, setting FROM pg_settings WHERE name LIKE 'tcp_%'"
        ).fetchall()
        mine = connection.info.get_parameters()
    assert dict(rows) == {
        "tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3",
        "tcp_user_timeout": "25000",
    }  # fmt: skip
    assert {name: mine[name] for name in mine if "keepalives" in name or "timeout" in name} == {
        "keepalives_idle": "10", "keepalives_interval": "5", "keepalives_count": "3",
        "tcp_user_timeout": "25000", "connect_timeout": "10",
    }  # fmt: skip


# What a commit survives.


def test_durability_sets_how_the_server_waits_for_its_disk(
    postgres: PostgresServer, path: Path
) -> None:
    for durability, synchronous in ((Durability.PROCESS_END, "off"), (Durability.POWER_LOSS, "on")):
        place = path.with_name(f"{synchronous}.json")
        with closing(PostgresTape.create(place, postgres.server, durability)) as tape:
            shown = tape._connection.execute("SHOW synchronous_commit").fetchone()
            assert shown == (synchronous,)


def test_server_that_does_not_wait_for_its_disk_gives_no_power_loss(path: Path) -> None:
    with run_server("fsync=off") as server:
        with pytest.raises(DataError, match="does not wait for its disk"):
            PostgresTape.create(path, server.server, Durability.POWER_LOSS)
        PostgresTape.create(path.with_name("other.json"), server.server).close()


def test_close_twice_does_no_harm(postgres: PostgresServer, path: Path) -> None:
    tape = PostgresTape.create(path, postgres.server)
    append_all(tape, make_session(orders=2))
    tape.close()
    tape.close()
    with closing(open_tape(path)) as reader:
        assert reader.is_complete


# Connections that get lost.


@pytest.fixture
def proxy(postgres: PostgresServer) -> Iterator[PostgresProxy]:
    proxy = PostgresProxy(postgres)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
@pytest.mark.parametrize("lost_at", [1, 5])
def test_commit_whose_connection_is_lost_can_be_tried_again(
    proxy: PostgresProxy, path: Path, loss: Loss, lost_at: int
) -> None:
    session = make_session(orders=8)
    with closing(PostgresTape.create(path, proxy.server)) as tape:
        append_all(tape, session[:lost_at], commit=True)
        tape.append(*session[lost_at])
        proxy.loss = loss
        with pytest.raises(TryAgain, match="the connection to the tape is lost") as caught:
            tape.commit()
        assert "\n" not in str(caught.value)
        tape.append(*session[lost_at + 1])  # what comes meanwhile waits behind it
        tape.commit()
        append_all(tape, session[lost_at + 2 :], commit=True)
    with closing(open_tape(path)) as reader:
        audit = reader.audit()
        assert (audit.damage, audit.complete, audit.digest) == (None, True, digest_of(session))
        assert audit.blocks == len(session)


@pytest.mark.parametrize("loss", [Loss.REQUEST, Loss.ANSWER])
def test_snapshot_whose_connection_is_lost_is_stored_by_the_next_commit(
    proxy: PostgresProxy, path: Path, loss: Loss
) -> None:
    session = make_session(orders=8)
    with closing(PostgresTape.create(path, proxy.server)) as tape:
        append_all(tape, session[:3], commit=True)
        proxy.loss = loss
        with pytest.raises(TryAgain, match="the connection to the tape is lost"):
            tape.keep(3, 3, b"first")
        append_all(tape, session[3:6], commit=True)
        tape.keep(6, 6, b"second")
        append_all(tape, session[6:])
    with closing(open_tape(path)) as reader:
        assert reader.audit().digest == digest_of(session)
        found = [(each.number, each.blocks, each.state) for each in reader.snapshots()]
        assert found == [(0, 3, b"first"), (1, 6, b"second")]


def test_losses_in_a_row_lose_nothing(proxy: PostgresProxy, path: Path) -> None:
    session = make_session(orders=8)
    with closing(PostgresTape.create(path, proxy.server)) as tape:
        append_all(tape, session[:4], commit=True)
        losses = (Loss.ANSWER, Loss.REQUEST, Loss.REQUEST)
        for step, loss in zip(session[4:], losses, strict=False):
            tape.append(*step)
            proxy.loss = loss
            with pytest.raises(TryAgain):
                tape.commit()
        append_all(tape, session[4 + len(losses) :])
    with closing(open_tape(path)) as reader:
        assert reader.audit().digest == digest_of(session)


def test_reader_whose_connection_is_lost_says_try_again(proxy: PostgresProxy, path: Path) -> None:
    with closing(PostgresTape.create(path, proxy.server)) as tape:
        append_all(tape, make_session(orders=8))
    reader = open_tape(path)
    proxy.loss = Loss.REQUEST
    with pytest.raises(TryAgain, match="the connection to the tape is lost"):
        reader.audit()
    reader.close()


@pytest.mark.parametrize("steps", [1, 4])
def test_writer_that_was_away_while_another_went_on_calls_a_person(
    proxy: PostgresProxy, path: Path, steps: int
) -> None:
    session = make_session(orders=8)
    tape = PostgresTape.create(path, proxy.server)
    append_all(tape, session[:4], commit=True)
    tape.append(*session[4])
    proxy.loss = Loss.REQUEST
    with pytest.raises(TryAgain):
        tape.commit()
    with closing(reopen(path)) as other:
        with pytest.raises(TryAgain, match="another process writes this tape"):
            tape.commit()
        append_all(other, session[5 : 5 + steps], commit=True)
    for use in (tape.commit, tape.close):
        with pytest.raises(CallAPerson, match="another process has gone on with it"):
            use()
    with closing(open_tape(path)) as reader:
        assert reader.audit().digest == digest_of([*session[:4], *session[5 : 5 + steps]])


@pytest.mark.parametrize("with_snapshot", [True, False])
@pytest.mark.parametrize("gone", [1, 2])
def test_server_that_lost_what_it_had_confirmed_calls_a_person(
    postgres: PostgresServer, proxy: PostgresProxy, path: Path, gone: int,
    with_snapshot: bool,
) -> None:  # fmt: skip
    """What a crash of the server may do without POWER_LOSS: the tape must not get a hole."""
    session = make_session(orders=8)
    tape = PostgresTape.create(path, proxy.server)
    append_all(tape, session[:4], commit=True)
    number = read_pointer(path).tape
    query = "DELETE FROM onetape.block WHERE tape = %s AND number >= %s"
    ask(postgres.server, query, number, 4 - gone)
    proxy.loss = Loss.REQUEST
    if with_snapshot:
        with pytest.raises(TryAgain):
            tape.keep(4, 4, b"state")
    else:
        tape.append(*session[4])
        with pytest.raises(TryAgain):
            tape.commit()
    with pytest.raises(CallAPerson, match=f"the server has lost {gone} blocks"):
        tape.close()
    with closing(open_tape(path)) as reader:
        audit = reader.audit()
        assert (audit.damage, audit.blocks) == (None, 4 - gone)


def test_block_that_is_there_already_is_not_stored_again(
    postgres: PostgresServer, path: Path
) -> None:
    """Ctrl-C may cut off the answer of a commit without ending the connection."""
    session = make_session(orders=8)
    with closing(PostgresTape.create(path, postgres.server)) as tape:
        for step in session:
            tape.append(*step)
            tape._unstored = tape._cut_block()
            tape._store(tape._unstored)
        assert tape.digest == digest_of(session)
    with closing(open_tape(path)) as reader:
        audit = reader.audit()
        assert (audit.damage, audit.blocks, audit.digest) == (None, 10, tape.digest)


def test_other_row_in_the_place_of_a_block_or_a_snapshot_calls_a_person(
    postgres: PostgresServer, path: Path
) -> None:
    for table in ("block", "snapshot"):
        tape = PostgresTape.create(path.with_name(f"{table}.json"), postgres.server)
        append_all(tape, make_session(orders=8)[:3], commit=True)
        tape.keep(3, 3, b"state")
        ask(postgres.server, f"UPDATE onetape.{table} SET number = number + 1 WHERE tape = %s "
            f"AND number = (SELECT max(number) FROM onetape.{table} WHERE tape = %s)",
            tape._pointer.tape, tape._pointer.tape)  # fmt: skip
        if table == "block":
            tape.append(*make_session(orders=8)[3])
        with pytest.raises(CallAPerson, match="another process has gone on with it"):
            tape.keep(3, 3, b"state")
        tape._connection.close()


# A tape that goes on.


@pytest.mark.parametrize("stored", [1, 2, 7, 21])
def test_reopened_tape_ends_like_one_that_was_written_at_once(
    postgres: PostgresServer, path: Path, stored: int
) -> None:
    session = make_session(orders=20)
    whole = MemoryTape()
    with closing(PostgresTape.create(path, postgres.server)) as tape:
        append_all(tape, session[:stored])
        tape.keep(stored, 1, b"first")
    with closing(reopen(path)) as tape:
        assert tape.events_written == sum(len(step[3]) for step in session[:stored])
        append_all(tape, session[stored:])
        tape.keep(22, 2, b"second")
    append_all(whole, session)
    with closing(open_tape(path)) as reader:
        audit = reader.audit()
        assert (audit.damage, audit.complete, audit.digest) == (None, True, whole.digest)
        assert list(reader.records()) == list(MemoryTapeReader(whole).records())
        assert [(each.number, each.state) for each in reader.snapshots()] == [
            (0, b"first"), (1, b"second"),
        ]  # fmt: skip


def test_reopen_of_what_is_complete_or_has_grown_refuses(
    postgres: PostgresServer, path: Path
) -> None:
    session = make_session(orders=3)
    tape = PostgresTape.create(path, postgres.server)
    append_all(tape, session[:2], commit=True)
    with closing(open_tape(path)) as reader:
        audit = reader.audit()
    append_all(tape, session[2:])
    tape.close()
    with pytest.raises(TryAgain, match="has grown while it was audited"):
        PostgresTape.reopen(path, audit)
    with pytest.raises(DataError, match="it can't be continued: the tape is sound and complete"):
        reopen(path)


def test_remove_empty_removes_what_holds_no_event_and_nothing_else(
    postgres: PostgresServer, path: Path
) -> None:
    assert PostgresTape.remove_empty(path)
    with closing(PostgresTape.create(path, postgres.server)) as tape:
        tape.keep(0, 0, b"nothing yet")
    number = read_pointer(path).tape
    assert PostgresTape.remove_empty(path)
    assert not path.exists()
    assert ask(postgres.server, "SELECT * FROM onetape.tape WHERE number = %s", number) == []
    with closing(PostgresTape.create(path, postgres.server)) as tape:
        append_all(tape, make_session(orders=1)[:1])
    assert not PostgresTape.remove_empty(path)
    with closing(open_tape(path)) as reader:
        assert reader.audit().events == 1


# One writer at a time.


def test_tape_that_is_written_can_not_be_opened_for_writing_again(
    postgres: PostgresServer, path: Path
) -> None:
    session = make_session(orders=5)
    with closing(PostgresTape.create(path, postgres.server)) as tape:
        append_all(tape, session[:3], commit=True)
        for attempt in (lambda: reopen(path), lambda: PostgresTape.remove_empty(path)):
            with pytest.raises(TryAgain, match="another process writes this tape") as caught:
                attempt()
            assert "\n" not in str(caught.value)
        other = path.with_name("other.json")
        PostgresTape.create(other, postgres.server).close()  # its own lock
        append_all(tape, session[3:])
    with closing(open_tape(path)) as reader:
        assert reader.audit().complete
    for _ in range(2):
        PostgresTape(path, Durability.PROCESS_END).close()


def test_first_tapes_of_a_database_can_be_made_at_once(postgres: PostgresServer) -> None:
    ask(postgres.server, "CREATE DATABASE fresh")
    server = TapeServer(url=postgres.server.url.replace("/postgres?", "/fresh?"))
    together = threading.Barrier(8)

    def make() -> None:
        with connect(server) as connection:
            together.wait(10)
            make_tables(connection)

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(make) for _ in range(8)]:
            each.result()
    assert ask(server, "SELECT count(*) FROM onetape.snapshot") == [(0,)]


# Damage.


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ("UPDATE onetape.block SET payload = set_byte(payload, 9, 7) WHERE tape = %s",
         DamageKind.ALTERED),
        ("DELETE FROM onetape.block WHERE number = 1 AND tape = %s", DamageKind.MISSING),
        ("UPDATE onetape.block SET first_seq = 0 WHERE number = 1 AND tape = %s", DamageKind.INDEX),
        ("UPDATE onetape.snapshot SET rows = rows + 1 WHERE tape = %s", DamageKind.SNAPSHOT),
    ],
)  # fmt: skip
def test_audit_finds_what_somebody_changed_in_the_database(
    postgres: PostgresServer, path: Path, change: str, kind: DamageKind
) -> None:
    with closing(PostgresTape.create(path, postgres.server)) as tape:
        append_all(tape, make_session(orders=5), commit=True)
        tape.keep(7, 7, b"state")
    ask(postgres.server, change, read_pointer(path).tape)
    with closing(open_tape(path)) as reader:
        damage = reader.audit().damage
    assert damage is not None
    assert damage.kind is kind


def test_same_steps_have_the_same_digest_in_every_store(
    postgres: PostgresServer, path: Path
) -> None:
    session = make_session(orders=1200)
    with (
        closing(PostgresTape.create(path, postgres.server)) as remote,
        closing(SqliteTape.create(path.with_name("tape.db"))) as local,
    ):
        for tape in (remote, local):
            append_all(tape, session)
        assert {remote.digest, local.digest} == {digest_of(session)}
