"""Sends the commands of a session to its venue: in order for each order, side by side otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from time import perf_counter_ns

from onetape.domain.errors import OnetapeError
from onetape.domain.events import OrderCancelPending, OrderSubmitted, VenueCommand
from onetape.domain.orders import RejectCode
from onetape.domain.venue import ReportKind, VenueReport
from onetape.execution.gateway import Hear, VenueGateway

_SIDE_BY_SIDE = 16
"""Orders and changes in the gateway at a time. A venue's rate limit holds those back; the others
wait here, where cancels overtake them, and where they can be taken back."""

Waiting = tuple[VenueCommand, int]
"""A command, and when its cause came (`perf_counter_ns`)."""


class Dispatcher:
    """Hands commands to a gateway, each behind the one before it of the same order.

    Cancels go first. An order that has not left when its cancel comes never leaves: it is told as
    canceled, so that a kill switch also stops what waits for the venue's rate limit. Nor does a
    change that waits: it is told as refused, and the cancel does not wait behind it.

    Args:
        gateway: Where they go.
        hear: Told what the gateway could not tell: that a command failed on the way, or that an
            order was taken back.
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
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._told: set[asyncio.Task[None]] = set()
        self._cancels: dict[str, list[Waiting]] = {}
        self._others: dict[str, list[Waiting]] = {}
        self._room = _SIDE_BY_SIDE
        self.submitted: dict[str, OrderSubmitted] = {}

    @property
    def waiting(self) -> int:
        """How many commands wait to be handed over."""
        return sum(len(each) for each in (*self._cancels.values(), *self._others.values()))

    def know(self, orders: Sequence[OrderSubmitted]) -> None:
        """Orders that this process has not submitted; what it has submitted is known already."""
        for each in orders:
            self.submitted.setdefault(each.client_order_id, each)

    def forget_closed(self, is_open: Callable[[str], bool]) -> None:
        """Orders that are closed and have nothing under way: nothing more is sent for them."""
        busy = {*self._cancels, *self._others, *self._under_way}
        for identity in list(self.submitted):
            if identity not in busy and not is_open(identity):
                del self.submitted[identity]

    def send(self, commands: Sequence[VenueCommand], ts_came: int) -> None:
        """Send commands, caused by what came at `ts_came` (`perf_counter_ns`)."""
        for command in commands:
            identity, waiting = command.client_order_id, self._others
            if isinstance(command, OrderSubmitted):
                self.submitted[identity] = command
            elif isinstance(command, OrderCancelPending):
                if self._take_back(identity):
                    continue
                waiting = self._cancels
            waiting.setdefault(identity, []).append((command, ts_came))
        self._begin_next()

    def cancel_stray(self, order: OrderSubmitted, ts_came: int) -> None:
        """Cancel an order that is closed here and open at the venue."""
        self.submitted.setdefault(order.client_order_id, order)
        self.send([OrderCancelPending(order.client_order_id)], ts_came)

    def _take_back(self, identity: str) -> bool:
        """What waits of an order never leaves; whether that is the order itself."""
        waited = self._others.pop(identity, [])
        order = self.submitted.get(identity)
        if not waited or order is None:
            return False
        is_order = isinstance(waited[0][0], OrderSubmitted)
        for _ in waited[:1] if is_order else waited:
            report = VenueReport(
                kind=ReportKind.CANCELED if is_order else ReportKind.REPLACE_REJECTED,
                client_order_id=identity, instrument=order.instrument, side=order.side,
                filled_lots=0 if is_order else -1, code=RejectCode.NOT_RECEIVED,
                reason="canceled before it was sent",
            )  # fmt: skip
            telling = asyncio.ensure_future(self._hear(report))
            self._told.add(telling)
            telling.add_done_callback(self._told.discard)
        return is_order

    def _begin_next(self) -> None:
        """Hand over what may go now: of an order only one at a time, in the order of its own."""
        for identity in list(self._cancels):
            if identity not in self._under_way:
                self._begin(self._cancels, identity, takes_room=False)
        for identity in list(self._others):
            if self._room == 0:
                return
            if identity not in self._under_way:
                self._begin(self._others, identity, takes_room=True)

    def _begin(self, waiting: dict[str, list[Waiting]], identity: str, *, takes_room: bool) -> None:
        command, ts_came = waiting[identity].pop(0)
        if not waiting[identity]:
            del waiting[identity]
        self._room -= takes_room
        task = asyncio.create_task(self._send(command, ts_came))
        self._under_way[identity] = task

        def drop(done: asyncio.Task[None]) -> None:
            del self._under_way[identity]
            self._room += takes_room
            if done.cancelled():
                return
            error = done.exception()
            if error is not None:
                self._on_failed(error)
            self._begin_next()

        task.add_done_callback(drop)

    async def _send(self, command: VenueCommand, ts_came: int) -> None:
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
        """Wait for what is under way or waits, up to `seconds`; the rest is never sent."""
        try:
            async with asyncio.timeout(seconds):
                while self._under_way:
                    await asyncio.wait(list(self._under_way.values()))
        except TimeoutError:
            self._cancels.clear()
            self._others.clear()
