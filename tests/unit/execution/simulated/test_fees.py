from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide
from onetape.domain.timestamps import from_iso
from onetape.execution.simulated.fee_rates import SaleRates
from onetape.execution.simulated.fee_rules import (
    FeeSchedule,
    MonthVolume,
    add_month_volume,
    compute_affordable_lots,
    compute_fill_fee,
    compute_order_fee,
    compute_sale_fee,
    compute_volume,
)
from onetape.execution.simulated.fees import (
    BpsFees,
    FeeModel,
    FeeTier,
    NoFees,
    PerContractFees,
    PerOrderFees,
    PerShareFees,
    PerShareTieredFees,
    SaleFees,
    ShareTier,
    TieredFees,
    build_fee_schedule,
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
CAPPED = PerShareFees(rate="0.01", minimum="1", maximum="29.95")
CONTRACT = PerContractFees(rate="0.85", exchange_rate="1.38", minimum="2", maximum="100")
STEPS = PerShareTieredFees(
    tiers=(
        ShareTier(from_quantity=0, rate="0.004"),
        ShareTier(from_quantity=1000, rate="0.002"),
        ShareTier(from_quantity=3000, rate="0.001"),
    ),
    minimum="0.5",
    maximum_ratio="0.01",
)
EXTRAS = PerShareTieredFees(
    tiers=(ShareTier(from_quantity=0, rate="0.004"),),
    maker_rate="-0.002",
    taker_rate="0.003",
    clearing_rate="0.0002",
    clearing_maximum_ratio="0.005",
    pass_through_ratio="0.001",
)
SALE_RATES = (
    SaleRates("2023-01-01", "0.00001", "0.0001", "5"),
    SaleRates("2024-01-01", "0.00002", "0.0002", "10"),
)
SALES = PerShareFees(rate=0, sales=SaleFees(rates=SALE_RATES))
CENTS = PerOrderFees(amount=1, sales=SaleFees(rates=SALE_RATES, round_up_to="0.01"))
MODELS: list[FeeModel] = [
    NoFees(), PER_SHARE, PER_ORDER, BPS, REBATE, TIERED, CAPPED, CONTRACT, STEPS, SALES, CENTS,
]  # fmt: skip


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
        (CAPPED,        TAKER,  99,     "9900",         "0",         "1"),
        (CAPPED,        TAKER,  2995,   "29950",        "0",         "29.95"),
        (CAPPED,        TAKER,  2996,   "29960",        "0",         "29.95"),
        (CONTRACT,      TAKER,  1,      "5000",         "0",         "3.38"),
        (CONTRACT,      MAKER,  10,     "50000",        "0",         "22.3"),
        (CONTRACT,      TAKER,  200,    "1000000",      "0",         "376"),
        (STEPS,         TAKER,  100,    "5000",         "0",         "0.5"),
        (STEPS,         TAKER,  100,    "10",           "0",         "0.1"),
        (STEPS,         TAKER,  1000,   "50000",        "0",         "4"),
        (STEPS,         TAKER,  1001,   "50050",        "0",         "4.002"),
        (STEPS,         MAKER,  5000,   "250000",       "0",         "10"),
        (STEPS,         MAKER,  500,    "25000",        "800",       "1.4"),
        (STEPS,         MAKER,  500,    "25000",        "-200",      "2"),
        (STEPS,         MAKER,  1000,   "50000",        "9000",      "1"),
        (EXTRAS,        TAKER,  1000,   "50000",        "0",         "7.204"),
        (EXTRAS,        MAKER,  1000,   "50000",        "0",         "2.204"),
        (EXTRAS,        TAKER,  1000,   "30",           "0",         "7.154"),
    ],
)  # fmt: skip
def test_order_fee_of_model_is_the_hand_number(
    model: FeeModel, side: int, lots: int, notional: str, month: str, fee: str
) -> None:
    schedule = build_fee_schedule(model, EQUITY)
    found = compute_order_fee(schedule, side, lots, minor(notional), minor(month))
    assert found == minor(fee)
    bought = compute_fill_fee(
        schedule, 1, side, 0, 0, lots, minor(notional), minor(month), from_iso("2024-01-01")
    )
    assert bought == found


