"""The equity curve: what the books were worth at the end of every slice, exact to the minor unit.

Ours. Vectorized over columns; `tests/unit/portfolio/test_equity_curve.py` holds the naive fold that
it equals. A slice is all bars of one `ts_known`; a fill, what a corporate action made of a
position, or another posting of cash counts from the first slice that is not before its step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol, TypeGuard

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.corporate_actions import ActionTerms, compute_terms
from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    OrderFilled,
    PositionAdjusted,
    PositionSettled,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import index_of, market_of
from onetape.domain.market import ContractStep, CorporateAction, MarkPrice
from onetape.domain.notional import compute_added_cost
from onetape.domain.numbers import INT64_MAX, compute_ticks
from onetape.domain.postings import PostingKind
from onetape.domain.timestamps import to_iso
from onetape.portfolio.adjusted_marks import list_adjusted_marks
from onetape.portfolio.closing_marks import closing_prices
from onetape.portfolio.home_currency import HomeCurrency
from onetape.portfolio.ledger import compute_cost_fold

Ints = npt.NDArray[np.int64]

AccountEvent = CapitalDeposited | OrderFilled | PositionAdjusted | PositionSettled | CashPosted
TimedAccountEvent = tuple[int, AccountEvent]
"""An account event with the engine time of its step (`Event.ts_event`), in tape order."""

_EXACT_TICKS = float(2**53)


class SlicedTimeline(Protocol):
    """What the analytics read of a timeline."""

    @property
    def instruments(self) -> Sequence[Instrument]:
        """Instruments, in the order that `instrument_index` counts."""
        ...

    @property
    def tradable(self) -> Sequence[Instrument]:
        """Everything of which there can be a position: `instruments`, then their legs."""
        ...

    @property
    def columns(self) -> Mapping[str, npt.NDArray[Any]]:
        """Bar columns, each of shape (rows,)."""
        ...

    @property
    def marks_closing_side(self) -> bool:
        """Whether longs are marked at the column `bid` and shorts at `ask`."""
        ...

    @property
    def slice_end(self) -> npt.NDArray[np.bool_]:
        """True on the last row of each `ts_known`."""
        ...

    @property
    def actions(self) -> tuple[CorporateAction, ...]:
        """Corporate actions in the order in which a session meets them."""
        ...

    @property
    def action_rows(self) -> Sequence[int]:
        """How many rows come before each of them."""
        ...

    @property
    def steps(self) -> tuple[ContractStep, ...]:
        """What happens to contracts, in the order in which a session meets it."""
        ...

    @property
    def step_rows(self) -> Sequence[int]:
        """How many rows come before each of them."""
        ...

    def rows_of(self, instrument_id: str, /) -> Ints:
        """Rows of one instrument, ascending."""
        ...


class InstrumentMarks(msgspec.Struct, frozen=True, eq=False):
    """The marks of one instrument: one a bar, an action and a mark price; slice number and ticks.

    `ts_close` (ns UTC) is the end of each bar. See `onetape.portfolio.adjusted_marks`. Where
    positions are marked at their closing side, `bids` are the marks of longs and `asks` of shorts.
    """

    instrument: Instrument
    slices: Ints
    ticks: Ints
    ts_close: Ints
    bids: Ints | None = None
    asks: Ints | None = None

    def of_position(self, lots: int) -> Ints:
        """The marks of a position of so many lots."""
        side = self.asks if lots < 0 else self.bids
        return self.ticks if side is None else side

    def of_positions(self, lots: Ints, at: Ints) -> Ints:
        """The marks with the numbers `at` of positions of so many lots each."""
        if self.bids is None or self.asks is None:
            return self.ticks[at]
        return np.where(lots < 0, self.asks[at], self.bids[at])


class Marks:
    """What the books are valued at: the newest close of each instrument, in whole ticks.

    After a corporate action that is what `adjust_marks` makes of it, until the next bar; after a
    mark price of the venue it is that.

    Args:
        timeline: Where the closes come from.
        ts_end: Leave out what was known later, ns UTC (a run that stopped early).
        counts_later: Whether what happens behind the last bar counts with that, as at a real venue,
            which fills when it likes; else it can't be, and is refused.

    `slice_ts` is the `ts_known` of every slice, shape (slices,).
    """

    def __init__(
        self, timeline: SlicedTimeline, ts_end: int = INT64_MAX, *, counts_later: bool = False
    ) -> None:
        ts_known = timeline.columns["ts_known"]
        self.rows = int(np.searchsorted(ts_known, ts_end, side="right"))
        ends = timeline.slice_end[: self.rows]
        self.slice_ts: Ints = ts_known[: self.rows][ends]
        self._slice_of_row: Ints = np.cumsum(ends, dtype=np.int64) - ends
        self._timeline = timeline
        self._ts_end = ts_end
        self._counts_later = counts_later
        self._instruments = {each.id: each for each in timeline.tradable}
        self._index = index_of(timeline.tradable)
        self._adjusted = list_adjusted_marks(timeline)
        self._marks: dict[InstrumentId, InstrumentMarks] = {}

    def of(self, instrument: InstrumentId) -> InstrumentMarks:
        """The marks of one instrument.

        Raises:
            DataError: The timeline has no such instrument, or a close that no tick count can hold.
        """
        if instrument not in self._marks:
            self._marks[instrument] = self._compute(instrument)
        return self._marks[instrument]

    @property
    def scalings(self) -> list[tuple[CorporateAction, ActionTerms]]:
        """The splits and dividends in shares of the run, with their terms."""
        return [
            (each, compute_terms(each, self._instruments[each.instrument]))
            for each in self._timeline.actions
            if each.kind.scales and each.ts_known <= self._ts_end
        ]

    def currencies(self, home: str) -> HomeCurrency:
        """What converts amounts into `home` at these marks."""

        def marks_of(instrument: InstrumentId) -> tuple[Ints, Ints]:
            found = self.of(instrument)
            return found.slices, found.ticks

        instruments = self._timeline.tradable
        return HomeCurrency(home, instruments, self.slice_ts, marks_of)

    def time_of(self, ts: int, event: AccountEvent) -> int:
        """When an event counts: one without an order after the last bar counts with that."""
        is_refused = isinstance(event, OrderFilled | CapitalDeposited) and not self._counts_later
        if is_refused or not len(self.slice_ts):
            return ts
        return min(ts, int(self.slice_ts[-1]))

    def slots(self, times: Iterable[int]) -> Ints:
        """The slice from which on something of each time counts; the times don't go back.

        Raises:
            DataError: Something happened after the last slice.
            InvariantBroken: The times go back.
        """
        ts = np.fromiter(times, dtype=np.int64)
        if np.any(ts[1:] < ts[:-1]):
            raise InvariantBroken("account events are out of time order")
        if len(ts) and (not len(self.slice_ts) or ts[-1] > self.slice_ts[-1]):
            raise DataError(
                f"the tape has an account event at {to_iso(int(ts[-1]))}, after the last bar",
                remedy="use the market data that the session ran on",
            )
        return np.searchsorted(self.slice_ts, ts, side="left").astype(np.int64)

    def _compute(self, instrument: InstrumentId) -> InstrumentMarks:
        terms = self._instruments.get(instrument)
        if terms is None:
            raise DataError(
                f"the tape has a fill of {instrument}, which the timeline does not hold",
                remedy="use the market data that the session ran on",
            )
        rows = self._timeline.rows_of(instrument)
        rows = rows[: int(np.searchsorted(rows, self.rows))]
        ticks = mark_ticks(self._timeline.columns["close"][rows], terms)
        slices = self._slice_of_row[rows]
        ts_close = self._timeline.columns["ts_close"][rows]
        if self._timeline.marks_closing_side:  # of quotes and depth, whose marks nothing adjusts
            close = self._timeline.columns["close"][rows]
            bids, asks = (
                mark_ticks(closing_prices(self._timeline.columns[name][rows], close), terms)
                for name in ("bid", "ask")
            )
            return InstrumentMarks(terms, slices, ticks, ts_close, bids, asks)
        slices, ticks = self._add_adjusted(instrument, slices, ticks)
        return InstrumentMarks(terms, slices, ticks, ts_close)

    def _add_adjusted(
        self, instrument: InstrumentId, slices: Ints, ticks: Ints
    ) -> tuple[Ints, Ints]:
        """Slices and ticks of marks with those of actions and mark prices.

        Each counts before a bar of its slice, or last; a mark price only behind a first bar.
        """
        index = self._index[instrument]
        keys: list[int] = []
        added: list[int] = []
        for action, marks in zip(self._timeline.actions, self._adjusted, strict=True):
            if index in marks and action.ts_known <= self._ts_end and len(self.slice_ts):
                keys.append(2 * int(np.searchsorted(self.slice_ts, action.ts_known)))
                added.append(marks[index].ticks)
        tick_float = self._instruments[instrument].tick_float
        for step in self._timeline.steps:
            if (
                isinstance(step, MarkPrice)
                and step.instrument == market_of(instrument)
                and step.ts_known <= self._ts_end
            ):
                slot = int(np.searchsorted(self.slice_ts, step.ts_known))
                if len(slices) and slices[0] < slot:
                    keys.append(2 * slot)  # of a bar: 2 * slot + 1
                    added.append(compute_ticks(step.price, tick_float, 0))
        if not keys:
            return slices, ticks
        order = np.argsort(np.concatenate((2 * slices + 1, keys)), kind="stable")
        slots = np.concatenate((slices, np.minimum(np.array(keys) // 2, len(self.slice_ts) - 1)))
        return slots[order], np.concatenate((ticks, added))[order]


def mark_ticks(closes: npt.NDArray[np.float64], instrument: Instrument) -> Ints:
    """`compute_ticks(close, tick, 0)` of every close: the nearest tick, halves up.

    Raises:
        DataError: A close is not finite or beyond the ticks that float64 counts exactly.
    """
    nearest = np.floor(closes / instrument.tick_float + 0.5)
    valid = np.abs(nearest) < _EXACT_TICKS
    if not valid.all():
        row = int(np.argmin(valid))
        raise DataError(
            f"close {closes[row]} of {instrument.id} can't be counted in ticks of "
            f"{instrument.tick_size:f}",
            where=f"bar {row}",
            remedy="repair the data or choose a coarser tick",
        )
    return nearest.astype(np.int64)


class EquityCurve(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Books at the end of every slice, each of shape (slices,), money in minor units.

    `equity` is cash, dividends to be paid and positions at their marks (of perpetuals and futures
    their gain), `gross_exposure` the sum of the notionals of the positions, `net_exposure` their
    signed sum, `positions` how many are not flat, `deposited` the capital given so far. The account
    is the sum of its strategies: their positions are not netted against each other.
    """

    ts: Ints
    equity: Ints
    cash: Ints
    gross_exposure: Ints
    net_exposure: Ints
    positions: Ints
    deposited: Ints


