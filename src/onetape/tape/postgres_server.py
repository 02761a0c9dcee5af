"""The database of PostgreSQL tapes: its tables, connections, and what its errors mean."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onetape.domain.errors import ConfigError, DataError, TryAgain
from onetape.tape.pointer import TapeServer

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

LOCK_CLASS = 0x6F746170
"""First half of the advisory locks that say who writes a tape; its number is the second."""

LOCK_WAIT_MS = 1000
"""The server may take a moment to see that a writer is gone; a live one lasts longer."""

SCHEMA = """
CREATE SCHEMA IF NOT EXISTS onetape;
CREATE TABLE IF NOT EXISTS onetape.tape (
    number INTEGER GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    version INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS onetape.block (
    tape INTEGER NOT NULL REFERENCES onetape.tape,
    number BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    ts_first BIGINT NOT NULL,
    ts_last BIGINT NOT NULL,
    records BIGINT NOT NULL,
    lengths BYTEA NOT NULL,
    digests BYTEA NOT NULL,
    payload BYTEA NOT NULL,
    PRIMARY KEY (tape, number)
);
CREATE TABLE IF NOT EXISTS onetape.snapshot (
    tape INTEGER NOT NULL REFERENCES onetape.tape,
    number BIGINT NOT NULL,
    blocks BIGINT NOT NULL,
    events BIGINT NOT NULL,
    rows BIGINT NOT NULL,
    ts BIGINT NOT NULL,
    chain BYTEA NOT NULL,
    state BYTEA NOT NULL,
    digest BYTEA NOT NULL,
    PRIMARY KEY (tape, number)
);
"""

_WATCH = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "user_timeout": 25_000,
}
"""How soon either end sees that the other one's machine is gone: 25 s (the first three are for a
connection at rest, the last, in ms, for one with bytes under way), not the usual two hours."""

_REFUSED_LOGIN = ("authentication failed", "does not exist", "no pg_hba.conf entry",
                  "no password supplied", "is not permitted to log in")  # fmt: skip


def connect(server: TapeServer) -> Connection:
    """A connection on which each statement is a transaction.

    Raises:
        ConfigError: The extra is not installed, there is no password where its reference says, or
            the server refuses the login.
        TryAgain: The server can't be reached, or takes nobody now.
    """
    psycopg = load_client(server.url)
    server.check()
    password = server.resolve_password()
    secret = {} if password is None else {"password": password}
    settings: dict[str, Any] = {"connect_timeout": 10, "application_name": "onetape", **secret}
    for name, value in _WATCH.items():
        settings["tcp_user_timeout" if name == "user_timeout" else name] = value
    try:
        asked = psycopg.conninfo.conninfo_to_dict(server.url)
        connection = psycopg.connect(server.url, autocommit=True, **settings | asked | secret)
        with readable_errors(server.url):
            for name, value in _WATCH.items():
                connection.execute(f"SET tcp_{name} = {value}".encode())
    except psycopg.OperationalError as error:
        said = _said(error)
        if any(each in said for each in _REFUSED_LOGIN):
            raise ConfigError(f"the server refuses the login: {said}", where=server.url,
                              remedy="correct the address or its password") from error  # fmt: skip
        raise TryAgain(f"the server can't be reached: {said}", where=server.url,
                       remedy="start it, or correct the address") from error  # fmt: skip
    except psycopg.ProgrammingError as error:
        raise ConfigError(f"no address of a server: {_said(error)}", where=server.url) from error
    return connection


def load_client(where: str) -> Any:
    """The package psycopg.

    Raises:
        ConfigError: It is not installed.
    """
    try:
        import psycopg
    except ImportError:  # also psycopg without a library of PostgreSQL
        raise ConfigError("tapes on PostgreSQL need an extra", where=where,
                          remedy="pip install 'onetape[postgres]'") from None  # fmt: skip
    return psycopg


def make_tables(connection: Connection) -> None:
    """Make the schema where it is not there; needs the right to only then."""
    found = connection.execute("SELECT to_regclass('onetape.snapshot') IS NOT NULL").fetchone()
    if found == (True,):
        return
    with connection.transaction():
        # IF NOT EXISTS fails when two make the same thing at the same time.
        connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", (LOCK_CLASS,))
        connection.execute(SCHEMA)


@contextmanager
def readable_errors(where: str) -> Generator[None]:
    """Turn psycopg's errors into ours.

    Raises:
        TryAgain: The connection is lost, the server's disk is full, or it waits for somebody.
        DataError: Anything else: no tables, not allowed.
    """
    psycopg = load_client(where)
    try:
        yield
    except psycopg.Error as error:
        raise _to_ours(error, where) from error


def _to_ours(error: Any, where: str) -> DataError | TryAgain:
    state = error.sqlstate or "08"
    match state[:2]:
        case "08" | "57":  # also shut down by its operator
            return TryAgain(f"the connection to the tape is lost: {_said(error)}", where=where,
                            remedy="wait for the server; nothing committed is lost")  # fmt: skip
        case "53":
            return TryAgain(f"the server has no room: {_said(error)}", where=where,
                            remedy="free space or connections and try again")  # fmt: skip
        case "55" | "40":
            return TryAgain(f"the tape is locked: {_said(error)}", where=where,
                            remedy="wait for who holds it")  # fmt: skip
        case "42" if state == "42501":
            return DataError(f"not allowed: {_said(error)}", where=where,
                             remedy="ask who owns the database for the right")  # fmt: skip
        case "3F" | "42":
            return DataError(f"a database without tapes: {_said(error)}", where=where,
                             remedy="give the one that the run was written to")  # fmt: skip
        case _:
            return DataError(f"the tape can't be used: {_said(error)}", where=where,
                             remedy="look at the server's log")  # fmt: skip


def _said(error: Exception) -> str:
    """What PostgreSQL said, in one line."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    lines = [each.strip() for each in str(primary or error).splitlines() if each.strip()]
    return lines[-1] if lines else type(error).__name__
