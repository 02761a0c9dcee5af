"""Borrow fees and interest: the rules, and their terms."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import E8, INT64_MAX, to_minor
from onetape.execution.simulated.carrying import (
    BorrowTerms,
    CarryingModel,
    build_carrying,
    compute_collateral_ticks,
    compute_interest,
)
from tests.support.timelines import AAPL, EQUITY, MSFT, OTHER

# The first two rows are an example of a broker's employee ("Bob", elitetrader.com thread 308608):
# 1,000 shares at 20.00 and 5% over 365 days are about 2.74 a day, and three days over a weekend.
# The third is the same thread's share of 10 cents that counts as a dollar: 10% of 1,000.00, so 100%
# a year of its price. The others are by hand: value x rate / 360 a day, as the statement of
# Interactive Brokers has it ("Borrow Fee Details") and US brokers publish for debit balances.
PAID = [
    # value        rate_e6   days  year  paid
    ("20000",       50_000,     1,  365,  "2.73972603"),
    ("20000",       50_000,     3,  365,  "8.21917809"),
    ("1000",       100_000,   360,  360,  "100"),
    ("5200",        36_000,     1,  360,  "0.52"),
    ("50000",       80_000,    30,  360,  "333.33333334"),
    ("100000",      58_300,     1,  360,  "16.19444445"),
    ("0.00000001",       1,     1,  360,  "0.00000001"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "rate_e6", "days", "year", "paid"), PAID)
def test_what_is_paid_is_rounded_up(
    value: str, rate_e6: int, days: int, year: int, paid: str
) -> None:
    amount = to_minor(value, "value")
    assert compute_interest(-amount, rate_e6, days, year) == -to_minor(paid, "paid")


def test_what_is_received_is_rounded_down() -> None:
    assert compute_interest(100_000 * E8, 58_300, 1, 360) == to_minor("16.19444444", "received")


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-INT64_MAX, INT64_MAX),
    st.integers(0, 100_000_000),
    st.integers(0, 100_000),
    st.sampled_from([360, 365]),
)
def test_interest_is_the_exact_fraction_rounded_down(
    amount: int, rate_e6: int, days: int, year: int
) -> None:
    exact = Fraction(amount) * rate_e6 * days / (1_000_000 * year)
    assert compute_interest(amount, rate_e6, days, year) == floor(exact)


def test_collateral_is_the_raised_price_rounded_up_to_its_grid() -> None:
    """102% of the close up to a whole dollar: 19.61 counts as 21.00, 0.10 as 1.00."""
    ratio = 102_000_000
    assert compute_collateral_ticks(1_961, ratio, 100) == 2_100
    assert compute_collateral_ticks(1_960, ratio, 100) == 2_000
    assert compute_collateral_ticks(10, ratio, 100) == 100
    assert compute_collateral_ticks(1_961, E8, 1) == 1_961
    assert compute_collateral_ticks(1_961, ratio, 1) == 2_001


def test_terms_have_the_rate_of_each_instrument() -> None:
    model = CarryingModel(
        borrow_pct=Decimal("0.25"), borrow_pct_of={MSFT: Decimal("12.5")},
        collateral_ratio=Decimal("1.02"), collateral_round_up_to=Decimal(1),
        margin_interest_pct=Decimal("5.83"), days_per_year=365,
    )  # fmt: skip
    terms = build_carrying(model, [EQUITY, OTHER])
    assert terms.borrow == {
        AAPL: BorrowTerms(2_500, 102_000_000, 100), MSFT: BorrowTerms(125_000, 102_000_000, 100)
    }  # fmt: skip
    assert (terms.margin_interest_e6, terms.credit_interest_e6) == (58_300, 0)
    assert terms.days_per_year == 365


def test_terms_of_an_unknown_instrument_or_off_the_grid_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"MSFT\.XNAS, which the session does not trade"):
        build_carrying(CarryingModel(borrow_pct_of={MSFT: Decimal(1)}), [EQUITY])
    with pytest.raises(ConfigError, match=f"no whole number of ticks of {AAPL}"):
        build_carrying(CarryingModel(collateral_round_up_to=Decimal("0.015")), [EQUITY])
