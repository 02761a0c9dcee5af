"""The `execution.fees` section: what a broker or venue charges.

Each model has the keys of the model of the same name in `onetape.execution.simulated.fees`, which
says what it assumes; the presets are those of `fee_presets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, field_validator

from onetape.domain.instrument import Instrument, InstrumentKind
from onetape.execution.simulated import fee_presets, fees
from onetape.execution.simulated.fee_rates import US_EQUITY_SALES
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Exact, Factor, Money, RefusedError

_ZERO = Decimal(0)
_ONE = Decimal(1)

FeeBps = Annotated[Exact, Field(gt=-10_000, lt=10_000, decimal_places=4)]
"""Basis points of a notional; negative: a rebate."""

UnitRate = Annotated[Exact, Field(ge=-1_000_000, le=1_000_000, decimal_places=8)]
"""Currency per unit of the instrument; negative: a rebate."""

RoundUp = Annotated[Exact, Field(gt=0, le=1_000_000, decimal_places=8)]


class SaleFees(Section):
    """What sales pay to regulators, at the rates of the day of the fill."""

    rates: Literal["us_equity"] = "us_equity"
    """SEC fee and FINRA trading activity fee on sales of US equities."""
    round_up_to: RoundUp = Decimal("1e-8")
    """Each is rounded up to a multiple of this, in currency (0.01 is a cent)."""

    def build(self) -> fees.SaleFees:
        """As the venue has it."""
        return fees.SaleFees(rates=US_EQUITY_SALES, round_up_to=self.round_up_to)


class NoFees(Section):
    """Trading is free."""

    model: Literal["none"] = "none"


class PerShareFees(Section):
    """So much a unit, within a minimum and a maximum per order."""

    model: Literal["per_share"]
    rate: Money
    """Currency per unit of the instrument."""
    minimum: Money = _ZERO
    """Least fee of an order, in currency."""
    maximum: Money | None = None
    """Most an order may cost, in currency; null: no maximum."""
    maximum_ratio: Factor | None = None
    """Most an order may cost, as a fraction of its notional; null: no maximum."""
    sales: SaleFees | None = None
    """What sales pay on top; null: nothing."""


class ShareTier(Section):
    """A rate from a traded quantity on."""

    from_quantity: Money
    """Units traded before in the calendar month."""
    rate: Money
    """Currency per unit."""


class PerShareTieredFees(Section):
    """So much a unit by what was traded in the month, with fees of exchange and clearing."""

    model: Literal["per_share_tiered"]
    tiers: Annotated[tuple[ShareTier, ...], Field(min_length=1)]
    minimum: Money = _ZERO
    """Least commission of an order, in currency."""
    maximum: Money | None = None
    """Most commission of an order, in currency; null: no maximum."""
    maximum_ratio: Factor | None = None
    """Most commission of an order, as a fraction of its notional; null: no maximum."""
    maker_rate: UnitRate = _ZERO
    """What the exchange takes a unit for adding liquidity; negative is a rebate."""
    taker_rate: UnitRate = _ZERO
    """What the exchange takes a unit for removing liquidity; negative is a rebate."""
    clearing_rate: Money = _ZERO
    """Clearing, in currency per unit."""
    clearing_maximum_ratio: Factor = _ONE
    """Most that clearing takes, as a fraction of the notional."""
    pass_through_ratio: Factor = _ZERO
    """Fees that are a fraction of the commission."""
    sales: SaleFees | None = None
    """What sales pay on top; null: nothing."""

    @field_validator("tiers")
    @classmethod
    def _rising_from_zero(cls, tiers: tuple[ShareTier, ...]) -> tuple[ShareTier, ...]:
        _check_starts([tier.from_quantity for tier in tiers], "from_quantity")
        return tiers


class PerContractFees(Section):
    """So much a contract, within a minimum and a maximum per order, and exchange fees."""

    model: Literal["per_contract"]
    rate: Money
    """Commission, in currency per contract."""
    exchange_rate: Money = _ZERO
    """Exchange, clearing and regulatory fees, in currency per contract."""
    minimum: Money = _ZERO
    """Least commission of an order, in currency."""
    maximum: Money | None = None
    """Most commission of an order, in currency; null: no maximum."""


class PerOrderFees(Section):
    """So much an order."""

    model: Literal["per_order"]
    amount: Money
    sales: SaleFees | None = None
    """What sales pay on top; null: nothing."""


class BpsFees(Section):
    """A share of the notional, by who gave liquidity."""

    model: Literal["bps"]
    maker_bps: FeeBps
    taker_bps: FeeBps


class FeeTier(Section):
    """Rates from a traded notional on."""

    from_notional: Money
    """Currency traded before in the calendar month."""
    maker_bps: FeeBps
    taker_bps: FeeBps


class TieredFees(Section):
    """A share of the notional that depends on what was traded before in the month."""

    model: Literal["tiered"]
    tiers: Annotated[tuple[FeeTier, ...], Field(min_length=1)]

    @field_validator("tiers")
    @classmethod
    def _rising_from_zero(cls, tiers: tuple[FeeTier, ...]) -> tuple[FeeTier, ...]:
        _check_starts([tier.from_notional for tier in tiers], "from_notional")
        return tiers


class IbkrUsFixed(Section):
    """Interactive Brokers Pro, US stocks, fixed pricing."""

    model: Literal["ibkr_us_fixed"]


class IbkrUsTiered(Section):
    """Interactive Brokers Pro, US stocks, tiered pricing."""

    model: Literal["ibkr_us_tiered"]
    maker_rate: UnitRate = _ZERO
    """What the exchange takes a share for adding liquidity; negative is a rebate."""
    taker_rate: UnitRate = Decimal("0.003")
    """What the exchange takes a share for removing liquidity."""


class AlpacaUs(Section):
    """Alpaca, US stocks: no commission, regulatory fees on sales."""

    model: Literal["alpaca_us"]


class BinanceSpot(Section):
    """Binance spot, by VIP level."""

    model: Literal["binance_spot"]
    vip: Annotated[int, Field(strict=True, ge=0, le=9)] = 0
    """VIP level, 0 to 9; it does not follow the volume."""
    pays_in_bnb: bool = False
    """Whether fees are paid in BNB, 25 % less."""


Fees = Annotated[
    NoFees
    | PerShareFees
    | PerShareTieredFees
    | PerContractFees
    | PerOrderFees
    | BpsFees
    | TieredFees
    | IbkrUsFixed
    | IbkrUsTiered
    | AlpacaUs
    | BinanceSpot,
    Field(discriminator="model"),
]


def describe_misfit(section: Fees, instrument: Instrument) -> str:
    """Whose fees these are, where an instrument is not such; empty where they are not told to be.

    Models that only count (`per_share`, `bps` and the like) are what their configuration says.
    """
    match section:
        case BinanceSpot():
            return "" if instrument.kind is InstrumentKind.SPOT else "Binance spot"
        case IbkrUsFixed() | IbkrUsTiered() | AlpacaUs():
            of_shares = True
        case PerShareFees() | PerShareTieredFees() | PerOrderFees():
            of_shares = section.sales is not None
        case _:
            of_shares = False
    is_share = instrument.kind is InstrumentKind.EQUITY and instrument.quote_currency == "USD"
    return "US shares" if of_shares and not is_share else ""


def build_fee_model(section: Fees) -> fees.FeeModel:
    """The venue's fee model."""
    match section:
        case NoFees():
            return fees.NoFees()
        case PerShareFees():
            return fees.PerShareFees(
                rate=section.rate,
                minimum=section.minimum,
                maximum=section.maximum,
                maximum_ratio=section.maximum_ratio,
                sales=section.sales and section.sales.build(),
            )
        case PerShareTieredFees():
            return _build_share_tiers(section)
        case PerContractFees():
            return fees.PerContractFees(
                rate=section.rate,
                exchange_rate=section.exchange_rate,
                minimum=section.minimum,
                maximum=section.maximum,
            )
        case PerOrderFees():
            sales = section.sales and section.sales.build()
            return fees.PerOrderFees(amount=section.amount, sales=sales)
        case BpsFees(maker_bps=maker_bps, taker_bps=taker_bps):
            return fees.BpsFees(maker_bps=maker_bps, taker_bps=taker_bps)
        case TieredFees(tiers=tiers):
            return fees.TieredFees(tiers=tuple(map(_build_tier, tiers)))
        case IbkrUsFixed():
            return fee_presets.make_ibkr_us_fixed()
        case IbkrUsTiered(maker_rate=maker_rate, taker_rate=taker_rate):
            return fee_presets.make_ibkr_us_tiered(maker_rate, taker_rate)
        case AlpacaUs():
            return fee_presets.make_alpaca_us()
        case BinanceSpot(vip=vip, pays_in_bnb=pays_in_bnb):
            return fee_presets.make_binance_spot(vip, pays_in_bnb=pays_in_bnb)


def _build_share_tiers(section: PerShareTieredFees) -> fees.PerShareTieredFees:
    return fees.PerShareTieredFees(
        tiers=tuple(
            fees.ShareTier(from_quantity=tier.from_quantity, rate=tier.rate)
            for tier in section.tiers
        ),
        minimum=section.minimum,
        maximum=section.maximum,
        maximum_ratio=section.maximum_ratio,
        maker_rate=section.maker_rate,
        taker_rate=section.taker_rate,
        clearing_rate=section.clearing_rate,
        clearing_maximum_ratio=section.clearing_maximum_ratio,
        pass_through_ratio=section.pass_through_ratio,
        sales=section.sales and section.sales.build(),
    )


def _build_tier(tier: FeeTier) -> fees.FeeTier:
    return fees.FeeTier(
        from_notional=tier.from_notional, maker_bps=tier.maker_bps, taker_bps=tier.taker_bps
    )


def _check_starts(starts: Sequence[Decimal], key: str) -> None:
    if starts[0] != 0:
        raise RefusedError("must begin at 0", at=(0, key))
    for index in range(1, len(starts)):
        if starts[index] <= starts[index - 1]:
            raise RefusedError("must rise from tier to tier", at=(index, key))
