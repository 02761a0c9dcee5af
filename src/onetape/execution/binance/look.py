"""Asking Binance for everything: open orders, what became of ours, fills, positions, cash.

Source: Binance Spot REST API, "Account endpoints": `order`, `openOrders`, `myTrades`, `account`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.timestamps import NS_PER_MS
from onetape.domain.venue import (
    ReportKind,
    VenueBalance,
    VenueOrder,
    VenuePosition,
    VenueReport,
    VenueSnapshot,
    find_manual,
)
from onetape.execution.binance.tracking import OrderBookOfOurs, Tracked
from onetape.execution.binance.wire import CLOSED, read_order, read_side, read_trade
from onetape.marketdata.feeds.binance_client import BinanceClient, BinanceRefusal
from onetape.marketdata.feeds.binance_instruments import to_lots, to_ticks, to_units

_NO_ORDER = -2013
_PAGE = 1000
_DAY_MS = 86_400_000
_CUTS_MAX = 4
_MANY_SYMBOLS = 13
"""From so many on one request for all symbols weighs less than one for each."""


class _Trace(msgspec.Struct, frozen=True):
    """The newest generation of an order: its state at the venue (None: never had it).

    `numbers` are those that were walked through; before them `first_lots` had filled.
    """

    state: dict[str, Any] | None
    generation: int
    earlier_lots: int
    numbers: list[int]
    first_lots: int


class Looker:
    """Reads one account."""

    def __init__(self, client: BinanceClient, ours: OrderBookOfOurs,
                 instruments: Mapping[InstrumentId, Instrument], name: str) -> None:  # fmt: skip
        self._client = client
        self._ours = ours
        self._instruments = instruments
        self._name = name
        self._ts_updated = 0

    async def find(self, order: OrderSubmitted, generation: int) -> dict[str, Any] | None:
        """One generation of an order; None: the venue never had it."""
        return await self._find_generation(order.instrument, order.client_order_id, generation)

    async def _find_generation(
        self, instrument: InstrumentId, identity: str, generation: int
    ) -> dict[str, Any] | None:
        symbol = self._instruments[instrument].symbol
        return await self._find({"symbol": symbol, **self._ours.ids.address(identity, generation)})

    async def _find(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        try:
            state = await self._client.ask("GET", "order", asked, signed=True, weight=4)
        except BinanceRefusal as refusal:
            if refusal.code == _NO_ORDER:
                return None
            raise
        number = str(state["orderId"])
        self._ours.remember_name(state["symbol"], number, state["clientOrderId"])
        return state

    async def trace(self, order: OrderSubmitted) -> tuple[_Trace, list[VenueReport]]:
        """Follow an order through its generations, take over how it stands, and say it.

        What a command of ours did meanwhile may have been seen half done: then it is read again.
        """
        instrument = self._instruments[order.instrument]
        open_orders = self._ours.open
        rounds = 0
        while True:
            rounds += 1
            tracked = open_orders.get(order.client_order_id)
            commands = 0
            if tracked is not None:
                await tracked.quiet.wait()
                commands = tracked.commands
            trace = await self._walk(order, instrument, tracked)
            now = open_orders.get(order.client_order_id)
            if now is None or (now is tracked and now.commands == commands):
                return trace, self._take_over(order, instrument, trace)
            if rounds == _CUTS_MAX:
                return trace, []  # the next look sees it

    async def _walk(
        self, order: OrderSubmitted, instrument: Instrument, tracked: Tracked | None
    ) -> _Trace:
        """The newest generation that the venue has."""
        generation = tracked.generation if tracked else 0
        first = earlier = tracked.earlier_lots if tracked else 0
        state, numbers = await self.find(order, generation), []
        while state is not None:
            numbers.append(int(state["orderId"]))
            if state["status"] != "CANCELED":
                break
            successor = await self.find(order, generation + 1)
            if successor is None:
                break
            earlier += to_lots(instrument, state["executedQty"])
            generation, state = generation + 1, successor
        return _Trace(state, generation, earlier, numbers, first)

    def _take_over(
        self, order: OrderSubmitted, instrument: Instrument, trace: _Trace
    ) -> list[VenueReport]:
        identity, state = order.client_order_id, trace.state
        tracked = self._ours.open.get(identity)
        if tracked is not None and tracked.generation > trace.generation:
            return []  # the stream was faster
        if state is None:
            if tracked is not None and tracked.is_told:
                return []  # it had it: a server that is behind
            self._ours.end(identity)
            return [
                VenueReport(
                    kind=ReportKind.NOT_FOUND, client_order_id=identity,
                    instrument=instrument.id, side=order.side,
                )
            ]  # fmt: skip
        if state["status"] in CLOSED or state["status"] == "FILLED":
            self._ours.end(identity)
            if state["status"] == "FILLED":
                return self._read_filled(order, instrument, trace, state)
            return [self.read_end(instrument, state, identity, trace.earlier_lots)]
        if tracked is None and self._ours.is_ended(identity):
            return []  # the stream was faster
        is_new = tracked is None or tracked.generation != trace.generation
        if tracked is None:
            tracked = self._ours.open[identity] = Tracked(lots=0, limit_ticks=0, stop_ticks=0)
        filled = to_lots(instrument, state["executedQty"])
        tracked.filled_lots = filled if is_new else max(filled, tracked.filled_lots)
        tracked.generation, tracked.earlier_lots = trace.generation, trace.earlier_lots
        tracked.lots = to_lots(instrument, state["origQty"]) + trace.earlier_lots
        tracked.limit_ticks = to_ticks(instrument, state["price"], order.side)
        tracked.stop_ticks = to_ticks(instrument, state.get("stopPrice", "0"), order.side)
        tracked.venue_order_id = str(state["orderId"])
        tracked.is_waiting = tracked.stop_ticks > 0 and not state.get("isWorking")
        tracked.is_told = True
        tracked.is_doubtful = False
        was = (order.lots, order.limit_ticks, order.stop_ticks)
        if was == (tracked.lots, tracked.limit_ticks, tracked.stop_ticks):
            return []
        return [
            VenueReport(
                kind=ReportKind.REPLACED, client_order_id=identity, instrument=instrument.id,
                side=order.side, venue_order_id=tracked.venue_order_id,
                ts_venue=int(state["updateTime"]) * NS_PER_MS, lots=tracked.lots,
                limit_ticks=tracked.limit_ticks, stop_ticks=tracked.stop_ticks,
                filled_lots=tracked.all_filled_lots,
            )
        ]  # fmt: skip

    def _read_filled(
        self, order: OrderSubmitted, instrument: Instrument, trace: _Trace, state: dict[str, Any]
    ) -> list[VenueReport]:
        """Its fills say that it is filled; but not that a change came through before them."""
        lots = to_lots(instrument, state["origQty"]) + trace.earlier_lots
        if lots == order.lots:
            return []
        end = self.read_end(instrument, state, order.client_order_id, trace.earlier_lots)
        reason = f"filled as it was changed, to {lots} lots"
        return [msgspec.structs.replace(end, kind=ReportKind.CANCELED, reason=reason)]

    def read_end(self, instrument: Instrument, state: dict[str, Any], identity: str,
                 earlier_lots: int) -> VenueReport:  # fmt: skip
        """That an order is off the book, from the answer to a query or a cancel."""
        ts = state.get("updateTime") or state.get("transactTime") or 0
        return VenueReport(
            kind=CLOSED.get(state["status"], ReportKind.CANCELED), client_order_id=identity,
            instrument=instrument.id, side=read_side(state["side"]),
            venue_order_id=str(state["orderId"]), ts_venue=int(ts) * NS_PER_MS,
            filled_lots=to_lots(instrument, state["executedQty"]) + earlier_lots,
            reason=state["status"],
        )  # fmt: skip

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        """Everything, as it stood together: asked again while the balances move meanwhile."""
        balances = await self._read_balances()
        ends: dict[tuple[str, ReportKind], VenueReport] = {}
        fills: dict[str, VenueReport] = {}
        open_orders: list[VenueOrder] = []
        numbers: dict[str, set[int]] = {}
        first_lots: dict[str, int] = {}
        for _ in range(_CUTS_MAX):
            for order in orders:
                trace, reports = await self.trace(order)
                ends |= {(each.client_order_id, each.kind): each for each in reports}
                symbol = self._instruments[order.instrument].symbol
                numbers.setdefault(symbol, set()).update(trace.numbers)
                first_lots.setdefault(order.client_order_id, trace.first_lots)
            open_orders = await self._read_open()
            for instrument in self._instruments.values():
                asked = sorted(numbers.get(instrument.symbol, ()))
                fills |= await self._read_fills(instrument, since, asked)
            again = await self._read_balances()
            if again == balances:
                break
            balances = again
        told = _count_manual(
            sorted(fills.values(), key=lambda each: (each.ts_venue, _number_of(each))), first_lots
        )
        return VenueSnapshot(
            name=self._name, reason=reason, ts_venue=self._ts_updated, orders=open_orders,
            reports=[*told, *ends.values()],
            positions=self._positions(balances), balances=self._cash(balances),
        )  # fmt: skip

    async def _read_balances(self) -> dict[str, Decimal]:
        account = await self._client.ask("GET", "account", signed=True, weight=20)
        self._ts_updated = int(account.get("updateTime", 0)) * NS_PER_MS
        return {
            each["asset"]: Decimal(each["free"]) + Decimal(each["locked"])
            for each in account["balances"]
        }

    def _positions(self, balances: dict[str, Decimal]) -> list[VenuePosition]:
        positions: list[VenuePosition] = []
        for each in self._instruments.values():
            units = to_units(str(balances.get(each.base_currency, Decimal(0))))
            lot_units = int(each.lot_size * E8)
            if units:
                position = VenuePosition(
                    instrument=each.id, lots=units // lot_units, rest_units=units % lot_units
                )
                positions.append(position)
        return positions

    def _cash(self, balances: dict[str, Decimal]) -> list[VenueBalance]:
        currencies = sorted({each.quote_currency for each in self._instruments.values()})
        return [
            VenueBalance(currency=each, amount=to_units(str(balances.get(each, Decimal(0)))))
            for each in currencies
        ]

    async def _read_open(self) -> list[VenueOrder]:
        by_symbol = self._ours.by_symbol
        asked = [{"symbol": each} for each in by_symbol]
        weight = 6
        if len(asked) >= _MANY_SYMBOLS:
            asked, weight = [{}], 80
        found: list[VenueOrder] = []
        for params in asked:
            rows = await self._client.ask("GET", "openOrders", params, signed=True, weight=weight)
            for row in rows:
                if row["symbol"] in by_symbol:
                    found.append(await self._read_row(by_symbol[row["symbol"]], row))
        return found

    async def _read_row(self, instrument: Instrument, row: dict[str, Any]) -> VenueOrder:
        number, wire_id = str(row["orderId"]), row["clientOrderId"]
        self._ours.remember_name(instrument.symbol, number, wire_id)
        identity, generation = self._ours.ids.from_wire(wire_id, instrument.symbol, number)
        tracked = self._ours.open.get(identity)
        if tracked is not None and tracked.generation == generation:
            return read_order(instrument, row, identity, tracked.earlier_lots)
        earlier = 0
        for each in range(generation):
            state = await self._find_generation(instrument.id, identity, each)
            earlier += to_lots(instrument, state["executedQty"]) if state else 0
        return read_order(instrument, row, identity, earlier)

    async def _read_fills(
        self, instrument: Instrument, since: int, numbers: Sequence[int]
    ) -> dict[str, VenueReport]:
        """Fills since then, and all fills of these orders, by execution id."""
        rows = await self._read_since(instrument.symbol, max(0, since // NS_PER_MS))
        for number in numbers:
            rows += await self._read_pages({"symbol": instrument.symbol, "orderId": number})
        fills: dict[str, VenueReport] = {}
        for row in rows:
            report = read_trade(instrument, row, await self._owner(instrument, row))
            fills[report.execution_id] = report
        return fills

    async def _read_since(self, symbol: str, since_ms: int) -> list[dict[str, Any]]:
        """Fills since then. A request by time covers a day at most, one by number everything."""
        if not since_ms:
            return await self._read_pages({"symbol": symbol, "fromId": 0})
        end_ms = self._client.now_ns() // NS_PER_MS + _DAY_MS
        if end_ms - since_ms > 2 * _DAY_MS:
            newest = await self._read_page({"symbol": symbol})
            if len(newest) < _PAGE or int(newest[0]["time"]) < since_ms:
                return [row for row in newest if int(row["time"]) >= since_ms]
        for start_ms in range(since_ms, end_ms, _DAY_MS):
            asked = {"startTime": start_ms, "endTime": start_ms + _DAY_MS - 1}
            rows = await self._read_page({"symbol": symbol, **asked})
            if rows:
                after = {"symbol": symbol, "fromId": int(rows[-1]["id"]) + 1}
                return rows + await self._read_pages(after)
        return []

    async def _read_pages(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        """A page, and all behind it."""
        rows = page = await self._read_page(asked)
        while len(page) == _PAGE:
            page = await self._read_page({**asked, "fromId": int(page[-1]["id"]) + 1})
            rows = rows + page
        return rows

    async def _read_page(self, asked: dict[str, Any]) -> list[dict[str, Any]]:
        params = {**asked, "limit": _PAGE}
        rows = await self._client.ask("GET", "myTrades", params, signed=True, weight=20)
        return sorted(rows, key=lambda row: int(row["id"]))

    async def _owner(self, instrument: Instrument, row: dict[str, Any]) -> str:
        """Our id of the order of a fill."""
        number = str(row["orderId"])
        wire_id = self._ours.name(instrument.symbol, number)
        if wire_id is None:
            state = await self._find({"symbol": instrument.symbol, "orderId": number})
            wire_id = state["clientOrderId"] if state else ""
        return self._ours.ids.from_wire(wire_id, instrument.symbol, number)[0]


def _number_of(fill: VenueReport) -> int:
    return int(fill.execution_id.rpartition(":")[2])


def _count_manual(fills: Sequence[VenueReport], first_lots: dict[str, int]) -> list[VenueReport]:
    """The same fills; those of a manual order that was asked about say what is filled behind them.

    Of such an order all fills are told each time, those before it was adopted too.
    """
    counted = {name: lots for name, lots in first_lots.items() if find_manual(name)}
    found: list[VenueReport] = []
    for each in fills:
        name = each.client_order_id
        if name in counted:
            counted[name] += each.lots
            found.append(msgspec.structs.replace(each, filled_lots=counted[name]))
        else:
            found.append(each)
    return found
