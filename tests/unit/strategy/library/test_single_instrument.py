"""Strategies that decide from one bar and one feature row: a table of situations each."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from onetape.domain.errors import StrategyError
from onetape.domain.market import make_bar
from onetape.domain.orders import OrderStatus, OrderType, Side
from onetape.strategy.context import OpenOrder
from onetape.strategy.library.buy_and_hold import BuyAndHold
from onetape.strategy.library.mean_reversion import MeanReversion
from onetape.strategy.library.rsi import RsiReversal
from onetape.strategy.library.sma_cross import SmaCross
from tests.support.strategies import AAPL, EQUITY, OTHER, FakeSurroundings, make_context

NAN = float("nan")
BAR = make_bar(AAPL, ts_open=0, ts_close=1, open=10, high=10, low=10, close=10, volume=1)


def decide(strategy, features, held=0.0, definitions=(EQUITY,), orders=()):
    """Signed amounts of the intents of one bar."""
    ctx = make_context(*definitions, around=FakeSurroundings(orders=list(orders)))
    ctx.features = SimpleNamespace(**features)
    ctx.units[AAPL] = held
    strategy.on_bar(BAR, ctx)
    return [each.side * each.amount for each in ctx.take_intents()]


@pytest.mark.parametrize(
    ("fast", "slow", "held", "orders"),
    [
        (2.0, NAN, 0, []), (2.0, 1.0, 0, [3]), (2.0, 1.0, 3, []), (1.0, 2.0, 3, [-3]),
        (1.0, 2.0, 0, []), (1.0, 1.0, 0, []), (1.0, 1.0, 3, []), (1.0, 2.0, 5, [-5]),
    ],
)  # fmt: skip
def test_sma_cross_is_long_above_and_flat_below(fast, slow, held, orders):
    strategy = SmaCross(quantity=3)
    assert decide(strategy, {"fast": fast, "slow": slow}, held) == orders
    assert strategy.entries == (orders == [3])


@pytest.mark.parametrize(
    ("z", "held", "orders", "orders_short"),
    [
        (NAN, 0, [], []), (NAN, 2, [], []), (-2.0, 0, [2], [2]), (-1.9, 0, [], []),
        (2.0, 0, [], [-2]), (1.9, 0, [], []), (-0.6, 2, [], []), (-0.5, 2, [-2], [-2]),
        (3.0, 2, [-2], [-2]), (-2.5, 2, [], []), (0.6, -2, [], []), (0.5, -2, [2], [2]),
        (-3.0, -2, [2], [2]),
    ],
)  # fmt: skip
def test_mean_reversion_enters_far_from_the_mean_and_leaves_near_it(z, held, orders, orders_short):
    assert decide(MeanReversion(quantity=2), {"z": z}, held) == orders
    assert decide(MeanReversion(quantity=2, short=True), {"z": z}, held) == orders_short


@pytest.mark.parametrize(
    ("rsi", "held", "orders"),
    [
        (NAN, 0, []), (NAN, 2, []), (29.9, 0, [2]), (30.0, 0, []), (29.9, 2, []),
        (55.0, 2, []), (55.1, 2, [-2]), (55.1, 0, []),
    ],
)  # fmt: skip
def test_rsi_reversal_buys_weakness_and_sells_the_recovery(rsi, held, orders):
    assert decide(RsiReversal(quantity=2), {"rsi": rsi}, held) == orders


def test_buy_and_hold_spends_an_equal_part_once():
    strategy = BuyAndHold(weight=0.9)
    waiting = OpenOrder("mine-1", AAPL, Side.BUY, OrderType.MARKET, OrderStatus.ACCEPTED,
                        9.0, 0.0, 0.0, 0.0)  # fmt: skip
    assert decide(strategy, {}) == [90_000_000]
    assert decide(strategy, {}, definitions=(EQUITY, OTHER)) == [45_000_000]
    assert decide(strategy, {}, orders=[waiting]) == []
    assert decide(strategy, {}, held=9.0) == []


@pytest.mark.parametrize(
    ("strategy", "params", "message"),
    [
        (SmaCross, {"fast": 50}, r"SmaCross: fast 50 is not below slow 50 .choose fast < slow"),
        (MeanReversion, {"exit": 2.0}, r"MeanReversion: exit 2.0 is not below entry 2.0"),
        (RsiReversal, {"exit": 30.0}, r"RsiReversal: exit 30.0 is not above oversold 30.0"),
        (SmaCross, {"fast": 1}, r"SmaCross.fast: 1 is out of range .must be >= 2"),
        (BuyAndHold, {"weight": 1.1}, r"BuyAndHold.weight: 1.1 is out of range .must be > 0, <= 1"),
    ],
)
def test_params_that_make_no_sense_are_refused(strategy, params, message):
    with pytest.raises(StrategyError, match=message):
        strategy(**params)
