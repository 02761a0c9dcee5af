"""Commands through alpaca-py against a local Alpaca: what comes of each is told once."""

from __future__ import annotations

import asyncio

import pytest

from onetape.domain.instrument import make_equity, make_spot
from onetape.domain.orders import OrderConditions, OrderType, RejectCode, Side, TimeInForce
from onetape.domain.venue import ReportKind, VenueOrder, name_manual
from onetape.execution.simulated.latency import LatencyModel
from onetape.runtime.local_venues.messages import Changes
from tests.support.alpaca_venue import (
    AAPL,
    ACCOUNT,
    HOURS,
    MSFT,
    LocalAlpaca,
    local_alpaca,
    make_minutes,
)

BTC = make_spot("BTCUSD.ALPACA", base="BTC", quote="USD", tick_size="0.01", lot_size="0.0001")
PART = make_equity("AAPL.ALPACA", lot_size="0.001", calendar=HOURS)
A, F, C, R = ReportKind.ACCEPTED, ReportKind.FILLED, ReportKind.CANCELED, ReportKind.REPLACED


def far(world: LocalAlpaca, below: int = 500) -> int:
    """A limit that nothing meets."""
    return world.exchange.mark(AAPL.id) - below


def test_market_order_is_accepted_and_filled_at_the_next_open() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            order = world.order(10)
            await world.submit(order)
            await world.play()
            await world.until(lambda: F in world.kinds(order), "the fill")
            fill = world.reports(order)[1]
            execution = world.exchange.executions(ACCOUNT)[0]
            assert world.kinds(order) == [A, F]
            assert (fill.lots, fill.ticks, fill.filled_lots) == (10, execution.ticks, 10)
            assert fill.price == f"{AAPL.ticks_to_price(execution.ticks).normalize():f}"
            assert fill.ts_venue == execution.ts
            assert fill.execution_id == f"{fill.venue_order_id}/10"

    asyncio.run(run())


def test_partial_fills_count_up_and_have_ids_of_their_own() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            world.exchange.split_fill = lambda lots: (3, 3, lots - 6)
            order = world.order(10)
            await world.submit(order)
            await world.play()
            await world.until(lambda: world.kinds(order).count(F) == 3, "three fills")
            fills = world.reports(order)[1:]
            assert [each.lots for each in fills] == [3, 3, 4]
            assert [each.filled_lots for each in fills] == [3, 6, 10]
            assert [each.execution_id.split("/")[1] for each in fills] == ["3", "6", "10"]

    asyncio.run(run())


def test_canceled_order_is_told_with_what_it_has_filled() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            order = world.order(10, order_type=OrderType.LIMIT, limit=far(world))
            await world.submit(order)
            await world.cancel(order)
            await world.until(lambda: C in world.kinds(order), "the cancel")
            assert world.kinds(order) == [A, C]
            assert world.reports(order)[1].filled_lots == 0
            await world.cancel(order)
            await world.until(lambda: len(world.kinds(order)) == 3)
            refusal = world.reports(order)[2]
            assert refusal.kind is ReportKind.CANCEL_REJECTED
            assert refusal.code is RejectCode.ORDER_CLOSED

    asyncio.run(run())


def test_cancel_behind_the_fill_is_refused() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            order = world.order(10)
            await world.submit(order)
            await world.play()
            await world.cancel(order)
            await world.until(lambda: len(world.kinds(order)) == 3)
            assert set(world.kinds(order)) == {A, F, ReportKind.CANCEL_REJECTED}

    asyncio.run(run())


def test_commands_of_an_unknown_order_are_refused() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            order = world.order(10)
            await world.cancel(order)
            await world.replace(order, limit=100)
            assert [each.code for each in world.reports(order)] == [RejectCode.UNKNOWN_ORDER] * 2

    asyncio.run(run())


def test_replacements_keep_our_id_and_the_last_one_can_be_canceled() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            order = world.order(10, order_type=OrderType.LIMIT, limit=far(world))
            await world.submit(order)
            await world.replace(order, limit=far(world, 400))
            await world.replace(order, lots=20)
            await world.until(lambda: world.kinds(order).count(R) == 2, "two replacements")
            first, second = world.reports(order)[1:]
            assert (first.lots, first.limit_ticks) == (10, far(world, 400))
            assert (second.lots, second.limit_ticks) == (20, far(world, 400))
            assert first.venue_order_id != second.venue_order_id
            names = [each.client_order_id for each in world.exchange.orders(ACCOUNT)]
            name = order.client_order_id
            assert names == [name, f"{name}-r1", f"{name}-r2"]
            await world.cancel(order)
            await world.until(lambda: C in world.kinds(order))
            assert not world.exchange.open_orders(ACCOUNT)

    asyncio.run(run())


