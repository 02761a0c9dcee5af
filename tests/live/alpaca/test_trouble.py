"""What goes wrong between alpaca-py and a local Alpaca: told clearly, and found again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import SecretStr

from onetape.domain.errors import ConfigError, DataError, VenueUnavailable
from onetape.domain.events import OrderReplacePending
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import OrderType
from onetape.domain.venue import ReportKind
from onetape.execution.alpaca.gateway import AlpacaGateway
from onetape.runtime.local_venues.faults import Fault, FaultKind, FaultSchedule
from tests.support.alpaca_venue import (
    AAPL,
    ACCOUNT,
    KEY,
    MSFT,
    LocalAlpaca,
    local_alpaca,
    make_minutes,
)

A, F, C = ReportKind.ACCEPTED, ReportKind.FILLED, ReportKind.CANCELED
UNANSWERED = ReportKind.UNANSWERED


class Script(FaultSchedule):
    """Faults as a test writes them: of the next requests or answers of a subject, in order."""

    def __init__(self, **faults: list[Fault | None]) -> None:
        super().__init__(0, {})
        self.requests = faults.get("requests", [])
        self.answers = faults.get("answers", [])
        self.subject = "POST /v2/orders"

    def on_request(self, subject: str, ts: int, *, is_order: bool = False) -> Fault | None:
        return self.requests.pop(0) if subject == self.subject and self.requests else None

    def on_answer(self, subject: str, ts: int) -> Fault | None:
        return self.answers.pop(0) if subject == self.subject and self.answers else None


def of(world: LocalAlpaca) -> AlpacaGateway:
    assert world.gateway is not None
    return world.gateway


def run_with(
    test: Callable[[LocalAlpaca], Awaitable[None]],
    faults: FaultSchedule | None = None,
    **settings: Any,
) -> None:
    async def run() -> None:
        async with local_alpaca(faults=faults, **settings) as world:
            await test(world)

    asyncio.run(run())


def test_wrong_keys_are_one_config_error_that_does_not_show_them() -> None:
    async def test(world: LocalAlpaca) -> None:
        gateway = world.make_gateway(secret=SecretStr("not-the-secret"))
        with pytest.raises(ConfigError, match="refuses the keys") as caught:
            await gateway.open(world.instruments, world.hear)
        await gateway.close()
        assert "not-the-secret" not in str(caught.value)
        assert "not-the-secret" not in repr(gateway._access)  # pyright: ignore[reportPrivateUsage]
        assert not world.heard

    run_with(test, is_open=False)


def test_keys_that_only_the_stream_refuses_are_one_config_error() -> None:
    async def test(world: LocalAlpaca) -> None:
        world.server.refuse_streams = True
        gateway = world.make_gateway()
        with pytest.raises(ConfigError, match="refuses the keys"):
            await gateway.open(world.instruments, world.hear)
        await gateway.close()

    run_with(test, is_open=False)


def test_key_revoked_in_mid_session_is_told_once_and_orders_are_rejected() -> None:
    async def test(world: LocalAlpaca) -> None:
        await world.server.revoke(KEY)
        await world.until(lambda: len(world.changes()) == 3, "down, and why")
        order = world.order(10)
        await world.submit(order)
        await world.until(lambda: bool(world.reports(order)), "an answer")
        assert [each.is_up for each in world.changes()] == [True, False, False]
        assert "wrong, revoked" in world.changes()[2].reason
        assert world.kinds(order) == [ReportKind.REJECTED]
        assert "401" in world.reports(order)[0].reason
        with pytest.raises(VenueUnavailable, match="401"):
            await of(world).look("test", [], 0)

    run_with(test)


def test_key_revoked_only_for_requests_tells_that_the_venue_is_down() -> None:
    """The stream stays: Alpaca looks at keys when it is opened."""

    async def test(world: LocalAlpaca) -> None:
        world.server._keys.clear()  # pyright: ignore[reportPrivateUsage]
        await world.submit(world.order(10))
        await world.until(lambda: any(not each.is_up for each in world.changes()), "down")
        down = next(each for each in world.changes() if not each.is_up)
        assert "refuses the keys" in down.reason

    run_with(test)


def test_unknown_symbol_names_the_nearest() -> None:
    async def test(world: LocalAlpaca) -> None:
        with pytest.raises(DataError, match="did you mean 'AAPL'"):
            await of(world).define([InstrumentId("AAPLE.ALPACA")])

    run_with(test, timeline=make_minutes(AAPL, MSFT))


def test_clock_that_is_off_is_refused_at_the_start() -> None:
    async def test(world: LocalAlpaca) -> None:
        gateway = AlpacaGateway(world.access(), lambda: world.exchange.now - 90 * 10**9)
        with pytest.raises(VenueUnavailable, match=r"clock is \+90.0 s from ours"):
            await gateway.open(world.instruments, world.hear)
        await gateway.close()

    run_with(test, is_open=False)


def test_server_that_is_not_there_is_unavailable() -> None:
    async def test(world: LocalAlpaca) -> None:
        gateway = world.make_gateway(base_url="http://127.0.0.1:9", attempts=2)
        with pytest.raises(VenueUnavailable, match="can't be reached"):
            await gateway.open(world.instruments, world.hear)
        await gateway.close()

    run_with(test, is_open=False)


def test_lost_ack_is_unanswered_and_a_look_finds_the_order() -> None:
    faults = Script(answers=[Fault(FaultKind.LOST_ACK)])

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.until(lambda: A in world.kinds(order), "the stream's word")
        assert set(world.kinds(order)) == {UNANSWERED, A}
        assert len(world.exchange.orders(ACCOUNT)) == 1
        snapshot = await of(world).look("unanswered", [order], 0)
        assert [each.client_order_id for each in snapshot.orders] == [order.client_order_id]
        assert snapshot.reports == []

    run_with(test, faults)


def test_request_that_never_arrived_is_not_found() -> None:
    faults = Script(requests=[Fault(FaultKind.UNAVAILABLE, 503)])

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        assert world.kinds(order) == [UNANSWERED]
        assert "503" in world.reports(order)[0].reason
        before = asyncio.get_running_loop().time()
        snapshot = await of(world).look("unanswered", [order], 0)
        assert asyncio.get_running_loop().time() - before < 10
        assert [each.kind for each in snapshot.reports] == [ReportKind.NOT_FOUND]

    run_with(test, faults)


def test_slow_request_is_found_though_its_answer_came_too_late() -> None:
    """It is carried out behind the client's patience: a look waits for it before "not found"."""
    faults = Script(requests=[Fault(FaultKind.HANG, 1.0)])

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        assert world.kinds(order) == [UNANSWERED]
        snapshot = await of(world).look("unanswered", [order], 0)
        assert [each.client_order_id for each in snapshot.orders] == [order.client_order_id]

    run_with(test, faults, answer_s=0.5, settle_s=2.0)


