"""Commands on their way to a venue."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from onetape.domain.errors import VenueUnavailable
from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import OrderType, Side, TimeInForce
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
