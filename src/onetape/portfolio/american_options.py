"""Options with early exercise: a binomial tree, and a fast approximation.

Analytics in float64, like `option_pricing`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError
from onetape.portfolio.option_pricing import (
    Greeks,
    VanillaOption,
    compute_european_value,
    normal_cdf,
)

Floats = npt.NDArray[np.float64]

_MOST_STEPS = 50_000
_HALVINGS = 200
_DOUBLINGS = 60
_BUMP = 1e-4


class _Tree(NamedTuple):
    """Values and spots of the first three levels (1, 2 and 3 nodes, the highest spot first)."""

    values: tuple[Floats, Floats, Floats]
    spots: tuple[Floats, Floats, Floats]
    step_years: float


def compute_american_value(option: VanillaOption, *, steps: int = 500) -> float:
    """Value with exercise at any step of a binomial tree; more steps are nearer to the limit.

    Where the drift of a step is larger than its volatility (no probability is one then), more steps
    are taken than asked for. Never below the value of exercise at once.
    Source: Cox, Ross & Rubinstein (1979), Option Pricing: A Simplified Approach, Journal of
    Financial Economics 7(3); with a yield as in Hull, chapter "Basic Numerical Procedures".

    Raises:
        DataError: `steps` is below 2, or the volatility is so small that the tree has no end.
    """
    if 0.0 in (option.years, option.volatility, option.spot, option.strike):
        return _compute_certain_value(option)
    return float(_grow(option, steps).values[0][0])


def compute_american_greeks(option: VanillaOption, *, steps: int = 500) -> Greeks:
    """Derivatives from the first nodes of the tree; vega and rho by trees on both sides.

    Units as in `Greeks`. Source: Hull, chapter "Basic Numerical Procedures".

    Raises:
        DataError: As `compute_american_value`; or one of time, volatility, spot and strike is 0.
    """
    if 0.0 in (option.years, option.volatility, option.spot, option.strike):
        raise DataError(
            "a tree has Greeks only with time, volatility, spot and strike above 0",
            remedy="use compute_european_greeks at the limits",
        )
    (root, first, second), (_, spots, far), step_years = _grow(option, steps)
    upper = (second[0] - second[1]) / (far[0] - far[1])
    lower = (second[1] - second[2]) / (far[1] - far[2])
    bump = min(_BUMP, option.volatility / 2.0)
    more, less = (
        compute_american_value(
            msgspec.structs.replace(option, volatility=option.volatility + change), steps=steps
        )
        for change in (bump, -bump)
    )
    higher, deeper = (
        compute_american_value(
            msgspec.structs.replace(option, rate=option.rate + change), steps=steps
        )
        for change in (_BUMP, -_BUMP)
    )
    return Greeks(
        delta=float((first[0] - first[1]) / (spots[0] - spots[1])),
        gamma=float((upper - lower) / ((far[0] - far[2]) / 2.0)),
        vega=(more - less) / (2.0 * bump),
        theta=float((second[1] - root[0]) / (2.0 * step_years)),
        rho=(higher - deeper) / (2.0 * _BUMP),
    )


def approximate_american_value(option: VanillaOption) -> float:
    """Value by the quadratic approximation: fast, and a few cents off where the tree is exact.

    Source: Barone-Adesi & Whaley (1987), Efficient Analytic Approximation of American Option
    Values, Journal of Finance 42(2); notation of Haug, chapter 3.

    Raises:
        DataError: The rate of a call, or the yield of a put, is negative while nothing is earned by
            exercise (its yield, or rate, is not positive). What is paid later grows then, so early
            exercise is worth something, and the approximation does not know.
    """
    if 0.0 in (option.years, option.volatility, option.spot, option.strike):
        return _compute_certain_value(option)
    european = compute_european_value(option)
    earns, saves = option.dividend_yield, option.rate
    if not option.is_call:
        earns, saves = saves, earns
    if earns <= 0.0 and saves < 0.0:
        raise DataError(
            f"the approximation does not cover a rate of {option.rate:g} with a yield of "
            f"{option.dividend_yield:g}",
            remedy="use compute_american_value",
        )
    if earns <= 0.0:  # waiting costs nothing
        return european
    sign = option.sign
    variance = option.volatility * option.volatility
    n = 2.0 * (option.rate - option.dividend_yield) / variance
    elapsed = (
        -math.expm1(-option.rate * option.years) / option.rate if option.rate else option.years
    )
    m = 2.0 / (variance * elapsed)
    power = (1.0 - n + sign * math.sqrt((n - 1.0) ** 2 + 4.0 * m)) / 2.0
    critical = _find_critical_spot(option, power)
    if critical in (0.0, math.inf):  # it is too far away to matter
        return european
    if sign * (option.spot - critical) >= 0.0:
        return sign * (option.spot - option.strike)
    premium = _compute_smooth_premium(option, critical, power)
    return european + premium * (option.spot / critical) ** power


def _find_critical_spot(option: VanillaOption, power: float) -> float:
    """The spot from which on exercise at once is worth as much as holding; 0 or inf: far away."""
    sign, strike = option.sign, option.strike

    def gain(spot: float) -> float:
        held = compute_european_value(msgspec.structs.replace(option, spot=spot))
        return sign * (spot - strike) - held - _compute_smooth_premium(option, spot, power)

    waits, exercised = strike, strike
    further = 2.0 if option.is_call else 0.5
    for _ in range(_DOUBLINGS):
        if gain(exercised) >= 0.0:
            break
        waits, exercised = exercised, exercised * further
    else:
        return math.inf if option.is_call else 0.0
    for _ in range(_HALVINGS):
        middle = waits + (exercised - waits) / 2.0
        if middle in (waits, exercised):
            break
        if gain(middle) < 0.0:
            waits = middle
        else:
            exercised = middle
    return exercised


def _compute_smooth_premium(option: VanillaOption, spot: float, power: float) -> float:
    """What makes the slopes of both regimes meet at `spot`: A1 and A2 of the paper."""
    width = option.volatility * math.sqrt(option.years)
    drift = option.rate - option.dividend_yield
    d1 = (math.log(spot / option.strike) + drift * option.years) / width + width / 2.0
    share = math.exp(-option.dividend_yield * option.years) * normal_cdf(option.sign * d1)
    return option.sign * (1.0 - share) * spot / power


def _compute_certain_value(option: VanillaOption) -> float:
    """The best moment to exercise where chance has no part: something is 0 of what `option` has."""
    rate, dividend_yield, years = option.rate, option.dividend_yield, option.years
    moments = [0.0, years]
    earned, paid = dividend_yield * option.spot, rate * option.strike
    if rate != dividend_yield and earned * paid > 0.0:
        best = math.log(earned / paid) / (dividend_yield - rate)
        if 0.0 < best < years:
            moments.append(best)
    return max(
        0.0,
        *(
            option.sign
            * (option.spot * math.exp(-dividend_yield * t) - option.strike * math.exp(-rate * t))
            for t in moments
        ),
    )


def _grow(option: VanillaOption, steps: int) -> _Tree:
    if steps < 2:
        raise DataError(f"a tree of {steps} steps", remedy="take 2 steps or more")
    drift = option.rate - option.dividend_yield
    least = option.years * (drift / option.volatility) ** 2
    if least >= _MOST_STEPS:
        raise DataError(
            f"volatility {option.volatility:g} needs a tree of {least:.3g} steps",
            remedy="a volatility of 0 is computed without a tree",
        )
    steps = max(steps, math.floor(least) + 1)
    step_years = option.years / steps
    up = math.exp(option.volatility * math.sqrt(step_years))
    probability = (math.exp(drift * step_years) - 1.0 / up) / (up - 1.0 / up)
    discount = math.exp(-option.rate * step_years)
    values = np.maximum(option.sign * (_list_spots(option.spot, up, steps) - option.strike), 0.0)
    kept: list[Floats] = [values] if steps == 2 else []
    for level in range(steps - 1, -1, -1):
        held = discount * (probability * values[:-1] + (1.0 - probability) * values[1:])
        exercised = option.sign * (_list_spots(option.spot, up, level) - option.strike)
        values = np.maximum(held, exercised)
        if level <= 2:
            kept.append(values)
    second, first, root = kept
    spots = [_list_spots(option.spot, up, level) for level in range(3)]
    return _Tree((root, first, second), (spots[0], spots[1], spots[2]), step_years)


def _list_spots(spot: float, up: float, level: int) -> Floats:
    """Spots of a level, the highest first; the middle one is `spot` itself."""
    return spot * up ** np.arange(level, -level - 1, -2, dtype=np.float64)
