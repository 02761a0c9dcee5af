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


@rule
def compute_fraction_cash(left: int, bottom: int, lot_value: int) -> int:
    """Cash for `left / bottom` of a lot that is worth `lot_value` minor units. Ours.

    Rounded down, so that a short (`left` negative) pays it rounded up. `left` is smaller than
    `bottom`, and that at most 1e9.
    """
    whole = lot_value // bottom
    return left * whole + left * (lot_value - whole * bottom) // bottom


@rule
def compute_lot_value(lot_value: int, top: int, bottom: int) -> int:
    """Minor units of `top / bottom` lots of `lot_value` each, rounded down. Ours.

    What an old lot receives in lots of a new instrument; it has to stay inside int64.
    """
    whole = lot_value // bottom
    return top * whole + top * (lot_value - whole * bottom) // bottom


@rule
def compute_value_share(part: int, whole: int) -> int:
    """`part / whole` in 1e-9, rounded down; 0 to 1e9. Ours.

    Digit by digit, so that no product leaves int64. Both are not negative; beyond 9e17 both are
    halved first, which moves the share by at most one part.
    """
    if part <= 0:
        return 0
    if part >= whole:
        return 1_000_000_000
    while whole > 900_000_000_000_000_000:
        part //= 2
        whole //= 2
    share = 0
    digits = 0
    while digits < 9:
        part *= 10
        share = share * 10 + part // whole
        part -= part // whole * whole
        digits += 1
    return share


@rule
def compute_cost_part(cost: int, share_e9: int) -> int:
    """The part of a cost basis that `share_e9` (1e-9) is of it; all of it at 1e9. Ours.

    Rounded toward zero.
    """
    size = abs(cost)
    whole = size // 1_000_000_000
    part = whole * share_e9 + (size - whole * 1_000_000_000) * share_e9 // 1_000_000_000
    return -part if cost < 0 else part


@rule
def compute_received(lots: int, cost: int, received: int, carried: int) -> tuple[int, int, int]:
    """A position that receives lots with their cost: (lots, cost, realized). Ours.

    Lots of the other side close what is held, like a fill at the cost that they carry: the smaller
    of the two is closed whole, the other at average cost, rounded toward minus infinity.
    """
    after = lots + received
    if lots == 0 or received == 0 or (lots > 0) == (received > 0):
        return after, cost + carried, 0
    if abs(received) <= abs(lots):
        each = cost // lots
        released = each * -received + (cost - each * lots) * -received // lots
        return after, cost - released, -(carried + released)
    each = carried // received
    used = each * -lots + (carried - each * received) * -lots // received
    return after, carried - used, -(cost + used)


@rule
def compute_ticks_without(ticks: int, factor: int, value: int) -> int:
    """The mark of a lot that has given away `value` minor units: nearest tick, halves up. Ours.

    At least one tick. `factor` is the minor units of a tick times a lot.
    """
    return max(1, (2 * (ticks * factor - value) + factor) // (2 * factor))


@rule
def compute_exchange(
    lots: int, carried: int, top: int, bottom: int, lot_value: int
) -> tuple[int, int, int, int]:
    """Lots of a new instrument for `lots`: (received, their cost, cash, realized). Ours.

    `top / bottom` new lots for an old one, whole ones toward zero. What is left over is settled at
    `lot_value`, a new lot in minor units, and releases its part of `carried`, like a sale.
    """
    received, left = compute_split_lots(lots, top, bottom)
    cash = compute_fraction_cash(left, bottom, lot_value)
    released = compute_split_release(lots, carried, left, top, received)
    return received, carried - released, cash, cash - released
