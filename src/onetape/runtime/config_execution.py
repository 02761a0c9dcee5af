"""The `execution` section: which venue, and with what slippage, latency and fees.

Each model has the keys of the model of the same name in `onetape.execution.simulated`, which says
what it assumes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field, field_validator

from onetape.execution.simulated import fees, slippage
from onetape.execution.simulated.latency import LatencyModel
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Bps, Exact, Factor, Money, RefusedError

_ZERO = Decimal(0)

Milliseconds = Annotated[Exact, Field(ge=0, le=3_600_000, decimal_places=6)]

FeeBps = Annotated[Exact, Field(gt=-10_000, lt=10_000, decimal_places=4)]
"""Basis points of a notional; negative: a rebate."""


class NoSlippage(Section):
    """Fills at the price of the data."""

    model: Literal["none"] = "none"


class FixedSlippage(Section):
    """The same share of the price, or number of ticks, on every fill."""

    model: Literal["fixed"]
    bps: Bps = _ZERO
    ticks: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] = 0


class VolumeSlippage(Section):
    """Grows in proportion to our share of the bar's volume."""

    model: Literal["volume"]
    base_bps: Bps = _ZERO
    volume_factor: Factor = _ZERO
    """Fraction of the price at a share of 1."""


class SquareRootSlippage(Section):
    """Grows with the square root of our share of the bar's volume."""

    model: Literal["square_root"]
    coefficient: Factor
    """Fraction of the price at a share of 1."""


Slippage = Annotated[
    NoSlippage | FixedSlippage | VolumeSlippage | SquareRootSlippage, Field(discriminator="model")
]


class Latency(Section):
    """Time from a decision to the venue: normal, never below zero, drawn per order."""

    mean_ms: Milliseconds = _ZERO
    std_ms: Milliseconds = _ZERO


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
    maximum_ratio: Factor | None = None
    """Most an order may cost, as a fraction of its notional; null: no maximum."""


class PerOrderFees(Section):
    """So much an order."""

    model: Literal["per_order"]
    amount: Money


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
        if tiers[0].from_notional != 0:
            raise RefusedError("must begin at 0", at=(0, "from_notional"))
        for index in range(1, len(tiers)):
            if tiers[index].from_notional <= tiers[index - 1].from_notional:
                raise RefusedError("must rise from tier to tier", at=(index, "from_notional"))
        return tiers


Fees = Annotated[
    NoFees | PerShareFees | PerOrderFees | BpsFees | TieredFees, Field(discriminator="model")
]


class ExecutionConfig(Section):
    """How orders become fills."""

    venue: Literal["simulated"] = "simulated"
    slippage: Slippage = NoSlippage()
    latency: Latency = Latency()
    fees: Fees = NoFees()
    limit_fill: Literal["touch", "through"] = "through"
    """Whether a limit order fills when a bar touches its price, or only when it trades through."""
    max_volume_ratio: Annotated[Factor, Field(gt=0, le=1)] | None = None
    """Largest share of a bar's volume that our fills may take (0.1 is a tenth); null: no cap."""

    def slippage_model(self) -> slippage.SlippageModel:
        """The venue's slippage model."""
        match self.slippage:
            case NoSlippage():
                return slippage.NoSlippage()
            case FixedSlippage(bps=bps, ticks=ticks):
                return slippage.FixedSlippage(bps=bps, ticks=ticks)
            case VolumeSlippage(base_bps=base_bps, volume_factor=volume_factor):
                return slippage.VolumeSlippage(base_bps=base_bps, volume_factor=volume_factor)
            case SquareRootSlippage(coefficient=coefficient):
                return slippage.SquareRootSlippage(coefficient=coefficient)

    def latency_model(self) -> LatencyModel:
        """The venue's latency model."""
        return LatencyModel(mean_ms=self.latency.mean_ms, std_ms=self.latency.std_ms)

    def fee_model(self) -> fees.FeeModel:
        """The venue's fee model."""
        match self.fees:
            case NoFees():
                return fees.NoFees()
            case PerShareFees(rate=rate, minimum=minimum, maximum_ratio=maximum_ratio):
                return fees.PerShareFees(rate=rate, minimum=minimum, maximum_ratio=maximum_ratio)
            case PerOrderFees(amount=amount):
                return fees.PerOrderFees(amount=amount)
            case BpsFees(maker_bps=maker_bps, taker_bps=taker_bps):
                return fees.BpsFees(maker_bps=maker_bps, taker_bps=taker_bps)
            case TieredFees(tiers=tiers):
                return fees.TieredFees(tiers=tuple(map(_build_tier, tiers)))


def _build_tier(tier: FeeTier) -> fees.FeeTier:
    return fees.FeeTier(
        from_notional=tier.from_notional, maker_bps=tier.maker_bps, taker_bps=tier.taker_bps
    )
