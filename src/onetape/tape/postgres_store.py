"""Writes tapes into a PostgreSQL database that many sessions share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onetape.domain.errors import CallAPerson, DataError, TryAgain
from onetape.tape.audit import Audit
from onetape.tape.block import FORMAT, FORMAT_VERSION, Block
from onetape.tape.pointer import TapePointer, TapeServer, read_pointer, write_pointer
from onetape.tape.postgres_reader import check_tape
from onetape.tape.postgres_server import (
    LOCK_CLASS,
    LOCK_WAIT_MS,
    connect,
    load_client,
    make_tables,
    readable_errors,
)
from onetape.tape.snapshot import Snapshot
from onetape.tape.sqlite_store import Durability
from onetape.tape.store import TapeStore

if TYPE_CHECKING:
    from onetape.tape.postgres_server import Connection

_SYNCHRONOUS = {Durability.PROCESS_END: "off", Durability.POWER_LOSS: "on"}

_INSERT_BLOCK = (
    "INSERT INTO onetape.block (tape, number, first_seq, last_seq, ts_first, ts_last, records, "
    "lengths, digests, payload) VALUES (%s, %s, %s, %s, %s, %s, %s, %b, %b, %b)"
)
_INSERT_SNAPSHOT = (
    "INSERT INTO onetape.snapshot (tape, number, blocks, events, rows, ts, chain, state, digest) "
    "VALUES (%s, %s, %s, %s, %s, %s, %b, %b, %b)"
)
_COUNTS = (
    "SELECT (SELECT coalesce(max(number) + 1, 0) FROM onetape.block WHERE tape = %(tape)s), "
    "(SELECT coalesce(max(number) + 1, 0) FROM onetape.snapshot WHERE tape = %(tape)s)"
)


class PostgresTape(TapeStore):
    """A tape in a PostgreSQL database; each block is one row and one transaction.

    A pointer file says which (`onetape.tape.pointer`). One process at a time may write a tape; an
    advisory lock that ends with the connection says which. When the connection is lost, `commit`
    raises TryAgain; the next one connects anew, takes the lock again, and looks whether the block
    whose answer was lost is there.

    Raises:
        DataError: The database has no such tape, or it can't give what `durability` asks for.
        ConfigError: The extra is not installed, or the server refuses the login.
        TryAgain: Another process writes this tape, or the server can't be reached.
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        super().__init__()
        self.path = path
        self._pointer = read_pointer(path)
        self._durability = durability
        self._connection = self._open()

    @classmethod
    def create(
        cls, path: Path, server: TapeServer, durability: Durability = Durability.PROCESS_END
    ) -> PostgresTape:
        """A new, empty tape on `server`, and its pointer at `path`; its name is that of the folder.

        The schema is made where the database has none.

        Raises:
            DataError: The pointer exists, or the database refuses.
            ConfigError: The extra is not installed, or the server refuses the login.
            TryAgain: The server can't be reached.
        """
        if path.exists():
            raise DataError("a tape is never overwritten, and this file exists", where=str(path),
                            remedy="remove it or choose another path")  # fmt: skip
        name = path.absolute().parent.name
        connection = connect(server)
        try:
            with readable_errors(server.url):
                make_tables(connection)
                ((number,),) = connection.execute(
                    "INSERT INTO onetape.tape (name, format, version) VALUES (%s, %s, %s) "
                    "RETURNING number",
                    (name, FORMAT, FORMAT_VERSION),
                )
        finally:
            connection.close()
        # Last: a pointer never leads to a tape that is not there.
        write_pointer(path, TapePointer(url=server.url, password=server.password,
                                        tape=number, name=name))  # fmt: skip
        return cls(path, durability)

    @classmethod
    def remove_empty(cls, path: Path) -> bool:
        """Remove a tape whose session was killed before its first event; whether none is left.

        Raises:
            DataError: The database has no such tape.
            TryAgain: Another process writes it, or the server can't be reached.
        """
        if not path.exists():
            return True
        tape = cls(path, Durability.PROCESS_END)
        try:
            number = tape._pointer.tape
            with readable_errors(tape._pointer.url), tape._connection.transaction():
                if tape._count(tape._connection)[0]:
                    return False
                tape._connection.execute("DELETE FROM onetape.snapshot WHERE tape = %s", (number,))
                tape._connection.execute("DELETE FROM onetape.tape WHERE number = %s", (number,))
        finally:
            tape._connection.close()
        path.unlink()
        return True

    @classmethod
    def reopen(
        cls, path: Path, audit: Audit, durability: Durability = Durability.PROCESS_END
    ) -> PostgresTape:
        """The tape of the pointer at `path`, to be continued behind its last block.

        Args:
            path: The pointer.
            audit: What a reader's audit has just found: the tape is sound.
            durability: What a commit survives.

        Raises:
            DataError: The tape is damaged or complete.
            TryAgain: Another process writes it, or has since the audit.
        """
        if audit.damage is not None or audit.complete:
            raise DataError(f"it can't be continued: the tape is {audit}", where=str(path),
                            remedy="continue a tape that is sound and has no end")  # fmt: skip
        tape = cls(path, durability)
        with readable_errors(tape._pointer.url):
            blocks, snapshots = tape._count(tape._connection)
        if blocks != audit.blocks:
            tape._connection.close()
            raise TryAgain("the tape has grown while it was audited", where=str(path),
                           remedy="wait until the process that writes it has ended")  # fmt: skip
        tape._continue_behind(audit, snapshots)
        return tape

    def fill(self, blocks: Iterable[Block], snapshots: Iterable[Snapshot]) -> None:
        """Store those of another tape, all of them or none."""
        with readable_errors(self._pointer.url), self._connection.transaction():
            super().fill(blocks, snapshots)

    def close(self) -> None:
        """Commit and close the connection; raises like `commit`, but closes all the same.

        Closing twice does no harm.
        """
        try:
            self.commit()
        finally:
            self._connection.close()

    def _store(self, block: Block) -> None:
        self._insert(block, _INSERT_BLOCK)

    def _store_snapshot(self, snapshot: Snapshot) -> None:
        self._insert(snapshot, _INSERT_SNAPSHOT)

    def _insert(self, row: Block | Snapshot, statement: str) -> None:
        if self._connection.closed and self._resume(row):
            return
        psycopg = load_client(self._pointer.url)
        values = (self._pointer.tape, *msgspec.structs.astuple(row))
        with readable_errors(self._pointer.url):
            try:
                self._connection.execute(statement.encode(), values)
            except psycopg.errors.UniqueViolation:
                self._holds(self._connection, row)  # raises, unless Ctrl-C cut its answer off

    def _resume(self, row: Block | Snapshot) -> bool:
        """Connect anew, `row` in doubt; whether the server has it.

        Raises:
            CallAPerson: The tape is not as this process left it.
            TryAgain: The server can't be reached, or another process writes the tape.
        """
        connection = self._open()
        try:
            with readable_errors(self._pointer.url):
                is_stored = self._holds(connection, row)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return is_stored

    def _holds(self, connection: Connection, row: Block | Snapshot) -> bool:
        """Whether the tape ends with `row`, or else just before it."""
        blocks, snapshots = self._count(connection)
        if isinstance(row, Block):
            before, found = row.number, blocks
            table, column, mine = "block", "digests", row.digests
        else:
            before, found = row.number, snapshots
            table, column, mine = "snapshot", "digest", row.digest
            if blocks < row.blocks:
                raise self._lost(row.blocks - blocks, "block")
        if found == before:
            return False
        if found < before:
            raise self._lost(before - found, table)
        query = f"SELECT {column} FROM onetape.{table} WHERE tape = %s AND number = %s"
        stored = connection.execute(query.encode(), (self._pointer.tape, before)).fetchone()
        if found > before + 1 or stored != (mine,):
            raise self._departed("another process has gone on with it")
        return True

    def _lost(self, count: int, table: str) -> CallAPerson:
        return self._departed(f"the server has lost {count} {table}s that it had confirmed")

    def _departed(self, why: str) -> CallAPerson:
        return CallAPerson(
            f"the tape is not as this process left it: {why}", where=str(self.path),
            remedy="end this process; the session goes on from its tape with --resume",
        )  # fmt: skip

    def _count(self, connection: Connection) -> tuple[int, int]:
        """How many blocks and snapshots the tape has."""
        ((blocks, snapshots),) = connection.execute(_COUNTS, {"tape": self._pointer.tape})
        return blocks, snapshots

    def _open(self) -> Connection:
        """A connection that holds the lock of the tape."""
        psycopg = load_client(self._pointer.url)
        connection = connect(self._pointer.server)
        try:
            with readable_errors(self._pointer.url):
                row = connection.execute(
                    "SELECT name, format, version FROM onetape.tape WHERE number = %s",
                    (self._pointer.tape,),
                ).fetchone()
                check_tape(row, self._pointer.name, self.path)
                connection.execute(f"SET lock_timeout = {LOCK_WAIT_MS}".encode())
                try:
                    connection.execute(
                        "SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, self._pointer.tape)
                    )
                except psycopg.errors.LockNotAvailable as error:
                    raise TryAgain("another process writes this tape", where=str(self.path),
                                   remedy="wait for its end, or stop it") from error  # fmt: skip
                self._set_durability(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_durability(self, connection: Connection) -> None:
        synchronous = _SYNCHRONOUS[self._durability]
        connection.execute(f"SET synchronous_commit = {synchronous}".encode())
        if self._durability is Durability.POWER_LOSS and connection.execute(
            "SHOW fsync"
        ).fetchone() != ("on",):
            raise DataError("the server does not wait for its disk, so a power cut may take what "
                            "it confirmed", where=self._pointer.url,
                            remedy="set fsync = on in its configuration")  # fmt: skip
