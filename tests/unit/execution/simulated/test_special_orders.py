"""Orders that trail, are touched, belong to an auction, post only, or are bound to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderReduced,
    OrderSubmitted,
    OrderTriggered,
)
from onetape.domain.orders import Contingency, DenialCode, LiquiditySide, Side, TimeInForce
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.fill_terms import BarPath, FillTerms
from onetape.execution.simulated.slippage import FixedSlippage
from onetape.risk.limits import RiskLimits
from onetape.runtime.compiled.host import CompiledHost
from onetape.runtime.sessions.backtest import StrategySpec
from onetape.strategy.context import Context
from onetape.strategy.library.sma_cross import SmaCross
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    Prices,
    at_rows,
    closes,
    make_columns,
    make_timeline,
    opens,
)

BUY, SELL = Side
OPEN, CLOSE = TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE
OCO, OUO = Contingency.OCO, Contingency.OUO
FLAT: Prices = (100.0, 100.0, 100.0, 100.0)

Action = Callable[[Context], object]


def order(side: Side = BUY, quantity: float = 10, **how: Any) -> Action:
    return lambda ctx: ctx.order(AAPL, side, quantity, **how)


def run(rows: list[Prices], actions: dict[int, Action], *, session: int = 1_000, **how: Any
        ) -> SessionRun:  # fmt: skip
    """The session of a strategy that does `actions[n]` at bar n."""
    done = run_session(make_timeline(rows, session=session), at_rows(actions), **how)
    assert done.quarantined == []
    return done


def prices_of(done: SessionRun) -> list[tuple[str, int, float]]:
    """(intent number, signed lots, price) of each fill."""
    return [
        (each.client_order_id.rpartition("-")[2], each.lots * each.side, each.ticks / 100)
        for each in done.fills
    ]


def ends_of(done: SessionRun) -> list[tuple[str, str]]:
    return [
        (each.client_order_id.rpartition("-")[2], each.reason)
        for each in done.of_type(OrderCanceled, OrderExpired)
    ]


# fmt: off
TOUCHES: list[tuple[str, Action, Prices, float | None]] = [
    # what                       order                           next bar: o h l c      fills at
    ("buy, not touched",         order(touch=95),                (100, 101, 96, 100),    None),
    ("buy, touched",             order(touch=95),                (100, 101, 95, 100),    95),
    ("buy, opens below",         order(touch=95),                (94, 101, 93, 100),     94),
    ("sell, touched",            order(SELL, touch=105),         (100, 106, 99, 100),    105),
    ("sell, opens above",        order(SELL, touch=105),         (107, 108, 99, 100),    107),
    ("limit at once",            order(touch=95, limit=96),      (100, 101, 95, 100),    95),
    ("limit beyond, reached",    order(touch=95, limit=94),      (100, 101, 94, 100),    94),
    ("limit beyond, not reached", order(touch=95, limit=94),     (100, 101, 94.5, 100),  None),
    ("opens between",            order(touch=95, limit=94),      (94.5, 101, 94.2, 100), None),
    ("opens beyond both",        order(touch=95, limit=94),      (93, 101, 92, 100),     93),
    ("sell limit beyond",        order(SELL, touch=105, limit=106), (100, 107, 99, 100), 106),
]
# fmt: on


@pytest.mark.parametrize(
    ("action", "bar", "price"), [row[1:] for row in TOUCHES], ids=[row[0] for row in TOUCHES]
)
def test_if_touched_order(action: Action, bar: Prices, price: float | None) -> None:
    done = run([FLAT, bar], {0: action}, limit_reach=LIMIT_TOUCHED)
    assert [each[2] for each in prices_of(done)] == ([] if price is None else [price])


def test_limit_if_touched_waits_as_a_limit_order_after_its_touch() -> None:
    rows = [FLAT, (100, 101, 94.5, 100), (96, 97, 93, 96)]
    done = run(rows, {0: order(touch=95, limit=94)}, limit_reach=LIMIT_TOUCHED)
    assert [each.stop_ticks for each in done.of_type(OrderTriggered)] == [9500]
    assert prices_of(done) == [("1", 10, 94)]
    assert done.fills[0].liquidity is LiquiditySide.MAKER


# fmt: off
TRAILS: list[tuple[str, Action, list[Prices], list[float]]] = [
    # what order bars after the decision at 100 fills
    ("sell stays behind the high", order(SELL, trail=2),
        [(100, 104, 99, 104), (103, 103, 101.9, 102)], [102]),
    ("never moves back",          order(SELL, trail=2),
        [(100, 104, 99, 104), (103, 103, 102.5, 103), (102.2, 102.2, 101, 101)], [102]),
    ("old stop first",            order(SELL, trail=2),
        [(100, 110, 98, 109)], [98]),
    ("came back from its best",   order(SELL, trail=2),
        [(100, 110, 99, 105)], [108]),
    ("gap through",               order(SELL, trail=2),
        [(100, 104, 99, 104), (101, 101, 100, 101)], [101]),
    ("buy stays above the low",   order(BUY, trail=2),
        [(100, 101, 95, 95.5), (96, 97.5, 95.5, 97)], [97]),
    ("a share of the price",      order(SELL, trail_ratio=0.05),
        [(100, 120, 100, 119), (115, 115, 113, 114)], [114]),
    ("rounded up to a tick",      order(SELL, trail_ratio=0.00001),
        [(100, 100, 99.99, 100)], [99.99]),
    ("limit at the stop",         order(SELL, trail=2, limit_offset=0),
        [(100, 104, 99, 104), (103, 103, 101, 101), (101, 101.5, 101, 101)], [102]),
    ("limit below the stop",      order(SELL, trail=2, limit_offset=1),
        [(100, 104, 99, 104), (100.5, 100.8, 100, 100), (100, 101.2, 100, 101)], [101]),
]
# fmt: on


@pytest.mark.parametrize(
    ("action", "bars", "prices"), [row[1:] for row in TRAILS], ids=[row[0] for row in TRAILS]
)
def test_trailing_stop(action: Action, bars: list[Prices], prices: list[float]) -> None:
    done = run([FLAT, *bars], {0: action}, limit_reach=LIMIT_TOUCHED)
    assert [each[2] for each in prices_of(done)] == prices


@pytest.mark.parametrize("time_in_force", [TimeInForce.DAY, CLOSE], ids=["day", "close"])
def test_order_of_a_session_ends_with_it_also_where_no_bar_of_it_comes_any_more(
    time_in_force: TimeInForce,
) -> None:
    """Decided at 14:32, and nothing trades until the session ends at 14:35."""
    rows = {name: np.delete(column, [2, 3, 4])
            for name, column in make_columns([FLAT] * 10, session=5).items()}  # fmt: skip
    done = run_session(
        make_timeline((EQUITY, rows)), at_rows({1: order(time_in_force=time_in_force)})
    )
    assert done.fills == []
    assert [each[0] for each in ends_of(done)] == ["1"]


def test_day_order_at_the_close_of_its_session_lives_through_the_next() -> None:
    rows = {name: np.delete(column, [2, 3])
            for name, column in make_columns([FLAT] * 10, session=5).items()}  # fmt: skip
    done = run_session(
        make_timeline((EQUITY, rows)), at_rows({2: order(time_in_force=TimeInForce.DAY)})
    )
    assert prices_of(done) == [("1", 10, 100)]


def test_trailing_stop_begins_at_its_distance_from_the_newest_price() -> None:
    done = run([FLAT, FLAT], {0: order(SELL, trail=2.5)})
    (sent,) = done.of_type(OrderSubmitted)
    assert (sent.stop_ticks, sent.conditions.trail_ticks) == (9750, 250)


def test_order_at_the_open_waits_for_the_next_session() -> None:
    """Sessions of three bars: decided inside one, it fills at the open of the next."""
    rows = [(price, price + 1, price - 1, price + 0.5) for price in range(100, 108)]
    done = run(rows, {0: order(time_in_force=OPEN)}, session=3)
    assert prices_of(done) == [("1", 10, 103)]
    assert done.fills[0].ts_fill == opens(3)


def test_order_at_the_open_that_is_decided_at_a_close_fills_at_the_next_open() -> None:
    rows = [(price, price + 1, price - 1, price + 0.5) for price in range(100, 108)]
    done = run(rows, {2: order(time_in_force=OPEN)}, session=3)
    assert prices_of(done) == [("1", 10, 103)]


def test_limit_at_the_open_that_the_open_does_not_reach_is_canceled() -> None:
    rows = [(price, price + 5, price - 5, price) for price in range(100, 108)]
    done = run(rows, {0: order(limit=102.5, time_in_force=OPEN)}, session=3)
    assert prices_of(done) == []
    assert ends_of(done) == [("1", "not filled in the auction")]


def test_order_at_the_close_fills_at_the_close_of_the_last_bar_of_the_session() -> None:
    rows = [(price, price + 1, price - 1, price + 0.5) for price in range(100, 108)]
    done = run(rows, {0: order(time_in_force=CLOSE)}, session=3)
    assert prices_of(done) == [("1", 10, 102.5)]
    assert done.fills[0].ts_fill == closes(2)


def test_order_at_the_close_that_is_decided_there_fills_at_the_next_close() -> None:
    rows = [(price, price + 1, price - 1, price + 0.5) for price in range(100, 108)]
    done = run(rows, {2: order(time_in_force=CLOSE)}, session=3)
    assert prices_of(done) == [("1", 10, 105.5)]


@pytest.mark.parametrize(("limit", "price"), [(102.5, 102.5), (102.49, None)])
def test_limit_at_the_close(limit: float, price: float | None) -> None:
    rows = [(price, price + 1, price - 1, price + 0.5) for price in range(100, 108)]
    done = run(rows, {0: order(limit=limit, time_in_force=CLOSE)}, session=3)
    assert [each[2] for each in prices_of(done)] == ([] if price is None else [price])
    assert ends_of(done) == ([] if price else [("1", "not filled in the auction")])


def test_post_only_order_that_would_take_is_canceled() -> None:
    rows = [FLAT, FLAT, (98, 101, 97, 100)]
    done = run(rows, {0: order(limit=101, post_only=True), 1: order(limit=99, post_only=True)})
    assert ends_of(done) == [("1", "post only, and it would take"),
                             ("2", "post only, and it would take")]  # fmt: skip
    done = run([FLAT, FLAT, (100, 101, 98, 100)], {0: order(limit=99, post_only=True)})
    assert prices_of(done) == [("1", 10, 99)]


def bind(contingency: Contingency) -> Action:
    def act(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, limit=95, group="pair", contingency=contingency)
        ctx.order(AAPL, BUY, 10, stop=105, group="pair", contingency=contingency)

    return act


def test_fill_of_one_cancels_the_other() -> None:
    done = run([FLAT, (100, 106, 99, 106), (100, 110, 90, 100)], {0: bind(OCO)})
    assert prices_of(done) == [("2", 10, 105)]
    assert ends_of(done) == [("1", "one cancels the other")]


def test_bar_that_reaches_both_fills_the_stop_alone() -> None:
    done = run([FLAT, (100, 106, 94, 100), FLAT], {0: bind(OCO)})
    assert prices_of(done) == [("2", 10, 105)]
    assert ends_of(done) == [("1", "one cancels the other")]


@pytest.mark.parametrize(
    ("contingency", "left"), [(OCO, []), (OUO, [("1", 6)])], ids=["oco", "ouo"]
)
def test_partial_fill_takes_from_the_other(
    contingency: Contingency, left: list[tuple[str, int]]
) -> None:
    """The bar gives 4 of the 10 lots that the stop wants."""
    thin: Prices = (100, 106, 99, 106, 4.0)
    done = run([FLAT, thin], {0: bind(contingency)}, max_volume_ratio=1.0)
    assert prices_of(done) == [("2", 4, 105)]
    reduced = [(each.client_order_id[-1], each.lots) for each in done.of_type(OrderReduced)]
    assert reduced == left
    assert ends_of(done) == ([] if left else [("1", "one cancels the other")])


def bracket(**how: Any) -> Action:
    return lambda ctx: ctx.bracket(AAPL, BUY, 10, **{"take_profit": 110, "stop_loss": 95, **how})


# fmt: off
Numbered = tuple[str, int, float]
BRACKETS: list[tuple[str, dict[str, Any], list[Prices], list[Numbered], list[str]]] = [
    # entry 1, take profit 2 at 110, stop loss 3 at 95; what fills, and which are canceled
    ("profit, later bar",     {},             [FLAT, (100, 111, 99, 110)],
        [("1", 10, 100), ("2", -10, 110)], ["3"]),
    ("loss, later bar",       {},             [FLAT, (100, 101, 94, 95)],
        [("1", 10, 100), ("3", -10, 95)], ["2"]),
    ("both in one bar: loss", {},             [FLAT, (100, 111, 94, 100)],
        [("1", 10, 100), ("3", -10, 95)], ["2"]),
    ("loss in the entry's bar", {},           [(100, 101, 94, 100)],
        [("1", 10, 100), ("3", -10, 95)], ["2"]),
    ("profit in the entry's bar", {},         [(100, 111, 99, 100)],
        [("1", 10, 100), ("2", -10, 110)], ["3"]),
    ("limit entry, low after it", {"limit": 98}, [(100, 101, 94, 100)],
        [("1", 10, 98), ("3", -10, 95)], ["2"]),
    ("limit entry, high before or after", {"limit": 98}, [(100, 111, 97, 100)],
        [("1", 10, 98)],                                                                        []),
    ("limit entry, close beyond profit", {"limit": 98}, [(100, 112, 97, 111)],
        [("1", 10, 98), ("2", -10, 110)], ["3"]),
    ("stop entry, low before or after", {"stop": 105}, [(100, 106, 94, 105)],
        [("1", 10, 105), ("3", -10, 95)], ["2"]),
    ("trailing loss", {"stop_loss": None, "trail": 3},
        [FLAT, (100, 108, 100, 108), (107, 107, 104, 104)],
        [("1", 10, 100), ("3", -10, 105)], ["2"]),
    ("trailing loss behind a limit entry, high before or after",
        {"limit": 98, "stop_loss": None, "trail": 5}, [(100, 109, 97, 100), (100, 100, 96, 96)],
        [("1", 10, 98)], []),
    ("trailing loss behind a limit entry, close above it",
        {"limit": 98, "stop_loss": None, "trail": 5}, [(100, 109, 97, 104), (104, 104, 96, 96)],
        [("1", 10, 98), ("3", -10, 99)], ["2"]),
]
# fmt: on


@pytest.mark.parametrize(
    ("how", "bars", "fills", "canceled"), [row[1:] for row in BRACKETS],
    ids=[row[0] for row in BRACKETS],
)  # fmt: skip
def test_bracket(
    how: dict[str, Any], bars: list[Prices], fills: list[Numbered],
    canceled: list[str],
) -> None:  # fmt: skip
    done = run([FLAT, *bars], {0: bracket(**how)}, limit_reach=LIMIT_TOUCHED,
               limits=RiskLimits(max_leverage=4, allow_short=False))  # fmt: skip
    assert prices_of(done) == fills
    assert [number for number, _ in ends_of(done)] == canceled
    assert done.denied == []


def test_bracket_follows_a_partial_entry() -> None:
    """The entry fills 4 of 10, then is canceled: the exits keep 4, and the loss sells 4."""
    rows = [FLAT, (100, 100, 100, 100, 4.0), FLAT, (100, 100, 94, 94), FLAT]
    ids: list[str] = []

    def enter(ctx: Context) -> None:
        ids.extend(ctx.bracket(AAPL, BUY, 10, take_profit=110, stop_loss=95, limit=100))

    done = run(rows, {0: enter, 1: lambda ctx: ctx.cancel(ids[0])}, max_volume_ratio=1.0,
               limit_reach=LIMIT_TOUCHED)  # fmt: skip
    assert prices_of(done) == [("1", 4, 100), ("3", -4, 95)]
    assert [(each.client_order_id[-1], each.lots) for each in done.of_type(OrderReduced)] == [
        ("2", 4), ("3", 4)
    ]  # fmt: skip
    assert ends_of(done) == [("1", "requested"), ("2", "one updates the other")]
    assert done.ledger().held == {}


def test_bracket_whose_entry_ends_unfilled_ends_with_it() -> None:
    ids: list[str] = []

    def enter(ctx: Context) -> None:
        ids.extend(ctx.bracket(AAPL, BUY, 10, take_profit=110, stop_loss=80, limit=90))

    done = run([FLAT, FLAT, FLAT, FLAT], {0: enter, 1: lambda ctx: ctx.cancel(ids[0])})
    assert prices_of(done) == []
    assert ends_of(done) == [("1", "requested"), ("2", "its parent has ended"),
                             ("3", "its parent has ended")]  # fmt: skip


def test_bracket_whose_entry_is_denied_is_denied() -> None:
    done = run([FLAT, FLAT], {0: bracket()}, limits=RiskLimits(max_order_quantity=5))
    assert [each.code for each in done.denied] == [
        DenialCode.ORDER_QUANTITY, DenialCode.PARENT_CLOSED, DenialCode.PARENT_CLOSED
    ]  # fmt: skip
    assert done.of_type(OrderSubmitted, OrderFilled) == []


def test_two_exits_of_a_position_may_each_be_as_large_as_it() -> None:
    def protect(ctx: Context) -> None:
        for terms in ({"limit": 110}, {"stop": 95}):
            ctx.order(AAPL, SELL, 10, reduce_only=True, group="exit", contingency=OUO, **terms)

    done = run([FLAT, FLAT, FLAT, (100, 100, 94, 94)],
               {0: order(), 2: protect}, limits=RiskLimits(max_leverage=4, allow_short=False)
               )  # fmt: skip
    assert prices_of(done) == [("1", 10, 100), ("3", -10, 95)]
    assert done.of_type(OrderDenied) == []


# fmt: off
WRONG: list[tuple[str, Action, str]] = [
    ("two triggers",          order(stop=101, touch=99),                     "give one trigger"),
    ("trail with a limit",    order(trail=1, limit=99),                      "give one trigger"),
    ("trail off the grid",    order(trail=1.005),                            "off the grid"),
    ("no trail",              order(trail=0),                                "is not positive"),
    ("negative share",        order(trail_ratio=-0.1),                       "is not positive"),
    ("offset without trail",  order(stop=101, limit_offset=1), "give the prices its type needs"),
    ("post-only market", order(post_only=True), "give the prices its type needs"),
    ("stop in an auction", order(stop=101, time_in_force=OPEN), "give the prices its type needs"),
    ("unknown parent",        order(limit=99, parent="nobody"),              "give the parent"),
    ("group alone",           order(limit=99, group="a"),                    "name the group"),
    ("contingency alone",     order(limit=99, contingency=OCO),              "name the group"),
    ("no quantity",           order(quantity=0),                             "is not positive"),
    ("two losses",            bracket(trail=1),                              "give one of them"),
    ("no loss",               bracket(stop_loss=None),                       "give one of them"),
]
# fmt: on


@pytest.mark.parametrize(
    ("action", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG]
)
def test_order_that_makes_no_sense_quarantines_with_the_reason(
    action: Action, message: str
) -> None:
    done = run_session(make_timeline([FLAT, FLAT]), at_rows({0: action}))
    (failure,) = done.quarantined
    assert message in failure.error


# Icebergs: 40 shares at 99, of which 15 are shown.

# fmt: off
ICEBERGS: list[tuple[str, list[Prices], list[int]]] = [
    # what                          bars after the decision: o h l c             fills
    ("only touched, a slice a bar", [(100, 101, 99, 100)] * 4,                   [15, 15, 10]),
    ("opens at the limit",          [(100, 101, 99, 100), (99, 100, 99, 100)],   [15, 15]),
    ("traded through, all of it",   [(100, 101, 98.99, 100)],                    [40]),
    ("touched, then through",       [(100, 101, 99, 100), (100, 100, 98, 98)],   [15, 25]),
    ("opens beyond",                [(100, 101, 99, 100), (98.5, 100, 98.5, 100)], [15, 25]),
    ("takes at its arrival",        [(99, 100, 99, 100)],                        [40]),
    ("never reached",               [(100, 101, 99.01, 100)],                    []),
]
# fmt: on


@pytest.mark.parametrize(
    ("rows", "lots"), [row[1:] for row in ICEBERGS], ids=[row[0] for row in ICEBERGS]
)
def test_iceberg_fills_what_it_shows(rows: list[Prices], lots: list[int]) -> None:
    hidden = order(quantity=40, limit=99, display=15)
    done = run([FLAT, *rows], {0: hidden}, limit_reach=LIMIT_TOUCHED)
    assert [each.lots for each in done.fills] == lots
    assert all(each.ticks <= 9900 for each in done.fills)


def test_iceberg_that_must_be_traded_through_fills_like_any_other() -> None:
    rows = [FLAT, (100, 101, 99, 100), (100, 101, 98, 100)]
    for display in (15, None):
        done = run(rows, {0: order(quantity=40, limit=99, display=display)})
        assert [(each.lots, each.ts_fill) for each in done.fills] == [(40, closes(2))]


def test_iceberg_sells_on_the_other_side() -> None:
    rows = [FLAT, (100, 101, 99, 100), (100, 101.5, 99, 100)]
    done = run(rows, {0: order(SELL, 40, limit=101, display=15)}, limit_reach=LIMIT_TOUCHED)
    assert prices_of(done) == [("1", -15, 101), ("1", -25, 101)]


def test_iceberg_of_a_stop_limit_and_of_a_child_shows_a_slice_in_its_first_bar() -> None:
    """Where the trigger or the entry comes inside the bar, nobody knows what came behind it."""
    rows = [FLAT, (100, 103, 98, 99), (100, 103, 98, 99)]
    done = run(rows, {0: order(quantity=40, stop=102, limit=102.5, display=15)})
    assert [each.lots for each in done.fills] == [15, 25]

    def bracket(ctx: Context) -> None:
        entry = ctx.order(AAPL, BUY, 40, stop=102)
        ctx.order(AAPL, SELL, 40, limit=102.5, display=15, reduce_only=True, parent=entry)

    done = run([FLAT, (100, 104, 99, 103.5), (103, 103, 103, 103)], {0: bracket})
    assert [each.lots * each.side for each in done.fills] == [40, -15, -25]


def test_iceberg_that_is_partly_filled_can_be_replaced_and_canceled() -> None:
    """After 15 of 40, 30 in all at 98.50: 15 are left, which is what it shows."""
    touch: Prices = (100, 101, 99, 100)
    lower: Prices = (100, 101, 98.5, 100)

    def replace(ctx: Context) -> None:
        (open_order,) = ctx.open_orders()
        ctx.replace(open_order.client_order_id, AAPL, quantity=30, limit=98.5)

    hidden = order(quantity=40, limit=99, display=15)
    done = run([FLAT, touch, touch, lower], {0: hidden, 1: replace}, limit_reach=LIMIT_TOUCHED)
    assert prices_of(done) == [("1", 15, 99), ("1", 15, 98.5)]

    def too_small(ctx: Context) -> None:
        (open_order,) = ctx.open_orders()
        ctx.replace(open_order.client_order_id, AAPL, quantity=14)

    rows = [FLAT, (100, 101, 99.5, 100), touch]
    done = run(rows, {0: hidden, 1: too_small}, limit_reach=LIMIT_TOUCHED)
    assert [(each.code, each.actual, each.limit) for each in done.of_type(OrderDenied)] == [
        (DenialCode.DISPLAY, 15, 14)
    ]

    def cancel(ctx: Context) -> None:
        (open_order,) = ctx.open_orders()
        ctx.cancel(open_order.client_order_id)

    done = run([FLAT, touch, touch, touch], {0: hidden, 1: cancel}, limit_reach=LIMIT_TOUCHED)
    assert [each.lots for each in done.fills] == [15]
    assert ends_of(done) == [("1", "requested")]


# fmt: off
SHOWS: list[tuple[str, Action]] = [
    ("more than it has",  order(quantity=40, limit=99, display=41)),
    ("without a limit",   order(quantity=40, display=10)),
    ("filled or killed",  order(quantity=40, limit=99, display=10, time_in_force=TimeInForce.FOK)),
    ("in an auction",     order(quantity=40, limit=99, display=10, time_in_force=OPEN)),
]
# fmt: on


@pytest.mark.parametrize("action", [row[1] for row in SHOWS], ids=[row[0] for row in SHOWS])
def test_iceberg_that_makes_no_sense_is_denied(action: Action) -> None:
    done = run([FLAT, FLAT], {0: action})
    (denied,) = done.denied
    assert (denied.code, denied.limit, denied.unit) == (DenialCode.DISPLAY, 40, "lots")


def test_iceberg_that_is_off_the_grid_raises() -> None:
    done = run_session(make_timeline([FLAT] * 2), at_rows({0: order(limit=99, display=2.5)}))
    (failure,) = done.quarantined
    assert "quantity 2.5 is off the grid of 1" in failure.error
    done = run_session(make_timeline([FLAT] * 2), at_rows({0: order(limit=99, display=0)}))
    (failure,) = done.quarantined
    assert "display 0 of AAPL.XNAS" in failure.error


# Slippage of limit orders that take, 50 cents.

SLIPS = FixedSlippage(ticks=50)

# fmt: off
NEXT: Prices = (100.0, 101.0, 99.0, 100.0)
LOWER: Prices = (98.0, 98.0, 98.0, 98.0)
TAKERS: list[tuple[str, Action, list[Prices], float]] = [
    # what                       order                                bars           fills at
    ("limit far beyond",         order(limit=105),                    [NEXT],        100.5),
    ("limit near, bounds it",    order(limit=100.2),                  [NEXT],        100.2),
    ("sell",                     order(SELL, limit=95),               [NEXT],        99.5),
    ("sell, bounded",            order(SELL, limit=99.9),             [NEXT],        99.9),
    ("rests, then fills",        order(limit=99.5),                   [NEXT],        99.5),
    ("rests, then opens beyond", order(limit=99.5),                   [FLAT, LOWER], 98.0),
    ("stop-limit takes",         order(stop=100.9, limit=103),        [NEXT],        101.4),
    ("limit in an auction",      order(limit=105, time_in_force=OPEN), [FLAT, NEXT], 100.0),
]
# fmt: on


@pytest.mark.parametrize(
    ("action", "rows", "price"), [row[1:] for row in TAKERS], ids=[row[0] for row in TAKERS]
)
def test_limit_that_takes_slips_up_to_its_limit(
    action: Action, rows: list[Prices], price: float
) -> None:
    """One that rests never slips; without the setting none does."""
    how: dict[str, Any] = {"session": 2} if len(rows) == 2 else {}
    done = run([FLAT, *rows], {0: action}, slippage=SLIPS, limit_slippage=True, **how)
    assert [each[2] for each in prices_of(done)] == [price]
    plain = run([FLAT, *rows], {0: action}, slippage=SLIPS, **how)
    (without,) = prices_of(plain)
    assert (price - without[2]) * (1 if without[1] > 0 else -1) >= 0


def test_market_order_slips_as_ever_and_limits_only_by_the_setting() -> None:
    for setting in (False, True):
        done = run([FLAT, FLAT], {0: order()}, slippage=SLIPS, limit_slippage=setting)
        assert [each[2] for each in prices_of(done)] == [100.5]
    done = run([FLAT, FLAT], {0: order(limit=105)}, slippage=SLIPS)
    assert [each[2] for each in prices_of(done)] == [100.0]


def test_compiled_host_refuses_slippage_of_limits_by_name() -> None:
    timeline = make_timeline([FLAT] * 5)
    terms = make_terms(timeline, slippage=SLIPS, limit_slippage=True)
    spec = StrategySpec(name="s", strategy=SmaCross(), capital=10**10)
    with pytest.raises(ConfigError, match="slippage of limit orders, which the compiled host"):
        CompiledHost(timeline, spec, terms, RiskLimits())


def test_iceberg_shows_one_slice_a_bar_on_a_straight_way_too() -> None:
    """Down to 99 and up again: the limit ends one leg and begins the next."""
    fill = FillTerms(limit_reach=LIMIT_TOUCHED, path=BarPath.OPEN_LOW_HIGH_CLOSE)
    rows = [FLAT, NEXT, NEXT]
    done = run(rows, {0: order(quantity=40, limit=99, display=15)}, fill=fill)
    assert [each.lots for each in done.fills] == [15, 15]
