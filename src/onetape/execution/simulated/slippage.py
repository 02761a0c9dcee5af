"""Slippage of the simulated venue: how far from the market's price we are filled.

Every model becomes one `SlippageTerms` of integers, and one rule reads it in both hosts. Slippage
is always against us, rounded up to the next tick against us. It belongs to orders that take
liquidity; a limit order keeps its limit.
"""

from __future__ import annotations

import math

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.numbers import (
    Number,
    compute_ratio_ceil,
    compute_ticks,
    to_decimal,
    to_ratio_e8,
)
from onetape.domain.rules import rule


class NoSlippage(msgspec.Struct, frozen=True, tag="none", tag_field="model"):
    """The market's price is ours.

    Fills when: every fill, at its price.
    Ignores: spread and impact.
    Units: none.
    Source: ours.
    """


class FixedSlippage(msgspec.Struct, frozen=True, kw_only=True, tag="fixed", tag_field="model"):
    """The same share of the price, or number of ticks (or both added), for every fill.

    Fills when: every fill, `bps` of its price and `ticks` worse.
    Ignores: size, volume, volatility.
    Units: `bps` basis points of the price, `ticks` price steps.
    Source: ours (half a spread, written down).
    """

    bps: Number = 0
    ticks: int = 0


class VolumeSlippage(msgspec.Struct, frozen=True, kw_only=True, tag="volume", tag_field="model"):
    """`base_bps` plus `volume_factor` times our share of the bar's volume.

    Fills when: every fill, worse by that share of its price.
    Ignores: volatility; that impact fades. A fill of the bar's volume or more, and a bar without
        volume, count as a share of 1.
    Units: `base_bps` basis points of the price; `volume_factor` fraction of the price at share 1.
    Source: ours (linear temporary impact, as in Almgren and Chriss 2000).
    """

    base_bps: Number = 0
    volume_factor: Number = 0


class SquareRootSlippage(
    msgspec.Struct, frozen=True, kw_only=True, tag="square_root", tag_field="model"
):
    """`coefficient` times the square root of our share of the bar's volume.

    Fills when: every fill, worse by that share of its price.
    Ignores: volatility (put it into the coefficient); that impact fades. A fill of the bar's volume
        or more, and a bar without volume, count as a share of 1.
    Units: `coefficient` fraction of the price at share 1.
    Source: Toth et al. 2011, "Anomalous price impact and the critical nature of liquidity in
        financial markets", Physical Review X 1, 021006.
    """

    coefficient: Number


SlippageModel = NoSlippage | FixedSlippage | VolumeSlippage | SquareRootSlippage


class SlippageTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Any slippage model as integers: the record that the rule reads.

    `ticks` price steps, `base_e8` ratio of the price, `linear_e8` and `root_e8` ratio of the price
    at a share of 1 of the volume, growing with the share or its square root. Ratios in 1e-8.
    """

    ticks: int = 0
    base_e8: int = 0
    linear_e8: int = 0
    root_e8: int = 0


@rule
def compute_slipped_ticks(
    slippage: SlippageTerms, ticks: int, side_sign: int, quantity: float, bar_volume: float
) -> int:
    """Ticks at which a fill at the market's `ticks` really happens, for us the worse side.

    `quantity` of the fill and `bar_volume` are in units of the instrument. A sell never ends below
    1 tick. Without slippage the price is exact. Ours.
    """
    ratio_e8 = slippage.base_e8
    if slippage.linear_e8 != 0 or slippage.root_e8 != 0:
        share = quantity / bar_volume if quantity < bar_volume else 1.0
        impact = slippage.linear_e8 * share + slippage.root_e8 * math.sqrt(share)
        ratio_e8 += compute_ticks(impact, 1.0, 1)
    slip = slippage.ticks
    if ratio_e8 != 0:
        slip += compute_ratio_ceil(abs(ticks), ratio_e8)
    slipped = ticks + side_sign * slip
    return 1 if slipped < 1 <= ticks else slipped


@rule
def compute_bounded_ticks(ticks: int, side: int, limit_ticks: int) -> int:
    """A slipped price, or the limit where the price would be beyond it. Ours.

    `side` is +1 for a buy, -1 for a sell.
    """
    if (ticks - limit_ticks) * side > 0:
        return limit_ticks
    return ticks


def build_slippage(slippage: SlippageModel) -> SlippageTerms:
    """The terms of `slippage`.

    Raises:
        ConfigError: A value is negative or finer than 1e-8.
    """
    match slippage:
        case NoSlippage():
            return SlippageTerms()
        case FixedSlippage():
            if slippage.ticks < 0:
                raise ConfigError(
                    f"{slippage.ticks} ticks would be for us", where="execution.slippage.ticks"
                )
            return SlippageTerms(ticks=slippage.ticks, base_e8=_ratio_e8(slippage.bps, "bps"))
        case VolumeSlippage():
            return SlippageTerms(
                base_e8=_ratio_e8(slippage.base_bps, "base_bps"),
                linear_e8=_ratio_e8(slippage.volume_factor, "volume_factor"),
            )
        case SquareRootSlippage():
            return SlippageTerms(root_e8=_ratio_e8(slippage.coefficient, "coefficient"))


def _ratio_e8(value: Number, key: str) -> int:
    where = f"execution.slippage.{key}"
    number = to_decimal(value, where, error=ConfigError)
    if number < 0:
        raise ConfigError(
            f"{number:f} would be for us", where=where, remedy="give 0 or more; slippage costs"
        )
    if key.endswith("bps"):
        number /= 10_000
    return to_ratio_e8(number, where, error=ConfigError)
