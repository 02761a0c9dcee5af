"""Rates between currencies: the marks of instruments that trade one for another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind
from onetape.domain.numbers import E8, compute_ratio_floor
from onetape.domain.rules import rule

RATE_E8_MAX = 900_000_000_000_000
"""The largest rate, 9 million, with which no product of the rules below leaves int64."""

_PAIRS = (InstrumentKind.FX, InstrumentKind.SPOT)


@rule
def compute_quote_amount(amount: int, rate_e8: int) -> int:
    """`amount` of a pair's base currency in its quote currency, rounded down. Ours.

    Both in minor units; `rate_e8` is positive. No product leaves int64 while the result doesn't.
    """
    whole = rate_e8 // 100_000_000
    return amount * whole + compute_ratio_floor(amount, rate_e8 - whole * 100_000_000)


@rule
def compute_base_amount(amount: int, rate_e8: int) -> int:
    """`amount` of a pair's quote currency in its base currency, rounded down. Ours.

    Long division by two digits of 1e4, so that no product leaves int64 for rates below 9e6 while
    the result doesn't.
    """
    whole = amount // rate_e8
    rest = (amount - whole * rate_e8) * 10_000
    high = rest // rate_e8
    low = (rest - high * rate_e8) * 10_000 // rate_e8
    return whole * 100_000_000 + high * 10_000 + low


class CurrencyPair(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rate between a home currency and another one comes from.

    Attributes:
        currency: The other one.
        instrument: Whose mark the rate is.
        index: Its position in the timeline.
        tick_e8: One tick of it as a rate, 1e-8.
        is_base: Whether `currency` is its base currency, so a mark says how much of home one costs.
    """

    currency: str
    instrument: InstrumentId
    index: int
    tick_e8: int
    is_base: bool

    def to_home(self, amount: int, ticks: int) -> int:
        """Minor units of `currency` in those of home, rounded down; `ticks` is the pair's mark."""
        if self.is_base:
            return compute_quote_amount(amount, ticks * self.tick_e8)
        return compute_base_amount(amount, ticks * self.tick_e8)

    def from_home(self, amount: int, ticks: int) -> int:
        """Minor units of home in those of `currency`, rounded down."""
        if self.is_base:
            return compute_base_amount(amount, ticks * self.tick_e8)
        return compute_quote_amount(amount, ticks * self.tick_e8)


def find_pairs(
    instruments: Sequence[Instrument], home: str, currencies: Iterable[str]
) -> dict[str, CurrencyPair]:
    """The first pair of `instruments` between `home` and each of `currencies`.

    Raises:
        ConfigError: There is none, or its ticks are finer than 1e-8.
    """
    return {each: _find_pair(instruments, home, each) for each in currencies}


def _find_pair(instruments: Sequence[Instrument], home: str, currency: str) -> CurrencyPair:
    for index, each in enumerate(instruments):
        sides = (each.base_currency, each.quote_currency)
        if each.kind not in _PAIRS or sides not in ((home, currency), (currency, home)):
            continue
        tick_e8 = each.tick_size * E8
        if tick_e8 != tick_e8.to_integral_value():
            raise ConfigError(
                f"a tick of {each.id}, {each.tick_size:f}, is finer than 1e-8, so it can't be a "
                "rate",
                remedy="define it with a coarser tick, or the other way round",
            )
        return CurrencyPair(
            currency=currency, instrument=each.id, index=index, tick_e8=int(tick_e8),
            is_base=each.base_currency == currency,
        )  # fmt: skip
    raise ConfigError(
        f"no instrument of the session is a rate between {home} and {currency}",
        where="data.instruments",
        remedy=f"add the pair, such as {currency}{home} with base currency {currency}",
    )
