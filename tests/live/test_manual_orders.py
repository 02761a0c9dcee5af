"""What every gateway owes to orders that somebody else gives: one suite, three venues."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import pytest

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.orders import OrderType, Side, TimeInForce
from onetape.domain.venue import ReportKind, VenueOrder, VenueReport, find_manual
from onetape.execution.binance.wire import read_order
from onetape.execution.gateway import VenueGateway
from onetape.runtime.local_venues.messages import NewOrder, Refusal
from tests.live.test_adoption import SITES, Site, far
from tests.support.binance_live import COIN

K = ReportKind


@pytest.fixture(params=SITES)
def venue(request: pytest.FixtureRequest) -> str:
    return request.param


class Heard(list[VenueReport]):
    """What a gateway says of orders."""

    async def until(self, kind: ReportKind) -> VenueReport:
        async with asyncio.timeout(30):
            while True:
                for each in self:
                    if each.kind is kind:
                        return each
                await asyncio.sleep(0.005)


@asynccontextmanager
async def opened(site: Site) -> AsyncGenerator[tuple[VenueGateway, Heard]]:
    """A gateway of a new process."""
    gateway = site.make().gateway
    assert gateway is not None
    heard = Heard()

    async def hear(each: Any) -> None:
        if isinstance(each, VenueReport):
            heard.append(each)

    await gateway.open([site.instrument], hear)
    try:
        yield gateway, heard
    finally:
        await gateway.close()


def as_submitted(order: VenueOrder) -> OrderSubmitted:
    return OrderSubmitted(
        order.client_order_id, "keeper", order.instrument, order.side, order.order_type,
        order.time_in_force, order.lots, order.limit_ticks, order.stop_ticks, order.ts_expire,
        conditions=order.conditions,
    )  # fmt: skip


async def find(gateway: VenueGateway, *known: OrderSubmitted) -> VenueOrder:
    (found,) = (await gateway.look("test", list(known), 0)).orders
    return found


def test_look_report_and_fill_say_one_name_that_the_venue_gave(venue: str) -> None:
    async def run() -> None:
        async with SITES[venue]() as site, opened(site) as (gateway, heard):
            lots = site.lots_of(30)
            number = await site.hand.place(site.instrument, Side.BUY, lots, site.price * 2)
            await heard.until(K.ACCEPTED)
            await site.world.player.play_slice()
            fill = await heard.until(K.FILLED)
            order = site.world.exchange.find("me", number=number)
            assert order is not None
            there = await find(gateway)
            assert there.client_order_id == site.hand.name(order)
            assert {each.client_order_id for each in heard} == {there.client_order_id}
            assert find_manual(there.client_order_id)
            assert (there.problem, there.time_in_force) == ("", TimeInForce.GTC)
            assert (there.lots, there.filled_lots) == (lots, fill.filled_lots)
            assert fill.filled_lots == fill.lots == site.lots_of(10)

    asyncio.run(run())


def test_new_process_cancels_and_changes_by_the_name_alone(venue: str) -> None:
    async def run() -> None:
        async with SITES[venue]() as site:
            lots = site.lots_of(10)
            await site.hand.place(site.instrument, Side.BUY, lots, far(site))
            async with opened(site) as (gateway, _):
                order = as_submitted(await find(gateway))
            identity, limit = order.client_order_id, order.limit_ticks - 100
            async with opened(site) as (gateway, heard):
                await gateway.replace(OrderReplacePending(identity, lots, limit, 0), order)
                told = await heard.until(K.REPLACED)
                assert (told.client_order_id, told.lots) == (identity, lots)
                assert told.limit_ticks == limit
                there = await find(gateway, order)
                assert (there.client_order_id, there.limit_ticks) == (identity, limit)
            async with opened(site) as (gateway, heard):
                await gateway.cancel(OrderCancelPending(identity), order)
                told = await heard.until(K.CANCELED)
                assert told.client_order_id == identity
                assert site.orders() == []
                snapshot = await gateway.look("test", [order], 0)
                assert snapshot.orders == []
                ends = [each for each in snapshot.reports if each.kind is K.CANCELED]
                assert [each.client_order_id for each in ends] == [identity]

    asyncio.run(run())


def test_every_fill_of_an_order_that_is_asked_about_says_its_count(venue: str) -> None:
    async def run() -> None:
        async with SITES[venue]() as site:
            await site.hand.place(site.instrument, Side.BUY, site.lots_of(50), site.price * 2)
            for _ in range(3):
                await site.world.player.play_slice()
            async with opened(site) as (gateway, _):
                order = as_submitted(await find(gateway))
                snapshot = await gateway.look("test", [order], 0)
                counts = [each.filled_lots for each in snapshot.reports if each.kind is K.FILLED]
                assert counts == [site.lots_of(each) for each in (10, 20, 30)]

    asyncio.run(run())


STRANGE = {
    "alpaca": [
        ({"order_type": OrderType.TRAILING_STOP, "side": Side.SELL, "trail": Decimal(1)},
         "it is of type trailing_stop"),
        ({"order_type": OrderType.MARKET, "time_in_force": TimeInForce.DAY,
          "quantity": Decimal(0), "budget": Decimal(1_000)}, "it is sized by an amount of money"),
    ],
    "ibkr": [
        ({"order_type": OrderType.TRAILING_STOP, "side": Side.SELL, "trail": Decimal(1)},
         "it is of type TRAIL"),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("venue", "fields", "why"), [(name, *each) for name, rows in STRANGE.items() for each in rows]
)
def test_what_no_order_of_ours_can_be_is_told_with_the_reason(
    venue: str, fields: dict[str, Any], why: str
) -> None:
    async def run() -> None:
        async with SITES[venue]() as site, opened(site) as (gateway, _):
            given: dict[str, Any] = {
                "symbol": site.instrument.symbol, "client_order_id": "by hand", "side": Side.BUY,
                "quantity": Decimal(5), **fields,
            }  # fmt: skip
            if given["side"] is Side.SELL:  # there is something to sell
                number = await site.hand.place(site.instrument, Side.BUY, 5, site.price * 2)
                await site.world.player.play_slice()
                assert number
            placed = site.world.exchange.submit("me", NewOrder(**given))
            assert not isinstance(placed, Refusal), placed
            assert (await find(gateway)).problem == why

    asyncio.run(run())


RESTING: dict[str, Any] = {
    "orderId": 5, "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "origQty": "0.50000000",
    "executedQty": "0.10000000", "price": "40000.00000000", "stopPrice": "0.00000000",
    "icebergQty": "0.00000000", "orderListId": -1,
}  # fmt: skip
"""A row of Binance's `openOrders`."""


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, ""),
        ({"type": "LIMIT_MAKER"}, ""),
        ({"icebergQty": "0.05000000"}, ""),
        ({"orderListId": 12}, "it is bound to others (order list 12)"),
        ({"type": "STOP_LOSS", "trailingDelta": 100}, "it is of type STOP_LOSS that trails"),
        ({"type": "PEGGED"}, "it is of type PEGGED"),
        ({"timeInForce": "FOK"}, "it lives FOK"),
        ({"price": "40000.001"}, "its price 40000.001 is no multiple of 0.01"),
    ],
)
def test_binance_orders_that_can_not_be_ours(fields: dict[str, Any], why: str) -> None:
    told = read_order(COIN, RESTING | fields, "@BTCUSDT:5", 0)
    assert told.problem == why
    terms = told.conditions
    assert (terms is not None and terms.post_only) is (fields.get("type") == "LIMIT_MAKER")
    assert (terms.display_lots if terms else 0) == 5_000 * ("icebergQty" in fields)
    assert read_order(COIN, RESTING | fields, "0123abcd-s-1", 0).problem == ""


def test_ib_lets_no_other_client_change_what_was_given_in_tws() -> None:
    async def run() -> None:
        async with SITES["ibkr"]() as site:
            await site.hand.place(site.instrument, Side.BUY, 5, far(site))
            world: Any = site.world
            world.settings["client_id"] = 7
            gateway = world.make_gateway(skew_s_max=None)
            heard = Heard()

            async def hear(each: Any) -> None:
                if isinstance(each, VenueReport):
                    heard.append(each)

            await gateway.open([site.instrument], hear)
            try:
                there = await find(gateway)
                assert there.problem == (
                    "TWS gave it, and IB lets client id 7 not change it: set client_id: 0"
                )
                order = as_submitted(there)
                await gateway.cancel(OrderCancelPending(order.client_order_id), order)
                refused = await heard.until(K.CANCEL_REJECTED)
                assert refused.client_order_id == order.client_order_id
            finally:
                await gateway.close()

    asyncio.run(run())
