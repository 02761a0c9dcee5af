"""Seeded faults between alpaca-py and a local Alpaca: behind them both know the same.

A session that is no more than its memory: it books what it hears, each execution once, and asks
(`look`) when an answer is missing or the connection was away. Behind the faults its fills, its open
orders, its position and its cash are the venue's, for every seed.
"""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from onetape.domain.errors import VenueUnavailable
from onetape.domain.events import OrderSubmitted
from onetape.domain.orders import OrderType, Side
from onetape.domain.venue import (
    ConnectionChanged,
    ReportKind,
    VenueOrder,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.gateway import Heard
from onetape.runtime.local_venues.faults import FaultSchedule, make_plan
from tests.support.alpaca_venue import AAPL, ACCOUNT, LocalAlpaca, local_alpaca, make_minutes

SEEDS = range(30)
_ENDS = (ReportKind.CANCELED, ReportKind.EXPIRED, ReportKind.REJECTED, ReportKind.NOT_FOUND)


class Books:
    """What a session would know: fills by execution, and how orders ended."""

    def __init__(self) -> None:
        self.fills: dict[str, VenueReport] = {}
        self.filled: dict[str, int] = {}
        self.ended: dict[str, ReportKind] = {}
        self.must_look = asyncio.Event()
        self.late = 0

    async def hear(self, heard: Heard) -> None:
        if isinstance(heard, ConnectionChanged):
            if heard.is_up:
                self.must_look.set()
            return
        self.book(heard)
        if heard.kind is ReportKind.UNANSWERED:
            self.must_look.set()

    def book(self, report: VenueReport) -> None:
        name = report.client_order_id
        if report.kind is ReportKind.FILLED:
            if report.execution_id in self.fills:
                assert self.fills[report.execution_id].lots == report.lots
                self.late += 1
                return
            self.fills[report.execution_id] = report
            self.filled[name] = self.filled.get(name, 0) + report.lots
        elif report.kind in _ENDS:
            self.ended[name] = report.kind

    def take(self, snapshot: VenueSnapshot) -> None:
        for each in snapshot.reports:
            self.book(each)


async def trade(world: LocalAlpaca, books: Books, seed: int) -> list[OrderSubmitted]:
    """Random commands between the rows; looks where it has to."""
    chance = Random(seed)
    orders: list[OrderSubmitted] = []
    pending: set[asyncio.Task[None]] = set()
    for _ in range(25):
        await world.play()
        mark = world.exchange.mark(AAPL.id)
        at = chance.random()
        live = [each for each in orders if each.client_order_id not in books.ended]
        if at < 0.4 or not live:
            is_limit = chance.random() < 0.6
            order = world.order(
                chance.randint(1, 40), side=chance.choice((Side.BUY, Side.SELL)),
                order_type=OrderType.LIMIT if is_limit else OrderType.MARKET,
                limit=mark + chance.randint(-8, 8) if is_limit else 0,
            )  # fmt: skip
            orders.append(order)
            work = world.submit(order)
        elif at < 0.7:
            work = world.cancel(chance.choice(live))
        else:
            order = chance.choice(live)
            limit = mark + chance.randint(-8, 8) if order.order_type is OrderType.LIMIT else 0
            work = world.replace(order, lots=chance.randint(1, 60), limit=limit)
        task = asyncio.create_task(work)
        pending.add(task)
        task.add_done_callback(pending.discard)
        if chance.random() < 0.6:
            await asyncio.wait({task}, timeout=0.05)
        if books.must_look.is_set():
            await look(world, books, orders)
    await asyncio.gather(*pending)
    return orders


async def look(world: LocalAlpaca, books: Books, orders: list[OrderSubmitted]) -> VenueSnapshot:
    assert world.gateway is not None
    books.must_look.clear()
    live = [each for each in orders if each.client_order_id not in books.ended]
    for _ in range(50):
        try:
            snapshot = await world.gateway.look("test", live, 0)
        except VenueUnavailable:
            await asyncio.sleep(0.02)
        else:
            books.take(snapshot)
            return snapshot
    raise AssertionError("never told")


async def run_faults(seed: int) -> tuple[Books, list[VenueOrder]]:
    faults = FaultSchedule(seed, make_plan(time_scale=0.01, often=2.0))
    models = {"max_volume_ratio": 1e-5, "limit_reach": 0.0}
    async with local_alpaca(
        make_minutes(seed=seed + 1), rows=2, models=models, is_open=False, faults=faults,
        first_wait_s=0.002, longest_wait_s=0.02, answer_s=0.25, settle_s=0.06, heartbeat_s=0.5,
        skew_s_max=None,
    ) as world:  # fmt: skip
        books = Books()
        world.gateway = world.make_gateway(attempts=8)
        try:
            for _ in range(50):
                try:
                    await world.gateway.open(world.instruments, books.hear)
                except VenueUnavailable:
                    continue
                break
            orders = await trade(world, books, seed)
            faults.stop()
            await asyncio.sleep(0.1)
            snapshot = await look(world, books, orders)
            exchange = world.exchange
            truth = exchange.books(ACCOUNT)
            theirs = {each.number: each for each in exchange.executions(ACCOUNT)}
            assert len(books.fills) == len(theirs)
            assert sum(each.lots for each in books.fills.values()) == sum(
                each.lots for each in theirs.values()
            )
            bought = sum(each.lots * each.side for each in books.fills.values())
            held = truth.positions[AAPL.id].lots if AAPL.id in truth.positions else 0
            assert bought == held
            assert [each.lots for each in snapshot.positions] == ([held] if held else [])
            paid = sum(
                each.lots * each.ticks * each.side * AAPL.minor_per_tick_lot
                for each in books.fills.values()
            )
            assert snapshot.balances[0].amount == truth.balances["USD"].total
            assert truth.balances["USD"].total == 100_000 * 10**8 - paid
            for order in orders:
                known = books.filled.get(order.client_order_id, 0)
                told = [
                    each.filled_lots
                    for each in books.fills.values()
                    if each.client_order_id == order.client_order_id
                ]
                assert max(told, default=0) == known
            open_ids = {
                each.client_order_id.split("-r")[0] for each in exchange.open_orders(ACCOUNT)
            }
            assert {each.client_order_id for each in snapshot.orders} == open_ids
            for order in orders:
                is_over = order.client_order_id in books.ended
                assert not (is_over and order.client_order_id in open_ids)
            return books, snapshot.orders
        except AssertionError as failure:
            failure.add_note(faults.describe())
            raise


@pytest.mark.parametrize("seed", SEEDS)
def test_books_agree_behind_the_faults_of_any_seed(seed: int) -> None:
    asyncio.run(run_faults(seed))
