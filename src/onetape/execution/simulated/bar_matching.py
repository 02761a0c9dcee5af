"""Matching one order against one bar: whether it fills, where in the bar, and at what price.

Inside a bar only open, high, low and close are known, so each rule takes the path that is worst
for us. Both sides are one rule: `side_sign` is +1 for a buy, -1 for a sell. Prices of the bar are
turned into ticks against us; where they are off the tick grid (adjusted data) a fill can stand less
than one tick outside the bar, never more. Slippage comes on top and belongs to another rule.

A bar that an order sees only the close of (`WINDOW_CLOSE`) is matched as a bar whose open, high,
low and close are that close.
"""

from __future__ import annotations

from onetape.domain.numbers import INT64_MAX, compute_ticks
from onetape.domain.rules import rule
from onetape.domain.trailing import compute_trailing_stop

_MARKET = 0
_LIMIT = 1
_STOP = 2
_STOP_LIMIT = 3
_MARKET_IF_TOUCHED = 4
_MAKER = 0
_TAKER = 1

WINDOW_NONE = 0
WINDOW_CLOSE = 1
WINDOW_WHOLE = 2

NO_FILL = 0
FILL_AT_OPEN = 1
FILL_INSIDE = 2
TRIGGER_ONLY = 3

LIMIT_TOUCHED = 1e-6
"""`limit_reach` under which a limit order fills when the bar trades at its limit."""

LIMIT_TRADED_THROUGH = -1e-6
"""`limit_reach` under which it fills only when the bar trades beyond its limit: the pessimistic
default, because a touch does not tell whether the queue before us was filled."""

_ON_TICK = 1e-6


@rule
def compute_bar_window(arrival: int, ts_open: int, ts_close: int) -> int:
    """Which part of a bar an order that arrived at `arrival` (ns) may use, a `WINDOW_*`. Ours.

    All of it when the bar opens at the arrival or later, only its close when the order arrived
    inside it, nothing when it had closed.
    """
    if ts_open >= arrival:
        return WINDOW_WHOLE
    if ts_close > arrival:
        return WINDOW_CLOSE
    return WINDOW_NONE


@rule
def compute_day_end(arrival: int, session_close: int) -> int:
    """When an order for a session ends that arrives at `arrival` (ns UTC); 0: not known yet. Ours.

    `session_close` is the end of the session of the newest known bar. An order that arrives before
    it belongs to that session, whether bars come in it or not; one that arrives then or later to
    the session of the first bar that it can use.
    """
    return session_close if arrival < session_close else 0


@rule
def compute_fill_time(code: int, ts_open: int, ts_close: int) -> int:
    """The moment (ns) that a fill from a whole bar stands for: its open or its close. Ours.

    A trade print is a bar of one nanosecond, and happens at its end.
    """
    if code == FILL_AT_OPEN and ts_close - ts_open > 1:
        return ts_open
    return ts_close


@rule
def compute_bar_capacity_lots(volume: float, lot_size: float, max_volume_ratio: float) -> int:
    """Lots that all our orders together may fill in a bar of `volume`, rounded down. Ours.

    Ends at 4e18 lots, so that it stays inside int64.
    """
    return compute_ticks(min(volume * max_volume_ratio, 4e18 * lot_size), lot_size, -1)


@rule
def compute_limit_fill(
    side_sign: int,
    limit_ticks: int,
    open_price: float,
    high: float,
    low: float,
    tick_size: float,
    limit_reach: float,
) -> tuple[int, int]:
    """(`NO_FILL` | `FILL_AT_OPEN` | `FILL_INSIDE`, ticks) of a limit order live at the open.

    Fills when: the bar trades at the limit or only beyond it, as `limit_reach` says; at the open
        where the open does so already, else at the limit.
    Ignores: the queue at the limit; that a fill of ours would move the market.
    Units: ticks; bar prices in currency.
    Source: ours.
    """
    if (open_price / tick_size - limit_ticks) * side_sign <= limit_reach:
        return FILL_AT_OPEN, compute_ticks(open_price, tick_size, side_sign)
    best = low if side_sign > 0 else high
    if (best / tick_size - limit_ticks) * side_sign <= limit_reach:
        return FILL_INSIDE, limit_ticks
    return NO_FILL, 0


