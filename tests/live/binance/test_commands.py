"""Every command through the real client against the local Binance."""

from __future__ import annotations

import pytest

from onetape.domain.numbers import E8
from onetape.domain.orders import LiquiditySide, OrderConditions, RejectCode, TimeInForce
from onetape.domain.venue import VenueBalance, VenuePosition
from tests.support.binance_live import (
    BUY,
    COIN,
    SELL,
    K,
    World,
    cancel,
    order,
    replace,
    run,
    told,
)


def test_market_order_fills_with_its_fee_in_what_it_buys() -> None:
    """Binance, "Commission FAQ": of a buy in the base currency; 0.1 % of 0.5 BTC."""

    async def test() -> None:
        world = World(prices=[40_000.0, 41_000.0, 42_000.0])
        async with world.gateway() as gateway:
            await gateway.submit(order(1, lots=50_000))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED)
            fill = world.reports[-1]
            assert (fill.lots, fill.ticks, fill.price) == (50_000, 4_100_000, "41000.00000000")
            assert (fill.fee, fill.fee_units, fill.reason) == (0, 50_000, "")
            assert (fill.filled_lots, fill.liquidity) == (50_000, LiquiditySide.TAKER)
            assert fill.execution_id == "BTCUSDT:1"
            await gateway.submit(order(2, SELL, lots=40_000))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED, number=2)
            sale = world.reports[-1]
            # 0.4 x 42,000 = 16,800.00 and 0.1 % of it
            assert (sale.fee, sale.fee_units) == (1_680_000_000, 0)
            seen = await gateway.look("test", [], 0)
            assert [each.execution_id for each in seen.reports] == ["BTCUSDT:1", "BTCUSDT:2"]
            # 2 + 0.5 - 0.0005 - 0.4 BTC are 209,950 lots of 0.00001
            assert seen.positions == [VenuePosition(instrument=COIN.id, lots=209_950)]
            # 100,000 - 20,500 + 16,800 - 16.80
            assert seen.balances == [VenueBalance(currency="USDT", amount=9_628_320_000_000)]
            assert world.exchange.books("me").balances["USDT"].total == 9_628_320_000_000

    run(test)


def test_rest_below_a_lot_is_told_beside_the_lots() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            await gateway.submit(order(1, lots=3))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED)
            seen = await gateway.look("test", [], 0)
            # 2 BTC + 3 lots - 0.1 % of 3 lots (3,000 units): 3 units
            assert seen.positions == [
                VenuePosition(instrument=COIN.id, lots=200_002, rest_units=997)
            ]

    run(test)


def test_limit_order_rests_is_canceled_and_is_gone() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            await world.until_kinds(K.ACCEPTED)
            seen = await gateway.look("test", [one], 0)
            assert [each.client_order_id for each in seen.orders] == [one.client_order_id]
            assert (seen.orders[0].lots, seen.orders[0].limit_ticks) == (1000, 3_000_000)
            assert seen.balances[0].amount == 100_000 * E8  # what the order holds included
            await gateway.cancel(cancel(one), one)
            await world.until_kinds(K.ACCEPTED, K.CANCELED)
            assert world.exchange.open_orders("me") == []
            await gateway.cancel(cancel(one), one)
            assert world.kinds() == [K.ACCEPTED, K.CANCELED, K.CANCEL_REJECTED]
            assert world.reports[-1].code is RejectCode.ORDER_CLOSED

    run(test)


def test_immediate_orders_expire_with_what_is_left() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            await gateway.submit(order(1, limit=3_000_000, life=TimeInForce.IOC))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.EXPIRED)
            await gateway.submit(order(2, limit=3_000_000, life=TimeInForce.FOK))
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.EXPIRED, number=2)

    run(test)


def test_stop_order_is_triggered_before_it_fills() -> None:
    async def test() -> None:
        world = World(prices=[40_000.0, 40_000.0, 41_000.0, 41_500.0])
        async with world.gateway() as gateway:
            await gateway.submit(order(1, stop=4_100_000))
            await world.play(3)
            await world.until_kinds(K.ACCEPTED, K.TRIGGERED, K.FILLED)

    run(test)


def test_price_is_replaced_by_a_successor_under_our_id() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            for limit in (3_100_000, 3_200_000):
                await gateway.replace(replace(one, limit=limit), one)
            await world.until_kinds(K.ACCEPTED, K.REPLACED, K.REPLACED)
            last = world.reports[-1]
            assert (last.lots, last.limit_ticks) == (1000, 3_200_000)
            names = [each.client_order_id for each in world.exchange.orders("me")]
            assert names == [one.client_order_id + end for end in ("", "-r1", "-r2")]
            seen = await gateway.look("test", [one], 0)
            assert [each.client_order_id for each in seen.orders] == [one.client_order_id]
            await gateway.cancel(cancel(one), one)
            await world.until_kinds(K.ACCEPTED, K.REPLACED, K.REPLACED, K.CANCELED)

    run(test)


