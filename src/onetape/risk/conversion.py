"""What risk says to a conversion of cash from one currency into another.

It trades no position, so no gate is asked. What it may do is borrow: leave less than nothing in a
currency. Balances are worth what they are at the marks, in the currency of the books (minor units),
rounded down, with open buys taken as paid.
"""

from __future__ import annotations

from onetape.domain.numbers import compute_ratio_floor
from onetape.domain.rules import rule


@rule
def compute_borrowing_limit(equity: int, max_leverage_e8: int) -> int:
    """The most that may be borrowed: what leverage adds to equity, rounded down. Ours.

    A cash account (leverage up to 1) may borrow nothing.
    """
    return max(0, compute_ratio_floor(max(equity, 0), max_leverage_e8 - 100_000_000))


@rule
def check_borrowing(borrowed_before: int, borrowed_after: int, limit: int) -> bool:
    """Whether a conversion that changes what is borrowed passes: repaying always does. Ours."""
    return borrowed_after <= borrowed_before or borrowed_after <= limit


@rule
def check_reducing_conversion(foreign_before: int, foreign_after: int) -> bool:
    """Whether a conversion brings foreign balances, all taken without sign, nearer to zero. Ours.

    Only those pass while the kill switch is set.
    """
    return foreign_after < foreign_before
