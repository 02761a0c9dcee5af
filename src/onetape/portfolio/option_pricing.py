"""Value and Greeks of European options (Black-Scholes-Merton), and implied volatility.

Analytics in float64: nothing here decides about money of the books. `american_options` has early
exercise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from onetape.domain.errors import DataError

_NAN = float("nan")
_HIGHEST_VOLATILITY = 1_000.0
_HALVINGS = 200


class VanillaOption(msgspec.Struct, frozen=True, kw_only=True):
    """A call or put on one unit of something that pays a continuous yield.

    `years` to expiry; `rate`, `dividend_yield` and `volatility` are fractions a year, the first two
    with continuous compounding. A future has the dividend yield of the rate (Black 1976); a
    currency that of the foreign rate (Garman & Kohlhagen 1983).

    Raises:
        DataError: A value is not finite, or spot, strike, years or volatility is negative.
    """

    is_call: bool
    spot: float
    strike: float
    years: float
    rate: float
    dividend_yield: float = 0.0
    volatility: float

    def __post_init__(self) -> None:
        for name in ("spot", "strike", "years", "volatility", "rate", "dividend_yield"):
            value = getattr(self, name)
            low = -math.inf if name in ("rate", "dividend_yield") else 0.0
            if not (math.isfinite(value) and value >= low):
                raise DataError(
                    f"an option's {name} is {value!r}",
                    remedy="give a finite number" if low else "give a finite number >= 0",
                )

    @property
    def sign(self) -> float:
        """+1 for a call, -1 for a put."""
        return 1.0 if self.is_call else -1.0


class Greeks(NamedTuple):
    """Derivatives of the value of an option on one unit.

    `delta` by spot; `gamma` by spot twice; `vega` by volatility (for 1.00, so a point of 1 % is a
    hundredth); `theta` by passing time, for a year (usually negative); `rho` by rate (for 1.00).
    """

    delta: float
    gamma: float
    vega: float
    theta: float
    rho: float


class _Terms(NamedTuple):
    """`stock` and `cash`: discounted spot and strike; `width`: volatility to expiry."""

    stock: float
    cash: float
    width: float
    d1: float
    d2: float


def compute_european_value(option: VanillaOption) -> float:
    """Value by Black-Scholes-Merton; the discounted gain at the forward without time or volatility.

    Source: Black & Scholes (1973), The Pricing of Options and Corporate Liabilities, Journal of
    Political Economy 81(3); Merton (1973), Theory of Rational Option Pricing, with the yield.
    """
    terms = _prepare(option)
    sign = option.sign
    value = sign * (
        terms.stock * normal_cdf(sign * terms.d1) - terms.cash * normal_cdf(sign * terms.d2)
    )
    return max(value, 0.0)


def compute_european_greeks(option: VanillaOption) -> Greeks:
    """Derivatives of `compute_european_value`.

    Without time or volatility they are those of a forward or of nothing; exactly at the money,
    where the value has a corner, delta and rho are those of half a forward and what has no limit
    is NaN.
    Source: Hull, Options, Futures, and Other Derivatives, chapter "The Greek Letters"; Haug, The
    Complete Guide to Option Pricing Formulas, chapter 2.
    """
    terms = _prepare(option)
    sign = option.sign
    spot, years = option.spot, option.years
    in_money = normal_cdf(sign * terms.d2)
    stock_share = normal_cdf(sign * terms.d1)
    density = normal_density(terms.d1)
    carry = sign * (
        option.dividend_yield * terms.stock * stock_share - option.rate * terms.cash * in_money
    )
    at_corner = terms.width == 0.0 and terms.d1 == 0.0 and terms.stock > 0.0
    if terms.width > 0.0:
        gamma = terms.stock * density / (spot * spot * terms.width) if spot > 0.0 else 0.0
        decay = terms.stock * density * option.volatility / (2.0 * math.sqrt(years))
    else:
        gamma = _NAN if at_corner else 0.0
        decay = _NAN if at_corner and years == 0.0 else 0.0
    return Greeks(
        delta=sign * math.exp(-option.dividend_yield * years) * stock_share,
        gamma=gamma,
        vega=terms.stock * density * math.sqrt(years),
        theta=carry - decay,
        rho=sign * years * terms.cash * in_money,
    )


def sum_greeks(held: Iterable[tuple[float, Greeks]]) -> Greeks:
    """Greeks of a book on one underlying: those of each position times the units that it is on.

    Units are contracts times multiplier, negative when written; spot itself has a delta of 1 and
    nothing else. Ours.
    """
    totals = [0.0] * len(Greeks._fields)
    for units, greeks in held:
        totals = [total + units * each for total, each in zip(totals, greeks, strict=True)]
    return Greeks(*totals)


def compute_implied_volatility(option: VanillaOption, value: float) -> float:
    """The volatility at which the European `option` is worth `value`; its own is not used.

    0.0 at the lowest value there is. NaN below that, at the highest value or above it, and without
    time. Bisection between brackets on the side that is out of the money, down to neighboring
    float64: it can't run away, but where the value hardly depends on volatility the answer is only
    as good as the digits of `value`.
    Source: ours; the bounds are Merton's (1973).
    """
    still = msgspec.structs.replace(option, volatility=0.0)
    terms = _prepare(still)
    lowest = compute_european_value(still)
    highest = terms.stock if option.is_call else terms.cash
    if not lowest <= value < highest or option.years == 0.0:
        return _NAN
    if value == lowest:
        return 0.0
    if option.sign * (terms.stock - terms.cash) > 0.0:  # the other side by put-call parity
        still = msgspec.structs.replace(still, is_call=not option.is_call)
        value -= option.sign * (terms.stock - terms.cash)
    low, high = 0.0, 1.0
    while _value_at(still, high) < value:
        low, high = high, high * 2.0
        if high > _HIGHEST_VOLATILITY:
            return _NAN
    for _ in range(_HALVINGS):
        middle = low + (high - low) / 2.0
        if middle in (low, high):
            break
        if _value_at(still, middle) < value:
            low = middle
        else:
            high = middle
    return high


def normal_cdf(x: float) -> float:
    """Standard normal distribution, exact to float64 in both tails."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def normal_density(x: float) -> float:
    """Density of the standard normal distribution."""
    return math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _prepare(option: VanillaOption) -> _Terms:
    stock = option.spot * math.exp(-option.dividend_yield * option.years)
    cash = option.strike * math.exp(-option.rate * option.years)
    width = option.volatility * math.sqrt(option.years)
    if stock == 0.0 or cash == 0.0 or width == 0.0:
        d1 = d2 = 0.0 if stock == cash else math.inf if stock > cash else -math.inf
    else:
        distance = math.log(stock / cash) / width
        d1, d2 = distance + width / 2.0, distance - width / 2.0
    return _Terms(stock, cash, width, d1, d2)


def _value_at(option: VanillaOption, volatility: float) -> float:
    return compute_european_value(msgspec.structs.replace(option, volatility=volatility))
