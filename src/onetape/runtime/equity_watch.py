"""Peak equity and the equity at the start of the trading session, for the loss gates.

Positions only change at fills, so equity between two fills is a function of the closes alone. The
watch is brought forward when somebody asks (a gate) or when the books are about to change (a fill),
and then looks at every row it has not seen yet: exact, and free for rows without decisions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from onetape.domain.instrument import InstrumentId
from onetape.portfolio.ledger import Ledger
from onetape.runtime.market_state import MarketState


class Holding(Protocol):
    """A position as a watch reads it: signed lots, and what a price makes of them."""

    @property
    def lots(self) -> int:
        """Signed."""
        ...

    @property
    def factor(self) -> int:
        """Minor units of one tick times one lot."""
        ...

    @property
    def inverse_factor(self) -> int:
        """As of the instrument; 0 where it is not inverse."""
        ...

    def worth(self, ticks: int, /) -> int:
        """What it adds to equity at a price, in minor units."""
        ...


class WatchedBooks(Protocol):
    """Books that a watch follows: cash in minor units, what will come, and what is held."""

    @property
    def cash(self) -> int:
        """Minor units."""
        ...

    @property
    def receivable(self) -> int:
        """Dividends that are not paid yet, minor units."""
        ...

    @property
    def held(self) -> Mapping[InstrumentId, Holding]:
        """Positions that are not flat."""
        ...


class SummedHolding:
    """What all strategies together hold of an instrument; flat, it may still be worth something."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Holding]) -> None:
        self._parts = parts

    @property
    def parts(self) -> Sequence[Holding]:
        """Each position of it."""
        return self._parts

    @property
    def lots(self) -> int:
        """Signed, added up."""
        return sum(each.lots for each in self._parts)

    @property
    def factor(self) -> int:
        """Minor units of one tick times one lot."""
        return self._parts[0].factor

    @property
    def inverse_factor(self) -> int:
        """As of the instrument."""
        return self._parts[0].inverse_factor

    def worth(self, ticks: int) -> int:
        """What all of it adds to equity at a price."""
        return sum(each.worth(ticks) for each in self._parts)


class AccountBooks:
    """The sum of the strategies' books, as a watch reads them."""

    __slots__ = ("_ledgers",)

    def __init__(self, ledgers: Sequence[Ledger]) -> None:
        self._ledgers = ledgers

    @property
    def cash(self) -> int:
        """Minor units."""
        return sum(each.cash for each in self._ledgers)

    @property
    def receivable(self) -> int:
        """Dividends that are not paid yet, minor units."""
        return sum(each.receivable for each in self._ledgers)

    @property
    def held(self) -> Mapping[InstrumentId, Holding]:
        """What any strategy holds, added up."""
        parts: dict[InstrumentId, list[Holding]] = {}
        for ledger in self._ledgers:
            for name, position in ledger.held.items():
                parts.setdefault(name, []).append(position)
        return {name: SummedHolding(each) for name, each in parts.items()}


