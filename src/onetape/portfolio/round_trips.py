"""Round trips: from leaving flat to being flat again, one strategy and one instrument at a time.

Ours; `docs/metrics.md` defines it and `tests/unit/portfolio/test_round_trips.py` shows that the net
PnL of all trips, open ones at their mark, is the change of equity to the minor unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
import numpy as np

from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    OrderFilled,
    PositionAdjusted,
    SettlementKind,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateActionKind
from onetape.domain.notional import compute_value
from onetape.domain.orders import PositionSide
from onetape.domain.postings import PostingKind
from onetape.portfolio.equity_curve import Marks, TimedAccountEvent


class RoundTrip(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Everything between flat and flat. Money in minor units, times ns UTC.

    Entries are the fills that grow the position, exits those that shrink it; a fill that flips it
    is split at zero. `lots` were entered over the trip's life, `open_lots` (signed) are still held:
    0 for a closed trip. Prices are averages in currency, 0.0 exit while nothing is closed.
    `pnl_gross` is exits less entries, with what is open at the newest mark, and the dividends in
    between; `pnl_net` is after fees. `return_ratio` is `pnl_net` over the entry notional. `bars` of
    the instrument ended after the entry and not after the exit. `ts_exit` of an open trip is the
    end of the newest bar. A split scales lots that were entered and exited like those that are
    held; what it settles in cash is an exit, and so is a delisting. Shares that come from another
    instrument enter at the cost that they carry, which is an exit there, or less of its entry where
    that goes on; a change of symbol goes on as it is. Lots that are settled, delivered or
    liquidated are entries and exits like those of a fill; funding counts like a dividend. Of an
    inverse contract notionals are in the base currency, and the gain is entries less exits.
    """

    strategy: str
    instrument: InstrumentId
    side: PositionSide
    is_open: bool
    ts_entry: int
    ts_exit: int
    lots: int
    open_lots: int
    entry_price: float
    exit_price: float
    entry_notional: int
    exit_notional: int
    pnl_gross: int
    fees: int
    pnl_net: int
    return_ratio: float
    bars: int
    fills: int

    @property
    def duration_ns(self) -> int:
        """From the first entry to the last exit, ns."""
        return self.ts_exit - self.ts_entry


def average_price(instrument: Instrument, notional: int, lots: int) -> float:
    """Price at which `lots` make `notional` minor units, correctly rounded; 0.0 of no lots."""
    if lots == 0:
        return 0.0
    numerator, denominator = instrument.tick_size.as_integer_ratio()
    if instrument.inverse_factor:
        return lots * instrument.inverse_factor * numerator / (notional * denominator)
    return notional * numerator / (lots * instrument.minor_per_tick_lot * denominator)


class _Traded(NamedTuple):
    """A fill, or lots that changed hands without an order."""

    ts: int
    side: int
    lots: int
    notional: int
    fee: int
    is_fill: bool


class _Trip:
    """A round trip in the making; `sign` is +1 for a long one."""

    __slots__ = (
        "entered", "entry_notional", "exit_notional", "exited", "fees", "fills", "income", "sign",
        "ts_entry", "ts_exit",
    )  # fmt: skip

    def __init__(self, sign: int, ts_entry: int) -> None:
        self.sign = sign
        self.ts_entry = ts_entry
        self.ts_exit = 0
        self.entered = 0
        self.exited = 0
        self.entry_notional = 0
        self.exit_notional = 0
        self.fees = 0
        self.fills = 0
        self.income = 0

    def add(self, fill: _Traded, lots: int, notional: int, fee: int) -> None:
        """Take `lots` of a fill, with their part of its notional and fee."""
        if fill.side == self.sign:
            self.entered += lots
            self.entry_notional += notional
        else:
            self.exited += lots
            self.exit_notional += notional
            self.ts_exit = fill.ts
        self.fees += fee
        self.fills += fill.is_fill

    def adjust(self, ts: int, change: PositionAdjusted) -> None:
        """Take what a corporate action made of the position."""
        self.income += change.income
        self.exit_notional += self.sign * (change.amount + change.receivable - change.income)
        held, after = self.entered - self.exited, abs(change.lots)
        if after:
            self.entry_notional -= self.sign * change.carried
            self.entered = self.entered * after // held
            self.exited = self.entered - after
        else:
            self.exit_notional += self.sign * change.carried
            self.exited = self.entered
            self.ts_exit = ts


_OF_A_TRIP = (PostingKind.FUNDING, PostingKind.EXERCISE)
"""Postings that are income of the position they come with."""


