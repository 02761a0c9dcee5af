"""A recorded session runs again as far as somebody asks; each step is compared with its tape."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec

from onetape.domain.errors import DataError, StrategyError
from onetape.domain.events import Event, Payload, SessionStarted
from onetape.runtime.replay.inputs import RecordedInputs
from onetape.runtime.replay.places import Goal, Places, telling_damage
from onetape.runtime.replay.standing import Standing, Surroundings, take_standing
from onetape.runtime.sessions.backtest import (
    BLOCK_ROWS,
    BacktestSession,
    OnProgress,
    Progress,
)
from onetape.runtime.sessions.recorded import (
    Change,
    InputKind,
    RecordedSession,
    find_catalog,
    load_recorded,
    read_controls,
)
from onetape.runtime.sessions.session_state import decode_state
from onetape.runtime.verification import (
    ComparedTape,
    Ended,
    Parted,
    Verdict,
    Verification,
    first_pair,
    verify_tape,
)
from onetape.tape.block import Record
from onetape.tape.envelope import expand
from onetape.tape.opening import open_tape
from onetape.telemetry.why import Link

OnStep = Callable[[Record], None]

_CUT_OFF = "the tape ends here: it is incomplete"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one engine step, or (without events) that a time slice has come to its end.

    `rows` are those of the slice, as (first, stop); (0, 0) without any.
    """

    standing: Standing
    events: tuple[Event, ...] = ()
    rows: tuple[int, int] = (0, 0)


class Departure(msgspec.Struct, frozen=True, kw_only=True):
    """The replay is not what the tape says: the first event that differs, as both have it.

    None: that side has come to its end.
    """

    tape: Event | None
    replay: Event | None


