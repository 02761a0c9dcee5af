"""Amounts of several currencies in the one that the books are kept in, at the marks of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8, INT64_MAX
from onetape.portfolio.currency_pairs import (
    RATE_E8_MAX,
    CurrencyPair,
    compute_base_amount,
    compute_quote_amount,
    find_pairs,
)

Ints = npt.NDArray[np.int64]


class HomeCurrency:
    """Converts amounts (minor units) into `home`, rounded down; negate twice to round up.

    Args:
        home: The currency of the books.
        instruments: Of the timeline, pairs among them.
        slice_ts: `ts_known` of every slice.
        marks_of: Slices and ticks of the marks of an instrument.
    """

    def __init__(
        self,
        home: str,
        instruments: Sequence[Instrument],
        slice_ts: Ints,
        marks_of: Callable[[InstrumentId], tuple[Ints, Ints]],
    ) -> None:
        self.home = home
        self._instruments = instruments
        self._slice_ts = slice_ts
        self._marks_of = marks_of
        self._quotes = {each.id: each.settlement_currency for each in instruments}
        self._rates: dict[str, tuple[CurrencyPair, Ints]] = {}

    def currency_of(self, instrument: InstrumentId) -> str:
        """What `instrument` is quoted in; home when it is not there."""
        return self._quotes.get(instrument, self.home)

    def at_slices(self, currency: str, amounts: Ints) -> Ints:
        """Amounts at the end of every slice.

        Raises:
            ConfigError: There is no pair.
            InvariantBroken: An amount is there before a rate, or a result leaves int64.
        """
        if currency == self.home or not amounts.any():
            return amounts
        pair, rates = self._rate(currency)
        if np.any((rates == 0) & (amounts != 0)):
            raise InvariantBroken(f"there is {currency} before {pair.instrument} has a bar")
        known = np.maximum(rates, 1)
        ratios = np.where(rates, known / E8 if pair.is_base else E8 / known, 0)
        largest = float(np.abs(amounts * ratios).max())
        if largest >= INT64_MAX or int(known.max()) > RATE_E8_MAX:
            raise InvariantBroken(
                f"an amount of {currency} leaves int64 in {self.home}",
                remedy="run with less capital, or leverage",
            )
        convert: Callable[[Ints, Ints], Ints] = (
            compute_quote_amount if pair.is_base else compute_base_amount
        )  # type: ignore[assignment] - rules are plain arithmetic, so they take columns too
        return np.where(amounts == 0, 0, convert(amounts, known))

    def at_time(self, currency: str, amount: int, ts: int) -> int:
        """An amount at the newest rate of `ts` (ns UTC)."""
        if currency == self.home or not amount:
            return amount
        pair, rates = self._rate(currency)
        at = int(np.searchsorted(self._slice_ts, ts, side="right")) - 1
        rate = int(rates[max(at, 0)])
        if not rate:
            raise InvariantBroken(f"there is {currency} before {pair.instrument} has a bar")
        return compute_quote_amount(amount, rate) if pair.is_base else (
            compute_base_amount(amount, rate)
        )  # fmt: skip

    def _rate(self, currency: str) -> tuple[CurrencyPair, Ints]:
        """The pair of a currency, and its rate (1e-8) at every slice; 0 where there is none yet."""
        if currency not in self._rates:
            pair = find_pairs(self._instruments, self.home, [currency])[currency]
            slices, ticks = self._marks_of(pair.instrument)
            newest = np.searchsorted(slices, np.arange(len(self._slice_ts)), side="right") - 1
            rates = np.where(newest >= 0, ticks[np.maximum(newest, 0)], 0) * pair.tick_e8
            self._rates[currency] = pair, rates
        return self._rates[currency]
