"""Reads a tape: its events in order, where it ends, and whether it is sound."""

from __future__ import annotations

import sqlite3
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from onetape.domain.errors import DataError, OnetapeError
from onetape.domain.events import Event, SessionStarted, SessionStopped
from onetape.domain.numbers import INT64_MAX
from onetape.tape.audit import Audit, audit_blocks
from onetape.tape.block import (
    FORMAT,
    FORMAT_VERSION,
    GENESIS,
    Block,
    Record,
    decode_record,
    digest_at,
    split_records,
)
from onetape.tape.envelope import expand
from onetape.tape.snapshot import Snapshot
from onetape.tape.sqlite_file import readable_errors
from onetape.tape.store import MemoryTape

R = TypeVar("R", Block, Snapshot)

_BLOCKS = 32
"""Blocks of one query: those of a live session are small, one for each input."""

LOCK_WAIT_SECONDS = 2.0
"""How long opening and reading wait for another program that holds a lock."""


class BlockReader(ABC):
    """Reads stored blocks in order. Nothing is cached: a tape that grows can be read on."""

    def events(self, first_seq: int = 0) -> Iterator[Event]:
        """Every event with `seq >= first_seq`, in order.

        Raises:
            DataError: A block or record can't be read. Digests are not compared; `audit` does.
            TryAgain: The tape is locked.
        """
        for record in self.records(first_seq):
            for event in expand(record):
                if event.seq >= first_seq:
                    yield event

    def records(self, first_seq: int = 0) -> Iterator[Record]:
        """Every engine step that has an event with `seq >= first_seq`; raises like `events`."""
        for block in self.blocks(first_seq):
            for data in split_records(block):
                record = decode_record(data)
                if record.last_seq >= first_seq:
                    yield record

    def encoded_records(self, first_seq: int = 0) -> Iterator[bytes]:
        """The bytes of the engine steps, as they were chained; raises like `events`.

        They begin with the first block that has an event with `seq >= first_seq`.
        """
        for block in self.blocks(first_seq):
            yield from split_records(block)

    @property
    def header(self) -> SessionStarted:
        """The first event: which session this is, and what it ran on.

        Raises:
            DataError: The tape holds no event yet, or starts with another one.
        """
        first = next(self.records(), None)
        payload = first.events[0][0] if first else None
        if not isinstance(payload, SessionStarted):
            raise DataError(
                f"the tape {'starts with another event' if first else 'is empty'}",
                remedy="a tape starts with session.started; this session did not get that far",
            )
        return payload

    @property
    def is_complete(self) -> bool:
        """Whether the session came to its end: the last event is `session.stopped`."""
        block = self._last_block()
        if block is None:
            return False
        *_, last = split_records(block)
        return isinstance(decode_record(last).events[-1][0], SessionStopped)

    @property
    def digest(self) -> str:
        """Stored digest of the last record, hex (the genesis when there is none)."""
        block = self._last_block()
        return (digest_at(block, -1) if block else GENESIS).hex()

    def audit(self) -> Audit:
        """Walk the hash chain from the start and locate the first damage.

        Raises:
            TryAgain: The tape is locked.
        """
        return audit_blocks(self.blocks, self.snapshots)

    @abstractmethod
    def snapshots(self, first_rows: int = 0) -> Iterator[Snapshot]:
        """The snapshots of `first_rows` market events or more, in order; raises like `events`."""

    @abstractmethod
    def newest_snapshot(self, *, events: int = INT64_MAX, ts: int = INT64_MAX) -> Snapshot | None:
        """The newest snapshot with no more than `events` before it and no later than `ts` (ns UTC).

        Raises like `events`.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what the reader holds."""

    @abstractmethod
    def blocks(self, first_seq: int = 0) -> Iterator[Block]:
        """The blocks that end at `first_seq` or later, in the order of their numbers."""

    @abstractmethod
    def _last_block(self) -> Block | None: ...


class MemoryTapeReader(BlockReader):
    """Reads what a `MemoryTape` has committed."""

    def __init__(self, tape: MemoryTape) -> None:
        self._tape = tape

    def close(self) -> None:
        """Nothing: the tape stays as it is."""

    def snapshots(self, first_rows: int = 0) -> Iterator[Snapshot]:
        """The snapshots, in order."""
        return (each for each in self._tape.snapshots if each.rows >= first_rows)

    def newest_snapshot(self, *, events: int = INT64_MAX, ts: int = INT64_MAX) -> Snapshot | None:
        """The newest snapshot that is no later than these."""
        fits = (each for each in reversed(self._tape.snapshots)
                if each.events <= events and each.ts <= ts)  # fmt: skip
        return next(fits, None)

    def blocks(self, first_seq: int = 0) -> Iterator[Block]:
        """The blocks, in order."""
        return (block for block in self._tape.blocks if block.last_seq >= first_seq)

    def _last_block(self) -> Block | None:
        return self._tape.blocks[-1] if self._tape.blocks else None


