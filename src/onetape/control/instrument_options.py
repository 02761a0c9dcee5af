"""An instrument's definition from the options of `onetape data import`."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING

from onetape.domain.errors import ConfigError

if TYPE_CHECKING:
    from onetape.domain.instrument import (
        FutureTerms,
        Instrument,
        MarginTerms,
        OptionTerms,
        PerpetualTerms,
    )


class ImportKind(Enum):
    """Kinds of instruments."""

    EQUITY = "equity"
    SPOT = "spot"
    FX = "fx"
    INDEX = "index"
    PERPETUAL = "perpetual"
    FUTURE = "future"
    OPTION = "option"


class Right(Enum):
    """The right that an option gives."""

    CALL = "call"
    PUT = "put"


class Exercise(Enum):
    """When an option may be exercised."""

    AMERICAN = "american"
    EUROPEAN = "european"


class Settlement(Enum):
    """How an option is settled."""

    CASH = "cash"
    PHYSICAL = "physical"


@dataclass(frozen=True)
class ContractOptions:
    """What was said about a derivative; empty: nothing. Margins are percent."""

    multiplier: str = ""
    inverse: bool = False
    underlying: str = ""
    expiry: str = ""
    strike: str = ""
    right: Right | None = None
    exercise: Exercise | None = None
    settlement: Settlement | None = None
    initial_margin: str = ""
    maintenance_margin: str = ""


@dataclass(frozen=True)
class InstrumentOptions:
    """What was said about an instrument; empty: nothing."""

    kind: ImportKind | None = None
    currency: str = ""
    base: str = ""
    tick: str = ""
    lot: str = ""
    calendar: str = ""
    contract: ContractOptions = ContractOptions()

    @property
    def are_given(self) -> bool:
        """Whether anything was said."""
        return any(astuple(self)[:-1]) or self.contract != ContractOptions()

    def build(self, instrument_id: str) -> Instrument:
        """The definition; an equity is in USD, cents, whole shares, calendar XNYS by default.

        Raises:
            ConfigError: A value is no number, a needed one is missing, one is given that the kind
                does not have, or can't be booked exactly.
        """
        from onetape.domain.instrument import Instrument, InstrumentId, InstrumentKind

        kind = self.kind or ImportKind.EQUITY
        if kind in (ImportKind.SPOT, ImportKind.FX) and not self.base:
            raise ConfigError(f"{instrument_id} of kind {kind.value} needs a base currency",
                              remedy="add --base, for example --base BTC")  # fmt: skip
        if kind is not ImportKind.EQUITY and not (self.tick and self.lot):
            raise ConfigError(f"{instrument_id} of kind {kind.value} needs its smallest steps",
                              remedy="add --tick and --lot")  # fmt: skip
        self._check_contract(instrument_id, kind)
        return Instrument(
            id=InstrumentId(instrument_id),
            kind=InstrumentKind(kind.value),
            quote_currency=self.currency or "USD",
            base_currency=self.base,
            tick_size=_number(self.tick or "0.01", "--tick"),
            lot_size=_number(self.lot or "1", "--lot"),
            multiplier=_number(self.contract.multiplier or "1", "--multiplier"),
            calendar=self.calendar or ("XNYS" if kind is ImportKind.EQUITY else "24/7"),
            margin=self._margin(),
            terms=self._terms(kind),
        )

    def _check_contract(self, instrument_id: str, kind: ImportKind) -> None:
        given = self.contract
        expires = (ImportKind.FUTURE, ImportKind.OPTION)
        options = (ImportKind.OPTION,)
        for name, value, kinds, is_needed in (
            ("--inverse", given.inverse, (ImportKind.PERPETUAL,), False),
            ("--underlying", given.underlying, expires, True),
            ("--expiry", given.expiry, expires, True),
            ("--strike", given.strike, options, True),
            ("--right", given.right, options, True),
            ("--exercise", given.exercise, options, False),
            ("--settlement", given.settlement, options, False),
        ):
            if value and kind not in kinds:
                raise ConfigError(
                    f"{instrument_id} of kind {kind.value} has no {name}",
                    remedy=f"it is for --kind {' and '.join(each.value for each in kinds)}",
                )
            if is_needed and kind in kinds and not value:
                raise ConfigError(
                    f"{instrument_id} of kind {kind.value} needs {name}",
                    remedy="add it to onetape data import; other commands know no contracts",
                )
        if bool(given.initial_margin) != bool(given.maintenance_margin):
            raise ConfigError(f"{instrument_id} has one of two margins",
                              remedy="give --initial-margin and --maintenance-margin")  # fmt: skip

    def _margin(self) -> MarginTerms | None:
        from onetape.domain.instrument import MarginTerms
        from onetape.domain.numbers import to_ratio_e8

        given = self.contract
        if not given.initial_margin:
            return None
        initial, maintenance = (
            to_ratio_e8(_number(text, name) / 100, name, error=ConfigError)
            for text, name in (
                (given.initial_margin, "--initial-margin"),
                (given.maintenance_margin, "--maintenance-margin"),
            )
        )
        if not 0 < maintenance <= initial:
            raise ConfigError(
                f"a maintenance margin of {given.maintenance_margin} % does not lie between 0 and "
                f"the initial margin of {given.initial_margin} %"
            )
        return MarginTerms(initial_ratio_e8=initial, maintenance_ratio_e8=maintenance)

    def _terms(self, kind: ImportKind) -> PerpetualTerms | FutureTerms | OptionTerms | None:
        from onetape.domain.instrument import (
            ExerciseStyle,
            FutureTerms,
            InstrumentId,
            OptionRight,
            OptionTerms,
            PerpetualTerms,
        )
        from onetape.domain.timestamps import from_iso

        given = self.contract
        if kind is ImportKind.PERPETUAL:
            return PerpetualTerms(inverse=given.inverse)
        if kind is ImportKind.FUTURE:
            return FutureTerms(
                underlying=given.underlying,
                ts_expiry=from_iso(given.expiry, "--expiry", error=ConfigError),
            )
        if kind is not ImportKind.OPTION or given.right is None:
            return None
        return OptionTerms(
            underlying=InstrumentId(given.underlying),
            strike=_number(given.strike, "--strike"),
            right=OptionRight(given.right.value),
            exercise=ExerciseStyle((given.exercise or Exercise.AMERICAN).value),
            ts_expiry=from_iso(given.expiry, "--expiry", error=ConfigError),
            cash_settled=given.settlement is Settlement.CASH,
        )


def _number(text: str, option: str) -> Decimal:
    from onetape.domain.numbers import to_decimal

    return to_decimal(text, option, error=ConfigError)
