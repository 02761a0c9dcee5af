"""Orders on quotes, on the levels of a book, and on prints with a queue. Numbers by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from onetape.domain.errors import ConfigError
from onetape.domain.events import OrderCanceled, OrderExpired, OrderFilled, OrderTriggered
from onetape.domain.market import BookDelta, QuoteTick, TradeTick
from onetape.domain.orders import LiquiditySide, Side, TimeInForce
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED
from onetape.execution.simulated.fill_terms import (
    FillTerms,
    MarketPrice,
    QueueModel,
    RestOfOrder,
    Trigger,
)
from onetape.execution.simulated.latency import LatencyModel
from onetape.execution.simulated.slippage import FixedSlippage, VolumeSlippage
from onetape.marketdata.timeline import Timeline
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy
from tests.support.session_runs import SessionRun, run_session
from tests.support.ticks import make_book_timeline, make_deltas, make_quote_timeline
from tests.support.timelines import AAPL, SECOND, T0, make_trade_timeline, scripted

Action = Callable[[Context], object]
PLAIN = FillTerms()
TOUCH = FillTerms(limit_reach=LIMIT_TOUCHED)
QUEUE = FillTerms(queue=QueueModel.RISK_AVERSE)
BUYER, SELLER = 1, -1


def at_events(actions: Mapping[int, Action]) -> Strategy:
    """Calls `actions[n](ctx)` at the n-th row."""
    seen = [-1]

    def hear(_event: object, ctx: Context) -> None:
        seen[0] += 1
        actions.get(seen[0], lambda _: None)(ctx)

    return scripted(on_market_event=hear)


def order(side: Side, lots: float, **how: Any) -> Action:
    return lambda ctx: ctx.order(AAPL, side, lots, **how)


def buy(lots: float, **how: Any) -> Action:
    return order(Side.BUY, lots, **how)


def sell(lots: float, **how: Any) -> Action:
    return order(Side.SELL, lots, **how)


def run(
    timeline: Timeline, actions: Mapping[int, Action], fill: FillTerms = PLAIN, **how: Any
) -> SessionRun:
    done = run_session(timeline, at_events(actions), fill=fill, capital=100_000_000, **how)
    assert not done.quarantined
    return done


def told(done: SessionRun) -> list[tuple[int, float, float]]:
    """(lots, price, seconds after T0) of each fill."""
    return [(each.lots, each.ticks / 100, (each.ts_fill - T0) / SECOND) for each in done.fills]


def makers(done: SessionRun) -> list[bool]:
    return [each.liquidity is LiquiditySide.MAKER for each in done.fills]


# Quotes.


def test_market_orders_meet_the_quote_that_stands_at_their_arrival() -> None:
    timeline = make_quote_timeline([(99, 101), (102, 104), (90, 91)])
    assert told(run(timeline, {0: buy(5)})) == [(5, 101.0, 0.0)]
    assert told(run(timeline, {0: sell(5)})) == [(5, 99.0, 0.0)]
    late = LatencyModel(mean_ms=1500)
    assert told(run(timeline, {0: buy(5)}, latency=late)) == [(5, 104.0, 1.5)]


def test_fill_at_the_arrival_waits_for_the_row_that_tells_what_stood_then() -> None:
    """Rows are known a second late: at 1.5 s the quote of 1 s stands, known at 2 s, told at 3 s."""
    timeline = make_quote_timeline([(99, 101), (102, 104), (90, 91), (80, 81)], delay=SECOND)
    done = run(timeline, {0: buy(5)}, latency=LatencyModel(mean_ms=500))
    assert told(done) == [(5, 104.0, 1.5)]
    event = next(each for each in done.events if isinstance(each.payload, OrderFilled))
    assert (event.ts_event - T0) / SECOND == 3.0


def test_rest_of_a_market_order_waits_for_the_next_quotes() -> None:
    timeline = make_quote_timeline([(99, 101, 5, 3), (99, 102, 5, 4), (99, 103, 5, 9)])
    assert told(run(timeline, {0: buy(10)})) == [(3, 101, 0), (4, 102, 1), (3, 103, 2)]


def test_rest_of_a_market_order_walks_behind_the_quote() -> None:
    """3 at 101.00, 3 at 101.01, 3 at 101.02, 1 at 101.03: 12 ticks for 10 lots, rounded up to 2."""
    timeline = make_quote_timeline([(99, 101, 5, 3), (99, 101, 5, 4)])
    fill = FillTerms(rest=RestOfOrder.WALK)
    assert told(run(timeline, {0: buy(10)}, fill)) == [(10, 101.02, 0)]
    assert told(run(timeline, {0: sell(4)}, fill)) == [(4, 99.0, 0)]


def test_two_orders_share_what_stands() -> None:
    def two(ctx: Context) -> None:
        ctx.buy(AAPL, 3)
        ctx.buy(AAPL, 3)

    timeline = make_quote_timeline([(99, 101, 5, 4), (99, 102, 5, 5)])
    assert told(run(timeline, {0: two})) == [(3, 101, 0), (1, 101, 0), (2, 102, 1)]


def test_empty_side_gives_nothing_until_there_is_one() -> None:
    timeline = make_quote_timeline([(99, 0, 5, 0), (99, 101)])
    assert told(run(timeline, {0: buy(5)})) == [(5, 101, 1)]


@pytest.mark.parametrize(
    ("time_in_force", "fills"), [(TimeInForce.IOC, [(3, 101.0, 0.0)]), (TimeInForce.FOK, [])]
)
def test_orders_that_may_not_wait_take_what_stands_or_nothing(
    time_in_force: TimeInForce, fills: list[Any]
) -> None:
    timeline = make_quote_timeline([(99, 101, 5, 3), (99, 101)])
    done = run(timeline, {0: buy(10, time_in_force=time_in_force)})
    assert told(done) == fills
    assert [each.reason for each in done.of_type(OrderCanceled)] == ["not filled at once"]
    enough = run(timeline, {0: buy(3, time_in_force=time_in_force)})
    assert told(enough) == [(3, 101.0, 0.0)]


def test_limit_that_crosses_takes_and_its_rest_makes() -> None:
    timeline = make_quote_timeline([(99, 101, 5, 3), (99, 102), (98, 100, 5, 5)])
    done = run(timeline, {0: buy(6, limit=101)})
    assert told(done) == [(3, 101, 0), (3, 101, 2)]
    assert makers(done) == [False, True]


@pytest.mark.parametrize(("fill", "at"), [(PLAIN, [2.0]), (TOUCH, [1.0])])
def test_limit_fills_when_the_opposite_quote_comes_to_it(fill: FillTerms, at: list[float]) -> None:
    timeline = make_quote_timeline([(99, 101), (99, 100), (98, 99.5)])
    assert [each[2] for each in told(run(timeline, {0: buy(5, limit=100)}, fill))] == at


def test_standing_quote_is_not_taken_twice_by_a_resting_order() -> None:
    timeline = make_quote_timeline(
        [(99, 101), (98, 99, 5, 4), (98, 99, 5, 4)], prints=([99.5], [1_500_000_000])
    )
    done = run(timeline, {0: buy(10, limit=100)}, FillTerms())
    assert told(done)[0] == (4, 100, 1.0)
    assert told(done)[1] == (6, 100, 1.5)  # the print below the limit gives the rest


def test_post_only_is_canceled_where_it_would_take() -> None:
    timeline = make_quote_timeline([(99, 101), (99, 101)])
    done = run(timeline, {0: buy(5, limit=101, post_only=True)})
    assert [each.reason for each in done.of_type(OrderCanceled)] == ["post only, and it would take"]
    assert not run(timeline, {0: buy(5, limit=100, post_only=True)}).of_type(OrderCanceled)


@pytest.mark.parametrize(
    ("trigger", "expected"),
    [(Trigger.QUOTE, (97.0, 2.0)), (Trigger.MID, (97.5, 1.0)), (Trigger.LAST, (97.0, 2.5))],
)
def test_stop_is_triggered_by_the_price_of_the_setting(
    trigger: Trigger, expected: tuple[float, float]
) -> None:
    """A sell stop at 98: the mid is there at 1 s, the bid at 2 s, a print at 2.5 s."""
    timeline = make_quote_timeline(
        [(99, 101), (97.5, 98.5) if trigger is Trigger.MID else (98.5, 99), (97, 100)],
        prints=([98.0], [2_500_000_000]),
    )
    done = run(timeline, {0: sell(5, stop=98)}, FillTerms(trigger=trigger))
    assert [each[1:] for each in told(done)] == [expected]
    assert len(done.of_type(OrderTriggered)) == 1


def test_if_touched_and_stop_limit_and_trailing_orders_on_quotes() -> None:
    quotes = [(99, 101), (95, 97), (103, 104), (101.5, 102), (90, 91)]
    timeline = make_quote_timeline(quotes)
    assert told(run(timeline, {0: buy(1, touch=97)})) == [(1, 97, 1)]
    assert told(run(timeline, {0: buy(1, stop=103, limit=103.5)})) == [(1, 103.5, 3)]
    # It trails the bid by 2: 97 from the first quote's mid of 100 less 2 is 98, hit at 95.
    assert told(run(timeline, {0: sell(1, trail=2)})) == [(1, 95, 1)]
    assert told(run(timeline, {1: sell(1, trail=3)})) == [(1, 90, 4)]


def test_exits_of_a_bracket_are_placed_when_the_entry_fills() -> None:
    def enter(ctx: Context) -> None:
        ctx.bracket(AAPL, Side.BUY, 10, take_profit=105, stop_loss=95)

    timeline = make_quote_timeline([(99, 101), (94, 96), (106, 107)])
    done = run(timeline, {0: enter})
    assert told(done) == [(10, 101, 0), (10, 94, 1)]
    assert [each.reason for each in done.of_type(OrderCanceled)] == ["one updates the other"]


def test_cancel_and_replace_are_answered_at_their_arrival() -> None:
    def change(ctx: Context) -> None:
        (mine,) = ctx.open_orders()
        ctx.replace(mine.client_order_id, AAPL, limit=101)

    def cancel(ctx: Context) -> None:
        (mine,) = ctx.open_orders()
        ctx.cancel(mine.client_order_id)

    timeline = make_quote_timeline([(99, 101), (99, 101), (99, 101)])
    replaced = run(timeline, {0: buy(5, limit=100), 1: change})
    assert told(replaced) == [(5, 101, 1)]
    canceled = run(timeline, {0: buy(5, limit=100), 1: cancel})
    assert [each.reason for each in canceled.of_type(OrderCanceled)] == ["requested"]


def test_orders_end_with_their_time() -> None:
    timeline = make_quote_timeline([(99, 101), (99, 101), (98, 99)])
    how = {"limit": 100, "time_in_force": TimeInForce.GTD, "ts_expire": T0 + SECOND}
    done = run(timeline, {0: buy(5, **how)})
    assert not done.fills
    assert len(done.of_type(OrderExpired)) == 1
    auction = run(timeline, {0: buy(5, time_in_force=TimeInForce.AT_THE_OPEN)})
    assert [each.reason for each in auction.of_type(OrderCanceled)] == [
        "no auctions in quotes or depth"
    ]


def test_orders_that_are_sized_at_the_fill_take_the_best_price() -> None:
    timeline = make_quote_timeline([(99, 101), (99, 101)])
    done = run(timeline, {0: lambda ctx: ctx.spend(AAPL, 1_015)})
    assert told(done) == [(10, 101, 0)]


def test_fixed_slippage_counts_on_top_and_volume_slippage_is_refused() -> None:
    timeline = make_quote_timeline([(99, 101), (99, 101)])
    assert told(run(timeline, {0: buy(1)}, slippage=FixedSlippage(ticks=2))) == [(1, 101.02, 0)]
    with pytest.raises(ConfigError, match="slippage by our share of the volume"):
        run(timeline, {}, slippage=VolumeSlippage(volume_factor=0.1))
    with pytest.raises(ConfigError, match="same_close"):
        run(timeline, {}, FillTerms(market=MarketPrice.SAME_CLOSE))


def test_strategy_hears_each_kind_of_row_in_its_callback() -> None:
    heard: list[type] = []
    kinds = {
        name: lambda event, _: heard.append(type(event))
        for name in ("on_quote", "on_trade", "on_book")
    }
    run_session(make_quote_timeline([(99, 101)], prints=([100], [1])), scripted(**kinds))  # pyright: ignore[reportArgumentType]
    run_session(make_book_timeline(make_deltas([(0, 1, 99, 5)])), scripted(**kinds))  # pyright: ignore[reportArgumentType]
    assert heard == [QuoteTick, TradeTick, BookDelta]


# The levels of a book, and queues.

BOOK = [(0, 1, 99.0, 10), (0, 1, 98.0, 20), (0, 0, 101.0, 4), (0, 0, 102.0, 5), (0, 0, 104.0, 9)]


def book(
    *deltas: tuple[float, int, float, float],
    prints: Sequence[tuple[float, float, float, int]] = (),
) -> Timeline:
    """`BOOK`, then deltas; prints as (second, price, size, aggressor)."""
    last = [(60, 1, 98.0, 20)]
    table = make_deltas([*BOOK, *deltas, *last])
    if not prints:
        return make_book_timeline(table)
    at = [round(each[0] * SECOND) for each in prints]
    sides = np.array([each[3] for each in prints], dtype=np.int64)
    return make_book_timeline(
        table, prints=([(each[1], each[2]) for each in prints], at), aggressor=sides
    )


LAST = len(BOOK) - 1


def test_market_order_walks_the_levels_and_waits_with_the_rest() -> None:
    done = run(book((1, 0, 105.0, 7)), {LAST: buy(20)})
    assert told(done) == [(4, 101, 0), (5, 102, 0), (9, 104, 0), (2, 105, 1)]


def test_order_in_the_middle_of_an_update_waits_for_its_end() -> None:
    """The first change of the second update is heard; its own book would be crossed."""
    timeline = book((1, 1, 101.0, 2), (1, 0, 101.0, 0))
    done = run(timeline, {LAST + 1: buy(1)})
    assert told(done) == [(1, 102, 1)]


def test_limit_order_takes_the_levels_within_its_limit() -> None:
    done = run(book((1, 0, 103.0, 1)), {LAST: buy(12, limit=102)})
    assert told(done) == [(4, 101, 0), (5, 102, 0)]


@pytest.mark.parametrize(
    ("fill", "expected"),
    [
        (PLAIN, []),
        (TOUCH, [(5, 99, 1)]),
        (QUEUE, [(2, 99, 2), (3, 99, 3)]),
    ],
)
def test_queue_ahead_is_used_up_by_prints(fill: FillTerms, expected: list[Any]) -> None:
    """10 lots stand before us; prints of 6, 6 and 9: 2 of the second are ours, 3 of the third."""
    prints = [(1, 99.0, 6, SELLER), (2, 99.0, 6, SELLER), (3, 99.0, 9, SELLER)]
    assert told(run(book(prints=prints), {LAST: buy(5, limit=99)}, fill)) == expected


def test_prints_of_our_own_side_do_not_serve_the_queue_and_those_beyond_fill_all() -> None:
    prints = [(1, 99.0, 60, BUYER), (2, 98.5, 1, SELLER)]
    assert told(run(book(prints=prints), {LAST: buy(5, limit=99)}, QUEUE)) == [(5, 99, 2)]


def test_queue_shrinks_to_what_is_left_of_the_level() -> None:
    timeline = book((1, 1, 99.0, 3), (2, 1, 99.0, 30), prints=[(3, 99.0, 4, SELLER)])
    assert told(run(timeline, {LAST: buy(5, limit=99)}, QUEUE)) == [(1, 99, 3)]


def test_probabilistic_queue_splits_a_decrease() -> None:
    """10 ahead; 30 join behind, then 20 leave: a quarter of them ahead of us, 5 are left."""
    fill = FillTerms(queue=QueueModel.POWER, queue_power=1)
    timeline = book((1, 1, 99.0, 40), (2, 1, 99.0, 20), prints=[(3, 99.0, 7, SELLER)])
    assert told(run(timeline, {LAST: buy(5, limit=99)}, fill)) == [(2, 99, 3)]
    assert told(run(timeline, {LAST: buy(5, limit=99)}, QUEUE)) == []


def test_decrease_that_a_print_explains_is_not_counted_twice() -> None:
    fill = FillTerms(queue=QueueModel.POWER, queue_power=1)
    timeline = book(
        (1, 1, 99.0, 40), (2, 1, 99.0, 36), prints=[(1.5, 99.0, 4, SELLER), (3, 99.0, 7, SELLER)]
    )
    assert told(run(timeline, {LAST: buy(5, limit=99)}, fill)) == [(1, 99, 3)]


def test_second_order_at_a_price_stands_behind_the_first() -> None:
    def two(ctx: Context) -> None:
        ctx.order(AAPL, Side.BUY, 5, limit=99)
        ctx.order(AAPL, Side.BUY, 5, limit=99)

    timeline = book(prints=[(1, 99.0, 17, SELLER)])
    assert told(run(timeline, {LAST: two}, QUEUE)) == [(5, 99, 1), (2, 99, 1)]


def test_smaller_order_keeps_its_place_and_a_larger_one_loses_it() -> None:
    def replace(lots: float) -> Action:
        return lambda ctx: ctx.replace(ctx.open_orders()[0].client_order_id, AAPL, quantity=lots)

    timeline = book((2, 1, 99.0, 30), prints=[(1, 99.0, 8, SELLER), (3, 99.0, 6, SELLER)])
    fills = [told(run(timeline, {LAST: buy(5, limit=99), LAST + 2: replace(lots)}, QUEUE))
             for lots in (3, 6)]  # fmt: skip
    assert fills == [[(3, 99, 3)], []]


def test_participation_bounds_what_prints_give() -> None:
    prints = [(1, 98.5, 20, SELLER), (2, 98.5, 20, SELLER)]
    done = run(book(prints=prints), {LAST: buy(5, limit=99)}, QUEUE, max_volume_ratio=0.1)
    assert told(done) == [(2, 99, 1), (2, 99, 2)]


def test_queue_behind_the_best_quote_is_seen_when_the_quote_comes_to_it() -> None:
    quotes = [(99, 101, 10, 10), (98, 101, 7, 10), (98, 101, 30, 10)]
    timeline = make_quote_timeline(quotes, prints=([(98.0, 9.0)], [2_500_000_000]))
    assert told(run(timeline, {0: buy(5, limit=98)}, QUEUE)) == [(2, 98, 2.5)]
    never = make_quote_timeline(quotes[:1], prints=([(98.0, 90.0)], [2_500_000_000]))
    assert told(run(never, {0: buy(5, limit=98)}, QUEUE)) == []
    guess = FillTerms(queue=QueueModel.RISK_AVERSE, queue_ahead=88)
    assert told(run(never, {0: buy(5, limit=98)}, guess)) == [(2, 98, 2.5)]


# Prints alone.

PRINTS = FillTerms(queue=QueueModel.RISK_AVERSE, queue_ahead=10)


def test_prints_alone_use_up_an_estimated_queue() -> None:
    timeline = make_trade_timeline([100, (99, 6), (99, 7), (98.5, 1)])
    assert told(run(timeline, {0: buy(5, limit=99)}, PRINTS)) == [(3, 99, 2), (2, 99, 3)]


def test_prints_alone_fill_other_orders_at_their_price() -> None:
    timeline = make_trade_timeline([100, 101, 97, 96])
    assert told(run(timeline, {0: buy(5)}, PRINTS)) == [(5, 101, 1)]
    assert told(run(timeline, {0: sell(5, stop=98)}, PRINTS)) == [(5, 97, 2)]
    done = run(timeline, {0: buy(5, limit=105)}, PRINTS)
    assert told(done) == [(5, 101, 1)]
    assert makers(done) == [False]


def test_queue_on_prints_needs_a_size_and_bars_have_none() -> None:
    with pytest.raises(ConfigError, match="queue on trade prints, which don't tell its size"):
        run(make_trade_timeline([100]), {}, QUEUE)


# Icebergs.


def test_next_slice_of_an_iceberg_goes_to_the_end_of_the_queue() -> None:
    """5 at 99, 2 of them shown, behind 10. 6 and 7 trade there: 3 for us, of which 2 are shown.

    The next slice waits behind 10 again: 11 bring 1. Then 98.50 trades, so all at 99 has.
    """
    timeline = make_trade_timeline([100, (99, 6), (99, 7), (99, 11), (98.5, 1)])
    hidden = run(timeline, {0: buy(5, limit=99, display=2)}, PRINTS)
    assert told(hidden) == [(2, 99, 2), (1, 99, 3), (2, 99, 4)]
    shown = run(timeline, {0: buy(5, limit=99)}, PRINTS)
    assert told(shown) == [(3, 99, 2), (2, 99, 3)]


def test_slice_of_an_iceberg_stands_behind_what_the_book_shows() -> None:
    prints = [(1, 99.0, 6, SELLER), (2, 99.0, 6, SELLER), (3, 99.0, 9, SELLER)]
    hidden = run(book(prints=prints), {LAST: buy(5, limit=99, display=1)}, QUEUE)
    assert told(hidden) == [(1, 99, 2)]
    assert told(run(book(prints=prints), {LAST: buy(5, limit=99)}, QUEUE)) == [
        (2, 99, 2),
        (3, 99, 3),
    ]


def test_iceberg_that_takes_takes_all_that_stands() -> None:
    timeline = make_quote_timeline([(99, 101, 5, 4), (99, 101, 5, 4)])
    hidden = run(timeline, {0: buy(7, limit=101, display=2)})
    assert told(hidden) == told(run(timeline, {0: buy(7, limit=101)}))
