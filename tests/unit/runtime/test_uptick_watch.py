"""The uptick rule and the trading status in sessions: bars, splits, and what is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from onetape.domain.events import OrderReplacePending
from onetape.risk.gates.uptick import UptickQuote
from onetape.risk.limits import RiskLimits, ShortSaleLimits
from onetape.runtime.market_state import MarketState
from onetape.runtime.uptick_watch import UptickWatch
from onetape.strategy.context import Context
from tests.support.actions import SPLIT, make_action, with_actions
from tests.support.risk_input import make_risk_input
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import (
    AAPL,
    EQUITY,
    at_rows,
    closes,
    flat,
    make_columns,
    make_timeline,
    make_trade_timeline,
    opens,
)

UPTICK = RiskLimits(short_sale=ShortSaleLimits(uptick_rule=True))


def sell(limit: float | None = None) -> Callable[[Context], Any]:
    return lambda ctx: ctx.sell(AAPL, 1, limit=limit)


def tell(run: SessionRun) -> list[tuple[int, str, float, float]]:
    """(intent, code, actual, limit) of each denial."""
    return [(each.intent, each.code.value, each.actual, each.limit) for each in run.denied]


def test_fall_of_a_tenth_stops_short_sales_until_the_session_after_the_next() -> None:
    """Two bars a session. 100 is the close of the first; the low of the third bar is 90."""
    bars = [(100.0,), (100.0,), (99.0, 99.0, 90.0, 95.0), (96.0,), (97.0,), (98.0,), (99.0,)]
    timeline = make_timeline(bars, session=2)
    everywhere = {row: sell() for row in range(7)}
    run = run_session(timeline, at_rows(everywhere), limits=UPTICK)
    assert tell(run) == [
        (3, "uptick", 0.0, 95.0), (4, "uptick", 0.0, 96.0), (5, "uptick", 0.0, 97.0),
        (6, "uptick", 0.0, 98.0),
    ]  # fmt: skip
    assert len(run.fills) == 2  # the orders of the first two bars; of the last there is no next bar


def test_short_sale_above_the_newest_price_passes_and_a_replace_to_it_does_not() -> None:
    orders: list[str] = []
    timeline = make_timeline(flat(100, 100, 90, 90, 90, 90), session=2)
    above = at_rows(
        {
            2: lambda ctx: orders.append(ctx.sell(AAPL, 1, limit=90.01)),
            3: lambda ctx: ctx.replace(orders[0], AAPL, limit=90),
        }
    )
    run = run_session(timeline, above, limits=UPTICK)
    assert run.quarantined == []
    assert tell(run) == [(2, "uptick", 90.0, 90.0)]
    assert run.of_type(OrderReplacePending) == []


def test_long_sale_passes_while_the_rule_is_in_force() -> None:
    timeline = make_timeline(flat(100, 100, 90, 90, 90), session=2)
    buys: dict[int, Callable[[Context], Any]] = {0: lambda ctx: ctx.buy(AAPL, 2), 2: sell()}
    buys[3] = lambda ctx: ctx.sell(AAPL, 2)
    run = run_session(timeline, at_rows(buys), limits=UPTICK)
    assert tell(run) == [(3, "uptick", 0.0, 90.0)]  # one of the two would be short
    assert [fill.lots for fill in run.fills] == [2, 1]


def test_split_is_no_fall_and_a_fall_after_it_counts_from_the_adjusted_close() -> None:
    """700 is 100 after 7:1; 91 is a fall of 9 %, 90 one of 10 %."""
    timeline = make_timeline(flat(700, 700, 91, 90, 91), session=2)
    timeline = with_actions(timeline, [make_action(SPLIT, opens(2), 7)])
    run = run_session(timeline, at_rows({row: sell() for row in (2, 3)}), limits=UPTICK)
    assert tell(run) == [(2, "uptick", 0.0, 90.0)]


@pytest.mark.parametrize(("price", "denied"), [(90.01, []), (90.0, [(1, "uptick", 0.0, 90.0)])])
def test_split_inside_a_session_adjusts_the_close_before_it(price: float, denied: Any) -> None:
    """700 before the session is 100 after 7:1, of which 90 is a fall of 10 %."""
    timeline = make_timeline(flat(700, 700, 690, price, price, price), session=2)
    timeline = with_actions(timeline, [make_action(SPLIT, opens(3), 7)])
    run = run_session(timeline, at_rows({3: sell()}), limits=UPTICK)
    assert tell(run) == denied


def test_watch_goes_on_where_it_was_saved() -> None:
    """At every row: in force as by a watch that was never asked before, and saved unchanged."""
    timeline = make_timeline(flat(100, 100, 80, 91, 92, 93, 94, 80, 80), session=2)
    market = MarketState(timeline)
    kept = UptickWatch(timeline, market).save()
    in_force: list[bool] = []
    for row in range(9):
        market.row = row
        fresh, watch = UptickWatch(timeline, market), UptickWatch(timeline, market)
        watch.restore(kept)
        quotes = UptickQuote(), UptickQuote()
        for each, quote in zip((fresh, watch), quotes, strict=True):
            each.show(make_risk_input(), quote)
        assert quotes[0] == quotes[1]
        kept = watch.save()
        assert kept == fresh.save()
        in_force.append(quotes[0].is_restricted)
    assert in_force == [False, False, True, True, True, True, False, True, True]


def test_prints_have_no_low_and_count_with_their_price() -> None:
    run = run_session(
        make_trade_timeline([100, 100, 90, 90]), at_rows({2: sell()}), limits=UPTICK
    )  # fmt: skip
    assert tell(run) == []  # one session has no close before it


def test_order_before_the_listing_and_after_the_delisting_is_denied_in_a_session() -> None:
    listed = msgspec.structs.replace(EQUITY, ts_listed=closes(1), ts_delisted=closes(2))
    timeline = make_timeline((listed, make_columns(flat(*[100] * 6))))
    strategy = at_rows({row: (lambda ctx: ctx.buy(AAPL, 1)) for row in range(4)})
    run = run_session(timeline, strategy, limits=RiskLimits(trading_status=True))
    assert tell(run) == [
        (1, "not_listed", closes(0) / 1e9, closes(1) / 1e9),
        (4, "delisted", closes(3) / 1e9, closes(2) / 1e9),
    ]
    assert len(run.fills) == 2
