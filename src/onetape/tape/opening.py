"""Where the tape of a run is, and the reader that fits it."""

from __future__ import annotations

from pathlib import Path

from onetape.tape.pointer import POINTER_NAME
from onetape.tape.reader import BlockReader, SqliteTapeReader

FILE_NAME = "tape.db"


def tape_path(run_dir: Path) -> Path:
    """The tape of a run: its pointer where it lies on a server, else its file."""
    pointer = run_dir / POINTER_NAME
    return pointer if pointer.exists() else run_dir / FILE_NAME


def open_tape(path: Path) -> BlockReader:
    """A reader of the tape at `path`: a SQLite file, or the pointer of one on a server.

    Raises:
        DataError: There is no tape, it is damaged, or is of an unknown version.
        ConfigError: It lies on a server, and the extra is missing or the login is refused.
        TryAgain: The tape is locked, or its server can't be reached.
    """
    if not is_pointer(path):
        return SqliteTapeReader(path)
    from onetape.tape.postgres_reader import PostgresTapeReader

    return PostgresTapeReader(path)


def is_pointer(path: Path) -> bool:
    """Whether `path` is that of a pointer, not of a tape's file."""
    return path.suffix == ".json"
