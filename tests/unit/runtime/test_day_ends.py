"""The ends of trading days: where they are, and what a task posts there."""

from __future__ import annotations

import numpy as np

from onetape.domain.events import CashPosted, TimerFired
from onetape.domain.market import Bar
from onetape.domain.postings import PostingKind
from onetape.marketdata.timeline import DayEnd, Timeline
from onetape.risk.limits import RiskLimits
from onetape.runtime.bookkeeper import Bookkeeper
from onetape.runtime.sessions.backtest import BacktestSession, SessionIdentity, StrategySpec
from onetape.runtime.sessions.recovery import fold_tape
from onetape.runtime.sessions.session_state import decode_state, encode_state
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from onetape.tape.reader import MemoryTapeReader
from onetape.tape.store import MemoryTape
from tests.support.session_runs import make_terms
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    OTHER,
    T0,
    flat,
    make_columns,
    make_timeline,
)  # fmt: skip


class Rent:
    """Takes a minor unit for each instrument whose day ends, but not where `free` rows are over."""

    def __init__(self, books: Bookkeeper, free: int = -1) -> None:
        self._books = books
        self._free = free

    def end_day(self, day_end: DayEnd) -> None:
        if day_end.rows != self._free:
            amount = -len(day_end.instruments)
            self._books.post("s0", PostingKind.FEE, amount, AAPL, f"{day_end.rows} rows")


class Idle(Strategy):
    """Holds one share, and sets a timer for the end of every session."""

    def on_bar(self, bar: Bar, ctx: Context) -> None:
        if not ctx.position(AAPL):
            ctx.buy(AAPL, 1)
        ctx.set_timer("end", bar.session_close)


def open_session(timeline: Timeline, tape: MemoryTape, free: int = -1) -> BacktestSession:
    spec = StrategySpec(name="s0", strategy=Idle(), capital=10**12)
    session = BacktestSession(
        timeline, [spec], make_terms(timeline), RiskLimits(max_leverage=2), tape, SessionIdentity()
    )
    session.at_day_ends(Rent(session.desk.books, free))
    return session


def test_days_end_at_the_close_of_the_session_or_where_its_last_row_is_known() -> None:
    timeline = make_timeline(flat(*[10] * 10), session=4)
    ends = [T0 + rows * MINUTE for rows in (4, 8, 10)]
    assert timeline.day_ends == [
        DayEnd(ends[0], 4, (0,)), DayEnd(ends[1], 8, (0,)), DayEnd(ends[2], 10, (0,))
    ]  # fmt: skip
    late = make_timeline(flat(*[10] * 8), session=4, delay=MINUTE // 2)
    assert late.day_ends == [
        DayEnd(ends[0] + MINUTE // 2, 4, (0,)), DayEnd(ends[1] + MINUTE // 2, 8, (0,))
    ]  # fmt: skip


def test_days_of_several_instruments_end_together_where_their_times_are_equal() -> None:
    one, two = make_columns(flat(*[10] * 8), session=4), make_columns(flat(*[10] * 8), session=8)
    timeline = make_timeline((EQUITY, one), (OTHER, two))
    assert timeline.day_ends == [
        DayEnd(T0 + 4 * MINUTE, 8, (0,)), DayEnd(T0 + 8 * MINUTE, 16, (0, 1))
    ]  # fmt: skip


def test_day_that_is_not_over_at_the_last_row_has_no_end() -> None:
    columns = make_columns(flat(*[10] * 8), session=4)
    columns["session_close"][4:] += 60 * MINUTE
    assert [each.rows for each in make_timeline((EQUITY, columns)).day_ends] == [4]


def test_rows_outside_sessions_count_toward_the_session_that_ends_last() -> None:
    """Before the open a row's session ends at midnight, in the session at its close."""
    columns = make_columns(flat(*[10] * 6))
    hour = 60 * MINUTE
    columns["session_close"] = np.array([9, 1, 9, 18, 10, 18], dtype=np.int64) * hour + T0
    columns["ts_known"][-1] = columns["ts_known"][-1] + 20 * hour
    ends = make_timeline((EQUITY, columns)).day_ends
    assert [(each.ts, each.rows) for each in ends] == [
        (T0 + 9 * hour, 5), (int(columns["ts_known"][-1]), 6)
    ]  # fmt: skip


def test_step_at_a_day_end_comes_behind_the_rows_and_timers_of_its_time() -> None:
    timeline = make_timeline(flat(*[10] * 12), session=4)
    tape = MemoryTape()
    open_session(timeline, tape, free=8).run()
    reader = MemoryTapeReader(tape)
    events = list(reader.events())
    story = [
        (each.ts_event, type(each.payload).__name__)
        for each in events
        if isinstance(each.payload, CashPosted | TimerFired)
    ]
    first, second, third = (T0 + rows * MINUTE for rows in (4, 8, 12))
    assert story == (
        [(first, "TimerFired")] * 4 + [(first, "CashPosted")] + [(second, "TimerFired")] * 4
        + [(third, "TimerFired")] * 4 + [(third, "CashPosted")]
    )  # fmt: skip
    posted = [each for each in events if isinstance(each.payload, CashPosted)]
    folded = fold_tape(reader, posted[0].seq)
    assert folded.ledgers["s0"].fees == 1
    assert folded.ledgers["s0"].cash == posted[0].payload.cash


def test_session_with_day_ends_in_parts_equals_the_whole_one() -> None:
    timeline = make_timeline(flat(*range(10, 30)), flat(*range(10, 30)), session=5)
    tape = MemoryTape()
    whole = open_session(timeline, tape)
    whole.run()
    records = list(MemoryTapeReader(tape).encoded_records())
    assert sum(b"account.posted" in each for each in records) == 4
    parts: list[bytes] = []
    tape = MemoryTape()
    session = open_session(timeline, tape)
    session.start()
    for _, stop in list(session.cut_blocks(1)):
        session.advance(stop)
        tape.commit()
        parts += MemoryTapeReader(tape).encoded_records()
        kept = encode_state(session.save())
        tape = MemoryTape()
        session = open_session(timeline, tape)
        session.restore(decode_state(kept))
        assert encode_state(session.save()) == kept
    session.finish()
    tape.commit()
    assert parts + list(MemoryTapeReader(tape).encoded_records()) == records
    assert session.save() == whole.save()