def follow_capital(base: int, equity: int, amount: int) -> int:
    """What losses are counted from (a peak, a day's start) once capital has come or gone (minor).

    In proportion to the `equity` before it, rounded up: the share that is lost stays what it was,
    as in a time-weighted return (GIPS 2020). Without equity in front of it or behind it there is no
    proportion, and the base moves by the amount.
    """
    if equity <= 0 or equity + amount <= 0:
        return base + amount
    return -(-base * (equity + amount) // equity)


class EquityWatchState(msgspec.Struct, frozen=True):
    """What an `EquityWatch` has seen up to `row`; amounts in minor units, marks in ticks."""

    row: int
    marks: list[int]
    equity: int
    peak: int
    session_start: int


class EquityWatch:
    """Equity of one sub-ledger followed row by row.

    Attributes:
        peak: Highest equity so far, in minor units, at any slice end.
        session_start: Equity at the last row before the current trading session.
    """

    __slots__ = ("_account", "_equity", "_index", "_ledger", "_market", "_marks", "_row",
                 "_rows_index", "_slice_end", "peak", "session_start")  # fmt: skip

    def __init__(
        self,
        ledger: WatchedBooks,
        market: MarketState,
        index: dict[InstrumentId, int],
        rows_index: Sequence[int] | None,
        slice_end: Sequence[bool],
        account: EquityWatch | None = None,
    ) -> None:
        """Start flat, with the ledger's cash.

        Args:
            ledger: The books to follow.
            market: Where the marks come from.
            index: Position of each instrument in the timeline.
            rows_index: Instrument position of each row; None when there is only one instrument.
            slice_end: Whether a row is the last of its time: equity counts only there, because
                between two bars of one time some marks are old and some are new.
            account: The watch over all strategies, which sees every row before their books change.
        """
        self._ledger = ledger
        self._market = market
        self._index = index
        self._rows_index = rows_index
        self._slice_end = slice_end
        self._account = account
        self._row = -1
        self._marks = [0] * len(index)
        self._equity = self.peak = self.session_start = 0
        self.begin()

    def begin(self) -> None:
        """The cash that the books begin with has come."""
        self._equity = self.peak = self.session_start = self._ledger.cash

    def save(self) -> EquityWatchState:
        """What it has seen so far."""
        return EquityWatchState(
            self._row, list(self._marks), self._equity, self.peak, self.session_start
        )

    def restore(self, state: EquityWatchState) -> None:
        """Go on where `state` was saved."""
        self._row = state.row
        self._marks = list(state.marks)
        self._equity = state.equity
        self.peak = state.peak
        self.session_start = state.session_start

    def adjust_mark(self, index: int, ticks: int) -> None:
        """A corporate action has made `ticks` the mark of the instrument at `index`."""
        self._marks[index] = ticks
        if self._account is not None:
            self._account.adjust_mark(index, ticks)

    def transfer(self, amount: int) -> None:
        """Capital has come (or gone, negative): that is no gain and no loss."""
        before = self._equity
        self.peak = follow_capital(self.peak, before, amount)
        self.session_start = follow_capital(self.session_start, before, amount)
        self._equity = before + amount

    def advance(self) -> None:
        """Look at every row up to the market's current one, with the positions held now.

        Called before the books change, so each row is seen with the books that stood at it.
        """
        if self._account is not None:
            self._account.advance()
        row = self._market.row
        if row <= self._row:
            return
        if self._rows_index is not None:
            self._advance_many(row, self._rows_index)
        elif self._ledger.held:
            self._advance_one(row)
        else:
            self._advance_flat(row)
        self._row = row

    def _advance_flat(self, row: int) -> None:
        cash = self._ledger.cash + self._ledger.receivable
        start = self._market.session_start_between(self._row, row)
        if start >= 0:
            self.session_start = cash if start > self._row + 1 else self._equity
        self._equity = cash
        if cash > self.peak:
            self.peak = cash

    def _advance_one(self, row: int) -> None:
        ticks = self._market.close_ticks
        (position,) = self._ledger.held.values()
        is_long = position.lots > 0
        cash = self._ledger.cash + self._ledger.receivable
        start = self._market.session_start_between(self._row, row)
        if start >= 0:
            known = start > self._row + 1
            self.session_start = cash + position.worth(ticks[start - 1]) if known else self._equity
        seen = ticks[self._row + 1 : row + 1]
        self.peak = max(self.peak, cash + position.worth(max(seen) if is_long else min(seen)))
        self._equity = cash + position.worth(ticks[row])

    def _positions(self) -> Mapping[int, Holding]:
        """What is held, by position of the instrument; its legs added up."""
        held = self._ledger.held
        positions: dict[int, Holding] = {self._index[name]: each for name, each in held.items()}
        if len(positions) == len(held):
            return positions
        parts: dict[int, list[Holding]] = {}
        for name, each in held.items():
            parts.setdefault(self._index[name], []).append(each)
        return {at: SummedHolding(each) for at, each in parts.items()}

    def _advance_many(self, row: int, rows_index: Sequence[int]) -> None:
        ticks = self._market.close_ticks
        marks = self._marks
        ends = self._slice_end
        positions = self._positions()
        inverse = {at: each for at, each in positions.items() if each.inverse_factor}
        held = {at: each.lots * each.factor for at, each in positions.items() if at not in inverse}
        equity = self._ledger.cash + self._ledger.receivable
        equity += sum(each.worth(marks[at]) for at, each in positions.items())
        peak = self.peak
        start = self._market.session_start_between(self._row, row)
        if start >= 0:
            self.session_start = self._equity
        for at in range(self._row + 1, row + 1):
            if at == start and at > self._row + 1:
                self.session_start = equity
            index = rows_index[at]
            each = held.get(index)
            if each:
                equity += each * (ticks[at] - marks[index])
            elif index in inverse:
                equity += inverse[index].worth(ticks[at]) - inverse[index].worth(marks[index])
            marks[index] = ticks[at]
            if ends[at] and equity > peak:
                peak = equity
        self._equity = equity
        self.peak = peak


class ClosingSideWatch(EquityWatch):
    """An `EquityWatch` of positions that are marked at the side that would close them.

    Every slice is valued anew: two positions of one instrument may have different marks. `marks`
    hold the newest row of each instrument instead, one more, so that 0 is none.
    """

    __slots__ = ()

    def advance(self) -> None:
        """Look at every row up to the market's current one, with the books as they stand."""
        if self._account is not None:
            self._account.advance()
        row = self._market.row
        if row <= self._row:
            return
        start = self._market.session_start_between(self._row, row)
        owners, marks = self._rows_index, self._marks
        for at in range(self._row + 1, row + 1):
            if at == start:
                self.session_start = self._equity
            marks[owners[at] if owners is not None else 0] = at + 1
            if self._slice_end[at] or at == row:
                self._equity = self._value()
                if self._slice_end[at]:
                    self.peak = max(self.peak, self._equity)
        self._row = row

    def _value(self) -> int:
        books, ticks_at = self._ledger, self._market.ticks_at
        worth = books.cash + books.receivable
        for name, holding in books.held.items():
            row = self._marks[self._index[name]] - 1
            parts = holding.parts if isinstance(holding, SummedHolding) else (holding,)
            worth += sum(each.worth(ticks_at(row, each.lots)) for each in parts if row >= 0)
        return worth
