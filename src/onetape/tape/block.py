"""How engine steps become bytes: records, their hash chain, and the blocks that stores keep.

A *record* is the outcome of one engine step, encoded once. Its digest is
`SHA-256(digest of the record before || bytes of this record)`; the first record follows `GENESIS`.
Many records make a *block*, the unit of storage: one row, one hash loop, one write, because a row
an event would cost more than the whole engine step. Block borders mean nothing: the same steps
give the same digests however they are cut.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Annotated

import msgspec

from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import Payload

FORMAT = "onetape tape"
FORMAT_VERSION = 1
"""Version of the records, the chain and the blocks; readers refuse any other."""

DIGEST_BYTES = 32
GENESIS = sha256(f"{FORMAT} {FORMAT_VERSION}".encode()).digest()
"""What the first record follows, so that no chain fits another format or version."""

Step = tuple[int, int, int, Sequence[tuple[Payload, int, int]]]
"""Arguments of one `TapeWriter.append`: the fields of a `Record`, before they are encoded."""


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One engine step: `ts` is ns UTC, `market_index` the row of the pinned timeline or -1.

    `events` holds (payload, correlation_id, causation_id) each; their seqs count from `first_seq`.
    """

    first_seq: int
    ts: int
    market_index: int
    events: Annotated[list[tuple[Payload, int, int]], msgspec.Meta(min_length=1)]

    @property
    def last_seq(self) -> int:
        """The seq of the last event."""
        return self.first_seq + len(self.events) - 1


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive records, as a store keeps them.

    `number` counts blocks from 0. `payload` holds the records' bytes one after the other, `lengths`
    their lengths (little-endian uint32 each), `digests` their digests (32 bytes each).
    """

    number: int
    first_seq: int
    last_seq: int
    ts_first: int
    ts_last: int
    records: int
    lengths: bytes
    digests: bytes
    payload: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def encode_record(step: Step) -> bytes:
    """The bytes of one step, as they are chained.

    Raises:
        InvariantBroken: An event holds what a tape can't store, such as an integer beyond 64 bits.
    """
    try:
        return _encode(step)
    except (TypeError, ValueError, OverflowError) as error:
        raise _unstorable(step, error) from error


def chain_records(digest: bytes, records: Sequence[bytes]) -> list[bytes]:
    """The digest of each record, chained to `digest`, that of the record before."""
    return [digest := sha256(digest + record).digest() for record in records]


Part = tuple[bytes, bytes, bytes]
"""Of consecutive records: their bytes, lengths and digests, as a `Block` has them."""


def make_part(digest: bytes, records: Sequence[bytes]) -> Part:
    """Records as a part of a block, chained to `digest`, that of the record before."""
    lengths = struct.pack(f"<{len(records)}I", *map(len, records))
    return b"".join(records), lengths, b"".join(chain_records(digest, records))


def make_block(
    number: int, parts: Sequence[Part], seqs: tuple[int, int], times: tuple[int, int]
) -> Block:
    """One block of parts that follow each other, and have a record at least.

    `seqs` are those of its first and its last event, `times` those of its first and last record.
    """
    payload, lengths, digests = (b"".join(each) for each in zip(*parts, strict=True))
    return Block(
        number=number,
        first_seq=seqs[0],
        last_seq=seqs[1],
        ts_first=times[0],
        ts_last=times[1],
        records=len(digests) // DIGEST_BYTES,
        lengths=lengths,
        digests=digests,
        payload=payload,
    )


def split_records(block: Block) -> Iterator[bytes]:
    """The bytes of each record of `block`, in order.

    Raises:
        DataError: The parts of the block don't fit together.
    """
    count = block.records
    fits = len(block.lengths) == 4 * count and len(block.digests) == DIGEST_BYTES * count
    lengths = struct.unpack(f"<{count}I", block.lengths) if fits and count > 0 else ()
    if sum(lengths) != len(block.payload) or not lengths:
        raise DataError("records, lengths and digests don't fit together")
    start = 0
    for length in lengths:
        yield block.payload[start : start + length]
        start += length


def digest_at(block: Block, index: int) -> bytes:
    """Stored digest of the record at `index` of `block`; a negative index counts from the end."""
    start = index % block.records * DIGEST_BYTES
    return block.digests[start : start + DIGEST_BYTES]


def decode_record(record: bytes) -> Record:
    """The record that `record` holds.

    Raises:
        DataError: The bytes are no record that this version knows.
    """
    try:
        return _decode(record)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"a record can't be read: {error}",
            remedy="it was written by another version of onetape, or is damaged",
        ) from error


def is_same_record(one: bytes, other: bytes) -> bool:
    """Whether two records say the same: as bytes, or as this version would write both.

    An older writer left out fields that payloads have got since; read, they have their defaults.

    Raises:
        DataError: The bytes differ, and are no records that this version knows.
    """
    return one == other or _encode(decode_record(one)) == _encode(decode_record(other))


def _unstorable(step: Step, error: Exception) -> InvariantBroken:
    """The error that names the first event of `step` which can't be encoded."""
    for seq, event in enumerate(step[3], step[0]):
        try:
            _encode(event)
        except (TypeError, ValueError, OverflowError) as reason:
            return InvariantBroken(
                f"{event[0]!r} can't be stored on a tape: {reason}", where=f"seq {seq}"
            )
    return InvariantBroken(f"an engine step can't be stored on a tape: {error}")
