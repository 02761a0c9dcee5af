"""A session beside its backtest: which decisions they share, and what parts the two results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import InstrumentId
from onetape.domain.legs import index_of
from onetape.domain.orders import Intent, OrderIntent
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.adjusted_marks import fold_marks
from onetape.runtime.parity.causes import Cause, InstrumentMarks, explain_order, sum_gains
from onetape.runtime.parity.paths import Decision, Line, OrderPath, SessionPaths

Pair = tuple[OrderPath | None, OrderPath | None]
"""One order as it went in the session and in its backtest; None: it was not decided there."""


class Parting(msgspec.Struct, frozen=True, kw_only=True):
    """Where the decisions of a strategy part: `before` were the same. None: that side is over."""

    strategy: str
    before: int
    ts: int
    session: Intent | None
    backtest: Intent | None


class OrderDifference(msgspec.Struct, frozen=True, kw_only=True):
    """What one cause has done to one order.

    `amount` is in minor units, of the session less its backtest. `session` and `backtest` are both
    sides of the order; None: it was not decided there.
    """

    cause: Cause
    strategy: str
    instrument: InstrumentId
    lots: int
    amount: int
    session: OrderPath | None
    backtest: OrderPath | None


class StrategyParity(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy on both sides: results in minor units, and how many decisions and orders.

    `same_decisions` come before the first that differs, or are all.
    """

    strategy: str
    currency: str
    session_result: int
    backtest_result: int
    decisions: int
    same_decisions: int
    orders: int
    same_orders: int


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that differs; the amounts of `differences` sum to that of the results."""

    strategies: tuple[StrategyParity, ...]
    partings: tuple[Parting, ...]
    differences: tuple[OrderDifference, ...]

    def total(self, cause: Cause | None = None) -> int:
        """What a cause, or all of them, have made of the result, minor units."""
        return sum(each.amount for each in self.differences if cause in (None, each.cause))


def compare_paths(session: SessionPaths, backtest: SessionPaths, timeline: Timeline) -> Comparison:
    """Compare two sessions over the same rows.

    Args:
        session: As it went.
        backtest: As it went at the simulated venue.
        timeline: The rows and corporate actions, as the session heard them.

    Raises:
        InvariantBroken: The rows are others, or the causes don't sum to the difference of the
            books: something of ours is wrong.
    """
    if session.digest != backtest.digest:
        raise InvariantBroken("two sessions are compared that have not seen the same rows")
    by_id = {each.id: each for each in timeline.tradable}
    marks: dict[InstrumentId, InstrumentMarks] = {}
    index = index_of(timeline.tradable)
    adjusted = fold_marks(timeline, len(timeline.actions))

    def marks_of(instrument: InstrumentId) -> InstrumentMarks:
        if instrument not in marks:
            made, rows = adjusted.get(index[instrument]), timeline.rows_of(instrument)
            stands = made is not None and len(rows) and made.row == rows[-1]
            newest = made.ticks if made is not None and stands else None
            marks[instrument] = InstrumentMarks(by_id[instrument], timeline, newest)
        return marks[instrument]

    def worth(paths: SessionPaths, strategy: str) -> int:
        held = sum(
            lots * marks_of(instrument).newest * marks_of(instrument).factor
            for (owner, instrument), lots in paths.lots.items()
            if owner == strategy and lots
        )
        booked = paths.cash[strategy] + paths.receivable[strategy] - paths.capital[strategy]
        return booked + held

    strategies: list[StrategyParity] = []
    partings: list[Parting] = []
    differences: list[OrderDifference] = []
    for name in session.capital:
        ours, theirs = session.decisions[name], backtest.decisions[name]
        parting = _find_parting(name, ours, theirs)
        partings += [parting] if parting is not None else []
        orders = same = 0
        found: list[OrderDifference] = []
        for pair in _pair_orders(name, session, backtest):
            one, other = pair
            line = (one or other or _nothing()).line
            shares = []
            if any(each is not None and each.fills for each in pair):
                shares = explain_order(one, other, marks_of(line[1]))
            orders += 1
            same += one is not None and other is not None and not shares
            found += [
                OrderDifference(
                    cause=each.cause, strategy=name, instrument=line[1], lots=each.lots,
                    amount=each.amount, session=one, backtest=other,
                )
                for each in shares
            ]  # fmt: skip
        found += _explain_actions(name, session, backtest, found, marks_of)
        results = worth(session, name), worth(backtest, name)
        residual = results[0] - results[1] - sum(each.amount for each in found)
        if residual:
            raise InvariantBroken(f"{residual} minor units of {name} have no cause")
        differences += found
        strategies.append(
            StrategyParity(
                strategy=name, currency=session.currency[name], session_result=results[0],
                backtest_result=results[1], decisions=len(ours),
                same_decisions=parting.before if parting is not None else len(ours),
                orders=orders, same_orders=same,
            )
        )  # fmt: skip
    return Comparison(
        strategies=tuple(strategies), partings=tuple(partings), differences=tuple(differences)
    )


def _explain_actions(
    strategy: str,
    session: SessionPaths,
    backtest: SessionPaths,
    found: Sequence[OrderDifference],
    marks_of: Callable[[InstrumentId], InstrumentMarks],
) -> Iterator[OrderDifference]:
    """What corporate actions have made of positions that were others on the two sides.

    That is what they have booked, less what the lots that they scaled are counted for already.
    """
    lines = {line: None for each in (session, backtest) for line in each.adjusted}
    for line in lines:
        if line[0] != strategy:
            continue
        marks, amount = marks_of(line[1]), 0
        for sign, paths in ((1, session), (-1, backtest)):
            lots, cash = paths.adjusted.get(line, (0, 0))
            amount += sign * (lots * marks.newest * marks.factor + cash)
            own = [each.order for each in _decided(line, paths)]
            own += [each for each in paths.closings if each.line == line]
            amount += sign * sum(sum_gains(each, marks) for each in own if each is not None)
        amount -= sum(each.amount for each in found if each.instrument == line[1])
        if amount:
            yield OrderDifference(
                cause=Cause.ACTION, strategy=strategy, instrument=line[1], lots=0, amount=amount,
                session=None, backtest=None,
            )  # fmt: skip


def _nothing() -> OrderPath:
    raise InvariantBroken("an order on neither side")


def _find_parting(
    strategy: str, ours: Sequence[Decision], theirs: Sequence[Decision]
) -> Parting | None:
    """The first decision that is another one; None: all are the same."""
    for before, (one, other) in enumerate(zip_longest(ours, theirs)):
        if one is None or other is None or not one.is_same(other):
            times = [each.ts for each in (one, other) if each is not None]
            return Parting(
                strategy=strategy, before=before, ts=min(times),
                session=one.intent if one is not None else None,
                backtest=other.intent if other is not None else None,
            )  # fmt: skip
    return None


def _pair_orders(strategy: str, session: SessionPaths, backtest: SessionPaths) -> Iterator[Pair]:
    """The orders of a strategy, those of one decision beside each other.

    Within an instrument decisions are the same one while they come in the same order. From where
    they don't on, those are that ask for the same behind the same bar. What an operator closed is
    matched by its order.
    """
    for line in _lines(strategy, session, backtest):
        ours, theirs = (_decided(line, each) for each in (session, backtest))
        same = 0
        while same < min(len(ours), len(theirs)) and ours[same].likeness == theirs[same].likeness:
            yield ours[same].order, theirs[same].order
            same += 1
        waiting: dict[tuple[bytes, int], deque[Decision]] = {}
        for each in theirs[same:]:
            waiting.setdefault((each.likeness, each.slices), deque()).append(each)
        for each in ours[same:]:
            found = waiting.get((each.likeness, each.slices))
            yield each.order, found.popleft().order if found else None
        for rest in waiting.values():
            for each in rest:
                yield None, each.order
        closed, other = (
            [each for each in paths.closings if each.line == line] for paths in (session, backtest)
        )
        yield from zip_longest(closed, other)


def _lines(strategy: str, *sides: SessionPaths) -> list[Line]:
    """Every instrument that a strategy had an order in, in the order of the first."""
    lines: dict[Line, None] = {}
    for paths in sides:
        for each in paths.decisions[strategy]:
            if each.order is not None:
                lines[each.order.line] = None
        for path in paths.closings:
            if path.line[0] == strategy:
                lines[path.line] = None
    return list(lines)


def _decided(line: Line, paths: SessionPaths) -> list[Decision]:
    return [
        each
        for each in paths.decisions[line[0]]
        if isinstance(each.intent, OrderIntent) and each.order is not None
        and each.order.line == line
    ]  # fmt: skip
