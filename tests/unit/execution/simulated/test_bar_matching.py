from __future__ import annotations

import pytest

from onetape.domain.orders import LiquiditySide, OrderType
from onetape.execution.simulated.bar_matching import (
    FILL_AT_OPEN,
    FILL_INSIDE,
    LIMIT_TOUCHED,
    LIMIT_TRADED_THROUGH,
    NO_FILL,
    TRIGGER_ONLY,
    WINDOW_CLOSE,
    WINDOW_NONE,
    WINDOW_WHOLE,
    compute_bar_capacity_lots,
    compute_bar_fill,
    compute_bar_window,
    compute_fill_time,
    compute_liquidity_side,
)

BUY, SELL = 1, -1
TOUCH, THROUGH = LIMIT_TOUCHED, LIMIT_TRADED_THROUGH
OPEN, INSIDE, NONE, ARMED = FILL_AT_OPEN, FILL_INSIDE, NO_FILL, TRIGGER_ONLY
MAKER, TAKER = int(LiquiditySide.MAKER), int(LiquiditySide.TAKER)
BAR = (100.00, 101.00, 99.00, 100.50)
FALL = (100.00, 101.00, 99.00, 99.20)
RISE_FALL = (100.00, 101.00, 99.00, 99.90)
OFF_GRID = (100.003, 100.003, 100.003, 100.003)


@pytest.mark.parametrize(
    ("arrival", "window"),
    [(9, WINDOW_WHOLE), (10, WINDOW_WHOLE), (11, WINDOW_CLOSE), (19, WINDOW_CLOSE),
     (20, WINDOW_NONE), (21, WINDOW_NONE)],
)  # fmt: skip
def test_bar_window_of_bar_10_to_20_depends_on_arrival(arrival: int, window: int) -> None:
    assert compute_bar_window(arrival, 10, 20) == window


@pytest.mark.parametrize(
    ("code", "ts_open", "ts_close", "ts_fill"),
    [
        (OPEN,   10, 20, 10),
        (INSIDE, 10, 20, 20),
        (OPEN,   10, 12, 10),
        (OPEN,   10, 11, 11),  # a trade print at 11
        (INSIDE, 10, 11, 11),
    ],
)  # fmt: skip
def test_fill_time_is_open_or_close_of_a_bar_and_the_moment_of_a_print(
    code: int, ts_open: int, ts_close: int, ts_fill: int
) -> None:
    assert compute_fill_time(code, ts_open, ts_close) == ts_fill


@pytest.mark.parametrize(
    ("volume", "lot_size", "ratio", "lots"),
    [
        (1000.0,  1.0,   0.1,  100),
        (1009.9,  1.0,   0.1,  100),
        (0.3,     0.1,   1.0,  3),
        (1.0,     0.001, 0.07, 70),
        (0.0,     1.0,   0.5,  0),
        (9.0,     1.0,   0.1,  0),
    ],
)  # fmt: skip
def test_bar_capacity_is_rounded_down_to_lots(
    volume: float, lot_size: float, ratio: float, lots: int
) -> None:
    assert compute_bar_capacity_lots(volume, lot_size, ratio) == lots


@pytest.mark.parametrize(
    ("side", "bar",     "ticks"),
    [
        (BUY,  BAR,      10_000),
        (SELL, BAR,      10_000),
        (BUY,  OFF_GRID, 10_001),
        (SELL, OFF_GRID, 10_000),
    ],
)  # fmt: skip
def test_market_order_fills_at_the_open_rounded_against_us(
    side: int, bar: tuple[float, float, float, float], ticks: int
) -> None:
    got = compute_bar_fill(OrderType.MARKET, side, 0, 0, *bar, 0.01, THROUGH)
    assert got == (FILL_AT_OPEN, ticks)


@pytest.mark.parametrize(
    ("side", "limit", "reach",  "bar",     "code", "ticks"),
    [
        (BUY,  10_050,  THROUGH, BAR,       OPEN,   10_000),
        (BUY,  10_000,  TOUCH,   BAR,       OPEN,   10_000),
        (BUY,  10_000,  THROUGH, BAR,       INSIDE, 10_000),
        (BUY,   9_950,  THROUGH, BAR,       INSIDE,  9_950),
        (BUY,   9_900,  TOUCH,   BAR,       INSIDE,  9_900),
        (BUY,   9_900,  THROUGH, BAR,       NONE,        0),
        (BUY,   9_899,  TOUCH,   BAR,       NONE,        0),
        (SELL,  9_950,  THROUGH, BAR,       OPEN,   10_000),
        (SELL, 10_000,  TOUCH,   BAR,       OPEN,   10_000),
        (SELL, 10_000,  THROUGH, BAR,       INSIDE, 10_000),
        (SELL, 10_050,  THROUGH, BAR,       INSIDE, 10_050),
        (SELL, 10_100,  TOUCH,   BAR,       INSIDE, 10_100),
        (SELL, 10_100,  THROUGH, BAR,       NONE,        0),
        (SELL, 10_101,  TOUCH,   BAR,       NONE,        0),
        (BUY,  10_001,  THROUGH, OFF_GRID,  OPEN,   10_001),
        (BUY,  10_000,  TOUCH,   OFF_GRID,  NONE,        0),
        (SELL, 10_000,  THROUGH, OFF_GRID,  OPEN,   10_000),
        (SELL, 10_001,  TOUCH,   OFF_GRID,  NONE,        0),
    ],
)  # fmt: skip
def test_limit_order_fills_at_the_limit_or_the_better_open(
    side: int,
    limit: int,
    reach: float,
    bar: tuple[float, float, float, float],
    code: int,
    ticks: int,
) -> None:
    assert compute_bar_fill(OrderType.LIMIT, side, limit, 0, *bar, 0.01, reach) == (code, ticks)


