"""A session's state at one place of its tape, kept beside the records.

A snapshot is no record: what a run is does not depend on how often it was looked at, so snapshots
are outside the hash chain, and their own digest ties each to the record that it follows.
"""

from __future__ import annotations

from hashlib import sha256

import msgspec

_GENESIS = sha256(b"onetape snapshot 1").digest()


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """The state after `rows` market events and the records of the first `blocks` blocks.

    `number` counts from 0, `events` are those on the tape before it, `ts` is the engine time
    (ns UTC), `chain` the digest of the record before it, `state` the bytes that the session gave.
    """

    number: int
    blocks: int
    events: int
    rows: int
    ts: int
    chain: bytes
    state: bytes
    digest: bytes


def make_snapshot(
    number: int, blocks: int, events: int, rows: int, ts: int, chain: bytes, state: bytes
) -> Snapshot:
    """A snapshot with its digest."""
    digest = _compute_digest(number, blocks, events, rows, ts, chain, state)
    return Snapshot(number, blocks, events, rows, ts, chain, state, digest)


def is_sound(snapshot: Snapshot) -> bool:
    """Whether a snapshot is what was written."""
    *parts, digest = msgspec.structs.astuple(snapshot)
    return _compute_digest(*parts) == digest


def _compute_digest(
    number: int, blocks: int, events: int, rows: int, ts: int, chain: bytes, state: bytes
) -> bytes:
    place = msgspec.msgpack.encode((number, blocks, events, rows, ts))
    return sha256(_GENESIS + chain + place + state).digest()
