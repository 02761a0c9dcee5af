"""Commands through ib_async against a local TWS: what comes of each is told once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from onetape.domain.events import OrderSubmitted
from onetape.domain.orders import OrderConditions, OrderType, RejectCode, Side, TimeInForce
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.domain.venue import ReportKind
from onetape.execution.simulated.latency import LatencyModel
from tests.support.ibkr_venue import AAPL, ACCOUNT, LocalTws, local_tws, make_minutes

A, F, C, R = ReportKind.ACCEPTED, ReportKind.FILLED, ReportKind.CANCELED, ReportKind.REPLACED
LIMIT, STOP = OrderType.LIMIT, OrderType.STOP
TIMES = TimeInForce


def run_with(test: Callable[[LocalTws], Awaitable[None]], **settings: Any) -> None:
    async def run() -> None:
        async with asyncio.timeout(60), local_tws(**settings) as world:
            await test(world)

    asyncio.run(run())


def far(world: LocalTws, below: int = 500) -> int:
    """A limit that nothing meets."""
    return world.exchange.mark(AAPL.id) - below


def test_market_order_is_filled_at_the_next_open_with_its_commission() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.play()
        await world.until_kinds(order, A, F)
        fill, execution = world.reports(order)[1], world.exchange.executions(ACCOUNT)[0]
        assert (fill.lots, fill.ticks, fill.filled_lots) == (10, execution.ticks, 10)
        assert fill.price == f"{AAPL.ticks_to_price(execution.ticks).normalize():f}"
        assert fill.ts_venue == execution.ts
        assert fill.fee == execution.fee == 100_000_000  # a dollar, IB's least
        assert fill.execution_id == "0000me.00000001.01"

    run_with(test)


def test_partial_fills_count_up_and_share_the_commission_of_their_order() -> None:
    async def test(world: LocalTws) -> None:
        world.exchange.split_fill = lambda lots: (300, 300, lots - 600)
        order = world.order(1_000)
        await world.submit(order)
        await world.play()
        await world.until_kinds(order, A, F, F, F)
        fills = world.reports(order)[1:]
        assert [each.lots for each in fills] == [300, 300, 400]
        assert [each.filled_lots for each in fills] == [300, 600, 1_000]
        # 0.005 a share: 1.50, 1.50 and 2.00
        assert [each.fee for each in fills] == [150_000_000, 150_000_000, 200_000_000]
        assert len({each.execution_id for each in fills}) == 3

    run_with(test)


def test_canceled_order_is_told_with_what_it_has_filled() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10, order_type=LIMIT, limit=far(world))
        await world.submit(order)
        await world.cancel(order)
        await world.until_kinds(order, A, C)
        assert world.reports(order)[1].filled_lots == 0
        await world.cancel(order)
        await world.until(lambda: len(world.kinds(order)) == 3)
        refusal = world.reports(order)[2]
        assert refusal.kind is ReportKind.CANCEL_REJECTED
        assert refusal.code is RejectCode.ORDER_CLOSED

    run_with(test)


def test_cancel_on_its_way_returns_and_a_fill_overtakes_it() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.play()
        await world.until_kinds(order, A)
        await world.cancel(order)  # taken: it arrives behind the fill
        await world.play(2)
        await world.until_kinds(order, A, F)
        assert not world.exchange.open_orders(ACCOUNT)

    run_with(test, models={"latency": LatencyModel(mean_ms=70_000)})


def test_commands_of_an_unknown_order_are_refused() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.cancel(order)
        await world.replace(order, limit=100)
        await world.until(lambda: len(world.reports(order)) == 2)
        assert [each.code for each in world.reports(order)] == [RejectCode.UNKNOWN_ORDER] * 2

    run_with(test)


def test_change_keeps_the_order_and_its_names() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10, order_type=LIMIT, limit=far(world))
        await world.submit(order)
        await world.replace(order, limit=far(world, 400))
        await world.replace(order, lots=20)
        await world.until_kinds(order, A, R, R)
        accepted, first, second = world.reports(order)
        assert (first.lots, first.limit_ticks) == (10, far(world, 400))
        assert (second.lots, second.limit_ticks) == (20, far(world, 400))
        assert accepted.venue_order_id == first.venue_order_id == second.venue_order_id
        (there,) = world.exchange.orders(ACCOUNT)
        assert (there.lots, there.limit_ticks) == (20, far(world, 400))
        await world.cancel(order)
        await world.until_kinds(order, A, R, R, C)

    run_with(test)


def test_change_counts_what_is_filled_and_can_not_go_below_it() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(30, order_type=LIMIT, limit=far(world, -500))
        await world.submit(order)
        await world.play()
        await world.until(lambda: F in world.kinds(order))
        filled = world.reports(order)[-1].filled_lots
        assert 0 < filled < 25
        await world.replace(order, lots=25)
        await world.until(lambda: R in world.kinds(order))
        told = world.reports(order)[-1]
        assert (told.lots, told.filled_lots) == (25, filled)
        await world.replace(order, lots=filled)
        await world.until(lambda: world.kinds(order)[-1] is ReportKind.REPLACE_REJECTED)
        assert world.reports(order)[-1].code is RejectCode.QUANTITY_BELOW_FILLED
        await world.play(6)
        await world.until(lambda: world.reports(order)[-1].filled_lots == 25)

    run_with(test, models={"max_volume_ratio": 1e-5})


def trail(**fields: int) -> OrderConditions:
    return OrderConditions(**fields)


KINDS: dict[str, tuple[dict[str, Any], OrderType, TimeInForce]] = {
    "market": ({}, OrderType.MARKET, TIMES.DAY),
    "limit": ({"order_type": LIMIT, "limit": 5_000, "time_in_force": TIMES.GTC}, LIMIT, TIMES.GTC),
    "limit ioc": ({"order_type": LIMIT, "limit": 1, "time_in_force": TIMES.IOC}, LIMIT, TIMES.IOC),
    "limit fok": ({"order_type": LIMIT, "limit": 1, "time_in_force": TIMES.FOK}, LIMIT, TIMES.FOK),
    "on open": ({"time_in_force": TIMES.AT_THE_OPEN}, OrderType.MARKET, TIMES.AT_THE_OPEN),
    "on close": ({"time_in_force": TIMES.AT_THE_CLOSE}, OrderType.MARKET, TIMES.AT_THE_CLOSE),
    "limit on open": (
        {"order_type": LIMIT, "limit": 5_000, "time_in_force": TIMES.AT_THE_OPEN},
        LIMIT, TIMES.AT_THE_OPEN,
    ),
    "limit on close": (
        {"order_type": LIMIT, "limit": 5_000, "time_in_force": TIMES.AT_THE_CLOSE},
        LIMIT, TIMES.AT_THE_CLOSE,
    ),
    "stop": ({"order_type": STOP, "stop": 9_000}, STOP, TIMES.DAY),
    "stop limit": (
        {"order_type": OrderType.STOP_LIMIT, "stop": 9_000, "limit": 9_100},
        OrderType.STOP_LIMIT, TIMES.DAY,
    ),
    "if touched": (
        {"order_type": OrderType.MARKET_IF_TOUCHED, "stop": 2_000},
        OrderType.MARKET_IF_TOUCHED, TIMES.DAY,
    ),
    "limit if touched": (
        {"order_type": OrderType.LIMIT_IF_TOUCHED, "stop": 2_000, "limit": 1_900},
        OrderType.LIMIT_IF_TOUCHED, TIMES.DAY,
    ),
    "trailing": (
        {"order_type": OrderType.TRAILING_STOP, "conditions": trail(trail_ticks=400)},
        OrderType.TRAILING_STOP, TIMES.DAY,
    ),
    "trailing share": (
        {"order_type": OrderType.TRAILING_STOP, "conditions": trail(trail_ratio_e8=12_500_000)},
        OrderType.TRAILING_STOP, TIMES.DAY,
    ),
    "iceberg": (
        {"order_type": LIMIT, "limit": 5_000, "conditions": trail(display_lots=3)},
        LIMIT, TIMES.DAY,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", KINDS)
def test_order_of_each_kind_arrives_as_it_was_meant(case: str) -> None:
    fields, kind, life = KINDS[case]

    async def test(world: LocalTws) -> None:
        order = world.order(10, **fields)
        await world.submit(order)
        await world.until(lambda: bool(world.kinds(order)), "an answer")
        assert world.kinds(order)[0] is A, world.reports(order)
        (there,) = world.exchange.orders(ACCOUNT)
        assert (there.order_type, there.time_in_force, there.lots) == (kind, life, 10)
        assert there.client_order_id == order.client_order_id
        assert there.limit_ticks == order.limit_ticks
        if not kind.is_trailing:
            assert there.stop_ticks == order.stop_ticks
        terms = order.conditions or OrderConditions()
        assert there.request.trail == AAPL.ticks_to_price(terms.trail_ticks)
        assert there.request.trail_ratio * 10**8 == terms.trail_ratio_e8
        assert there.request.display == terms.display_lots

    run_with(test)


PROBLEMS: dict[str, tuple[dict[str, Any], str]] = {
    "trailing limit": ({"order_type": OrderType.TRAILING_STOP_LIMIT}, "TRAILING_STOP_LIMIT"),
    "stop in an auction": (
        {"order_type": STOP, "stop": 9_000, "time_in_force": TIMES.AT_THE_OPEN}, "for an auction",
    ),
    "post-only": (
        {"order_type": LIMIT, "limit": 1, "conditions": OrderConditions(post_only=True)},
        "post-only",
    ),
    "by money": ({"lots": 0}, "size by quantity"),
}  # fmt: skip


@pytest.mark.parametrize("case", PROBLEMS)
def test_order_that_ib_is_not_given_is_rejected_with_the_reason(case: str) -> None:
    fields, said = PROBLEMS[case]

    async def test(world: LocalTws) -> None:
        order = world.order(**fields)
        await world.submit(order)
        await world.until_kinds(order, ReportKind.REJECTED)
        assert said in world.reports(order)[0].reason
        assert not world.exchange.orders(ACCOUNT)

    run_with(test)


def test_id_that_ib_may_cut_is_rejected() -> None:
    async def test(world: LocalTws) -> None:
        order = OrderSubmitted("x" * 41, "test", AAPL.id, Side.BUY, LIMIT, TIMES.DAY, 1, 1, 0, 0)
        await world.submit(order)
        await world.until_kinds(order, ReportKind.REJECTED)
        assert "shorter name" in world.reports(order)[0].reason

    run_with(test)


def test_stop_is_told_when_it_meets_its_price() -> None:
    async def test(world: LocalTws) -> None:
        mark = world.exchange.mark(AAPL.id)
        order = world.order(10, order_type=OrderType.STOP_LIMIT, stop=mark - 5, limit=mark - 900)
        await world.submit(order)
        for _ in range(60):
            await world.play()
            if world.exchange.orders(ACCOUNT)[0].is_triggered:
                break
        await world.until_kinds(order, A, ReportKind.TRIGGERED)

    run_with(test)


def test_order_of_the_day_expires_with_it_and_one_that_ib_cancels_does_not() -> None:
    async def test(world: LocalTws) -> None:
        now = world.exchange.now
        day = world.order(10, order_type=LIMIT, limit=far(world))
        dated = world.order(10, order_type=LIMIT, limit=far(world), time_in_force=TIMES.GTD,
                            ts_expire=now + 130 * NS_PER_SECOND)  # fmt: skip
        fok = world.order(10, order_type=LIMIT, limit=far(world), time_in_force=TIMES.FOK)
        for each in (day, dated, fok):
            await world.submit(each)
        await world.play(4)
        await world.until_kinds(fok, A, C)
        assert "not filled at once" in world.reports(fok)[1].reason
        await world.until_kinds(dated, A, ReportKind.EXPIRED)
        assert world.kinds(day) == [A]
        await world.play(400)
        await world.until_kinds(day, A, ReportKind.EXPIRED)

    run_with(test, timeline=make_minutes(bars=395))


def test_refused_order_is_rejected_with_a_code_and_the_words_of_ib() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(1_000_000)
        await world.submit(order)
        await world.until_kinds(order, ReportKind.REJECTED)
        assert world.reports(order)[0].code is RejectCode.INSUFFICIENT_FUNDS
        world.exchange.halt("AAPL", "a halt: news pending")
        halted = world.order(10)
        await world.submit(halted)
        await world.until_kinds(halted, ReportKind.REJECTED)
        assert world.reports(halted)[0].code is RejectCode.HALTED
        assert "news pending (201)" in world.reports(halted)[0].reason

    run_with(test)


def test_refused_change_leaves_the_order_and_says_so() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10, order_type=LIMIT, limit=far(world))
        await world.submit(order)
        await world.replace(order, lots=1_000_000)
        await world.until_kinds(order, A, ReportKind.REPLACE_REJECTED)
        assert world.reports(order)[1].code is RejectCode.INSUFFICIENT_FUNDS
        (there,) = world.exchange.open_orders(ACCOUNT)
        assert there.lots == 10

    run_with(test)


def test_order_that_is_there_already_is_not_sent_again() -> None:
    """Not by the same process, and not by the next one, which looks up today's orders first."""

    async def test(world: LocalTws) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.submit(order)
        await world.until_kinds(order, A, A)
        assert world.gateway is not None
        await world.play()
        await world.until(lambda: F in world.kinds(order))
        await world.gateway.close()
        world.gateway = world.make_gateway()
        await world.gateway.open(world.instruments, world.hear)
        await world.submit(order)
        await asyncio.sleep(0.05)
        assert len(world.exchange.orders(ACCOUNT)) == 1
        assert world.changes()[-1].reason == "an order was there already"

    run_with(test)


