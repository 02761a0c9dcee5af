"""Books in several currencies: a ledger for each, every one balanced in itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from onetape.domain.corporate_actions import ActionTerms
from onetape.domain.events import (
    CashPosted,
    OrderFilled,
    PositionAdjusted,
    PositionChanged,
    PositionSettled,
    SettlementKind,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateActionKind
from onetape.domain.postings import PostingKind
from onetape.portfolio.ledger import NO_INSTRUMENT, Ledger, LedgerState, NewShares, sum_costs


class CurrencyLedger(Ledger):
    """The books of a strategy whose instruments are quoted in several currencies.

    The balances are those of its own currency; `others` holds a ledger for each other one.
    `positions` and `held` are of all. What is exchanged leaves one ledger and enters another
    through their `exchanged` accounts, so each balances without a rate.
    """

    __slots__ = ("_book_of", "others")

    def __init__(self, strategy: str, currency: str, instruments: Iterable[Instrument]) -> None:
        instruments = tuple(instruments)
        own = [each for each in instruments if each.settlement_currency == currency]
        super().__init__(strategy, currency, own)
        foreign = sorted({each.settlement_currency for each in instruments} - {currency})
        self.others: dict[str, Ledger] = {
            name: Ledger(strategy, name, [e for e in instruments if e.settlement_currency == name])
            for name in foreign
        }
        self._book_of: dict[InstrumentId, Ledger] = {}
        for book in self.others.values():
            self.positions.update(book.positions)
            self._book_of.update(dict.fromkeys(book.positions, book))
        self.positions = {each.id: self.positions[each.id] for each in instruments}

    def cash_of(self, instrument: InstrumentId) -> int:
        """Cash of the currency in which an instrument is settled."""
        return self._book_of.get(instrument, self).cash

    def liquid_in(self, currency: str) -> int:
        """Cash of one currency, and dividends that are to be paid in it."""
        book = self._book(currency)
        return book.cash + book.receivable

    def save(self) -> LedgerState:
        """The balances as they stand."""
        others = [(name, book.save()) for name, book in self.others.items() if book.is_used()]
        return msgspec.structs.replace(super().save(), others=others)

    def restore(self, state: LedgerState) -> None:
        """Take over balances that were saved, into books without positions.

        Raises:
            InvariantBroken: They don't balance.
        """
        for name, book in state.others:
            self._book(name).restore(book)
        super().restore(state)

    def apply(self, fill: OrderFilled) -> PositionChanged:
        """Post a fill in the currency of its instrument and say what the position has become.

        Raises:
            InvariantBroken: The books don't balance afterwards, or a balance leaves int64.
        """
        book = self._book_of.get(fill.instrument)
        if book is None:
            return super().apply(fill)
        change = book.apply(fill)
        self._follow_position(fill.instrument)
        return change

    def adjust(
        self,
        instrument: InstrumentId,
        kind: CorporateActionKind,
        terms: ActionTerms,
        mark_ticks: int,
        new: NewShares | None = None,
        ts_pay: int = 0,
    ) -> PositionAdjusted | None:
        """Post what a corporate action makes of a position; see `Ledger.adjust`."""
        book = self._book_of.get(instrument)
        if book is None:
            return super().adjust(instrument, kind, terms, mark_ticks, new, ts_pay)
        change = book.adjust(instrument, kind, terms, mark_ticks, new, ts_pay)
        self._follow_position(instrument)
        if new is not None:  # of the same currency
            self._follow_position(new.instrument)
        return change

    def follow(self, event: PositionAdjusted) -> None:
        """Take over what `adjust` made of a position, from its event."""
        book = self._book_of.get(event.instrument)
        if book is None:
            super().follow(event)
            return
        book.follow(event)
        for instrument in (event.instrument, event.other):
            if instrument:
                self._follow_position(instrument)

    def settle(
        self,
        instrument: InstrumentId,
        kind: SettlementKind,
        traded: int,
        ticks: int,
        notional: int,
        fee: int = 0,
    ) -> PositionSettled:
        """Post what happens to a position without an order; see `Ledger.settle`."""
        book = self._book_of.get(instrument)
        if book is None:
            return super().settle(instrument, kind, traded, ticks, notional, fee)
        event = book.settle(instrument, kind, traded, ticks, notional, fee)
        self._follow_position(instrument)
        return event

    def follow_settled(self, event: PositionSettled) -> None:
        """Take over what `settle` made of a position, from its event."""
        book = self._book_of.get(event.instrument)
        if book is None:
            super().follow_settled(event)
        else:
            book.follow_settled(event)
            self._follow_position(event.instrument)

    def post(
        self,
        kind: PostingKind,
        amount: int,
        instrument: InstrumentId = NO_INSTRUMENT,
        reason: str = "",
        currency: str = "",
    ) -> CashPosted:
        """Book cash in `currency`, else in that of the instrument; see `Ledger.post`."""
        book = self._book(currency) if currency else self._book_of.get(instrument, self)
        if book is self:
            return super().post(kind, amount, instrument, reason)
        return book.post(kind, amount, instrument, reason)

    def check(self) -> None:
        """Every ledger balances; see `Ledger.check`."""
        super().check()
        for book in self.others.values():
            book.check()

    def _own_costs(self) -> tuple[int, int]:
        foreign = self._book_of
        return sum_costs(each for name, each in self.positions.items() if name not in foreign)

    def _book(self, currency: str) -> Ledger:
        return self.others[currency] if currency in self.others else super()._book(currency)

    def _follow_position(self, instrument: InstrumentId) -> None:
        position = self.positions[instrument]
        if position.lots:
            self.held.setdefault(instrument, position)
        else:
            self.held.pop(instrument, None)


def open_ledger(strategy: str, currency: str, instruments: Sequence[Instrument]) -> Ledger:
    """Empty books for what may be held, in as many currencies as that is quoted in."""
    if all(each.settlement_currency == currency for each in instruments):
        return Ledger(strategy, currency, instruments)
    return CurrencyLedger(strategy, currency, instruments)
