"""The inputs of a realtime session, read back from its tape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import get_args

import msgspec

from onetape.domain.events import SessionStarted, SessionStopped, StrategyQuarantined
from onetape.domain.venue import BarClosed
from onetape.runtime.live_pipeline import LiveInput, find_call
from onetape.runtime.sessions.realtime import RealtimeSession
from onetape.tape.block import Record, decode_record

_KINDS = frozenset(get_args(LiveInput))
_QUARANTINED = str(StrategyQuarantined.__struct_config__.tag).encode()


class Input(msgspec.Struct, frozen=True):
    """One input at its time (ns UTC): the bars of a slice, anything else, or only time.

    `stuck` is a strategy that did not come back while it was processed.
    """

    ts: int
    bars: tuple[BarClosed, ...] = ()
    given: LiveInput | SessionStarted | SessionStopped | None = None
    stuck: StrategyQuarantined | None = None


def read_inputs(records: Iterable[bytes]) -> Iterator[Input]:
    """The inputs among the records of a tape, in order.

    An input is the first event of its record, and nothing has caused it. The bars of one slice have
    records of their own, with what each of them caused between them. The last one has nothing but
    the time of the last record, which may be of something that time alone has caused.

    Raises:
        DataError: A record can't be read.
    """
    ts = 0
    bars: list[BarClosed] = []
    other: Input | None = None
    stuck: StrategyQuarantined | None = None

    def finish() -> Iterator[Input]:
        if bars:
            yield Input(bars[0].ts_known, tuple(bars), stuck=stuck)
        elif other is not None:
            yield msgspec.structs.replace(other, stuck=stuck)

    for data in records:
        record = decode_record(data)
        given, _, cause = record.events[0]
        is_bar = isinstance(given, BarClosed)
        if (is_bar and not (bars and given.ts_known == bars[0].ts_known)) or (
            not cause and _is_input(record)
        ):
            yield from finish()
            bars, other, stuck = [], None, None
        if is_bar:
            bars.append(given)
        elif not cause and _is_input(record):
            other = Input(record.ts, given=given)  # pyright: ignore[reportArgumentType]
        if _QUARANTINED in data:
            for payload, _, _ in record.events:
                if isinstance(payload, StrategyQuarantined) and find_call(payload):
                    stuck = payload
        ts = record.ts
    yield from finish()
    yield Input(ts)


def _is_input(record: Record) -> bool:
    kind = type(record.events[0][0])
    return kind in _KINDS or kind in (SessionStarted, SessionStopped)


def give(session: RealtimeSession, each: Input) -> None:
    """Give one input to a session."""
    session.pipeline.stuck = each.stuck
    if each.bars:
        session.take_bars(each.bars)
    elif isinstance(each.given, SessionStarted):
        session.start(each.ts)
    elif isinstance(each.given, SessionStopped):
        session.stop(each.given.reason, each.ts)
    elif each.given is not None:
        session.take(each.given, each.ts)
    else:
        session.advance(each.ts)
    session.pipeline.stuck = None