def test_order_that_is_there_already_is_not_sent_twice() -> None:
    """The same command again, as a session does that was killed between sending and hearing."""

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.play()
        await world.until(lambda: F in world.kinds(order))
        again = world.make_gateway()
        heard = world.heard = []
        await again.open(world.instruments, world.hear)
        await again.submit(order)
        await again.close()
        kinds = [each.kind for each in world.reports(order)]
        fill = world.reports(order)[1]
        assert heard
        assert kinds == [A, F]
        assert (fill.filled_lots, fill.execution_id) == (10, f"{fill.venue_order_id}/10")
        assert len(world.exchange.orders(ACCOUNT)) == 1

    run_with(test)


def test_too_many_requests_are_sent_again_when_alpaca_says() -> None:
    faults = Script(requests=[Fault(FaultKind.THROTTLE), Fault(FaultKind.THROTTLE)])

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        assert world.kinds(order) == [A]
        assert len(world.exchange.orders(ACCOUNT)) == 1

    run_with(test, faults)


def test_too_many_requests_for_too_long_are_a_refusal() -> None:
    faults = Script(requests=[Fault(FaultKind.THROTTLE, 60.0)])

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        assert world.kinds(order) == [ReportKind.REJECTED]
        assert "too many requests" in world.reports(order)[0].reason
        assert not world.exchange.orders(ACCOUNT)

    run_with(test, faults)