@pytest.mark.parametrize(
    ("model", "lots",   "notional",  "since",               "fee"),
    [
        (SALES,   1000,     "50000",     "2024-01-01",          "1.2"),
        (SALES,   1000,     "50000",     "2023-12-31T23:59:59", "0.6"),
        (SALES,   1000,     "50000",     "2001-01-01",          "0.6"),
        (SALES,   1000,     "50000",     "2099-01-01",          "1.2"),
        (SALES,   1,        "0.00001",   "2024-01-01",          "0.00020001"),
        (SALES,   50000,    "0",         "2024-01-01",          "10"),
        (SALES,   50001,    "0",         "2024-01-01",          "10"),
        (SALES,   60000,    "0",         "2023-01-01",          "5"),
        (SALES,   0,        "0",         "2024-01-01",          "0"),
        (CENTS,   1,        "10",        "2024-01-01",          "0.02"),
        (CENTS,   50,       "500",       "2024-01-01",          "0.02"),
        (CENTS,   51,       "500.01",    "2024-01-01",          "0.04"),
        (BPS,     1000,     "50000",     "2024-01-01",          "0"),
    ],
)  # fmt: skip
def test_sale_fee_follows_the_day_and_stops_at_its_maximum(
    model: FeeModel, lots: int, notional: str, since: str, fee: str
) -> None:
    schedule = build_fee_schedule(model, EQUITY)
    ts = from_iso(since)
    assert compute_sale_fee(schedule, lots, minor(notional), ts) == minor(fee)
    bought, sold = (
        compute_fill_fee(schedule, side, TAKER, 0, 0, lots, minor(notional), 0, ts)
        for side in (1, -1)
    )
    assert sold - bought == minor(fee)


@given(
    st.sampled_from(MODELS),
    st.sampled_from([MAKER, TAKER]),
    st.lists(st.integers(1, 10_000), min_size=1, max_size=6),
    st.integers(1, 1_000_000),
    st.integers(0, 6_000_000 * E8),
    st.sampled_from([1, -1]),
)
def test_fill_fees_add_up_to_the_fee_of_the_order(
    model: FeeModel, side: int, fills: list[int], ticks: int, month: int, sign: int
) -> None:
    schedule = build_fee_schedule(model, EQUITY)
    ts = from_iso("2024-02-01")
    lots = notional = total = 0
    volume = month
    for fill in fills:
        worth = fill * ticks * CENT
        fee = compute_fill_fee(schedule, sign, side, lots, notional, fill, worth, volume, ts)
        assert fee >= 0 or model is REBATE
        total += fee
        lots += fill
        notional += worth
        if model is STEPS:  # the tiers of the notional are those before each fill
            volume += compute_volume(schedule, fill, worth)
    whole = compute_order_fee(schedule, side, lots, notional, month)
    if sign < 0:
        whole += compute_sale_fee(schedule, lots, notional, ts)
    assert total == whole


@given(st.lists(st.integers(1, 2500), min_size=1, max_size=8), st.integers(0, 2000))
def test_tier_commission_is_that_of_counting_share_by_share(orders: list[int], cut: int) -> None:
    """Naive twin: every share pays the rate of the tier that the month stands in before it."""
    free = msgspec.structs.replace(STEPS, minimum=0, maximum_ratio=None)
    schedule = build_fee_schedule(free, EQUITY)
    month = MonthVolume()
    shares = 0
    for lots in orders:
        naive = 0
        for share in range(shares, shares + lots):
            naive += 400_000 if share < 1000 else 200_000 if share < 3000 else 100_000
        shares += lots
        fee = filled = 0
        for part in (min(cut, lots - 1), lots - min(cut, lots - 1)):
            if part:
                volume = add_month_volume(month, 1, compute_volume(schedule, part, 0))
                fee += compute_fill_fee(schedule, 1, TAKER, filled, 0, part, 0, volume, 1)
                filled += part
        assert fee == naive


