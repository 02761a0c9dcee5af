"""What a run held at some of its slices: lots and notionals at the marks, by strategy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from onetape.domain.instrument import InstrumentId
from onetape.domain.notional import compute_notional
from onetape.portfolio.equity_curve import Ints, Marks, TimedAccountEvent, collect_moves
from onetape.portfolio.home_currency import HomeCurrency


class HeldPosition(NamedTuple):
    """One instrument in the books of one strategy: lots, marks and notionals at each slice.

    Arrays have shape (slices asked for,). `lots` are signed, `ticks` the mark (0 before the first),
    `notional` is signed and in minor units of the home currency, rounded down.
    """

    strategy: str
    instrument: InstrumentId
    lots: Ints
    ticks: Ints
    notional: Ints


def value_positions(
    marks: Marks,
    account_events: Iterable[TimedAccountEvent],
    currencies: HomeCurrency,
    slices: Ints,
) -> list[HeldPosition]:
    """Everything that was held at one of `slices` (numbers, rising), by strategy and instrument.

    Positions of two strategies stay apart.
    """
    by_strategy: dict[str, list[TimedAccountEvent]] = {}
    for timed in account_events:
        by_strategy.setdefault(timed[1].strategy, []).append(timed)
    held: list[HeldPosition] = []
    for strategy, events in by_strategy.items():
        slots = marks.slots(marks.time_of(ts, event) for ts, event in events)
        moves = collect_moves(slots, [event for _, event in events])
        for instrument, (at, changes) in moves.items():
            sums = np.concatenate(([0], np.cumsum(np.array(changes, dtype=np.int64))))
            lots: Ints = sums[np.searchsorted(np.array(at), slices, side="right")]
            if not lots.any():
                continue
            ticks = _ticks_at(marks, instrument, slices, lots)
            notional = _value(marks, instrument, lots, ticks)
            home = _bring_home(marks, currencies, instrument, notional, slices)
            held.append(HeldPosition(strategy, instrument, lots, ticks, home))
    return held


def _ticks_at(marks: Marks, instrument: InstrumentId, slices: Ints, lots: Ints) -> Ints:
    found = marks.of(instrument)
    newest = np.searchsorted(found.slices, slices, side="right") - 1
    return np.where(newest >= 0, found.of_positions(lots, np.maximum(newest, 0)), 0)


def _value(marks: Marks, instrument: InstrumentId, lots: Ints, ticks: Ints) -> Ints:
    terms = marks.of(instrument).instrument
    factor, inverse = terms.minor_per_tick_lot, terms.inverse_factor
    sizes = [
        compute_notional(abs(one), tick, factor, inverse) if one and tick else 0
        for one, tick in zip(lots.tolist(), ticks.tolist(), strict=True)
    ]
    return np.sign(lots) * np.array(sizes, dtype=np.int64)


def _bring_home(
    marks: Marks,
    currencies: HomeCurrency,
    instrument: InstrumentId,
    notional: Ints,
    slices: Ints,
) -> Ints:
    currency = currencies.currency_of(instrument)
    if currency == currencies.home:
        return notional
    everywhere = np.zeros(len(marks.slice_ts), dtype=np.int64)
    everywhere[slices] = notional
    return currencies.at_slices(currency, everywhere)[slices]


def find_held(positions: Sequence[HeldPosition], instrument: InstrumentId, count: int) -> Ints:
    """Signed lots of an instrument at each of `count` slices, all strategies together."""
    return sum(
        (each.lots for each in positions if each.instrument == instrument),
        start=np.zeros(count, dtype=np.int64),
    )