@rule
def compute_stop_fill(
    side_sign: int, stop_ticks: int, open_price: float, high: float, low: float, tick_size: float
) -> tuple[int, int]:
    """(`NO_FILL` | `FILL_AT_OPEN` | `FILL_INSIDE`, ticks) of a stop order.

    Fills when: the bar touches the stop; at the open where the open is there or beyond, else at the
        stop.
    Ignores: gaps inside the bar, which slippage stands for.
    Units: ticks; bar prices in currency.
    Source: ours.
    """
    if (open_price / tick_size - stop_ticks) * side_sign >= -_ON_TICK:
        return FILL_AT_OPEN, compute_ticks(open_price, tick_size, side_sign)
    worst = high if side_sign > 0 else low
    if (worst / tick_size - stop_ticks) * side_sign >= -_ON_TICK:
        return FILL_INSIDE, stop_ticks
    return NO_FILL, 0


@rule
def compute_stop_limit_fill(
    side_sign: int,
    limit_ticks: int,
    stop_ticks: int,
    open_price: float,
    high: float,
    low: float,
    close: float,
    tick_size: float,
    limit_reach: float,
) -> tuple[int, int]:
    """(`NO_FILL` | `TRIGGER_ONLY` | `FILL_*`, ticks) of a stop-limit order not triggered yet.

    Fills when: triggered at the open, like a limit order live for the whole bar. Triggered inside
        the bar, only where it is certain: at the stop if that satisfies the limit, else at the
        limit if the close satisfies it (the price then came back after the trigger). Otherwise the
        order is triggered and waits for the next bar as a limit order.
    Ignores: gaps inside the bar; the queue at the limit.
    Units: ticks; bar prices in currency.
    Source: ours.
    """
    trigger, ticks = compute_stop_fill(side_sign, stop_ticks, open_price, high, low, tick_size)
    if trigger == NO_FILL:
        return NO_FILL, 0
    if trigger == FILL_AT_OPEN:
        code, ticks = compute_limit_fill(
            side_sign, limit_ticks, open_price, high, low, tick_size, limit_reach
        )
        return (TRIGGER_ONLY, 0) if code == NO_FILL else (code, ticks)
    if (stop_ticks - limit_ticks) * side_sign <= limit_reach:
        return FILL_INSIDE, stop_ticks
    if (close / tick_size - limit_ticks) * side_sign <= limit_reach:
        return FILL_INSIDE, limit_ticks
    return TRIGGER_ONLY, 0


@rule
def compute_limit_if_touched_fill(
    side_sign: int,
    limit_ticks: int,
    touch_ticks: int,
    open_price: float,
    high: float,
    low: float,
    tick_size: float,
    limit_reach: float,
) -> tuple[int, int]:
    """(`NO_FILL` | `TRIGGER_ONLY` | `FILL_*`, ticks) of a limit-if-touched order not triggered yet.

    Fills when: triggered at the open, like a limit order live for the whole bar. Triggered inside
        the bar, at the touched price if that satisfies the limit, else at the limit if the bar goes
        on to it (it passes the touched price first). Otherwise the order is triggered and waits for
        the next bar as a limit order. The touch itself needs no trade beyond it.
    Ignores: the queue at the limit.
    Units: ticks; bar prices in currency.
    Source: ours.
    """
    trigger, ticks = compute_limit_fill(
        side_sign, touch_ticks, open_price, high, low, tick_size, LIMIT_TOUCHED
    )
    if trigger == NO_FILL:
        return NO_FILL, 0
    if trigger == FILL_INSIDE and (touch_ticks - limit_ticks) * side_sign <= limit_reach:
        return FILL_INSIDE, touch_ticks
    code, ticks = compute_limit_fill(
        side_sign, limit_ticks, open_price, high, low, tick_size, limit_reach
    )
    return (TRIGGER_ONLY, 0) if code == NO_FILL else (code, ticks)


