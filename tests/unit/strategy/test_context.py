from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec.msgpack import encode
from msgspec.structs import replace

from onetape.domain.errors import StrategyError
from onetape.domain.events import SignalRecorded
from onetape.domain.orders import (
    CancelIntent,
    OrderConditions,
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.strategy.context import OpenOrder, TimerRequest
from tests.support.strategies import (
    AAPL,
    BTC,
    EQUITY,
    MSFT,
    OTHER,
    SPOT,
    FakeSurroundings,
    make_context,
)

E8 = 100_000_000


def intent(side, basis, amount, kind=OrderType.MARKET, instrument=AAPL, **fields):
    return OrderIntent(
        "mine", 1, instrument, side, basis, amount, kind,
        fields.pop("time_in_force", TimeInForce.GTC), **fields,
    )  # fmt: skip


BUY, SELL = Side.BUY, Side.SELL
LOTS, BASIS = QuantityBasis.LOTS, QuantityBasis


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda c: c.buy(AAPL, 3), intent(BUY, LOTS, 3)),
        (lambda c: c.sell(AAPL, 3.0), intent(SELL, LOTS, 3)),
        (lambda c: c.buy(BTC, 0.3), intent(BUY, LOTS, 300, instrument=BTC)),
        (lambda c: c.buy(AAPL, 1, limit=9.99),
         intent(BUY, LOTS, 1, OrderType.LIMIT, limit_ticks=999)),
        (lambda c: c.sell(AAPL, 1, stop=9.5),
         intent(SELL, LOTS, 1, OrderType.STOP, stop_ticks=950)),
        (lambda c: c.sell(AAPL, 1, limit=9.4, stop=9.5),
         intent(SELL, LOTS, 1, OrderType.STOP_LIMIT, limit_ticks=940, stop_ticks=950)),
        (lambda c: c.buy(AAPL, 1, limit=1, time_in_force=TimeInForce.GTD, ts_expire=77),
         intent(BUY, LOTS, 1, OrderType.LIMIT, limit_ticks=100, ts_expire=77,
                time_in_force=TimeInForce.GTD)),
        (lambda c: c.sell(AAPL, 1, reduce_only=True, label="out"),
         intent(SELL, LOTS, 1, reduce_only=True, label="out")),
        (lambda c: c.target(AAPL, 4), intent(BUY, BASIS.TARGET_LOTS, 4)),
        (lambda c: c.target(AAPL, -4), intent(BUY, BASIS.TARGET_LOTS, -4)),
        (lambda c: c.target(AAPL, 0), intent(BUY, BASIS.TARGET_LOTS, 0)),
        (lambda c: c.target_weight(AAPL, 1 / 3), intent(BUY, BASIS.TARGET_WEIGHT, 33_333_333)),
        (lambda c: c.target_weight(AAPL, -0.5), intent(BUY, BASIS.TARGET_WEIGHT, -50_000_000)),
        (lambda c: c.spend(AAPL, 12.5), intent(BUY, BASIS.NOTIONAL_AT_FILL, 1_250_000_000)),
        (lambda c: c.spend(AAPL, 1, SELL, label="x"),
         intent(SELL, BASIS.NOTIONAL_AT_FILL, E8, label="x")),
        (lambda c: c.spend_ratio(AAPL, 0.25), intent(BUY, BASIS.EQUITY_AT_FILL, 25_000_000)),
        (lambda c: c.cancel("mine-9"), CancelIntent("mine", 1, "mine-9")),
        (lambda c: c.replace("mine-9", AAPL, quantity=5, limit=2),
         ReplaceIntent("mine", 1, "mine-9", 5, 200, 0)),
        (lambda c: c.replace("mine-9", AAPL, stop=3),
         ReplaceIntent("mine", 1, "mine-9", 0, 0, 300)),
        (lambda c: c.submit(lambda strategy, number: CancelIntent(strategy, number, "mine-8")),
         CancelIntent("mine", 1, "mine-8")),
        (lambda c: c.set_timer("noon", 5), TimerRequest("mine", "noon", 5)),
        (lambda c: c.signal("score", 0.5), SignalRecorded("mine", "score", 0.5)),
    ],
)  # fmt: skip
def test_context_call_queues_exactly_what_it_says(call, expected):
    ctx = make_context(EQUITY, SPOT)
    call(ctx)
    assert ctx.queue == [expected]


