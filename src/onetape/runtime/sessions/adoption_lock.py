"""Who adopts orders that were given by hand: one session of an account and instrument at a time.

Two that did would both take the same order, and the books of both would part from the account's.
The lock ends with its process, so a kill leaves none. It is seen by sessions in the same folder of
runs only: not on another machine, and not where another key leads to the same account.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import InstrumentId

FOLDER = ".adopting"
"""Beside the runs. A file of it names the session that holds it, or the last one that did."""


def name_account(*parts: object) -> str:
    """Tells an account from others by how it is reached; no key can be read out of it."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]


@contextmanager
def adopting_alone(
    run_dir: Path, account: str, instruments: Iterable[InstrumentId]
) -> Generator[None]:
    """While the block runs no other session of these runs adopts orders of these instruments.

    Raises:
        ConfigError: One does already; it is named.
    """
    folder = run_dir.parent / FOLDER
    with ExitStack() as stack:
        for each in instruments:
            folder.mkdir(exist_ok=True)
            file = stack.enter_context((folder / name_account(account, each)).open("a+"))
            _lock(file, run_dir, each)
        yield


def _lock(file: IO[str], run_dir: Path, instrument: InstrumentId) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        raise ConfigError(
            f"session {file.read() or 'another'} adopts orders of {instrument} at this account "
            "already", where="live.foreign_orders", remedy="stop that one, or say ignore or stop "
            "here, or trade other instruments",
        ) from None  # fmt: skip
    file.truncate(0)
    file.write(str(run_dir))
    file.flush()
