"""Option values and Greeks against published tables.

- European values: Haug's tables, `options/reference_european_bsm.csv` of the shared data (1e-4).
- Greeks: the test data of vollib, `options/reference_bs_greeks.csv`.
- American values: Barone-Adesi and Whaley's tables, `options/reference_american_baw.csv` (3e-3).
- Hull, Options, Futures, and Other Derivatives: the examples of the chapters on
  Black-Scholes-Merton, the Greek letters and binomial trees.
- Longstaff & Schwartz (2001), Valuing American Options by Simulation, Review of Financial
  Studies 14(1), table 1: finite differences with 50 dates of exercise a year, which is worth up to
  a cent less than exercise at any time.
"""

from __future__ import annotations

import csv
from typing import Any

import pytest

from onetape.portfolio.american_options import (
    approximate_american_value,
    compute_american_greeks,
    compute_american_value,
)
from onetape.portfolio.option_pricing import (
    VanillaOption,
    compute_european_greeks,
    compute_european_value,
)
from tests.support.shared_data import SHARED, needs_shared

OPTIONS = SHARED / "options"


def read_rows(name: str) -> list[dict[str, str]]:
    path = OPTIONS / name
    return list(csv.DictReader(path.read_text().splitlines())) if path.exists() else []


def read_option(row: dict[str, str], right: str = "") -> VanillaOption:
    return VanillaOption(
        is_call=(right or row["type"]) == "call",
        spot=float(row["spot"]),
        strike=float(row["strike"]),
        years=float(row["t_years"]),
        rate=float(row["rate"]),
        dividend_yield=float(row.get("dividend_yield", 0.0)),
        volatility=float(row["vol"]),
    )


@needs_shared
def test_references_are_all_there() -> None:
    names = ("european_bsm", "bs_greeks", "american_baw")
    assert [len(read_rows(f"reference_{name}.csv")) for name in names] == [22, 51, 19]


@pytest.mark.parametrize("row", read_rows("reference_european_bsm.csv"))
def test_european_value_is_that_of_the_table(row: dict[str, str]) -> None:
    assert compute_european_value(read_option(row)) == pytest.approx(float(row["price"]), abs=5e-5)


