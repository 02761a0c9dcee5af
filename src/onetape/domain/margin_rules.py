"""The rules of margin: what a position must be backed with, in minor units.

Rounded up, against us. Ratios are 1e-8 of the notional.
"""

from __future__ import annotations

from onetape.domain.numbers import compute_ratio_ceil, compute_ratio_floor
from onetape.domain.rules import rule


@rule
def compute_tier_margin(notional: int, ratio_e8: int, deduction: int) -> int:
    """Margin of a notional in a tier: its ratio of the whole, less the tier's fixed amount.

    The amount (`compute_tier_deduction`) makes it what every part would need in its own tier.
    Source: Binance, "Leverage and margin of USDS-M futures": maintenance margin = position notional
    x maintenance margin rate - maintenance amount.
    """
    return max(0, compute_ratio_ceil(notional, ratio_e8) - deduction)


@rule
def compute_tier_deduction(
    deduction_before: int, ratio_before_e8: int, notional_from: int, ratio_e8: int
) -> int:
    """The fixed amount of a tier, from that of the tier below; rounded down, against us.

    Source: Binance, ibid.: maintenance amount = floor of the bracket x difference of the rates +
    maintenance amount of the bracket below.
    """
    return deduction_before + compute_ratio_floor(notional_from, ratio_e8 - ratio_before_e8)


@rule
def compute_short_option_margin(
    premium: int,
    underlying: int,
    out_of_the_money: int,
    floor_base: int,
    ratio_e8: int,
    floor_e8: int,
) -> int:
    """Margin of options sold: premium + the larger of two shares.

    One is `ratio_e8` of the underlying's value less what the option is out of the money, the other
    `floor_e8` of `floor_base`: the underlying's value of a call, the strike's of a put. All are
    minor units of the whole position.
    Source: Cboe, "Strategy-based margin", short put or call on equities: 100 % of the option's
    value + 20 % of the underlying's less the amount out of the money, at least 10 %.
    """
    usual = compute_ratio_ceil(underlying, ratio_e8) - out_of_the_money
    return premium + max(usual, compute_ratio_ceil(floor_base, floor_e8))
