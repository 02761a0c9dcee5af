"""Copies a tape between stores: the same blocks and snapshots, the same digest."""

from __future__ import annotations

from contextlib import closing
from itertools import islice, takewhile
from pathlib import Path

from onetape.domain.errors import DataError, OnetapeError
from onetape.tape.audit import Audit
from onetape.tape.opening import open_tape
from onetape.tape.pointer import TapeServer
from onetape.tape.sqlite_store import Durability, SqliteTape
from onetape.tape.store import TapeStore


def copy_tape(source: Path, target: Path, server: TapeServer | None = None) -> Audit:
    """Copy a sound tape, as far as it is written now, and return the audit of the copy.

    Args:
        source: A tape's file or its pointer.
        target: The file to make; with `server` it is the pointer (`.json`) to the copy there.
        server: The database to copy to; None: a SQLite file.

    Raises:
        DataError: The tape is damaged, or there is something at `target`, which stays as it is.
        ConfigError: The extra is missing, or the server refuses the login.
        TryAgain: There is no room, or a server can't be reached; nothing is left then.
    """
    if target.exists():
        raise DataError("a tape is never overwritten, and this file exists", where=str(target),
                        remedy="remove it or choose another path")  # fmt: skip
    with closing(open_tape(source)) as reader:
        audit = reader.audit()
        if audit.damage is not None:
            raise DataError(f"not copied: the tape is {audit}", where=str(source),
                            remedy="restore it from a copy")  # fmt: skip
        partial = target.with_name(f".partial-{target.name}")
        _remove(partial, server)  # of a copy that was killed
        try:
            with closing(_create(partial, server)) as store:
                store.fill(
                    islice(reader.blocks(), audit.blocks),
                    takewhile(lambda each: each.blocks <= audit.blocks, reader.snapshots()),
                )
            with closing(open_tape(partial)) as copy:
                copied = copy.audit()
            if copied != audit:
                raise DataError(f"the copy is not the tape: it is {copied}", where=str(target),
                                remedy="look at the disk of the copy")  # fmt: skip
        except OnetapeError:
            _remove(partial, server)
            raise
        partial.rename(target)
    return audit


def _create(path: Path, server: TapeServer | None) -> TapeStore:
    if server is None:
        return SqliteTape.create(path, Durability.POWER_LOSS)
    from onetape.tape.postgres_store import PostgresTape

    return PostgresTape.create(path, server, Durability.POWER_LOSS)


def _remove(partial: Path, server: TapeServer | None) -> None:
    """Remove a copy that was not finished; one on a server is a transaction, and holds nothing."""
    if server is not None:
        from onetape.tape.postgres_store import PostgresTape

        PostgresTape.remove_empty(partial)
    for end in ("", "-wal", "-shm", "-journal"):
        partial.with_name(partial.name + end).unlink(missing_ok=True)