def pair_round_trips(marks: Marks, account_events: Iterable[TimedAccountEvent]) -> list[RoundTrip]:
    """The round trips of a session: closed ones in the order of their exits, then the open ones.

    Args:
        marks: Values of what is still held, and the bars to count.
        account_events: In tape order; deposits and postings are passed over.

    Raises:
        DataError: A fill's instrument is not in the timeline.
    """
    working: dict[tuple[str, InstrumentId], _Trip] = {}
    trips: list[RoundTrip] = []
    for ts, event in account_events:
        if isinstance(event, CapitalDeposited):
            continue
        key = (event.strategy, event.instrument)
        if isinstance(event, CashPosted):
            if key in working and event.kind in _OF_A_TRIP:
                working[key].income += event.amount
        elif isinstance(event, PositionAdjusted):
            _adjust(marks, working, trips, ts, event)
        elif isinstance(event, OrderFilled):
            fill = _Traded(event.ts_fill, event.side, event.lots, event.notional, event.fee, True)
            _take(marks, working, trips, key, fill)
        elif event.kind is not SettlementKind.VARIATION:  # a gain of the trip that moves to cash
            side = 1 if event.traded > 0 else -1
            fill = _Traded(ts, side, abs(event.traded), event.notional, event.fee, False)
            _take(marks, working, trips, key, fill)
    return trips + [_finish(marks, key, trip) for key, trip in working.items()]


def _adjust(
    marks: Marks,
    working: dict[tuple[str, InstrumentId], _Trip],
    trips: list[RoundTrip],
    ts: int,
    change: PositionAdjusted,
) -> None:
    """What a corporate action makes of the trips of its two instruments."""
    key, new = (change.strategy, change.instrument), (change.strategy, change.other)
    trip = working.get(key)
    if trip is None:
        return
    if change.kind is CorporateActionKind.SYMBOL_CHANGE and new not in working:
        working[new] = working.pop(key)
        return
    trip.adjust(ts, change)
    if not change.lots:
        trips.append(_finish(marks, key, trip))
        del working[key]
    if change.received:
        side = 1 if change.received > 0 else -1
        received = _Traded(ts, side, abs(change.received), side * change.carried, 0, False)
        _take(marks, working, trips, new, received)


def _take(
    marks: Marks,
    working: dict[tuple[str, InstrumentId], _Trip],
    trips: list[RoundTrip],
    key: tuple[str, InstrumentId],
    fill: _Traded,
) -> None:
    """What enters or exits, in the trip of its position; one that flips it is split at zero."""
    trip = working.get(key)
    if trip is None:
        trip = working[key] = _Trip(fill.side, fill.ts)
    held = trip.entered - trip.exited
    closing = held if fill.side != trip.sign and fill.lots >= held else 0
    if not closing:
        trip.add(fill, fill.lots, fill.notional, fill.fee)
        return
    notional = fill.notional * closing // fill.lots
    fee = fill.fee * closing // fill.lots
    trip.add(fill, closing, notional, fee)
    trips.append(_finish(marks, key, trip))
    del working[key]
    if fill.lots > closing:
        trip = working[key] = _Trip(fill.side, fill.ts)
        trip.add(fill, fill.lots - closing, fill.notional - notional, fill.fee - fee)


def _finish(marks: Marks, key: tuple[str, InstrumentId], trip: _Trip) -> RoundTrip:
    mark = marks.of(key[1])
    terms = mark.instrument
    open_lots = trip.sign * (trip.entered - trip.exited)
    value, sign = 0, -trip.sign if terms.inverse_factor else trip.sign
    if open_lots:
        value = compute_value(
            open_lots,
            int(mark.of_position(open_lots)[-1]),
            terms.minor_per_tick_lot,
            terms.inverse_factor,
        )
    gross = value - sign * (trip.entry_notional - trip.exit_notional) + trip.income
    net = gross - trip.fees
    ts_exit = int(mark.ts_close[-1]) if open_lots else trip.ts_exit
    first, last = np.searchsorted(mark.ts_close, (trip.ts_entry, ts_exit), side="right")
    return RoundTrip(
        strategy=key[0],
        instrument=key[1],
        side=PositionSide.LONG if trip.sign > 0 else PositionSide.SHORT,
        is_open=open_lots != 0,
        ts_entry=trip.ts_entry,
        ts_exit=ts_exit,
        lots=trip.entered,
        open_lots=open_lots,
        entry_price=average_price(mark.instrument, trip.entry_notional, trip.entered),
        exit_price=average_price(mark.instrument, trip.exit_notional, trip.exited),
        entry_notional=trip.entry_notional,
        exit_notional=trip.exit_notional,
        pnl_gross=gross,
        fees=trip.fees,
        pnl_net=net,
        return_ratio=net / trip.entry_notional if trip.entry_notional else float("nan"),
        bars=int(last - first),
        fills=trip.fills,
    )
