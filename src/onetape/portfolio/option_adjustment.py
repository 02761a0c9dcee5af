"""What splits and dividends in shares make of options on the shares.

| ratio                          | contracts     | strike        | a contract delivers            |
| ------------------------------ | ------------- | ------------- | ------------------------------ |
| whole shares for one (2 for 1) | times as many | divided by it | as before                      |
| any other (3 for 2, 1 for 10)  | as before     | as before     | times the ratio; fractions are |
|                                |               |               | cash                           |

Strikes are rounded to the nearest tick of the underlying. The premium goes on being counted by the
multiplier of the definition, and so does the strike: it is paid for as many units as before. An
ordinary cash dividend changes nothing.
*Source*: Options Clearing Corporation, By-Laws, Article VI, Section 11A, as in SEC release 34-53400
(SR-OCC-2006-01): a 3 for 1 split makes three XYZ 20 of an XYZ 60, each for 100 shares; and
"Characteristics and Risks of Standardized Options": after a 3 for 2 split an XYZ 50 delivers 150
shares for the same $5,000. Information memo 47369: 4 for 1 made four AAPL 100 of an AAPL 400.
*Ignores*: special cash dividends, adjustments that a panel decides otherwise, and that the symbol
of an adjusted series changes: it goes on under its id.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import msgspec

from onetape.domain.corporate_actions import ActionTerms
from onetape.domain.instrument import Instrument, InstrumentId, OptionTerms
from onetape.domain.market import CorporateAction
from onetape.domain.rules import rule
from onetape.portfolio.corporate_actions import compute_fraction_cash


@rule
def compute_split_strike(strike: int, contracts: int, step: int) -> int:
    """A strike behind a split of whole shares: the nearest multiple of `step`, halves up.

    `strike` and `step` are minor units, `contracts` the new ones for an old one. At least a step.
    """
    whole = contracts * step
    return max(step, (2 * strike + whole) // (2 * whole) * step)


@rule
def compute_delivered_lots(lots: int, top: int, bottom: int) -> tuple[int, int]:
    """Whole lots that a contract delivers after a ratio; what is left is in `1 / bottom` of one."""
    whole = lots * top // bottom
    return whole, lots * top - whole * bottom


class Deliverable(msgspec.Struct, frozen=True, kw_only=True):
    """What a lot of an option is exercised for.

    `strike` is minor units of a unit, of which a lot has as many as its definition says. `units`
    (`top / bottom`) of the underlying are delivered or, settled in cash, paid for; with them come
    `cash` minor units in lieu of fractions.
    """

    strike: int
    top: int
    bottom: int
    cash: int = 0

    @property
    def units(self) -> Fraction:
        """Units of the underlying."""
        return Fraction(self.top, self.bottom)


def adjust_deliverable(
    before: Deliverable,
    terms: ActionTerms,
    step: int,
    delivered: tuple[int, Fraction] | None,
    lot_value: int,
) -> Deliverable:
    """What a split or dividend in shares makes of a contract.

    Args:
        before: What it was.
        terms: Of one lot of the underlying.
        step: A tick of the underlying, minor units.
        delivered: Its lots that the contract delivers, and the units of one; None: it pays cash.
        lot_value: A lot of it at its last price before the action, minor units.
    """
    if terms.bottom == 1:
        return msgspec.structs.replace(
            before, strike=compute_split_strike(before.strike, terms.top, step)
        )
    if delivered is None:
        units = before.units * Fraction(terms.top, terms.bottom)
        return msgspec.structs.replace(before, top=units.numerator, bottom=units.denominator)
    lots, lot_units = delivered
    whole, left = compute_delivered_lots(lots, terms.top, terms.bottom)
    units = whole * lot_units
    new_lot = lot_value * terms.bottom // terms.top
    return msgspec.structs.replace(
        before, top=units.numerator, bottom=units.denominator,
        cash=before.cash + compute_fraction_cash(left, terms.bottom, new_lot),
    )  # fmt: skip


def count_contracts(terms: ActionTerms) -> int:
    """New contracts for an old one."""
    return terms.top if terms.bottom == 1 else 1


def find_options(
    instruments: Sequence[Instrument], action: CorporateAction
) -> Iterator[tuple[int, Instrument]]:
    """Options on the shares of an action that have not expired by then, with their positions."""
    for at, each in enumerate(instruments):
        terms = each.terms
        if (
            isinstance(terms, OptionTerms)
            and terms.underlying == action.instrument
            and terms.ts_expiry > action.ts_known
        ):
            yield at, each


class Scaling(msgspec.Struct, frozen=True):
    """How often a contract has been divided, and its deliverable multiplied, by a time (ns UTC)."""

    ts: int
    divisor: int
    ratio: Fraction


def list_scalings(
    option: InstrumentId,
    instruments: Sequence[Instrument],
    actions: Sequence[tuple[CorporateAction, ActionTerms]],
) -> list[Scaling]:
    """What the actions of a session make of an option, oldest first; fractions are left in."""
    divisor, ratio = 1, Fraction(1)
    found: list[Scaling] = []
    for action, terms in actions:
        if any(each.id == option for _, each in find_options(instruments, action)):
            if terms.bottom == 1:
                divisor *= terms.top
            else:
                ratio *= Fraction(terms.top, terms.bottom)
            found.append(Scaling(action.ts_known, divisor, ratio))
    return found
