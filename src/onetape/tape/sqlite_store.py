"""Writes the tape of one session into one SQLite file."""

from __future__ import annotations

import fcntl
import sqlite3
from enum import Enum
from pathlib import Path

import msgspec

from onetape.domain.errors import DataError, OnetapeError, TryAgain
from onetape.tape.audit import Audit
from onetape.tape.block import FORMAT, FORMAT_VERSION, Block
from onetape.tape.snapshot import Snapshot
from onetape.tape.sqlite_file import SCHEMA, SNAPSHOT_TABLE, readable_errors
from onetape.tape.store import TapeStore

_READ_VERSION = 19
"""Where the header of a SQLite file says whether it is in WAL mode (2) or not (1)."""
_HEADER_BYTES = _READ_VERSION + 1

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
    plain file without companions, the same bytes for the same events and commits. One process at a
    time may write; a lock that ends with the process says which.

    Raises:
        TryAgain: Another process writes this tape.
    """

    def __init__(self, path: Path, durability: Durability) -> None:
        super().__init__()
        self.path = path
        self._lock = path.open("rb")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with readable_errors(path):
                self._connection = _open_file(path, durability)
        except BlockingIOError as error:
            self._lock.close()
            raise TryAgain("another process writes this tape", where=str(path),
                           remedy="wait for its end, or stop it") from error  # fmt: skip
        except OnetapeError:
            self._lock.close()
            raise

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
            tape = cls(path, durability)
            with readable_errors(path):
                tape._connection.executescript(f"BEGIN; {SCHEMA} {SNAPSHOT_TABLE}")
                tape._connection.execute("INSERT INTO meta VALUES (?, ?)", (FORMAT, FORMAT_VERSION))
                tape._connection.execute("COMMIT")
        except OnetapeError:
            path.unlink()
            raise
        return tape

    @classmethod
    def remove_empty(cls, path: Path) -> bool:
        """Remove a tape whose session was killed before its first event; whether none is left.

        Raises:
            DataError: The file is no tape, or is damaged.
            TryAgain: Another process writes it.
        """
        if not path.exists():
            return True
        cls._recover(path)
        with readable_errors(path):
            reader = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            try:
                tables = reader.execute("SELECT name FROM sqlite_master").fetchall()
                rows = "SELECT 1 FROM block LIMIT 1"
                if tables and reader.execute(rows).fetchone() is not None:
                    return False
            finally:
                reader.close()
        cls(path, Durability.PROCESS_END).close()  # nobody else writes it
        path.unlink()
        return True

    @classmethod
    def _recover(cls, path: Path) -> None:
        """Make one file again of a tape whose process was killed.

        Its header may still say that there is a WAL when that is gone already, and then whoever
        reads the file makes a new one.
        """
        with path.open("rb") as file:
            header = file.read(_HEADER_BYTES)
        is_wal = header[_READ_VERSION:] == b"\x02"
        ends = ("wal", "journal")
        if is_wal or any(path.with_name(f"{path.name}-{end}").exists() for end in ends):
            cls(path, Durability.PROCESS_END).close()

    @classmethod
    def reopen(
        cls, path: Path, audit: Audit, durability: Durability = Durability.PROCESS_END
    ) -> SqliteTape:
        """The tape at `path`, to be continued behind its last block.

        Args:
            path: The tape's file.
            audit: What a reader's audit has just found: the tape is sound.
            durability: What a commit survives.

        Raises:
            DataError: The tape is damaged, complete, or can't be written.
            TryAgain: The tape is locked.
        """
        if audit.damage is not None or audit.complete:
            raise DataError(f"it can't be continued: the tape is {audit}", where=str(path),
                            remedy="continue a tape that is sound and has no end")  # fmt: skip
        tape = cls(path, durability)
        with readable_errors(path):
            tape._connection.executescript(f"BEGIN; {SNAPSHOT_TABLE} COMMIT;")
            counted = tape._connection.execute("SELECT COUNT(*) FROM snapshot").fetchone()
        tape._continue_behind(audit, *counted)
        return tape

    def close(self) -> None:
        """Commit and close the file; raises like `commit`, but closes all the same.

        Closing twice does no harm.
        """
        try:
            self.commit()
        finally:
            self._leave_wal()
            self._connection.close()
            self._lock.close()

    def _store(self, block: Block) -> None:
        with readable_errors(self.path):
            self._connection.execute(
                "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                msgspec.structs.astuple(block),
            )

    def _store_snapshot(self, snapshot: Snapshot) -> None:
        with readable_errors(self.path):
            self._connection.execute(
                "INSERT INTO snapshot VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                msgspec.structs.astuple(snapshot),
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


def _open_file(path: Path, durability: Durability) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")  # of a new file only
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {durability.value}")
    return connection
