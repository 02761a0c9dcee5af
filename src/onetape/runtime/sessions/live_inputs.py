"""The inputs of a realtime session, read back from its tape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from onetape.domain.events import SessionStarted, SessionStopped, StrategyQuarantined
from onetape.domain.venue import RowHeard
from onetape.runtime.live_pipeline import LiveInput, StuckCall, find_call
from onetape.runtime.sessions.realtime import RealtimeSession
from onetape.tape.block import Record, decode_record

_QUARANTINED = str(StrategyQuarantined.__struct_config__.tag).encode()


class Input(msgspec.Struct, frozen=True):
    """One input at its time (ns UTC): the bars or ticks of a slice, anything else, or only time.

    `stuck` are the calls that did not come back while it was processed, or behind it, when time had
    come for a timer or a report.
    """

    ts: int
    rows: tuple[RowHeard, ...] = ()
    given: LiveInput | SessionStarted | SessionStopped | None = None
    stuck: tuple[tuple[StuckCall, StrategyQuarantined], ...] = ()


def read_inputs(records: Iterable[bytes]) -> Iterator[Input]:
    """The inputs among the records of a tape, in order.

    An input is the first event of its record, and nothing has caused it; but the stop is the last,
    behind what strategies have done when they heard of it, and before it time comes to the record
    in front of it. The rows of one slice have records of their own, with what each of them caused
    between them. The last one has nothing but the time of the last record, which may be of
    something that time alone has caused.

    Raises:
        DataError: A record can't be read.
    """
    ts = 0
    rows: list[RowHeard] = []
    other: Input | None = None
    stuck: list[tuple[StuckCall, StrategyQuarantined]] = []

    def finish() -> Iterator[Input]:
        if rows:
            yield Input(rows[0].ts_known, tuple(rows), stuck=tuple(stuck))
        elif other is not None:
            yield msgspec.structs.replace(other, stuck=tuple(stuck))
        elif stuck:  # the records begin behind an input, with what time has made due since then
            yield Input(0, stuck=tuple(stuck))

    for data in records:
        record = decode_record(data)
        given = _find_input(record)
        is_next_of_slice = (
            isinstance(given, RowHeard) and rows and given.ts_known == rows[0].ts_known
        )
        if given is not None and not is_next_of_slice:
            yield from finish()
            rows, other, stuck = [], None, []
        if isinstance(given, SessionStopped):
            yield Input(ts)  # what time alone has made due before it
        if isinstance(given, RowHeard):
            rows.append(given)
        elif given is not None:
            other = Input(record.ts, given=given)
        if _QUARANTINED in data:
            for payload, _, _ in record.events:
                if isinstance(payload, StrategyQuarantined) and (number := find_call(payload)):
                    call = (payload.strategy, record.first_seq, record.market_index, number)
                    stuck.append((call, payload))
        ts = record.ts
    yield from finish()
    yield Input(ts)


def _find_input(record: Record) -> RowHeard | LiveInput | SessionStarted | SessionStopped | None:
    """The input that a record begins with, or the stop that it ends with."""
    last = record.events[-1][0]
    if isinstance(last, SessionStopped):
        return last
    first, _, cause = record.events[0]
    if isinstance(first, RowHeard | SessionStarted):
        return first
    return first if not cause and isinstance(first, LiveInput) else None


def give(session: RealtimeSession, each: Input) -> None:
    """Give one input to a session."""
    session.pipeline.stuck.update(each.stuck)
    if each.rows:
        session.take_rows(each.rows)
    elif isinstance(each.given, SessionStarted):
        session.start(each.ts)
    elif isinstance(each.given, SessionStopped):
        session.stop(each.given.reason, each.ts)
    elif each.given is not None:
        session.take(each.given, each.ts)
    else:
        session.advance(each.ts)
