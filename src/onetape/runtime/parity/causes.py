"""Why the fills of one order differ between a session and its backtest, and what that is worth.

An order's fills on both sides are matched lot by lot, in their order. A chunk of lots that both
filled is worth the difference of the two prices; a chunk that one side alone filled is worth what
it has made by the end, at the newest mark. So the causes of all orders sum to the difference of the
two results: nothing is estimated and nothing is left.

| cause        | what                                                                         |
| ------------ | ---------------------------------------------------------------------------- |
| `latency`    | both filled, in different bars: how far the mark moved from one to the other |
| `price`      | both filled: the rest of the difference in price                             |
| `data`       | the same, where one of the bars is flagged: late, repaired, behind a gap     |
| `fees`       | both filled: other fees; and fees that a venue took in lots                  |
| `size`       | one side filled fewer lots                                                   |
| `missed`     | one side filled nothing                                                      |
| `venue_rule` | one side's venue refused the order, or took it off at nobody's wish          |
| `risk`       | our risk denied it on one side: paused, or the books were others             |
| `decision`   | only one side's strategy wanted it                                           |
| `action`     | a corporate action met another position                                      |

Lots from before a split are what it has made of them.

Ours; the tables of `tests/unit/runtime/parity` are worked by hand. Amounts are minor units, of the
session less its backtest: negative is what reality cost.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from enum import Enum

import msgspec
import numpy as np

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import compute_ticks
from onetape.domain.orders import DenialCode
from onetape.marketdata.timeline import Timeline
from onetape.runtime.parity.paths import Fill, OrderPath


class Cause(Enum):
    """Why two fills differ; see the table above."""

    LATENCY = "latency"
    PRICE = "price"
    DATA = "data"
    FEES = "fees"
    SIZE = "size"
    MISSED = "missed"
    VENUE_RULE = "venue_rule"
    RISK = "risk"
    DECISION = "decision"
    ACTION = "action"


class Share(msgspec.Struct, frozen=True):
    """What a cause has done to an order: lots concerned, and what they are worth (minor units)."""

    cause: Cause
    lots: int
    amount: int


class InstrumentMarks:
    """The rows of one instrument, as measure of what happened between two fills.

    Args:
        instrument: Which.
        timeline: The rows of all, and the corporate actions; what scales the lots of this one
            counts.
        newest: The mark at the end, ticks; None: the newest close.

    Attributes:
        factor: Minor units of one tick times one lot.
        newest: The mark at the end, ticks.

    Raises:
        InvariantBroken: It has no bar.
    """

    def __init__(
        self, instrument: Instrument, timeline: Timeline, newest: int | None = None
    ) -> None:
        self._scalings = [
            (each.ts_known, compute_terms(each, instrument))
            for each in timeline.actions
            if each.instrument == instrument.id and each.kind.scales
        ]
        self.factor = instrument.minor_per_tick_lot
        self._tick = instrument.tick_float
        self._rows = timeline.rows_of(instrument.id)
        self._columns = timeline.columns
        if not len(self._rows):
            raise InvariantBroken(f"fills of {instrument.id}, and no bar")
        self.newest = self._mark(len(self._rows) - 1) if newest is None else newest

    def _mark(self, bar: int) -> int:
        return compute_ticks(float(self._columns["close"][self._rows[bar]]), self._tick, 0)

    def value(self, lots: int, ts: int) -> int:
        """What lots of the time `ts` (ns UTC) are worth at the end, minor units, rounded down."""
        worth = lots * self.newest * self.factor
        for when, terms in self._scalings:
            if ts < when:
                worth = worth * terms.top // terms.bottom
        return worth

    def bar_of(self, fill: Fill) -> int:
        """In which bar a fill happened: the one that made it, else the first not closed before."""
        bar = int(np.searchsorted(self._rows, fill.row))
        if bar < len(self._rows) and self._rows[bar] == fill.row:
            return bar
        closes, rows = self._columns["ts_close"], self._rows
        return bisect_left(range(len(rows)), fill.ts, key=lambda at: closes[rows[at]])

    def before(self, bar: int) -> int:
        """The mark when a bar began, ticks: the close of the one before it."""
        return self._mark(max(0, bar - 1))

    def is_flagged(self, bar: int) -> bool:
        """Whether something is doubtful about a bar."""
        flags = self._columns.get("quality")
        return flags is not None and bar < len(self._rows) and flags[self._rows[bar]] != 0


class _Chunk(msgspec.Struct, frozen=True):
    """Lots of one fill, with their part of its notional and fee (minor units)."""

    fill: Fill
    lots: int
    notional: int
    fee: int


def explain_order(
    session: OrderPath | None, backtest: OrderPath | None, marks: InstrumentMarks
) -> list[Share]:
    """What each cause has done to one order; a cause that has not moved a lot is left out.

    Args:
        session: As it went in the session; None: it was not decided there.
        backtest: As it went at the simulated venue; None: it was not decided there.
        marks: Of its instrument.
    """
    ours = session.fills if session is not None else []
    theirs = backtest.fills if backtest is not None else []
    found: dict[Cause, list[int]] = {}

    def add(cause: Cause, lots: int, amount: int) -> None:
        each = found.setdefault(cause, [0, 0])
        each[0] += lots
        each[1] += amount

    both = 0
    if session is not None and backtest is not None and session.side is backtest.side:
        both = min(sum(each.lots for each in ours), sum(each.lots for each in theirs))
        for one, other in _pair_lots(ours, theirs, both):
            _compare_chunks(one, other, session.side.value, marks, add)
    for sign, path, opposite in ((1, session, backtest), (-1, backtest, session)):
        if path is None:
            continue
        for each in _cut_from(path.fills, both):
            gain = marks.value(each.lots, each.fill.ts) - each.notional
            amount = sign * (path.side.value * gain - each.fee)
            add(_name_absence(opposite), each.lots, amount)
        for lots, cash in path.fee_in_lots:
            add(Cause.FEES, abs(lots), sign * (lots * marks.newest * marks.factor + cash))
    return [Share(cause, *found[cause]) for cause in Cause if cause in found]


def sum_gains(path: OrderPath, marks: InstrumentMarks) -> int:
    """What the fills of an order have made by the newest mark, if no action had met them."""
    worth = marks.newest * marks.factor
    gains = sum(path.side.value * (each.lots * worth - each.notional) - each.fee
                for each in path.fills)  # fmt: skip
    return gains + sum(lots * worth + cash for lots, cash in path.fee_in_lots)


def _compare_chunks(
    one: _Chunk,
    other: _Chunk,
    side: int,
    marks: InstrumentMarks,
    add: Callable[[Cause, int, int], None],
) -> None:
    """The causes of as many lots that both sides filled."""
    worth = side * (other.notional - one.notional)
    if worth:
        bars = marks.bar_of(one.fill), marks.bar_of(other.fill)
        moved = side * one.lots * marks.factor * (marks.before(bars[1]) - marks.before(bars[0]))
        if moved:
            add(Cause.LATENCY, one.lots, moved)
        if worth != moved:
            is_flagged = any(map(marks.is_flagged, bars))
            add(Cause.DATA if is_flagged else Cause.PRICE, one.lots, worth - moved)
    if one.fee != other.fee:
        add(Cause.FEES, one.lots, other.fee - one.fee)


def _name_absence(path: OrderPath | None) -> Cause:
    """Why a side did not fill what the other did."""
    if path is None:
        return Cause.DECISION
    if path.denied is not None:
        unsupported = path.denied.code is DenialCode.UNSUPPORTED
        return Cause.VENUE_RULE if unsupported else Cause.RISK
    if path.ended_by_venue:
        return Cause.VENUE_RULE
    return Cause.SIZE if path.fills else Cause.MISSED


def _pair_lots(
    ours: Sequence[Fill], theirs: Sequence[Fill], lots: int
) -> Iterator[tuple[_Chunk, _Chunk]]:
    """The first `lots` of both sides beside each other, in their order."""
    left, right = _Cutter(ours), _Cutter(theirs)
    while lots:
        size = min(left.lots, right.lots, lots)
        yield left.take(size), right.take(size)
        lots -= size


def _cut_from(fills: Sequence[Fill], lots: int) -> Iterator[_Chunk]:
    """What comes behind the first `lots`."""
    cutter = _Cutter(fills)
    while lots:
        lots -= cutter.take(min(cutter.lots, lots)).lots
    while cutter.lots:
        yield cutter.take(cutter.lots)


class _Cutter:
    """Cuts fills into chunks; notional and fee of the chunks of a fill sum to the fill's."""

    def __init__(self, fills: Sequence[Fill]) -> None:
        self._fills = fills
        self._at = 0
        self._taken = 0

    @property
    def lots(self) -> int:
        """What is left of the fill at hand; 0: all are cut up."""
        return self._fills[self._at].lots - self._taken if self._at < len(self._fills) else 0

    def take(self, lots: int) -> _Chunk:
        fill = self._fills[self._at]
        before, self._taken = self._taken, self._taken + lots

        def part(of: int) -> int:
            return of * (before + lots) // fill.lots - of * before // fill.lots

        if self._taken == fill.lots:
            self._at, self._taken = self._at + 1, 0
        return _Chunk(fill, lots, part(fill.notional), part(fill.fee))
