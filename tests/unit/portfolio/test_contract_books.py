"""Perpetuals in the books: notionals, cost, realized PnL and funding by hand-worked tables."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import OrderFilled, SettlementKind
from onetape.domain.instrument import Instrument
from onetape.domain.notional import (
    compute_fill_notional,
    compute_inverse_notional,
    compute_notional,
    compute_value,
)
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide, Side
from onetape.portfolio.funding import compute_funding
from onetape.portfolio.ledger import Ledger
from tests.support.contracts import INVERSE, LINEAR

COIN = INVERSE.inverse_factor
"""100 dollars in ticks of 0.5: 200 ticks x 1e8."""


def test_factors_of_an_inverse_contract() -> None:
    assert COIN == 100 * 2 * E8
    assert LINEAR.inverse_factor == 0
    assert INVERSE.settlement_currency == "BTC"
    assert LINEAR.settlement_currency == "USD"


# 100 dollars a contract: at 50,000.0 (100,000 ticks) 0.002 BTC each; at 30,000.0 0.00333333..
@pytest.mark.parametrize(
    ("lots", "ticks", "side", "notional"),
    [
        (1, 100_000, +1, 200_000),
        (7, 100_000, -1, 1_400_000),
        (1, 60_000, +1, 333_333),  # a buy is worth less,
        (1, 60_000, -1, 333_334),  # a sale costs more: against us
        (3, 60_000, +1, 1_000_000),
        (10, 70_001, +1, 2_857_102),  # 2,857,102.04
        (10, 70_001, -1, 2_857_103),
    ],
)
def test_inverse_notional_is_rounded_against_us(
    lots: int, ticks: int, side: int, notional: int
) -> None:
    assert compute_fill_notional(lots, ticks, 0, COIN, side) == notional


@settings(max_examples=150)
@given(
    lots=st.integers(1, 2_147_483_647),
    ticks=st.integers(1, 2_000_000_000),
    factor=st.integers(1, 2**40),
)
def test_inverse_notional_is_the_exact_quotient_rounded(lots: int, ticks: int, factor: int) -> None:
    exact = Fraction(lots * factor, ticks)
    assert compute_inverse_notional(lots, ticks, factor) == floor(exact)
    assert compute_notional(lots, ticks, 0, factor) == ceil(exact)
    assert compute_value(lots, ticks, 0, factor) == floor(-exact)
    assert compute_value(-lots, ticks, 0, factor) == floor(exact)


# Binance, "Introduction to funding": 0.1 BTC at a mark of 50,000 is 5,000; at 0.01 % longs pay
# 0.50.
# Of 1,000 inverse contracts at 50,000.0 the notional is 2 BTC, 0.01 % of it 0.0002 BTC.
@pytest.mark.parametrize(
    ("instrument", "lots", "ticks", "rate_e10", "amount"),
    [
        (LINEAR, +100, 500_000, +1_000_000, -50_000_000),
        (LINEAR, -100, 500_000, +1_000_000, +50_000_000),
        (LINEAR, +100, 500_000, -1_000_000, +50_000_000),
        (LINEAR, +1, 500_000, +1, -1),  # 50 x 1e-10 = 0.5 minor units: paid whole,
        (LINEAR, -1, 500_000, +1, 0),  # and not received
        (INVERSE, +1_000, 100_000, +1_000_000, -20_000),
        (INVERSE, -1_000, 100_000, +1_000_000, +20_000),
        (INVERSE, +1, 60_000, +1_000_000, -34),  # 333,334 x 1e-4 = 33.3334
        (INVERSE, -1, 60_000, +1_000_000, +33),
        (INVERSE, +1, 60_000, 0, 0),
    ],
)
def test_funding_of_a_position(
    instrument: Instrument, lots: int, ticks: int, rate_e10: int, amount: int
) -> None:
    factor, inverse_factor = instrument.minor_per_tick_lot, instrument.inverse_factor
    assert compute_funding(lots, ticks, factor, inverse_factor, rate_e10) == amount


@settings(max_examples=150)
@given(
    lots=st.integers(-2_000_000, 2_000_000),
    ticks=st.integers(1, 10_000_000),
    rate_e10=st.integers(-899_999_999, 899_999_999),
    instrument=st.sampled_from([LINEAR, INVERSE]),
)
def test_funding_is_never_in_our_favor(
    lots: int, ticks: int, rate_e10: int, instrument: Instrument
) -> None:
    factor, inverse_factor = instrument.minor_per_tick_lot, instrument.inverse_factor
    notional = Fraction(lots * inverse_factor, ticks) if inverse_factor else lots * ticks * factor
    exact = -notional * Fraction(rate_e10, 10**10)
    amount = compute_funding(lots, ticks, factor, inverse_factor, rate_e10)
    assert exact - 2 < amount <= exact


def fill(instrument: Instrument, lots: int, ticks: int, fee: int = 0) -> OrderFilled:
    side = Side.BUY if lots > 0 else Side.SELL
    notional = compute_fill_notional(
        abs(lots), ticks, instrument.minor_per_tick_lot, instrument.inverse_factor, side
    )
    return OrderFilled(
        "o", "s", instrument.id, side, abs(lots), ticks, notional, fee, LiquiditySide.TAKER, 0, 0
    )


# A contract of 0.001 BTC moves a cent a tick: 1e7 minor units. Cash begins at 1,000.00.
#
#   fill          price     fee  position      cost  realized      cash
LINEAR_FILLS = """
    buy  100   50,000.0    2.00      +100  5,000.00      0.00    998.00
    buy  100   51,000.0    2.04      +200 10,100.00      0.00    995.96
    sell  50   52,000.0    1.04      +150  7,575.00     75.00  1,069.92
    sell 250   49,000.0    4.90      -100 -4,900.00   -225.00    840.02
    buy  100   48,500.0    1.94         0      0.00     50.00    888.08
