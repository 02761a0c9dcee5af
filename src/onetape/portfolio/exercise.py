"""What an option is worth when it is exercised: pure rules of integers.

Prices are minor units (1e-8) of one unit of the underlying; `top / bottom` are the units of the
underlying that a lot of the option stands for, in lowest terms.
"""

from __future__ import annotations

from onetape.domain.rules import rule
from onetape.portfolio.corporate_actions import compute_payment


@rule
def compute_intrinsic(price: int, strike: int, right_sign: int) -> int:
    """What a unit gains by exercise, 0 out of the money; `right_sign` +1 call, -1 put.

    Source: Hull, "Options, Futures, and Other Derivatives", chapter 10: max(S - K, 0) of a call,
    max(K - S, 0) of a put.
    """
    return max(0, right_sign * (price - strike))


@rule
def compute_exercise_amount(lots: int, intrinsic: int, top: int, bottom: int) -> int:
    """Cash of an exercise settled in cash: received by a long, negative where a short pays. Ours.

    Rounded down for both: against us. `intrinsic * top` stays inside int64: a contract is worth
    less than 92 billion of the currency.
    """
    return compute_payment(lots, intrinsic * top, bottom)
