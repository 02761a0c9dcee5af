"""What it costs to hold: borrow fees for shorts, interest on cash. Charged when a trading day ends.

*Charges when*: a trading day of an instrument ends, for the nights since its last one (calendar
days between the UTC dates of the two, so a weekend counts 3), on what was held at that last one at
its mark; a contract that is sold is borrowed from nobody. So whoever sells short on Monday and buys
back on Tuesday pays one night, on Tuesday's end of day. Interest on cash goes by the ends of days
of all instruments of a strategy.

*Ignores*: the night of the last day of a session, settlement (a night counts from the trade), rates
that change, tiers, accruals (every day is paid at once), that brokers pay less on the proceeds of
short sales, a bad or missing locate, and recalls.

*Units*: annual rates in 1e-6, amounts in minor units; charges are rounded up, credits down.

*Source*: value x rate / 360 for each day, on 102% of the close rounded up to a whole dollar, is the
convention that Interactive Brokers documents for its "Borrow Fee Details"; debit x rate / 360 a day
is what US brokers publish for margin interest. Both come without fixed numbers here: all are terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.nearest import nearest
from onetape.domain.numbers import E8, compute_ratio_ceil, to_decimal
from onetape.domain.rules import rule

DAYS_MAX = 100_000
"""More nights than lie between any two ends of days, so that no product leaves int64."""


class CarryingModel(msgspec.Struct, frozen=True, kw_only=True):
    """Annual rates in percent, and what they are taken of. 0: free, or no interest.

    Attributes:
        borrow_pct: Of the value of lots that are held short.
        borrow_pct_of: Other rates, by instrument.
        collateral_ratio: The value counts this often (1.02: 102%).
        collateral_round_up_to: That price is rounded up to a multiple of this, in currency; 0: not.
        margin_interest_pct: Of cash below zero.
        margin_interest_pct_of: Other rates, by currency.
        credit_interest_pct: Of cash above zero, received.
        credit_interest_pct_of: Other rates, by currency.
        days_per_year: 360 or 365.
    """

    borrow_pct: Decimal = Decimal(0)
    borrow_pct_of: Mapping[InstrumentId, Decimal] = {}
    collateral_ratio: Decimal = Decimal(1)
    collateral_round_up_to: Decimal = Decimal(0)
    margin_interest_pct: Decimal = Decimal(0)
    margin_interest_pct_of: Mapping[str, Decimal] = {}
    credit_interest_pct: Decimal = Decimal(0)
    credit_interest_pct_of: Mapping[str, Decimal] = {}
    days_per_year: int = 360


class BorrowTerms(msgspec.Struct, frozen=True):
    """Of one instrument: annual rate (1e-6), collateral (1e-8 of its price), its grid in ticks."""

    rate_e6: int
    collateral_e8: int
    step_ticks: int


class CarryingTerms(msgspec.Struct, frozen=True, kw_only=True):
    """A `CarryingModel` for the instruments of a session; rates in 1e-6."""

    borrow: Mapping[InstrumentId, BorrowTerms]
    margin_interest_e6: int
    credit_interest_e6: int
    days_per_year: int
    margin_interest_e6_of: Mapping[str, int] = {}
    credit_interest_e6_of: Mapping[str, int] = {}


def build_carrying(model: CarryingModel, instruments: Sequence[Instrument]) -> CarryingTerms:
    """The terms of `model`.

    Raises:
        ConfigError: A rate is of an instrument or currency that is not there, or collateral is not
            rounded to whole ticks.
    """
    currencies = {each.settlement_currency: each for each in instruments}
    for key in ("margin_interest_pct_of", "credit_interest_pct_of"):
        for name in getattr(model, key):
            if name not in currencies:
                raise ConfigError(
                    f"a rate of {name}, and nothing in the session is settled in it",
                    where=f"execution.carrying.{key}", remedy=nearest(name, currencies),
                )  # fmt: skip
    known = {each.id: each for each in instruments}
    for identity in model.borrow_pct_of:
        if identity not in known:
            raise ConfigError(
                f"a borrow fee of {identity}, which the session does not trade",
                where="execution.carrying.borrow_pct_of",
                remedy=nearest(identity, known),
            )
    return CarryingTerms(
        borrow={
            each.id: BorrowTerms(
                _rate_e6(model.borrow_pct_of.get(each.id, model.borrow_pct)),
                int(to_decimal(model.collateral_ratio, "collateral ratio") * E8),
                _step_ticks(model.collateral_round_up_to, each),
            )
            for each in instruments
        },
        margin_interest_e6=_rate_e6(model.margin_interest_pct),
        credit_interest_e6=_rate_e6(model.credit_interest_pct),
        days_per_year=model.days_per_year,
        margin_interest_e6_of={
            name: _rate_e6(rate) for name, rate in model.margin_interest_pct_of.items()
        },
        credit_interest_e6_of={
            name: _rate_e6(rate) for name, rate in model.credit_interest_pct_of.items()
        },
    )


def _rate_e6(percent: Decimal) -> int:
    return int(percent * 10_000)


def _step_ticks(step: Decimal, instrument: Instrument) -> int:
    ticks = step / instrument.tick_size
    if ticks != ticks.to_integral_value():
        raise ConfigError(
            f"{step:f} is no whole number of ticks of {instrument.id} ({instrument.tick_size:f})",
            where="execution.carrying.collateral_round_up_to",
            remedy="give a multiple of every tick, or 0",
        )
    return int(ticks) or 1


@rule
def compute_interest(amount: int, rate_e6: int, days: int, days_per_year: int) -> int:
    """`amount * rate * days / days_per_year`, rounded down: simple interest. Textbook.

    So what is received is rounded against us, and so is what is paid when `amount` is negative.

    Args:
        amount: Minor units.
        rate_e6: Annual, in 1e-6, at most 1e8 (10,000%).
        days: At most `DAYS_MAX`; with the rate at its largest no product leaves int64 while the
            result doesn't.
        days_per_year: At most 366.
    """
    year = days_per_year * 1_000_000
    parts = rate_e6 * days
    whole = amount // year
    rest = amount - whole * year
    more = parts // year
    return whole * parts + rest * more + rest * (parts - more * year) // year


@rule
def compute_collateral_ticks(ticks: int, collateral_e8: int, step_ticks: int) -> int:
    """A price times the collateral ratio, rounded up to a multiple of `step_ticks`."""
    raised = compute_ratio_ceil(ticks, collateral_e8)
    return -(-raised // step_ticks) * step_ticks