def test_replacement_of_a_partly_filled_order_counts_its_fills_too() -> None:
    """Its quantity at Alpaca counts from its own start (Alpaca-API issue 165)."""

    async def run() -> None:
        async with local_alpaca(models={"max_volume_ratio": 1e-5}) as world:  # 10 lots a bar
            order = world.order(30, order_type=OrderType.LIMIT, limit=far(world, -500))
            await world.submit(order)
            await world.play()
            await world.until(lambda: F in world.kinds(order))
            await world.replace(order, lots=25)
            await world.play()
            await world.replace(order, limit=far(world, -600))
            await world.play(3)
            await world.until(lambda: world.kinds(order).count(F) == 3, "three fills")
            fills = [each for each in world.reports(order) if each.kind is F]
            assert [each.lots for each in fills] == [10, 10, 5]
            assert [each.filled_lots for each in fills] == [10, 20, 25]
            replaced = [each for each in world.reports(order) if each.kind is R]
            assert [each.lots for each in replaced] == [25, 25]
            assert [each.filled_lots for each in replaced] == [10, 20]
            wire = [world.server.show(each)["qty"] for each in world.exchange.orders(ACCOUNT)]
            assert wire == ["30", "15", "5"]
            assert world.exchange.books(ACCOUNT).positions[AAPL.id].lots == 25

    asyncio.run(run())


def test_replace_above_what_is_filled_only() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            order = world.order(10)
            await world.submit(order)
            await world.play()
            await world.until(lambda: F in world.kinds(order))
            await world.replace(order, lots=10)
            refusal = world.reports(order)[-1]
            assert refusal.kind is ReportKind.REPLACE_REJECTED
            assert refusal.code is RejectCode.QUANTITY_BELOW_FILLED

    asyncio.run(run())


def test_replace_that_the_fill_overtakes_is_refused() -> None:
    """Commands take a minute and a half to arrive; the fill is there first."""

    async def run() -> None:
        async with local_alpaca(models={"latency": LatencyModel(mean_ms=90_000)}) as world:
            order = world.order(10)
            await world.submit(order)
            await world.play(2)
            await world.replace(order, lots=20)
            await world.cancel(order)
            await world.play(4)
            await world.until(lambda: len(world.kinds(order)) == 4)
            assert world.kinds(order) == [
                A, F, ReportKind.REPLACE_REJECTED, ReportKind.CANCEL_REJECTED,
            ]  # fmt: skip
            assert world.exchange.books(ACCOUNT).positions[AAPL.id].lots == 10

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"lots": 0}, "size by quantity"),
        ({"order_type": OrderType.MARKET_IF_TOUCHED, "stop": 5000}, "MARKET_IF_TOUCHED"),
        ({"time_in_force": TimeInForce.GTD}, "GTD"),
        ({"conditions": OrderConditions(post_only=True)}, "post-only"),
    ],
)
def test_what_alpaca_does_not_have_is_rejected_before_it_leaves(
    change: dict[str, object], words: str
) -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            order = world.order(**change)  # type: ignore[arg-type]
            await world.submit(order)
            (refusal,) = world.reports(order)
            assert refusal.kind is ReportKind.REJECTED
            assert words in refusal.reason
            assert not world.exchange.orders(ACCOUNT)

    asyncio.run(run())


def test_orders_that_the_venue_refuses_are_rejected_with_its_words() -> None:
    async def run() -> None:
        async with local_alpaca(make_minutes(AAPL, MSFT)) as world:
            poor = world.order(10_000_000)
            await world.submit(poor)
            world.exchange.halt("AAPL", "news pending")
            halted = world.order(1)
            await world.submit(halted)
            (first,), (second,) = world.reports(poor), world.reports(halted)
            assert (first.kind, first.code) == (
                ReportKind.REJECTED,
                RejectCode.INSUFFICIENT_FUNDS,
            )
            assert "insufficient buying power" in first.reason
            assert (second.kind, second.code) == (ReportKind.REJECTED, RejectCode.UNSUPPORTED)
            assert "halted" in second.reason

    asyncio.run(run())


