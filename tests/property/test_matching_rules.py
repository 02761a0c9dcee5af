"""The rules of bar matching, fees, slippage and latency: bounds, symmetry, and both hosts alike."""

from __future__ import annotations

import math
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.instrument import make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderType
from onetape.domain.timestamps import compute_month
from onetape.execution.simulated.bar_matching import (
    FILL_AT_OPEN,
    FILL_INSIDE,
    LIMIT_TOUCHED,
    LIMIT_TRADED_THROUGH,
    NO_FILL,
    TRIGGER_ONLY,
    compute_bar_capacity_lots,
    compute_bar_fill,
    compute_bar_window,
)
from onetape.execution.simulated.fee_presets import (
    make_alpaca_us,
    make_binance_spot,
    make_ibkr_us_fixed,
    make_ibkr_us_tiered,
)
from onetape.execution.simulated.fee_rules import (
    MonthVolume,
    add_month_volume,
    compute_affordable_lots,
    compute_fill_fee,
    compute_sale_fee,
    compute_volume,
    flat_ratio_e8,
)
from onetape.execution.simulated.fees import (
    BpsFees,
    FeeModel,
    FeeTier,
    PerContractFees,
    PerOrderFees,
    PerShareFees,
    TieredFees,
    build_fee_schedule,
)
from onetape.execution.simulated.latency import (
    LatencyModel,
    build_latency,
    compute_latency_key,
    compute_latency_ns,
)
from onetape.execution.simulated.slippage import (
    FixedSlippage,
    SlippageModel,
    SquareRootSlippage,
    VolumeSlippage,
    build_slippage,
    compute_slipped_ticks,
)
from tests.support.compiled_rules import compile_rule, make_record

TICK = 0.25
"""A tick that float64 holds exactly, so that mirrored bars are exact mirrors."""

FILLS = (FILL_AT_OPEN, FILL_INSIDE)


class BarPrices(NamedTuple):
    open_price: float
    high: float
    low: float
    close: float


class BarOrder(NamedTuple):
    order_type: int
    side_sign: int
    limit_ticks: int
    stop_ticks: int


@st.composite
def bars(draw: st.DrawFn, step: float = TICK / 4) -> BarPrices:
    """Bars around 100 ticks, on the tick grid or a quarter of a tick off it."""
    prices = [draw(st.integers(360, 440)) * step for _ in range(4)]
    return BarPrices(prices[0], max(prices), min(prices), prices[1])


ORDERS = st.builds(
    BarOrder,
    st.sampled_from([int(each) for each in OrderType]),
    st.sampled_from([1, -1]),
    st.integers(88, 112),
    st.integers(88, 112),
)
REACHES = st.sampled_from([LIMIT_TOUCHED, LIMIT_TRADED_THROUGH])


@given(bars(), ORDERS, REACHES)
def test_fill_lies_inside_the_bar_rounded_outward_to_the_grid(
    bar: BarPrices, order: BarOrder, reach: float
) -> None:
    code, ticks = compute_bar_fill(*order, *bar, TICK, reach)
    if code in FILLS:
        assert math.floor(bar.low / TICK) <= ticks <= math.ceil(bar.high / TICK)
    else:
        assert (code, ticks) in ((NO_FILL, 0), (TRIGGER_ONLY, 0))


@given(bars(), ORDERS, REACHES)
def test_fill_keeps_the_limit_and_never_beats_the_stop_or_the_open(
    bar: BarPrices, order: BarOrder, reach: float
) -> None:
    code, ticks = compute_bar_fill(*order, *bar, TICK, reach)
    side = order.side_sign
    if code not in FILLS:
        return
    if order.order_type in (OrderType.LIMIT, OrderType.STOP_LIMIT):
        assert (order.limit_ticks - ticks) * side >= 0
    if order.order_type == OrderType.STOP:
        assert (ticks - order.stop_ticks) * side >= 0
    if code == FILL_AT_OPEN:
        assert (ticks - bar.open_price / TICK) * side >= 0


@given(bars(), ORDERS, REACHES)
def test_fill_of_the_mirrored_order_in_the_mirrored_bar_is_the_mirror(
    bar: BarPrices, order: BarOrder, reach: float
) -> None:
    mirror = 200 * TICK
    mirrored_bar = (
        mirror - bar.open_price,
        mirror - bar.low,
        mirror - bar.high,
        mirror - bar.close,
    )
    mirrored_order = (
        order.order_type, -order.side_sign, 200 - order.limit_ticks, 200 - order.stop_ticks,
    )  # fmt: skip
    code, ticks = compute_bar_fill(*order, *bar, TICK, reach)
    mirrored = compute_bar_fill(*mirrored_order, *mirrored_bar, TICK, reach)
    assert mirrored == (code, 200 - ticks if code in FILLS else 0)


