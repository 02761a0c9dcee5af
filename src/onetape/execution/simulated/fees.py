"""Fee models: what a broker or venue charges, as people write it.

`build_fee_schedule` turns any of them into the integers of one `FeeSchedule`, which the rules of
`fee_rules` read in both hosts. Ready models of known brokers are in `fee_presets`.
"""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8, INT64_MAX, Number, to_decimal, to_minor, to_ratio_e8
from onetape.domain.timestamps import from_iso
from onetape.execution.simulated.fee_rates import SaleRates
from onetape.execution.simulated.fee_rules import FeeSchedule


class NoFees(msgspec.Struct, frozen=True, tag="none", tag_field="model"):
    """Trading is free.

    Fills when: every fill; the fee is 0.
    Ignores: everything a venue or broker charges.
    Units: none.
    Source: ours.
    """


class SaleFees(msgspec.Struct, frozen=True, kw_only=True):
    """What sales of US equities pay to regulators, at the rates of the day of the fill.

    `rates[i]` holds from 00:00 UTC of its date until the next; the first also before its date. Both
    parts are rounded up to a multiple of `round_up_to` (currency; 0.01 is a cent), and the order
    counts as one trade.

    Fills when: every fill of a sale, short sales too.
    Ignores: Consolidated Audit Trail fees (less than 0.0001 a share); that brokers may add up a
        day's sales before they round; that the day ends at midnight in New York.
    Source: `fee_rates`.
    """

    rates: tuple[SaleRates, ...]
    round_up_to: Number = Decimal("1e-8")


class PerShareFees(msgspec.Struct, frozen=True, kw_only=True, tag="per_share", tag_field="model"):
    """`min(max(rate * quantity, minimum), maximum, maximum_ratio * notional)` an order.

    Fills when: every fill; maker and taker pay alike. The maximum wins over the minimum.
    Ignores: exchange and clearing fees; volume discounts; that a broker may count an order anew
        that was changed, or that fills on another day.
    Units: `rate` currency per unit of quantity, `minimum` and `maximum` currency per order,
        `maximum_ratio` fraction of the order's notional (absent: no maximum).
    Source: Interactive Brokers, fixed pricing for US stocks ("the maximum per order will be
        assessed" where it is below the minimum).
    """

    rate: Number
    minimum: Number = 0
    maximum: Number | None = None
    maximum_ratio: Number | None = None
    sales: SaleFees | None = None


class ShareTier(msgspec.Struct, frozen=True, kw_only=True):
    """The rate (currency per unit) that holds from a month's traded quantity on."""

    from_quantity: Number
    rate: Number


class PerShareTieredFees(
    msgspec.Struct, frozen=True, kw_only=True, tag="per_share_tiered", tag_field="model"
):
    """A commission per unit that falls with the quantity traded in the calendar month (UTC).

    Tiers are marginal: an order that crosses one pays each part at its own rate. The commission is
    kept within `minimum`, `maximum` and `maximum_ratio` as in `PerShareFees`. On top come
    `maker_rate` or `taker_rate` a unit for the exchange (negative: a rebate), `clearing_rate` a
    unit but at most `clearing_maximum_ratio` of the notional, and `pass_through_ratio` of the
    commission.

    Fills when: every fill, at the tiers in which the month of the strategy stands.
    Ignores: that each exchange has its own fees; volume of other accounts; that a broker may count
        an order anew, as `PerShareFees`.
    Units: `from_quantity` units of quantity, ascending from 0; rates currency per unit.
    Source: Interactive Brokers, tiered pricing for US stocks.
    """

    tiers: tuple[ShareTier, ...]
    minimum: Number = 0
    maximum: Number | None = None
    maximum_ratio: Number | None = None
    maker_rate: Number = 0
    taker_rate: Number = 0
    clearing_rate: Number = 0
    clearing_maximum_ratio: Number = 1
    pass_through_ratio: Number = 0
    sales: SaleFees | None = None


