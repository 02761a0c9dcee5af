"""The `execution.slippage` section: how far from the market's price orders are filled.

Each model has the keys of the model of the same name in `onetape.execution.simulated.slippage`,
which says what it assumes.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from onetape.execution.simulated import slippage
from onetape.runtime.config_section import Section
from onetape.runtime.config_values import Bps, Factor

_ZERO = Decimal(0)


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


def build_slippage_model(section: Slippage) -> slippage.SlippageModel:
    """The venue's slippage model."""
    match section:
        case NoSlippage():
            return slippage.NoSlippage()
        case FixedSlippage(bps=bps, ticks=ticks):
            return slippage.FixedSlippage(bps=bps, ticks=ticks)
        case VolumeSlippage(base_bps=base_bps, volume_factor=volume_factor):
            return slippage.VolumeSlippage(base_bps=base_bps, volume_factor=volume_factor)
        case SquareRootSlippage(coefficient=coefficient):
            return slippage.SquareRootSlippage(coefficient=coefficient)
