"""A tradable thing and the exact arithmetic of its prices and quantities."""

from __future__ import annotations

from decimal import Decimal
from enum import Enum
from typing import NewType

import msgspec

from onetape.domain.errors import ConfigError, FixInput
from onetape.domain.numbers import Lots, Number, Ticks, count_steps, to_grid

InstrumentId = NewType("InstrumentId", str)
"""`SYMBOL.VENUE`, for example `AAPL.XNAS`."""


class InstrumentKind(Enum):
    """What an instrument is."""

    EQUITY = "equity"
    SPOT = "spot"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"
    FX = "fx"
    INDEX = "index"


class OptionRight(Enum):
    """The right an option gives."""

    CALL = "call"
    PUT = "put"


class ExerciseStyle(Enum):
    """When an option may be exercised."""

    AMERICAN = "american"
    EUROPEAN = "european"


class OptionTerms(msgspec.Struct, frozen=True, kw_only=True, tag="option"):
    """Contract terms of an option; `ts_expiry` is ns UTC."""

    underlying: InstrumentId
    strike: Decimal
    right: OptionRight
    exercise: ExerciseStyle
    ts_expiry: int
    cash_settled: bool = False


class FutureTerms(msgspec.Struct, frozen=True, kw_only=True, tag="future"):
    """Contract terms of a future; `ts_expiry` is ns UTC."""

    underlying: str
    ts_expiry: int
    cash_settled: bool = True


class PerpetualTerms(msgspec.Struct, frozen=True, kw_only=True, tag="perpetual"):
    """Contract terms of a perpetual swap."""

    funding_interval_hours: int = 8
    inverse: bool = False


class MarginTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Margin of a position as fractions of its notional, in 1e-8."""

    initial_ratio_e8: int
    maintenance_ratio_e8: int


_TERMS = {
    InstrumentKind.PERPETUAL: PerpetualTerms,
    InstrumentKind.FUTURE: FutureTerms,
    InstrumentKind.OPTION: OptionTerms,
}
"""What must be said of a derivative."""


class Instrument(msgspec.Struct, frozen=True, kw_only=True):
    """A tradable thing: identity, grids, limits, terms.

    `minor_per_tick_lot` is the exact factor from ticks x lots to minor units of `quote_currency`.
    An instrument whose factor is not a whole number is refused here, with the reason, because no
    book could be exact for it. `ticks_per_unit` and `lots_per_unit` are the whole numbers of ticks
    in one unit of price and of lots in one unit, 0 where there is none; `is_picky` tells that it
    bounds the quantity or notional of an order.

    An inverse perpetual is `multiplier` units of the quote currency a contract, and is settled in
    the base currency; `inverse_factor` is `compute_inverse_notional`'s, 0 for everything else.

    Raises:
        ConfigError: A field is out of range, the terms are not those of the kind, or ticks x lots
            is not a whole number of minor units.
    """

    id: InstrumentId
    kind: InstrumentKind
    quote_currency: str
    tick_size: Decimal
    lot_size: Decimal
    base_currency: str = ""
    multiplier: Decimal = Decimal(1)
    min_lots: int = 1
    max_lots: int | None = None
    min_notional: Decimal = Decimal(0)
    calendar: str = "24/7"
    ts_listed: int | None = None
    ts_delisted: int | None = None
    margin: MarginTerms | None = None
    terms: OptionTerms | FutureTerms | PerpetualTerms | None = None
    minor_per_tick_lot: int = 0
    tick_float: float = 0.0
    lot_float: float = 0.0
    ticks_per_unit: int = 0
    lots_per_unit: int = 0
    is_picky: bool = False

    def __post_init__(self) -> None:
        symbol, _, venue = self.id.rpartition(".")
        if not symbol or not venue:
            raise ConfigError(
                f"instrument id {self.id!r} is not SYMBOL.VENUE", remedy="for example AAPL.XNAS"
            )
        for name in ("tick_size", "lot_size", "multiplier"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"{name} {getattr(self, name)} of {self.id} is not positive")
        wanted = _TERMS.get(self.kind)
        if (wanted or type(None)) is not type(self.terms):
            needed = f"the terms of a {self.kind.value}" if wanted else "no terms"
            raise ConfigError(f"{self.id} is of kind {self.kind.value}, which has {needed}")
        if self.is_inverse:
            self._check_inverse()
        factor = self.tick_size * self.lot_size * self.multiplier * 100_000_000
        if factor != factor.to_integral_value():
            raise ConfigError(
                f"{self.id} can't be booked exactly: tick {self.tick_size:f} x lot "
                f"{self.lot_size:f} x multiplier {self.multiplier:f} is {factor:f} minor units "
                "(1e-8), not a whole number",
                remedy="choose a coarser tick or lot",
            )
        msgspec.structs.force_setattr(self, "minor_per_tick_lot", int(factor))
        msgspec.structs.force_setattr(self, "tick_float", float(self.tick_size))
        msgspec.structs.force_setattr(self, "lot_float", float(self.lot_size))
        msgspec.structs.force_setattr(self, "ticks_per_unit", _whole(1 / self.tick_size))
        msgspec.structs.force_setattr(self, "lots_per_unit", _whole(1 / self.lot_size))
        picky = self.min_lots > 1 or self.max_lots is not None or self.min_notional > 0
        msgspec.structs.force_setattr(self, "is_picky", picky)

    def _check_inverse(self) -> None:
        if not self.base_currency:
            raise ConfigError(f"{self.id} is inverse, and has no base currency to settle in",
                              remedy="give its base currency")  # fmt: skip
        factor = self._exact_inverse_factor
        if factor != factor.to_integral_value() or factor >= 2**62:
            raise ConfigError(
                f"{self.id} can't be booked exactly: lot {self.lot_size:f} x multiplier "
                f"{self.multiplier:f} / tick {self.tick_size:f} is {factor:f} minor units (1e-8), "
                "not a whole number below 2**62",
                remedy="choose another tick or lot",
            )

    @property
    def _exact_inverse_factor(self) -> Decimal:
        return self.lot_size * self.multiplier * 100_000_000 / self.tick_size

    @property
    def is_inverse(self) -> bool:
        """Whether its notional is its size divided by its price."""
        return isinstance(self.terms, PerpetualTerms) and self.terms.inverse

    @property
    def inverse_factor(self) -> int:
        """Minor units of the base currency of a lot, times ticks; 0 where it is not inverse."""
        return int(self._exact_inverse_factor) if self.is_inverse else 0

    @property
    def is_margined(self) -> bool:
        """Whether a position is a promise and not a purchase: no cash but PnL and fees moves."""
        return isinstance(self.terms, PerpetualTerms | FutureTerms)

    @property
    def is_contract(self) -> bool:
        """Whether it is a derivative: a perpetual, a future or an option."""
        return self.terms is not None

    @property
    def settlement_currency(self) -> str:
        """The currency of its cash: the base currency of an inverse contract, else the quote's."""
        return self.base_currency if self.is_inverse else self.quote_currency

    @property
    def ts_expiry(self) -> int | None:
        """When it expires, ns UTC; None: never."""
        terms = self.terms
        return terms.ts_expiry if isinstance(terms, FutureTerms | OptionTerms) else None

    @property
    def symbol(self) -> str:
        """The venue's string for this instrument."""
        return self.id.rpartition(".")[0]

    @property
    def venue(self) -> str:
        """Where it trades (the part of the id behind the last dot)."""
        return self.id.rpartition(".")[2]

    def price_to_ticks(self, price: Number, *, error: type[FixInput] = FixInput) -> Ticks:
        """Exact ticks of `price`; raises `error` with the nearest prices when off the grid."""
        ticks = count_steps(price, self.ticks_per_unit)
        if ticks is None:
            ticks = to_grid(price, self.tick_size, f"{self.id} price", error=error)
        return Ticks(ticks)

    def quantity_to_lots(self, quantity: Number, *, error: type[FixInput] = FixInput) -> Lots:
        """Exact lots of `quantity`; raises `error` with the nearest valid quantities otherwise."""
        lots = count_steps(quantity, self.lots_per_unit)
        if lots is None:
            lots = to_grid(quantity, self.lot_size, f"{self.id} quantity", error=error)
        return Lots(lots)

    def ticks_to_price(self, ticks: int) -> Decimal:
        """Exact price of `ticks`."""
        return self.tick_size * ticks

    def ticks_to_float(self, ticks: int) -> float:
        """The float64 nearest to the price of `ticks`; `price_to_ticks` gives `ticks` again."""
        if self.ticks_per_unit:
            return ticks / self.ticks_per_unit
        return float(self.tick_size * ticks)

    def lots_to_float(self, lots: int) -> float:
        """The float64 nearest to the quantity of `lots`; `quantity_to_lots` gives `lots` again."""
        if self.lots_per_unit:
            return lots / self.lots_per_unit
        return float(self.lot_size * lots)

    def lots_to_quantity(self, lots: int) -> Decimal:
        """Exact quantity of `lots`."""
        return self.lot_size * lots


def _whole(steps: Decimal) -> int:
    return int(steps) if steps == steps.to_integral_value() and steps < 2**53 else 0


def make_equity(
    instrument_id: str,
    *,
    currency: str = "USD",
    tick_size: str = "0.01",
    lot_size: str = "1",
    calendar: str = "XNYS",
) -> Instrument:
    """A cash equity with whole-share lots and cent ticks unless told otherwise."""
    return Instrument(
        id=InstrumentId(instrument_id),
        kind=InstrumentKind.EQUITY,
        quote_currency=currency,
        tick_size=Decimal(tick_size),
        lot_size=Decimal(lot_size),
        calendar=calendar,
    )


def make_spot(
    instrument_id: str, *, base: str, quote: str, tick_size: str, lot_size: str
) -> Instrument:
    """A currency pair that trades around the clock and settles at once."""
    return Instrument(
        id=InstrumentId(instrument_id),
        kind=InstrumentKind.SPOT,
        quote_currency=quote,
        base_currency=base,
        tick_size=Decimal(tick_size),
        lot_size=Decimal(lot_size),
    )
