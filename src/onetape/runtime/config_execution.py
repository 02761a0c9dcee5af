"""The `execution` section: which venue, and with what slippage, latency and fees.

Each model has the keys of the model of the same name in `onetape.execution.simulated`, which says
what it assumes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from onetape.execution.simulated import fees, slippage
from onetape.execution.simulated.latency import LatencyModel
from onetape.runtime.config_carrying import CarryingConfig
from onetape.runtime.config_fees import Fees, NoFees, build_fee_model
from onetape.runtime.config_fills import FillConfig
from onetape.runtime.config_margin import Margin
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Bps, Exact, Factor, Limit, Moment, Name

_ZERO = Decimal(0)

Milliseconds = Annotated[Exact, Field(ge=0, le=3_600_000, decimal_places=6)]


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


class Currencies(Section):
    """Foreign cash is converted as soon as it moves, at the mark of a pair in data.instruments."""

    spread_bps: Bps = _ZERO
    """What a conversion costs, of the amount."""


class TransferConfig(Section):
    """Capital that goes from one strategy to another, once."""

    at: Moment
    """When, ISO 8601, UTC unless it has an offset; before the bars of that time."""
    source: Name = Field(alias="from")
    """Name of the strategy that gives it."""
    target: Name = Field(alias="to")
    """Name of the strategy that gets it."""
    amount: Limit
    """How much; refused where it is more than free cash."""


class ExecutionConfig(Section):
    """How orders become fills."""

    venue: Literal["simulated"] = "simulated"
    slippage: Slippage = NoSlippage()
    latency: Latency = Latency()
    fees: Fees = NoFees()
    limit_fill: Literal["touch", "through"] = "through"
    """Whether a limit order fills when a bar touches its price, or only when it trades through."""
    fill: FillConfig = FillConfig()
    max_volume_ratio: Annotated[Factor, Field(gt=0, le=1)] | None = None
    """Largest share of a bar's volume that our fills may take (0.1 is a tenth); null: no cap."""
    margin: Margin | None = None
    """What a broker asks for positions; null: they are paid for."""

    carrying: CarryingConfig | None = None
    """Borrow fees and interest; null: holding is free."""

    currencies: Currencies | None = None
    """Trading in other currencies than that of the capital; null: none but that."""

    settlement_days: Annotated[int, Field(strict=True, ge=0, le=10)] = 0
    """Trading days until a cash account may spend the proceeds of a sale (T+N); 0: at once."""
    transfers: tuple[TransferConfig, ...] = ()
    """Capital that moves between the strategies."""

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
        return build_fee_model(self.fees)
