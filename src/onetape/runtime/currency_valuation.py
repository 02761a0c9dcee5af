"""Books in several currencies at the marks: equity now, and its peak and session start by row."""

from __future__ import annotations

from collections.abc import Sequence

from onetape.domain.instrument import InstrumentId
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.currency_pairs import CurrencyPair
from onetape.runtime.currency_exchange import CurrencyExchange
from onetape.runtime.equity_watch import EquityWatch
from onetape.runtime.market_state import MarketState, Valuation


class CurrencyValuation(Valuation):
    """What books in several currencies are worth, in home currency.

    Cash and positions of a currency are added up in it and converted together: `equity` and `net`
    rounded down, `gross` up.

    `worths` are cash and positions by currency, each in its own.
    """

    __slots__ = ("_books", "_currencies", "_exchange", "worths")

    def __init__(
        self,
        ledger: CurrencyLedger,
        market: MarketState,
        index: dict[InstrumentId, int],
        currencies: dict[InstrumentId, str],
        exchange: CurrencyExchange,
    ) -> None:
        super().__init__(ledger, market, index)
        self._books = ledger
        self._currencies = currencies
        self._exchange = exchange
        self.worths: dict[str, int] = {}

    def refresh(self) -> None:
        """Bring the attributes up to date with the market's current row."""
        market = self._market
        if self.row == market.row:
            return
        self.row = market.row
        nets = dict.fromkeys((self._exchange.home, *self._books.others), 0)
        grosses = dict(nets)
        worths = {name: self._books.liquid_in(name) for name in nets}
        for identity, position in self._books.held.items():
            mark = market.mark_ticks(self._index[identity])
            exposure = position.exposure(mark)
            currency = self._currencies[identity]
            nets[currency] += exposure
            grosses[currency] += abs(exposure)
            worths[currency] += position.worth(mark)
        to_home = self._exchange.to_home
        self.worths = worths
        self.equity = sum(to_home(name, worth) for name, worth in worths.items())
        self.net = sum(to_home(name, net) for name, net in nets.items())
        self.gross = -sum(to_home(name, -gross) for name, gross in grosses.items())


class CurrencyWatch(EquityWatch):
    """An `EquityWatch` of books in several currencies: every slice is valued anew."""

    __slots__ = ("_books", "_currencies", "_pairs", "_rows_of_instruments")

    def __init__(
        self,
        ledger: CurrencyLedger,
        market: MarketState,
        index: dict[InstrumentId, int],
        rows_index: Sequence[int],
        slice_end: Sequence[bool],
        currencies: dict[InstrumentId, str],
        pairs: dict[str, CurrencyPair],
    ) -> None:
        super().__init__(ledger, market, index, rows_index, slice_end)
        self._books = ledger
        self._currencies = currencies
        self._pairs = pairs
        self._rows_of_instruments = rows_index

    def advance(self) -> None:
        """Look at every row up to the market's current one, with the books as they stand."""
        row = self._market.row
        if row <= self._row:
            return
        ticks, marks = self._market.close_ticks, self._marks
        start = self._market.session_start_between(self._row, row)
        for at in range(self._row + 1, row + 1):
            if at == start:
                self.session_start = self._equity
            marks[self._rows_of_instruments[at]] = ticks[at]
            if self._slice_end[at] or at == row:
                self._equity = self._value()
                if self._slice_end[at]:
                    self.peak = max(self.peak, self._equity)
        self._row = row

    def _value(self) -> int:
        marks = self._marks
        books = self._books
        worth = {name: books.liquid_in(name) for name in (books.currency, *books.others)}
        for identity, position in self._books.held.items():
            worth[self._currencies[identity]] += position.worth(marks[self._index[identity]])
        home = worth.pop(self._books.currency)
        return home + sum(
            self._pairs[name].to_home(amount, marks[self._pairs[name].index])
            for name, amount in worth.items()
            if amount
        )