@pytest.mark.parametrize(
    "order_type",
    [OrderType.LIMIT, OrderType.STOP, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP],
)
def test_every_type_arrives_as_it_was_meant(order_type: OrderType) -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            mark = world.exchange.mark(AAPL.id)
            trailing = order_type is OrderType.TRAILING_STOP
            order = world.order(
                7, side=Side.SELL, order_type=order_type, time_in_force=TimeInForce.GTC,
                limit=mark + 400 if order_type is OrderType.LIMIT else
                (mark - 450 if order_type is OrderType.STOP_LIMIT else 0),
                stop=mark - 400 if order_type in (OrderType.STOP, OrderType.STOP_LIMIT) else 0,
                conditions=OrderConditions(trail_ticks=300) if trailing else None,
            )  # fmt: skip
            await world.submit(order)
            (placed,) = world.exchange.open_orders(ACCOUNT)
            assert (placed.order_type, placed.side, placed.lots) == (order_type, Side.SELL, 7)
            assert placed.time_in_force is TimeInForce.GTC
            assert placed.limit_ticks == order.limit_ticks
            assert placed.stop_ticks == (mark - 300 if trailing else order.stop_ticks)
            assert world.gateway is not None
            snapshot = await world.gateway.look("test", [order], 0)
            assert snapshot.orders == [
                VenueOrder(
                    client_order_id=order.client_order_id,
                    venue_order_id=snapshot.orders[0].venue_order_id, instrument=AAPL.id,
                    side=Side.SELL, order_type=order_type, lots=7, filled_lots=0,
                    limit_ticks=placed.limit_ticks, stop_ticks=placed.stop_ticks,
                )
            ]  # fmt: skip

    asyncio.run(run())


def test_foreign_orders_are_told_by_the_id_of_the_venue() -> None:
    async def run() -> None:
        async with local_alpaca() as world:
            import requests

            price = str(AAPL.ticks_to_price(far(world)))
            body = {"symbol": "AAPL", "qty": "3", "side": "buy", "type": "limit",
                    "time_in_force": "day", "limit_price": price}  # fmt: skip
            headers = {"APCA-API-KEY-ID": "AKLOCAL", "APCA-API-SECRET-KEY": "very-secret"}
            url = f"{world.server.rest_url}/v2/orders"
            answer = await asyncio.to_thread(requests.post, url, json=body, headers=headers)
            assert answer.status_code == 200
            assert world.gateway is not None
            (order,) = (await world.gateway.look("test", [], 0)).orders
            manual = name_manual(answer.json()["id"])
            assert (order.client_order_id, order.lots, order.problem) == (manual, 3, "")
            assert order.time_in_force is TimeInForce.DAY
            world.exchange.replace(ACCOUNT, 1, Changes(limit=AAPL.ticks_to_price(9_999)))
            await world.play()
            await world.until(lambda: F in world.kinds())
            fill = next(each for each in world.reports() if each.kind is F)
            assert (fill.client_order_id, fill.filled_lots) == (manual, 3)

    asyncio.run(run())


def test_pairs_trade_in_parts_and_their_positions_are_found() -> None:
    """Alpaca names a pair with a slash in orders and without one in positions."""

    async def run() -> None:
        async with local_alpaca(make_minutes(BTC)) as world:
            order = world.order(123, time_in_force=TimeInForce.GTC)
            await world.submit(order)
            await world.play(2)
            await world.until(lambda: F in world.kinds(order))
            assert world.reports(order)[1].lots == 123
            assert world.gateway is not None
            snapshot = await world.gateway.look("test", [order], 0)
            (position,) = snapshot.positions
            assert (position.instrument, position.lots, position.rest_units) == (BTC.id, 123, 0)

    asyncio.run(run())


def test_parts_of_a_share_trade_and_their_quantity_stays() -> None:
    async def run() -> None:
        async with local_alpaca(make_minutes(PART)) as world:
            mark = world.exchange.mark(PART.id)
            order = world.order(1_500, order_type=OrderType.LIMIT, limit=mark - 500)
            await world.submit(order)
            await world.replace(order, lots=2_750)
            refusal = world.reports(order)[1]
            assert refusal.kind is ReportKind.REPLACE_REJECTED
            assert "whole shares" in refusal.reason
            await world.replace(order, limit=mark + 500)
            await world.play()
            await world.until(lambda: F in world.kinds(order))
            assert [each.lots for each in world.reports(order) if each.kind is F] == [1_500]

    asyncio.run(run())