@pytest.mark.parametrize(
    ("side", "stop",  "bar",    "code", "ticks"),
    [
        (BUY,  10_101, BAR,      NONE,        0),
        (BUY,  10_100, BAR,      INSIDE, 10_100),
        (BUY,  10_001, BAR,      INSIDE, 10_001),
        (BUY,  10_000, BAR,      OPEN,   10_000),
        (BUY,   9_800, BAR,      OPEN,   10_000),
        (SELL,  9_899, BAR,      NONE,        0),
        (SELL,  9_900, BAR,      INSIDE,  9_900),
        (SELL,  9_999, BAR,      INSIDE,  9_999),
        (SELL, 10_000, BAR,      OPEN,   10_000),
        (SELL, 10_200, BAR,      OPEN,   10_000),
        (BUY,  10_000, OFF_GRID, OPEN,   10_001),
        (BUY,  10_001, OFF_GRID, NONE,        0),
        (SELL, 10_001, OFF_GRID, OPEN,   10_000),
    ],
)  # fmt: skip
def test_stop_order_fills_at_the_stop_or_the_worse_open(
    side: int, stop: int, bar: tuple[float, float, float, float], code: int, ticks: int
) -> None:
    assert compute_bar_fill(OrderType.STOP, side, 0, stop, *bar, 0.01, TOUCH) == (code, ticks)


@pytest.mark.parametrize(
    ("side", "stop",  "limit", "reach",  "bar",     "code", "ticks"),
    [
        # not triggered
        (BUY,  10_101,  10_200,  TOUCH,   BAR,       NONE,        0),
        # triggered inside, the stop satisfies the limit
        (BUY,  10_050,  10_060,  THROUGH, BAR,       INSIDE, 10_050),
        (BUY,  10_050,  10_050,  TOUCH,   BAR,       INSIDE, 10_050),
        # triggered inside, not certain that the price came back to the limit
        (BUY,  10_050,  10_050,  THROUGH, BAR,       ARMED,       0),
        (BUY,  10_050,   9_950,  TOUCH,   BAR,       ARMED,       0),
        # triggered inside, the close proves that it came back
        (BUY,  10_050,  10_050,  THROUGH, RISE_FALL, INSIDE, 10_050),
        (BUY,  10_050,   9_990,  TOUCH,   RISE_FALL, INSIDE,  9_990),
        (BUY,  10_050,   9_990,  THROUGH, RISE_FALL, ARMED,       0),
        (BUY,  10_050,   9_950,  TOUCH,   RISE_FALL, ARMED,       0),
        # triggered at the open: a limit order for the whole bar
        (BUY,   9_800,  10_000,  TOUCH,   BAR,       OPEN,   10_000),
        (BUY,   9_800,   9_950,  THROUGH, BAR,       INSIDE,  9_950),
        (BUY,   9_800,   9_850,  TOUCH,   BAR,       ARMED,       0),
        # the same for sells
        (SELL,  9_899,   9_800,  TOUCH,   BAR,       NONE,        0),
        (SELL,  9_950,   9_940,  THROUGH, BAR,       INSIDE,  9_950),
        (SELL,  9_950,   9_950,  THROUGH, FALL,      ARMED,       0),
        (SELL,  9_950,  10_050,  TOUCH,   BAR,       INSIDE, 10_050),
        (SELL,  9_950,  10_050,  THROUGH, BAR,       ARMED,       0),
        (SELL, 10_200,  10_050,  THROUGH, BAR,       INSIDE, 10_050),
        (SELL, 10_200,  10_150,  TOUCH,   BAR,       ARMED,       0),
    ],
)  # fmt: skip
def test_stop_limit_order_fills_only_where_it_is_certain(
    side: int,
    stop: int,
    limit: int,
    reach: float,
    bar: tuple[float, float, float, float],
    code: int,
    ticks: int,
) -> None:
    got = compute_bar_fill(OrderType.STOP_LIMIT, side, limit, stop, *bar, 0.01, reach)
    assert got == (code, ticks)


@pytest.mark.parametrize(
    ("order_type",          "waited", "code", "side"),
    [
        (OrderType.MARKET,     0,       OPEN,   TAKER),
        (OrderType.STOP,       0,       OPEN,   TAKER),
        (OrderType.STOP,       5,       INSIDE, TAKER),
        (OrderType.LIMIT,      0,       OPEN,   TAKER),
        (OrderType.LIMIT,      0,       INSIDE, MAKER),
        (OrderType.LIMIT,      1,       OPEN,   MAKER),
        (OrderType.LIMIT,      1,       INSIDE, MAKER),
        (OrderType.STOP_LIMIT, 0,       INSIDE, TAKER),
        (OrderType.STOP_LIMIT, 3,       OPEN,   TAKER),
    ],
)  # fmt: skip
def test_liquidity_is_made_only_by_a_resting_limit_order(
    order_type: OrderType, waited: int, code: int, side: int
) -> None:
    assert compute_liquidity_side(order_type, waited, code) == side
