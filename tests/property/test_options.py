"""Bounds, parity, monotony and limits of option values; Greeks against differences of values."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from onetape.domain.errors import DataError
from onetape.portfolio.american_options import (
    approximate_american_value,
    compute_american_greeks,
    compute_american_value,
)
from onetape.portfolio.option_pricing import (
    VanillaOption,
    compute_european_greeks,
    compute_european_value,
    compute_implied_volatility,
    normal_cdf,
    sum_greeks,
)

RATES = st.floats(-0.05, 0.25)
ordinary = st.builds(
    VanillaOption,
    is_call=st.booleans(),
    spot=st.floats(1, 500),
    strike=st.floats(1, 500),
    years=st.floats(0.01, 5),
    rate=RATES,
    dividend_yield=RATES,
    volatility=st.floats(0.05, 1.5),
)
wild = st.builds(
    VanillaOption,
    is_call=st.booleans(),
    spot=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
    strike=st.one_of(st.just(0.0), st.floats(1e-6, 1e6)),
    years=st.one_of(st.just(0.0), st.floats(1e-9, 30)),
    rate=RATES,
    dividend_yield=RATES,
    volatility=st.one_of(st.just(0.0), st.floats(1e-9, 20)),
)


def change(option: VanillaOption, **values: Any) -> VanillaOption:
    return msgspec.structs.replace(option, **values)


def discounted(option: VanillaOption) -> tuple[float, float]:
    return (
        option.spot * math.exp(-option.dividend_yield * option.years),
        option.strike * math.exp(-option.rate * option.years),
    )


@given(st.floats(-8, 8))
def test_normal_cdf_is_that_of_the_standard_library(x: float) -> None:
    assert normal_cdf(x) == pytest.approx(NormalDist().cdf(x), abs=1e-15)


@given(wild)
def test_european_value_lies_between_its_bounds(option: VanillaOption) -> None:
    stock, cash = discounted(option)
    value = compute_european_value(option)
    slack = 1e-12 * (stock + cash)
    assert max(option.sign * (stock - cash), 0.0) - slack <= value
    assert value <= (stock if option.is_call else cash) + slack


@given(wild)
def test_call_less_put_is_the_forward(option: VanillaOption) -> None:
    stock, cash = discounted(option)
    call, put = (compute_european_value(change(option, is_call=each)) for each in (True, False))
    assert call - put == pytest.approx(stock - cash, abs=1e-11 * (stock + cash), rel=0)


@given(ordinary, st.floats(0, 1), st.floats(0, 1))
def test_value_rises_with_volatility_and_moves_with_spot_by_at_most_one(
    option: VanillaOption, more: float, step: float
) -> None:
    value = compute_european_value(option)
    slack = 1e-12 * (option.spot + option.strike) * 4
    assert (
        compute_european_value(change(option, volatility=option.volatility + more)) >= value - slack
    )
    moved = compute_european_value(change(option, spot=option.spot + step)) - value
    most = step * math.exp(-option.dividend_yield * option.years)
    assert -slack <= option.sign * moved <= most + slack


@given(ordinary, st.floats(0.1, 1))
def test_value_is_convex_in_the_strike(option: VanillaOption, step: float) -> None:
    assume(option.strike > 1.5)
    low, middle, high = (
        compute_european_value(change(option, strike=option.strike + each))
        for each in (-step, 0.0, step)
    )
    assert low + high - 2.0 * middle >= -1e-11 * (option.spot + option.strike)


@given(ordinary)
def test_greeks_are_the_slopes_of_the_value(option: VanillaOption) -> None:
    greeks = compute_european_greeks(option)
    assume(option.volatility * math.sqrt(option.years) > 0.05)

    def slope(name: str, step: float) -> float:
        here = getattr(option, name)
        above, below = (
            compute_european_value(change(option, **{name: here + each})) for each in (step, -step)
        )
        return (above - below) / (2.0 * step)

    scale = option.spot + option.strike
    near = {"rel": 1e-4, "abs": 1e-5 * scale}
    step = 1e-4 * option.spot
    deltas = [
        compute_european_greeks(change(option, spot=option.spot + each)).delta
        for each in (step, -step)
    ]
    assert greeks.delta == pytest.approx(slope("spot", step), rel=1e-4, abs=1e-5)
    assert greeks.gamma == pytest.approx((deltas[0] - deltas[1]) / (2 * step), rel=1e-3, abs=1e-5)
    assert greeks.vega == pytest.approx(slope("volatility", 1e-5), **near)
    assert greeks.theta == pytest.approx(-slope("years", 1e-5 * option.years), **near)
    assert greeks.rho == pytest.approx(slope("rate", 1e-6), **near)


@given(ordinary)
def test_greeks_of_call_less_put_are_those_of_the_forward(option: VanillaOption) -> None:
    call, put = (compute_european_greeks(change(option, is_call=each)) for each in (True, False))
    stock, cash = discounted(option)
    book = sum_greeks([(100.0, call), (-100.0, put)])
    assert book.delta == pytest.approx(100.0 * stock / option.spot, rel=1e-9)
    assert book.gamma == pytest.approx(0.0, abs=1e-9)
    assert book.vega == pytest.approx(0.0, abs=1e-9 * stock)
    assert book.rho == pytest.approx(100.0 * option.years * cash, rel=1e-9)
    carry = option.dividend_yield * stock - option.rate * cash
    assert book.theta == pytest.approx(100.0 * carry, abs=1e-6 * (stock + cash))
    assert sum_greeks([]) == (0.0, 0.0, 0.0, 0.0, 0.0)


@given(ordinary)
def test_implied_volatility_gives_the_value_back(option: VanillaOption) -> None:
    value = compute_european_value(option)
    implied = compute_implied_volatility(option, value)
    stock, cash = discounted(option)
    if math.isnan(implied):  # rounded to the bound
        assert value == pytest.approx(stock if option.is_call else cash, rel=1e-12) or (
            value < max(option.sign * (stock - cash), 0.0) + 1e-12 * (stock + cash)
        )
        return
    again = compute_european_value(change(option, volatility=implied))
    assert again == pytest.approx(value, abs=1e-12 * (stock + cash), rel=0)
    vega = compute_european_greeks(option).vega
    assert abs(implied - option.volatility) <= 1e-9 + 1e-13 * (stock + cash) / max(vega, 1e-300)


@given(wild, st.floats(-10, 1e6))
def test_implied_volatility_of_any_value_is_a_volatility_or_nan(
    option: VanillaOption, value: float
) -> None:
    implied = compute_implied_volatility(option, value)
    assert math.isnan(implied) or 0.0 <= implied <= 1_000.0


def test_implied_volatility_far_out_of_the_money_is_found() -> None:
    call = VanillaOption(is_call=True, spot=100, strike=300, years=0.1, rate=0.01, volatility=0.3)
    value = compute_european_value(call)
    assert 0.0 < value < 1e-20
    assert compute_implied_volatility(call, value) == pytest.approx(0.3, rel=1e-12)


@pytest.mark.parametrize(
    ("value", "implied"),
    [
        (-1.0, math.nan),
        (100 - 90 * math.exp(-0.05) - 1e-6, math.nan),
        (100.0, math.nan),
        (101.0, math.nan),
        (math.nan, math.nan),
    ],
)
def test_implied_volatility_outside_the_bounds_is_nan(value: float, implied: float) -> None:
    call = VanillaOption(is_call=True, spot=100, strike=90, years=1, rate=0.05, volatility=0)
    assert compute_implied_volatility(call, value) == pytest.approx(implied, nan_ok=True)
    assert compute_implied_volatility(call, compute_european_value(call)) == 0.0


LIMITS = {"rate": 0.05, "dividend_yield": 0.02, "strike": 100.0}


@pytest.mark.parametrize(
    ("right", "spot", "years", "volatility", "value", "greeks"),
    # value, then delta, gamma, vega, theta, rho; by hand: a forward in the money, nothing outside
    [
        ("call", 110, 0, 0.3, 10, (1, 0, 0, 0.02 * 110 - 0.05 * 100, 0)),
        ("put", 110, 0, 0.3, 0, (0, 0, 0, 0, 0)),
        ("put", 90, 0, 0.3, 10, (-1, 0, 0, -0.02 * 90 + 0.05 * 100, 0)),
        ("call", 100, 0, 0.3, 0, (0.5, math.nan, 0, math.nan, 0)),
        ("call", 110, 1, 0, 12.698911613671669, (0.98019867, 0, 0, -2.59971, 95.1229425)),
        ("put", 110, 1, 0, 0, (0, 0, 0, 0, 0)),
        ("call", 0, 1, 0.3, 0, (0, 0, 0, 0, 0)),
        ("put", 0, 1, 0.3, 95.1229424500714, (-0.98019867, 0, 0, 4.75614712, -95.1229425)),
    ],
)  # fmt: skip
def test_limits_are_those_of_a_forward_or_of_nothing(
    right: str,
    spot: float,
    years: float,
    volatility: float,
    value: float,
    greeks: tuple[float, ...],
) -> None:
    option = VanillaOption(
        is_call=right == "call", spot=spot, years=years, volatility=volatility, **LIMITS
    )
    assert compute_european_value(option) == pytest.approx(value, abs=1e-12)
    found = compute_european_greeks(option)
    assert found == pytest.approx(greeks, rel=1e-5, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    "values", [{"spot": -1.0}, {"volatility": math.nan}, {"rate": math.inf}, {"years": -0.1}]
)
def test_option_with_an_impossible_value_is_refused(values: dict[str, float]) -> None:
    with pytest.raises(DataError, match=next(iter(values))):
        VanillaOption(
            **{"is_call": True, "spot": 1.0, "years": 1.0, "volatility": 0.1, **LIMITS, **values}
        )


@settings(deadline=None)
@given(ordinary)
def test_early_exercise_is_worth_nothing_or_more(option: VanillaOption) -> None:
    value = compute_american_value(option, steps=60)
    scale = 1e-9 * (option.spot + option.strike)
    assert value >= max(option.sign * (option.spot - option.strike), 0.0) - scale
    # The tree is only near its limit: by less than half a percent of what is at stake.
    assert value >= compute_european_value(option) - 5e-3 * (option.spot + option.strike)
    assert value <= max(option.spot, option.strike) * math.exp(0.05 * option.years) + scale


@settings(deadline=None)
@given(ordinary)
def test_tree_without_early_exercise_is_the_european_value(option: VanillaOption) -> None:
    """A call without yield and a put without rate are held to the end."""
    if option.is_call:
        held = change(option, dividend_yield=0.0, rate=abs(option.rate))
    else:
        held = change(option, rate=0.0, dividend_yield=abs(option.dividend_yield))
    tree = compute_american_value(held, steps=400)
    assert tree == pytest.approx(compute_european_value(held), abs=2e-3 * (held.spot + held.strike))
    assert approximate_american_value(held) == compute_european_value(held)


@settings(deadline=None)
@given(ordinary)
def test_approximation_is_near_the_tree(option: VanillaOption) -> None:
    assume(option.rate >= 0.0 and option.dividend_yield >= 0.0)
    tree = compute_american_value(option, steps=300)
    european = compute_european_value(option)
    approximation = approximate_american_value(option)
    assert approximation >= european - 1e-12
    assert approximation == pytest.approx(tree, abs=0.02 * (option.spot + option.strike))


@settings(deadline=None)
@given(ordinary)
def test_approximation_is_worth_exercise_at_once_or_refuses(option: VanillaOption) -> None:
    try:
        value = approximate_american_value(option)
    except DataError:
        assert min(option.rate, option.dividend_yield) < 0.0
        return
    assert value >= option.sign * (option.spot - option.strike) - 1e-9 * option.strike


def test_approximation_refuses_what_negative_rates_make_worth_exercising() -> None:
    """Deep in the money it is worth 100 at once, and the European value is 94.88."""
    call = VanillaOption(is_call=True, spot=200, strike=100, years=1, rate=-0.05, volatility=0.2)
    put = VanillaOption(is_call=False, spot=50, strike=150, years=1, rate=0, volatility=0.2,
                        dividend_yield=-0.05)  # fmt: skip
    for option in (call, put):
        assert compute_american_value(option, steps=100) == pytest.approx(100.0)
        with pytest.raises(DataError, match="use compute_american_value"):
            approximate_american_value(option)


@settings(deadline=None)
@given(ordinary, st.floats(0.01, 1))
def test_american_value_rises_with_time(option: VanillaOption, more: float) -> None:
    longer = change(option, years=option.years + more)
    assume(option.rate >= 0.0 and option.dividend_yield >= 0.0)
    value = approximate_american_value(option)
    assert approximate_american_value(longer) >= value - 0.02 * (option.spot + option.strike)
    tree = compute_american_value(longer, steps=200)
    assert tree >= compute_american_value(option, steps=200) - 2e-3 * (option.spot + option.strike)


def test_american_call_on_a_future_and_put_mirror_each_other() -> None:
    """Put-call symmetry (McDonald & Schroder 1998): swap spot with strike, and rate with yield."""
    call = VanillaOption(is_call=True, spot=90, strike=100, years=1, rate=0.06,
                         dividend_yield=0.03, volatility=0.25)  # fmt: skip
    put = VanillaOption(is_call=False, spot=100, strike=90, years=1, rate=0.03,
                        dividend_yield=0.06, volatility=0.25)  # fmt: skip
    value = compute_american_value(call, steps=300)
    assert value == pytest.approx(compute_american_value(put, steps=300), rel=1e-9)
    approximation = approximate_american_value(call)
    assert approximation == pytest.approx(approximate_american_value(put), abs=1e-3)


def test_american_limits_are_exercise_at_the_best_moment() -> None:
    put = VanillaOption(is_call=False, spot=90, strike=100, years=2, rate=0.05, volatility=0)
    assert compute_american_value(put) == approximate_american_value(put) == 10.0
    assert compute_american_value(change(put, years=0.0, volatility=0.4)) == 10.0
    # A call on 100 (yield 10 %) at 50 (rate 8 %): 100 e^-0.1t - 50 e^-0.08t falls from the start.
    call = change(put, is_call=True, spot=100.0, strike=50.0, rate=0.08, dividend_yield=0.1)
    assert compute_american_value(call) == 50.0
    # At a yield of 1 % it rises to the end: 100 e^-0.02 - 50 e^-0.16.
    late = change(call, dividend_yield=0.01)
    assert compute_american_value(late) == pytest.approx(55.412678, abs=1e-6)
    # In between: 5 e^-0.05t = 30 e^-0.3t at e^-0.25t = 1/6, after 7.2 of 20 years.
    best = change(call, strike=100.0, years=20.0, rate=0.3, dividend_yield=0.05)
    assert compute_american_value(best) == pytest.approx(100 * (6**-0.2 - 6**-1.2), rel=1e-12)


def test_tree_takes_more_steps_where_the_drift_is_steeper_than_the_volatility() -> None:
    put = VanillaOption(is_call=False, spot=100, strike=110, years=1, rate=0.2, volatility=0.01)
    assert compute_american_value(put, steps=10) == 10.0
    call = change(put, is_call=True)
    held = compute_european_value(call)
    assert held == pytest.approx(100 - 110 * math.exp(-0.2), abs=1e-6)
    assert compute_american_value(call, steps=10) == pytest.approx(held, abs=1e-3)
    with pytest.raises(DataError, match="needs a tree of"):
        compute_american_value(change(put, volatility=1e-6))
    with pytest.raises(DataError, match="2 steps or more"):
        compute_american_value(put, steps=1)
    with pytest.raises(DataError, match="only with time"):
        compute_american_greeks(change(put, years=0.0))


def test_american_greeks_of_an_option_held_to_the_end_are_the_european_ones() -> None:
    call = VanillaOption(is_call=True, spot=100, strike=95, years=0.75, rate=0.05, volatility=0.3)
    tree = compute_american_greeks(call, steps=1000)
    assert tree == pytest.approx(compute_european_greeks(call), rel=5e-3)
