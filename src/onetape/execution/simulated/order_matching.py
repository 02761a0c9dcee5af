"""Where in a bar an order of any type and time in force stands: its rank, code, price and time.

The pessimistic sequence inside a bar is: what executes at the open, then what was triggered by a
stop, then limits and if-touched orders, then what meets the close alone. The optimistic one has
limits before stops. On a straight way, open-high-low-close or open-low-high-close, a bar is met as
three bars that only rise or only fall, and orders run in the order in which those pass them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from onetape.domain.numbers import compute_ticks
from onetape.domain.orders import OrderType, TimeInForce
from onetape.execution.simulated.bar_matching import (
    FILL_AT_OPEN,
    FILL_INSIDE,
    NO_FILL,
    WINDOW_NONE,
    WINDOW_WHOLE,
    compute_bar_fill,
    compute_bar_window,
    compute_fill_time,
    compute_limit_fill,
    compute_stop_limit_fill,
    compute_trailing_fill,
)
from onetape.execution.simulated.bar_paths import (
    compute_market_price,
    compute_optimistic_stop_limit_fill,
)
from onetape.execution.simulated.fill_terms import BarPath, FillTerms, MarketPrice
from onetape.execution.simulated.resting import RestingOrder

RANK_OPEN, RANK_STOP, RANK_LIMIT = range(3)
RANK_CLOSE = float("inf")
_RANK_AVERAGE = 0.25
"""The rank of market orders at a price of the whole bar."""

_RANK_EARLY_LIMIT = 0.5
"""The rank of limits on the optimistic path: behind the open, before stops."""

STRAIGHT = (BarPath.OPEN_HIGH_LOW_CLOSE, BarPath.OPEN_LOW_HIGH_CLOSE)
"""Paths on which a bar is met in parts."""

_LATE_IN_BAR = (OrderType.LIMIT, OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
_AT_THE_OPEN, _AT_THE_CLOSE = TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE
_MARKET, _STOP_LIMIT = OrderType.MARKET, OrderType.STOP_LIMIT
_TRAILING_STOP = OrderType.TRAILING_STOP


class Place(NamedTuple):
    """Where an order stands in a bar: the rank sorts, `code` and `ticks` are those of its rule."""

    rank: float
    code: int
    ticks: int
    ts_fill: int


class BarPrices(NamedTuple):
    """A bar as matching reads it; see `Bar.values`."""

    ts_open: int
    ts_close: int
    session_close: int
    open: float
    high: float
    low: float
    close: float
    volume: float


def split_bar(bar: BarPrices, path: BarPath) -> tuple[BarPrices, BarPrices, BarPrices]:
    """A bar as the three parts of a straight way, each only rising or only falling."""
    turns = (bar.high, bar.low) if path is BarPath.OPEN_HIGH_LOW_CLOSE else (bar.low, bar.high)
    way = (bar.open, *turns, bar.close)
    first, second, third = (
        bar._replace(open=a, high=max(a, b), low=min(a, b), close=b) for a, b in pairwise(way)
    )
    return first, second, third


def match_order(
    order: RestingOrder, bar: BarPrices, tick_size: float, fill: FillTerms, vwap: float
) -> Place | None:
    """The place of `order` in `bar`; None where the order may not use the bar. Moves its trail.

    `vwap` is the volume-weighted price of the bar, NaN where it has none.
    """
    reach = fill.limit_reach
    window = compute_bar_window(order.arrival, bar.ts_open, bar.ts_close)
    if window == WINDOW_NONE:
        return None
    whole = window == WINDOW_WHOLE
    time_in_force = order.command.time_in_force
    if time_in_force is _AT_THE_OPEN:
        return _match_opening(order, bar, tick_size, reach, whole=whole)
    if time_in_force is _AT_THE_CLOSE:
        return _match_closing(order, bar, tick_size)
    if not whole:
        close = bar.close
        code, ticks = _match_prices(order, close, close, close, close, tick_size, fill)
        return Place(RANK_CLOSE, code, ticks, bar.ts_close)
    kind = order.order_type
    if kind is _MARKET and fill.market is not MarketPrice.NEXT_OPEN:
        price = compute_market_price(fill.market, bar.open, bar.high, bar.low, bar.close, vwap)
        ticks = compute_ticks(price, tick_size, order.command.side)
        late = fill.market is MarketPrice.SAME_CLOSE
        return Place(RANK_CLOSE if late else _RANK_AVERAGE, FILL_AT_OPEN, ticks, bar.ts_close)
    code, ticks = _match_prices(order, bar.open, bar.high, bar.low, bar.close, tick_size, fill)
    rank = RANK_OPEN if code == FILL_AT_OPEN else _rank(kind, fill.path)
    return Place(rank, code, ticks, compute_fill_time(code, bar.ts_open, bar.ts_close))


def can_walk(order: RestingOrder, bar: BarPrices, fill: FillTerms) -> bool:
    """Whether `order` meets `bar` in parts: not where it fills once a bar, or sees its close only.

    An order that waits for its parent does so when it is born.
    """
    once = order.order_type is _MARKET and fill.market is not MarketPrice.NEXT_OPEN
    is_auction = order.command.time_in_force in (_AT_THE_OPEN, _AT_THE_CLOSE)
    return not (once or is_auction or order.held) and order.arrival <= bar.ts_open


def match_part(order: RestingOrder, part: BarPrices, tick_size: float, fill: FillTerms) -> Place:
    """The place of `order` in a later part of a bar (see `split_bar`): nothing opens there.

    Its rank is how far on the way it stands, in ticks.
    """
    code, ticks = _match_prices(order, part.open, part.high, part.low, part.close, tick_size, fill)
    if code == FILL_AT_OPEN:
        code = FILL_INSIDE
    return Place(_distance(ticks, part, tick_size), code, ticks, part.ts_close)


def place_on_way(place: Place, part: BarPrices, tick_size: float) -> Place:
    """A place in the first part of a bar, ranked by how far on the way it stands."""
    if place.code == FILL_AT_OPEN:
        return place._replace(rank=RANK_OPEN)
    return place._replace(rank=_distance(place.ticks, part, tick_size))


def _distance(ticks: int, part: BarPrices, tick_size: float) -> float:
    return abs(ticks - part.open / tick_size)


def _rank(kind: OrderType, path: BarPath) -> float:
    if kind not in _LATE_IN_BAR:
        return RANK_STOP
    return _RANK_EARLY_LIMIT if path is BarPath.OPTIMISTIC else RANK_LIMIT


def match_child(
    order: RestingOrder, entry: Place, bar: BarPrices, tick_size: float, fill: FillTerms
) -> Place:
    """The place of an order whose parent has just filled in the same bar.

    Fills when: behind an entry at the open it meets the whole bar. Behind one inside the bar a stop
        meets the worst of the bar, as if that came after the entry; a limit or if-touched order
        meets only what is certain, the way from the entry to the close, and so does what leads the
        trail of a stop. The optimistic path has that the other way round: a limit meets the best of
        the bar. On a straight way both meet what of `bar`, a part, is left.
    Ignores: that the worst of the bar may have been before the entry.
    Source: ours.
    """
    kind, path = order.order_type, fill.path
    is_whole = entry.rank == RANK_OPEN and entry.code == FILL_AT_OPEN
    if is_whole:
        open_, high, low = bar.open, bar.high, bar.low
    else:
        open_ = entry.ticks * tick_size
        high, low = max(open_, bar.close), min(open_, bar.close)
        is_late = kind in _LATE_IN_BAR
        if path not in STRAIGHT and is_late is (path is BarPath.OPTIMISTIC):
            if (order.command.side < 0) is is_late:
                high = max(high, bar.high)
            else:
                low = min(low, bar.low)
    code, ticks = _match_prices(order, open_, high, low, bar.close, tick_size, fill)
    if code == FILL_AT_OPEN and not is_whole:
        code = FILL_INSIDE
    rank = _distance(ticks, bar, tick_size) if path in STRAIGHT else _rank(kind, path)
    return Place(rank, code, ticks, compute_fill_time(code, bar.ts_open, bar.ts_close))


def _match_prices(
    order: RestingOrder,
    open_: float,
    high: float,
    low: float,
    close: float,
    tick_size: float,
    fill: FillTerms,
) -> tuple[int, int]:
    kind, side, reach = order.order_type, order.command.side, fill.limit_reach
    if kind is _STOP_LIMIT and fill.path is BarPath.OPTIMISTIC:
        return compute_optimistic_stop_limit_fill(
            side, order.limit_ticks, order.stop_ticks, open_, high, low, tick_size, reach
        )
    if not kind.is_trailing:
        return compute_bar_fill(
            kind, side, order.limit_ticks, order.stop_ticks, open_, high, low, close, tick_size,
            reach,
        )  # fmt: skip
    terms = order.conditions
    before = order.stop_ticks
    code, ticks, stop = compute_trailing_fill(
        side, before, terms.trail_ticks, terms.trail_ratio_e8, open_, high, low, close, tick_size
    )
    order.stop_ticks = stop
    if code == NO_FILL or kind is _TRAILING_STOP:
        return code, ticks
    order.limit_ticks = limit = stop + side * terms.offset_ticks
    if stop != before:  # the stop was hit on the way from the best price to the close
        open_ = stop * tick_size
        high, low = max(open_, close), min(open_, close)
    code, ticks = compute_stop_limit_fill(
        side, limit, stop, open_, high, low, close, tick_size, reach
    )
    return (FILL_INSIDE, ticks) if stop != before and code == FILL_AT_OPEN else (code, ticks)


def _match_opening(
    order: RestingOrder, bar: BarPrices, tick_size: float, reach: float, *, whole: bool
) -> Place | None:
    """The opening of a session: the open of the first bar of one that the order has not seen."""
    if not whole or bar.session_close <= order.session_close:
        order.session_close = max(order.session_close, bar.session_close)
        return None
    if order.order_type is _MARKET:
        code, ticks = FILL_AT_OPEN, compute_ticks(bar.open, tick_size, order.command.side)
    else:
        code, ticks = compute_limit_fill(
            order.command.side, order.limit_ticks, bar.open, bar.open, bar.open, tick_size, reach
        )
    return Place(RANK_OPEN, code, ticks, compute_fill_time(code, bar.ts_open, bar.ts_close))


def _match_closing(order: RestingOrder, bar: BarPrices, tick_size: float) -> Place | None:
    """The closing of a session: the close of its last bar; a limit there needs no trade beyond."""
    if not bar.ts_open < bar.session_close <= bar.ts_close:
        return None
    close, side = bar.close, order.command.side
    ticks = compute_ticks(close, tick_size, side)
    is_met = order.order_type is _MARKET or (ticks - order.limit_ticks) * side <= 0
    return Place(RANK_CLOSE, FILL_INSIDE if is_met else NO_FILL, ticks if is_met else 0,
                 bar.ts_close)  # fmt: skip