"""

# 100 dollars a contract; the cost is what was received in coin, negative for a long.
#
#   fill          price       fee  position        cost    realized        cash
INVERSE_FILLS = """
    buy  100   50,000.0   0.0001      +100 -0.20000000  0.00000000  0.99990000
    sell  40   40,000.0   0.0000       +60 -0.12000000 -0.02000000  0.97990000
    buy   60   60,000.0   0.0000      +120 -0.22000000  0.00000000  0.97990000
    sell 200   30,000.0   0.0000       -80  0.26666667 -0.18000000  0.79990000
    buy   80   25,000.0   0.0000         0  0.00000000  0.05333333  0.85323333
"""


def minor(text: str) -> int:
    return round(Fraction(text.replace(",", "")) * E8)


@pytest.mark.parametrize(
    ("instrument", "table", "cash"), [(LINEAR, LINEAR_FILLS, 1000), (INVERSE, INVERSE_FILLS, 1)]
)
def test_fills_of_a_perpetual_move_only_what_they_realize(
    instrument: Instrument, table: str, cash: int
) -> None:
    ledger = Ledger("s", instrument.settlement_currency, [instrument])
    ledger.deposit(cash * E8)
    for line in table.strip().splitlines():
        side, lots, price, fee, *expected = line.split()
        signed = int(lots) if side == "buy" else -int(lots)
        ticks = instrument.price_to_ticks(price.replace(",", ""))
        change = ledger.apply(fill(instrument, signed, ticks, minor(fee)))
        found = (change.lots, change.cost, change.realized, change.cash)
        assert found == (int(expected[0]), *map(minor, expected[1:])), line
        assert ledger.inventory == 0
    assert not ledger.held


def test_worth_of_an_inverse_position_is_its_gain_in_coin() -> None:
    ledger = Ledger("s", "BTC", [INVERSE])
    ledger.apply(fill(INVERSE, 100, 100_000))
    position = ledger.positions[INVERSE.id]
    assert position.worth(200_000) == 10_000_000  # 0.2 - 0.1 BTC
    assert position.worth(50_000) == -20_000_000
    assert position.exposure(200_000) == 10_000_000
    assert position.exposure(100_000) == 20_000_000


def test_settling_at_a_price_moves_the_gain_to_cash_once() -> None:
    ledger = Ledger("s", "USD", [LINEAR])
    ledger.deposit(1_000 * E8)
    ledger.apply(fill(LINEAR, 100, 500_000))
    first = ledger.settle(LINEAR.id, SettlementKind.VARIATION, 0, 505_000, 0)
    again = ledger.settle(LINEAR.id, SettlementKind.VARIATION, 0, 505_000, 0)
    assert (first.amount, first.realized, first.cost) == (50 * E8, 50 * E8, 5_050 * E8)
    assert (again.amount, again.cash) == (0, 1_050 * E8)
