"""Which fill model an instrument has: its choices, and the record that the venue reads."""

from __future__ import annotations

from enum import IntEnum

import msgspec

from onetape.execution.simulated.bar_matching import LIMIT_TRADED_THROUGH


class MarketPrice(IntEnum):
    """Where in a bar a market order fills.

    Fills when: NEXT_OPEN: at the first open that is not before its arrival. SAME_CLOSE: at the
        first close that is not before its arrival, which is the close that it was decided at where
        nothing delays it. MID, TYPICAL, VWAP: in the first bar that opens at its arrival or later,
        at (high + low) / 2, (high + low + close) / 3, or the bar's own volume-weighted price, and
        where it has none at TYPICAL; the fill stands at that bar's close. An order that arrives
        inside a bar fills at its close under all of them.
    Ignores: SAME_CLOSE that whoever decides at a close can't trade at it any more; MID, TYPICAL and
        VWAP that a price of the whole bar is known at its end only, and that our own order would be
        a part of it.
    Units: prices of the bar in currency, brought to whole ticks against us.
    Source: ours; VWAP after Berkowitz, Logue and Noser 1988, "The total cost of transactions on the
        NYSE".
    """

    NEXT_OPEN = 0
    SAME_CLOSE = 1
    MID = 2
    TYPICAL = 3
    VWAP = 4


class BarPath(IntEnum):
    """In which order the prices of a bar are met.

    Fills when: PESSIMISTIC: what executes at the open, then stops, then limits; behind an entry
        inside the bar a stop meets the worst of the bar, a limit only what is certain. OPTIMISTIC:
        limits before stops; behind an entry inside the bar a limit meets the best of the bar, a
        stop only what is certain; a stop-limit order fills where the bar reaches both prices.
        OPEN_HIGH_LOW_CLOSE and OPEN_LOW_HIGH_CLOSE: straight from each of these prices to the next,
        every order where the way passes it.
    Ignores: every turn of the price between those four. The two straight ways are guesses, not
        bounds; trailing stops are the same under PESSIMISTIC and OPTIMISTIC.
    Units: none.
    Source: ours.
    """

    PESSIMISTIC = 0
    OPTIMISTIC = 1
    OPEN_HIGH_LOW_CLOSE = 2
    OPEN_LOW_HIGH_CLOSE = 3


class RestOfOrder(IntEnum):
    """What becomes of a market order that is larger than what stands at the best price of a quote.

    Fills when: WAIT: the rest at the next quotes, as they come. WALK: the rest at once, each next
        tick taken to hold as many lots as the best price shows; one fill at the average price.
    Ignores: WAIT that others see us coming. WALK gaps behind the best price. With the levels of a
        book it is not asked: market orders walk them, and what they don't hold waits.
    Units: none.
    Source: ours.
    """

    WAIT = 0
    WALK = 1


class Trigger(IntEnum):
    """Which price triggers stops and if-touched orders where there are quotes, and leads trails.

    Fills when: QUOTE: the side that the order would trade at, the ask for a buy. MID: the middle of
        both. LAST: prints. The triggered order meets what stands then, like a new one.
    Ignores: triggers of venues that ask for two prints or a band.
    Units: ticks.
    Source: ours.
    """

    QUOTE = 0
    LAST = 1
    MID = 2


class QueueModel(IntEnum):
    """How a limit order advances at its price.

    Fills when: NONE: there is no queue; `limit` tells whether a touch fills. RISK_AVERSE: prints at
        the price use up what stood there when the order came, and it shrinks to what is left of the
        level. POWER to LOG_2: a decrease of the level that no print explains is split between ahead
        and behind; see `compute_behind_ratio`. Always: when prints or the other side go beyond the
        price.
    Ignores: hidden orders, priority other than price and time, our own effect on others.
    Units: lots.
    Source: see `compute_behind_ratio`.
    """

    NONE = 0
    RISK_AVERSE = 1
    POWER = 2
    POWER_2 = 3
    POWER_3 = 4
    LOG = 5
    LOG_2 = 6


class FillTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How orders of one instrument fill.

    `limit_reach` is `LIMIT_TOUCHED` or `LIMIT_TRADED_THROUGH`. `market` and `path` belong to bars,
    `rest` to quotes, `trigger` to quotes and depth, `queue` to everything but bars. `queue_power`
    is the power of its function, `queue_ahead` the lots taken to be ahead where the size at a price
    is not known; None: the order waits until it is.
    """

    limit_reach: float = LIMIT_TRADED_THROUGH
    market: MarketPrice = MarketPrice.NEXT_OPEN
    path: BarPath = BarPath.PESSIMISTIC
    rest: RestOfOrder = RestOfOrder.WAIT
    trigger: Trigger = Trigger.QUOTE
    queue: QueueModel = QueueModel.NONE
    queue_power: int = 3
    queue_ahead: int | None = None
