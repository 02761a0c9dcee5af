"""Writes the tape: what every store shares, and the store in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import Payload
from onetape.domain.ports import EncodedSteps
from onetape.tape.audit import Audit
from onetape.tape.block import (
    DIGEST_BYTES,
    GENESIS,
    Block,
    Part,
    chain_records,
    encode_record,
    make_block,
    make_part,
)
from onetape.tape.snapshot import Snapshot, make_snapshot

BLOCK_EVENTS = 2048
"""Events that fill a block (120 KiB or so). Smaller blocks pay more per write, larger ones keep
more events in memory and lose more when the process is killed."""


class TapeStore(ABC):
    """A `TapeWriter` that keeps records until a block is full, then chains and stores it.

    A step is encoded at once, while its events are at hand (waiting for the block costs twice as
    much, measured). An error of the store comes out of the `append` or `commit` that fills a block;
    the blocks before it stay readable, and what was not stored is kept, so `commit` can be tried
    again: it offers the store the same block (or snapshot) once more, byte for byte, so that a
    store that did take it, but whose answer was lost, can recognize it.
    """

    def __init__(self) -> None:
        self._parts: list[Part] = []
        self._part_records = 0
        self._records: list[bytes] = []  # behind the parts
        self._first = self._last = (0, 0)  # seq and time
        self._room = BLOCK_EVENTS
        self._blocks = 0
        self._cut_records = 0
        self._digest = GENESIS
        self._cut_events = 0
        self._snapshots = 0
        self._unstored: Block | Snapshot | None = None

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Remember the events of one engine step, in order (see `TapeWriter`); none, no record.

        Raises:
            InvariantBroken: An event can't be encoded.
            DataError: The store refuses for good.
            TryAgain: The store can't write now (disk full, locked).
        """
        if not events:
            return
        record = encode_record((first_seq, ts, market_index, events))
        records = self._records
        if not records and not self._parts:
            self._first = (first_seq, ts)
        records.append(record)
        self._last = (first_seq + len(events) - 1, ts)
        self._room -= len(events)
        if self._room <= 0:
            self.commit()

    def append_encoded(self, steps: EncodedSteps) -> None:
        """Remember steps whose bytes and digests are what `append` would make of them.

        Raises like it, and `InvariantBroken` where their chain is not that of this tape.
        """
        if not steps.ends:
            return
        self._end_part()
        record, _, digest = steps.cut(0, 1)
        if chain_records(self._digest, [record]) != [digest]:
            raise InvariantBroken("the records of a session are not chained to its tape")
        events = list(accumulate(steps.counts))
        at = 0
        while at < len(events):
            before = events[at] - steps.counts[at]
            end = min(bisect_left(events, before + self._room) + 1, len(events))
            if not self._parts:
                self._first = (steps.first_seqs[at], steps.times[at])
            self._add_part(steps.cut(at, end), end - at)
            self._last = (steps.first_seqs[end - 1] + steps.counts[end - 1] - 1,
                          steps.times[end - 1])  # fmt: skip
            self._room -= events[end - 1] - before
            if self._room <= 0:
                self.commit()
            at = end

    def commit(self) -> None:
        """Store everything appended so far; raises like `append`, but encodes nothing."""
        if self._unstored is not None:
            self._store_waiting()
        if self._records or self._parts:
            self._unstored = self._cut_block()
            self._store_waiting()

    def keep(self, rows: int, ts: int, state: bytes) -> None:
        """Keep the state of the session here (see `SnapshotKeeper`); raises like `append`.

        The records before it are stored first. When they are and it is not, `commit` stores it.
        """
        self.commit()
        self._unstored = make_snapshot(
            self._snapshots, self._blocks, self._cut_events, rows, ts, self._digest, state
        )
        self._snapshots += 1
        self._store_waiting()

    def fill(self, blocks: Iterable[Block], snapshots: Iterable[Snapshot]) -> None:
        """Store those of another tape as they are. This one is empty, and only closed afterwards.

        Raises like `append`.
        """
        for block in blocks:
            self._store(block)
        for snapshot in snapshots:
            self._store_snapshot(snapshot)

    @property
    def digest(self) -> str:
        """Digest of the last record, hex: it covers every event of the tape. Commits."""
        self.commit()
        return self._digest.hex()

    @property
    def events_written(self) -> int:
        """How many events were appended."""
        return self._cut_events + BLOCK_EVENTS - self._room

    @property
    def records_written(self) -> int:
        """In how many records they are."""
        return self._cut_records + self._part_records + len(self._records)

    def _continue_behind(self, sound: Audit, snapshots: int) -> None:
        """Take up where an audited tape with so many snapshots ends."""
        self._blocks = sound.blocks
        self._digest = bytes.fromhex(sound.digest)
        self._cut_events = sound.events
        self._cut_records = sound.records
        self._snapshots = snapshots

    def _end_part(self) -> None:
        if self._records:
            self._add_part(make_part(self._digest, self._records), len(self._records))
            self._records.clear()

    def _add_part(self, part: Part, records: int) -> None:
        self._parts.append(part)
        self._part_records += records
        self._digest = part[2][-DIGEST_BYTES:]

    def _cut_block(self) -> Block:
        """The next block, of all records at hand."""
        self._end_part()
        seqs, times = zip(self._first, self._last, strict=True)
        block = make_block(self._blocks, self._parts, seqs, times)
        self._cut_events = self.events_written
        self._cut_records = self.records_written
        self._blocks += 1
        self._parts.clear()
        self._part_records = 0
        self._room = BLOCK_EVENTS
        return block

    def _store_waiting(self) -> None:
        match self._unstored:
            case Block() as block:
                self._store(block)
            case Snapshot() as snapshot:
                self._store_snapshot(snapshot)
            case None:
                return
        self._unstored = None

    @abstractmethod
    def close(self) -> None:
        """Commit, and give back what the store holds."""

    @abstractmethod
    def _store(self, block: Block) -> None:
        """Keep `block`, all of it or nothing."""

    @abstractmethod
    def _store_snapshot(self, snapshot: Snapshot) -> None:
        """Keep `snapshot`, all of it or nothing."""


class MemoryTape(TapeStore):
    """A tape without a file, for tests and benchmarks; `MemoryTapeReader` reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[Block] = []
        self.snapshots: list[Snapshot] = []

    def close(self) -> None:
        """Commit."""
        self.commit()

    def _store(self, block: Block) -> None:
        self.blocks.append(block)

    def _store_snapshot(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
