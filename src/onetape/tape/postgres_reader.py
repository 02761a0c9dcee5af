"""Reads a tape that lies in a PostgreSQL database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.numbers import INT64_MAX
from onetape.tape.block import FORMAT, FORMAT_VERSION, Block
from onetape.tape.pointer import read_pointer
from onetape.tape.postgres_server import connect, readable_errors
from onetape.tape.reader import BlockReader
from onetape.tape.snapshot import Snapshot

R = TypeVar("R", Block, Snapshot)

_FETCH_ROWS = 32
"""Rows of one query: a live session's blocks are small, and each answer comes over a network."""


class PostgresTapeReader(BlockReader):
    """Reads the tape that the pointer at `path` names, also while its session still writes it.

    Raises:
        DataError: There is no such pointer or no such tape, or it is of an unknown version.
        ConfigError: The extra is not installed, or the server refuses the login.
        TryAgain: The server can't be reached; from any method: the connection is lost.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        pointer = read_pointer(path)
        self._url = pointer.url
        self._number = pointer.tape
        self._connection = connect(pointer.server)
        try:
            with readable_errors(self._url):
                row = self._connection.execute(
                    "SELECT name, format, version FROM onetape.tape WHERE number = %s",
                    (pointer.tape,),
                ).fetchone()
            check_tape(row, pointer.name, path)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def blocks(self, first_seq: int = 0) -> Iterator[Block]:
        """The blocks, in order."""
        number = -1
        while found := self._fetch(
            Block, "block", "number > %s AND last_seq >= %s ORDER BY number", (number, first_seq),
            _FETCH_ROWS,
        ):  # fmt: skip
            number = found[-1].number
            yield from found

    def _last_block(self) -> Block | None:
        found = self._fetch(Block, "block", "number >= %s ORDER BY number DESC", (0,), 1)
        return found[0] if found else None

    def snapshots(self, first_rows: int = 0) -> Iterator[Snapshot]:
        """The snapshots, in order."""
        number = -1
        while found := self._fetch(
            Snapshot, "snapshot", "number > %s AND rows >= %s ORDER BY number",
            (number, first_rows), 1,
        ):  # fmt: skip
            number = found[-1].number
            yield from found

    def newest_snapshot(self, *, events: int = INT64_MAX, ts: int = INT64_MAX) -> Snapshot | None:
        """The newest snapshot that is no later than these."""
        found = self._fetch(
            Snapshot, "snapshot", "events <= %s AND ts <= %s ORDER BY number DESC", (events, ts), 1
        )
        return found[0] if found else None

    def _fetch(
        self, kind: type[R], table: str, which: str, values: Sequence[int], limit: int
    ) -> list[R]:
        columns = ", ".join(kind.__struct_fields__)
        query = f"SELECT {columns} FROM onetape.{table} WHERE tape = %s AND {which} LIMIT {limit}"
        with readable_errors(self._url):
            cursor = self._connection.execute(query.encode(), (self._number, *values), binary=True)
            rows = cursor.fetchall()
        try:
            return [msgspec.convert(row, kind) for row in rows]
        except msgspec.ValidationError as error:
            raise DataError(f"a {table}'s row is damaged: {error}", where=str(self._path),
                            remedy="see the tape's audit") from error  # fmt: skip


def check_tape(row: tuple[object, ...] | None, name: str, path: Path) -> None:
    """Whether the row of a tape is that of the tape which the pointer at `path` calls `name`.

    Raises:
        DataError: It is not, or of a version that this onetape does not read.
    """
    match row:
        case (found, format_name, int(version)) if (found, format_name) == (name, FORMAT):
            if version != FORMAT_VERSION:
                raise DataError(f"tape version {version}, and this onetape reads {FORMAT_VERSION}",
                                where=str(path),
                                remedy="read it with the onetape that wrote it")  # fmt: skip
        case _:
            there = "no such tape" if row is None else f"another tape there: {row[0]}"
            raise DataError(f"the database has {there}", where=str(path),
                            remedy="point at the database that the run was written to")  # fmt: skip
