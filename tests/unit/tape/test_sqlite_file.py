"""SQLite's errors in our words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from onetape.domain.errors import OnetapeError
from onetape.tape.sqlite_file import readable_errors


@pytest.mark.parametrize(
    ("code", "message", "exit_code"),
    [
        (sqlite3.SQLITE_BUSY_RECOVERY, "locked by another program", 3),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged", 4),
        (sqlite3.SQLITE_IOERR_WRITE, "check the folder's permissions and the disk", 2),
    ],
)
def test_extended_codes_of_sqlite_read_like_their_primary_ones(
    code: int, message: str, exit_code: int
) -> None:
    error = sqlite3.OperationalError("something")
    error.sqlite_errorcode = code
    with pytest.raises(OnetapeError, match=message) as told, readable_errors(Path("x")):
        raise error
    assert told.value.exit_code == exit_code
