"""Is the tape what was written? Walks the hash chain and locates the first damage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from hashlib import sha256
from itertools import islice

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.events import SessionStopped
from onetape.tape.block import (
    DIGEST_BYTES,
    GENESIS,
    Block,
    Record,
    decode_record,
    digest_at,
    split_records,
)
from onetape.tape.snapshot import Snapshot, is_sound


class DamageKind(Enum):
    """What is wrong with a tape."""

    ALTERED = "altered"
    """A record does not follow from the one before: bytes changed, or records were removed."""
    REORDERED = "reordered"
    """A record follows from another record of this tape than the one before it."""
    MISSING = "missing"
    """A block is gone or stands twice."""
    INDEX = "index"
    """A block's sequence numbers, times or count disagree with its records."""
    UNREADABLE = "unreadable"
    """The file or a record can't be read."""
    SNAPSHOT = "snapshot"
    """A snapshot is not what was written, or not of this tape; the records are sound."""
    SEAL = "seal"
    """The seal beside the tape says otherwise than the tape, which is sound."""
    SIGNATURE = "signature"
    """The seal is not signed with the key that was asked for; the records are sound."""


class Damage(msgspec.Struct, frozen=True, kw_only=True):
    """The first damage of a tape. `record` counts records from 0, `block` blocks from 0."""

    kind: DamageKind
    record: int
    block: int
    detail: str

    def __str__(self) -> str:
        return f"{self.kind.value} at record {self.record} (block {self.block}): {self.detail}"


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """What an audit found. The counts and `digest` (hex) cover the sound part of the tape.

    `complete` says that the sound part ends with `session.stopped`.
    """

    blocks: int = 0
    records: int = 0
    events: int = 0
    digest: str = GENESIS.hex()
    complete: bool = False
    damage: Damage | None = None

    def __str__(self) -> str:
        sound = f"{self.events} events in {self.records} records"
        if self.damage is not None:
            return f"damaged: {self.damage}; {sound} before it are sound"
        if not self.complete:
            return (
                f"sound, but incomplete: {sound}, and no session.stopped at the end "
                "(still running, killed, or cut off)"
            )
        return f"sound and complete: {sound}, digest {self.digest}"


def audit_blocks(
    blocks: Callable[[], Iterator[Block]], snapshots: Callable[[], Iterator[Snapshot]]
) -> Audit:
    """Audit the tape that `blocks()` gives, up to its first damage; then its snapshots.

    `blocks` is called once more when a record does not follow from the one before it. Snapshots
    that come meanwhile are left out.

    Raises:
        TryAgain: The tape is locked.
    """
    sound = Audit()
    stored = blocks()
    count, places = _count_snapshots(snapshots)
    chain = {0: sound.digest}
    while sound.damage is None:
        try:
            block = next(stored, None)
        except DataError as error:
            return _damaged(sound, DamageKind.UNREADABLE, error.what)
        if block is None:
            break
        sound = _audit_block(sound, block, blocks)
        if sound.blocks in places:
            chain[sound.blocks] = sound.digest
    return sound if sound.damage else _audit_snapshots(sound, chain, islice(snapshots(), count))


def _count_snapshots(snapshots: Callable[[], Iterator[Snapshot]]) -> tuple[int, set[int]]:
    """How many there are, up to the first that can't be read, and how many blocks before each."""
    count, places = 0, set[int]()
    try:
        for snapshot in snapshots():
            count += 1
            places.add(snapshot.blocks)
    except DataError:
        count += 1
    return count, places


def _audit_snapshots(
    sound: Audit, chain: Mapping[int, str], snapshots: Iterable[Snapshot]
) -> Audit:
    """`sound`, or with the first snapshot that is damaged.

    `chain` is the digest behind each number of blocks that a snapshot has before it.
    """
    number = -1
    try:
        for number, snapshot in enumerate(snapshots):
            follows = chain.get(snapshot.blocks) == snapshot.chain.hex()
            if not is_sound(snapshot) or snapshot.number != number or not follows:
                detail = f"snapshot {snapshot.number} does not match its digest or its place"
                return _damaged(sound, DamageKind.SNAPSHOT, detail)
    except DataError as error:
        return _damaged(sound, DamageKind.SNAPSHOT, f"snapshot {number + 1}: {error.what}")
    return sound


def _audit_block(sound: Audit, block: Block, blocks: Callable[[], Iterator[Block]]) -> Audit:
    """`sound` with `block` counted in, or with the damage found in it."""
    if block.number != sound.blocks:
        return _damaged(sound, DamageKind.MISSING, f"block {block.number} stands in its place")
    digest = bytes.fromhex(sound.digest)
    records: list[Record] = []
    try:
        for index, data in enumerate(split_records(block)):
            digest = sha256(digest + data).digest()
            if digest != digest_at(block, index):
                sound = _extended(sound, records, block)
                origin = _find_predecessor(data, digest_at(block, index), blocks)
                if origin is None:
                    return _damaged(sound, DamageKind.ALTERED, "it does not match its digest")
                return _damaged(sound, DamageKind.REORDERED, f"it follows record {origin}")
            records.append(decode_record(data))
    except DataError as error:
        return _damaged(_extended(sound, records, block), DamageKind.UNREADABLE, error.what)
    first, last = records[0], records[-1]
    if (block.first_seq, block.last_seq, block.ts_first, block.ts_last) != (
        first.first_seq, last.last_seq, first.ts, last.ts,
    ):  # fmt: skip
        return _damaged(sound, DamageKind.INDEX, "seqs or times of the block are not its records'")
    return _extended(sound, records, block)


def _extended(sound: Audit, records: list[Record], block: Block) -> Audit:
    """`sound` with the first `records` of `block` counted in."""
    if not records:
        return sound
    whole = len(records) == block.records
    return msgspec.structs.replace(
        sound,
        blocks=sound.blocks + whole,
        records=sound.records + len(records),
        events=sound.events + sum(len(record.events) for record in records),
        digest=digest_at(block, len(records) - 1).hex(),
        complete=isinstance(records[-1].events[-1][0], SessionStopped),
    )


def _damaged(sound: Audit, kind: DamageKind, detail: str) -> Audit:
    damage = Damage(kind=kind, record=sound.records, block=sound.blocks, detail=detail)
    return msgspec.structs.replace(sound, damage=damage, complete=False)


def _find_predecessor(
    data: bytes, digest: bytes, blocks: Callable[[], Iterator[Block]]
) -> int | None:
    """Which record of the tape `data` was chained to, if any is left."""
    record = 0
    try:
        for block in blocks():
            for index in range(len(block.digests) // DIGEST_BYTES):
                if sha256(digest_at(block, index) + data).digest() == digest:
                    return record
                record += 1
    except DataError:
        return None
    return None
