"""Integer numbers of the business and the one conversion that leads to them.

| type    | unit                                                        |
| ------- | ----------------------------------------------------------- |
| `Ticks` | smallest price step of an instrument                        |
| `Lots`  | smallest quantity step of an instrument                     |
| `Minor` | 1e-8 of a currency unit                                     |
| ratio   | `*_e8` ints: 1e-8 of one (10 bps = 100_000), exact products |
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from math import floor
from numbers import Real
from typing import NewType

from onetape.domain.errors import FixInput
from onetape.domain.rules import rule

Ticks = NewType("Ticks", int)
Lots = NewType("Lots", int)
Minor = NewType("Minor", int)

E8 = 100_000_000
"""Minor units in one currency unit, and parts in one ratio."""

_E8_STEP = Decimal("1e-8")

INT64_MAX = 9_223_372_036_854_775_807

MAX_LOTS = 2_147_483_647
"""Largest order or position, so that a product of two lots stays inside int64."""

_LEAST, _MOST = -(2.0**52), 2.0**52
"""Between them no two numbers of steps have the same float64 nearest to them."""

Number = int | float | str | Decimal


def to_decimal(value: Number, what: str, *, error: type[FixInput] = FixInput) -> Decimal:
    """`value` as the shortest Decimal that prints the same; numpy's numbers are numbers too.

    Raises:
        error: The value is not a finite number; `what` names it.
    """
    try:
        number = Decimal(str(value)) if isinstance(value, Real) else Decimal(value)
    except (InvalidOperation, ValueError, TypeError):
        raise error(f"{what} {value!r} is not a number") from None
    if not number.is_finite():
        raise error(f"{what} {value!r} is not finite")
    return number


def count_steps(value: Number, per_unit: int) -> int | None:
    """How many steps make exactly `value`, where `per_unit` of them make one (0: none do).

    The quick answer to what `to_grid` is asked; None where only that can tell.
    """
    if type(value) is float:
        exact = value * per_unit
    elif type(value) is int:
        count = value * per_unit
        return count if per_unit and abs(count) <= INT64_MAX else None
    elif isinstance(value, float):
        return count_steps(float(value), per_unit)  # numpy's
    else:
        return None
    if not _LEAST < exact < _MOST or not per_unit:
        return None
    count = floor(exact + 0.5)
    return count if count / per_unit == value else None


def to_grid(value: Number, step: Decimal, what: str, *, error: type[FixInput] = FixInput) -> int:
    """How many `step`s make exactly `value`.

    Raises:
        error: The value is off the grid, and the message names the two nearest valid values; or
            it is more steps than int64 counts.
    """
    number = to_decimal(value, what, error=error)
    count = number / step
    if abs(count) > INT64_MAX:
        raise error(f"{what} {value} is more steps of {step:f} than can be counted")
    whole = count.to_integral_value(rounding=ROUND_FLOOR)
    if count == whole:
        return int(whole)
    above = count.to_integral_value(rounding=ROUND_CEILING)
    raise error(
        f"{what} {value} is off the grid of {step:f}",
        remedy=f"nearest valid values: {whole * step:f} and {above * step:f}",
    )


def to_minor(value: Number, what: str, *, error: type[FixInput] = FixInput) -> Minor:
    """An amount of currency in minor units; raises `error` when finer than 1e-8."""
    return Minor(to_ratio_e8(value, what, error=error))


def to_ratio_e8(value: Number, what: str, *, error: type[FixInput] = FixInput) -> int:
    """A ratio in parts of 1e-8; raises `error` when finer than 1e-8."""
    count = count_steps(value, E8)
    return count if count is not None else to_grid(value, _E8_STEP, what, error=error)


def minor_to_decimal(amount: int) -> Decimal:
    """Minor units as an exact Decimal amount of currency."""
    return Decimal(amount).scaleb(-8)


def minor_to_float(amount: int) -> float:
    """Minor units as a float amount of currency (statistics and display only)."""
    return amount / E8


@rule
def compute_ratio_floor(amount: int, ratio_e8: int) -> int:
    """`floor(amount * ratio_e8 / 1e8)` without an intermediate beyond int64. Ours.

    Splits `amount` at 1e8, so the largest product is `amount / 1e8 * ratio_e8`.
    """
    whole = amount // 100_000_000
    rest = amount - whole * 100_000_000
    return whole * ratio_e8 + rest * ratio_e8 // 100_000_000


@rule
def compute_ratio_ceil(amount: int, ratio_e8: int) -> int:
    """`ceil(amount * ratio_e8 / 1e8)`: what we pay is rounded up, against us. Ours."""
    return -compute_ratio_floor(-amount, ratio_e8)


@rule
def compute_ticks(price: float, tick_size: float, side_sign: int) -> int:
    """Market price to ticks: the tick it stands on, else the next one against us. Ours.

    `side_sign` +1 (we buy) rounds up, -1 (we sell) rounds down, 0 (a mark) rounds to the nearest.
    A price within 1e-6 of a tick stands on that tick: float64 can't hold most decimals exactly.
    """
    exact = price / tick_size
    nearest = math.floor(exact + 0.5)
    if side_sign == 0 or abs(exact - nearest) <= 1e-6:
        return int(nearest)
    if side_sign > 0:
        return int(math.ceil(exact))
    return int(math.floor(exact))


def show_minor(minor: int, sign: str = "") -> str:
    """An exact amount for people: grouped, with at least two digits behind the point.

    `sign` "+" shows the sign of what is not negative too.
    """
    text = f"{minor_to_decimal(minor):{sign},.8f}".rstrip("0")
    whole, _, rest = text.partition(".")
    return f"{whole}.{rest:0<2}"
