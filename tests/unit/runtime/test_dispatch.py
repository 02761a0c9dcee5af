"""Commands on their way to a venue."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from onetape.domain.errors import VenueUnavailable
from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import OrderType, RejectCode, Side, TimeInForce
from onetape.domain.venue import ReportKind
from onetape.execution.gateway import Heard, VenueGateway
from onetape.runtime.realtime.dispatch import Dispatcher


class FakeGateway:
    """Fails at every order."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure
        self.canceled: list[str] = []

    async def submit(self, order: OrderSubmitted) -> None:
        raise self._failure

    async def cancel(self, command: Any, order: OrderSubmitted) -> None:
        self.canceled.append(order.client_order_id)


def make_order(name: str) -> OrderSubmitted:
    return OrderSubmitted(name, "s", InstrumentId("AAPL.ALPACA"), Side.BUY, OrderType.MARKET,
                          TimeInForce.DAY, 1, 0, 0, 0)  # fmt: skip


def make_dispatcher(
    gateway: FakeGateway, heard: list[Heard], failed: list[BaseException] | None = None
) -> Dispatcher:
    async def hear(each: Heard) -> None:
        heard.append(each)

    on_failed = ([] if failed is None else failed).append
    return Dispatcher(cast("VenueGateway", gateway), hear, lambda _: None, on_failed)


def test_dispatcher_whose_gateway_is_broken_tells_who_watches() -> None:
    async def run() -> None:
        failed: list[BaseException] = []
        dispatcher = make_dispatcher(FakeGateway(KeyError("a defect")), [], failed)
        dispatcher.send([make_order("s-1")], 0)
        await dispatcher.settle(5)
        await asyncio.sleep(0)
        assert [str(each) for each in failed] == ["'a defect'"]

    asyncio.run(run())


def test_dispatcher_whose_venue_is_gone_tells_that_the_order_is_unanswered() -> None:
    async def run() -> None:
        heard: list[Any] = []
        dispatcher = make_dispatcher(FakeGateway(VenueUnavailable("gone")), heard)
        dispatcher.send([make_order("s-1")], 0)
        await dispatcher.settle(5)
        assert [(each.kind, each.reason) for each in heard] == [(ReportKind.UNANSWERED, "gone")]

    asyncio.run(run())


def test_dispatcher_forgets_closed_orders_that_have_nothing_under_way() -> None:
    async def run() -> None:
        dispatcher = make_dispatcher(FakeGateway(VenueUnavailable("gone")), [])
        dispatcher.know([make_order("closed"), make_order("open")])
        dispatcher.send([make_order("new")], 0)
        dispatcher.forget_closed(lambda name: name == "open")
        assert set(dispatcher.submitted) == {"open", "new"}
        await dispatcher.settle(5)
        dispatcher.forget_closed(lambda name: name == "open")
        assert set(dispatcher.submitted) == {"open"}

    asyncio.run(run())


def test_dispatcher_cancels_an_order_that_it_does_not_know() -> None:
    async def run() -> None:
        gateway = FakeGateway(VenueUnavailable("gone"))
        dispatcher = make_dispatcher(gateway, [])
        dispatcher.cancel_stray(make_order("stray"), 0)
        await dispatcher.settle(5)
        assert gateway.canceled == ["stray"]

    asyncio.run(run())


class SlowGateway(FakeGateway):
    """Takes nothing until it is let: a venue's rate limit."""

    def __init__(self) -> None:
        super().__init__(VenueUnavailable("gone"))
        self.room = asyncio.Event()
        self.came: list[str] = []

    async def submit(self, order: OrderSubmitted) -> None:
        await self.room.wait()
        self.came.append(order.client_order_id)

    async def cancel(self, command: Any, order: OrderSubmitted) -> None:
        await self.room.wait()
        self.came.append(f"cancel {order.client_order_id}")


