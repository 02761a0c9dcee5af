"""Where a trailing stop stands: the one rule of it, for the strategy's first stop and the venue."""

from __future__ import annotations

from onetape.domain.numbers import compute_ratio_ceil, compute_ticks
from onetape.domain.rules import rule


@rule
def compute_trailing_stop(
    side_sign: int,
    stop_ticks: int,
    trail_ticks: int,
    trail_ratio_e8: int,
    high: float,
    low: float,
    tick_size: float,
) -> int:
    """The stop (ticks) of a trailing stop order after prices up to `high` and down to `low`. Ours.

    It stays `trail_ticks`, or `trail_ratio_e8` of the price rounded up to a tick, behind the best
    price: above the low for a buy, below the high for a sell; it never moves away from the market.
    `stop_ticks` 0 means that there was none before.
    """
    best = compute_ticks(low if side_sign > 0 else high, tick_size, 0)
    distance = trail_ticks
    if trail_ratio_e8 > 0:
        distance = compute_ratio_ceil(max(best, 0), trail_ratio_e8)
    stop = best + side_sign * distance
    if stop_ticks == 0 or (stop - stop_ticks) * side_sign < 0:
        return stop
    return stop_ticks
