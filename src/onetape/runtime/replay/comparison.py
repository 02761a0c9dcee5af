"""Where the decisions of two runs on the same inputs part, and what came of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path

import msgspec
import numpy as np

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    CapitalDeposited,
    Event,
    StrategyQuarantined,
)
from onetape.domain.numbers import INT64_MAX
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.equity_curve import (
    EquityCurve,
    EquityCurves,
    Marks,
    compute_equity_curves,
)
from onetape.portfolio.performance import deepest_drawdown
from onetape.portfolio.performance_summary import compute_growth
from onetape.runtime.replay.decisions import Fold, Found, first_difference, first_parting
from onetape.runtime.replay.other import Other, build_other, run_other, stored_records
from onetape.runtime.replay.session import Replay
from onetape.runtime.sessions.backtest import OnProgress
from onetape.runtime.sessions.recorded import RecordedSession, read_controls
from onetape.tape.block import Record
from onetape.telemetry.why import FeatureColumns, Link, explain, trace_event

Records = Callable[[], Iterator[Record]]


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one side earned: money in minor units, the drawdown as a negative fraction."""

    equity: int
    pnl: int
    max_drawdown: float


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One run. `curve` is that of its account, `account` and `strategies` what they earned."""

    decisions: int
    orders: int
    fills: int
    denials: int
    account: Result
    strategies: dict[str, Result]
    quarantined: tuple[StrategyQuarantined, ...]
    curve: EquityCurve


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """The first thing that differs: `ts` (ns UTC), whose it is, both sides with their chains.

    None: that side has nothing there; its chain holds the features of then (with seq -1), and what
    it has next.
    """

    ts: int
    strategy: str
    tape: Event | None
    other: Event | None
    tape_chain: tuple[Link, ...]
    other_chain: tuple[Link, ...]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs side by side, up to `ts_end` (ns UTC).

    `is_decision` says whether `parting` is between decisions; else all decisions are the same and
    it is the first event that differs. None: nothing differs.
    """

    session: str
    currency: str
    ts_end: int
    parting: Parting | None
    is_decision: bool
    tape: Side
    other: Side


def compare_with(
    replay: Replay, other: Other, ts_end: int | None = None, on_progress: OnProgress | None = None
) -> Comparison:
    """Run the session of a tape with what is to be other, and compare it with the tape.

    Args:
        replay: The tape; it need not have begun.
        other: What is to be other.
        ts_end: Compare what happened up to then, ns UTC; None: all that the tape has.
        on_progress: Told after each block of the run.

    Raises:
        ConfigError: What is to be other is wrong or can't be compared.
        StrategyError: A strategy can't be loaded, or refuses its params.
        CallAPerson: The tape is damaged.
    """
    if replay.recorded.records is not None:
        raise ConfigError(
            f"a {replay.header.mode} session is not run with other code or parameters",
            remedy="run a backtest of them; onetape parity compares a session with its own",
        )
    session = build_other(replay.recorded, other)
    end = INT64_MAX if ts_end is None else ts_end
    if not replay.places.is_complete:  # of its last moment there may be a part only
        end = min(end, replay.places.last_ts() - 1)

    def cut(records: Iterator[Record]) -> Iterator[Record]:
        return takewhile(lambda each: each.ts <= end, records)

    with tempfile.TemporaryDirectory(prefix="onetape-replay-") as folder:
        file = Path(folder) / "records"
        controls = read_controls(replay.reader.encoded_records())
        run_other(session, end, file, controls, on_progress)
        with replay.places.telling_damage():
            return _compare(
                replay.recorded,
                session,
                lambda: cut(iter(replay.reader.records())),
                lambda: cut(stored_records(file)),
                end,
            )


def _compare(
    recorded: RecordedSession, session: RecordedSession, tape: Records, other: Records, end: int
) -> Comparison:
    timeline = recorded.timeline
    marks = Marks(timeline, end, counts_later=recorded.header.mode != "backtest")
    sides = [Fold(records()) for records in (tape, other)]
    found = first_parting(*sides)
    is_decision = found is not None
    if found is None:
        found = first_difference(tape(), other())
    parting = None
    if found is not None:
        parting = _tell(found, timeline, (tape, other), (recorded, session))
    known = int(timeline.columns["ts_known"][-1])
    return Comparison(
        session=recorded.header.session,
        currency=recorded.specs[0].currency,
        ts_end=min(end, max(known, *(each.ts for each in sides))),
        parting=parting,
        is_decision=is_decision,
        tape=_side(sides[0], marks),
        other=_side(sides[1], marks),
    )