def test_own_pace_stays_below_the_venues_limit() -> None:
    async def test(world: LocalAlpaca) -> None:
        began = asyncio.get_running_loop().time()
        for _ in range(6):
            await of(world).define([AAPL.id])
        # At most 4 tokens are there at the start: two requests wait for theirs, 50 ms each.
        assert asyncio.get_running_loop().time() - began >= 0.09

    run_with(test, per_minute=20 * 60, burst=4)


def test_server_errors_of_a_look_are_asked_again() -> None:
    faults = Script(requests=[Fault(FaultKind.UNAVAILABLE, 502), Fault(FaultKind.THROTTLE)])
    faults.subject = "GET /v2/positions"

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        await world.play()
        snapshot = await of(world).look("test", [], 0)
        assert snapshot.positions[0].lots == 10
        assert not faults.requests

    run_with(test, faults)


def test_what_was_missed_while_away_is_in_the_look_behind_up() -> None:
    async def test(world: LocalAlpaca) -> None:
        filled = world.order(10)
        canceled = world.order(5, order_type=OrderType.LIMIT, limit=4_000)
        await world.submit(filled)
        await world.submit(canceled)
        await world.server.restart(0.15)
        await world.play()
        world.exchange.cancel(ACCOUNT, 2)
        await world.until(lambda: len(world.changes()) == 3, "up again")
        assert [each.is_up for each in world.changes()] == [True, False, True]
        assert F not in world.kinds(filled)
        snapshot = await of(world).look("reconnect", [filled, canceled], 0)
        assert [(each.client_order_id, each.kind) for each in snapshot.reports] == [
            (filled.client_order_id, F),
            (canceled.client_order_id, C),
        ]
        assert snapshot.balances[0].amount == world.exchange.books(ACCOUNT).balances["USD"].total

    run_with(test)


def test_replacement_that_was_missed_is_told_by_the_look() -> None:
    """By a gateway that knows nothing: only the venue's list says what belongs together."""

    async def test(world: LocalAlpaca) -> None:
        order = world.order(30, order_type=OrderType.LIMIT, limit=6_000)
        await world.submit(order)
        await world.play()
        await world.replace(order, lots=25)
        await world.play()
        again = world.make_gateway()
        await again.open(world.instruments, world.hear)
        snapshot = await again.look("restart", [order], 0)
        await again.close()
        (standing,) = snapshot.orders
        assert (standing.client_order_id, standing.lots, standing.filled_lots) == (
            order.client_order_id, 25, 20,
        )  # fmt: skip
        fills = [each for each in snapshot.reports if each.kind is F]
        assert [(each.lots, each.filled_lots) for each in fills] == [(10, 10), (10, 20)]
        (replaced,) = [each for each in snapshot.reports if each.kind is ReportKind.REPLACED]
        assert (replaced.lots, replaced.filled_lots) == (25, 10)
        assert replaced.venue_order_id == standing.venue_order_id

    run_with(test, models={"max_volume_ratio": 1e-5})


def test_fills_that_the_history_does_not_have_yet_are_told_at_their_average() -> None:
    async def test(world: LocalAlpaca) -> None:
        world.exchange.split_fill = lambda lots: (4, lots - 4)
        order = world.order(10)
        await world.submit(order)
        await world.play()
        whole = await of(world).look("test", [order], 0)
        history = world.server._requests.activities[ACCOUNT]  # pyright: ignore[reportPrivateUsage]
        for known in (1, 0):
            del history[known:]
            snapshot = await of(world).look("test", [order], 0)
            assert sum(each.lots for each in snapshot.reports) == 10
            assert {each.ticks for each in snapshot.reports} == {whole.reports[0].ticks}
            assert snapshot.reports[-1].execution_id == whole.reports[-1].execution_id
            assert snapshot.reports[-1].lots == 10 - 4 * known
            assert snapshot.reports[-1].filled_lots == 10

    run_with(test)