class Replay:
    """Pulls a recorded session through its steps.

    Args:
        tape: The tape's file. Nothing is written to it or beside it.
        catalog: Where the catalog is now; None: where config.json beside the tape says.

    Attributes:
        places: The tape, and how to find a place on it.
        changes: Inputs that are not what the tape says, as sentences for people.
        end: Why it can't go on; empty while it can.
        departure: Where it departs from the tape, once it has.
        rows_skipped: Rows before the snapshot that it has begun with.

    Raises:
        DataError: There is no tape, it is of another version, or its bars can't be read any more.
        StrategyError: A strategy of it can't be loaded any more.
        ConfigError: It is of another mode, or its configuration is not for this onetape.
        CallAPerson: It is damaged.
        TryAgain: It is locked.
    """

    def __init__(self, tape: Path, catalog: Path | None = None) -> None:
        self.path = tape
        self.reader = open_tape(tape)
        try:
            self._catalog = catalog or find_catalog(tape.parent)
            with telling_damage(tape, self.reader):
                self.header: SessionStarted = self.reader.header
            self.recorded, self.changes = _load(
                self.header, self._catalog, tape, self.reader.encoded_records
            )
            self.timeline = self.recorded.timeline
            self.places = Places(tape, self.reader, self.timeline)
        except BaseException:
            self.reader.close()
            raise
        self._ts_known = self.timeline.columns["ts_known"]
        self._session: BacktestSession | RecordedInputs
        self.end = ""
        self.departure: Departure | None = None

    def close(self) -> None:
        """Close the tape."""
        self.reader.close()

    def begin(self, near: Goal | None = None) -> None:
        """Stand at the start, or behind the newest snapshot before `near`; once.

        With other code or data than then, and in paper and live, it is always the start.

        Raises:
            CallAPerson: The snapshot is damaged.
        """
        if self.recorded.records is not None:
            self._begin_realtime()
            return
        snapshot = None
        if near is not None and not self.changes:
            snapshot = self.places.snapshot_near(near)
        seq = snapshot.rows + snapshot.events if snapshot else 0
        records = self.reader.encoded_records(seq)
        self._tape = _WatchedTape(records, is_whole=self.places.is_complete)
        session = self._session = self.recorded.open(self._tape)
        session.expect(read_controls(self.reader.encoded_records(seq)))
        self._events_before = snapshot.events if snapshot else 0
        self._is_started = snapshot is not None
        self.rows_skipped = snapshot.rows if snapshot else 0
        if snapshot is not None:
            session.restore(decode_state(snapshot.state))
        self.surroundings = Surroundings(
            self.timeline,
            {name: each.columns for name, each in session.runners.items()},
            self.recorded.specs,
        )

    def _begin_realtime(self) -> None:
        """Stand at the start of a session that runs again from its inputs."""
        records = self.reader.encoded_records
        self._tape = _WatchedTape(records(), is_whole=self.places.is_complete)
        self._session = RecordedInputs(self.recorded, self._tape, records())
        self._events_before = self.rows_skipped = 0
        self._is_started = False
        self.surroundings = Surroundings(
            self.timeline, self.recorded.features(), self.recorded.specs
        )

    # Going there.

    @property
    def events(self) -> int:
        """How many events of the tape have come."""
        return self._events_before + self._tape.events

    @property
    def row(self) -> int:
        """The next row to process."""
        return self._session.row

    def watching(self) -> AbstractContextManager[None]:
        """The guard of the strategies, within which `run_to` and `take` want to be called."""
        return self.recorded.watching()

    def run_to(
        self,
        row: int,
        on_progress: OnProgress | None = None,
        is_stop_asked: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run the rows before `row`, which begins a slice, without looking; in blocks."""
        with self._advancing():
            self._start()
            while self.row < row and not self.end and not is_stop_asked():
                end = self.timeline.find_slice_end(min(self.row + BLOCK_ROWS, row) - 1) + 1
                self._session.advance(min(end, row))
                if on_progress is not None:
                    on_progress(self.progress())

    def run_out(self, on_progress: OnProgress | None = None) -> None:
        """Run to the end of the session."""
        self.run_to(len(self.timeline), on_progress)
        if not self.end:
            with self._advancing():
                self._finish()

    def take(self) -> list[Moment]:
        """Run one time slice (the start and the end of the session count as one) and look at it.

        Returns:
            Its steps in order, then where it ends; nothing when the replay has come to its end.
        """
        moments: list[Moment] = []

        def look(record: Record) -> None:
            standing = take_standing(self._session, self.events, record.ts)
            moments.append(Moment(standing=standing, events=tuple(expand(record))))

        if self.end:
            return moments
        self._tape.on_step = look
        first = self.row
        try:
            with self._advancing():
                if not self._is_started:
                    self._start()
                elif first < len(self.timeline):
                    self._session.advance(self.timeline.find_slice_end(first) + 1)
                    moments.append(self._slice_end(first))
                else:
                    self._finish()
        finally:
            self._tape.on_step = None
        return moments

    def standing(self) -> Standing:
        """The state now, between two slices."""
        row = self.row - 1
        ts = max(self._tape.ts, int(self._ts_known[row]) if row >= 0 else 0)
        return take_standing(self._session, self.events, ts)

    def _slice_end(self, first: int) -> Moment:
        row = self.row
        ts = int(self._ts_known[row - 1])
        ts = max(ts, self._tape.ts)
        return Moment(standing=take_standing(self._session, self.events, ts), rows=(first, row))

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            self._session.start()

    def _finish(self) -> None:
        self._session.finish()
        self._tape.check_end()
        self.end = "the session ends here" if self.places.is_complete else _CUT_OFF

    @contextmanager
    def _advancing(self) -> Generator[None]:
        """Turns what stops a comparison into why the replay has come to its end."""
        try:
            with self.places.telling_damage():
                yield
        except Ended:
            self.end = _CUT_OFF
        except Parted as parted:
            _, recorded, rerun = parted.args
            tape, replay = first_pair(recorded, rerun)
            self.departure = Departure(tape=tape, replay=replay)
            self.end = "here the replay departs from the tape"

    def progress(self) -> Progress:
        """How far it is."""
        row, equity = self.row, 0
        for runner in self._session.runners.values():
            runner.valuation.refresh()
            equity += runner.valuation.equity
        ts = int(self._ts_known[row - 1]) if row else 0
        return Progress(row, len(self.timeline), ts, equity)

    # What it means.

    def why(self, seq: int, now: int) -> list[Link]:
        """The chain of the event or bar `seq`, as far as it was known behind the event `now`.

        Raises:
            DataError: The tape has no such event.
        """
        return self.places.why(seq, now, self.surroundings.features)

    def classify(self, on_progress: OnProgress | None = None) -> Verification | None:
        """What `verify` says of the departure; None where a second re-run agrees with the tape."""
        found = verify_tape(self.path, self._catalog, on_progress)
        return None if found.verdict in (Verdict.IDENTICAL, Verdict.INCOMPLETE) else found


class _WatchedTape(ComparedTape):
    """Compares each step with the tape, then shows it to whoever looks."""

    on_step: OnStep | None = None

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Compare one step, and show it (see `TapeWriter`)."""
        super().append(first_seq, ts, market_index, events)
        if self.on_step is not None:
            self.on_step(Record(first_seq, ts, market_index, list(events)))


def _load(
    header: SessionStarted, catalog: Path, tape: Path, records: Callable[[], Iterable[bytes]]
) -> tuple[RecordedSession, list[Change]]:
    recorded, changes = load_recorded(header, catalog, tape.parent, records)
    if recorded is None:
        change = next((each for each in changes if "any more" in each.what), changes[0])
        kind = DataError if change.kind is InputKind.DATA else StrategyError
        raise kind(f"it can't be replayed: {change.what}", where=str(tape))
    return recorded, changes