def _side(fold: Fold, marks: Marks) -> Side:
    """A side with its books valued at `marks`."""
    curves: EquityCurves = compute_equity_curves(marks, fold.account)
    return Side(
        decisions=sum(map(len, fold.decisions.values())),
        orders=fold.orders,
        fills=fold.fills,
        denials=fold.denials,
        account=_result(curves.account, _deposited(fold)),
        strategies={
            name: _result(curve, _deposited(fold, name))
            for name, curve in curves.strategies.items()
        },
        quarantined=tuple(fold.quarantined),
        curve=curves.account,
    )


def _deposited(fold: Fold, strategy: str | None = None) -> int:
    return sum(
        each.amount
        for _, each in fold.account
        if isinstance(each, CapitalDeposited) and strategy in (None, each.strategy)
    )


def _result(curve: EquityCurve, deposited: int) -> Result:
    equity = int(curve.equity[-1]) if len(curve.equity) else deposited
    return Result(
        equity=equity,
        pnl=equity - deposited,
        max_drawdown=deepest_drawdown(compute_growth(curve)).depth,
    )


def _tell(
    found: Found,
    timeline: Timeline,
    records: tuple[Records, Records],
    sessions: tuple[RecordedSession, RecordedSession],
) -> Parting:
    """The parting with both sides; one that has something is told first, for its bar."""
    teller = _Teller(timeline, found)
    seqs = (found.tape, found.other)
    following = (found.tape_next, found.other_next)
    told: dict[int, tuple[Event | None, tuple[Link, ...]]] = {}
    for at in sorted((0, 1), key=lambda at: seqs[at] is None):
        features = sessions[at].features()
        told[at] = teller.tell(records[at], features, seqs[at], following[at])
    named = next(each for each in (told[0][0], told[1][0]) if each is not None)
    return Parting(
        ts=found.ts,
        strategy=found.strategy or getattr(named.payload, "strategy", ""),
        tape=told[0][0],
        other=told[1][0],
        tape_chain=told[0][1],
        other_chain=told[1][1],
    )


class _Teller:
    """Tells the sides of a parting."""

    def __init__(self, timeline: Timeline, found: Found) -> None:
        self._timeline = timeline
        self._found = found
        ts_known = timeline.columns["ts_known"]
        self.row = int(np.searchsorted(ts_known, found.ts, side="right")) - 1

    def tell(
        self, records: Records, features: FeatureColumns, seq: int | None, following: int | None
    ) -> tuple[Event | None, tuple[Link, ...]]:
        """The event `seq` of one side and its chain; without one, what the side knows then."""
        if seq is None:
            return None, self._tell_nothing(records, features, following)
        event, links = self._trace(records, features, seq)
        self.row = next((each.row for each in links if each.row >= 0), self.row)
        return event, links

    def _trace(
        self, records: Records, features: FeatureColumns, seq: int
    ) -> tuple[Event, tuple[Link, ...]]:
        chain = trace_event(records, seq)
        event = next(each for each in chain.events if each.seq == seq)
        until = tuple(each for each in chain.events if each.ts_event <= event.ts_event)
        chain = msgspec.structs.replace(chain, events=until)
        return event, tuple(explain(chain, self._timeline, features))

    def _tell_nothing(
        self, records: Records, features: FeatureColumns, following: int | None
    ) -> tuple[Link, ...]:
        ts, strategy = self._found.ts, self._found.strategy
        links: list[Link] = []
        columns = features.get(strategy, {})
        if columns and self.row >= 0:
            values = ", ".join(f"{name} {column[self.row]!s}" for name, column in columns.items())
            links.append(Link(seq=-1, ts=ts, kind="features", text=f"{strategy} knows {values}"))
        if following is None:
            return (*links, Link(seq=-1, ts=ts, kind="", text="nothing any more"))
        event, chain = self._trace(records, features, following)
        link = next(each for each in chain if each.seq == event.seq and each.kind == event.type)
        return (*links, Link(seq=-1, ts=ts, kind="", text="nothing here; the next is"), link)
