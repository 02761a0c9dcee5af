"""The tape of a replay: its places, the snapshots on the way to them, and what stands there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import takewhile
from pathlib import Path

import msgspec
import numpy as np

from onetape.domain.errors import CallAPerson, ConfigError, DataError
from onetape.domain.events import Event, OrderAdopted, OrderSubmitted
from onetape.domain.timestamps import from_iso, to_iso
from onetape.marketdata.timeline import Timeline
from onetape.tape.block import Record, decode_record
from onetape.tape.envelope import expand
from onetape.tape.reader import BlockReader
from onetape.tape.seal import check_seal
from onetape.tape.snapshot import Snapshot, is_sound
from onetape.telemetry.why import Chain, FeatureColumns, Link, explain, trace_event

_CHAIN_SPAN = 4096
"""Seqs before an event in which its order is looked for first."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """A place of the tape to go to: behind the event `seq`, or behind all that was known at `ts`.

    `row` is the row of the timeline up to which (not included) nothing can be missed on the way,
    `at` the engine time of the place, ns UTC.
    """

    text: str
    row: int
    at: int
    seq: int | None = None
    ts: int | None = None


@contextmanager
def telling_damage(path: Path, reader: BlockReader) -> Generator[None]:
    """What can't be read is damage, where an audit says so.

    Raises:
        CallAPerson: The tape is damaged.
    """
    try:
        yield
    except DataError as error:
        audit = check_seal(path, reader.audit())
        if audit.damage is not None:
            raise _damaged(path, str(audit.damage)) from error
        raise


class Places:
    """Finds places on a tape.

    Args:
        path: The tape's file.
        reader: Reads it.
        timeline: The market data that it pins.

    Attributes:
        is_complete: Whether the session came to its end.
    """

    def __init__(self, path: Path, reader: BlockReader, timeline: Timeline) -> None:
        self.path = path
        self.reader = reader
        with self.telling_damage():
            self.is_complete = reader.is_complete
        self._timeline = timeline
        self._ts_known = timeline.columns["ts_known"]

    @contextmanager
    def telling_damage(self) -> Generator[None]:
        """See the function of this name."""
        with telling_damage(self.path, self.reader):
            yield

    def find(self, text: str) -> Goal:
        """The place that `text` names: the seq of an event or bar, or a time or date (ISO 8601).

        A time stands for all that was known then; a date is its first moment, UTC.

        Raises:
            ConfigError: It is neither, or lies before the start or beyond the end of the tape.
        """
        text = text.strip()
        if text.isdecimal() or (text[:1] == "-" and text[1:].isdecimal()):
            return self._find_seq(int(text), text)
        ts = _from_time(text)
        with self.telling_damage():
            first = next(iter(self.reader.records())).ts
            last = self._last_record()
        if ts < first:
            raise ConfigError(f"{text} is before the start: the session begins at {to_iso(first)}")
        ts_last = max(last.ts, int(self._ts_known[-1]) if self.is_complete else 0)
        if ts > ts_last:
            raise ConfigError(f"{text} is beyond the end: the tape ends at {to_iso(ts_last)} "
                              f"with event {last.last_seq}")  # fmt: skip
        stop = int(np.searchsorted(self._ts_known, ts, side="right"))
        row = self.slice_start(stop - 1) if stop else 0
        return Goal(text=text, row=row, at=ts, ts=ts)

    def last_ts(self) -> int:
        """Engine time of the last record of the tape, ns UTC."""
        with self.telling_damage():
            return self._last_record().ts

    def last_event(self) -> Goal:
        """The last event of the tape: all that there is of one that is incomplete."""
        with self.telling_damage():
            record = self._last_record()
        return self._goal_in(record, record.last_seq, "the end of the tape", record.first_seq)

    def _find_seq(self, seq: int, text: str) -> Goal:
        if seq < 0:
            raise ConfigError(f"{text} is before the start: the first event is 0")
        with self.telling_damage():
            snapshot = self._snapshot_before(seq)
            before = snapshot.events if snapshot else 0
            for record in self.reader.records(snapshot.rows + before if snapshot else 0):
                if record.last_seq >= seq:
                    return self._goal_in(record, seq, text, record.first_seq, before)
                before += len(record.events)
            last = self._last_record()
        raise ConfigError(f"{text} is beyond the end: the tape ends with event {last.last_seq} at "
                          f"{to_iso(last.ts)}")  # fmt: skip

    def _goal_in(
        self, record: Record, seq: int, text: str, first_seq: int, events_before: int = 0
    ) -> Goal:
        """The goal `seq`, which is in `record` or is that of a bar before it."""
        at = record.ts
        if seq < first_seq:
            row = seq - events_before
            at = int(self._ts_known[row])
            row = self.slice_start(row)
        elif record.market_index >= 0:
            row = self.slice_start(record.market_index)
        else:
            row = int(np.searchsorted(self._ts_known, record.ts))
        return Goal(text=text, row=row, at=at, seq=seq)

    def slice_start(self, row: int) -> int:
        """The first row of the slice of `row`."""
        if row >= len(self._ts_known):
            return len(self._ts_known)
        return int(np.searchsorted(self._ts_known, self._ts_known[row]))

    def _snapshot_before(self, seq: int) -> Snapshot | None:
        """The newest snapshot that stands before the event or bar `seq`."""
        snapshot = self.reader.newest_snapshot(events=seq)
        while snapshot is not None and snapshot.rows + snapshot.events > seq:
            snapshot = self.reader.newest_snapshot(events=snapshot.events - 1)
        return snapshot

    def _last_record(self) -> Record:
        snapshot = self.reader.newest_snapshot()
        seq = snapshot.rows + snapshot.events if snapshot else 0
        data = b""
        for data in self.reader.encoded_records(seq):  # noqa: B007 - the last one
            pass
        if not data:  # nothing follows the newest snapshot
            for data in self.reader.encoded_records():  # noqa: B007
                pass
        return decode_record(data)

    def snapshot_near(self, goal: Goal) -> Snapshot | None:
        """The newest snapshot from which `goal` can be reached."""
        if goal.seq is not None:
            snapshot = self._snapshot_before(goal.seq)
        else:
            snapshot = self.reader.newest_snapshot(ts=goal.ts or 0)
        while snapshot is not None and snapshot.rows > goal.row:
            snapshot = self.reader.newest_snapshot(events=snapshot.events - 1)
        if snapshot is not None and not is_sound(snapshot):
            raise _damaged(self.path, f"snapshot {snapshot.number} is not what was written")
        return snapshot

    # What stands there.

    def why(self, seq: int, now: int, features: FeatureColumns) -> list[Link]:
        """The chain of the event or bar `seq`, as far as it was known behind the event `now`.

        Raises:
            DataError: The tape has no such event.
        """
        with self.telling_damage():
            chain = self._trace(seq, now)
        events = tuple(each for each in chain.events if each.seq <= now)
        chain = msgspec.structs.replace(chain, events=events)
        return explain(chain, self._timeline, features)

    def _trace(self, seq: int, now: int) -> Chain:
        """The chain of `seq`; as much of the tape before it is read as its order is old."""
        newest = self.newest_events(seq, 1)
        if not newest or newest[0].seq != seq:
            return trace_event(self.reader.records, seq)  # a bar: its row is counted from the start
        span = _CHAIN_SPAN
        while True:
            chain = trace_event(partial(self._records_between, max(0, seq - span), now), seq)
            known = any(
                isinstance(each.payload, OrderSubmitted | OrderAdopted)
                and each.payload.client_order_id == chain.order
                for each in chain.events
            )
            if known or not chain.order or span >= seq:
                return chain
            span *= 16

    def _records_between(self, first: int, last: int) -> Iterator[Record]:
        """The records that have an event from `first` on and begin no later than `last`."""
        return takewhile(lambda record: record.first_seq <= last, self.reader.records(first))

    def newest_events(
        self, seq: int, count: int, wanted: Callable[[Event], bool] = lambda _: True
    ) -> list[Event]:
        """The newest `count` events up to `seq` that are `wanted`, in order."""
        span = max(64, 4 * count)
        while True:
            first = max(0, seq - span)
            found = [
                event
                for record in self._records_between(first, seq)
                for event in expand(record)
                if first <= event.seq <= seq and wanted(event)
            ]
            if len(found) >= count or first == 0:
                return found[-count:] if count else []
            span *= 8

    def next_event(self, seq: int, wanted: Callable[[Event], bool]) -> Event | None:
        """The first event behind `seq` on the tape that is `wanted`."""
        with self.telling_damage():
            return next((each for each in self.reader.events(seq + 1) if wanted(each)), None)


def _from_time(text: str) -> int:
    """The time (ns UTC) that a person names as a place.

    Raises:
        ConfigError: It is none.
    """
    try:
        return from_iso(text, "the place", error=ConfigError)
    except ConfigError:
        raise ConfigError(f"{text!r} is no place of a tape",
                          remedy="give the seq of an event, or a time like 2024-01-31 or "
                          "2024-01-31T09:30:00Z") from None  # fmt: skip


def _damaged(tape: Path, what: str) -> CallAPerson:
    return CallAPerson(f"the tape is damaged: {what}", where=str(tape),
                       remedy="restore it from a copy; see `onetape tape audit`")  # fmt: skip