class EquityCurves(msgspec.Struct, frozen=True, eq=False):
    """The curve of the account and of each strategy, in the order of their deposits."""

    account: EquityCurve
    strategies: dict[str, EquityCurve]


def compute_equity_curves(
    marks: Marks, account_events: Iterable[TimedAccountEvent]
) -> EquityCurves:
    """Fold deposits and fills over the marks.

    Args:
        marks: Values of the instruments at every slice.
        account_events: In tape order.

    Raises:
        DataError: A fill does not fit the timeline (unknown instrument, or no bar yet).
        InvariantBroken: A number leaves int64, or the events go back in time.
    """
    by_strategy: dict[str, list[TimedAccountEvent]] = {}
    for timed in account_events:
        by_strategy.setdefault(timed[1].strategy, []).append(timed)
    home = next((found for found in map(home_of, by_strategy.values()) if found), "")
    curves = {name: _strategy_curve(marks, events, home) for name, events in by_strategy.items()}
    if len(curves) == 1:
        return EquityCurves(next(iter(curves.values())), curves)
    columns: dict[str, Ints] = {"ts": marks.slice_ts}
    for name in EquityCurve.__struct_fields__[1:]:
        parts: list[Ints] = [getattr(each, name) for each in curves.values()]
        _check_range(sum(float(np.abs(part).max(initial=0)) for part in parts), name)
        columns[name] = sum(parts, start=np.zeros(len(marks.slice_ts), dtype=np.int64))
    return EquityCurves(EquityCurve(**columns), curves)


