from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide
from onetape.domain.timestamps import from_iso
from onetape.execution.simulated.fees import (
    BpsFees,
    FeeModel,
    FeeSchedule,
    FeeTier,
    MonthNotional,
    NoFees,
    PerOrderFees,
    PerShareFees,
    TieredFees,
    add_month_notional,
    build_fee_schedule,
    compute_affordable_lots,
    compute_fill_fee,
    compute_order_fee,
)

MAKER, TAKER = int(LiquiditySide.MAKER), int(LiquiditySide.TAKER)
EQUITY = make_equity("SPY.ARCX")
CENT = 1_000_000

PER_SHARE = PerShareFees(rate="0.005", minimum="1.00", maximum_ratio="0.005")
PER_ORDER = PerOrderFees(amount="4.95")
FLAT_MINIMUM = PerShareFees(rate=0, minimum=1)
DEAR_SHARES = PerShareFees(rate="2.5", minimum=1)
DEAR_BPS = BpsFees(maker_bps=5000, taker_bps=9999)
BPS = BpsFees(maker_bps=2, taker_bps=10)
REBATE = BpsFees(maker_bps="-0.5", taker_bps=3)
TIERED = TieredFees(
    tiers=(
        FeeTier(from_notional=0, maker_bps=10, taker_bps=20),
        FeeTier(from_notional=1_000_000, maker_bps=5, taker_bps=10),
        FeeTier(from_notional=5_000_000, maker_bps=0, taker_bps=4),
    )
)
MODELS: list[FeeModel] = [NoFees(), PER_SHARE, PER_ORDER, BPS, REBATE, TIERED]


def minor(amount: str) -> int:
    return int(Decimal(amount) * E8)


@pytest.mark.parametrize(
    ("model",          "side", "lots", "notional",     "month",     "fee"),
    [
        (NoFees(),      TAKER,  100,    "10000",        "0",         "0"),
        (PER_ORDER,     MAKER,  1,      "1",            "0",         "4.95"),
        (PER_SHARE,     TAKER,  697,    "99930.55",     "0",         "3.485"),
        (PER_SHARE,     TAKER,  200,    "20000",        "0",         "1"),
        (PER_SHARE,     TAKER,  201,    "20100",        "0",         "1.005"),
        (PER_SHARE,     TAKER,  1,      "10",           "0",         "0.05"),
        (PER_SHARE,     TAKER,  1000,   "10",           "0",         "0.05"),
        (PER_SHARE,     TAKER,  0,      "0",            "0",         "0"),
        (PER_ORDER,     TAKER,  0,      "0",            "0",         "0"),
        (FLAT_MINIMUM,  TAKER,  0,      "0",            "0",         "0"),
        (FLAT_MINIMUM,  TAKER,  1,      "0.01",         "0",         "1"),
        (BPS,           TAKER,  1,      "12345.67",     "0",         "12.34567"),
        (BPS,           MAKER,  1,      "12345.67",     "0",         "2.469134"),
        (BPS,           TAKER,  1,      "0.00000001",   "0",         "0.00000001"),
        (BPS,           TAKER,  1,      "0.00001001",   "0",         "0.00000002"),
        (REBATE,        MAKER,  1,      "100",          "0",         "-0.005"),
        (REBATE,        MAKER,  1,      "0.00019999",   "0",         "0"),
        (TIERED,        TAKER,  1,      "1000",         "999999.99", "2"),
        (TIERED,        TAKER,  1,      "1000",         "1000000",   "1"),
        (TIERED,        MAKER,  1,      "1000",         "4999999",   "0.5"),
        (TIERED,        MAKER,  1,      "1000",         "9000000",   "0"),
    ],
)  # fmt: skip
def test_order_fee_of_model_is_the_hand_number(
    model: FeeModel, side: int, lots: int, notional: str, month: str, fee: str
) -> None:
    schedule = build_fee_schedule(model, EQUITY)
    assert compute_order_fee(schedule, side, lots, minor(notional), minor(month)) == minor(fee)


@given(
    st.sampled_from(MODELS),
    st.sampled_from([MAKER, TAKER]),
    st.lists(st.integers(1, 10_000), min_size=1, max_size=6),
    st.integers(1, 1_000_000),
    st.integers(0, 6_000_000 * E8),
)
def test_fill_fees_add_up_to_the_fee_of_the_order(
    model: FeeModel, side: int, fills: list[int], ticks: int, month: int
) -> None:
    schedule = build_fee_schedule(model, EQUITY)
    lots = notional = total = 0
    for fill in fills:
        worth = fill * ticks * CENT
        fee = compute_fill_fee(schedule, side, lots, notional, fill, worth, month)
        assert fee >= 0 or model is REBATE
        total += fee
        lots += fill
        notional += worth
    assert total == compute_order_fee(schedule, side, lots, notional, month)


