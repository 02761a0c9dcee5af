"""An option and its underlying as whole numbers: `read_option`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId, OptionRight, OptionTerms
from onetape.domain.market import CorporateAction
from onetape.domain.numbers import E8, to_minor
from onetape.portfolio.exercise import compute_exercise_amount, compute_intrinsic
from onetape.portfolio.option_adjustment import Deliverable, adjust_deliverable


class OptionContract(msgspec.Struct, frozen=True, kw_only=True):
    """What an exercise needs, looked up once.

    A lot is for `top / bottom` units of the underlying, `underlying_lots` of its lots where it is
    delivered, and `cash` minor units in lieu of fractions. `strike` is minor units a unit, paid for
    the `unit_top / unit_bottom` units of the definition; `tick_minor` those of a tick of the
    underlying. Only splits of the underlying make the two numbers of units differ.
    """

    instrument: Instrument
    terms: OptionTerms
    underlying: Instrument
    top: int
    bottom: int
    strike: int
    strike_ticks: int
    tick_minor: int
    underlying_lots: int
    unit_top: int
    unit_bottom: int
    cash: int = 0

    @property
    def deliverable(self) -> Deliverable:
        """What a lot is exercised for."""
        return Deliverable(strike=self.strike, top=self.top, bottom=self.bottom, cash=self.cash)

    @property
    def is_standard(self) -> bool:
        """Whether it delivers what its strike is paid for."""
        return (self.top, self.bottom, self.cash) == (self.unit_top, self.unit_bottom, 0)

    @property
    def lot_strike(self) -> int:
        """Minor units that are paid for what a lot delivers."""
        return self.strike * self.unit_top // self.unit_bottom

    def adjust(self, action: CorporateAction, ticks: int) -> OptionContract:
        """The contract behind a split or dividend in shares; `ticks` is the mark before it."""
        terms = compute_terms(action, self.underlying)
        delivered = None
        if not self.terms.cash_settled:
            delivered = self.underlying_lots, _lot_units(self.underlying)
        lot_value = ticks * self.underlying.minor_per_tick_lot
        made = adjust_deliverable(self.deliverable, terms, self.tick_minor, delivered, lot_value)
        return self.take(made)

    def take(self, made: Deliverable) -> OptionContract:
        """The contract with what it is exercised for."""
        lots = self.underlying_lots
        if not self.terms.cash_settled:
            lots = int(made.units / _lot_units(self.underlying))
        return msgspec.structs.replace(
            self, strike=made.strike, strike_ticks=made.strike // self.tick_minor, top=made.top,
            bottom=made.bottom, cash=made.cash, underlying_lots=lots,
        )  # fmt: skip

    @property
    def right_sign(self) -> int:
        """+1 a call, -1 a put."""
        return 1 if self.terms.right is OptionRight.CALL else -1

    def intrinsic(self, ticks: int) -> int:
        """Minor units that a unit gains where the underlying is at `ticks`; 0 out of the money."""
        return compute_intrinsic(ticks * self.tick_minor, self.strike, self.right_sign)

    def lot_intrinsic(self, ticks: int) -> int:
        """Minor units that a lot gains where the underlying is at `ticks`; 0 out of the money."""
        if self.is_standard:
            return compute_exercise_amount(1, self.intrinsic(ticks), self.top, self.bottom)
        worth = ticks * self.tick_minor * self.top // self.bottom + self.cash
        return compute_intrinsic(worth, self.lot_strike, self.right_sign)

    @property
    def lot_cost(self) -> int:
        """Minor units that the exercise of a lot is paid with: those of a call that delivers."""
        if self.terms.cash_settled or self.right_sign < 0 or self.underlying.is_margined:
            return 0
        return self.lot_strike

    @property
    def lot_shares(self) -> int:
        """Lots of the underlying that the exercise of a lot hands over: those of a put."""
        if self.terms.cash_settled or self.right_sign > 0 or self.underlying.is_margined:
            return 0
        return self.underlying_lots

    def delivered_lots(self, lots: int) -> int:
        """Signed lots of the underlying that an exercise of `lots` brings."""
        return lots * self.underlying_lots * self.right_sign


def read_option(
    instrument: Instrument, terms: OptionTerms, instruments: Mapping[InstrumentId, Instrument]
) -> OptionContract:
    """The contract of an option among the instruments of a session.

    Raises:
        ConfigError: The underlying is not among them, is an inverse contract or of another
            currency, or a price or lot does not fit that of the underlying.
    """
    underlying = instruments.get(terms.underlying)
    if underlying is None:
        raise ConfigError(
            f"{instrument.id} settles by {terms.underlying}, which the session does not have",
            remedy="add it to data.instruments",
        )
    if underlying.is_inverse or underlying.quote_currency != instrument.quote_currency:
        raise ConfigError(
            f"{instrument.id} in {instrument.quote_currency} can't settle by {underlying.id} in "
            f"{underlying.settlement_currency}"
        )
    units = Fraction(instrument.lot_size) * Fraction(instrument.multiplier)
    tick_minor = underlying.tick_size * E8
    if tick_minor != tick_minor.to_integral_value():
        raise ConfigError(
            f"the tick {underlying.tick_size:f} of {underlying.id} is finer than 1e-8"
        )
    delivered = units / _lot_units(underlying)
    strike_ticks = 0
    if not terms.cash_settled:
        if delivered.denominator != 1:
            raise ConfigError(
                f"a lot of {instrument.id} delivers {delivered} lots of {underlying.id}, not a "
                "whole number",
                remedy="choose a finer lot of the underlying",
            )
        strike_ticks = underlying.price_to_ticks(terms.strike, error=ConfigError)
    return OptionContract(
        instrument=instrument,
        terms=terms,
        underlying=underlying,
        top=units.numerator,
        bottom=units.denominator,
        strike=to_minor(terms.strike, f"strike of {instrument.id}", error=ConfigError),
        strike_ticks=strike_ticks,
        tick_minor=int(tick_minor),
        underlying_lots=int(delivered),
        unit_top=units.numerator,
        unit_bottom=units.denominator,
    )


def _lot_units(underlying: Instrument) -> Fraction:
    return Fraction(underlying.lot_size) * Fraction(underlying.multiplier)
