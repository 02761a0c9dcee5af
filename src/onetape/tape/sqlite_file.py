"""The file of a SQLite tape: its tables, and what SQLite's errors mean to the caller."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from onetape.domain.errors import DataError, TapeDamaged, TryAgain

SCHEMA = """
CREATE TABLE meta (format TEXT NOT NULL, version INTEGER NOT NULL);
CREATE TABLE block (
    number INTEGER PRIMARY KEY,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    ts_first INTEGER NOT NULL,
    ts_last INTEGER NOT NULL,
    records INTEGER NOT NULL,
    lengths BLOB NOT NULL,
    digests BLOB NOT NULL,
    payload BLOB NOT NULL
);
"""

SNAPSHOT_TABLE = """
CREATE TABLE IF NOT EXISTS snapshot (
    number INTEGER PRIMARY KEY,
    blocks INTEGER NOT NULL,
    events INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    chain BLOB NOT NULL,
    state BLOB NOT NULL,
    digest BLOB NOT NULL
);
"""


class SqliteWords(NamedTuple):
    """What a file is called in errors: its name, what a full disk means, what to do about it."""

    name: str
    full: str
    wrong: str
    damaged: str


TAPE_WORDS = SqliteWords(
    "tape", "the tape ends with its last commit", "give the tape.db of a run",
    "restore it from a copy",
)  # fmt: skip


@contextmanager
def readable_errors(path: Path, words: SqliteWords = TAPE_WORDS) -> Generator[None, None, None]:
    """Turn SQLite's errors about the file at `path` into ours.

    Raises:
        TryAgain: The disk is full, or another program holds a lock.
        DataError: Anything else: no such file, damaged, not allowed.
    """
    try:
        yield
    except sqlite3.Error as error:
        # The low byte is the primary code; the rest says where in SQLite it arose.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        raise _to_ours(code, path, words, error) from error
    except UnicodeDecodeError as error:
        # Names in a damaged file, which sqlite3 puts into its own message.
        raise _to_ours(sqlite3.SQLITE_CORRUPT, path, words, error) from error


def _to_ours(code: int, path: Path, words: SqliteWords, error: Exception) -> DataError | TryAgain:
    where = str(path)
    match code:
        case sqlite3.SQLITE_FULL:
            return TryAgain(f"the disk is full; {words.full}",
                            where=where, remedy="free space and run again")  # fmt: skip
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return TryAgain(f"the {words.name} is locked by another program",
                            where=where, remedy="close that program")  # fmt: skip
        case sqlite3.SQLITE_NOTADB:
            return DataError(f"not a {words.name} (no SQLite file)",
                             where=where, remedy=words.wrong)  # fmt: skip
        case sqlite3.SQLITE_CORRUPT:
            damaged = TapeDamaged if words is TAPE_WORDS else DataError
            return damaged(f"the {words.name} is damaged or cut short",
                           where=where, remedy=words.damaged)  # fmt: skip
        case _:
            return DataError(f"the {words.name} can't be used: {error}", where=where,
                             remedy="check the folder's permissions and the disk")  # fmt: skip