@given(
    st.builds(
        PerShareTieredFees,
        tiers=st.just(STEPS.tiers),
        minimum=st.sampled_from([0, "0.35", 1]),
        maximum=st.sampled_from([None, "7.5"]),
        maximum_ratio=st.sampled_from([None, "0.01", "0.00003"]),
        maker_rate=st.sampled_from([0, "-0.0021"]),
        taker_rate=st.sampled_from([0, "0.003"]),
        clearing_rate=st.sampled_from([0, "0.0002"]),
        clearing_maximum_ratio=st.sampled_from([1, "0.000001"]),
        pass_through_ratio=st.sampled_from([0, "0.000735"]),
        sales=st.sampled_from([None, SaleFees(rates=SALE_RATES)]),
    ),
    st.sampled_from([MAKER, TAKER]),
    st.sampled_from([1, -1]),
    st.integers(1, 10_000),
    st.integers(1, 100_000),
    st.integers(0, 5_000),
)
def test_fee_is_the_exact_one_rounded_up_by_less_than_a_unit_a_part(
    model: PerShareTieredFees, side: int, sign: int, lots: int, ticks: int, before: int
) -> None:
    """Naive twin: the words of the model in fractions, without any rounding."""
    notional = Fraction(lots * ticks, 100)
    commission = Fraction(0)
    ends = [*(Fraction(str(each.from_quantity)) for each in model.tiers[1:]), Fraction(10**9)]
    for tier, end in zip(model.tiers, ends, strict=True):
        start = max(Fraction(str(tier.from_quantity)), Fraction(before))
        commission += Fraction(str(tier.rate)) * max(min(end, before + lots) - start, 0)
    commission = max(commission, Fraction(str(model.minimum)))
    for bound, of in ((model.maximum, 1), (model.maximum_ratio, notional)):
        if bound is not None:
            commission = min(commission, Fraction(str(bound)) * of)
    exchange = Fraction(str(model.maker_rate if side == MAKER else model.taker_rate)) * lots
    clearing = min(
        Fraction(str(model.clearing_rate)) * lots,
        Fraction(str(model.clearing_maximum_ratio)) * notional,
    )
    exact = commission * (1 + Fraction(str(model.pass_through_ratio))) + exchange + clearing
    if model.sales is not None and sign < 0:
        exact += Fraction("0.00002") * notional + min(Fraction("0.0002") * lots, 10)
    schedule = build_fee_schedule(model, EQUITY)
    fee = compute_fill_fee(
        schedule, sign, side, 0, 0, lots, int(notional * E8), before * E8, from_iso("2024-06-01")
    )
    assert 0 <= Fraction(fee, E8) - exact < Fraction(8, E8)


def test_fill_fee_minimum_is_paid_once_by_the_first_fill() -> None:
    schedule = build_fee_schedule(PER_SHARE, EQUITY)
    first = compute_fill_fee(schedule, 1, TAKER, 0, 0, 100, minor("10000"), 0, 0)
    second = compute_fill_fee(schedule, 1, TAKER, 100, minor("10000"), 150, minor("15000"), 0, 0)
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


def test_month_volume_starts_again_at_the_month_border() -> None:
    month = MonthVolume()
    border = from_iso("2024-03-01")
    before = [
        add_month_volume(month, ts, notional)
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
        (PerShareFees(rate=1, maximum=-1), "execution.fees.maximum: -1 is negative"),
        (PerShareTieredFees(tiers=()), "execution.fees.tiers: fee tiers start at"),
        (PerShareTieredFees(tiers=STEPS.tiers[1:]), "let from_quantity rise"),
        (PerContractFees(rate=1, exchange_rate=-1), "execution.fees.exchange_rate: -1 is negative"),
        (
            PerOrderFees(amount=1, sales=SaleFees(rates=SALE_RATES, round_up_to=0)),
            "execution.fees.sales: sales round up to 0",
        ),
        (PerOrderFees(amount=1, sales=SaleFees(rates=())), "let the dates rise"),
        (PerOrderFees(amount=1, sales=SaleFees(rates=SALE_RATES[::-1])), "let the dates rise"),
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


def test_tiers_by_quantity_of_a_lot_finer_than_the_grid_are_refused() -> None:
    coin = make_spot("X-USD.X", base="X", quote="USD", tick_size="1000", lot_size="0.0000000001")
    with pytest.raises(ConfigError, match="is finer than 1e-8"):
        build_fee_schedule(STEPS, coin)


def test_tiers_by_quantity_count_fractions_of_a_share() -> None:
    part = make_equity("SPY.ARCX", lot_size="0.001")
    schedule = build_fee_schedule(STEPS, part)
    # 1.5 shares at 0.004 when 999 were traded: one whole and half a share in the next tier.
    fee = compute_order_fee(schedule, TAKER, 1_500, minor("1500"), 999 * E8)
    assert fee == minor("0.5")
    free = msgspec.structs.replace(schedule, minimum=0)
    assert compute_order_fee(free, TAKER, 1_500, minor("1500"), 999 * E8) == minor("0.005")