@given(bars(), ORDERS)
def test_touch_fills_whatever_trading_through_fills(bar: BarPrices, order: BarOrder) -> None:
    through, _ = compute_bar_fill(*order, *bar, TICK, LIMIT_TRADED_THROUGH)
    touch, _ = compute_bar_fill(*order, *bar, TICK, LIMIT_TOUCHED)
    assert touch in FILLS or through not in FILLS


@given(bars(), ORDERS, REACHES)
def test_easier_limit_and_nearer_stop_fill_whenever_the_harder_did(
    bar: BarPrices, order: BarOrder, reach: float
) -> None:
    code, _ = compute_bar_fill(*order, *bar, TICK, reach)
    easier = order._replace(
        limit_ticks=order.limit_ticks + order.side_sign,
        stop_ticks=order.stop_ticks
        - (order.side_sign if order.order_type == OrderType.STOP else 0),
    )
    assert code not in FILLS or compute_bar_fill(*easier, *bar, TICK, reach)[0] in FILLS


@given(st.integers(0, 40), st.integers(0, 20), st.integers(1, 20))
def test_bar_window_never_opens_before_the_arrival(arrival: int, ts_open: int, length: int) -> None:
    window = compute_bar_window(arrival, ts_open, ts_open + length)
    uses = {0: None, 1: ts_open + length, 2: ts_open}[window]
    assert uses is None or uses >= arrival


FEES: list[FeeModel] = [
    PerShareFees(rate="0.005", minimum=1, maximum_ratio="0.005"),
    PerOrderFees(amount=5),
    BpsFees(maker_bps=-1, taker_bps="7.5"),
    TieredFees(
        tiers=(
            FeeTier(from_notional=0, maker_bps=10, taker_bps=20),
            FeeTier(from_notional=10_000, maker_bps=1, taker_bps=2),
        )
    ),
    PerContractFees(rate="0.85", exchange_rate="1.38", minimum=1, maximum=50),
    make_ibkr_us_fixed(),
    make_ibkr_us_tiered(maker_rate="-0.0021"),
    make_alpaca_us(),
    make_binance_spot(3, pays_in_bnb=True),
]
SLIPPAGE: list[SlippageModel] = [
    FixedSlippage(bps=3, ticks=1),
    VolumeSlippage(base_bps=5, volume_factor="0.123"),
    SquareRootSlippage(coefficient="0.0777"),
]
SCHEDULES = [build_fee_schedule(model, make_equity("SPY.ARCX")) for model in FEES]
SCHEDULE_RECORDS = [make_record(schedule) for schedule in SCHEDULES]
SLIPPAGE_TERMS = [build_slippage(model) for model in SLIPPAGE]
SLIPPAGE_RECORDS = [make_record(terms) for terms in SLIPPAGE_TERMS]
NOTIONALS = st.integers(0, 10**15)


@settings(deadline=None)
@given(bars(step=0.01), ORDERS, REACHES, st.sampled_from([0.01, 0.25, 1e-8]))
def test_bar_fill_is_the_same_in_the_compiled_host(
    bar: BarPrices, order: BarOrder, reach: float, tick: float
) -> None:
    compiled = compile_rule(compute_bar_fill)(*order, *bar, tick, reach)
    assert compiled == compute_bar_fill(*order, *bar, tick, reach)


@settings(deadline=None)
@given(st.floats(0, 1e12), st.sampled_from([1.0, 0.001, 1e-8]), st.floats(0, 1))
def test_bar_capacity_is_the_same_in_the_compiled_host(
    volume: float, lot_size: float, ratio: float
) -> None:
    args = (volume, lot_size, ratio)
    assert compile_rule(compute_bar_capacity_lots)(*args) == compute_bar_capacity_lots(*args)


@settings(deadline=None)
@given(
    st.integers(0, len(FEES) - 1),
    st.tuples(
        st.sampled_from([1, -1]),
        st.integers(0, 1),
        st.integers(0, 10**6),
        NOTIONALS,
        st.integers(1, 10**6),
        NOTIONALS,
        st.one_of(NOTIONALS, st.integers(0, 2 * 10**16)),
        st.integers(0, 2 * 10**18),
    ),
)
def test_fill_fee_is_the_same_in_the_compiled_host(model: int, args: tuple[int, ...]) -> None:
    fee = compile_rule(compute_fill_fee)(SCHEDULE_RECORDS[model], *args)
    assert fee == compute_fill_fee(SCHEDULES[model], *args)


@settings(deadline=None)
@given(st.integers(0, len(FEES) - 1), st.integers(0, 10**6), NOTIONALS, st.integers(0, 2 * 10**18))
def test_sale_fee_and_volume_are_the_same_in_the_compiled_host(
    model: int, lots: int, notional: int, ts: int
) -> None:
    record, schedule = SCHEDULE_RECORDS[model], SCHEDULES[model]
    args = (lots, notional)
    assert compile_rule(compute_sale_fee)(record, *args, ts) == compute_sale_fee(
        schedule, *args, ts
    )
    volume = compute_volume(schedule, *args)
    assert compile_rule(compute_volume)(record, *args) == volume
    month, twin = MonthVolume(7, 11), make_record(MonthVolume(7, 11))
    before = compile_rule(add_month_volume)(twin, ts, volume)
    assert before == add_month_volume(month, ts, volume)
    assert (twin.month, twin.volume) == (month.month, month.volume)


