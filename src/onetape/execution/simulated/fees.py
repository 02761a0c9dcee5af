"""Fees of the simulated venue: what an order costs, exact to the minor unit.

A fee belongs to an order as a whole; each fill pays what it adds, so partial fills cost together
what one fill would have cost. Every model becomes one `FeeSchedule` of integers, and one rule reads
it in both hosts. What is not exact is rounded up, against us.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import (
    INT64_MAX,
    Number,
    compute_ratio_ceil,
    to_decimal,
    to_minor,
    to_ratio_e8,
)
from onetape.domain.rules import rule
from onetape.domain.timestamps import compute_month

_MAKER = 0


class NoFees(msgspec.Struct, frozen=True, tag="none", tag_field="model"):
    """Trading is free.

    Fills when: every fill; the fee is 0.
    Ignores: everything a venue or broker charges.
    Units: none.
    Source: ours.
    """


class PerShareFees(msgspec.Struct, frozen=True, kw_only=True, tag="per_share", tag_field="model"):
    """`min(max(rate * quantity, minimum), maximum_ratio * notional)` an order; the maximum wins.

    Fills when: every fill; maker and taker pay alike.
    Ignores: exchange, clearing and regulatory fees; volume discounts.
    Units: `rate` currency per unit of quantity, `minimum` currency per order, `maximum_ratio`
        fraction of the order's notional (absent: no maximum).
    Source: Interactive Brokers, fixed pricing for US stocks ("the maximum per order will be
        assessed" where it is below the minimum).
    """

    rate: Number
    minimum: Number = 0
    maximum_ratio: Number | None = None


class PerOrderFees(msgspec.Struct, frozen=True, kw_only=True, tag="per_order", tag_field="model"):
    """A fixed amount an order, paid by its first fill.

    Fills when: the first fill of an order.
    Ignores: size, price, maker or taker.
    Units: `amount` currency per order.
    Source: ours (flat-rate brokers).
    """

    amount: Number


class BpsFees(msgspec.Struct, frozen=True, kw_only=True, tag="bps", tag_field="model"):
    """A share of the notional, by who gave liquidity. A negative share is a rebate.

    Fills when: every fill, at the share of its liquidity side.
    Ignores: discounts, minimum charges, fees in other currencies.
    Units: basis points of the notional.
    Source: ours (the maker/taker schedule of most crypto venues).
    """

    maker_bps: Number
    taker_bps: Number


class FeeTier(msgspec.Struct, frozen=True, kw_only=True):
    """Shares that hold from a month's traded notional (currency) on."""

    from_notional: Number
    maker_bps: Number
    taker_bps: Number


class TieredFees(msgspec.Struct, frozen=True, kw_only=True, tag="tiered", tag_field="model"):
    """A share of the notional that depends on what was traded before in the calendar month (UTC).

    Fills when: every fill, at the tier in which the month stands before it.
    Ignores: rolling 30-day windows, tiers by holdings, retroactive discounts.
    Units: `from_notional` currency, ascending from 0; basis points of the notional.
    Source: ours (the volume schedules of brokers and crypto venues).
    """

    tiers: tuple[FeeTier, ...]


FeeModel = NoFees | PerShareFees | PerOrderFees | BpsFees | TieredFees


class FeeSchedule(msgspec.Struct, frozen=True, kw_only=True):
    """Any fee model for one instrument, as integers: the record that the rules read.

    Amounts are minor units (`per_lot`: for one lot), ratios 1e-8. The three `tier_*` and `*_e8`
    arrays have `tiers` entries; the first tier starts at 0.
    """

    per_order: int = 0
    per_lot: int = 0
    minimum: int = 0
    is_capped: bool = False
    maximum_ratio_e8: int = 0
    tiers: int = 1
    tier_from: tuple[int, ...] = (0,)
    maker_e8: tuple[int, ...] = (0,)
    taker_e8: tuple[int, ...] = (0,)


class MonthNotional(msgspec.Struct):
    """Notional (minor) traded so far in `month`, a calendar month as `compute_month` counts."""

    month: int = -INT64_MAX
    notional: int = 0


@rule
def compute_order_fee(
    schedule: FeeSchedule, liquidity: int, lots: int, notional: int, month_notional: int
) -> int:
    """Fee (minor) of an order that filled `lots` worth `notional` (minor, not negative) in all.

    `liquidity` is a `LiquiditySide`, `month_notional` what the month had before. Never falls when
    lots and notional grow, unless a rebate is paid. Ours.
    """
    if lots == 0:
        return 0
    tier = schedule.tiers - 1
    while month_notional < schedule.tier_from[tier]:
        tier -= 1
    ratio_e8 = schedule.maker_e8[tier] if liquidity == _MAKER else schedule.taker_e8[tier]
    fee = schedule.per_order + schedule.per_lot * lots
    if ratio_e8 != 0:
        fee += compute_ratio_ceil(notional, ratio_e8)
    if fee < schedule.minimum and schedule.minimum > 0:
        fee = schedule.minimum
    if schedule.is_capped:
        fee = min(fee, compute_ratio_ceil(notional, schedule.maximum_ratio_e8))
    return fee


@rule
def compute_fill_fee(
    schedule: FeeSchedule,
    liquidity: int,
    lots_before: int,
    notional_before: int,
    lots: int,
    notional: int,
    month_notional: int,
) -> int:
    """Fee (minor) that a fill of `lots` adds to an order that had filled `lots_before`.

    At one rate the fees of an order's fills add up exactly to the fee of the whole order. Where the
    rate changes between fills (maker and taker, tiers) each fill pays its own rate, and the sum is
    exact to less than one minor unit a change. Ours.
    """
    fee = compute_order_fee(
        schedule, liquidity, lots_before + lots, notional_before + notional, month_notional
    )
    if lots_before != 0:
        fee -= compute_order_fee(schedule, liquidity, lots_before, notional_before, month_notional)
    return fee


@rule
def compute_affordable_lots(
    schedule: FeeSchedule,
    liquidity: int,
    budget: int,
    ticks: int,
    minor_per_tick_lot: int,
    month_notional: int,
) -> int:
    """Largest lots of a new order with `lots * ticks * minor_per_tick_lot + fee <= budget`. Ours.

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
        fee = compute_order_fee(schedule, liquidity, high, high * lot_notional, month_notional)
        low = max(low, min(high, (budget - max(fee, 0)) // lot_notional))
        if low < high:
            fee = compute_order_fee(schedule, liquidity, low, low * lot_notional, month_notional)
            high = min(high, (budget - max(fee, 0)) // lot_notional)
        if low < high:
            middle = (low + high + 1) // 2
            cost = middle * lot_notional
            fee = compute_order_fee(schedule, liquidity, middle, cost, month_notional)
            if cost + max(fee, 0) <= budget:
                low = middle
            else:
                high = middle - 1
    return low


@rule
def add_month_notional(month: MonthNotional, ts: int, notional: int) -> int:
    """Counts a trade at `ts` (never back); returns what its month had before it (minor). Ours."""
    number = compute_month(ts)
    if number > month.month:
        month.month = number
        month.notional = 0
    before = month.notional
    month.notional = before + notional
    return before


def flat_ratio_e8(schedule: FeeSchedule, liquidity: int) -> int | None:
    """The ratio of a schedule that charges nothing but one share of the notional, else None.

    The fee of lots worth `notional` is then `-(-notional * ratio // E8)`: `compute_order_fee` in
    one line, where integers have no bounds. `tests/property/test_matching_rules.py` compares them.
    """
    is_flat = (
        schedule.tiers == 1
        and schedule.per_order == schedule.per_lot == 0
        and schedule.minimum <= 0
        and not schedule.is_capped
    )
    ratios = schedule.maker_e8 if liquidity == _MAKER else schedule.taker_e8
    return ratios[0] if is_flat else None


def build_fee_schedule(fees: FeeModel, instrument: Instrument) -> FeeSchedule:
    """The schedule of `fees` for orders of `instrument`.

    Raises:
        ConfigError: A value is negative, finer than 1e-8, or the rate of a lot is not a whole
            number of minor units; tiers are empty or not ascending from 0.
    """
    match fees:
        case NoFees():
            return FeeSchedule()
        case PerShareFees():
            ratio = fees.maximum_ratio
            return FeeSchedule(
                per_lot=_minor_per_lot(fees.rate, instrument),
                minimum=_amount(fees.minimum, "minimum"),
                is_capped=ratio is not None,
                maximum_ratio_e8=0 if ratio is None else _ratio_e8(ratio, "maximum_ratio"),
            )
        case PerOrderFees():
            return FeeSchedule(per_order=_amount(fees.amount, "amount"))
        case BpsFees():
            return FeeSchedule(
                maker_e8=(_bps_e8(fees.maker_bps, "maker_bps"),),
                taker_e8=(_bps_e8(fees.taker_bps, "taker_bps"),),
            )
        case TieredFees():
            return _build_tiers(fees.tiers)


def _build_tiers(tiers: tuple[FeeTier, ...]) -> FeeSchedule:
    starts = tuple(
        _amount(tier.from_notional, f"tiers.{row}.from_notional") for row, tier in enumerate(tiers)
    )
    if starts[:1] != (0,) or any(a >= b for a, b in pairwise(starts)):
        raise ConfigError(
            f"fee tiers start at {[str(tier.from_notional) for tier in tiers]}",
            where="execution.fees.tiers",
            remedy="start the first tier at 0 and let from_notional rise",
        )
    return FeeSchedule(
        tiers=len(tiers),
        tier_from=starts,
        maker_e8=tuple(_bps_e8(t.maker_bps, f"tiers.{i}.maker_bps") for i, t in enumerate(tiers)),
        taker_e8=tuple(_bps_e8(t.taker_bps, f"tiers.{i}.taker_bps") for i, t in enumerate(tiers)),
    )


def _minor_per_lot(rate: Number, instrument: Instrument) -> int:
    number = _not_negative(rate, "rate")
    exact = number * instrument.lot_size * 100_000_000
    if exact != exact.to_integral_value():
        raise ConfigError(
            f"rate {number:f} x lot {instrument.lot_size:f} of {instrument.id} is {exact:f} minor "
            "units (1e-8) a lot, not a whole number",
            where="execution.fees.rate",
            remedy="choose a coarser rate or lot, or fees in bps",
        )
    return int(exact)


def _amount(value: Number, key: str) -> int:
    return to_minor(_not_negative(value, key), f"execution.fees.{key}", error=ConfigError)


def _ratio_e8(value: Number, key: str) -> int:
    return to_ratio_e8(_not_negative(value, key), f"execution.fees.{key}", error=ConfigError)


def _bps_e8(value: Number, key: str) -> int:
    number = to_decimal(value, f"execution.fees.{key}", error=ConfigError)
    if abs(number) >= 10_000:
        raise ConfigError(
            f"{number:f} bps is the whole notional or more",
            where=f"execution.fees.{key}",
            remedy="10 bps are 0.1 %",
        )
    return to_ratio_e8(number / 10_000, f"execution.fees.{key} / 10000", error=ConfigError)


def _not_negative(value: Number, key: str) -> Decimal:
    number = to_decimal(value, f"execution.fees.{key}", error=ConfigError)
    if number < 0:
        raise ConfigError(
            f"{number:f} is negative", where=f"execution.fees.{key}", remedy="give 0 or more"
        )
    return number
