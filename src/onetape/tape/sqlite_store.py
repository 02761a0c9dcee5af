"""Writes the tape of one session into one SQLite file."""

from __future__ import annotations

import sqlite3
from enum import Enum
from pathlib import Path

import msgspec

from onetape.domain.errors import DataError, OnetapeError
from onetape.tape.block import FORMAT, FORMAT_VERSION, Block
from onetape.tape.sqlite_file import SCHEMA, readable_errors
from onetape.tape.store import TapeStore

_PAGE_BYTES = 16_384
"""Blocks are large; SQLite's default of 4 KiB costs a third more per event (measured)."""


class Durability(Enum):
    """What a commit survives.

    | value       | SQLite `synchronous` | survives                                             |
    | ----------- | -------------------- | ---------------------------------------------------- |
    | PROCESS_END | NORMAL               | a crash or kill of the process; a power cut may take |
    |             |                      | the last blocks, and the tape is sound up to them    |
    | POWER_LOSS  | FULL                 | a power cut too: every commit waits for the disk     |
    """

    PROCESS_END = "NORMAL"
    POWER_LOSS = "FULL"


class SqliteTape(TapeStore):
    """A tape in a SQLite file; each block is one row and one transaction.

    The file is in WAL mode while it is written, so it can be read meanwhile. `close` makes it a
    plain file without companions, the same bytes for the same events and commits.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__()
        self.path = path
        self._connection = connection

    @classmethod
    def create(cls, path: Path, durability: Durability = Durability.PROCESS_END) -> SqliteTape:
        """A new, empty tape at `path`.

        Use `POWER_LOSS` where commands leave for a real venue; a backtest can be run again.

        Raises:
            DataError: The file exists, or can't be made.
            TryAgain: The disk is full.
        """
        try:
            path.open("xb").close()
        except FileExistsError:
            raise DataError(
                "a tape is never overwritten, and this file exists",
                where=str(path),
                remedy="remove it or choose another path",
            ) from None
        except OSError as error:
            raise DataError(f"the tape can't be made: {error.strerror}", where=str(path)) from error
        try:
            with readable_errors(path):
                return cls(path, _new_file(path, durability))
        except OnetapeError:
            path.unlink()
            raise

    def close(self) -> None:
        """Commit and close the file; raises like `commit`, but closes all the same.

        Closing twice does no harm.
        """
        try:
            self.commit()
        finally:
            self._leave_wal()
            self._connection.close()

    def _store(self, block: Block) -> None:
        with readable_errors(self.path):
            self._connection.execute(
                "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                msgspec.structs.astuple(block),
            )

    def _leave_wal(self) -> None:
        """Fold the WAL into the file: a finished tape is one file, readable from read-only media.

        A reader that has the tape open, or a full disk, prevents that; then the WAL stays beside
        the file and readers use both. A tape that is closed already is left as it is.
        """
        try:
            self._connection.execute("PRAGMA busy_timeout = 0")
            self._connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error:
            return


def _new_file(path: Path, durability: Durability) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {durability.value}")
    connection.executescript(f"BEGIN; {SCHEMA}")
    connection.execute("INSERT INTO meta VALUES (?, ?)", (FORMAT, FORMAT_VERSION))
    connection.execute("COMMIT")
    return connection
