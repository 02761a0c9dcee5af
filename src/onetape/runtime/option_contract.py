"""An option and its underlying as whole numbers: `read_option`."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument, InstrumentId, OptionRight, OptionTerms
from onetape.domain.numbers import E8, to_minor
from onetape.portfolio.exercise import compute_intrinsic


class OptionContract(msgspec.Struct, frozen=True, kw_only=True):
    """What an exercise needs, looked up once.

    A lot is `top / bottom` units of the underlying, `underlying_lots` of its lots where it is
    delivered. `strike` is minor units a unit, `tick_minor` those of a tick of the underlying.
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

    @property
    def right_sign(self) -> int:
        """+1 a call, -1 a put."""
        return 1 if self.terms.right is OptionRight.CALL else -1

    def intrinsic(self, ticks: int) -> int:
        """Minor units that a unit gains where the underlying is at `ticks`; 0 out of the money."""
        return compute_intrinsic(ticks * self.tick_minor, self.strike, self.right_sign)

    @property
    def lot_cost(self) -> int:
        """Minor units that the exercise of a lot is paid with: those of a call that delivers."""
        if self.terms.cash_settled or self.right_sign < 0 or self.underlying.is_margined:
            return 0
        return self.underlying_lots * self.strike_ticks * self.underlying.minor_per_tick_lot

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
    delivered = units / (Fraction(underlying.lot_size) * Fraction(underlying.multiplier))
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
    )
