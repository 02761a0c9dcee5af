"""An emulated order beside the same order at a venue that has it, on the same bars.

The trigger is the same rule, so it is met in the same bar. The order leaves at that bar's close: it
fills in a later one, and never before the one at the venue.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.domain.events import OrderFilled, OrderReleased, OrderTriggered
from onetape.domain.orders import OrderType, Side, TimeInForce
from onetape.execution.gateway import Capabilities
from onetape.strategy.context import Context
from tests.support.session_runs import SessionRun, run_session
from tests.support.timelines import AAPL, Prices, at_rows, make_timeline

PLAIN = Capabilities(
    order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
    times_in_force=frozenset({TimeInForce.GTC}),
)
KINDS = ("stop", "stop limit", "touch", "touch limit", "trail", "trail ratio", "trail limit")


@st.composite
def make_bars(draw: st.DrawFn) -> list[Prices]:
    price, bars = 100, []
    for _ in range(draw(st.integers(4, 14))):
        open_ = price + draw(st.integers(-2, 2))
        close = open_ + draw(st.integers(-4, 4))
        high = max(open_, close) + draw(st.integers(0, 3))
        low = min(open_, close) - draw(st.integers(0, 3))
        bars.append((open_, high, low, close))
        price = close
    return [(100, 100, 100, 100), *bars]


def terms_of(kind: str, side: Side, distance: int) -> dict[str, Any]:
    away, toward = 100 + side * distance, 100 - side * distance
    return {
        "stop": {"stop": away},
        "stop limit": {"stop": away, "limit": away + side},
        "touch": {"touch": toward},
        "touch limit": {"touch": toward, "limit": toward - side},
        "trail": {"trail": distance},
        "trail ratio": {"trail_ratio": distance / 100},
        "trail limit": {"trail": distance, "limit_offset": 1},
    }[kind]


def find(run: SessionRun, *kinds: type[Any]) -> int | None:
    """When the first of such an event was, ns UTC."""
    return next((each.ts_event for each in run.events if isinstance(each.payload, kinds)), None)


@settings(max_examples=150, deadline=None)
@given(
    bars=make_bars(), kind=st.sampled_from(KINDS), side=st.sampled_from(Side),
    distance=st.integers(1, 8),
)  # fmt: skip
def test_emulated_trigger_is_met_in_the_same_bar_and_fills_later(
    bars: list[Prices], kind: str, side: Side, distance: int
) -> None:
    def enter(ctx: Context) -> None:
        ctx.order(AAPL, side, 10, **terms_of(kind, side, distance))

    native, emulated = (
        run_session(make_timeline(bars), at_rows({0: enter}), capabilities=each)
        for each in (None, PLAIN)
    )
    assert find(emulated, OrderTriggered) == find(native, OrderTriggered)
    assert find(emulated, OrderReleased) == find(emulated, OrderTriggered)
    filled, later = find(native, OrderFilled), find(emulated, OrderFilled)
    assert filled is not None or later is None
    if filled is not None and later is not None:
        met = find(emulated, OrderTriggered)
        assert later >= filled
        assert met is not None
        assert later > met
    for stop, held in zip(native.of_type(OrderTriggered), emulated.of_type(OrderTriggered),
                          strict=True):  # fmt: skip
        assert stop.stop_ticks == held.stop_ticks


@settings(max_examples=150, deadline=None)
@given(
    bars=make_bars(), side=st.sampled_from(Side), profit=st.integers(1, 8),
    loss=st.integers(1, 8), volumes=st.lists(st.integers(0, 12), min_size=15, max_size=15),
    limit=st.sampled_from([None, -1, 0]),
)  # fmt: skip
def test_exits_of_a_bracket_never_trade_more_than_its_entry(
    bars: list[Prices], side: Side, profit: int, loss: int, volumes: list[int], limit: int | None
) -> None:
    def enter(ctx: Context) -> None:
        ctx.bracket(
            AAPL, side, 10, limit=None if limit is None else 100 + limit * side,
            take_profit=100 + side * profit, stop_loss=100 - side * loss,
        )  # fmt: skip

    thin = [(*bar[:4], float(volume)) for bar, volume in zip(bars, volumes, strict=False)]
    run = run_session(make_timeline(thin), at_rows({0: enter}), max_volume_ratio=1.0,
                      capabilities=PLAIN)  # fmt: skip
    held = 0
    for fill in run.fills:
        held += fill.lots * fill.side
        assert 0 <= held * side <= 10
    ends = {each.client_order_id[-1]: each.leaves for each in run.fills}
    open_ids = {each.client_order_id[-1] for each in run.session.save().desk.orders}
    if held and ends.get("1", 1) == 0 and len(open_ids) < 2:
        # One exit went: the other stands alone, and covers what is held.
        (left,) = run.session.save().desk.orders
        assert left.lots - left.filled_lots == abs(held)
