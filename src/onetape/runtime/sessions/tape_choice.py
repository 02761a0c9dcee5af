"""Which store a session writes: a SQLite file of its own, or a database for many."""

from __future__ import annotations

from pathlib import Path

from onetape.runtime.config import OutputConfig
from onetape.tape.audit import Audit
from onetape.tape.opening import FILE_NAME, is_pointer
from onetape.tape.pointer import POINTER_NAME, TapeServer
from onetape.tape.sqlite_store import Durability, SqliteTape
from onetape.tape.store import TapeStore


def create_tape(
    run_dir: Path, output: OutputConfig, durability: Durability = Durability.PROCESS_END
) -> TapeStore:
    """A new, empty tape for the run of `run_dir`, where its configuration says.

    Raises:
        DataError: There is one already, or it can't be made.
        ConfigError: It lies on a server, and the extra is missing or the login is refused.
        TryAgain: The disk is full, or the server can't be reached.
    """
    if output.tape is None:
        return SqliteTape.create(run_dir / FILE_NAME, durability)
    from onetape.tape.postgres_store import PostgresTape

    server = TapeServer(url=output.tape, password=output.tape_password or "")
    return PostgresTape.create(run_dir / POINTER_NAME, server, durability)


def reopen_tape(
    path: Path, audit: Audit, durability: Durability = Durability.PROCESS_END
) -> TapeStore:
    """The tape at `path`, to be continued behind its last block; `audit` has found it sound.

    Raises:
        DataError: The tape is damaged, complete, or can't be written.
        TryAgain: Another process writes it, or its server can't be reached.
    """
    if not is_pointer(path):
        return SqliteTape.reopen(path, audit, durability)
    from onetape.tape.postgres_store import PostgresTape

    return PostgresTape.reopen(path, audit, durability)


def remove_empty_tape(path: Path) -> bool:
    """Remove a tape whose session was killed before its first event; whether none is left.

    Raises:
        DataError: It is no tape, or is damaged.
        TryAgain: Another process writes it, or its server can't be reached.
    """
    if not is_pointer(path):
        return SqliteTape.remove_empty(path)
    from onetape.tape.postgres_store import PostgresTape

    return PostgresTape.remove_empty(path)
