"""Borrow fees and interest when trading days end; `simulated/carrying.py` says what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import names_of
from onetape.domain.numbers import show_minor
from onetape.domain.postings import PostingKind
from onetape.domain.timestamps import NS_PER_DAY
from onetape.execution.simulated.carrying import (
    CarryingTerms,
    compute_collateral_ticks,
    compute_interest,
)
from onetape.marketdata.timeline import DayEnd
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.ledger import Ledger
from onetape.runtime.bookkeeper import Bookkeeper
from onetape.runtime.market_state import MarketState
from onetape.runtime.runner import Runner


class Night(msgspec.Struct, frozen=True):
    """What a strategy carried over the night: minor units, and the UTC date it began with.

    `instrument` is that of a short; empty for cash, whose `currency` is empty where it is that of
    the books. `day` counts days since 1970-01-01.
    """

    strategy: str
    instrument: InstrumentId
    value: int
    day: int
    currency: str = ""


class CarryingCosts:
    """A task at the ends of trading days.

    Args:
        terms: The rates.
        instruments: Of the timeline, in its order.
        market: Where the marks come from.
        runners: The strategies.
        books: Where the costs are posted.
    """

    def __init__(
        self,
        terms: CarryingTerms,
        instruments: Sequence[Instrument],
        market: MarketState,
        runners: Mapping[str, Runner],
        books: Bookkeeper,
    ) -> None:
        self._terms = terms
        self._instruments = instruments
        self._names = names_of(instruments)
        self._market = market
        self._runners = runners
        self._books = books
        self._shorts: dict[tuple[str, InstrumentId], Night] = {}
        self._cash: dict[tuple[str, str], Night] = {}

    def save(self) -> list[Night]:
        """What was carried over the last night."""
        return [*self._shorts.values(), *self._cash.values()]

    def restore(self, nights: Sequence[Night]) -> None:
        """Go on where `nights` were saved."""
        for each in nights:
            if each.instrument:
                self._shorts[each.strategy, each.instrument] = each
            else:
                self._cash[each.strategy, each.currency] = each

    def end_day(self, day_end: DayEnd) -> None:
        """Charge the nights since the last end of a day, and remember what the next one costs."""
        day = day_end.ts // NS_PER_DAY
        for name, runner in self._runners.items():
            traded = [
                index
                for index in day_end.instruments
                if self._instruments[index].id in runner.ledger.positions
            ]
            for index in traded:
                for held in self._names[self._instruments[index].id]:
                    self._charge_short(name, runner, index, held, day)
            if traded:
                self._charge_cash(name, runner.ledger, "", day)
                if isinstance(runner.ledger, CurrencyLedger):
                    for currency, book in runner.ledger.others.items():
                        self._charge_cash(name, book, currency, day)

    def _charge_short(
        self, name: str, runner: Runner, index: int, held: InstrumentId, day: int
    ) -> None:
        """`held` is under which id the instrument at `index` is held: its own, or a leg's."""
        instrument = self._instruments[index]
        terms = self._terms.borrow[instrument.id]
        if not terms.rate_e6 or instrument.is_contract:  # nobody lends a promise
            return
        night = self._shorts.pop((name, held), None)
        if night is not None:
            self._post(PostingKind.BORROW_FEE, night, terms.rate_e6, day)
        lots = runner.ledger.positions[held].lots
        if lots < 0:
            ticks = compute_collateral_ticks(
                self._market.mark_ticks(index), terms.collateral_e8, terms.step_ticks
            )
            value = lots * ticks * instrument.minor_per_tick_lot
            self._shorts[name, held] = Night(name, held, value, day)

    def _charge_cash(self, name: str, book: Ledger, currency: str, day: int) -> None:
        """Interest on the cash of one currency; `currency` is empty for that of the books."""
        night = self._cash.pop((name, currency), None)
        if night is not None:
            kind, rate_e6 = self._interest(night.value, book.currency)
            self._post(kind, night, rate_e6, day)
        if self._interest(book.cash, book.currency)[1]:
            self._cash[name, currency] = Night(name, InstrumentId(""), book.cash, day, currency)

    def _interest(self, cash: int, currency: str) -> tuple[PostingKind, int]:
        """What cash bears: kind, and annual rate in 1e-6."""
        terms = self._terms
        if cash < 0:
            rate = terms.margin_interest_e6_of.get(currency, terms.margin_interest_e6)
            return PostingKind.MARGIN_INTEREST, rate
        rate = terms.credit_interest_e6_of.get(currency, terms.credit_interest_e6)
        return PostingKind.CREDIT_INTEREST, rate if cash else 0

    def _post(self, kind: PostingKind, night: Night, rate_e6: int, day: int) -> None:
        days, year = day - night.day, self._terms.days_per_year
        amount = compute_interest(night.value, rate_e6, days, year)
        if amount:
            reason = (
                f"{rate_e6 / 10_000:.10g}% a year on {show_minor(abs(night.value))} for {days} of "
                f"{year} days"
            )
            self._books.post(night.strategy, kind, amount, night.instrument, reason, night.currency)