def currency_of(event: AccountEvent, currencies: HomeCurrency) -> str:
    """What the money of an event is of."""
    if isinstance(event, CapitalDeposited | CashPosted):
        return event.currency
    return currencies.currency_of(event.instrument)


def home_of(account_events: Iterable[TimedAccountEvent]) -> str:
    """The currency of the first deposit; empty where there is none."""
    for _, event in account_events:
        if isinstance(event, CapitalDeposited):
            return event.currency
    return ""


def _strategy_curve(marks: Marks, events: list[TimedAccountEvent], home: str) -> EquityCurve:
    currencies = marks.currencies(home)
    parts: dict[str, list[TimedAccountEvent]] = {home: []}
    for timed in events:
        parts.setdefault(currency_of(timed[1], currencies), []).append(timed)
    if len(parts) == 1 or not home:
        return _currency_curve(marks, events)
    curves = {name: _currency_curve(marks, each) for name, each in parts.items()}
    return _sum_currencies(currencies, curves)


def _sum_currencies(currencies: HomeCurrency, curves: Mapping[str, EquityCurve]) -> EquityCurve:
    """Curves by currency in home: cash and positions of each converted together, rounded down."""
    own = curves[currencies.home]
    columns: dict[str, Ints] = {"ts": own.ts}
    for name in EquityCurve.__struct_fields__[1:]:
        parts: list[Ints] = []
        for currency, curve in curves.items():
            amounts: Ints = getattr(curve, name)
            if name == "gross_exposure":
                parts.append(-currencies.at_slices(currency, -amounts))
            elif name == "positions":
                parts.append(amounts)
            else:
                parts.append(currencies.at_slices(currency, amounts))
        _check_range(sum(float(np.abs(part).max(initial=0)) for part in parts), name)
        columns[name] = sum(parts, start=np.zeros(len(own.ts), dtype=np.int64))
    return EquityCurve(**columns)


