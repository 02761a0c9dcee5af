"""What every tape store and its reader promise; run against each of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import count, product
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import CapitalDeposited, SessionStarted, SignalRecorded
from onetape.tape.block import GENESIS, Step
from onetape.tape.pointer import TapeServer
from onetape.tape.postgres_reader import PostgresTapeReader
from onetape.tape.postgres_store import PostgresTape
from onetape.tape.reader import BlockReader, MemoryTapeReader, SqliteTapeReader
from onetape.tape.sqlite_store import Durability, SqliteTape
from onetape.tape.store import BLOCK_EVENTS, MemoryTape, TapeStore
from tests.support.postgres_server import PostgresServer
from tests.support.tape_steps import (
    STARTED,
    TS_START,
    encode_steps,
    make_order_step,
    make_session,
    steps,
)


class MemoryCase:
    """The tape in memory."""

    def create(self) -> TapeStore:
        return MemoryTape()

    def read(self, tape: TapeStore) -> BlockReader:
        assert isinstance(tape, MemoryTape)
        return MemoryTapeReader(tape)


class SqliteCase:
    """The tape in a SQLite file; whatever was opened is closed with `opened`."""

    def __init__(self, folder: Path, opened: ExitStack, durability: Durability) -> None:
        self._paths = (folder / f"tape{number}.db" for number in count())
        self._opened = opened
        self._durability = durability

    def create(self) -> TapeStore:
        return self._opened.enter_context(
            closing(SqliteTape.create(next(self._paths), self._durability))
        )

    def read(self, tape: TapeStore) -> BlockReader:
        assert isinstance(tape, SqliteTape)
        return self._opened.enter_context(closing(SqliteTapeReader(tape.path)))


class PostgresCase:
    """The tape in a database that many share; whatever was opened is closed with `opened`."""

    def __init__(
        self, folder: Path, opened: ExitStack, durability: Durability, server: TapeServer
    ) -> None:
        self._paths = (folder / f"tape{number}.json" for number in count())
        self._opened = opened
        self._durability = durability
        self._server = server

    def create(self) -> TapeStore:
        return self._opened.enter_context(
            closing(PostgresTape.create(next(self._paths), self._server, self._durability))
        )

    def read(self, tape: TapeStore) -> BlockReader:
        assert isinstance(tape, PostgresTape)
        return self._opened.enter_context(closing(PostgresTapeReader(tape.path)))


Case = MemoryCase | SqliteCase | PostgresCase


STORES = [("memory", Durability.PROCESS_END), *product(["sqlite", "postgres"], Durability)]


@pytest.fixture(params=STORES, ids=lambda param: f"{param[0]}-{param[1].name}")
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with ExitStack() as opened:
        match request.param:
            case ("sqlite", durability):
                yield SqliteCase(tmp_path, opened, durability)
            case ("postgres", durability):
                postgres: PostgresServer = request.getfixturevalue("postgres")
                yield PostgresCase(tmp_path, opened, durability, postgres.server)
            case _:
                yield MemoryCase()


def write(case: Case, session: list[Step], *, commit_every: int = 0) -> TapeStore:
    tape = case.create()
    for number, step in enumerate(session, 1):
        tape.append(*step)
        if commit_every and number % commit_every == 0:
            tape.commit()
    tape.commit()
    return tape


def test_reader_of_a_session_gives_every_event_in_its_envelope(case: Case) -> None:
    session = make_session(orders=2)
    events = list(case.read(write(case, session)).events())
    assert [event.seq for event in events] == [1, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert [event.payload for event in events] == [p for *_, ev in session for p, _, _ in ev]
    assert [(e.type, e.source) for e in events[:5]] == [
        ("session.started", "session"),
        ("intent.order", "strategy:sma_cross"),
        ("risk.approved", "risk"),
        ("order.submitted", "oms"),
        ("order.accepted", "venue"),
    ]
    assert [(e.correlation_id, e.causation_id) for e in events[1:5]] == [
        (2, 2), (2, 3), (2, 4), (2, 5),
    ]  # fmt: skip
    assert {e.ts_event for e in events[1:5]} == {e.ts_ingest for e in events[1:5]}
    assert events[1].ts_event == session[1][1]


def test_reader_from_a_seq_starts_inside_a_record(case: Case) -> None:
    reader = case.read(write(case, make_session(orders=40), commit_every=7))
    everything = list(reader.events())
    for first_seq in (0, 1, 2, 5, 100, 101, 202):
        assert list(reader.events(first_seq)) == [e for e in everything if e.seq >= first_seq]
    assert list(reader.events(203)) == []


def test_records_keep_the_row_of_the_pinned_timeline(case: Case) -> None:
    records = list(case.read(write(case, make_session(orders=2))).records())
    assert [(r.first_seq, r.last_seq, r.market_index) for r in records] == [
        (1, 1, -1), (3, 6, 1), (8, 11, 2), (12, 12, -1),
    ]  # fmt: skip


def test_digest_is_the_same_however_commits_cut_the_blocks(case: Case) -> None:
    session = make_session(orders=30)
    tapes = [write(case, session, commit_every=every) for every in (0, 1, 5)]
    reference = MemoryTape()
    for step in session:
        reference.append(*step)
    assert {tape.digest for tape in tapes} == {reference.digest}
    assert {case.read(tape).digest for tape in tapes} == {reference.digest}
    assert all(list(case.read(t).events()) == list(case.read(tapes[0]).events()) for t in tapes)


@pytest.mark.parametrize("field", range(3))
def test_digest_covers_every_field_of_a_step(case: Case, field: int) -> None:
    session = make_session(orders=3)
    changed = list(session[1])
    changed[field] += 1
    digests = {write(case, session).digest}
    digests.add(write(case, [session[0], tuple(changed), *session[2:]]).digest)  # type: ignore[list-item]
    digests.add(write(case, [session[0], session[2], session[1], session[3]]).digest)
    digests.add(write(case, session[1:]).digest)
    assert len(digests) == 4


def test_digest_of_the_format_stays_what_it_was(case: Case) -> None:
    """Pinned: a change of this number is a change of the format and needs a new version."""
    cash = CapitalDeposited("sma_cross", "USD", 10_000_000_000_000)
    score = SignalRecorded("sma_cross", "score", 0.25)
    tape = write(case, [(1, TS_START, -1, [(cash, 0, 0)]), (3, TS_START, 0, [(score, 2, 2)])])
    assert tape.digest == "49a1f6d8ddd7d519c70f7752ff38bf5013b10863607116b751ec27ca8aa3c430"


def test_empty_tape_has_the_genesis_digest_and_no_header(case: Case) -> None:
    tape = case.create()
    reader = case.read(tape)
    assert (tape.digest, reader.digest) == (GENESIS.hex(), GENESIS.hex())
    assert not reader.is_complete
    assert list(reader.events()) == []
    audit = reader.audit()
    assert (audit.records, audit.complete, audit.damage) == (0, False, None)
    with pytest.raises(DataError, match="empty"):
        _ = reader.header


def test_header_is_the_first_event(case: Case) -> None:
    header = case.read(write(case, make_session(orders=1))).header
    assert isinstance(header, SessionStarted)
    assert header == STARTED


def test_header_of_a_tape_that_starts_otherwise_raises(case: Case) -> None:
    reader = case.read(write(case, [make_order_step(1, 1)]))
    with pytest.raises(DataError, match="starts with another event"):
        _ = reader.header


def test_tape_without_session_stopped_is_incomplete(case: Case) -> None:
    session = make_session(orders=3)
    assert case.read(write(case, session)).is_complete
    reader = case.read(write(case, session[:-1]))
    assert not reader.is_complete
    audit = reader.audit()
    assert (audit.damage, audit.complete, audit.events) == (None, False, 13)


def test_append_of_no_events_leaves_no_trace(case: Case) -> None:
    session = make_session(orders=2)
    with_gaps: list[Step] = [s for step in session for s in (step, (99, TS_START, 0, ()))]
    assert write(case, with_gaps).digest == write(case, session).digest


def test_append_keeps_the_events_when_the_caller_reuses_its_list(case: Case) -> None:
    tape = case.create()
    outbox = [(CapitalDeposited("sma_cross", "USD", 100), 0, 0)]
    tape.append(1, TS_START, -1, outbox)
    outbox.clear()
    tape.commit()
    assert [event.seq for event in case.read(tape).events()] == [1]


def test_events_written_counts_what_is_not_committed_yet(case: Case) -> None:
    tape = case.create()
    seen: list[int] = []
    for step in make_session(orders=2):
        tape.append(*step)
        seen.append(tape.events_written)
    tape.commit()
    assert [*seen, tape.events_written] == [1, 5, 9, 10, 10]


@pytest.mark.parametrize("cut", [1, 7, 5_000])
def test_encoded_steps_make_the_same_blocks(case: Case, cut: int) -> None:
    session = make_session(700)
    one, other = case.create(), case.create()
    for step in session:
        one.append(*step)
    digest = GENESIS
    for start in range(0, len(session), cut):
        steps = encode_steps(session[start : start + cut], digest)
        other.append_encoded(steps)
        digest = steps.digests[-len(digest) :]
    assert other.events_written == one.events_written > BLOCK_EVENTS
    assert other.records_written == one.records_written == len(session)
    assert other.digest == one.digest
    blocks = [[*case.read(each).blocks()] for each in (one, other)]
    assert blocks[0] == blocks[1]
    assert len(blocks[0]) > 1


def test_encoded_steps_of_another_chain_are_refused(case: Case) -> None:
    session = make_session(3)
    tape = case.create()
    tape.append(*session[0])
    with pytest.raises(InvariantBroken, match="not chained to its tape"):
        tape.append_encoded(encode_steps(session[1:], GENESIS))
    tape.append_encoded(encode_steps(session[1:], bytes.fromhex(tape.digest)))
    assert tape.records_written == len(session)


def test_append_without_commit_stores_full_blocks_only(case: Case) -> None:
    tape = case.create()
    reader = case.read(tape)
    for step in make_session(orders=BLOCK_EVENTS // 4)[:-1]:
        tape.append(*step)
    assert sum(1 for _ in reader.events()) == BLOCK_EVENTS + 1
    tape.append(10**6, TS_START, -1, [(CapitalDeposited("sma_cross", "USD", 1), 0, 0)])
    assert sum(1 for _ in reader.events()) == BLOCK_EVENTS + 1
    tape.commit()
    assert sum(1 for _ in reader.events()) == BLOCK_EVENTS + 2


def test_long_session_audits_clean(case: Case) -> None:
    tape = write(case, make_session(orders=BLOCK_EVENTS))
    audit = case.read(tape).audit()
    assert (audit.blocks, audit.records, audit.events) == (5, BLOCK_EVENTS + 2, tape.events_written)
    assert (audit.complete, audit.damage, audit.digest) == (True, None, tape.digest)


@pytest.mark.parametrize("value", [2**64, object(), "\ud800"], ids=["big", "object", "surrogate"])
def test_append_of_what_can_not_be_stored_names_the_event(case: Case, value: object) -> None:
    tape = case.create()
    tape.append(*make_session(orders=1)[0])
    tape.commit()
    broken = SignalRecorded("sma_cross", "score", value)  # type: ignore[arg-type]
    good = SignalRecorded("sma_cross", "score", 1.0)
    for _ in range(2):
        with pytest.raises(InvariantBroken, match="seq 8: SignalRecorded"):
            tape.append(7, TS_START, 0, [(good, 0, 0), (broken, 0, 0)])
        tape.commit()
    assert [event.seq for event in case.read(tape).events()] == [1]


def test_reader_keeps_nan_and_infinities(case: Case) -> None:
    values = [float("nan"), float("inf"), float("-inf"), -0.0]
    events = [(SignalRecorded("s", "score", value), 0, 0) for value in values]
    reader = case.read(write(case, [(1, TS_START, -1, events)]))
    assert [repr(event.payload.value) for event in reader.events()] == [repr(v) for v in values]  # type: ignore[union-attr]


# Snapshots.


def write_with_snapshots(case: Case, kept_after: list[int], orders: int = 20) -> TapeStore:
    """A session with a snapshot behind each of these numbers of steps; rows count the steps."""
    tape = case.create()
    for number, step in enumerate(make_session(orders), 1):
        tape.append(*step)
        if number in kept_after:
            tape.keep(number, step[1], b"state %d" % number)
    tape.commit()
    return tape


def test_snapshots_come_back_in_order_with_their_place(case: Case) -> None:
    tape = write_with_snapshots(case, [1, 5, 14])
    found = list(case.read(tape).snapshots())
    session = make_session(orders=20)
    events = [sum(len(step[3]) for step in session[:count]) for count in (1, 5, 14)]
    assert [each.number for each in found] == [0, 1, 2]
    assert [each.rows for each in found] == [1, 5, 14]
    assert [each.events for each in found] == events == [1, 17, 53]
    assert [each.ts for each in found] == [session[count - 1][1] for count in (1, 5, 14)]
    assert [each.blocks for each in found] == [1, 2, 3]
    assert [each.state for each in found] == [b"state 1", b"state 5", b"state 14"]


def test_snapshot_names_the_digest_of_the_record_before_it(case: Case) -> None:
    (snapshot,) = case.read(write_with_snapshots(case, [5])).snapshots()
    prefix = MemoryTape()
    for step in make_session(orders=20)[:5]:
        prefix.append(*step)
    assert snapshot.chain.hex() == prefix.digest


def test_snapshot_before_any_record_follows_the_genesis(case: Case) -> None:
    tape = case.create()
    tape.keep(0, TS_START, b"nothing yet")
    (snapshot,) = case.read(tape).snapshots()
    assert (snapshot.blocks, snapshot.events, snapshot.chain) == (0, 0, GENESIS)
    assert case.read(tape).audit().damage is None


def test_snapshots_change_no_digest(case: Case) -> None:
    """A run is the same however often it was looked at."""
    digests = {write_with_snapshots(case, kept).digest for kept in ([], [3], [1, 2, 9, 21])}
    assert len(digests) == 1


def test_snapshot_is_readable_as_soon_as_it_is_kept(case: Case) -> None:
    tape = case.create()
    session = make_session(orders=3)
    for step in session[:3]:
        tape.append(*step)
    tape.keep(3, TS_START, b"state")
    reader = case.read(tape)
    assert sum(1 for _ in reader.records()) == 3
    assert [each.state for each in reader.snapshots()] == [b"state"]


def test_snapshots_from_a_row_on(case: Case) -> None:
    reader = case.read(write_with_snapshots(case, [1, 5, 14]))
    for first_rows, rows in ((0, [1, 5, 14]), (1, [1, 5, 14]), (2, [5, 14]), (14, [14]), (15, [])):
        assert [each.rows for each in reader.snapshots(first_rows)] == rows


def test_newest_snapshot_is_no_later_than_asked(case: Case) -> None:
    reader = case.read(write_with_snapshots(case, [1, 5, 14]))
    session = make_session(orders=20)

    def rows(**limits: int) -> int:
        found = reader.newest_snapshot(**limits)
        return found.rows if found else 0

    assert rows() == 14
    assert [rows(events=limit) for limit in (0, 1, 16, 17, 52, 53, 10**9)] == [
        0,
        1,
        1,
        5,
        5,
        14,
        14,
    ]
    ts = [session[count - 1][1] for count in (1, 5, 14)]
    assert [rows(ts=limit) for limit in (ts[0] - 1, ts[0], ts[1], ts[2] - 1, ts[2])] == [
        0,
        1,
        5,
        5,
        14,
    ]
    assert rows(events=20, ts=ts[0]) == 1
    assert rows(events=1, ts=ts[2]) == 1


def test_tape_without_snapshots_has_none(case: Case) -> None:
    reader = case.read(write(case, make_session(orders=2)))
    assert list(reader.snapshots()) == []
    assert reader.newest_snapshot() is None


def test_audit_covers_snapshots(case: Case) -> None:
    audit = case.read(write_with_snapshots(case, [1, 5, 14])).audit()
    assert (audit.damage, audit.complete) == (None, True)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(session=steps(), commit_every=st.integers(0, 3))
def test_round_trip_of_any_payload_is_exact(
    case: Case, session: list[Step], commit_every: int
) -> None:
    tape = write(case, session, commit_every=commit_every)
    reader = case.read(tape)
    read = [(r.first_seq, r.ts, r.market_index, tuple(r.events)) for r in reader.records()]
    assert read == session
    assert [type(p) for *_, ev in read for p, _, _ in ev] == [
        type(p) for *_, ev in session for p, _, _ in ev
    ]
    audit = reader.audit()
    assert (audit.damage, audit.digest) == (None, tape.digest)
