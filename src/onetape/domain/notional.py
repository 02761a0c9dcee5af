"""What lots at a price are worth: pure rules of integers, linear and inverse.

A linear contract is worth `lots * ticks * factor` minor units of its quote currency. An inverse one
has a fixed size in the quote currency and is settled in the base currency, where `lots` at `ticks`
are `lots * factor / ticks` minor units: the more, the lower the price. Ticks stay below 2**31 and
lots below `MAX_LOTS`, so no product of the two leaves int64.
"""

from __future__ import annotations

from onetape.domain.rules import rule


@rule
def compute_inverse_notional(lots: int, ticks: int, factor: int) -> int:
    """`floor(lots * factor / ticks)` minor units of the base currency; `lots` has a sign. Ours.

    Of a position that is `-lots` the floor with the sign turned is the ceiling. Source of the
    formula: BitMEX and Binance COIN-M contract guides, `contracts * contract size / price`.
    """
    whole = factor // ticks
    return lots * whole + lots * (factor - whole * ticks) // ticks


@rule
def compute_notional(lots: int, ticks: int, factor: int, inverse_factor: int) -> int:
    """Notional of `lots` (without sign), rounded up: what margin is asked for. Ours.

    `inverse_factor` is 0 for a linear contract.
    """
    if inverse_factor == 0:
        return lots * ticks * factor
    return -compute_inverse_notional(-lots, ticks, inverse_factor)


@rule
def compute_fill_notional(
    lots: int, ticks: int, factor: int, inverse_factor: int, side_sign: int
) -> int:
    """Notional of a fill of `lots`, rounded against us where it is not exact. Ours.

    Who buys an inverse contract gains where the notional falls, so a buy's is rounded down and a
    sale's up.
    """
    if inverse_factor == 0:
        return lots * ticks * factor
    return side_sign * compute_inverse_notional(side_sign * lots, ticks, inverse_factor)


@rule
def compute_value(lots: int, ticks: int, factor: int, inverse_factor: int) -> int:
    """Value of a position at a price, to compare with its cost; rounded down. Ours.

    Of an inverse position it is `-lots * factor / ticks`: it rises with the price, and the
    difference of two values is the PnL in the base currency.
    """
    if inverse_factor == 0:
        return lots * ticks * factor
    return compute_inverse_notional(-lots, ticks, inverse_factor)


@rule
def compute_added_cost(notional: int, side_sign: int, inverse_factor: int) -> int:
    """What a fill adds to the cost of its position, in the sign of `compute_value`. Ours."""
    if inverse_factor == 0:
        return side_sign * notional
    return -side_sign * notional
