"""What a corporate action means for one lot, in exact integers: `compute_terms`."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.numbers import to_decimal, to_grid, to_minor

TERMS_MAX = 1_000_000_000
"""Largest number in a ratio, so that its product with the lots of a position stays inside int64."""

E9 = 1_000_000_000
"""Parts of one in a share of the cost."""

BY_VALUE = -1
"""A share of the cost that is not stated."""

_K = CorporateActionKind
_KINDS = (InstrumentKind.EQUITY, InstrumentKind.SPOT)
_INTO_ANOTHER = (_K.SPIN_OFF, _K.MERGER, _K.SYMBOL_CHANGE)
_PRICED = (_K.SPIN_OFF, _K.MERGER)
_OF_A_RATIO = (_K.SPLIT, _K.STOCK_DIVIDEND, *_PRICED)
_MAY_BE_ZERO = (_K.DELISTING, _K.MERGER, _K.SYMBOL_CHANGE)


class ActionTerms(msgspec.Struct, frozen=True):
    """What one lot becomes; fractions are in lowest terms.

    Attributes:
        top: Over `bottom`: new lots for an old one (of the new instrument, where there is one),
            else minor units a lot.
        bottom: See `top`.
        cash_top: Over `cash_bottom`: minor units that a merger pays for a lot.
        cash_bottom: See `cash_top`.
        price_ticks: Stated price of the new instrument; 0: none.
        cost_e9: Part of the cost that goes to the new instrument, in 1e-9; `BY_VALUE`.
    """

    top: int
    bottom: int
    cash_top: int = 0
    cash_bottom: int = 1
    price_ticks: int = 0
    cost_e9: int = BY_VALUE


def compute_terms(
    action: CorporateAction, instrument: Instrument, new: Instrument | None = None
) -> ActionTerms:
    """The terms of `action` for a lot of `instrument`; `new` is its `new_instrument`.

    Raises:
        DataError: The action is not for such an instrument or has what its kind has no use for; a
            number is not positive (a delisting may pay 0, a merger give no shares), finer than 1e-8
            of the currency, or a ratio too fine; the new instrument is missing or of another
            currency.
    """
    kind = action.kind
    _check_fields(action)
    _check_instruments(action, instrument, new)
    value = to_decimal(action.value, "value", error=DataError)
    divisor = to_decimal(action.divisor, "divisor", error=DataError)
    if value < 0 or (value == 0 and kind not in _MAY_BE_ZERO):
        raise DataError(f"value {value} of a {kind.value} is not positive")
    if kind not in _OF_A_RATIO:
        if divisor != 1:
            raise DataError(f"divisor {divisor} is only for a split or another ratio")
        if new is not None:  # a change of symbol: lot for lot
            return ActionTerms(1, 1, cost_e9=E9)
        amount = to_minor(action.value, "value", error=DataError)
        return ActionTerms(*_in_bounds(amount * Fraction(instrument.lot_size), "amount a lot"))
    if divisor <= 0:
        raise DataError(f"divisor {divisor} is not positive")
    ratio = Fraction(value) / Fraction(divisor)
    if kind is _K.STOCK_DIVIDEND:
        ratio += 1
    if kind.scales:
        return ActionTerms(*_in_bounds(ratio, f"ratio of a {kind.value}", TERMS_MAX))
    cash = to_minor(action.cash, "cash", error=DataError)
    if cash < 0 or not (cash or ratio):
        raise DataError(f"a merger pays {action.cash} a share and gives {value} shares",
                        remedy="give its cash, its value, or both")  # fmt: skip
    of_lots = ratio * Fraction(instrument.lot_size) / Fraction(new.lot_size if new else 1)
    return ActionTerms(
        *_in_bounds(of_lots, f"ratio of a {kind.value}", TERMS_MAX),
        *_in_bounds(cash * Fraction(instrument.lot_size), "cash a lot"),
        _stated_ticks(action, new),
        _stated_cost(action),
    )


def _check_fields(action: CorporateAction) -> None:
    """That an action has nothing that its kind has no use for."""
    kind = action.kind
    unused = (
        ("value", kind is _K.SYMBOL_CHANGE and action.value not in (0, 1), ()),
        ("new_instrument", bool(action.new_instrument), _INTO_ANOTHER),
        ("cash", action.cash != 0, (_K.MERGER,)),
        ("price", action.price is not None, _PRICED),
        ("cost_ratio", action.cost_ratio is not None, _PRICED),
        ("ts_pay", action.ts_pay != 0, (_K.CASH_DIVIDEND, _K.DIVIDEND_PAYMENT)),
    )
    for name, is_given, kinds in unused:
        if is_given and kind not in kinds:
            raise DataError(f"a {kind.value} has no {name}", remedy="leave it out")


def _check_instruments(
    action: CorporateAction, instrument: Instrument, new: Instrument | None
) -> None:
    if instrument.kind not in _KINDS:
        raise DataError(
            f"{instrument.id} is a {instrument.kind.value}, which has no corporate actions",
            remedy="they are for equity and spot instruments",
        )
    wanted = action.kind in _INTO_ANOTHER and (action.kind is not _K.MERGER or action.value != 0)
    if wanted != bool(action.new_instrument):
        what = "needs a new_instrument" if wanted else "without a value has no new_instrument"
        raise DataError(f"a {action.kind.value} {what}")
    if not wanted:
        return
    if new is None or new.id != action.new_instrument:
        raise DataError(f"{action.new_instrument} is not among the instruments of the session",
                        remedy="add it to data.instruments, and import its bars")  # fmt: skip
    if new.id == instrument.id or new.kind is not instrument.kind:
        raise DataError(f"{instrument.id} can't turn into {new.id}, a {new.kind.value}")
    if new.quote_currency != instrument.quote_currency:
        raise DataError(
            f"{new.id} is quoted in {new.quote_currency}, {instrument.id} in "
            f"{instrument.quote_currency}",
            remedy="one sub-ledger has one currency in this version",
        )
    if action.kind is _K.SYMBOL_CHANGE and (new.lot_size, new.tick_size) != (
        instrument.lot_size, instrument.tick_size,
    ):  # fmt: skip
        raise DataError(f"{new.id} has another lot or tick than {instrument.id}",
                        remedy="define both alike: only the name changes")  # fmt: skip


def _stated_ticks(action: CorporateAction, new: Instrument | None) -> int:
    if action.price is None or new is None:
        return 0
    ticks = new.price_to_ticks(action.price, error=DataError)
    if ticks <= 0:
        raise DataError(f"price {action.price} of {new.id} is not positive")
    return ticks


def _stated_cost(action: CorporateAction) -> int:
    if action.cost_ratio is None:
        return BY_VALUE
    unit = to_decimal("1e-9", "unit")
    share = to_grid(action.cost_ratio, unit, "cost_ratio", error=DataError)
    if not 0 <= share <= E9:
        raise DataError(f"cost_ratio {action.cost_ratio} is not from 0 to 1")
    return share


def _in_bounds(number: Fraction, what: str, top_max: int = 2**63) -> tuple[int, int]:
    if number.numerator > top_max or number.denominator > TERMS_MAX:
        raise DataError(
            f"{what} is {number}, with more digits than {TERMS_MAX:,} has",
            remedy="write it with fewer digits, or as value and divisor",
        )
    return number.numerator, number.denominator
