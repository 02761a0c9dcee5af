"""SQLite's errors in our words."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from onetape.domain.errors import OnetapeError
from onetape.tape.sqlite_file import readable_errors


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (sqlite3.SQLITE_BUSY_RECOVERY, "locked by another program"),
        (sqlite3.SQLITE_CORRUPT_INDEX, "damaged"),
        (sqlite3.SQLITE_IOERR_WRITE, "check the folder's permissions and the disk"),
    ],
)
def test_extended_codes_of_sqlite_read_like_their_primary_ones(code: int, message: str) -> None:
    error = sqlite3.OperationalError("something")
    error.sqlite_errorcode = code
    with pytest.raises(OnetapeError, match=message), readable_errors(Path("x")):
        raise error