class PerContractFees(
    msgspec.Struct, frozen=True, kw_only=True, tag="per_contract", tag_field="model"
):
    """A commission per contract within a minimum and a maximum, and exchange fees on top.

    `min(max(rate * contracts, minimum), maximum) + exchange_rate * contracts` an order.

    Fills when: every fill; maker and taker pay alike.
    Ignores: volume discounts; what only sales pay; that a broker may count each leg or day anew.
    Units: `rate` and `exchange_rate` currency per contract (unit of quantity), `minimum` and
        `maximum` currency per order.
    Source: ours (futures and options brokers quote commission, and exchange, clearing and
        regulatory fees beside it).
    """

    rate: Number
    exchange_rate: Number = 0
    minimum: Number = 0
    maximum: Number | None = None


class PerOrderFees(msgspec.Struct, frozen=True, kw_only=True, tag="per_order", tag_field="model"):
    """A fixed amount an order, paid by its first fill.

    Fills when: the first fill of an order.
    Ignores: size, price, maker or taker; that a broker may count an order anew, as `PerShareFees`.
    Units: `amount` currency per order.
    Source: ours (flat-rate brokers).
    """

    amount: Number
    sales: SaleFees | None = None


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


FeeModel = (
    NoFees
    | PerShareFees
    | PerShareTieredFees
    | PerContractFees
    | PerOrderFees
    | BpsFees
    | TieredFees
)


def build_fee_schedule(fees: FeeModel, instrument: Instrument) -> FeeSchedule:
    """The schedule of `fees` for orders of `instrument`.

    Raises:
        ConfigError: A value is negative, finer than 1e-8, or the rate of a lot is not a whole
            number of minor units; tiers are empty or not ascending from 0; a model that counts
            units meets a lot finer than 1e-8.
    """
    match fees:
        case NoFees():
            return FeeSchedule()
        case PerShareFees():
            return _with_sales(
                FeeSchedule(
                    per_lot=_minor_per_lot(fees.rate, instrument),
                    minimum=_amount(fees.minimum, "minimum"),
                    maximum=_maximum(fees.maximum),
                    is_capped=fees.maximum_ratio is not None,
                    maximum_ratio_e8=_ratio_e8(fees.maximum_ratio or 0, "maximum_ratio"),
                ),
                fees.sales,
                instrument,
            )
        case PerShareTieredFees():
            return _with_sales(_build_share_tiers(fees, instrument), fees.sales, instrument)
        case PerContractFees():
            return FeeSchedule(
                per_lot=_minor_per_lot(fees.rate, instrument),
                minimum=_amount(fees.minimum, "minimum"),
                maximum=_maximum(fees.maximum),
                lot_e8=_lot_e8(instrument),
                has_extras=True,
                maker_rate=_amount(fees.exchange_rate, "exchange_rate"),
                taker_rate=_amount(fees.exchange_rate, "exchange_rate"),
            )
        case PerOrderFees():
            schedule = FeeSchedule(per_order=_amount(fees.amount, "amount"))
            return _with_sales(schedule, fees.sales, instrument)
        case BpsFees():
            return FeeSchedule(
                maker_e8=(_bps_e8(fees.maker_bps, "maker_bps"),),
                taker_e8=(_bps_e8(fees.taker_bps, "taker_bps"),),
            )
        case TieredFees():
            return _build_tiers(fees.tiers)


def _build_tiers(tiers: tuple[FeeTier, ...]) -> FeeSchedule:
    return FeeSchedule(
        tiers=len(tiers),
        tier_from=_starts([tier.from_notional for tier in tiers], "from_notional"),
        maker_e8=tuple(_bps_e8(t.maker_bps, f"tiers.{i}.maker_bps") for i, t in enumerate(tiers)),
        taker_e8=tuple(_bps_e8(t.taker_bps, f"tiers.{i}.taker_bps") for i, t in enumerate(tiers)),
    )