def test_fill_fee_minimum_is_paid_once_by_the_first_fill() -> None:
    schedule = build_fee_schedule(PER_SHARE, EQUITY)
    first = compute_fill_fee(schedule, TAKER, 0, 0, 100, minor("10000"), 0)
    second = compute_fill_fee(schedule, TAKER, 100, minor("10000"), 150, minor("15000"), 0)
    assert (first, second) == (minor("1"), minor("0.25"))


def naive_affordable_lots(
    schedule: FeeSchedule, side: int, budget: int, ticks: int, factor: int, month: int
) -> int:
    lots = 0
    while True:
        worth = (lots + 1) * ticks * factor
        fee = max(0, compute_order_fee(schedule, side, lots + 1, worth, month))
        if worth + fee > budget:
            return lots
        lots += 1


@given(
    st.sampled_from([*MODELS, DEAR_SHARES, DEAR_BPS]),
    st.sampled_from([MAKER, TAKER]),
    st.integers(-10, 300),
    st.integers(-1, 300),
    st.integers(0, 6_000_000 * E8),
    st.integers(-1, 1),
)  # fmt: skip
def test_affordable_lots_equal_counting_up(
    model: FeeModel, side: int, lots: int, ticks: int, month: int, offset: int
) -> None:
    schedule = build_fee_schedule(model, EQUITY)
    worth = lots * ticks * CENT
    budget = worth + compute_order_fee(schedule, side, lots, abs(worth), month) + offset
    want = naive_affordable_lots(schedule, side, budget, ticks, CENT, month) if ticks > 0 else 0
    assert compute_affordable_lots(schedule, side, budget, ticks, CENT, month) == want


@given(
    st.sampled_from(MODELS),
    st.integers(0, 10_000_000 * E8),
    st.integers(1, 10_000_000),
    st.sampled_from([1, 7, 100, CENT]),
)
def test_affordable_lots_fit_the_budget_and_one_more_would_not(
    model: FeeModel, budget: int, ticks: int, factor: int
) -> None:
    schedule = build_fee_schedule(model, EQUITY)
    lots = compute_affordable_lots(schedule, TAKER, budget, ticks, factor, 0)

    def cost(count: int) -> int:
        worth = count * ticks * factor
        return worth + max(0, compute_order_fee(schedule, TAKER, count, worth, 0))

    assert (cost(lots) <= budget < cost(lots + 1)) or (lots == 0 and budget < cost(1))


def test_affordable_lots_of_the_reference_sizing_is_697_shares() -> None:
    # Acceptance case A02: 0.25 % of 100,000 kept free; the close of 2013-10-08, dividend-adjusted.
    spy = make_equity("SPY.ARCX", tick_size="0.00000001")
    schedule = build_fee_schedule(PER_SHARE, spy)
    ticks = minor("143.07840977")
    assert compute_affordable_lots(schedule, TAKER, minor("99750"), ticks, 1, 0) == 697


def test_month_notional_starts_again_at_the_month_border() -> None:
    month = MonthNotional()
    border = from_iso("2024-03-01")
    before = [
        add_month_notional(month, ts, notional)
        for ts, notional in [(border - 2, 100), (border - 1, 10), (border, 7), (border + 1, 1)]
    ]
    assert before == [0, 100, 0, 7]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (PerShareFees(rate=-1), "execution.fees.rate: -1 is negative"),
        (PerShareFees(rate=1, minimum="1e-9"), "execution.fees.minimum 1E-9 is off the grid"),
        (PerShareFees(rate=1, maximum_ratio=-1), "execution.fees.maximum_ratio: -1 is negative"),
        (PerOrderFees(amount="x"), "execution.fees.amount 'x' is not a number"),
        (
            BpsFees(maker_bps=0, taker_bps=10_000),
            "execution.fees.taker_bps: 10000 bps is the whole",
        ),
        (TieredFees(tiers=()), "execution.fees.tiers: fee tiers start at"),
        (TieredFees(tiers=TIERED.tiers[1:]), "start the first tier at 0"),
        (TieredFees(tiers=TIERED.tiers[:1] * 2), "let from_notional rise"),
    ],
)
def test_schedule_of_bad_values_is_refused_with_place_and_remedy(
    model: FeeModel, message: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        build_fee_schedule(model, EQUITY)
    assert message in str(refused.value)


def test_schedule_whose_lot_rate_is_not_whole_is_refused() -> None:
    coin = make_spot("BTC-USD.X", base="BTC", quote="USD", tick_size="0.01", lot_size="0.000001")
    with pytest.raises(ConfigError, match=r"0\.50* minor units .* a lot, not a whole number"):
        build_fee_schedule(PER_SHARE, coin)