@pytest.mark.parametrize("right", ["call", "put"])
@pytest.mark.parametrize("row", read_rows("reference_bs_greeks.csv"))
def test_european_greeks_are_those_of_the_table(row: dict[str, str], right: str) -> None:
    option = read_option(row, right)
    names = ("delta", "gamma", "theta_per_year", "vega_per_1.00_vol", "rho_per_1.00_rate")
    delta, gamma, theta, vega, rho = (float(row[f"{right}_{name}"]) for name in names)
    greeks = compute_european_greeks(option)
    assert compute_european_value(option) == pytest.approx(float(row[right]), abs=1e-9, rel=1e-9)
    assert greeks == pytest.approx((delta, gamma, vega, theta, rho), abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("row", read_rows("reference_american_baw.csv"))
def test_approximation_is_that_of_the_table(row: dict[str, str]) -> None:
    value = approximate_american_value(read_option(row))
    assert value == pytest.approx(float(row["price_barone_adesi_whaley"]), abs=3e-3)


def option(right: str, spot: float, strike: float, years: float, **terms: Any) -> VanillaOption:
    return VanillaOption(is_call=right == "call", spot=spot, strike=strike, years=years, **terms)


def test_european_value_is_that_of_hulls_example() -> None:
    terms = {"rate": 0.10, "volatility": 0.20}
    assert compute_european_value(option("call", 42, 40, 0.5, **terms)) == pytest.approx(
        4.76, abs=5e-3
    )
    assert compute_european_value(option("put", 42, 40, 0.5, **terms)) == pytest.approx(
        0.81, abs=5e-3
    )


def test_european_greeks_are_those_of_hulls_example() -> None:
    greeks = compute_european_greeks(option("call", 49, 50, 0.3846, rate=0.05, volatility=0.20))
    assert greeks.delta == pytest.approx(0.522, abs=5e-4)
    assert greeks.gamma == pytest.approx(0.066, abs=5e-4)
    assert greeks.vega == pytest.approx(12.1, abs=5e-2)
    assert greeks.theta == pytest.approx(-4.31, abs=5e-3)
    assert greeks.rho == pytest.approx(8.91, abs=5e-3)


@pytest.mark.parametrize(
    ("steps", "value"), [(5, 4.49), (30, 4.263), (50, 4.272), (100, 4.278), (500, 4.283)]
)
def test_tree_has_hulls_values_at_each_number_of_steps(steps: int, value: float) -> None:
    put = option("put", 50, 50, 5 / 12, rate=0.10, volatility=0.40)
    exact = 5e-3 if steps == 5 else 5e-4
    assert compute_american_value(put, steps=steps) == pytest.approx(value, abs=exact)


def test_tree_has_hulls_greeks() -> None:
    put = option("put", 50, 50, 5 / 12, rate=0.10, volatility=0.40)
    greeks = compute_american_greeks(put, steps=5)
    assert greeks.delta == pytest.approx(-0.41, abs=5e-3)
    assert greeks.gamma == pytest.approx(0.03, abs=5e-3)
    assert greeks.theta == pytest.approx(-4.3, abs=5e-2)


@pytest.mark.parametrize(
    ("source", "given", "steps", "value"),
    [
        (
            "Hull, American call on a future, 4 steps",
            option("call", 300, 300, 4 / 12, rate=0.08, dividend_yield=0.08, volatility=0.30),
            4,
            19.16,
        ),
        (
            "Hull, American put on a currency, 4 steps",
            option("put", 1.61, 1.60, 1, rate=0.08, dividend_yield=0.09, volatility=0.12),
            4,
            0.0710,
        ),
        (
            "Haug, American put by Cox-Ross-Rubinstein, 5 steps",
            option("put", 100, 95, 0.5, rate=0.08, volatility=0.30),
            5,
            4.9192,
        ),
    ],
)
def test_tree_has_the_value_of_the_book(
    source: str, given: VanillaOption, steps: int, value: float
) -> None:
    digits = len(f"{value}".partition(".")[2])
    assert round(compute_american_value(given, steps=steps), digits) == value, source


@pytest.mark.parametrize(
    ("spot", "volatility", "years", "american", "european"),
    [
        (36, 0.2, 1, 4.478, 3.844), (36, 0.2, 2, 4.840, 3.763), (36, 0.4, 1, 7.101, 6.711),
        (36, 0.4, 2, 8.508, 7.700), (38, 0.2, 1, 3.250, 2.852), (38, 0.2, 2, 3.745, 2.991),
        (38, 0.4, 1, 6.148, 5.834), (38, 0.4, 2, 7.670, 6.979), (40, 0.2, 1, 2.314, 2.066),
        (40, 0.2, 2, 2.885, 2.356), (40, 0.4, 1, 5.312, 5.060), (40, 0.4, 2, 6.920, 6.326),
        (42, 0.2, 1, 1.617, 1.465), (42, 0.2, 2, 2.212, 1.841), (42, 0.4, 1, 4.582, 4.379),
        (42, 0.4, 2, 6.248, 5.736), (44, 0.2, 1, 1.110, 1.017), (44, 0.2, 2, 1.690, 1.429),
        (44, 0.4, 1, 3.948, 3.783), (44, 0.4, 2, 5.647, 5.202),
    ],
)  # fmt: skip
def test_put_has_the_values_of_longstaff_and_schwartz(
    spot: float, volatility: float, years: float, american: float, european: float
) -> None:
    put = option("put", spot, 40, years, rate=0.06, volatility=volatility)
    assert compute_european_value(put) == pytest.approx(european, abs=5e-4)
    assert 0.0 <= compute_american_value(put, steps=1000) - american < 0.01
