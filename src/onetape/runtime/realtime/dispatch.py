"""Sends the commands of a session to its venue: in order for each order, side by side otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter_ns

from onetape.domain.errors import OnetapeError
from onetape.domain.events import OrderCancelPending, OrderSubmitted, VenueCommand
from onetape.domain.venue import ReportKind, VenueReport
from onetape.execution.gateway import Hear, VenueGateway


class Dispatcher:
    """Hands commands to a gateway, each behind the one before it of the same order.

    Args:
        gateway: Where they go.
        hear: Told what the gateway could not tell: that a command failed on the way.
        on_sent: Told how long a command took from its cause's arrival to the gateway, ns.
        on_failed: Told what a gateway raises that its port does not know; it may have sent or not.
    """

    def __init__(
        self,
        gateway: VenueGateway,
        hear: Hear,
        on_sent: Callable[[int], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        self._gateway = gateway
        self._hear = hear
        self._on_sent = on_sent
        self._on_failed = on_failed
        self._newest: dict[str, asyncio.Task[None]] = {}
        self.submitted: dict[str, OrderSubmitted] = {}

    def know(self, orders: Sequence[OrderSubmitted]) -> None:
        """Orders that were submitted before this process began."""
        self.submitted.update((each.client_order_id, each) for each in orders)

    def forget_closed(self, is_open: Callable[[str], bool]) -> None:
        """Orders that are closed and have nothing under way: nothing more is sent for them."""
        for identity in list(self.submitted):
            if identity not in self._newest and not is_open(identity):
                del self.submitted[identity]

    def send(self, commands: Sequence[VenueCommand], ts_came: int) -> None:
        """Send commands, caused by what came at `ts_came` (`perf_counter_ns`)."""
        for command in commands:
            identity = command.client_order_id
            if isinstance(command, OrderSubmitted):
                self.submitted[identity] = command
            before = self._newest.get(identity)
            task = asyncio.create_task(self._send(command, before, ts_came))
            self._newest[identity] = task
            task.add_done_callback(lambda done, of=identity: self._drop(of, done))

    def cancel_stray(self, order: OrderSubmitted, ts_came: int) -> None:
        """Cancel an order that is closed here and open at the venue."""
        self.submitted.setdefault(order.client_order_id, order)
        self.send([OrderCancelPending(order.client_order_id)], ts_came)

    def _drop(self, identity: str, done: asyncio.Task[None]) -> None:
        if self._newest.get(identity) is done:
            del self._newest[identity]
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self._on_failed(error)

    async def _send(
        self, command: VenueCommand, before: asyncio.Task[None] | None, ts_came: int
    ) -> None:
        if before is not None:
            await asyncio.wait([before])
        order = self.submitted.get(command.client_order_id)
        if order is None:
            return  # it closed meanwhile
        self._on_sent(perf_counter_ns() - ts_came)
        try:
            await self._call(command, order)
        except OnetapeError as error:
            await self._hear(
                VenueReport(
                    kind=ReportKind.UNANSWERED, client_order_id=command.client_order_id,
                    instrument=order.instrument, side=order.side, reason=str(error),
                )
            )  # fmt: skip

    def _call(self, command: VenueCommand, order: OrderSubmitted) -> Awaitable[None]:
        if isinstance(command, OrderSubmitted):
            return self._gateway.submit(command)
        if isinstance(command, OrderCancelPending):
            return self._gateway.cancel(command, order)
        return self._gateway.replace(command, order)

    async def settle(self, seconds: float) -> None:
        """Wait for what is under way, but no longer than `seconds`."""
        if self._newest:
            await asyncio.wait(list(self._newest.values()), timeout=seconds)
