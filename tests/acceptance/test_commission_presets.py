"""Ready commissions against the worked examples that brokers publish, to the cent.

- Interactive Brokers, Commissions, Stocks (interactivebrokers.co.uk, as of 2025): three examples of
  fixed pricing.
- Interactive Brokers, "Stock and ETF Fixed vs. Tiered Pricing Comparison Examples" (as of 2023,
  SEC fee 8.00 a million and TAF maximum 7.27): every line of two sales, and their totals.
- Alpaca, "REG/TAF Fee Updates with Alpaca" (alpaca.markets/blog/reg-taf-fees, as of 2024): 100
  shares sold at 100. Alpaca, "Pricing and fees" (support, 2020 and 2022): what is rounded up.
- Motif, "What are regulatory transaction fees" (2017): 10,000 of proceeds.
- GoTrade, "What is SEC & FINRA TAF fees" (2021): one share at 150.
- Brokerage Review, "TAF fee" (2024): 1,000 shares.
- Binance, announcements of 2021-12-15 and 2022-05-31: the table of rates, with and without BNB.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest

from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.numbers import E8, minor_to_decimal
from onetape.domain.orders import LiquiditySide, Side
from onetape.domain.timestamps import from_iso
from onetape.execution.simulated.fee_presets import (
    make_alpaca_us,
    make_binance_spot,
    make_ibkr_us_fixed,
    make_ibkr_us_tiered,
)
from onetape.execution.simulated.fee_rules import (
    compute_commission,
    compute_fill_fee,
    compute_sale_fee,
)
from onetape.execution.simulated.fees import FeeModel, build_fee_schedule
from tests.support.session_runs import run_session
from tests.support.timelines import AAPL, at_rows, flat, make_timeline

STOCK = make_equity("XYZ.XNAS")
MAKER, TAKER = LiquiditySide
CENT = Decimal("0.01")


def cost(
    model: FeeModel, side: Side, shares: int, price: str, day: str, liquidity: int = TAKER
) -> Decimal:
    """Fee of an order that is filled at once, when nothing was traded in the month before."""
    notional = int(shares * Decimal(price) * E8)
    schedule = build_fee_schedule(model, STOCK)
    return minor_to_decimal(
        compute_fill_fee(schedule, side, liquidity, 0, 0, shares, notional, 0, from_iso(day))
    )


def to_cents(amount: Decimal) -> Decimal:
    """As a statement shows it: to the nearest cent."""
    return amount.quantize(CENT, ROUND_HALF_UP)


@pytest.mark.parametrize(
    ("shares", "price", "commission"), [(100, "25", "1"), (1000, "25", "5"), (1000, "0.25", "2.5")]
)
def test_ibkr_fixed_charges_the_brokers_examples(shares: int, price: str, commission: str) -> None:
    fee = cost(make_ibkr_us_fixed(), Side.BUY, shares, price, "2025-06-02")
    assert fee == Decimal(commission)


@pytest.mark.parametrize(
    ("name", "shares", "price", "maker_rate", "liquidity", "tiered", "fixed"),
    [
        ("NASDAQ, remove", 30_000_000, "5", "0", TAKER, "139188.10", "151207.27"),
        ("NASDAQ, add", 30_000_000, "5", "-0.0021", MAKER, "-13811.90", "151207.27"),
        ("NASDAQ, small", 200_000, "5", "0", TAKER, "1355.78", "1015.27"),
    ],
)  # fmt: skip
def test_ibkr_charges_the_totals_of_the_comparison(
    name: str, shares: int, price: str, maker_rate: str, liquidity: int, tiered: str, fixed: str
) -> None:
    day = "2023-06-01"
    model = make_ibkr_us_tiered(maker_rate=maker_rate)
    assert to_cents(cost(model, Side.SELL, shares, price, day, liquidity)) == Decimal(tiered), name
    assert to_cents(cost(make_ibkr_us_fixed(), Side.SELL, shares, price, day)) == Decimal(fixed)


def test_ibkr_tiered_charges_each_line_of_the_comparison() -> None:
    schedule = build_fee_schedule(make_ibkr_us_tiered(), STOCK)
    shares, notional = 30_000_000, 150_000_000 * E8
    commission = compute_commission(schedule, TAKER, shares, notional, 0)
    assert minor_to_decimal(commission) == Decimal("41950")
    parts = [
        compute_commission(schedule, TAKER, each, each * 5 * E8, before * E8)
        for before, each in [
            (0, 300_000), (300_000, 2_700_000), (3_000_000, 17_000_000), (20_000_000, 10_000_000),
        ]
    ]  # fmt: skip
    assert [minor_to_decimal(part) for part in parts] == [1050, 5400, 25500, 10000]
    assert schedule.clearing_rate * shares == 6000 * E8
    assert to_cents(minor_to_decimal(commission) * Decimal("0.00056")) == Decimal("23.49")
    assert to_cents(minor_to_decimal(commission) * Decimal("0.000175")) == Decimal("7.34")
    assert schedule.pass_through_e8 == 56_000 + 17_500
    sold = compute_sale_fee(schedule, shares, notional, from_iso("2023-06-01"))
    assert minor_to_decimal(sold) == Decimal("1200") + Decimal("7.27")


@pytest.mark.parametrize(
    ("source", "day", "shares", "price", "sec", "taf"),
    [
        ("Alpaca 2024", "2024-02-01", 100, "100", "0.08", "0.02"),
        ("Motif 2017", "2017-08-01", 100, "100", "0.24", "0.02"),
        ("GoTrade 2021", "2021-06-01", 1, "150", "0.01", "0.01"),
        ("Brokerage Review 2024", "2024-03-01", 1000, "10", "0.08", "0.17"),
        ("Alpaca 2022, maximum", "2022-06-01", 1_000_000, "1", "22.90", "6.49"),
        ("no SEC fee in 2025", "2025-06-02", 100, "100", "0", "0.02"),
    ],
)
def test_alpaca_rounds_each_fee_of_a_sale_up_to_a_cent(
    source: str, day: str, shares: int, price: str, sec: str, taf: str
) -> None:
    fee = cost(make_alpaca_us(), Side.SELL, shares, price, day)
    assert fee == Decimal(sec) + Decimal(taf), source
    assert cost(make_alpaca_us(), Side.BUY, shares, price, day) == 0


def test_session_charges_the_sale_and_not_the_purchase() -> None:
    """Alpaca's example as a session: 100 shares bought and sold at 100 in January 2024."""
    timeline = make_timeline(flat(100.0, 100.0, 100.0, 100.0))
    trader = at_rows({0: lambda ctx: ctx.buy(AAPL, 100), 2: lambda ctx: ctx.sell(AAPL, 100)})
    run = run_session(timeline, trader, fees=make_alpaca_us())
    assert [(each.side, each.fee) for each in run.fills] == [
        (Side.BUY, 0), (Side.SELL, 10_000_000),
    ]  # fmt: skip