def test_context_numbers_intents_and_returns_the_ids_of_their_orders():
    ctx = make_context(EQUITY, OTHER)
    ids = [ctx.buy(AAPL, 1), ctx.target_weight(MSFT, 0.5), ctx.sell(AAPL, 1)]
    assert ids == ["mine-1", "mine-2", "mine-3"]
    assert [each.intent for each in ctx.take_intents()] == [1, 2, 3]
    assert ctx.intent_count == 3


def test_context_take_intents_leaves_signals_and_timers():
    ctx = make_context()
    ctx.signal("score", 1.0)
    ctx.buy(AAPL, 1)
    ctx.set_timer("noon", 5)
    assert [type(each) for each in ctx.take_intents()] == [OrderIntent]
    assert [type(each) for each in ctx.queue] == [SignalRecorded, TimerRequest]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.buy(AAPL, 1.5), r"AAPL.XNAS quantity 1.5 .*valid values: 1 and 2\)"),
        (lambda c: c.buy(BTC, 0.0015), r"BTC-USD.COIN quantity 0.0015 .*values: 0.001 and 0.002\)"),
        (lambda c: c.target(AAPL, -2.5), r"AAPL.XNAS quantity 2.5 .*valid values: 2 and 3\)"),
        (lambda c: c.buy(AAPL, 1, limit=9.995), r"AAPL.XNAS price 9.995 .*: 9.99 and 10.00\)"),
        (lambda c: c.sell(AAPL, 1, stop=0.001), r"AAPL.XNAS price 0.001 .*: 0.00 and 0.01\)"),
        (lambda c: c.replace("mine-1", AAPL, quantity=0.5), "quantity 0.5 .*: 0 and 1"),
        (lambda c: c.buy(AAPL, 0), r"quantity 0 of AAPL.XNAS is not positive .the side says"),
        (lambda c: c.sell(AAPL, -1), "quantity -1 of AAPL.XNAS is not positive"),
        (lambda c: c.buy(AAPL, math.nan), "AAPL.XNAS quantity nan is not finite"),
        (lambda c: c.buy(AAPL, math.inf), "AAPL.XNAS quantity inf is not finite"),
        (lambda c: c.buy(AAPL, 1, limit=math.nan), "AAPL.XNAS price nan is not finite"),
        (lambda c: c.buy(AAPL, 1, limit=0.0), "price 0.0 of AAPL.XNAS is not positive"),
        (lambda c: c.sell(AAPL, 1, stop=-1.0), "price -1.0 of AAPL.XNAS is not positive"),
        (lambda c: c.target_weight(AAPL, math.nan), "mine weight nan is not finite"),
        (lambda c: c.spend(AAPL, math.inf), "mine amount inf is not finite"),
        (lambda c: c.spend(AAPL, 0.0), "amount 0.0 for AAPL.XNAS is not positive"),
        (lambda c: c.spend(AAPL, -5.0, SELL), "amount -5.0 for AAPL.XNAS is not positive"),
        (lambda c: c.spend_ratio(AAPL, -0.5), "ratio -0.5 for AAPL.XNAS is not positive"),
        (lambda c: c.replace("mine-1", AAPL, quantity=0), "quantity 0 of AAPL.XNAS is not pos"),
        (lambda c: c.replace("mine-1", AAPL, quantity=-1), "quantity -1 of AAPL.XNAS is not pos"),
        (lambda c: c.buy(MSFT, 1), "'MSFT.XNAS' is not subscribed"),
        (lambda c: c.target("AAPL.XNSA", 1), "is not subscribed .did you mean 'AAPL.XNAS'"),
        (lambda c: c.spend(MSFT, 1), "'MSFT.XNAS' is not subscribed"),
        (lambda c: c.position(MSFT), "'MSFT.XNAS' is not subscribed"),
        (lambda c: c.mark(MSFT), "'MSFT.XNAS' is not subscribed"),
        (lambda c: c.features_of(MSFT), "'MSFT.XNAS' is not subscribed"),
        (lambda c: c.history(MSFT, 1), "'MSFT.XNAS' is not subscribed"),
    ],
)
def test_context_call_that_can_not_be_is_refused_and_queues_nothing(call, message):
    ctx = make_context(EQUITY, SPOT)
    with pytest.raises(StrategyError, match=message):
        call(ctx)
    assert ctx.queue == []
    assert ctx.intent_count == 0


