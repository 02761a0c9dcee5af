from __future__ import annotations

import math

import numpy as np
import pytest

from onetape.domain.market import AggressorSide, QuoteTick, TradeTick
from onetape.features import (
    FeatureMap,
    MicroPrice,
    OrderFlow,
    QuotedSpread,
    QuoteImbalance,
    TradeFlow,
)
from onetape.marketdata.tick_timeline import build_quote_timeline
from onetape.strategy.context import Context
from onetape.strategy.sdk import Strategy, state
from tests.support.session_runs import run_session
from tests.support.timelines import EQUITY, SECOND, T0

BUY, SELL = AggressorSide.BUYER.value, AggressorSide.SELLER.value


def test_quotes_by_hand() -> None:
    """Bid 99.9 for 300, ask 100.1 for 100: the middle is 100, the spread 20 basis points."""
    assert QuotedSpread().start().update(99.9, 100.1) == pytest.approx(20.0)
    assert QuotedSpread("price").start().update(99.9, 100.1) == pytest.approx(0.2)
    assert QuoteImbalance().start().update(300.0, 100.0) == 0.5
    assert MicroPrice().start().update(99.9, 100.1, 300.0, 100.0) == pytest.approx(100.05)
    assert math.isnan(QuotedSpread().start().update(0.0, 100.1))
    assert math.isnan(QuoteImbalance().start().update(0.0, 0.0))
    assert math.isnan(MicroPrice().start().update(99.9, 0.0, 300.0, 0.0))


def test_order_flow_by_hand() -> None:
    """Each case of Cont, Kukanov, Stoikov (2014), equation 4."""
    quotes = [
        (100.0, 101.0, 5.0, 7.0, math.nan),
        (100.0, 101.0, 8.0, 7.0, 3.0),  # three more at the bid
        (100.5, 101.0, 2.0, 7.0, 2.0),  # a better bid, with its whole size
        (100.0, 101.0, 9.0, 7.0, -2.0),  # it has gone, with the size that stood there
        (100.0, 101.0, 9.0, 10.0, -3.0),  # three more at the ask
        (100.0, 100.8, 9.0, 4.0, -4.0),  # a better ask
        (100.0, 101.0, 9.0, 6.0, 4.0),  # it has gone
        (100.0, 0.0, 9.0, 0.0, 6.0),  # and nobody sells any more
        (100.0, 101.0, 9.0, 5.0, -5.0),
    ]
    live, window = OrderFlow(1).start(), OrderFlow(3).start()
    for bid, ask, bid_size, ask_size, expected in quotes:
        found = live.update(bid, ask, bid_size, ask_size)
        assert found == pytest.approx(expected, nan_ok=True)
        total = window.update(bid, ask, bid_size, ask_size)
    assert total == 4.0 + 6.0 - 5.0


def test_trade_flow_by_hand() -> None:
    live = TradeFlow(3).start()
    rows = [(BUY, 30.0), (SELL, 10.0), (0.0, 20.0), (SELL, 50.0)]
    found = [live.update(float(side), volume) for side, volume in rows]
    assert found[2:] == pytest.approx([20 / 60, -60 / 80])


class Watches(Strategy):
    """Remembers what it sees at each row."""

    sum: float = state(0.0)
    heard: int = state(0)

    def features(self) -> FeatureMap:
        return {
            "spread": QuotedSpread("price"),
            "flow": OrderFlow(2),
            "taken": TradeFlow(3, inputs=("side", "volume")),
        }

    def on_quote(self, quote: QuoteTick, ctx: Context) -> None:
        self.heard += 1
        self.sum += ctx.features.spread

    def on_trade(self, trade: TradeTick, ctx: Context) -> None:
        self.heard += 100
        assert ctx.features.spread > 0


def test_features_stand_on_the_rows_of_a_quote_timeline() -> None:
    times = T0 + SECOND * np.arange(4, dtype=np.int64)
    quotes = {
        "ts_event": times,
        "bid": np.array([10.0, 10.0, 10.01, 10.0]), "ask": np.array([10.02, 10.03, 10.03, 10.03]),
        "bid_size": np.array([5.0, 5.0, 4.0, 9.0]), "ask_size": np.array([3.0, 6.0, 6.0, 6.0]),
    }  # fmt: skip
    prints = {
        "ts_event": times[1:3] + 1, "price": np.array([10.03, 10.01]),
        "size": np.array([2.0, 6.0]), "aggressor": np.array([BUY, SELL], dtype=np.int64),
    }  # fmt: skip
    timeline = build_quote_timeline([(EQUITY, quotes)], source="test", trades={EQUITY.id: prints})
    run = run_session(timeline, Watches())
    assert run.quarantined == []
    strategy = run.session.runners["s0"].strategy
    assert strategy.heard == 204
    assert strategy.sum == pytest.approx(0.02 + 0.03 + 0.02 + 0.03)
    columns = run.session.runners["s0"].columns
    # Rows: quote, quote, print, quote, print, quote.
    assert columns["flow"].tolist() == pytest.approx(
        [math.nan, math.nan, 3.0, 4.0, 4.0, -4.0], nan_ok=True
    )
    assert columns["taken"].tolist() == pytest.approx(
        [math.nan, math.nan, 1.0, 1.0, -0.5, -1.0], nan_ok=True
    )
