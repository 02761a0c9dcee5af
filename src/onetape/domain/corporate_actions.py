"""What a corporate action means for one lot, in exact integers: `compute_terms`."""

from __future__ import annotations

from fractions import Fraction

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.domain.market import CorporateAction, CorporateActionKind
from onetape.domain.numbers import to_decimal, to_minor

TERMS_MAX = 1_000_000_000
"""Largest number in a ratio, so that its product with the lots of a position stays inside int64."""

_KINDS = (InstrumentKind.EQUITY, InstrumentKind.SPOT)


class ActionTerms(msgspec.Struct, frozen=True):
    """`top / bottom` in lowest terms: new lots for an old one, else minor units a lot."""

    top: int
    bottom: int


def compute_terms(action: CorporateAction, instrument: Instrument) -> ActionTerms:
    """The terms of `action` for a lot of `instrument`.

    Raises:
        DataError: The kind is not carried, or not for such an instrument; a number is not positive
            (a delisting may pay 0), finer than 1e-8 of the currency, or a ratio too fine.
    """
    kind = action.kind
    if kind is CorporateActionKind.SYMBOL_CHANGE:
        raise DataError(
            "a change of symbol is not carried by this version",
            remedy="import the bars under one symbol",
        )
    if instrument.kind not in _KINDS:
        raise DataError(
            f"{instrument.id} is a {instrument.kind.value}, which has no corporate actions",
            remedy="they are for equity and spot instruments",
        )
    value = to_decimal(action.value, "value", error=DataError)
    divisor = to_decimal(action.divisor, "divisor", error=DataError)
    if value < 0 or (value == 0 and kind is not CorporateActionKind.DELISTING):
        raise DataError(f"value {value} of a {kind.value} is not positive")
    if kind is not CorporateActionKind.SPLIT:
        if divisor != 1:
            raise DataError(f"divisor {divisor} is only for a split")
        amount = to_minor(action.value, "value", error=DataError)
        return _in_bounds(amount * Fraction(instrument.lot_size), "amount a lot", 2**63)
    if divisor <= 0:
        raise DataError(f"divisor {divisor} is not positive")
    return _in_bounds(Fraction(value) / Fraction(divisor), "ratio of a split", TERMS_MAX)


def _in_bounds(number: Fraction, what: str, top_max: int) -> ActionTerms:
    if number.numerator > top_max or number.denominator > TERMS_MAX:
        raise DataError(
            f"{what} is {number}, with more digits than {TERMS_MAX:,} has",
            remedy="write it with fewer digits, or as value and divisor",
        )
    return ActionTerms(number.numerator, number.denominator)
