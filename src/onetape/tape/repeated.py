"""A tape whose session runs once more, in another host or with more room, and then goes on."""

from __future__ import annotations

from collections.abc import Sequence

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import Payload
from onetape.domain.ports import EncodedSteps
from onetape.tape.block import GENESIS, chain_records, encode_record
from onetape.tape.store import TapeStore


class RepeatedTape:
    """A `TapeWriter` for a session that has written a part of its tape already.

    The records that the tape holds must come again, the same to the last bit; what is behind them
    goes on to the tape.

    Args:
        store: The tape.
    """

    def __init__(self, store: TapeStore) -> None:
        self._store = store
        self._left = store.records_written
        self._wanted = store.digest if self._left else ""
        self._found = GENESIS

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Compare a step with the tape, or remember it behind the tape's end (see `TapeWriter`).

        Raises:
            InvariantBroken: What the tape holds has not come again.
        """
        if self._left and events:
            record = encode_record((first_seq, ts, market_index, events))
            self._compare(chain_records(self._found, [record])[0], 1)
        else:
            self._store.append(first_seq, ts, market_index, events)

    def append_encoded(self, steps: EncodedSteps) -> None:
        """The same with steps that are records already."""
        known = min(self._left, len(steps.ends))
        if known:
            self._compare(steps.cut(known - 1, known)[2], known)
            steps = steps.behind(known)
        self._store.append_encoded(steps)

    def commit(self) -> None:
        """Make durable what is new."""
        if not self._left:
            self._store.commit()

    def keep(self, rows: int, ts: int, state: bytes) -> None:
        """Keep a state behind the tape's end (see `SnapshotKeeper`)."""
        if not self._left:
            self._store.keep(rows, ts, state)

    def check_over(self) -> None:
        """Everything that the tape holds has come again.

        Raises:
            InvariantBroken: Something has not.
        """
        if self._left:
            raise _departs()

    def _compare(self, digest: bytes, records: int) -> None:
        """So many records have come again; the digest of the last covers all."""
        self._found = digest
        self._left -= records
        if not self._left and self._found.hex() != self._wanted:
            raise _departs()


def _departs() -> InvariantBroken:
    return InvariantBroken(
        "a session that ran once more has departed from its tape",
        remedy="report it with the configuration; `host: python` runs it without",
    )
