"""Rules of quotes, prints and queues: triggers, crossings, what prints and levels give an order.

All prices are in ticks; those of the market are floats, since they may lie off the grid.
"""

from __future__ import annotations

from onetape.domain.numbers import INT64_MAX
from onetape.domain.rules import rule
from onetape.features.logarithm import compute_log

_ON_TICK = 1e-6
_MARKET_IF_TOUCHED = 4
_LIMIT_IF_TOUCHED = 5
_POWER = 2
_POWER_2 = 3
_POWER_3 = 4
_LOG = 5
_POWER_MAX = 6
_UNSEEN = INT64_MAX


@rule
def is_triggered(order_type: int, side_sign: int, trigger_ticks: int, price_ticks: float) -> bool:
    """Whether a price triggers a stop (against the order) or if-touched order (in its favor). Ours.

    A mere touch is enough.
    """
    beyond = (price_ticks - trigger_ticks) * side_sign
    if _MARKET_IF_TOUCHED <= order_type <= _LIMIT_IF_TOUCHED:
        return beyond <= _ON_TICK
    return beyond >= -_ON_TICK


@rule
def is_crossed(side_sign: int, limit_ticks: int, opposite_ticks: int, limit_reach: float) -> bool:
    """Whether the best opposite price reaches a resting limit as `limit_reach` says. Ours."""
    return (opposite_ticks - limit_ticks) * side_sign <= limit_reach


@rule
def compute_walked_ticks(
    side_sign: int, top_ticks: int, free_lots: int, level_lots: int, lots: int
) -> int:
    """Average price of `lots` that take a best level and walk behind it, rounded against us.

    Fills when: always. `free_lots` are left of the best level; each further tick is taken to hold
        `level_lots` (1 at least), as many as the quote shows.
    Ignores: gaps and other sizes behind the best price, which a quote does not tell.
    Units: ticks, lots; at most 1e9 lots and 1e9 times as many lots as a level holds.
    Source: ours.
    """
    rest = lots - free_lots
    if rest <= 0:
        return top_ticks
    whole = rest // level_lots
    last = rest - whole * level_lots
    moved = level_lots * (whole * (whole + 1) // 2) + last * (whole + 1)
    steps = -(-moved // lots)
    return max(1, top_ticks + side_sign * steps)


@rule
def compute_print_fill(
    side_sign: int,
    limit_ticks: int,
    price_ticks: float,
    lots: int,
    aggressor: int,
    queue: int,
    limit_reach: float,
    ahead: int,
) -> tuple[int, int]:
    """(lots that a print can give a resting limit order, lots ahead of it afterwards).

    Fills when: the print is beyond the limit: everything, since all that stood at the limit was
        served before. At the limit, unless its aggressor was on our side: with a queue model what
        the print leaves when it has served the lots ahead; without one everything where
        `limit_reach` counts a touch.
    Ignores: orders that are hidden or come with a better priority.
    Units: ticks, lots; the largest int64 stands for everything, and for a queue never seen.
    Source: ours; a queue that only prints advance is the conservative model of L2 backtesters.
    """
    beyond = (price_ticks - limit_ticks) * side_sign
    if beyond < -_ON_TICK:
        return INT64_MAX, 0
    if beyond > _ON_TICK or aggressor == side_sign:
        return 0, ahead
    if queue == 0:
        return (INT64_MAX, 0) if limit_reach > 0 else (0, ahead)
    if ahead == _UNSEEN:
        return 0, ahead
    return max(0, lots - ahead), max(0, ahead - lots)


@rule
def compute_power(x: float, power: int) -> float:
    """`x` to a whole `power` of at most 6, by multiplication. Ours."""
    result = 1.0
    done = 0
    while done < min(power, _POWER_MAX):
        result *= x
        done += 1
    return result


@rule
def compute_behind_ratio(queue: int, power: int, ahead: float, behind: float) -> float:
    """Probability that a decrease of a level is of the lots behind our order.

    Fills when: a level shrinks without a print; see `compute_ahead`.
    Ignores: how long orders have stood; that large orders are canceled in other places than small.
    Units: lots as float; a fraction. `queue` is a `QueueModel`: with f(x) = x ** power, or ln(1+x),
        f(behind) / (f(behind) + f(ahead)), f(behind) / f(behind + ahead), or
        1 - f(ahead / (ahead + behind)).
    Source: Rigtorp 2013, "Estimating order queue position"; the question "How do we estimate
        position of our order in order book" (Quantitative Finance Stack Exchange 3782) for the log
        and power functions; the names POWER to POWER_3 and LOG to LOG_2 follow hftbacktest.
    """
    if ahead + behind <= 0.0:
        return 1.0
    if queue == _POWER:
        own = compute_power(behind, power)
        return own / (own + compute_power(ahead, power))
    if queue == _POWER_2:
        return compute_power(behind, power) / compute_power(ahead + behind, power)
    if queue == _POWER_3:
        return 1.0 - compute_power(ahead / (ahead + behind), power)
    own = compute_log(1.0 + behind)
    if queue == _LOG:
        return own / (own + compute_log(1.0 + ahead))
    return own / compute_log(1.0 + ahead + behind)


@rule
def compute_ahead(
    queue: int, power: int, ahead: int, traded: int, lots_before: int, lots_after: int
) -> int:
    """Lots ahead of our order after its level went from `lots_before` to `lots_after`.

    Fills when: never by itself; an order fills from prints once its queue is used up. RISK_AVERSE:
        the queue shrinks only to what is left of the level. The others: a decrease beyond `traded`,
        what prints took since the level changed last, is split between ahead and behind by
        `compute_behind_ratio`; the expected lots ahead are rounded down, so it advances too little
        rather than too much. An increase joins behind us.
    Ignores: that the split is an expectation; no random number is drawn.
    Units: lots, at most 4e18; the largest int64 for a queue never seen.
    Source: ours after the sources of `compute_behind_ratio`; tested against orders in a queue.
    """
    left = lots_before - traded
    decrease = left - lots_after
    if queue < _POWER or decrease <= 0 or ahead == _UNSEEN:
        return min(ahead, lots_after)
    behind = max(0, left - ahead)
    ratio = compute_behind_ratio(queue, power, float(ahead), float(behind))
    of_behind = ratio * decrease
    advance = decrease - of_behind
    if of_behind > behind:
        advance += of_behind - behind
    return max(0, min(ahead - int(advance), lots_after))
