"""A tape that goes on behind what it holds: what is stored already is compared, not written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onetape.domain.errors import CallAPerson
from onetape.domain.events import Payload
from onetape.tape.block import decode_record, encode_record, is_same_record
from onetape.tape.snapshot import Snapshot
from onetape.tape.store import TapeStore


class ContinuedTape:
    """A `TapeWriter` for a session that runs the end of its tape once more and then goes on.

    Every step that the tape holds must come again, the same in every field, so a session that is
    continued proves on the way that it is the same one.

    Args:
        store: The tape, behind its last record.
        stored: Its records from the place on where the session goes on.
        snapshots: Its snapshots from there on.
    """

    def __init__(
        self, store: TapeStore, stored: Iterator[bytes], snapshots: Iterator[Snapshot]
    ) -> None:
        self._store = store
        self._stored = stored
        self._snapshots = snapshots
        self._next = next(stored, None)
        self._next_snapshot = next(snapshots, None)

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Compare a step with the tape, or remember it behind the tape's end.

        Raises:
            CallAPerson: It is another one than the tape holds.
        """
        if self._next is None:
            self._store.append(first_seq, ts, market_index, events)
            return
        if not is_same_record(encode_record((first_seq, ts, market_index, events)), self._next):
            seq = decode_record(self._next).first_seq
            raise _departs(f"event {min(seq, first_seq)}")
        self._next = next(self._stored, None)

    def check_over(self) -> None:
        """Everything that the tape holds has come again.

        Raises:
            CallAPerson: Something has not.
        """
        if self._next is not None:
            raise _departs(f"event {decode_record(self._next).first_seq}, which does not come")

    def commit(self) -> None:
        """Make durable what is new."""
        if self._next is None:
            self._store.commit()

    def keep(self, rows: int, ts: int, state: bytes) -> None:
        """Compare a snapshot with that of the tape, or keep it behind the tape's end.

        Raises:
            CallAPerson: It is another one than the tape holds.
        """
        snapshot = self._next_snapshot
        if snapshot is not None:
            if snapshot.rows == rows:
                if snapshot.state != state:
                    raise _departs(f"snapshot {snapshot.number} (after {rows:,} rows)")
                self._next_snapshot = next(self._snapshots, None)
        elif self._next is None:
            self._store.keep(rows, ts, state)


def _departs(place: str) -> CallAPerson:
    return CallAPerson(
        f"the session that goes on departs from its tape at {place}; the tape is as it was",
        remedy="`onetape verify` the run: it tells what is not deterministic or has changed",
    )
