"""Funding of a perpetual: pure rules of integers.

A rate is whole parts of 1e-10 and smaller than
`onetape.domain.market.FUNDING_RATE_MAX`, so no product leaves int64.
"""

from __future__ import annotations

from onetape.domain.notional import compute_inverse_notional
from onetape.domain.rules import rule


@rule
def compute_funding_share(notional: int, rate_e10: int) -> int:
    """`floor(notional * rate_e10 / 1e10)`, split so that no product leaves int64. Ours."""
    whole = notional // 10_000_000_000
    return whole * rate_e10 + (notional - whole * 10_000_000_000) * rate_e10 // 10_000_000_000


@rule
def compute_funding(lots: int, ticks: int, factor: int, inverse_factor: int, rate_e10: int) -> int:
    """Cash that a position receives in funding, negative when it pays; rounded down.

    Units: minor units of the settlement currency; `ticks` is the mark, `rate_e10` what longs pay
        shorts, in 1e-10 of the notional.
    Source: Binance, "Funding rate": funding = notional at the mark price x rate, longs pay shorts
        where the rate is positive. Rounding, first of an inverse notional: ours, against us.
    """
    size = abs(lots)
    pays = (lots > 0) == (rate_e10 > 0)
    if inverse_factor == 0:
        notional = size * ticks * factor
    elif pays:
        notional = -compute_inverse_notional(-size, ticks, inverse_factor)
    else:
        notional = compute_inverse_notional(size, ticks, inverse_factor)
    share = abs(rate_e10)
    if pays:
        return compute_funding_share(-notional, share)
    return compute_funding_share(notional, share)