@rule
def compute_trailing_fill(
    side_sign: int,
    stop_ticks: int,
    trail_ticks: int,
    trail_ratio_e8: int,
    open_price: float,
    high: float,
    low: float,
    close: float,
    tick_size: float,
) -> tuple[int, int, int]:
    """(`NO_FILL` | `FILL_*`, ticks, stop after the bar) of a trailing stop order.

    Fills when: the bar touches the stop as it stood before the bar, like any stop. Else the stop
        follows the best price of the bar, and is hit for certain where the close is at it or
        beyond: the market came back from its best price through it.
    Ignores: moves of the stop inside a bar that also touches the old one; gaps inside the bar.
    Units: ticks; bar prices in currency.
    Source: ours.
    """
    code, ticks = compute_stop_fill(side_sign, stop_ticks, open_price, high, low, tick_size)
    if code != NO_FILL:
        return code, ticks, stop_ticks
    stop = compute_trailing_stop(
        side_sign, stop_ticks, trail_ticks, trail_ratio_e8, high, low, tick_size
    )
    if (close / tick_size - stop) * side_sign >= -_ON_TICK:
        return FILL_INSIDE, stop, stop
    return NO_FILL, 0, stop


@rule
def compute_bar_fill(
    order_type: int,
    side_sign: int,
    limit_ticks: int,
    stop_ticks: int,
    open_price: float,
    high: float,
    low: float,
    close: float,
    tick_size: float,
    limit_reach: float,
) -> tuple[int, int]:
    """(code, ticks) of an order that does not trail; ticks are 0 without a fill. Ours.

    A market order fills at the open. A triggered order is of its base type from then on.
    """
    if order_type == _MARKET:
        return FILL_AT_OPEN, compute_ticks(open_price, tick_size, side_sign)
    if order_type == _LIMIT:
        return compute_limit_fill(
            side_sign, limit_ticks, open_price, high, low, tick_size, limit_reach
        )
    if order_type == _STOP:
        return compute_stop_fill(side_sign, stop_ticks, open_price, high, low, tick_size)
    if order_type == _STOP_LIMIT:
        return compute_stop_limit_fill(
            side_sign, limit_ticks, stop_ticks, open_price, high, low, close, tick_size, limit_reach
        )
    if order_type == _MARKET_IF_TOUCHED:
        return compute_limit_fill(
            side_sign, stop_ticks, open_price, high, low, tick_size, LIMIT_TOUCHED
        )
    return compute_limit_if_touched_fill(
        side_sign, limit_ticks, stop_ticks, open_price, high, low, tick_size, limit_reach
    )


@rule
def compute_liquidity_side(order_type: int, bars_waited: int, code: int) -> int:
    """Whether a fill (`FILL_*`) made or took liquidity, a `LiquiditySide`. Ours.

    Only a limit order makes liquidity, and not when it was marketable at the open of the first bar
    it could use (`bars_waited` 0). A stop-limit order takes in the bar that triggers it.
    """
    if order_type == _LIMIT and (bars_waited > 0 or code != FILL_AT_OPEN):
        return _MAKER
    return _TAKER


@rule
def compute_shown_lots(
    display: int, side: int, limit_ticks: int, high: float, low: float, tick_size: float
) -> int:
    """Lots of a resting iceberg that prices from `low` to `high` may fill. Ours.

    Fills when: prices that go beyond the limit fill all of it, hidden lots too: they come before
        the next price. Prices that only reach it fill the slice that is shown; the next one goes to
        the end of the queue, and what trades there is not ours any more.
    Ignores: how much traded at the limit.
    """
    best = low if side > 0 else high
    if (best / tick_size - limit_ticks) * side <= LIMIT_TRADED_THROUGH:
        return INT64_MAX
    return display