def _currency_curve(marks: Marks, events: list[TimedAccountEvent]) -> EquityCurve:
    count = len(marks.slice_ts)
    if count == 0 and not any(isinstance(event, OrderFilled) for _, event in events):
        return EquityCurve(**dict.fromkeys(EquityCurve.__struct_fields__, marks.slice_ts))
    slots = marks.slots(marks.time_of(ts, event) for ts, event in events)
    changed, costs = fold_cash(marks, events)
    cash = _running(changed, "cash")
    deposited = _running(
        [event.amount if _is_capital(event) else 0 for _, event in events], "capital"
    )
    due = _running(
        [event.receivable if isinstance(event, PositionAdjusted) else 0 for _, event in events],
        "receivable",
    )
    bound = float(np.abs(cash).max(initial=0)) + float(np.abs(due).max(initial=0))

    moves = collect_moves(slots, [event for _, event in events])

    changes = np.zeros((4, count), dtype=np.int64)
    for instrument, (at, lots) in moves.items():
        bound += _add_position(
            changes, marks.of(instrument), np.array(at, dtype=np.int64), lots, costs.get(instrument)
        )
    _check_range(bound, "equity")

    events_so_far = np.bincount(slots, minlength=count).cumsum()
    cash_at = cash[events_so_far]
    net, gross, positions, promised = np.cumsum(changes, axis=1)
    return EquityCurve(
        ts=marks.slice_ts,
        equity=cash_at + due[events_so_far] + net - promised,
        cash=cash_at,
        gross_exposure=gross,
        net_exposure=net,
        positions=positions,
        deposited=deposited[events_so_far],
    )


def collect_moves(
    slots: Ints, events: Sequence[AccountEvent]
) -> dict[InstrumentId, tuple[list[int], list[int]]]:
    """When the lots of each instrument change, as slices, and by how many, in tape order."""
    moves: dict[InstrumentId, tuple[list[int], list[int]]] = {}
    for slot, event in zip(slots.tolist(), events, strict=True):
        if isinstance(event, CapitalDeposited | CashPosted):
            continue
        at, lots = moves.setdefault(event.instrument, ([], []))
        at.append(slot)
        if isinstance(event, PositionAdjusted | PositionSettled):
            lots.append(event.lots - sum(lots))
            if isinstance(event, PositionAdjusted) and event.other:
                at, lots = moves.setdefault(event.other, ([], []))
                at.append(slot)
                lots.append(event.received)
        else:
            lots.append(event.lots if event.side > 0 else -event.lots)
    return moves