def test_fewer_lots_are_amended_in_place() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            one = order(1, limit=3_000_000)
            await gateway.submit(one)
            await gateway.replace(replace(one, lots=400), one)
            await world.until_kinds(K.ACCEPTED, K.REPLACED)
            (placed,) = world.exchange.orders("me")
            assert (placed.client_order_id, placed.lots) == (one.client_order_id, 400)
            assert world.reports[-1].lots == 400

    run(test)


def test_partly_filled_order_is_replaced_by_what_is_left() -> None:
    """The volume of a row fills a part; the successor may not be larger than the rest."""

    async def test() -> None:
        world = partly_filled_world()
        async with world.gateway() as gateway:
            one = order(1, limit=4_000_000, lots=150_000)
            await gateway.submit(one)
            await world.play()
            await world.until_kinds(K.ACCEPTED, K.FILLED)
            filled = world.reports[-1].lots
            assert 0 < filled < 150_000
            await gateway.replace(replace(one, limit=3_900_000), one)
            await world.until_kinds(K.ACCEPTED, K.FILLED, K.REPLACED)
            last = world.reports[-1]
            assert (last.lots, last.filled_lots, last.limit_ticks) == (150_000, filled, 3_900_000)
            assert world.exchange.orders("me")[-1].lots == 150_000 - filled
            seen = await gateway.look("test", [one], 0)
            assert (seen.orders[0].lots, seen.orders[0].filled_lots) == (150_000, filled)
            await gateway.replace(replace(one, lots=filled), one)
            assert world.reports[-1].code is RejectCode.QUANTITY_BELOW_FILLED

    run(test)


def partly_filled_world() -> World:
    rows = [(40_000.0, 40_000.0, 39_999.0, 40_000.0, 2.0)] * 12
    return World(rows, max_volume_ratio=0.1)


def test_post_only_order_that_would_take_is_canceled() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            maker = OrderConditions(post_only=True)
            await gateway.submit(order(1, limit=4_500_000, conditions=maker))
            await world.play()
            await world.until(lambda: bool(world.kinds()) and world.kinds()[-1] is not K.ACCEPTED)
            assert world.kinds()[-1] in (K.CANCELED, K.EXPIRED)
            await gateway.submit(order(2, limit=3_000_000, conditions=maker))
            await world.until_kinds(K.ACCEPTED, number=2)
            assert world.exchange.orders("me")[-1].request.post_only

    run(test)


REFUSED = [
    (order(1, lots=0), RejectCode.UNSUPPORTED, "size orders at the fill"),
    (order(1, limit=3_000_000, life=TimeInForce.DAY), RejectCode.UNSUPPORTED, "LIMIT with DAY"),
    (order(1, life=TimeInForce.FOK), RejectCode.UNSUPPORTED, "all or none"),
    (order(1, lots=20_000_000), RejectCode.INSUFFICIENT_FUNDS, "insufficient balance"),
    (order(1, SELL, lots=20_000_000), RejectCode.INSUFFICIENT_FUNDS, "insufficient balance"),
    (order(1, conditions=OrderConditions(group="a")), RejectCode.UNSUPPORTED, "bound to others"),
    (order(1, strategy="other"), RejectCode.UNSUPPORTED, "can't take the order id"),
]


@pytest.mark.parametrize(("asked", "code", "reason"), REFUSED)
def test_refused_order_says_why(asked, code, reason) -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            await gateway.submit(asked)
            (report,) = world.reports
            assert (report.kind, report.code) == (K.REJECTED, code)
            assert reason in report.reason
            assert world.exchange.orders("me") == []
            assert told(await gateway.look("test", [], 0)) == []

    run(test)


def test_order_below_the_minimum_notional_is_refused_by_the_venue() -> None:
    from decimal import Decimal

    import msgspec

    async def test() -> None:
        picky = msgspec.structs.replace(COIN, min_notional=Decimal(10))
        world = World(instrument=picky)
        async with world.gateway() as gateway:
            (defined,) = await gateway.define([COIN.id])
            assert defined.min_notional == 10
            await gateway.submit(order(1, limit=4_000_000, lots=1))
            (report,) = world.reports
            assert report.kind is K.REJECTED
            assert "NOTIONAL" in report.reason

    run(test)


def test_halted_symbol_refuses_orders() -> None:
    async def test() -> None:
        world = World()
        async with world.gateway() as gateway:
            world.exchange.halt("BTCUSDT", "maintenance")
            await gateway.submit(order(1, BUY))
            assert world.kinds() == [K.REJECTED]
            assert "Market is closed." in world.reports[0].reason

    run(test)
