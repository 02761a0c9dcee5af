"""The rules of fees: what an order costs, exact to the minor unit, in both hosts.

A fee belongs to an order as a whole; each fill pays what it adds, so partial fills cost together
what one fill would have cost. What is not exact is rounded up, against us.
"""

from __future__ import annotations

import msgspec

from onetape.domain.numbers import INT64_MAX, compute_ratio_ceil
from onetape.domain.rules import rule
from onetape.domain.timestamps import compute_month

_MAKER = 0


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Any fee model for one instrument, as integers: the record that the rules read.

    Amounts are minor units (`per_lot`: for one lot; `*_rate`: for one unit of quantity), ratios
    1e-8. Volumes are what a month has traded: 1e-8 of a unit of quantity if `by_quantity`, else
    minor units of notional.

    The commission is the sum of `per_order`, `per_lot`, the ratio of its tier and, by quantity, the
    rates of the tiers, within `minimum`, `maximum` and (if `is_capped`) `maximum_ratio_e8` of the
    notional; a maximum wins. On top come what the exchange takes (`maker_rate`, `taker_rate`;
    negative is a rebate), clearing up to a ratio of the notional, and `pass_through_e8` of the
    commission. A sale pays the rates of the period its time is in: a ratio of the notional, and a
    rate up to a maximum, each rounded up to a multiple of `sale_step`.

    The arrays of tiers have `tiers` entries, the first from 0; those of sales `sale_periods`, the
    first from the beginning of time.
    """

    per_order: int = 0
    per_lot: int = 0
    minimum: int = 0
    maximum: int = INT64_MAX
    is_capped: bool = False
    maximum_ratio_e8: int = 0
    lot_e8: int = 0
    tiers: int = 1
    tier_from: tuple[int, ...] = (0,)
    maker_e8: tuple[int, ...] = (0,)
    taker_e8: tuple[int, ...] = (0,)
    by_quantity: bool = False
    tier_rate: tuple[int, ...] = (0,)
    has_extras: bool = False
    maker_rate: int = 0
    taker_rate: int = 0
    clearing_rate: int = 0
    clearing_maximum_e8: int = 0
    pass_through_e8: int = 0
    sale_periods: int = 0
    sale_from: tuple[int, ...] = (0,)
    sale_e8: tuple[int, ...] = (0,)
    sale_rate: tuple[int, ...] = (0,)
    sale_maximum: tuple[int, ...] = (0,)
    sale_step: int = 1


class MonthVolume(msgspec.Struct):
    """What was traded so far in `month`, a calendar month as `compute_month` counts.

    `volume` is in the unit that the `FeeSchedule` counts.
    """

    month: int = -INT64_MAX
    volume: int = 0


@rule
def compute_tier_commission(schedule: FeeSchedule, before: int, quantity: int) -> int:
    """Commission (minor) of `quantity` (1e-8) when the month had `before`, tier by tier.

    Each part pays the rate of the tier it is in; a part is rounded up. Source: Interactive Brokers,
    tiered pricing, "applied on a marginal basis for a given calendar month".
    """
    fee = 0
    end = before + quantity
    tier = schedule.tiers - 1
    while tier >= 0:
        start = before
        if tier > 0:
            start = max(before, schedule.tier_from[tier])
        if end > start:
            fee += compute_ratio_ceil(end - start, schedule.tier_rate[tier])
            end = start
        tier -= 1
    return fee


@rule
def compute_commission(
    schedule: FeeSchedule, liquidity: int, lots: int, notional: int, month_volume: int
) -> int:
    """What the broker keeps (minor) of an order, as `FeeSchedule` tells it. Ours."""
    fee = schedule.per_order + schedule.per_lot * lots
    if schedule.by_quantity:
        fee += compute_tier_commission(schedule, month_volume, lots * schedule.lot_e8)
    else:
        tier = schedule.tiers - 1
        while month_volume < schedule.tier_from[tier]:
            tier -= 1
        ratio_e8 = schedule.maker_e8[tier] if liquidity == _MAKER else schedule.taker_e8[tier]
        if ratio_e8 != 0:
            fee += compute_ratio_ceil(notional, ratio_e8)
    if fee < schedule.minimum and schedule.minimum > 0:
        fee = schedule.minimum
    fee = min(fee, schedule.maximum)
    if schedule.is_capped:
        fee = min(fee, compute_ratio_ceil(notional, schedule.maximum_ratio_e8))
    return fee


@rule
def compute_order_fee(
    schedule: FeeSchedule, liquidity: int, lots: int, notional: int, month_volume: int
) -> int:
    """Fee (minor) of an order that filled `lots` worth `notional` (minor, not negative) in all.

    Without what only sales pay. `liquidity` is a `LiquiditySide`, `month_volume` what the month had
    before. Never falls when lots and notional grow, unless a rebate is paid. Ours.
    """
    if lots == 0:
        return 0
    fee = compute_commission(schedule, liquidity, lots, notional, month_volume)
    if schedule.has_extras:
        quantity = lots * schedule.lot_e8
        clearing = compute_ratio_ceil(quantity, schedule.clearing_rate)
        clearing = min(clearing, compute_ratio_ceil(notional, schedule.clearing_maximum_e8))
        rate = schedule.maker_rate if liquidity == _MAKER else schedule.taker_rate
        passed = compute_ratio_ceil(fee, schedule.pass_through_e8)
        fee += clearing + passed + compute_ratio_ceil(quantity, rate)
    return fee


@rule
def compute_sale_fee(schedule: FeeSchedule, lots: int, notional: int, ts: int) -> int:
    """What an order that sold `lots` worth `notional` (minor) in all pays for selling (minor).

    `ts` (ns UTC) tells which rates hold. Source: Securities Exchange Act, section 31 (a ratio of
    the proceeds); FINRA By-Laws, Schedule A, section 1 (a rate a share, with a maximum a trade). An
    order counts as one trade.
    """
    if lots == 0 or schedule.sale_periods == 0:
        return 0
    period = schedule.sale_periods - 1
    while period > 0 and ts < schedule.sale_from[period]:
        period -= 1
    step = schedule.sale_step
    on_notional = compute_ratio_ceil(notional, schedule.sale_e8[period])
    on_lots = compute_ratio_ceil(lots * schedule.lot_e8, schedule.sale_rate[period])
    on_lots = min(-(-on_lots // step) * step, schedule.sale_maximum[period])
    return -(-on_notional // step) * step + on_lots


@rule
def compute_fill_fee(
    schedule: FeeSchedule,
    side_sign: int,
    liquidity: int,
    lots_before: int,
    notional_before: int,
    lots: int,
    notional: int,
    month_volume: int,
    ts: int,
) -> int:
    """Fee (minor) that a fill of `lots` at `ts` (ns UTC) adds to an order that had `lots_before`.

    `month_volume` is what the month had before the fill. At one rate the fees of an order's fills
    add up exactly to the fee of the whole order. Where the rate changes between fills (maker and
    taker, tiers of the notional, dates) each fill pays its own rate, and the sum is exact to less
    than one minor unit a change. Ours.
    """
    month = month_volume
    if schedule.by_quantity:  # its tiers begin where the order began
        month -= lots_before * schedule.lot_e8
    all_lots = lots_before + lots
    all_notional = notional_before + notional
    fee = compute_order_fee(schedule, liquidity, all_lots, all_notional, month)
    if lots_before != 0:
        fee -= compute_order_fee(schedule, liquidity, lots_before, notional_before, month)
    if side_sign < 0 and schedule.sale_periods > 0:
        fee += compute_sale_fee(schedule, all_lots, all_notional, ts)
        fee -= compute_sale_fee(schedule, lots_before, notional_before, ts)
    return fee


@rule
def compute_affordable_lots(
    schedule: FeeSchedule,
    liquidity: int,
    budget: int,
    ticks: int,
    minor_per_tick_lot: int,
    month_volume: int,
) -> int:
    """Largest lots of a new buy with `lots * ticks * minor_per_tick_lot + fee <= budget`. Ours.

    0 when nothing is affordable or the price is not positive. A rebate is not spent before it is
    received. Fee and cost grow with lots, so the fee at an upper bound gives a lower bound and the
    other way round; the bounds meet after one round in the usual case, and halving what is left
    between them ends every case in O(log lots).
    """
    lot_notional = ticks * minor_per_tick_lot
    if budget <= 0 or lot_notional <= 0:
        return 0
    low = 0
    high = budget // lot_notional
    while low < high:
        fee = compute_order_fee(schedule, liquidity, high, high * lot_notional, month_volume)
        low = max(low, min(high, (budget - max(fee, 0)) // lot_notional))
        if low < high:
            fee = compute_order_fee(schedule, liquidity, low, low * lot_notional, month_volume)
            high = min(high, (budget - max(fee, 0)) // lot_notional)
        if low < high:
            middle = (low + high + 1) // 2
            cost = middle * lot_notional
            fee = compute_order_fee(schedule, liquidity, middle, cost, month_volume)
            if cost + max(fee, 0) <= budget:
                low = middle
            else:
                high = middle - 1
    return low


@rule
def compute_volume(schedule: FeeSchedule, lots: int, notional: int) -> int:
    """What a fill adds to the volume of its month, in the unit that the schedule counts. Ours."""
    return lots * schedule.lot_e8 if schedule.by_quantity else notional


@rule
def add_month_volume(month: MonthVolume, ts: int, volume: int) -> int:
    """Counts a trade at `ts` (never back); returns what its month had before it. Ours."""
    number = compute_month(ts)
    if number > month.month:
        month.month = number
        month.volume = 0
    before = month.volume
    month.volume = before + volume
    return before


def flat_ratio_e8(schedule: FeeSchedule, liquidity: int) -> int | None:
    """The ratio of a schedule that charges nothing but one share of the notional, else None.

    The fee of lots worth `notional` is then `-(-notional * ratio // E8)`: `compute_fill_fee` in
    one line, where integers have no bounds. `tests/property/test_matching_rules.py` compares them.
    """
    is_flat = (
        schedule.tiers == 1
        and schedule.per_order == schedule.per_lot == schedule.sale_periods == 0
        and schedule.minimum <= 0
        and schedule.maximum == INT64_MAX
        and not (schedule.is_capped or schedule.by_quantity or schedule.has_extras)
    )
    ratios = schedule.maker_e8 if liquidity == _MAKER else schedule.taker_e8
    return ratios[0] if is_flat else None
