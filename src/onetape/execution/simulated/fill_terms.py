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


class FillTerms(msgspec.Struct, frozen=True, kw_only=True):
    """How orders of one instrument fill.

    `limit_reach` is `LIMIT_TOUCHED` or `LIMIT_TRADED_THROUGH`. `market` and `path` belong to bars.
    """

    limit_reach: float = LIMIT_TRADED_THROUGH
    market: MarketPrice = MarketPrice.NEXT_OPEN
    path: BarPath = BarPath.PESSIMISTIC