def test_cancel_finds_the_link_that_stands() -> None:
    """By a gateway that has not heard of the replacement."""

    async def test(world: LocalAlpaca) -> None:
        order = world.order(10, order_type=OrderType.LIMIT, limit=4_000)
        await world.submit(order)
        other = world.make_gateway()
        await other.open(world.instruments, world.hear)
        await other.replace(OrderReplacePending(order.client_order_id, 0, 4_100, 0), order)
        await other.close()
        await world.cancel(order)
        await world.until(lambda: C in world.kinds(order))
        assert not world.exchange.open_orders(ACCOUNT)
        assert ReportKind.CANCEL_REJECTED not in world.kinds(order)

    run_with(test)


def test_pages_of_fills_and_orders_are_read_to_the_end() -> None:
    async def test(world: LocalAlpaca) -> None:
        world.exchange.split_fill = lambda lots: (1,) * lots
        order = world.order(250)
        await world.submit(order)
        await world.play()
        snapshot = await of(world).look("test", [order], 0)
        assert [each.filled_lots for each in snapshot.reports] == list(range(1, 251))

    run_with(test)


def test_message_that_cannot_be_read_ends_the_connection() -> None:
    async def test(world: LocalAlpaca) -> None:
        (stream,) = world.server._reports  # pyright: ignore[reportPrivateUsage]
        stream.tell({"event": "fill", "order": {"id": 7}})
        await world.until(lambda: len(world.changes()) == 3, "down and up")
        assert [each.is_up for each in world.changes()] == [True, False, True]
        assert "can't be read" in world.changes()[1].reason

    run_with(test)


def test_correction_of_an_execution_makes_the_session_look() -> None:
    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        (stream,) = world.server._reports  # pyright: ignore[reportPrivateUsage]
        shown = world.server.show(world.exchange.orders(ACCOUNT)[0])
        stream.tell({"event": "trade_bust", "timestamp": "", "order": shown})
        await world.until(lambda: len(world.changes()) == 2, "up again")
        assert world.changes()[1].is_up
        assert "trade_bust" in world.changes()[1].reason

    run_with(test)


def test_price_between_two_ticks_is_rounded_against_us() -> None:
    async def test(world: LocalAlpaca) -> None:
        order = world.order(10)
        await world.submit(order)
        (stream,) = world.server._reports  # pyright: ignore[reportPrivateUsage]
        shown = world.server.show(world.exchange.orders(ACCOUNT)[0]) | {"filled_qty": "4"}
        fill = {"event": "partial_fill", "timestamp": "2024-03-11T14:30:01.123456789Z",
                "price": "54.4321", "qty": "4", "order": shown}  # fmt: skip
        stream.tell(fill)
        stream.tell(fill | {"order": shown | {"side": "sell", "filled_qty": "8"}})
        await world.until(lambda: world.kinds(order).count(F) == 2, "two fills")
        buy, sell = world.reports(order)[1:]
        assert (buy.ticks, sell.ticks, buy.price) == (5_444, 5_443, "54.4321")
        assert buy.ts_venue == 1_710_167_401_123_456_789

    run_with(test)


def test_session_that_raises_is_heard_of_by_the_next_command() -> None:
    async def test(world: LocalAlpaca) -> None:
        came = asyncio.Event()

        async def broken(heard: object) -> None:
            if getattr(heard, "kind", None) is F:
                came.set()
                raise RuntimeError("the session is broken")

        gateway = world.make_gateway()
        await gateway.open(world.instruments, broken)
        await gateway.submit(world.order(10))
        await world.play()
        await came.wait()
        with pytest.raises(RuntimeError, match="the session is broken"):
            await gateway.submit(world.order(10))
        await gateway.close()

    run_with(test)