def test_order_that_waits_for_room_is_taken_back_by_its_cancel() -> None:
    async def run() -> None:
        gateway, heard = SlowGateway(), []
        dispatcher = make_dispatcher(gateway, heard)
        names = [f"s-{number}" for number in range(30)]
        dispatcher.send([make_order(name) for name in names], 0)
        await asyncio.sleep(0)
        dispatcher.send([OrderCancelPending(name) for name in names], 0)
        gateway.room.set()
        await dispatcher.settle(5)
        await asyncio.sleep(0)
        left = [name for name in gateway.came if not name.startswith("cancel")]
        assert 0 < len(left) < 20
        assert sorted(gateway.came) == sorted([*left, *(f"cancel {name}" for name in left)])
        told = [(each.kind, each.client_order_id) for each in heard]
        assert told == [(ReportKind.CANCELED, name) for name in names if name not in left]

    asyncio.run(run())


def test_cancel_overtakes_orders_that_wait_for_room() -> None:
    async def run() -> None:
        gateway = SlowGateway()
        dispatcher = make_dispatcher(gateway, [])
        dispatcher.know([make_order("resting")])
        dispatcher.send([make_order(f"s-{number}") for number in range(30)], 0)
        dispatcher.send([OrderCancelPending("resting")], 0)
        gateway.room.set()
        await dispatcher.settle(5)
        assert gateway.came.index("cancel resting") < 20
        assert len(gateway.came) == 31

    asyncio.run(run())


class TellingGateway(SlowGateway):
    """Says what it changes and cancels, without waiting for room."""

    async def replace(self, command: Any, order: OrderSubmitted) -> None:
        self.came.append(f"replace {order.client_order_id}")

    async def cancel(self, command: Any, order: OrderSubmitted) -> None:
        self.came.append(f"cancel {order.client_order_id}")


def test_replace_that_waits_for_room_is_taken_back_by_the_cancel_of_its_order() -> None:
    """A kill or a flatten does not wait for the venue's rate limit behind a change."""

    async def run() -> None:
        gateway, heard = TellingGateway(), []
        dispatcher = make_dispatcher(gateway, heard)
        dispatcher.know([make_order("resting")])
        dispatcher.send([make_order(f"s-{number}") for number in range(17)], 0)
        dispatcher.send([OrderReplacePending("resting", 5, 0, 0)], 0)
        dispatcher.send([OrderCancelPending("resting")], 0)
        await asyncio.sleep(0.01)
        assert gateway.came == ["cancel resting"]  # no order has left
        told = [(each.kind, each.client_order_id, each.code) for each in heard]
        assert told == [(ReportKind.REPLACE_REJECTED, "resting", RejectCode.NOT_RECEIVED)]
        gateway.room.set()
        await dispatcher.settle(5)
        assert "replace resting" not in gateway.came
        assert len(gateway.came) == 18

    asyncio.run(run())


def test_cancel_waits_for_the_command_of_its_order_that_is_under_way() -> None:
    async def run() -> None:
        gateway, heard = SlowGateway(), []
        dispatcher = make_dispatcher(gateway, heard)
        dispatcher.send([make_order("s-1")], 0)
        await asyncio.sleep(0)
        dispatcher.send([OrderReplacePending("s-1", 5, 0, 0), OrderCancelPending("s-1")], 0)
        gateway.room.set()
        await dispatcher.settle(5)
        assert gateway.came == ["s-1", "cancel s-1"]
        assert [each.kind for each in heard] == [ReportKind.REPLACE_REJECTED]

    asyncio.run(run())


def test_change_behind_a_cancel_that_waits_does_not_overtake_it() -> None:
    """The venue was asked meanwhile, and has the order: it may be changed again."""

    async def run() -> None:
        gateway = TellingGateway()
        dispatcher = make_dispatcher(gateway, [])
        dispatcher.send([make_order("s-1")], 0)
        await asyncio.sleep(0)
        dispatcher.send([OrderCancelPending("s-1")], 0)
        dispatcher.send([OrderReplacePending("s-1", 5, 0, 0)], 0)
        gateway.room.set()
        await dispatcher.settle(5)
        assert gateway.came == ["s-1", "cancel s-1", "replace s-1"]

    asyncio.run(run())


def test_dispatcher_that_is_not_done_in_time_sends_nothing_afterwards() -> None:
    async def run() -> None:
        gateway = SlowGateway()
        dispatcher = make_dispatcher(gateway, [])
        dispatcher.send([make_order(f"s-{number}") for number in range(30)], 0)
        await dispatcher.settle(0.01)
        assert dispatcher.waiting == 0
        gateway.room.set()
        await asyncio.sleep(0.01)
        assert len(gateway.came) < 20

    asyncio.run(run())
