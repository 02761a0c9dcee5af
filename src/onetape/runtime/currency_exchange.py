"""One strategy's way between currencies: rates are marks, conversions cost a spread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import compute_ratio_ceil, show_minor
from onetape.portfolio.currency_ledger import CurrencyLedger
from onetape.portfolio.currency_pairs import CurrencyPair
from onetape.runtime.market_state import MarketState


class Conversion(NamedTuple):
    """What converting an amount brings, minor units.

    `received` is of the other currency; `value` what was converted and `cost` what that costs are
    of the currency of the books. The reasons are for people.
    """

    received: int
    value: int
    cost: int
    reason: str
    cost_reason: str


class CurrencyExchange:
    """Converts amounts at the newest marks.

    *Fills when*: at once, any amount: in the step that moves foreign cash, or where that is
    held, when a strategy asks for it. *Ignores*: market hours, smallest amounts, settlement,
    and that a large amount moves the rate. *Units*: minor units; roundings are against us.
    *Source* of the cost of a conversion that a strategy asks for, a share of its value, with a
    minimum, charged to the currency of the books: Interactive Brokers, "Commissions Spot
    Currencies" (0.20 basis points of the trade value, at least USD 2.00 an order).

    Args:
        ledger: The books.
        pairs: Where the rate of each other currency comes from.
        market: The marks.
        spread_e8: What a conversion costs, as a share (1e-8) of what it takes.
        minimum: The least that one costs which a strategy asks for.
        holds: Whether foreign cash stays until a strategy converts it.

    `home` is the currency of the books.
    """

    __slots__ = ("_ledger", "_market", "_minimum", "_pairs", "_spread_e8", "holds", "home")

    def __init__(
        self,
        ledger: CurrencyLedger,
        pairs: Mapping[str, CurrencyPair],
        market: MarketState,
        spread_e8: int,
        minimum: int = 0,
        *,
        holds: bool = False,
    ) -> None:
        self._ledger = ledger
        self._pairs = pairs
        self._market = market
        self._spread_e8 = spread_e8
        self._minimum = minimum
        self.holds = holds
        self.home = ledger.currency

    @property
    def currencies(self) -> tuple[str, ...]:
        """All that the books have, that of the books first."""
        return (self.home, *self._pairs)

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
        """What converting `amount` (no sign) at once costs, rounded up; 0 where cash is held."""
        return 0 if self.holds else compute_ratio_ceil(amount, self._spread_e8)

    def sum_owed(self, amounts: Mapping[str, int]) -> int:
        """What is below zero of amounts by currency, together, in home currency, rounded up."""
        return -sum(self.to_home(name, min(amount, 0)) for name, amount in amounts.items())

    def quote(self, source: str, target: str, amount: int) -> Conversion:
        """What converting `amount` of `source` into `target` brings now; across home if need be.

        Raises:
            InvariantBroken: There is no rate yet.
        """
        value = self.to_home(source, amount)
        received = self.from_home(target, value)
        by_ratio = compute_ratio_ceil(value, self._spread_e8)
        bps = f"{self._spread_e8 / 1e4:.10g} bps of {show_minor(value)} {self.home}"
        rates = [self._tell_rate(each) for each in (source, target) if each != self.home]
        return Conversion(
            received, value, max(by_ratio, self._minimum),
            f"{show_minor(amount)} {source} at {' and '.join(rates)}",
            bps if by_ratio >= self._minimum else f"the minimum, above {bps}",
        )  # fmt: skip

    def quote_sweep(self, currency: str, *, is_forced: bool = False) -> tuple[int, int, str] | None:
        """What it takes to bring the cash of `currency` to zero; None when it is zero, or stays.

        What is held goes too where `is_forced`.

        Returns:
            What its cash changes by, what that of home changes by, and how that came about.
        """
        cash = self._ledger.cash_in(currency)
        if not cash or (self.holds and not is_forced):
            return None
        moved = self.to_home(currency, cash)
        cost = compute_ratio_ceil(abs(moved), self._spread_e8)
        spread = f", {self._spread_e8 / 1e4:.10g} bps" if self._spread_e8 else ""
        return -cash, moved - cost, f"at {self._tell_rate(currency)}{spread}"

    def _tell_rate(self, currency: str) -> str:
        return f"{self._known_ticks(currency) * self._pairs[currency].tick_e8 / 1e8:.10g}"

    def _ticks(self, currency: str) -> int:
        return self._market.mark_ticks(self._pairs[currency].index)

    def _known_ticks(self, currency: str) -> int:
        ticks = self._ticks(currency)
        if ticks <= 0:
            raise InvariantBroken(
                f"{self._ledger.strategy} has {currency} before {self.pair_of(currency)} has a bar"
            )
        return ticks