@pytest.mark.parametrize(
    ("instrument", "quantity", "rounded"),
    [
        (AAPL, 2.9, 2.0), (AAPL, -2.9, -2.0), (AAPL, 0.5, 0.0), (AAPL, 3.0, 3.0),
        (BTC, 0.3, 0.3), (BTC, 0.0019, 0.001), (BTC, 1.2345, 1.234),
    ],
)  # fmt: skip
def test_context_rounds_quantities_toward_zero_to_what_buy_takes(instrument, quantity, rounded):
    ctx = make_context(EQUITY, SPOT)
    assert ctx.round_quantity(instrument, quantity) == rounded
    if rounded > 0:
        ctx.buy(instrument, ctx.round_quantity(instrument, quantity))


@pytest.mark.parametrize(
    ("price", "side", "rounded"),
    [
        (10.019, BUY, 10.01), (10.011, SELL, 10.02), (10.01, BUY, 10.01), (10.01, SELL, 10.01),
        (0.07, BUY, 0.07), (0.07, SELL, 0.07),
    ],
)  # fmt: skip
def test_context_rounds_prices_not_worse_for_us_to_what_buy_takes(price, side, rounded):
    ctx = make_context()
    assert ctx.round_price(AAPL, price, side) == rounded
    ctx.buy(AAPL, 1, limit=ctx.round_price(AAPL, price, side))


def test_context_reads_its_surroundings_in_currency():
    around = FakeSurroundings(
        time=7,
        marks={AAPL: 12.5},
        cash_minor=-150 * E8 // 100,
        equity_minor=99 * E8,
        rows={AAPL: "row"},
        closes={AAPL: [1.0, 2.0, 3.0]},
    )
    ctx = make_context(EQUITY, OTHER, around=around)
    ctx.units[AAPL] = 4.0
    assert (ctx.now, ctx.cash, ctx.equity, ctx.mark(AAPL)) == (7, -1.5, 99.0, 12.5)
    assert ctx.instruments == (AAPL, MSFT)
    assert ctx.instrument(AAPL) is EQUITY
    assert (ctx.position(AAPL), ctx.position(MSFT)) == (4.0, 0.0)
    assert (ctx.features_of(AAPL), ctx.features_of(MSFT)) == ("row", None)
    assert ctx.history(AAPL, 2).tolist() == [2.0, 3.0]
    assert math.isnan(ctx.mark(MSFT))


def test_context_gives_open_orders_of_all_or_one_instrument():
    orders = [
        OpenOrder(f"mine-{number}", instrument, BUY, OrderType.LIMIT, OrderStatus.ACCEPTED,
                  1.0, 0.0, 9.0, 0.0)
        for number, instrument in enumerate((AAPL, MSFT, AAPL), start=1)
    ]  # fmt: skip
    ctx = make_context(EQUITY, OTHER, around=FakeSurroundings(orders=orders))
    assert [each.client_order_id for each in ctx.open_orders()] == ["mine-1", "mine-2", "mine-3"]
    assert [each.client_order_id for each in ctx.open_orders(AAPL)] == ["mine-1", "mine-3"]


