"""The parity sentinel: a session is verified, then run again as a backtest would have run it.

What the venue said is left out, and the simulated one takes its place. Bars are known when they
close and ticks when they happen, as in a backtest: that they came later is part of what reality
costs. Operators' commands and connections stay as they were. Where nothing but bars or ticks drove
the session, the real backtest runs over them too, and must say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heappop, heappush
from pathlib import Path

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.events import KillSwitchSet, SessionStopped, StrategyQuarantined
from onetape.domain.instrument import Instrument
from onetape.domain.legs import markets_among
from onetape.domain.market import CorporateAction
from onetape.domain.numbers import INT64_MAX
from onetape.domain.venue import (
    ConnectionChanged,
    OperatorAction,
    OperatorCommand,
    RowHeard,
    SessionResumed,
    VenueReport,
    VenueSnapshot,
)
from onetape.marketdata.timeline import Timeline
from onetape.runtime.live_pipeline import StuckCall, next_call
from onetape.runtime.parity.comparison import Comparison, compare_paths
from onetape.runtime.parity.paths import SessionPaths
from onetape.runtime.sessions.live_inputs import Input, give, read_inputs
from onetape.runtime.sessions.live_run import open_session
from onetape.runtime.sessions.live_timeline import build_rows
from onetape.runtime.sessions.recorded import RecordedSession, find_catalog, load_recorded
from onetape.runtime.verification import Verdict, Verification, verify_tape
from onetape.strategy.sdk import Strategy
from onetape.tape.block import decode_record
from onetape.tape.opening import open_tape
from onetape.tape.reader import BlockReader

_COMPARED = (Verdict.IDENTICAL, Verdict.INCOMPLETE)
"""Of other verdicts a difference could come from anything."""

_BLOCK_ROWS = 4_096


class Parity(msgspec.Struct, frozen=True, kw_only=True):
    """What the sentinel found.

    Attributes:
        name: Of the session's configuration.
        mode: `paper` or `live`.
        instruments: What it traded, for whoever shows prices.
        verification: Whether it decides the same again.
        doubtful_bars: Bars or ticks that are flagged: late, repaired, behind a gap.
        bars: All of them.
        rows: What they are: `bars` or `ticks`.
        comparison: The session beside its inputs at the simulated venue; None: it can't be run.
        backtest: The session at the simulated venue beside a backtest of its bars, which says the
            same; None: not compared.
        no_backtest: Why it was not.
    """

    name: str
    mode: str
    instruments: tuple[Instrument, ...]
    verification: Verification
    doubtful_bars: int = 0
    bars: int = 0
    rows: str = "bars"
    comparison: Comparison | None = None
    backtest: Comparison | None = None
    no_backtest: str = ""

    @property
    def is_backtest_same(self) -> bool:
        """Whether session and backtest make the same of the simulated venue."""
        backtest = self.backtest
        return backtest is not None and not backtest.partings and not backtest.differences

    @property
    def exit_code(self) -> int:
        """That of `verify`; 4 where a session and a backtest of ours disagree."""
        if self.backtest is not None and not self.is_backtest_same:
            return 4
        return self.verification.verdict.exit_code


def check_parity(tape: Path, catalog: Path | None = None) -> Parity:
    """Verify a paper or live session, run it again at the simulated venue, and compare.

    Args:
        tape: Its tape.
        catalog: For `verify_tape`.

    Raises:
        ConfigError: It is a backtest.
        DataError: There is no tape, or it can't be read.
        InvariantBroken: A difference has no cause: something of ours is wrong.
    """
    reader = open_tape(tape)
    try:
        header = reader.header
        if header.mode == "backtest":
            raise ConfigError(
                "a backtest has no parity to keep", where=str(tape),
                remedy="name a paper or live session, or use onetape verify",
            )  # fmt: skip
        verification = verify_tape(tape, catalog)
        found = Parity(
            name=msgspec.json.decode(header.config).get("name", ""), mode=header.mode,
            instruments=tuple(header.instruments), verification=verification,
        )  # fmt: skip
        if verification.verdict not in _COMPARED:
            return found

        def read_timed() -> Iterator[Input]:
            return time_at_close(read_inputs(reader.encoded_records()))

        def read_until_stop() -> Iterator[Input]:
            return cut_at_stop(read_timed())

        session = read_paths(reader.encoded_records())
        recorded = _load(reader, tape, catalog)
        timeline = recorded.timeline
        simulated = run_simulated(recorded, read_timed())
        found = msgspec.structs.replace(
            found, bars=session.rows, rows="ticks" if session.has_ticks else "bars",
            doubtful_bars=session.doubtful,
            comparison=compare_paths(session, simulated, timeline),
        )  # fmt: skip
        recorded = _load(reader, tape, catalog)
        why = find_obstacle(recorded, read_until_stop())
        if why:
            return msgspec.structs.replace(found, no_backtest=why)
        backtest, timeline = run_backtest(recorded, read_until_stop)
        simulated = run_simulated(_load(reader, tape, catalog), read_until_stop())
        return msgspec.structs.replace(found, backtest=compare_paths(simulated, backtest, timeline))
    finally:
        reader.close()


def _load(reader: BlockReader, tape: Path, catalog: Path | None) -> RecordedSession:
    """The session with new strategies, for they hold state."""
    recorded, changes = load_recorded(
        reader.header, catalog or find_catalog(tape.parent), tape.parent, reader.encoded_records
    )
    if recorded is None:
        raise ConfigError(changes[0].what)
    return recorded


def read_paths(records: Iterable[bytes]) -> SessionPaths:
    """What became of the decisions on a tape.

    Raises:
        DataError: A record can't be read.
    """
    paths = SessionPaths()
    for data in records:
        record = decode_record(data)
        paths.append(record.first_seq, record.ts, record.market_index, record.events)
    return paths


def time_at_close(inputs: Iterable[Input]) -> Iterator[Input]:
    """The inputs without the venue's, and rows at the time of their close.

    Rows keep their order, and never pass an operator's command or a corporate action; but they pass
    the news of a connection that came before them, where they closed before it. A strategy that did
    not come back while the venue reported does not come back in the next input.
    """
    waiting: list[tuple[int, int, Input]] = []  # by (when it is wanted, place among the inputs)
    newest = last = 0
    stuck: tuple[tuple[StuckCall, StrategyQuarantined], ...] = ()

    def take_until(ts: int) -> Iterator[Input]:
        nonlocal last
        while waiting and waiting[0][0] <= ts:
            wanted, _, each = heappop(waiting)
            last = max(wanted, last + 1)
            rows, given = tuple(row.known_at(last) for row in each.rows), each.given
            if isinstance(given, CorporateAction):
                given = msgspec.structs.replace(given, ts_known=last)
            yield msgspec.structs.replace(each, ts=last, rows=rows, given=given)

    for place, each in enumerate(inputs):
        if isinstance(each.given, VenueReport | VenueSnapshot):
            stuck += each.stuck
            continue
        kept, stuck = msgspec.structs.replace(each, stuck=stuck + each.stuck), ()
        if kept.rows:
            closed = max(row.ts_close for row in kept.rows)
            newest = max(newest, kept.ts if kept.rows[0].is_history else closed)
            heappush(waiting, (newest, place, kept))
            # No later row is wanted before this one, and no news before now.
            yield from take_until(min(newest, kept.ts))
        elif isinstance(kept.given, ConnectionChanged):
            heappush(waiting, (kept.ts, place, kept))
        else:
            yield from take_until(INT64_MAX)
            heappush(waiting, (kept.ts, place, kept))
            yield from take_until(INT64_MAX)
    yield from take_until(INT64_MAX)


def run_simulated(recorded: RecordedSession, inputs: Iterable[Input]) -> SessionPaths:
    """Inputs without a venue's, at the simulated one.

    A strategy that did not come back is taken out when it is called next, from that input on.
    """
    paths = SessionPaths()
    session = open_session(
        recorded.config, recorded.specs, recorded.header.instruments, paths, recorded.header,
        ts_start=0, is_simulated=True,
    )  # fmt: skip
    with recorded.watching():
        for each in inputs:
            stuck = tuple((next_call(event), event) for _, event in each.stuck)
            give(session, msgspec.structs.replace(each, stuck=stuck))
    return paths


def cut_at_stop(inputs: Iterable[Input]) -> Iterator[Input]:
    """Inputs up to the operator's wish to stop, which is only time here."""
    for each in inputs:
        match each.given:
            case OperatorCommand(action=OperatorAction.STOP) | SessionStopped():
                yield Input(each.ts)
                return
            case _:
                yield each


