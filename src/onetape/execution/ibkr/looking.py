"""Asks IB for everything about the account that concerns a session."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument
from onetape.domain.numbers import E8
from onetape.domain.orders import TimeInForce
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.domain.venue import (
    ReportKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
    find_manual,
)
from onetape.execution.ibkr.tracking import CANCELED, OPEN, OrdersAtIb, Tracked
from onetape.execution.ibkr.translation import (
    find_strange,
    get_fields,
    to_decimal,
    to_lots,
    to_rest_units,
    to_side,
    to_time_in_force,
)
from onetape.marketdata.feeds.ibkr_contracts import find_instrument
from onetape.marketdata.feeds.ibkr_link import OrderStanding, TwsAccess, TwsLink, order_key

if TYPE_CHECKING:
    from ib_async.contract import Contract
    from ib_async.objects import Execution
    from ib_async.order import Order

_ROUNDS = 5
"""So often the account is read again when an execution came in between; the last one counts."""
_LEDGER = "$LEDGER:ALL"
_FEE_STEPS = 20


class OpenOrder(NamedTuple):
    """An order as IB lists it."""

    contract: Contract
    order: Order
    status: str
    filled: float


class EndedOrder(NamedTuple):
    """An order of today that is off the book."""

    contract: Contract
    order: Order
    status: str
    words: str


class Looker:
    """One account's state, asked for.

    Args:
        link: The connection.
        access: How patient to be.
        account: Its code.
        orders: What is known of orders.
        instruments: Of the session, by IB's symbol and currency.
    """

    def __init__(
        self,
        link: TwsLink,
        access: TwsAccess,
        account: str,
        orders: OrdersAtIb,
        instruments: Mapping[tuple[str, str], Instrument],
    ) -> None:
        self._link = link
        self._access = access
        self._account = account
        self._orders = orders
        self._instruments = dict(instruments)

    async def look(
        self, name: str, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        """Everything.

        Raises:
            TwsRefusal, TwsGone: It is not told.
        """
        fills = await self.list_executions(since)
        rounds = 0
        while True:
            standing = await self.list_open()
            positions = await self._list_positions()
            balances = await self._list_balances()
            ended = await self.list_ended()
            before, fills = len(fills), await self.list_executions(since)
            rounds += 1
            if len(fills) == before or rounds == _ROUNDS:
                break
        reports: list[VenueReport] = []
        for contract, execution in fills:
            tracked = self._orders.know_execution(contract, execution)
            if tracked is not None:
                reports.append(self._orders.make_fill(tracked, execution))
        names = {
            tracked.reference
            for each in standing
            if (tracked := self._orders.know(each.contract, each.order)) is not None
        }
        for each in orders:
            self._orders.remember(each)
            if each.client_order_id not in names:
                reports += self._report_missing(each, ended, reports)
        return VenueSnapshot(
            name=name, reason=reason, ts_venue=await self.read_clock(),
            orders=[told for each in standing if (told := self._to_venue_order(each)) is not None],
            reports=reports, positions=positions, balances=balances,
        )  # fmt: skip

    async def read_clock(self) -> int:
        """TWS's clock, ns UTC, to the second."""
        told = await self._link.ask_named("time", self._link.client.reqCurrentTime)
        return told[-1] * NS_PER_SECOND

    async def list_open(self) -> list[OpenOrder]:
        """Orders of every program that are open, each once."""
        client = self._link.client
        if self._access.is_of_tws:  # else TWS lets nobody change what was given in it
            await self._link.ask_named("orders", client.reqOpenOrders)
        told = await self._link.ask_named("orders", client.reqAllOpenOrders)
        orders: dict[tuple[int, int], tuple[Contract, Order, str]] = {}
        standings: dict[tuple[int, int], OrderStanding] = {}
        for each in told:
            if isinstance(each, OrderStanding):
                standings[each.key] = each
            else:
                contract, order, state = each
                key = order_key(order.permId, order.clientId, order.orderId)
                orders[key] = (contract, order, state.status)
        found: list[OpenOrder] = []
        for key, (contract, order, status) in orders.items():
            standing = standings.get(key)
            newest, filled = (standing.status, standing.filled) if standing else (status, 0.0)
            if newest in OPEN and self._is_ours(order.account):
                self._orders.know(contract, order)
                found.append(OpenOrder(contract, order, newest, filled))
        return found

    async def list_ended(self) -> list[EndedOrder]:
        """Today's orders that were filled, canceled or refused."""
        told = await self._link.ask_named(
            "completed", lambda: self._link.client.reqCompletedOrders(apiOnly=False)
        )
        return [
            EndedOrder(contract, order, state.status, state.completedStatus)
            for contract, order, state in told
            if self._is_ours(order.account)
        ]

    async def list_executions(self, since: int) -> list[tuple[Contract, Execution]]:
        """Executions since then (ns UTC) in order, each once, with their commissions known.

        IB tells those of today only, and not in their order.
        """
        from ib_async.objects import ExecutionFilter

        wanted = ExecutionFilter(acctCode=self._account)
        if since > NS_PER_SECOND:
            moment = datetime.fromtimestamp(since // NS_PER_SECOND - 1, tz=UTC)
            wanted.time = moment.strftime("%Y%m%d-%H:%M:%S")
        told: list[tuple[Contract, Execution]] = await self._link.ask(
            lambda number: self._link.client.reqExecutions(number, wanted)
        )
        first = max(since, 0) // NS_PER_SECOND
        found = {
            execution.execId: (contract, execution)
            for contract, execution in told
            if execution.time.timestamp() >= first
            and find_instrument(self._instruments, contract) is not None
        }
        for _ in range(_FEE_STEPS):  # commissions follow behind the end of the list
            if all(self._orders.has_fee(each) for _, each in found.values()):
                break
            await asyncio.sleep(self._access.fee_wait_s / _FEE_STEPS)
        return sorted(
            found.values(), key=lambda each: (each[1].time, each[1].permId, each[1].cumQty)
        )

    async def _list_positions(self) -> list[VenuePosition]:
        client = self._link.client
        told = await self._link.ask_named("positions", client.reqPositions)
        client.cancelPositions()
        found: dict[str, VenuePosition] = {}
        for account, contract, size in told:
            instrument = find_instrument(self._instruments, contract)
            if account == self._account and instrument is not None:
                found[instrument.id] = VenuePosition(
                    instrument=instrument.id, lots=to_lots(size, instrument),
                    rest_units=to_rest_units(size, instrument),
                )  # fmt: skip
        return [each for each in found.values() if each.lots or each.rest_units]

    async def _list_balances(self) -> list[VenueBalance]:
        client = self._link.client
        asked: list[int] = []

        def send(number: int) -> None:
            asked.append(number)
            client.reqAccountSummary(number, "All", _LEDGER)

        try:
            told = await self._link.ask(send)
        finally:
            if asked and self._link.is_up:
                client.cancelAccountSummary(asked[0])
        cash = {
            currency: int(to_decimal(value) * E8)
            for account, tag, value, currency in told
            if account == self._account and tag == "CashBalance" and currency != "BASE"
        }
        return [VenueBalance(currency=each, amount=cash[each]) for each in sorted(cash)]

    def _report_missing(
        self, order: OrderSubmitted, ended: Sequence[EndedOrder], fills: Sequence[VenueReport]
    ) -> list[VenueReport]:
        """What became of an order of ours that is not open."""
        ours = [each for each in fills if each.client_order_id == order.client_order_id]
        filled = sum(each.lots for each in ours if each.kind is ReportKind.FILLED)
        for each in ended:
            tracked = self._orders.know(each.contract, each.order)
            if tracked is None or tracked.reference != order.client_order_id:
                continue
            return self._report_ended(order, tracked, each, filled)
        if filled or any(each.venue_order_id for each in ours):
            return []
        return [
            VenueReport(
                kind=ReportKind.NOT_FOUND, client_order_id=order.client_order_id,
                instrument=order.instrument, side=order.side, reason="IB never had it",
            )
        ]  # fmt: skip

    def _report_ended(
        self, order: OrderSubmitted, tracked: Tracked, ended: EndedOrder, filled_lots: int
    ) -> list[VenueReport]:
        """The end of an order, and the change before it that was not heard of."""
        instrument = tracked.instrument
        lots, _, _ = get_fields(ended.order, tracked.order_type, instrument)
        counted = getattr(ended.order, "filledQuantity", 0.0)
        told = to_lots(counted, instrument) if 0 <= counted < 1e300 else filled_lots
        told = max(told, filled_lots, tracked.filled_lots)
        words = ended.words or ended.status
        if ended.status == "Filled":
            if lots == order.lots:
                return []  # its fills say so
            return [self._orders.make_report(
                ReportKind.CANCELED, tracked, filled_lots=told,
                reason=f"filled as it was changed, to {lots} lots",
            )]  # fmt: skip
        if "reject" in words.lower() or (ended.status not in CANCELED and not told):
            kind = ReportKind.REJECTED
        else:
            kind = ReportKind.CANCELED
        return [self._orders.make_report(kind, tracked, filled_lots=told, reason=words)]

    def _to_venue_order(self, listed: OpenOrder) -> VenueOrder | None:
        tracked = self._orders.know(listed.contract, listed.order)
        if tracked is None:
            return None
        lots, limit, stop = get_fields(listed.order, tracked.order_type, tracked.instrument)
        time_in_force, problem = None, ""
        if find_manual(tracked.reference):
            time_in_force = to_time_in_force(listed.order)
            problem = find_strange(listed.order, tracked.instrument) or self._find_owner(tracked)
        return VenueOrder(
            client_order_id=tracked.reference,
            venue_order_id=str(listed.order.permId or f"{tracked.client_id}/{tracked.order_id}"),
            instrument=tracked.instrument.id, side=to_side(listed.order.action),
            order_type=tracked.order_type, lots=lots,
            filled_lots=to_lots(listed.filled, tracked.instrument), limit_ticks=limit,
            stop_ticks=stop, time_in_force=time_in_force or TimeInForce.GTC, problem=problem,
        )  # fmt: skip

    def _find_owner(self, tracked: Tracked) -> str:
        """Who alone may change an order; empty: we may."""
        own = self._access.client_id
        if tracked.order_id and tracked.client_id == own:
            return ""
        owner = f"client id {tracked.client_id}" if tracked.client_id else "TWS"
        way = "" if tracked.client_id else ": set client_id: 0"
        return f"{owner} gave it, and IB lets client id {own} not change it{way}"

    def _is_ours(self, account: str) -> bool:
        """Whether an order is of the account; one that does not say is taken for it."""
        return account in ("", self._account)
