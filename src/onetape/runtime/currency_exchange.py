"""One strategy's way between currencies: rates are marks, conversions cost a spread."""

from __future__ import annotations

from collections.abc import Mapping

from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import compute_ratio_ceil
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.currency_pairs import CurrencyPair
from onetape.runtime.market_state import MarketState


class CurrencyExchange:
    """Converts amounts at the newest marks.

    *Fills when*: at once, in the step that moves foreign cash, any amount. *Ignores*: market hours,
    minimum amounts, settlement, and that a large amount moves the rate. *Units*: minor units;
    roundings are against us.

    Args:
        ledger: The books.
        pairs: Where the rate of each other currency comes from.
        market: The marks.
        spread_e8: What a conversion costs, as a share (1e-8) of what it takes.

    `home` is the currency of the books.
    """

    __slots__ = ("_ledger", "_market", "_pairs", "_spread_e8", "home")

    def __init__(
        self,
        ledger: CurrencyLedger,
        pairs: Mapping[str, CurrencyPair],
        market: MarketState,
        spread_e8: int,
    ) -> None:
        self._ledger = ledger
        self._pairs = pairs
        self._market = market
        self._spread_e8 = spread_e8
        self.home = ledger.currency

    def has_rate(self, currency: str) -> bool:
        """Whether there is a rate by now."""
        return currency == self.home or self._ticks(currency) > 0

    def pair_of(self, currency: str) -> InstrumentId:
        """Whose mark the rate is."""
        return self._pairs[currency].instrument

    def to_home(self, currency: str, amount: int) -> int:
        """Minor units of `currency` in those of home, rounded down; negate twice to round up.

        Raises:
            InvariantBroken: There is no rate yet.
        """
        if currency == self.home or not amount:
            return amount
        return self._pairs[currency].to_home(amount, self._known_ticks(currency))

    def from_home(self, currency: str, amount: int) -> int:
        """Minor units of home in those of `currency`, rounded down.

        Raises:
            InvariantBroken: There is no rate yet.
        """
        if currency == self.home or not amount:
            return amount
        return self._pairs[currency].from_home(amount, self._known_ticks(currency))

    def compute_cost(self, amount: int) -> int:
        """What converting `amount` (minor units, no sign) costs, rounded up."""
        return compute_ratio_ceil(amount, self._spread_e8)

    def quote_sweep(self, currency: str) -> tuple[int, int, str] | None:
        """What it takes to bring the cash of `currency` to zero; None when it is zero.

        Returns:
            What its cash changes by, what that of home changes by, and how that came about.
        """
        cash = self._ledger.cash_in(currency)
        if not cash:
            return None
        moved = self.to_home(currency, cash)
        cost = self.compute_cost(abs(moved))
        pair = self._pairs[currency]
        rate = self._known_ticks(currency) * pair.tick_e8 / 1e8
        spread = f", {self._spread_e8 / 1e4:.10g} bps" if self._spread_e8 else ""
        return -cash, moved - cost, f"at {rate:.10g}{spread}"

    def _ticks(self, currency: str) -> int:
        return self._market.mark_ticks(self._pairs[currency].index)

    def _known_ticks(self, currency: str) -> int:
        ticks = self._ticks(currency)
        if ticks <= 0:
            raise InvariantBroken(
                f"{self._ledger.strategy} has {currency} before {self.pair_of(currency)} has a bar"
            )
        return ticks