def find_obstacle(recorded: RecordedSession, inputs: Iterable[Input]) -> str:
    """Why a backtest can't be given what a session was given; empty: it can."""
    if recorded.broken:
        return "a feature failed"
    begun = False
    for each in inputs:
        if each.stuck:
            return "a strategy did not come back"
        if each.rows:
            if begun and each.rows[0].is_history:
                return "bars or prints were missed and came as history"
            begun = begun or not each.rows[0].is_history
        match each.given:
            case OperatorCommand() | KillSwitchSet():
                return "an operator intervened"
            case SessionResumed():
                return "the process began anew"
            case ConnectionChanged(is_up=False, instruments=[]):
                return "a connection was gone"
            case ConnectionChanged() if _hears_connections(recorded):
                return "a strategy listens to connections"
            case _:
                pass
    return "" if begun else "no bar or tick came"


def _hears_connections(recorded: RecordedSession) -> bool:
    return any(
        type(each.strategy).on_connection is not Strategy.on_connection for each in recorded.specs
    )


def run_backtest(
    recorded: RecordedSession, read_timed: Callable[[], Iterator[Input]]
) -> tuple[SessionPaths, Timeline]:
    """A backtest of the rows among the inputs, begun when the session was; and its rows.

    Those from before it move features and marks, as in the session.
    """

    def read_rows() -> Iterator[RowHeard]:
        return (row for each in read_timed() for row in each.rows)

    data = recorded.config.data
    markets = markets_among(recorded.header.instruments)
    timeline = build_rows(markets, read_rows, data.timeframe, data.source)
    paths = SessionPaths(read_rows())
    first, history, last = next(read_timed()).ts, 0, 0
    actions: list[CorporateAction] = []
    for each in read_timed():
        history += sum(1 for row in each.rows if row.is_history)
        if isinstance(each.given, CorporateAction):
            actions.append(each.given)
        last = each.ts
    timeline = timeline.with_actions(actions)
    if recorded.terms.has_legs:
        timeline = timeline.with_legs()
    session = msgspec.structs.replace(recorded, read_market=lambda: timeline).open(paths)
    with recorded.watching():
        session.start(first, history)
        for _, stop in session.cut_blocks(_BLOCK_ROWS):
            session.advance(stop)
        # What was due before the end, and a switch that is off already.
        session.pipeline.control(KillSwitchSet(active=False, reason="over"), last)
    return paths, timeline