class SqliteTapeReader(BlockReader):
    """Reads the tape file at `path`, also while its session still writes it.

    Raises:
        DataError: There is no such file, it is no tape, is damaged, or is of an unknown version.
        TryAgain: The tape is locked.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise DataError("there is no tape here", where=str(path))
        self._path = path
        with readable_errors(path):
            uri = f"{path.resolve().as_uri()}?mode=ro"
            # Used by one thread at a time, but an export reads in a thread of polars.
            self._connection = sqlite3.connect(
                uri, LOCK_WAIT_SECONDS, uri=True, check_same_thread=False
            )
        try:
            self._check_version()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _check_version(self) -> None:
        tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
        with readable_errors(self._path):
            names = {name for (name,) in self._connection.execute(tables)}
            known = "meta" in names
            meta = self._connection.execute("SELECT * FROM meta").fetchone() if known else None
        self._keeps = "snapshot" in names
        match meta:
            case (name, int(version)) if name == FORMAT:
                if version != FORMAT_VERSION:
                    raise DataError(
                        f"tape version {version}, and this onetape reads {FORMAT_VERSION}",
                        where=str(self._path),
                        remedy="read it with the onetape that wrote it",
                    )
            case _:
                raise DataError(
                    "a SQLite file, but not a tape",
                    where=str(self._path),
                    remedy="give the tape.db of a run",
                )

    def blocks(self, first_seq: int = 0) -> Iterator[Block]:
        """The blocks, in order."""
        # A few blocks a query: no read transaction stays open, so the writer's WAL can't grow.
        number = self._find_before(first_seq) if first_seq > 0 else -1
        while rows := self._fetch_rows(
            "block", "number > ? AND last_seq >= ? ORDER BY number", (number, first_seq), _BLOCKS
        ):
            for row in rows:
                block = self._convert(Block, "block", row)
                if block.number <= number:
                    raise self._unreadable(f"block {block.number} stands behind block {number}")
                number = block.number
                yield block

    def _find_before(self, seq: int) -> int:
        """The number of the newest block that ends before `seq`; -1: there is none.

        Looked for by halves: a scan would read the whole file.
        """
        newest = self._last_block()

        def find_end(number: int) -> int:
            found = self._fetch(Block, "block", "number >= ? ORDER BY number", number)
            return found.last_seq if found is not None else INT64_MAX

        return bisect_left(range(newest.number + 1 if newest else 0), seq, key=find_end) - 1

    def _last_block(self) -> Block | None:
        return self._fetch(Block, "block", "number >= ? ORDER BY number DESC", 0)

    def snapshots(self, first_rows: int = 0) -> Iterator[Snapshot]:
        """The snapshots, in order; none on a tape of before there were any."""
        number = -1
        while snapshot := self._fetch_snapshot(
            "number > ? AND rows >= ? ORDER BY number", number, first_rows
        ):
            number = snapshot.number
            yield snapshot

    def newest_snapshot(self, *, events: int = INT64_MAX, ts: int = INT64_MAX) -> Snapshot | None:
        """The newest snapshot that is no later than these."""
        return self._fetch_snapshot("events <= ? AND ts <= ? ORDER BY number DESC", events, ts)

    def _fetch_snapshot(self, which: str, *values: int) -> Snapshot | None:
        return self._fetch(Snapshot, "snapshot", which, *values) if self._keeps else None

    def _fetch(self, kind: type[R], table: str, which: str, *values: int) -> R | None:
        rows = self._fetch_rows(table, which, values, 1)
        return self._convert(kind, table, rows[0]) if rows else None

    def _fetch_rows(
        self, table: str, which: str, values: Sequence[int], count: int
    ) -> list[tuple[Any, ...]]:
        """Up to so many rows; only those before the first that can't be read, if there are any."""
        query = f"SELECT * FROM {table} WHERE {which} LIMIT {count}"
        rows: list[tuple[Any, ...]] = []
        try:
            with readable_errors(self._path):
                for row in self._connection.execute(query, values):
                    rows.append(row)
        except OnetapeError:
            if not rows:
                raise
        return rows

    def _convert(self, kind: type[R], table: str, row: tuple[Any, ...]) -> R:
        try:
            return msgspec.convert(row, kind)
        except msgspec.ValidationError as error:
            raise self._unreadable(f"a {table}'s row is damaged: {error}") from error

    def _unreadable(self, what: str) -> DataError:
        return DataError(what, where=str(self._path), remedy="see the tape's audit")
