"""Margin schedules: ladders, Reg T, options; by tables from venues and by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.margin import Ladder, MarginSchedule, make_ladder, make_schedule
from onetape.domain.margin_rules import compute_short_option_margin
from onetape.domain.numbers import E8

# Binance, USDS-M futures, "Leverage and margin", BTCUSDT as published in 2023: bracket from,
# largest leverage, maintenance margin rate, and the maintenance amount that the table states.
BTCUSDT = """
              0  125    0.4            0
         50,000  100    0.5           50
        250,000   50    1.0        1,300
      1,000,000   20    2.5       16,300
     10,000,000   10    5.0      266,300
     20,000,000    5   10.0    1,266,300
     50,000,000    4   12.5    2,516,300
    100,000,000    3   15.0    5,016,300
    200,000,000    2   25.0   25,016,300
    300,000,000    1   50.0  100,016,300
"""
ROWS = [line.replace(",", "").split() for line in BTCUSDT.strip().splitlines()]


def make_btcusdt() -> MarginSchedule:
    return make_ladder(
        [
            Ladder(
                notional_from=Decimal(start),
                initial_pct=(Decimal(100) / int(leverage)).quantize(Decimal("1e-6")),
                maintenance_pct=Decimal(rate),
            )
            for start, leverage, rate, _ in ROWS
        ]
    )


def test_ladder_has_the_maintenance_amounts_that_the_venue_states() -> None:
    found = [each.deduction for each in make_btcusdt().long]
    assert found == [int(amount) * E8 for _, _, _, amount in ROWS]


# By hand: notional x rate of its tier - amount; initial: notional / largest leverage of its tier.
@pytest.mark.parametrize(
    ("notional", "initial", "maintenance"),
    [
        ("10,000", "80", "40"),
        ("50,000", "400", "200"),  # 50,000 is still in the first tier; both give 200
        ("100,000", "1,000", "450"),  # 500 - 50
        ("250,000", "2,500", "1,200"),
        ("500,000", "10,000", "3,700"),  # 5,000 - 1,300
        ("2,000,000", "100,000", "33,700"),  # 50,000 - 16,300
        ("400,000,000", "400,000,000", "99,983,700"),
    ],
)
def test_ladder_margin_of_a_notional(notional: str, initial: str, maintenance: str) -> None:
    schedule = make_btcusdt()
    size, first, held = (
        int(each.replace(",", "")) * E8 for each in (notional, initial, maintenance)
    )
    assert schedule.initial(size, 1) == schedule.initial(size, -1) == first
    assert schedule.maintenance(size, 1) == schedule.maintenance(size, -1) == held


@settings(max_examples=150)
@given(notional=st.integers(1, 500_000_000 * E8))
def test_ladder_margin_is_the_sum_of_its_parts(notional: int) -> None:
    """Every part of a notional needs the rate of the tier it is in."""
    starts = [int(row[0]) * E8 for row in ROWS] + [10**30]
    exact = Decimal(0)
    for at, (_, _, rate, _) in enumerate(ROWS):
        part = min(notional, starts[at + 1]) - starts[at]
        exact += max(0, part) * Decimal(rate) / 100
    found = make_btcusdt().maintenance(notional, 1)
    assert exact <= found < exact + 1


# Regulation T and FINRA rule 4210: shares bought for 10,000 need 5,000, held 2,500; shorted for
# 10,000 150 % of which 100 % are the proceeds: 5,000, and held 30 % as 130 %.
@pytest.mark.parametrize(
    ("lots", "initial", "maintenance"), [(1, 5_000, 2_500), (-1, 5_000, 3_000)]
)
def test_reg_t_margin_of_ten_thousand(lots: int, initial: int, maintenance: int) -> None:
    schedule = make_schedule(Decimal(50), Decimal(25), Decimal(50), Decimal(30))
    assert schedule.initial(10_000 * E8, lots) == initial * E8
    assert schedule.maintenance(10_000 * E8, lots) == maintenance * E8


# Cboe margin manual, short equity options, one contract of 100: premium + 20 % of the stock less
# what it is out of the money; at least 10 % of the stock (call) or of the strike (put).
@pytest.mark.parametrize(
    ("premium", "stock", "strike", "is_call", "margin"),
    [
        (300, 12_000, 11_500, True, 2_700),  # 300 + 2,400 - 0 out of the money
        (100, 12_000, 13_000, True, 1_500),  # 100 + 2,400 - 1,000
        (50, 12_000, 14_000, True, 1_250),  # 2,400 - 2,000 is less than 1,200
        (200, 9_500, 9_000, False, 1_600),  # 200 + 1,900 - 500
        (25, 9_500, 7_000, False, 725),  # 1,900 - 2,500 is less than 10 % of 7,000
    ],
)
def test_short_option_margin(
    premium: int, stock: int, strike: int, is_call: bool, margin: int
) -> None:
    beyond = max(0, strike - stock if is_call else stock - strike)
    base = stock if is_call else strike
    found = compute_short_option_margin(
        premium * E8, stock * E8, beyond * E8, base * E8, 20_000_000, 10_000_000
    )
    assert found == margin * E8


def test_a_ladder_that_does_not_rise_is_refused() -> None:
    def tier(start: str, initial: str, maintenance: str) -> Ladder:
        return Ladder(
            notional_from=Decimal(start),
            initial_pct=Decimal(initial),
            maintenance_pct=Decimal(maintenance),
        )

    for tiers, what in (
        ([], "begins with a tier from 0"),
        ([tier("10", "2", "1")], "begins with a tier from 0"),
        ([tier("0", "2", "1"), tier("0", "3", "2")], "from 0 does not rise"),
        ([tier("0", "2", "1"), tier("9", "1.5", "1")], "from 9 does not rise"),
        ([tier("0", "1", "2")], "2 % is more than the initial margin of 1 %"),
    ):
        with pytest.raises(ConfigError, match=what):
            make_ladder(tiers)
