"""Rules of the bar options: the price of a market order, the optimistic stop-limit, the way."""

from __future__ import annotations

from onetape.domain.rules import rule
from onetape.execution.simulated.bar_matching import (
    FILL_AT_OPEN,
    FILL_INSIDE,
    NO_FILL,
    TRIGGER_ONLY,
    compute_limit_fill,
    compute_stop_fill,
)

_SAME_CLOSE = 1
_MID = 2
_TYPICAL = 3
_VWAP = 4


@rule
def compute_market_price(
    market: int, open_price: float, high: float, low: float, close: float, vwap: float
) -> float:
    """Price (currency) at which a market order that sees a whole bar fills, by `MarketPrice`.

    Fills when: always, once in the bar. `vwap` is NaN where the bar has none; then it is the
        typical price.
    Ignores: the path; our own part in the bar.
    Units: currency.
    Source: ours; see `MarketPrice`.
    """
    if market == _SAME_CLOSE:
        return close
    if market == _MID:
        return (high + low) / 2.0
    if market == _VWAP and vwap == vwap:
        return vwap
    if market >= _TYPICAL:
        return (high + low + close) / 3.0
    return open_price


@rule
def compute_optimistic_stop_limit_fill(
    side_sign: int,
    limit_ticks: int,
    stop_ticks: int,
    open_price: float,
    high: float,
    low: float,
    tick_size: float,
    limit_reach: float,
) -> tuple[int, int]:
    """(`NO_FILL` | `TRIGGER_ONLY` | `FILL_*`, ticks) of a stop-limit order on the best path.

    Fills when: triggered, and the bar reaches the limit anywhere: at the stop if that satisfies the
        limit, else at the limit.
    Ignores: that the bar may have been at the limit only before the stop.
    Units: ticks; bar prices in currency.
    Source: ours.
    """
    trigger, ticks = compute_stop_fill(side_sign, stop_ticks, open_price, high, low, tick_size)
    if trigger == NO_FILL:
        return NO_FILL, 0
    if trigger == FILL_INSIDE and (stop_ticks - limit_ticks) * side_sign <= limit_reach:
        return FILL_INSIDE, stop_ticks
    code, ticks = compute_limit_fill(
        side_sign, limit_ticks, open_price, high, low, tick_size, limit_reach
    )
    if code == NO_FILL:
        return TRIGGER_ONLY, 0
    if code == FILL_AT_OPEN and trigger != FILL_AT_OPEN:
        return FILL_INSIDE, limit_ticks  # the open was before the trigger
    return code, ticks
