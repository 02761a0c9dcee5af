"""An instrument's definition from the options of `onetape data import`."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING

from onetape.domain.errors import ConfigError

if TYPE_CHECKING:
    from onetape.domain.instrument import Instrument


class ImportKind(Enum):
    """Kinds of instruments that need no contract terms."""

    EQUITY = "equity"
    SPOT = "spot"
    FX = "fx"
    INDEX = "index"


@dataclass(frozen=True)
class InstrumentOptions:
    """What was said about an instrument; empty: nothing."""

    kind: ImportKind | None = None
    currency: str = ""
    base: str = ""
    tick: str = ""
    lot: str = ""
    calendar: str = ""

    @property
    def are_given(self) -> bool:
        """Whether anything was said."""
        return any(astuple(self))

    def build(self, instrument_id: str) -> Instrument:
        """The definition; an equity is in USD, cents, whole shares, calendar XNYS by default.

        Raises:
            ConfigError: A value is no number, a needed one is missing, or can't be booked exactly.
        """
        from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind

        kind = self.kind or ImportKind.EQUITY
        if kind in (ImportKind.SPOT, ImportKind.FX) and not self.base:
            raise ConfigError(f"{instrument_id} of kind {kind.value} needs a base currency",
                              remedy="add --base, for example --base BTC")  # fmt: skip
        if kind is not ImportKind.EQUITY and not (self.tick and self.lot):
            raise ConfigError(f"{instrument_id} of kind {kind.value} needs its smallest steps",
                              remedy="add --tick and --lot")  # fmt: skip
        return Instrument(
            id=InstrumentId(instrument_id),
            kind=InstrumentKind(kind.value),
            quote_currency=self.currency or "USD",
            base_currency=self.base,
            tick_size=_step(self.tick or "0.01", "--tick"),
            lot_size=_step(self.lot or "1", "--lot"),
            calendar=self.calendar or ("XNYS" if kind is ImportKind.EQUITY else "24/7"),
        )


def _step(text: str, option: str) -> Decimal:
    from onetape.domain.numbers import to_decimal

    return to_decimal(text, option, error=ConfigError)
