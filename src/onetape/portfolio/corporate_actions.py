"""What corporate actions make of a position: pure rules of integers.

Ratios and amounts a lot come as `top / bottom` (`onetape.domain.corporate_actions`); `top` and
`bottom` of a ratio are at most 1e9, lots at most `MAX_LOTS`, so no product leaves int64.
"""

from __future__ import annotations

from onetape.domain.rules import rule


@rule
def compute_split_lots(lots: int, top: int, bottom: int) -> tuple[int, int]:
    """Whole lots after a split, and what is left over in `1 / bottom` of a new lot. Ours.

    Both carry the sign of `lots`; the whole lots are rounded toward zero.
    """
    size = abs(lots)
    whole = top // bottom
    rest = size * (top - whole * bottom)
    after = size * whole + rest // bottom
    left = rest - rest // bottom * bottom
    if lots < 0:
        return -after, -left
    return after, left


@rule
def compute_cash_in_lieu(left: int, top: int, lot_value: int) -> int:
    """Cash for `left` (see `compute_split_lots`), in minor units; negative when a short pays. Ours.

    `lot_value` is a lot at its last price before the split. A new lot is worth
    `lot_value * bottom / top`, so the cash is `left * lot_value / top`, rounded down: against us.
    """
    whole = lot_value // top
    return left * whole + left * (lot_value - whole * top) // top


@rule
def compute_split_release(lots: int, cost: int, left: int, top: int, after: int) -> int:
    """Cost basis that leaves the books with `left`, like a sale at average cost. Ours.

    `lots` and `cost` are from before the split, `after` the whole lots from behind it; without any
    all of the cost is released. `left` makes `left / top` old lots. Rounded toward zero, first the
    cost of one lot.
    """
    if after == 0:
        return cost
    each = cost // lots
    whole = each // top
    size = abs(left)
    released = size * whole + size * (each - whole * top) // top
    return -released if left < 0 else released


@rule
def compute_payment(lots: int, top: int, bottom: int) -> int:
    """`top / bottom` minor units for each lot, rounded down: a short pays, rounded up. Ours.

    The cash of a dividend, and of a delisting for every lot.
    """
    whole = top // bottom
    return lots * whole + lots * (top - whole * bottom) // bottom


@rule
def compute_adjusted_ticks(ticks: int, top: int, bottom: int) -> int:
    """A price from before a split as one from behind it: the nearest tick, halves up. Ours."""
    whole = ticks // top
    return whole * bottom + (2 * (ticks - whole * top) * bottom + top) // (2 * top)