@given(
    st.integers(0, len(FEES) - 1),
    st.sampled_from([1, -1]),
    st.integers(0, 1),
    st.integers(0, 10**6),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.integers(0, 2 * 10**16),
    st.integers(0, 2 * 10**18),
)
def test_more_lots_never_cost_less(
    model: int, side: int, liquidity: int, lots: int, more: int, ticks: int, month: int, ts: int
) -> None:
    """The promise that sizing at the fill stands on. Rebates (makers of two models) are apart."""
    schedule = SCHEDULES[model]
    if liquidity == 0 and min(schedule.maker_e8[0], schedule.maker_rate) < 0:
        return
    worth = ticks * 10**6
    fee = compute_fill_fee(schedule, side, liquidity, lots, lots * worth, more, more * worth,
                           month, ts)  # fmt: skip
    assert fee >= 0


@settings(deadline=None)
@given(
    st.integers(0, len(FEES) - 1),
    st.tuples(
        st.integers(0, 1),
        NOTIONALS,
        st.integers(1, 10**7),
        st.sampled_from([10**4, 10**6]),
        NOTIONALS,
    ),
)
def test_affordable_lots_are_the_same_in_the_compiled_host(
    model: int, args: tuple[int, ...]
) -> None:
    lots = compile_rule(compute_affordable_lots)(SCHEDULE_RECORDS[model], *args)
    assert lots == compute_affordable_lots(SCHEDULES[model], *args)


@settings(deadline=None)
@given(
    st.integers(0, len(SLIPPAGE) - 1),
    st.integers(1, 10**10),
    st.sampled_from([1, -1]),
    st.floats(0, 1e9),
    st.floats(0, 1e9),
)
def test_slipped_ticks_are_the_same_in_the_compiled_host(
    model: int, ticks: int, side: int, quantity: float, volume: float
) -> None:
    args = (ticks, side, quantity, volume)
    slipped = compile_rule(compute_slipped_ticks)(SLIPPAGE_RECORDS[model], *args)
    assert slipped == compute_slipped_ticks(SLIPPAGE_TERMS[model], *args)


@settings(deadline=None)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**40))
def test_latency_is_the_same_in_the_compiled_host(seed: int, counter: int) -> None:
    terms = build_latency(LatencyModel(mean_ms="10.5", std_ms="3.25"), seed)
    assert compile_rule(compute_latency_key)(seed) == compute_latency_key(seed)
    latency = compile_rule(compute_latency_ns)(make_record(terms), counter)
    assert latency == compute_latency_ns(terms, counter)


@settings(deadline=None)
@given(st.integers(-(2**61), 2**61))
def test_month_is_the_same_in_the_compiled_host(ts: int) -> None:
    assert compile_rule(compute_month)(ts) == compute_month(ts)


@given(
    bps=st.integers(-50, 500),
    lots=st.integers(1, 10**9),
    notional=st.integers(0, 2**62),
    liquidity=st.sampled_from([0, 1]),
    side=st.sampled_from([1, -1]),
    ts=st.integers(0, 2**61),
)
def test_flat_ratio_is_the_fee_of_the_rule(
    bps: int, lots: int, notional: int, liquidity: int, side: int, ts: int
) -> None:
    fees = BpsFees(maker_bps=bps, taker_bps=2 * bps)
    schedule = build_fee_schedule(fees, make_equity("AAPL.XNAS"))
    ratio = flat_ratio_e8(schedule, liquidity)
    assert ratio is not None
    fee = compute_fill_fee(schedule, side, liquidity, 0, 0, lots, notional, 0, ts)
    assert -(-notional * ratio // E8) == fee


def test_flat_ratio_is_none_of_any_other_schedule() -> None:
    tiers = (FeeTier(from_notional=0, maker_bps=5, taker_bps=10),
             FeeTier(from_notional=20_000, maker_bps=-1, taker_bps=4))  # fmt: skip
    for fees in (
        PerShareFees(rate="0.01"),
        PerShareFees(rate=0, minimum=1),
        PerShareFees(rate=0, maximum_ratio="0.01"),
        PerOrderFees(amount=1),
        TieredFees(tiers=tiers),
        PerShareFees(rate=0, maximum=1),
        PerContractFees(rate=0, exchange_rate=1),
        make_ibkr_us_tiered(),
        make_alpaca_us(),
    ):
        schedule = build_fee_schedule(fees, make_equity("AAPL.XNAS"))
        assert [flat_ratio_e8(schedule, each) for each in (0, 1)] == [None, None]