def test_context_takes_the_numbers_of_numpy():
    ctx = make_context()
    ctx.buy(AAPL, np.int64(3), limit=np.float64(9.99), reduce_only=np.bool_(True))
    ctx.target_weight(AAPL, np.float32(0.1))
    ctx.spend(AAPL, np.float64(500.5))
    ctx.set_timer("later", np.int64(77))
    ctx.signal("z", np.float64(1.5))
    ctx.signal("on", np.bool_(True))
    ctx.order(AAPL, BUY, np.float64(2), limit=np.float64(9.0), post_only=np.bool_(True))
    assert ctx.queue == [
        intent(BUY, LOTS, 3, OrderType.LIMIT, limit_ticks=999, reduce_only=True),
        replace(intent(BUY, BASIS.TARGET_WEIGHT, E8 // 10), intent=2),
        replace(intent(BUY, BASIS.NOTIONAL_AT_FILL, 50_050_000_000), intent=3),
        TimerRequest("mine", "later", 77),
        SignalRecorded("mine", "z", 1.5),
        SignalRecorded("mine", "on", 1.0),
        replace(
            intent(
                BUY,
                LOTS,
                2,
                OrderType.LIMIT,
                limit_ticks=900,
                conditions=OrderConditions(post_only=True),
            ),
            intent=4,
        ),
    ]
    assert encode(ctx.queue)


def test_context_cancels_and_replaces_an_order_as_open_orders_has_it():
    resting = OpenOrder(
        "mine-1", AAPL, BUY, OrderType.LIMIT, OrderStatus.ACCEPTED, 1.0, 0.0, 9.0, 0.0
    )
    ctx = make_context(around=FakeSurroundings(orders=[resting]))
    for each in ctx.open_orders(AAPL):
        ctx.cancel(each)
        ctx.replace(each, AAPL, limit=9.0)
    assert [each.client_order_id for each in ctx.queue] == ["mine-1", "mine-1"]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda c: c.cancel(None), "id of an order is None, expected str"),
        (lambda c: c.replace(7, AAPL, limit=9), "id of an order is 7, expected str"),
        (lambda c: c.set_timer("x", 1e9), "time of a timer is 1000000000.0, expected int"),
        (lambda c: c.set_timer("x", 10**30), "of timer 'x' is none"),
        (lambda c: c.set_timer(3, 1), "name of a timer is 3, expected str"),
        (lambda c: c.signal("x", "high"), "signal 'x' is 'high', expected float"),
        (lambda c: c.signal(None, 1.0), "name of a signal is None"),
        (lambda c: c.buy(AAPL, 1, label=None), "label is None, expected str"),
        (lambda c: c.buy(AAPL, 1, reduce_only="yes"), "reduce_only is 'yes', expected bool"),
        (lambda c: c.buy(AAPL, 1, time_in_force="GTC"), "expected TimeInForce"),
        (lambda c: c.buy(AAPL, 1, time_in_force=TimeInForce.GTD, ts_expire=1e9), "ts_expire is"),
        (lambda c: c.buy(AAPL, 10**30), "more steps of 1 than can be counted"),
        (lambda c: c.target_weight(AAPL, 1e12), "more steps of 0.00000001 than can be"),
        (lambda c: c.target(AAPL, 1, label=3), "label is 3, expected str"),
        (lambda c: c.spend(AAPL, 100, "sell"), "side is 'sell', expected Side"),
        (lambda c: c.order(AAPL, "BUY", 1), "side is 'BUY', expected Side"),
        (lambda c: c.order(AAPL, BUY, 1, label=None), "label is None, expected str"),
        (lambda c: c.order(AAPL, BUY, 1, parent=None), "can't be sent: Expected `str`, got `None`"),
    ],
)
def test_context_refuses_what_the_tape_could_not_keep(call, message):
    ctx = make_context()
    with pytest.raises(StrategyError) as refused:
        call(ctx)
    assert message in str(refused.value)
    assert not ctx.queue