STANDARD = """
0  0.1000 0.1000  0.0750 0.0750
1  0.0900 0.1000  0.0675 0.0750
2  0.0800 0.1000  0.0600 0.0750
3  0.0700 0.1000  0.0525 0.0750
4  0.0700 0.0900  0.0525 0.0675
5  0.0600 0.0800  0.0450 0.0600
6  0.0500 0.0700  0.0375 0.0525
7  0.0400 0.0600  0.0300 0.0450
8  0.0300 0.0500  0.0225 0.0375
9  0.0200 0.0400  0.0150 0.0300
"""
"""VIP level, maker and taker in percent, and the same when paid in BNB."""


@pytest.mark.parametrize("row", STANDARD.split("\n")[1:-1])
def test_binance_charges_the_table_of_its_announcement(row: str) -> None:
    vip, *percents = row.split()
    coin = make_spot("BTCUSDT.BINANCE", base="BTC", quote="USDT", tick_size="0.01",
                     lot_size="0.00001")  # fmt: skip
    notional = 65_000 * E8
    fees = [
        compute_fill_fee(
            build_fee_schedule(make_binance_spot(int(vip), pays_in_bnb=bnb), coin),
            Side.BUY, liquidity, 0, 0, 100_000, notional, 0, 0,
        )
        for bnb in (False, True)
        for liquidity in (MAKER, TAKER)
    ]  # fmt: skip
    assert [minor_to_decimal(fee) for fee in fees] == [65_000 * Decimal(p) / 100 for p in percents]
