"""The statement of a day: balances before and after, every entry between, positions at the marks.

A day is a UTC date; what happens at its last midnight still belongs to it, as a bar that closes
then does. The balances at the end of one day are those at the beginning of the next, so the entries
of all days add up to the final books.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

import msgspec
import numpy as np

from onetape.domain.instrument import InstrumentId
from onetape.domain.timestamps import NS_PER_DAY
from onetape.portfolio.equity_curve import Marks
from onetape.portfolio.journal import ACCOUNTS, Entry
from onetape.portfolio.ledger import Position


class StatedPosition(msgspec.Struct, frozen=True, kw_only=True):
    """A position at the end of the day. `cost`, `value` and `unrealized` are minor units.

    `value` is what it adds to equity: only the gain of a contract that is margined. `mark`
    is None where the instrument has had no bar yet; then it is valued at its cost.
    """

    instrument: InstrumentId
    quantity: Decimal
    cost: int
    mark: Decimal | None
    value: int
    unrealized: int


class Translation(msgspec.Struct, frozen=True, kw_only=True):
    """Foreign cash in the currency of the books (`home`), minor units, rounded down.

    `opening` and `closing` are at the last rates of the day before and of the day, `moved` what the
    entries between moved, each at the rate of its time. `equity` is all of it at the end.
    """

    home: str
    opening: int
    moved: int
    closing: int
    equity: int

    @property
    def revaluation(self) -> int:
        """What the rate made of the cash."""
        return self.closing - self.opening - self.moved


class Balances(msgspec.Struct, frozen=True, kw_only=True):
    """One strategy in one currency: accounts at both ends of the day, and what lies between.

    `translation` is None for the currency of the books.
    """

    strategy: str
    currency: str
    opening: dict[str, int]
    entries: list[Entry]
    closing: dict[str, int]
    positions: list[StatedPosition]
    translation: Translation | None = None

    @property
    def equity(self) -> int:
        """Cash, dividends to be paid and positions at their marks at the end of the day.

        In minor units of `currency`.
        """
        liquid = self.closing["cash"] + self.closing["receivable"]
        return liquid + sum(each.value for each in self.positions)


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The books of a session on one day (days since 1970-01-01), by strategy and currency."""

    day: int
    balances: list[Balances]


def day_of(ts: int) -> int:
    """Which day a time (ns UTC) belongs to: days since 1970-01-01; midnight to the day it ends."""
    return (ts - 1) // NS_PER_DAY


def state_day(entries: Iterable[Entry], marks: Marks, day: int) -> Statement:
    """The statement of a day, from all entries of a session.

    Args:
        entries: In the order of the tape.
        marks: Of the session's market data.
        day: Days since 1970-01-01.

    Raises:
        DataError: The market data lacks an instrument that was traded.
    """
    opening: dict[tuple[str, str], dict[str, int]] = {}
    closing: dict[tuple[str, str], dict[str, int]] = {}
    inside: dict[tuple[str, str], list[Entry]] = {}
    homes: dict[str, str] = {}
    held: dict[tuple[str, str], dict[InstrumentId, tuple[int, int]]] = {}
    for entry in entries:
        place = day_of(entry.ts)
        if place > day:
            break
        key = entry.strategy, entry.currency
        homes.setdefault(*key)  # the first entry of a strategy gives it its capital
        before = opening.setdefault(key, dict.fromkeys(ACCOUNTS, 0))
        after = closing.setdefault(key, dict.fromkeys(ACCOUNTS, 0))
        for name, amount in entry.changes.items():
            after[name] += amount
            if place < day:
                before[name] += amount
        own = inside.setdefault(key, [])
        if place == day:
            own.append(entry)
        for name, lots, cost in entry.held:
            held.setdefault(key, {})[name] = lots, cost
    balances = [
        Balances(
            strategy=key[0], currency=key[1], opening=opening[key], entries=inside[key],
            closing=closing[key],
            positions=[
                _state_position(marks, instrument, lots, cost, day)
                for instrument, (lots, cost) in held.get(key, {}).items()
                if lots
            ],
        )
        for key in closing
    ]  # fmt: skip
    return Statement(
        day=day,
        balances=[
            msgspec.structs.replace(
                each, translation=_translate(each, marks, homes[each.strategy], day)
            )
            if each.currency != homes[each.strategy]
            else each
            for each in balances
        ],
    )


def _translate(balances: Balances, marks: Marks, home: str, day: int) -> Translation:
    currencies, currency = marks.currencies(home), balances.currency
    begin, end = day * NS_PER_DAY, (day + 1) * NS_PER_DAY
    return Translation(
        home=home,
        opening=currencies.at_time(currency, balances.opening["cash"], begin),
        moved=sum(
            currencies.at_time(currency, each.changes.get("cash", 0), each.ts)
            for each in balances.entries
        ),
        closing=currencies.at_time(currency, balances.closing["cash"], end),
        equity=currencies.at_time(currency, balances.equity, end),
    )


def _state_position(
    marks: Marks, instrument: InstrumentId, lots: int, cost: int, day: int
) -> StatedPosition:
    mark = marks.of(instrument)
    slot = int(np.searchsorted(marks.slice_ts, (day + 1) * NS_PER_DAY, side="right")) - 1
    newest = int(np.searchsorted(mark.slices, slot, side="right")) - 1
    definition = mark.instrument
    ticks = int(mark.of_position(lots)[newest]) if newest >= 0 else None
    position = Position(definition)
    position.lots = lots
    worth = cost if ticks is None else position.value(ticks)
    return StatedPosition(
        instrument=instrument,
        quantity=definition.lots_to_quantity(lots),
        cost=cost,
        mark=None if ticks is None else definition.ticks_to_price(ticks),
        value=worth - cost if definition.is_margined else worth,
        unrealized=worth - cost,
    )


def days_of(entries: Sequence[Entry], marks: Marks) -> range:
    """Every day from the first entry, or bar, to the last."""
    days = [day_of(entry.ts) for entry in entries]
    if len(marks.slice_ts):
        days += [day_of(int(marks.slice_ts[0])), day_of(int(marks.slice_ts[-1]))]
    return range(min(days), max(days) + 1) if days else range(0)
