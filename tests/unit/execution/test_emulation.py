"""Orders that a venue lacks: what is held, when it leaves, and what it leaves as."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    OrderCanceled,
    OrderDenied,
    OrderEmulated,
    OrderExpired,
    OrderFilled,
    OrderReduced,
    OrderReleased,
    OrderReplaced,
    OrderSubmitted,
    OrderTriggered,
    StrategyQuarantined,
)
from onetape.domain.orders import Contingency, DenialCode, OrderType, Side, TimeInForce
from onetape.execution.gateway import Capabilities
from onetape.execution.simulated.latency import LatencyModel
from onetape.runtime.sessions.venue_choice import check_fills
from onetape.strategy.context import Context
from tests.support.halts import make_halt, with_halts
from tests.support.session_runs import SessionRun, make_terms, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    MINUTE,
    Prices,
    at_rows,
    closes,
    flat,
    make_columns,
    make_timeline,
)

PLAIN = Capabilities(
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset({TimeInForce.GTC, TimeInForce.IOC}),
)
BUY, SELL = Side.BUY, Side.SELL
OCO, OUO = Contingency.OCO, Contingency.OUO

TOLD = {
    OrderEmulated: lambda each: f"held for {each.lacking}",
    OrderTriggered: lambda each: "triggered",
    OrderReleased: lambda each: f"leaves as {each.order_type.name} {each.lots}",
    OrderReduced: lambda each: f"down to {each.lots}: {each.reason}",
    OrderReplaced: lambda each: f"replaced {each.lots}",
    OrderCanceled: lambda each: f"canceled: {each.reason}",
    OrderExpired: lambda each: f"expired: {each.reason}",
    OrderFilled: lambda each: f"filled {each.lots} at {each.ticks / 100:g}",
}


def run(
    bars: list[Prices], acts: dict[int, Callable[[Context], object]], **models: Any
) -> SessionRun:
    done = run_session(make_timeline(bars), at_rows(acts), **{"capabilities": PLAIN, **models})
    assert not done.of_type(StrategyQuarantined)
    return done


def tell(done: SessionRun) -> list[str]:
    """`minute order what` of everything that the tape says of held orders and of fills."""
    lines: list[str] = []
    for event in done.events:
        say = next((TOLD[each] for each in TOLD if isinstance(event.payload, each)), None)
        if say is not None:
            number = event.payload.client_order_id.rpartition("-")[2]  # pyright: ignore[reportAttributeAccessIssue]
            minute = (event.ts_event - closes(0)) // MINUTE
            lines.append(f"{minute} {number} {say(event.payload)}")
    return lines


def bracket(ctx: Context) -> None:
    ctx.bracket(AAPL, BUY, 10, take_profit=110, stop_loss=95)


HELD = ["0 2 held for order lists", "0 3 held for order lists"]

BRACKETS: dict[str, tuple[list[Prices], list[str]]] = {
    "the profit is taken at the venue": (
        [(100,), (100, 101, 99, 101), (101, 106, 100, 105), (105, 111, 104, 110)],
        ["1 1 filled 10 at 100", "1 2 leaves as LIMIT 10", "3 2 filled 10 at 110",
         "3 3 canceled: one updates the other"],
    ),
    "the stop leaves when the limit is off the book": (
        [(100,), (100,), (99, 99, 94, 96), (97,), (97,)],
        ["1 1 filled 10 at 100", "1 2 leaves as LIMIT 10", "2 2 canceled: requested",
         "2 3 triggered", "2 3 leaves as MARKET 10", "3 3 filled 10 at 97"],
    ),
    "the limit fills in the bar that meets the stop": (
        [(100,), (100,), (100, 112, 94, 100), (97,), (97,)],
        ["1 1 filled 10 at 100", "1 2 leaves as LIMIT 10", "2 2 filled 10 at 110",
         "2 3 canceled: one updates the other"],
    ),
    "the stop is met in the bar of the entry": (
        [(100,), (100, 100, 94, 96), (97,), (97,)],
        ["1 1 filled 10 at 100", "1 2 leaves as LIMIT 10", "1 2 canceled: requested",
         "1 3 triggered", "1 3 leaves as MARKET 10", "2 3 filled 10 at 97"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BRACKETS)
def test_bracket_has_one_exit_at_the_venue(case: str) -> None:
    bars, told = BRACKETS[case]
    assert tell(run(bars, {0: bracket})) == HELD + told


def test_bracket_of_an_entry_that_is_canceled_ends_with_it() -> None:
    def enter(ctx: Context) -> None:
        ctx.bracket(AAPL, BUY, 10, limit=90, take_profit=110, stop_loss=85)

    def cancel(ctx: Context) -> None:
        ctx.cancel(ctx.open_orders(AAPL)[0].client_order_id)

    assert tell(run(flat(100, 100, 100, 100), {0: enter, 1: cancel})) == [
        *HELD, "1 1 canceled: requested", "1 2 canceled: its parent has ended",
        "1 3 canceled: its parent has ended",
    ]  # fmt: skip


def test_exit_that_is_met_while_its_entry_works_ends_the_entry() -> None:
    """Four of ten lots are bought when the price falls through the stop."""

    def enter(ctx: Context) -> None:
        ctx.bracket(AAPL, BUY, 10, limit=99, take_profit=110, stop_loss=95)

    bars: list[Prices] = [(100,), (99, 99, 98, 98, 4), (98, 98, 94, 94, 0), (94,), (94,)]
    assert tell(run(bars, {0: enter}, max_volume_ratio=1.0)) == [
        *HELD, "1 1 filled 4 at 99", "2 1 canceled: requested",
        "2 2 down to 4: its parent has ended", "2 3 down to 4: its parent has ended",
        "2 3 triggered", "2 3 leaves as MARKET 4", "3 3 filled 4 at 94",
        "3 2 canceled: one updates the other",
    ]  # fmt: skip


TRIGGERS: dict[str, tuple[dict[str, Any], list[Prices], list[str]]] = {
    "stop": (
        {"stop": 105}, [(100,), (100,), (101, 105, 101, 103), (104,)],
        ["0 1 held for stop", "2 1 triggered", "2 1 leaves as MARKET 10", "3 1 filled 10 at 104"],
    ),
    "stop limit": (
        {"stop": 105, "limit": 106}, [(100,), (104, 108, 104, 107.5), (107,), (106, 106, 105, 105)],
        ["0 1 held for stop_limit", "1 1 triggered", "1 1 leaves as LIMIT 10",
         "3 1 filled 10 at 106"],
    ),
    "if touched": (
        {"touch": 95}, [(100,), (96, 96, 95, 96), (97,)],
        ["0 1 held for market_if_touched", "1 1 triggered", "1 1 leaves as MARKET 10",
         "2 1 filled 10 at 97"],
    ),
    "limit if touched": (
        {"touch": 95, "limit": 94}, [(100,), (96, 96, 95, 96), (95, 95, 93, 93)],
        ["0 1 held for limit_if_touched", "1 1 triggered", "1 1 leaves as LIMIT 10",
         "2 1 filled 10 at 94"],
    ),
    "trailing stop": (
        {"trail": 5}, [(100,), (98, 98, 90, 90), (91, 95.5, 91, 95), (96,)],
        ["0 1 held for trailing_stop", "2 1 triggered", "2 1 leaves as MARKET 10",
         "3 1 filled 10 at 96"],
    ),
    "trailing stop limit": (
        {"trail": 5, "limit_offset": 1}, [(100,), (98, 98, 90, 90), (91, 95.5, 91, 95), (95,)],
        ["0 1 held for trailing_stop_limit", "2 1 triggered", "2 1 leaves as LIMIT 10",
         "3 1 filled 10 at 95"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRIGGERS)
def test_trigger_is_met_by_a_bar_and_leaves_at_its_close(kind: str) -> None:
    terms, bars, told = TRIGGERS[kind]
    assert tell(run(bars, {0: lambda ctx: ctx.order(AAPL, BUY, 10, **terms)})) == told


def test_two_stops_of_a_group_cancel_one_another() -> None:
    """A breakout: whichever side is met first, the other is gone when it fills."""

    def enter(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, stop=105, group="break", contingency=OCO)
        ctx.order(AAPL, SELL, 10, stop=95, group="break", contingency=OCO)

    bars: list[Prices] = [(100,), (100, 106, 94, 100), (101,), (101,)]
    assert tell(run(bars, {0: enter})) == [
        "0 1 held for order lists", "0 2 held for order lists", "1 1 triggered",
        "1 1 leaves as MARKET 10", "2 1 filled 10 at 101",
        "2 2 canceled: one cancels the other",
    ]  # fmt: skip


def test_of_two_limits_of_a_group_one_rests_and_the_other_is_watched() -> None:
    def enter(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, limit=95, group="range", contingency=OCO)
        ctx.order(AAPL, SELL, 10, limit=105, group="range", contingency=OCO)

    bars: list[Prices] = [(100,), (100,), (104, 105, 104, 104), (104, 106, 104, 104)]
    assert tell(run(bars, {0: enter})) == [
        "0 1 held for order lists", "0 2 held for order lists", "0 1 leaves as LIMIT 10",
        "2 1 canceled: requested", "2 2 leaves as LIMIT 10", "3 2 filled 10 at 105",
    ]  # fmt: skip


def test_next_limit_of_a_group_takes_the_place_of_one_that_is_canceled() -> None:
    def enter(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, limit=95, group="range", contingency=OCO)
        ctx.order(AAPL, SELL, 10, limit=105, group="range", contingency=OCO)

    def cancel(ctx: Context) -> None:
        ctx.cancel(ctx.open_orders(AAPL)[0].client_order_id)

    assert tell(run(flat(100, 100, 100), {0: enter, 1: cancel}))[-2:] == [
        "1 1 canceled: requested", "1 2 leaves as LIMIT 10",
    ]  # fmt: skip


def test_part_of_a_limit_that_filled_is_taken_from_the_stop() -> None:
    bars: list[Prices] = [(100, 100, 100, 100, 99), (100, 100, 100, 100, 99),
                          (110, 111, 110, 110, 6), (94, 94, 94, 94, 99),
                          (94, 94, 94, 94, 99)]  # fmt: skip
    assert tell(run(bars, {0: bracket}, max_volume_ratio=1.0))[4:] == [
        "2 2 filled 6 at 110", "2 3 down to 4: one updates the other", "3 2 canceled: requested",
        "3 3 triggered", "3 3 leaves as MARKET 4", "4 3 filled 4 at 94",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fourth", "told"),
    [
        (120, ["4 2 filled 10 at 120", "4 3 canceled: one updates the other"]),
        (96, ["4 2 canceled: requested", "4 3 triggered", "4 3 leaves as MARKET 10",
              "5 3 filled 10 at 93"]),
    ],
)  # fmt: skip
def test_stop_waits_until_the_venue_says_what_became_of_the_limit(
    fourth: float, told: list[str]
) -> None:
    """The cancel is ten seconds under way: bar 4 opens before, and may fill the limit."""
    bars: list[Prices] = [(100,), (100,), (99,), (94,), (fourth,), (93,), (93,)]
    done = run(bars, {0: bracket}, latency=LatencyModel(mean_ms=10_000))
    assert tell(done) == [*HELD, "1 1 filled 10 at 100", "1 2 leaves as LIMIT 10", *told]


def test_held_order_is_canceled_and_replaced_here() -> None:
    def replace(ctx: Context) -> None:
        ctx.replace(ctx.open_orders(AAPL)[0].client_order_id, AAPL, quantity=7, stop=103)

    def cancel(ctx: Context) -> None:
        ctx.cancel(ctx.open_orders(AAPL)[0].client_order_id)

    def enter(ctx: Context) -> None:
        ctx.buy(AAPL, 10, stop=105)

    changed = run([(100,), (100,), (101, 104, 101, 102), (102,)], {0: enter, 1: replace})
    assert tell(changed) == [
        "0 1 held for stop", "1 1 replaced 7", "2 1 triggered", "2 1 leaves as MARKET 7",
        "3 1 filled 7 at 102",
    ]  # fmt: skip
    ended = run(flat(100, 100, 110, 110), {0: enter, 1: cancel})
    assert tell(ended) == ["0 1 held for stop", "1 1 canceled: requested"]
    assert not ended.session.save().emulator.orders  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("how", "end"),
    [
        ({"time_in_force": TimeInForce.GTD, "ts_expire": closes(2)}, "2 1 canceled: requested"),
        ({"time_in_force": TimeInForce.DAY}, "2 1 canceled: requested"),
    ],
)
def test_time_in_force_that_the_venue_lacks_ends_by_our_cancel(
    how: dict[str, Any], end: str
) -> None:
    def enter(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, limit=90, **how)

    lacking = how["time_in_force"].name.lower()
    done = run_session(
        make_timeline(flat(100, 100, 100, 100, 100), session=3), at_rows({0: enter}),
        capabilities=PLAIN,
    )  # fmt: skip
    assert tell(done) == [f"0 1 held for {lacking}", "0 1 leaves as LIMIT 10", end]


def test_day_order_ends_with_its_session_where_no_bar_of_it_comes_any_more() -> None:
    def enter(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, stop=105, time_in_force=TimeInForce.DAY)

    bars = make_columns(flat(100, 100, 100, 110, 110), session=3)
    rows = {name: np.delete(column, [1, 2]) for name, column in bars.items()}
    done = run_session(make_timeline((EQUITY, rows)), at_rows({0: enter}), capabilities=PLAIN)
    assert tell(done) == ["0 1 held for stop", "2 1 expired: time in force"]


def test_held_order_expires() -> None:
    def enter(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, stop=105, time_in_force=TimeInForce.DAY)

    done = run_session(
        make_timeline(flat(100, 100, 100, 110, 110), session=3), at_rows({0: enter}),
        capabilities=PLAIN,
    )  # fmt: skip
    assert tell(done) == ["0 1 held for stop", "2 1 expired: time in force"]


def test_reduce_only_order_leaves_for_what_is_held_then() -> None:
    def buy(ctx: Context) -> None:
        ctx.buy(AAPL, 10)

    def protect(ctx: Context) -> None:
        ctx.order(AAPL, SELL, 10, stop=95, reduce_only=True)

    def sell(ctx: Context) -> None:
        ctx.sell(AAPL, 6)

    assert tell(run(flat(100, 100, 100, 94, 94), {0: buy, 1: protect, 2: sell})) == [
        "1 1 filled 10 at 100", "1 2 held for stop", "3 3 filled 6 at 94",
        "3 2 down to 4: no more to reduce", "3 2 triggered", "3 2 leaves as MARKET 4",
        "4 2 filled 4 at 94",
    ]  # fmt: skip


def test_what_nobody_can_emulate_is_denied_by_name() -> None:
    asked: dict[str, Callable[[Context], object]] = {
        "post-only": lambda ctx: ctx.order(AAPL, BUY, 1, limit=99, post_only=True),
        "icebergs": lambda ctx: ctx.order(AAPL, BUY, 9, limit=99, display=3),
        "at_the_close": lambda ctx: ctx.order(AAPL, BUY, 1, time_in_force=TimeInForce.AT_THE_CLOSE),
        "fok": lambda ctx: ctx.order(AAPL, BUY, 1, limit=99, time_in_force=TimeInForce.FOK),
        "stop with ioc": lambda ctx: ctx.order(
            AAPL, BUY, 1, stop=105, time_in_force=TimeInForce.IOC
        ),
        "an order that is sized at its fill": lambda ctx: ctx.spend(AAPL, 500),
    }
    done = run(flat(100, 100), {0: lambda ctx: [each(ctx) for each in asked.values()]})
    denied = done.of_type(OrderDenied)
    assert [(each.code, each.unit) for each in denied] == [
        (DenialCode.UNSUPPORTED, name) for name in asked
    ]
    assert not done.of_type(OrderSubmitted)


def test_nothing_leaves_for_an_instrument_that_is_halted() -> None:
    """Halted in bars 2 and 3: their prices are nobody's, and a new order would be rejected.

    So is the limit, which arrives as the halt begins.
    """
    bars: list[Prices] = [(100,), (100,), (94,), (94,), (93,), (93,)]
    timeline = with_halts(
        make_timeline(bars),
        make_halt(closes(1), closes(3)),
    )
    done = run_session(timeline, at_rows({0: bracket}), capabilities=PLAIN)
    assert tell(done)[3:] == [
        "1 2 leaves as LIMIT 10", "4 3 triggered", "4 3 leaves as MARKET 10", "5 3 filled 10 at 93",
    ]  # fmt: skip


def test_child_of_a_canceled_order_of_the_group_goes_once() -> None:
    def enter(ctx: Context) -> None:
        ctx.order(AAPL, BUY, 10, limit=95, group="g", contingency=OCO)
        other = ctx.order(AAPL, BUY, 10, limit=94, group="g", contingency=OCO)
        ctx.order(AAPL, SELL, 10, limit=99, parent=other, group="g", contingency=OCO)

    assert tell(run([(100,), (100,), (100, 100, 94.5, 95)], {0: enter}))[4:] == [
        "2 1 filled 10 at 95", "2 2 canceled: one cancels the other",
        "2 3 canceled: its parent has ended",
    ]  # fmt: skip


def test_child_is_not_met_by_prices_before_its_parent_filled() -> None:
    """The entry fills inside bar 1, whose open is above what the exit waits to be touched."""

    def enter(ctx: Context) -> None:
        entry = ctx.order(AAPL, BUY, 10, limit=95)
        ctx.order(AAPL, SELL, 10, touch=99, parent=entry)

    bars: list[Prices] = [(100,), (100, 100, 94, 96), (96,), (96, 99, 96, 98), (98,)]
    assert tell(run(bars, {0: enter})) == [
        "0 2 held for order lists", "1 1 filled 10 at 95", "3 2 triggered",
        "3 2 leaves as MARKET 10", "4 2 filled 10 at 98",
    ]  # fmt: skip


def test_hedging_is_refused_where_orders_are_held() -> None:
    timeline = make_timeline(flat(100, 100))
    terms = msgspec.structs.replace(make_terms(timeline, capabilities=PLAIN), has_legs=True)
    with pytest.raises(ConfigError, match="a long and a short leg"):
        check_fills(timeline, terms)
