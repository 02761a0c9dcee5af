from __future__ import annotations

import numpy as np
import pytest

from onetape.domain.errors import StrategyError
from onetape.domain.market import (
    BookDelta,
    FundingRate,
    MarkPrice,
    QuoteTick,
    TimeSlice,
    TradeTick,
    make_bar,
)
from onetape.domain.orders import Side
from onetape.strategy.sdk import Strategy, param, state
from tests.support.strategies import AAPL, make_context


class Counting(Strategy):
    limit: int = param(2, ge=1)
    seen: int = state(0)
    last: str = state("")

    def check_params(self):
        if self.limit == 13:
            raise StrategyError("limit 13 is unlucky", remedy="choose another")


def test_state_starts_at_its_initial_value_and_may_be_assigned():
    strategy = Counting()
    strategy.seen += 1
    strategy.last = "bar"
    assert (strategy.seen, strategy.last) == (1, "bar")
    assert Counting().seen == 0


def test_param_is_immutable():
    with pytest.raises(StrategyError, match="param 'limit' is immutable"):
        Counting().limit = 5


def test_undeclared_state_is_refused_with_the_line_to_write():
    with pytest.raises(StrategyError, match=r"'total' is not declared \(write `total: .*state"):
        Counting().total = 5


def test_check_params_sees_the_params():
    with pytest.raises(StrategyError, match="limit 13 is unlucky"):
        Counting(limit=13)


BAR = make_bar(AAPL, ts_open=0, ts_close=1, open=1, high=1, low=1, close=1, volume=1)
TIMES = {"instrument": AAPL, "ts_event": 1, "ts_known": 1}


class Recording(Strategy):
    calls: str = state("")

    def on_bar(self, bar, ctx):
        self.calls += "bar"

    def on_slice(self, slice_, ctx):
        self.calls += "slice"

    def on_quote(self, quote, ctx):
        self.calls += "quote"

    def on_trade(self, trade, ctx):
        self.calls += "trade"

    def on_book(self, delta, ctx):
        self.calls += "book"

    def on_funding(self, funding, ctx):
        self.calls += "funding"

    def on_mark(self, mark, ctx):
        self.calls += "mark"


@pytest.mark.parametrize(
    ("event", "callback"),
    [
        (BAR, "bar"),
        (TimeSlice(1, (BAR,)), "slice"),
        (QuoteTick(**TIMES, bid=1, ask=2, bid_size=1, ask_size=1), "quote"),
        (TradeTick(**TIMES, price=1, size=1), "trade"),
        (BookDelta(**TIMES, is_bid=True, price=1, size=1), "book"),
        (FundingRate(**TIMES, rate=0.0001), "funding"),
        (MarkPrice(**TIMES, price=1), "mark"),
    ],
)
def test_market_event_reaches_the_callback_of_its_kind(event, callback):
    strategy = Recording()
    strategy.on_market_event(event, make_context())
    assert strategy.calls == callback


def test_every_callback_has_a_default_that_does_nothing():
    strategy, ctx = Strategy(), make_context()
    strategy.on_start(ctx)
    strategy.on_market_event(BAR, ctx)
    strategy.on_timer("noon", ctx)
    strategy.on_stop(ctx)
    assert strategy.features() == {}
    assert strategy.generate_orders(ctx) == []


def test_generate_orders_hands_over_what_was_queued_once():
    strategy, ctx = Strategy(), make_context()
    ctx.buy(AAPL, 1)
    assert [each.intent for each in strategy.generate_orders(ctx)] == [1]
    assert strategy.generate_orders(ctx) == []


def test_state_keeps_numbers_of_numpy_and_of_enums_as_a_checkpoint_does():
    strategy = Counting()
    strategy.seen = np.int64(3)
    strategy.last = np.str_("x")
    assert (type(strategy.seen), strategy.seen) == (int, 3)
    assert (type(strategy.last), strategy.last) == (str, "x")
    strategy.seen = np.float64(0.5)
    assert (type(strategy.seen), strategy.seen) == (float, 0.5)
    strategy.seen = Side.SELL
    assert (type(strategy.seen), strategy.seen) == (int, Side.SELL)


@pytest.mark.parametrize("value", [None, [1], (1, 2), np.zeros(2), object()])
def test_state_refuses_what_no_checkpoint_can_keep(value):
    strategy = Counting()
    with pytest.raises(StrategyError, match=r"Counting.seen: .* is nothing that state can hold"):
        strategy.seen = value
    assert strategy.seen == 0