def test_next_process_cancels_and_changes_what_the_one_before_has_sent() -> None:
    async def test(world: LocalTws) -> None:
        first = world.order(10, order_type=LIMIT, limit=far(world))
        second = world.order(10, order_type=LIMIT, limit=far(world))
        await world.submit(first)
        await world.submit(second)
        assert world.gateway is not None
        await world.gateway.close()
        world.gateway = world.make_gateway()
        await world.gateway.open(world.instruments, world.hear)
        await world.replace(first, lots=7)
        await world.cancel(second)
        await world.until(lambda: R in world.kinds(first) and C in world.kinds(second))
        (there,) = world.exchange.open_orders(ACCOUNT)
        assert there.lots == 7

    run_with(test)


def test_order_of_another_client_id_can_not_be_canceled_and_it_is_said_whose_it_is() -> None:
    async def test(world: LocalTws) -> None:
        order = world.order(10, order_type=LIMIT, limit=far(world))
        await world.submit(order)
        assert world.gateway is not None
        await world.gateway.close()
        world.gateway = world.make_gateway(client_id=7)
        await world.gateway.open(world.instruments, world.hear)
        await world.cancel(order)
        await world.until(lambda: ReportKind.CANCEL_REJECTED in world.kinds(order))
        assert "client id 1 gave it, and this is 7" in world.reports(order)[-1].reason

    run_with(test)
