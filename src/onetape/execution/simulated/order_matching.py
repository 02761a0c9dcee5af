"""Where in a bar an order of any type and time in force stands: its rank, code, price and time.

The pessimistic sequence inside a bar is: what executes at the open, then what was triggered by a
stop, then limits and if-touched orders, then what meets the close alone.
"""

from __future__ import annotations

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
from onetape.execution.simulated.resting import RestingOrder

RANK_OPEN, RANK_STOP, RANK_LIMIT, RANK_CLOSE = range(4)

_LATE_IN_BAR = (OrderType.LIMIT, OrderType.MARKET_IF_TOUCHED, OrderType.LIMIT_IF_TOUCHED)
_AT_THE_OPEN, _AT_THE_CLOSE = TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE
_MARKET, _TRAILING_STOP = OrderType.MARKET, OrderType.TRAILING_STOP


class Place(NamedTuple):
    """Where an order stands in a bar: the rank sorts, `code` and `ticks` are those of its rule."""

    rank: int
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


def match_order(
    order: RestingOrder, bar: BarPrices, tick_size: float, reach: float
) -> Place | None:
    """The place of `order` in `bar`; None where the order may not use the bar. Moves its trail."""
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
        code, ticks = _match_prices(order, close, close, close, close, tick_size, reach)
        return Place(RANK_CLOSE, code, ticks, bar.ts_close)
    kind = order.order_type
    code, ticks = _match_prices(order, bar.open, bar.high, bar.low, bar.close, tick_size, reach)
    rank = RANK_OPEN if code == FILL_AT_OPEN else RANK_LIMIT if kind in _LATE_IN_BAR else RANK_STOP
    return Place(rank, code, ticks, compute_fill_time(code, bar.ts_open, bar.ts_close))


def match_child(
    order: RestingOrder, entry: Place, bar: BarPrices, tick_size: float, reach: float
) -> Place:
    """The place of an order whose parent has just filled in the same bar.

    Fills when: behind an entry at the open it meets the whole bar. Behind one inside the bar a stop
        meets the worst of the bar, as if that came after the entry; a limit or if-touched order
        meets only what is certain, the way from the entry to the close.
    Ignores: that the worst of the bar may have been before the entry.
    Source: ours.
    """
    if entry.rank == RANK_OPEN:
        open_, high, low = bar.open, bar.high, bar.low
    else:
        open_ = entry.ticks * tick_size
        high, low = max(open_, bar.close), min(open_, bar.close)
        if order.order_type not in _LATE_IN_BAR:
            high, low = max(high, bar.high), min(low, bar.low)
    code, ticks = _match_prices(order, open_, high, low, bar.close, tick_size, reach)
    if code == FILL_AT_OPEN and entry.rank != RANK_OPEN:
        code = FILL_INSIDE
    rank = RANK_LIMIT if order.order_type in _LATE_IN_BAR else RANK_STOP
    return Place(rank, code, ticks, compute_fill_time(code, bar.ts_open, bar.ts_close))


def _match_prices(
    order: RestingOrder,
    open_: float,
    high: float,
    low: float,
    close: float,
    tick_size: float,
    reach: float,
) -> tuple[int, int]:
    kind, side = order.order_type, order.command.side
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
