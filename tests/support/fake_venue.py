"""A venue in memory: it fills market orders at once, and every other limit order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import msgspec

from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import OrderType, TimeInForce
from onetape.domain.venue import (
    ReportKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.gateway import Capabilities, Hear


class FakeVenue:
    """One account. Every fill is at `ticks`, tells its time, and is told twice.

    Args:
        instruments: What it trades.
        now: The venue's clock, ns UTC.
        cash: Of the account, minor units.
        ticks: Price of every fill.
        kept: So many of the newest commands and closed orders it remembers; None: all.

    Attributes:
        sent: The commands that came, in order.
    """

    name = "FAKE"
    capabilities = Capabilities(
        order_types=frozenset({OrderType.MARKET, OrderType.LIMIT}),
        times_in_force=frozenset(TimeInForce),
    )

    def __init__(
        self, instruments: Sequence[Instrument], now: Callable[[], int], cash: int,
        ticks: int = 10_000, kept: int | None = None,
    ) -> None:  # fmt: skip
        self._instruments = {each.id: each for each in instruments}
        self._now = now
        self.cash = cash
        self.ticks = ticks
        self.lots: dict[InstrumentId, int] = {}
        self.open_orders: dict[str, OrderSubmitted] = {}
        self.sent: deque[tuple[str, str]] = deque(maxlen=kept)
        self._commands = 0
        self._kept = kept
        self._newest: dict[str, VenueReport] = {}

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        return tuple(self._instruments[each] for each in instruments)

    async def open(self, instruments: Sequence[Instrument], hear: Hear) -> None:
        self._hear = hear

    async def submit(self, order: OrderSubmitted) -> None:
        self._take("submit", order.client_order_id)
        await self._hear(self.report(ReportKind.ACCEPTED, order))
        if order.order_type is OrderType.MARKET or self._commands % 2:
            await self.fill(order)
        else:
            self.open_orders[order.client_order_id] = order

    async def fill(self, order: OrderSubmitted) -> None:
        """All of an order, said twice."""
        self.open_orders.pop(order.client_order_id, None)
        instrument = self._instruments[order.instrument]
        self.lots[instrument.id] = self.lots.get(instrument.id, 0) + order.side * order.lots
        self.cash -= order.side * order.lots * self.ticks * instrument.minor_per_tick_lot
        report = msgspec.structs.replace(
            self.report(ReportKind.FILLED, order), execution_id=f"x-{order.client_order_id}",
            lots=order.lots, ticks=self.ticks, filled_lots=order.lots,
        )  # fmt: skip
        self._remember(report)
        await self._hear(report)
        await self._hear(report)

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        self._take("cancel", command.client_order_id)
        if self.open_orders.pop(command.client_order_id, None) is not None:
            report = msgspec.structs.replace(self.report(ReportKind.CANCELED, order), filled_lots=0)
            self._remember(report)
            await self._hear(report)

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        self._take("replace", command.client_order_id)
        await self._hear(self.report(ReportKind.REPLACE_REJECTED, order))

    def _take(self, what: str, client_order_id: str) -> None:
        self._commands += 1
        self.sent.append((what, client_order_id))

    def _remember(self, report: VenueReport) -> None:
        """How an order ended, for the next looks."""
        self._newest[report.client_order_id] = report
        if self._kept is not None and len(self._newest) > self._kept:
            del self._newest[next(iter(self._newest))]

    def report(self, kind: ReportKind, order: OrderSubmitted) -> VenueReport:
        """What it says of an order."""
        return VenueReport(
            kind=kind, client_order_id=order.client_order_id, instrument=order.instrument,
            side=order.side, venue_order_id=f"v-{order.client_order_id}", ts_venue=self._now(),
        )  # fmt: skip

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        return VenueSnapshot(
            name=self.name, reason=reason, ts_venue=self._now(),
            reports=[
                self._newest.get(each.client_order_id, self.report(ReportKind.NOT_FOUND, each))
                for each in orders if each.client_order_id not in self.open_orders
            ],
            orders=[
                VenueOrder(
                    client_order_id=each.client_order_id, instrument=each.instrument,
                    side=each.side, order_type=each.order_type, lots=each.lots, filled_lots=0,
                    limit_ticks=each.limit_ticks, venue_order_id=f"v-{each.client_order_id}",
                )
                for each in self.open_orders.values()
            ],
            positions=[
                VenuePosition(instrument=each, lots=lots)
                for each, lots in self.lots.items()
                if lots
            ],
            balances=[VenueBalance(currency="USD", amount=self.cash)],
        )  # fmt: skip

    async def close(self) -> None:
        """Nothing is held."""
