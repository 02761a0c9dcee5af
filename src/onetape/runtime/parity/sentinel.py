"""The parity sentinel: a session is verified, then run again as a backtest would have run it.

What the venue said is left out, and the simulated one takes its place. Bars are known when they
close and ticks when they happen, as in a backtest: that they came later is part of what reality
costs. Operators' commands and connections stay as they were. Where nothing but bars or ticks drove
the session, the real backtest runs over them too, and must say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.events import KillSwitchSet, SessionStopped, StrategyQuarantined
from onetape.domain.instrument import Instrument
from onetape.domain.legs import markets_among
from onetape.domain.market import CorporateAction
from onetape.domain.venue import (
    ConnectionChanged,
    OperatorAction,
    OperatorCommand,
    RowHeard,
    SessionResumed,
    TickHeard,
    VenueReport,
    VenueSnapshot,
)
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
        session = read_paths(reader.encoded_records())
        inputs = time_at_close(read_inputs(reader.encoded_records()))
        simulated = run_simulated(_load(reader, tape, catalog), inputs)
        found = msgspec.structs.replace(
            found, bars=len(session.bars),
            rows="ticks" if isinstance(session.bars[0], TickHeard) else "bars",
            doubtful_bars=sum(1 for each in session.bars if each.quality),
            comparison=compare_paths(session, simulated, header.instruments),
        )  # fmt: skip
        recorded = _load(reader, tape, catalog)
        inputs = cut_at_stop(inputs)
        why = find_obstacle(recorded, inputs)
        if why:
            return msgspec.structs.replace(found, no_backtest=why)
        backtest = run_backtest(recorded, inputs)
        simulated = run_simulated(_load(reader, tape, catalog), inputs)
        return msgspec.structs.replace(
            found, backtest=compare_paths(simulated, backtest, header.instruments)
        )
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


def time_at_close(inputs: Iterable[Input]) -> list[Input]:
    """The inputs without the venue's, and rows at the time of their close.

    Rows keep their order, and never pass an operator's command or a corporate action. A strategy
    that did not come back while the venue reported does not come back in the next input.
    """
    timed: list[Input] = []
    part: list[tuple[int, Input]] = []
    newest = 0
    stuck: tuple[tuple[StuckCall, StrategyQuarantined], ...] = ()

    def close_part() -> None:
        for wanted, each in sorted(part, key=lambda item: item[0]):
            ts = max(wanted, timed[-1].ts + 1 if timed else 0)
            rows, given = tuple(row.known_at(ts) for row in each.rows), each.given
            if isinstance(given, CorporateAction):
                given = msgspec.structs.replace(given, ts_known=ts)
            timed.append(msgspec.structs.replace(each, ts=ts, rows=rows, given=given))
        part.clear()

    for each in inputs:
        if isinstance(each.given, VenueReport | VenueSnapshot):
            stuck += each.stuck
            continue
        kept, stuck = msgspec.structs.replace(each, stuck=stuck + each.stuck), ()
        if kept.rows:
            closed = max(row.ts_close for row in kept.rows)
            newest = max(newest, kept.ts if kept.rows[0].is_history else closed)
            part.append((newest, kept))
        elif isinstance(kept.given, ConnectionChanged):
            part.append((kept.ts, kept))
        else:
            close_part()
            part.append((kept.ts, kept))
            close_part()
    return timed


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


def cut_at_stop(inputs: Iterable[Input]) -> list[Input]:
    """Inputs up to the operator's wish to stop, which is only time here."""
    cut: list[Input] = []
    for each in inputs:
        match each.given:
            case OperatorCommand(action=OperatorAction.STOP) | SessionStopped():
                return [*cut, Input(each.ts)]
            case _:
                cut.append(each)
    return cut


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


def run_backtest(recorded: RecordedSession, inputs: Sequence[Input]) -> SessionPaths:
    """A backtest of the rows among `inputs`, begun when the session was.

    The rows from before it move features and marks, as in the session.
    """
    rows: list[RowHeard] = [row for each in inputs for row in each.rows]
    paths = SessionPaths(rows)
    data = recorded.config.data
    markets = markets_among(recorded.header.instruments)
    timeline = build_rows(markets, rows, data.timeframe, data.source)
    timeline = timeline.with_actions(
        [each.given for each in inputs if isinstance(each.given, CorporateAction)]
    )
    session = msgspec.structs.replace(recorded, timeline=timeline).open(paths)
    history = sum(1 for each in rows if each.is_history)
    with recorded.watching():
        session.start(inputs[0].ts, history)
        for _, stop in session.cut_blocks(_BLOCK_ROWS):
            session.advance(min(stop, len(rows)))
            if stop >= len(rows):
                break
        # What was due before the end, and a switch that is off already.
        session.pipeline.control(KillSwitchSet(active=False, reason="over"), inputs[-1].ts)
    return paths