def fold_cash(
    marks: Marks, events: list[TimedAccountEvent]
) -> tuple[list[int], dict[InstrumentId, list[int]]]:
    """The cash that each event of a strategy moves; of perpetuals and futures the costs."""
    cash: list[int] = []
    costs: dict[InstrumentId, list[int]] = {}
    held: dict[InstrumentId, int] = {}
    for _, event in events:
        if not isinstance(event, OrderFilled | PositionSettled):
            cash.append(event.amount)
            continue
        terms = marks.of(event.instrument).instrument
        if isinstance(event, PositionSettled):
            cash.append(event.amount - event.fee)
            lots, cost = event.lots, event.cost
        else:
            side = 1 if event.side > 0 else -1
            added = compute_added_cost(event.notional, side, terms.inverse_factor)
            if not terms.is_margined:
                cash.append(-added - event.fee)
                continue
            before = costs[event.instrument][-1] if event.instrument in costs else 0
            lots, cost, realized = compute_cost_fold(
                held.get(event.instrument, 0), before, side * event.lots, added
            )
            cash.append(realized - event.fee)
        if terms.is_margined:
            held[event.instrument] = lots
            costs.setdefault(event.instrument, []).append(cost)
    return cash, costs


def _add_position(
    changes: Ints,
    marks: InstrumentMarks,
    slots: Ints,
    lots: list[int],
    costs: list[int] | None,
) -> float:
    """Add one position's changes of (exposure, its size, is held, promised) where they happen.

    Promised is what of the exposure is not worth anything: of a perpetual or future, whose cost
    after each of `slots` is in `costs`, all but its gain. Returns the largest size of the exposure,
    as float, which can't wrap.
    """
    held_after = _running(lots, f"lots of {marks.instrument.id}")
    happens = np.zeros(changes.shape[1], dtype=np.bool_)
    happens[marks.slices[np.searchsorted(marks.slices, slots[0]) :]] = True
    happens[slots] = True
    points = np.flatnonzero(happens)
    newest = np.searchsorted(marks.slices, points, side="right") - 1
    if newest[0] < 0:
        raise DataError(
            f"the tape has a fill of {marks.instrument.id} before its first bar",
            remedy="use the market data that the session ran on",
        )
    held = held_after[np.searchsorted(slots, points, side="right")]
    price = marks.of_positions(held, newest)
    factor, inverse_factor = marks.instrument.minor_per_tick_lot, marks.instrument.inverse_factor
    if inverse_factor:
        price = np.maximum(price, 1)
        bound = float(np.abs(held / price).max()) * inverse_factor
        whole = inverse_factor // price
        value = -held * whole + -held * (inverse_factor - whole * price) // price
    else:
        bound = float(np.abs(held * price.astype(np.float64)).max()) * factor
        value = held * price * factor
    exposure = -value if inverse_factor else value
    columns = [exposure, np.abs(exposure), (held != 0).astype(np.int64)]
    if costs is not None:
        after = _running(costs, f"cost of {marks.instrument.id}", is_sum=False)
        cost = after[np.searchsorted(slots, points, side="right")]
        bound += float(np.abs(after).max())
        columns.append(exposure - (value - cost))
    for row, column in enumerate(columns):
        changes[row, points] += np.diff(column, prepend=0)
    return bound


def _is_capital(event: AccountEvent) -> TypeGuard[CapitalDeposited | CashPosted]:
    if isinstance(event, CashPosted):
        return event.kind is PostingKind.TRANSFER
    return isinstance(event, CapitalDeposited)


def _running(changes: list[int], what: str, *, is_sum: bool = True) -> Ints:
    """0 and the running sums of `changes` (or themselves), as Python integers, which can't wrap."""
    try:
        values = list(accumulate(changes, initial=0)) if is_sum else [0, *changes]
        return np.array(values, dtype=np.int64)
    except OverflowError:
        raise _beyond_int64(what) from None


def _check_range(bound: float, what: str) -> None:
    if bound >= INT64_MAX:
        raise _beyond_int64(what)


def _beyond_int64(what: str) -> InvariantBroken:
    return InvariantBroken(
        f"{what} leaves the range of int64 minor units (92 billion of the currency)",
        remedy="run with less capital, or leverage, or a currency of larger units",
    )
