"""Rates between currencies: the rules, and which instrument is a rate."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import E8, INT64_MAX
from onetape.portfolio.currency_pairs import (
    RATE_E8_MAX,
    compute_base_amount,
    compute_quote_amount,
    find_pairs,
)
from tests.support.currencies import EURO, EURO_SHARE, EURUSD, USDJPY, YEN, make_pair

amounts = st.integers(-INT64_MAX, INT64_MAX)
rates = st.integers(1, RATE_E8_MAX)


@settings(max_examples=200, deadline=None)
@given(amounts, rates)
def test_conversion_is_the_exact_fraction_rounded_down(amount: int, rate_e8: int) -> None:
    rate = Fraction(rate_e8, E8)
    assert compute_quote_amount(amount, rate_e8) == floor(amount * rate)
    assert compute_base_amount(amount, rate_e8) == floor(amount / rate)


# By hand: EURUSD 1.32736 (the bid at the close of 2007-01-02 in shared/data/fx), USDJPY 150.
AMOUNTS = [
    # home, currency, pair, price,    amount,        at home
    ("USD", "EUR",    EURO, "1.32736", 100 * E8,     13_273_600_000),
    ("EUR", "USD",    EURO, "1.32736", 100 * E8,     7_533_751_205),
    ("EUR", "USD",    EURO, "1.32736", -100 * E8,    -7_533_751_206),
    ("USD", "JPY",    YEN,  "150",     10_000 * E8,  6_666_666_666),
    ("JPY", "USD",    YEN,  "150",     100 * E8,     15_000 * E8),
]  # fmt: skip


@pytest.mark.parametrize(("home", "currency", "instrument", "price", "amount", "at_home"), AMOUNTS)
def test_pair_converts_whichever_side_is_home(
    home: str, currency: str, instrument: object, price: str, amount: int, at_home: int
) -> None:
    pairs = find_pairs([EURO_SHARE, EURO, YEN], home, [currency])
    pair = pairs[currency]
    ticks = (EURO if instrument is EURO else YEN).price_to_ticks(price)
    assert pair.to_home(amount, ticks) == at_home
    assert abs(pair.from_home(at_home, ticks) - amount) <= 10**4  # what the rounding can move


def test_first_pair_of_the_timeline_is_the_rate() -> None:
    other = make_pair(InstrumentId("USDEUR.ELSE"), "0.0001")
    assert find_pairs([other, EURO], "USD", ["EUR"])["EUR"].instrument == other.id
    assert find_pairs([YEN, EURO], "USD", ["EUR", "JPY"]).keys() == {"EUR", "JPY"}
    assert find_pairs([YEN, EURO], "USD", ["EUR"])["EUR"].index == 1
    assert {EURUSD, USDJPY} == {EURO.id, YEN.id}


def test_missing_pair_or_too_fine_a_tick_is_refused() -> None:
    with pytest.raises(ConfigError, match="no instrument of the session is a rate between USD and"):
        find_pairs([EURO_SHARE, EURO], "USD", ["JPY"])
    fine = make_pair(EURUSD, "0.000000001")
    with pytest.raises(ConfigError, match="finer than 1e-8"):
        find_pairs([fine], "USD", ["EUR"])
