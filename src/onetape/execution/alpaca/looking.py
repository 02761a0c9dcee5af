"""Asks Alpaca for everything about the account that concerns a session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument
from onetape.domain.timestamps import from_iso, to_iso
from onetape.domain.venue import (
    ReportKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
)
from onetape.execution.alpaca.chains import Chain, Chains
from onetape.execution.alpaca.reports import (
    report_activity,
    report_end,
    report_filled,
    report_missing_fill,
    report_replaced,
    to_venue_order,
)
from onetape.execution.alpaca.rest import AlpacaRest
from onetape.execution.alpaca.translation import to_lots, to_rest_units, to_ts
from onetape.execution.alpaca.wire import (
    WireAccount,
    WireActivity,
    WireClock,
    WireOrder,
    WirePosition,
)

_PAGE_ORDERS = 500
_PAGE_ACTIVITIES = 100
_ROUNDS = 5
"""So often the account is read again when an execution came in between; the last one counts."""


class _Account(msgspec.Struct, frozen=True):
    """The account as it was between two executions."""

    orders: list[WireOrder]
    fills: list[WireActivity]
    positions: list[WirePosition]
    account: WireAccount


class Looker:
    """One look at the account; `find` gives an order's chain as it is now.

    Args:
        rest: Alpaca.
        chains: What is known of our orders.
        by_symbol: Instruments of the session by Alpaca's names.
        find: Asks for an order of ours; None: Alpaca never had it.
    """

    def __init__(
        self,
        rest: AlpacaRest,
        chains: Chains,
        by_symbol: Mapping[str, Instrument],
        find: Callable[[OrderSubmitted], Awaitable[Chain | None]],
    ) -> None:
        self._rest = rest
        self._chains = chains
        self._by_symbol = by_symbol
        self._find = find

    async def look(
        self, name: str, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        """Everything.

        Raises:
            Refused, Unanswered: It is not told.
        """
        rounds = 0
        while True:
            account = await self._read_account(since)
            open_orders = await self._list_open(account.orders)
            open_ids = {each.client_order_id for each in open_orders}
            asked = [(each, await self._find_asked(each, open_ids)) for each in orders]
            rounds += 1
            # One that was not open may have arrived in the meantime.
            if rounds == _ROUNDS or not any(
                chain is not None
                and chain.current.is_open
                and order.client_order_id not in open_ids
                for order, chain in asked
            ):
                break
        reports = await self._report_fills(account.fills)
        for order, chain in asked:
            if chain is None:
                reports.append(_report_not_found(order))
            else:
                is_open = order.client_order_id in open_ids
                reports.extend(
                    await self._report_asked(order, chain, account.fills, is_open=is_open)
                )
        clock = await self._rest.get("/clock", WireClock)
        return VenueSnapshot(
            name=name,
            reason=reason,
            ts_venue=from_iso(clock.timestamp),
            orders=open_orders,
            reports=reports,
            positions=self._list_positions(account.positions),
            balances=[
                VenueBalance(
                    currency=account.account.currency,
                    amount=int(Decimal(account.account.cash).scaleb(8)),
                )
            ],
        )

    async def _find_asked(self, order: OrderSubmitted, open_ids: set[str]) -> Chain | None:
        """What is known of an open order, and what Alpaca says of any other."""
        if order.client_order_id in open_ids:
            return self._chains.find(order.client_order_id)
        return await self._find(order)

    async def _read_account(self, since: int) -> _Account:
        """Orders, positions and cash between two readings of the fills that are the same."""
        fills = await self._list_fills(since, [])
        rounds = 0
        while True:
            orders = await self._list_orders()
            positions = await self._rest.get("/positions", list[WirePosition])
            account = await self._rest.get("/account", WireAccount)
            before, fills = len(fills), await self._list_fills(since, fills)
            rounds += 1
            if len(fills) == before or rounds == _ROUNDS:
                return _Account(orders, fills, positions, account)

    async def _list_orders(self) -> list[WireOrder]:
        """All that are open, oldest first."""
        found: dict[str, WireOrder] = {}
        fields: dict[str, Any] = {"status": "open", "limit": _PAGE_ORDERS, "direction": "asc",
                                  "nested": "false"}  # fmt: skip
        while True:
            page = await self._rest.get("/orders", list[WireOrder], fields)
            fresh = [each for each in page if each.id not in found]
            found.update((each.id, each) for each in fresh)
            if len(page) < _PAGE_ORDERS or not fresh:
                return list(found.values())
            # `after` leaves out its own time, and orders of one time may part at the page's end.
            fields["after"] = to_iso(max(0, to_ts(page[-1].submitted_at) - 1))

    async def _list_fills(self, since: int, known: list[WireActivity]) -> list[WireActivity]:
        """The executions since then, oldest first; `known` are not asked for again."""
        found = list(known)
        fields: dict[str, Any] = {"direction": "asc", "page_size": _PAGE_ACTIVITIES}
        if since > 0:
            fields["after"] = to_iso(since - 1)
        while True:
            if found:
                fields["page_token"] = found[-1].id
            page = await self._rest.get("/account/activities/FILL", list[WireActivity], fields)
            found.extend(page)
            if len(page) < _PAGE_ACTIVITIES:
                return found

    async def _list_open(self, orders: Sequence[WireOrder]) -> list[VenueOrder]:
        """Open orders of the session's instruments, each once: of two links the one that stands."""
        found: dict[str, VenueOrder] = {}
        for each in orders:
            instrument = self._by_symbol.get(each.symbol)
            if instrument is None or not each.is_open:
                continue
            chain = await self._chains.note(each, instrument)
            found.setdefault(chain.client_order_id, to_venue_order(each, chain))
        return list(found.values())

    async def _report_fills(self, fills: Sequence[WireActivity]) -> list[VenueReport]:
        reports: list[VenueReport] = []
        for each in fills:
            instrument = self._by_symbol.get(each.symbol)
            if instrument is None:
                continue
            order = self._chains.find_link(each.order_id)
            if order is None:
                order = await self._rest.get(f"/orders/{each.order_id}", WireOrder)
            chain = await self._chains.note(order, instrument)
            reports.append(report_activity(each, order, chain))
        return reports

    async def _report_asked(
        self,
        order: OrderSubmitted,
        chain: Chain,
        fills: Sequence[WireActivity],
        *,
        is_open: bool,
    ) -> list[VenueReport]:
        """A replacement that was not heard of, what the history does not have yet, and the end."""
        reports: list[VenueReport] = []
        if len(chain.links) > 1 and chain.told_link != chain.current.id:
            chain.told_link = chain.current.id
            ts = to_ts(chain.current.submitted_at)
            reports.append(report_replaced(chain.current, chain, ts))
        for link in chain.links.values():
            told = [each for each in fills if each.order_id == link.id]
            if not told and to_lots(link.filled_qty, chain.instrument):
                whole = await self._list_fills(to_ts(link.submitted_at), [])
                told = [each for each in whole if each.order_id == link.id]
            missing = report_missing_fill(link, chain, told)
            reports.extend([missing] if missing else [])
        end = None if is_open else report_end(chain.current, chain)
        if end is None and not is_open:
            end = report_filled(chain, order.lots)
        reports.extend([end] if end else [])
        return reports

    def _list_positions(self, positions: Sequence[WirePosition]) -> list[VenuePosition]:
        found: list[VenuePosition] = []
        for each in positions:
            instrument = self._by_symbol.get(each.symbol)
            if instrument is not None:
                found.append(
                    VenuePosition(
                        instrument=instrument.id,
                        lots=to_lots(each.qty, instrument),
                        rest_units=to_rest_units(each.qty, instrument),
                    )
                )
        return found


def _report_not_found(order: OrderSubmitted) -> VenueReport:
    return VenueReport(
        kind=ReportKind.NOT_FOUND,
        client_order_id=order.client_order_id,
        instrument=order.instrument,
        side=order.side,
        reason="Alpaca never had it",
    )
