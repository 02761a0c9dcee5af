"""Thirty seeded schedules of faults: behind them the venue's books are all that was told."""

from __future__ import annotations

import asyncio
import random

import pytest

from onetape.domain.errors import VenueUnavailable
from onetape.domain.events import OrderSubmitted
from onetape.domain.venue import ReportKind, VenueReport, VenueSnapshot
from onetape.runtime.local_venues.faults import FaultSchedule, make_plan
from tests.support.binance_live import BUY, SELL, SESSION, K, World, cancel, order, replace, run

ENDS = {K.CANCELED, K.EXPIRED, K.REJECTED, K.NOT_FOUND}
ROUNDS = 10


class Session:
    """What a session would know: its orders, and everything that was told of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.orders: dict[str, OrderSubmitted] = {}
        self.told: list[VenueReport] = []

    def reports(self) -> list[VenueReport]:
        return [*self.world.reports, *self.told]

    def fills(self) -> dict[str, VenueReport]:
        return {
            each.execution_id: each for each in self.reports() if each.kind is ReportKind.FILLED
        }

    def open(self) -> list[OrderSubmitted]:
        filled: dict[str, int] = {}
        for each in self.fills().values():
            filled[each.client_order_id] = filled.get(each.client_order_id, 0) + each.lots
        total = {name: each.lots for name, each in self.orders.items()}
        ended: set[str] = set()
        for each in self.reports():
            if each.kind is K.REPLACED:
                total[each.client_order_id] = each.lots
            elif each.kind in ENDS:
                ended.add(each.client_order_id)
        return [
            each
            for name, each in self.orders.items()
            if name not in ended and filled.get(name, 0) < total[name]
        ]


async def look(gateway, session: Session, reason: str) -> VenueSnapshot:
    for _ in range(20):
        try:
            seen = await gateway.look(reason, session.open(), 0)
        except VenueUnavailable:
            await asyncio.sleep(0.02)
            continue
        session.told += seen.reports
        return seen
    raise AssertionError("the venue never answered")


async def act(gateway, session: Session, chance: random.Random, number: int) -> None:
    side = chance.choice((BUY, SELL))
    kind = chance.randrange(4)
    ahead = 4_000_000 + side * chance.randrange(-900, 300)
    fresh = order(number, side, chance.randrange(500, 3000), limit=ahead if kind else 0)
    session.orders[fresh.client_order_id] = fresh
    jobs = [gateway.submit(fresh)]
    for each in session.open()[:-1]:
        if not each.limit_ticks or chance.random() < 0.5:
            continue
        if chance.random() < 0.5:
            jobs.append(gateway.cancel(cancel(each), each))
        else:
            lots, limit = chance.choice(
                ((0, each.limit_ticks - 50 * each.side), (each.lots // 2, 0), (each.lots * 2, 0))
            )
            jobs.append(gateway.replace(replace(each, lots=lots, limit=limit), each))
    await asyncio.gather(*jobs)


@pytest.mark.parametrize("seed", range(30))
def test_books_are_what_was_told_behind_any_faults(seed: int) -> None:
    async def test() -> None:
        chance = random.Random(seed)
        path = [40_000.0]
        for _ in range(ROUNDS * 2 + 20):
            path.append(round(path[-1] + chance.choice((-5.0, -2.0, 0.0, 2.0, 5.0)), 2))
        rows = [(each, each + 3, each - 3, each, 0.1) for each in path]
        faults = FaultSchedule(seed, make_plan(time_scale=0.01, often=2.0))
        faults.stop()
        world = World(rows, faults=faults, max_volume_ratio=0.1)
        session = Session(world)
        async with world.gateway(timeout_s=0.5, recv_window_ms=60, silent_s=1.0) as gateway:
            faults._ts_end = 2**62  # from here on
            for number in range(1, ROUNDS + 1):
                await act(gateway, session, chance, number)
                await world.play(2)
                if chance.random() < 0.3:
                    await look(gateway, session, "now and then")
            faults.stop()
            await asyncio.sleep(0.1)
            seen = await look(gateway, session, "settling")
            await check(world, session, seen)
            for each in session.open():
                await gateway.cancel(cancel(each), each)
            seen = await look(gateway, session, "at the end")
            assert seen.orders == []
            assert session.open() == []
            await check(world, session, seen)

    try:
        run(test)
    except BaseException:
        print(f"seed {seed}")
        raise


async def check(world: World, session: Session, seen: VenueSnapshot) -> None:
    """Fills, fees, open orders, positions and cash are the venue's, to the last unit."""
    books = world.exchange.books("me")
    fills = session.fills()
    assert len(fills) == len(books.executions)
    for each in books.executions:
        fill = fills[f"BTCUSDT:{each.number}"]
        assert (fill.lots, fill.ticks, fill.side) == (each.lots, each.ticks, each.side)
        assert fill.fee + fill.fee_units == each.fee
        assert (fill.fee_units > 0) is (each.fee_asset == "BTC" and each.fee > 0)
        assert each.client_order_id.partition("-r")[0] == fill.client_order_id
    open_names = {each.client_order_id for each in seen.orders}
    assert open_names == {each.client_order_id.partition("-r")[0] for each in books.open_orders}
    assert open_names == {each.client_order_id for each in session.open()}
    assert all(each.startswith(SESSION) for each in open_names)
    units = (
        sum(each.side * each.lots * 1000 - each.fee_units for each in fills.values()) + 2 * 10**8
    )
    (position,) = seen.positions
    assert position.lots * 1000 + position.rest_units == units == books.balances["BTC"].total
    (cash,) = seen.balances
    spent = sum(each.side * each.lots * each.ticks * 10 + each.fee for each in fills.values())
    assert cash.amount == 100_000 * 10**8 - spent == books.balances["USDT"].total
    # No order has filled more than was asked of it at any time.
    most = {name: each.lots for name, each in session.orders.items()}
    for each in session.reports():
        if each.kind is K.REPLACED:
            most[each.client_order_id] = max(most[each.client_order_id], each.lots)
    for name, lots in most.items():
        assert sum(each.lots for each in fills.values() if each.client_order_id == name) <= lots