def _build_share_tiers(fees: PerShareTieredFees, instrument: Instrument) -> FeeSchedule:
    tiers = fees.tiers
    return FeeSchedule(
        minimum=_amount(fees.minimum, "minimum"),
        maximum=_maximum(fees.maximum),
        is_capped=fees.maximum_ratio is not None,
        maximum_ratio_e8=_ratio_e8(fees.maximum_ratio or 0, "maximum_ratio"),
        lot_e8=_lot_e8(instrument),
        tiers=len(tiers),
        tier_from=_starts([tier.from_quantity for tier in tiers], "from_quantity"),
        by_quantity=True,
        tier_rate=tuple(_amount(each.rate, f"tiers.{i}.rate") for i, each in enumerate(tiers)),
        has_extras=True,
        maker_rate=_signed_amount(fees.maker_rate, "maker_rate"),
        taker_rate=_signed_amount(fees.taker_rate, "taker_rate"),
        clearing_rate=_amount(fees.clearing_rate, "clearing_rate"),
        clearing_maximum_e8=_ratio_e8(fees.clearing_maximum_ratio, "clearing_maximum_ratio"),
        pass_through_e8=_ratio_e8(fees.pass_through_ratio, "pass_through_ratio"),
    )


def _with_sales(
    schedule: FeeSchedule, sales: SaleFees | None, instrument: Instrument
) -> FeeSchedule:
    if sales is None:
        return schedule
    rates = sales.rates
    starts = tuple(from_iso(each.since, "date of a sale rate", error=ConfigError) for each in rates)
    step = _amount(sales.round_up_to, "sales.round_up_to")
    if step < 1 or not starts or any(a >= b for a, b in pairwise(starts)):
        raise ConfigError(
            f"sales round up to {sales.round_up_to} at rates since {[r.since for r in rates]}",
            where="execution.fees.sales",
            remedy="round up to more than 0, and let the dates rise",
        )
    return msgspec.structs.replace(
        schedule,
        lot_e8=_lot_e8(instrument),
        sale_periods=len(rates),
        sale_from=starts,
        sale_e8=tuple(_ratio_e8(each.notional_ratio, "sales") for each in rates),
        sale_rate=tuple(_amount(each.share_rate, "sales") for each in rates),
        sale_maximum=tuple(_amount(each.share_maximum, "sales") for each in rates),
        sale_step=step,
    )


def _starts(values: list[Number], key: str) -> tuple[int, ...]:
    starts = tuple(_amount(value, f"tiers.{row}.{key}") for row, value in enumerate(values))
    if starts[:1] != (0,) or any(a >= b for a, b in pairwise(starts)):
        raise ConfigError(
            f"fee tiers start at {[str(value) for value in values]}",
            where="execution.fees.tiers",
            remedy=f"start the first tier at 0 and let {key} rise",
        )
    return starts


def _minor_per_lot(rate: Number, instrument: Instrument) -> int:
    number = _not_negative(rate, "rate")
    exact = number * instrument.lot_size * E8
    if exact != exact.to_integral_value():
        raise ConfigError(
            f"rate {number:f} x lot {instrument.lot_size:f} of {instrument.id} is {exact:f} minor "
            "units (1e-8) a lot, not a whole number",
            where="execution.fees.rate",
            remedy="choose a coarser rate or lot, or fees in bps",
        )
    return int(exact)


def _lot_e8(instrument: Instrument) -> int:
    exact = instrument.lot_size * E8
    if exact != exact.to_integral_value():
        raise ConfigError(
            f"the lot {instrument.lot_size:f} of {instrument.id} is finer than 1e-8",
            where="execution.fees",
            remedy="choose fees in bps",
        )
    return int(exact)


def _maximum(value: Number | None) -> int:
    return INT64_MAX if value is None else _amount(value, "maximum")


def _amount(value: Number, key: str) -> int:
    return to_minor(_not_negative(value, key), f"execution.fees.{key}", error=ConfigError)


def _signed_amount(value: Number, key: str) -> int:
    return to_minor(value, f"execution.fees.{key}", error=ConfigError)


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
