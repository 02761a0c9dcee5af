"""Changing an order at Binance, which changes only quantities in place.

| wanted                           | done                                                    |
| -------------------------------- | ------------------------------------------------------- |
| only fewer lots                  | amended in place, its place in the queue kept           |
| anything else, nothing filled    | `cancelReplace`, only if still nothing is filled        |
| anything else, some of it filled | canceled, and what the answer says is left is sent anew |

A successor is never larger than what is left behind the cancel: a fill on the way can't make it
more than was asked for.

Source: Binance Spot REST API, "Cancel an Existing Order and Send a New Order", "Order Amend Keep
Priority"; "Error codes", -2021 and -2022.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from onetape.domain.events import OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument
from onetape.domain.orders import RejectCode
from onetape.domain.timestamps import NS_PER_MS
from onetape.domain.venue import ReportKind, VenueReport
from onetape.execution.binance.tracking import OrderBookOfOurs, Tracked
from onetape.execution.binance.wire import is_restricted, to_order
from onetape.marketdata.feeds.binance_client import BinanceClient, BinanceRefusal, NoAnswer
from onetape.marketdata.feeds.binance_instruments import to_lots

Tell = Callable[[VenueReport], Awaitable[None]]


class Replacer:
    """Changes orders of one account.

    Args:
        client: Of the account.
        ours: Its open orders.
        tell: Takes reports.
        can_amend: Symbols whose quantities can be amended.
        can_replace: Symbols with `cancelReplace`.
    """

    def __init__(self, client: BinanceClient, ours: OrderBookOfOurs, tell: Tell,
                 can_amend: set[str], can_replace: set[str]) -> None:  # fmt: skip
        self._client = client
        self._ours = ours
        self._tell = tell
        self._can_amend = can_amend
        self._can_replace = can_replace

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted,
                      tracked: Tracked, instrument: Instrument) -> None:  # fmt: skip
        """Change `order` and tell what came of it.

        Raises:
            BinanceRefusal: It was refused and the order stands, or (`is_unclear`) nothing is known.
            NoAnswer: Nothing is known of it.
        """
        lots = command.lots or tracked.lots
        limit_ticks = command.limit_ticks or tracked.limit_ticks
        stop_ticks = command.stop_ticks or tracked.stop_ticks
        if lots <= tracked.all_filled_lots:
            await self._refuse(order, f"{tracked.all_filled_lots} lots are filled")
            return
        same_prices = (limit_ticks, stop_ticks) == (tracked.limit_ticks, tracked.stop_ticks)
        if same_prices and lots < tracked.lots and instrument.symbol in self._can_amend:
            await self._amend(order, tracked, instrument, lots)
            return
        params = to_order(order, instrument, lots=lots - tracked.all_filled_lots,
                          limit_ticks=limit_ticks, stop_ticks=stop_ticks)  # fmt: skip
        tracked.is_changing = True
        wanted = _Wanted(order, instrument, lots, limit_ticks, stop_ticks)
        try:
            if tracked.all_filled_lots or instrument.symbol not in self._can_replace:
                await self._send_anew(wanted, tracked)
            else:
                await self._cancel_replace(wanted, tracked, params)
        except (BinanceRefusal, NoAnswer) as error:
            if isinstance(error, NoAnswer) or error.is_unclear:
                tracked.is_doubtful = True  # an earlier doubt stays, whatever this one was told
            raise
        finally:
            tracked.is_changing = False

    async def _amend(
        self, order: OrderSubmitted, tracked: Tracked, instrument: Instrument, lots: int
    ) -> None:
        address = self._ours.ids.address(order.client_order_id, tracked.generation)
        wanted = lots - tracked.earlier_lots
        quantity = f"{instrument.lots_to_quantity(wanted):f}"
        asked = {"symbol": instrument.symbol, **address}
        params = asked | {"newQty": quantity}
        if "origClientOrderId" in address:  # it keeps its name
            params["newClientOrderId"] = address["origClientOrderId"]
        path = "order/amend/keepPriority"
        try:
            answer = await self._client.ask("PUT", path, params, signed=True, weight=4)
        except BinanceRefusal as refusal:
            if refusal.is_unclear or refusal.is_access:
                raise
            # An HTTP client may send a PUT twice where a connection breaks: did the first do it?
            state = await self._client.ask("GET", "order", asked, signed=True, weight=4)
            if to_lots(instrument, state["origQty"]) != wanted:
                raise
            answer = {"transactTime": state["updateTime"]}
        if tracked.lots == lots or tracked.ended.is_set():
            return  # the stream was faster
        tracked.lots = lots
        await self._tell_replaced(order, tracked, int(answer["transactTime"]))

    async def _cancel_replace(
        self, wanted: _Wanted, tracked: Tracked, params: dict[str, Any]
    ) -> None:
        order, ids = wanted.order, self._ours.ids
        generation = tracked.generation
        request = params | {
            "cancelReplaceMode": "STOP_ON_FAILURE",
            "cancelRestrictions": "ONLY_NEW",
            **ids.address(order.client_order_id, generation, "cancel"),
            "newClientOrderId": ids.to_wire(order.client_order_id, generation + 1),
        }
        try:
            answer = await self._client.ask(
                "POST", "order/cancelReplace", request, signed=True, orders=1
            )
        except BinanceRefusal as refusal:
            data = refusal.data if isinstance(refusal.data, dict) else {}
            if data.get("cancelResult") == "SUCCESS":
                reason = str((data.get("newOrderResponse") or {}).get("msg", refusal.message))
                await self._end(wanted, tracked, data["cancelResponse"], reason)
                return
            cancel = data.get("cancelResponse") or {}
            if is_restricted(str(cancel.get("msg", refusal.message))):
                await self._send_anew(wanted, tracked)
                return
            if cancel:
                raise BinanceRefusal(
                    refusal.status, int(cancel["code"]), str(cancel["msg"]), 0.0
                ) from None
            raise
        canceled, new = answer["cancelResponse"], answer["newOrderResponse"]
        await self._succeed(wanted, tracked, generation, canceled, new)

    async def _send_anew(self, wanted: _Wanted, tracked: Tracked) -> None:
        """Cancel, and order what is left."""
        order, instrument, ids = wanted.order, wanted.instrument, self._ours.ids
        generation = tracked.generation
        asked = {"symbol": instrument.symbol, **ids.address(order.client_order_id, generation)}
        canceled = await self._client.ask("DELETE", "order", asked, signed=True)
        filled = to_lots(instrument, canceled["executedQty"]) + tracked.earlier_lots
        if wanted.lots <= filled:
            await self._end(wanted, tracked, canceled, "nothing was left to send anew")
            return
        params = to_order(order, instrument, lots=wanted.lots - filled,
                          limit_ticks=wanted.limit_ticks, stop_ticks=wanted.stop_ticks)  # fmt: skip
        params["newClientOrderId"] = ids.to_wire(order.client_order_id, generation + 1)
        try:
            new = await self._client.ask("POST", "order", params, signed=True, orders=1)
        except BinanceRefusal as refusal:
            if refusal.is_unclear:
                raise
            await self._end(wanted, tracked, canceled, str(refusal))
            return
        await self._succeed(wanted, tracked, generation, canceled, new)

    async def _succeed(self, wanted: _Wanted, tracked: Tracked, generation: int,
                       canceled: dict[str, Any], new: dict[str, Any]) -> None:  # fmt: skip
        number = str(new["orderId"])
        self._ours.remember_name(
            wanted.instrument.symbol, number,
            self._ours.ids.to_wire(wanted.order.client_order_id, generation + 1),
        )  # fmt: skip
        if tracked.generation > generation or tracked.ended.is_set():
            return  # the stream was faster
        filled = to_lots(wanted.instrument, canceled["executedQty"])
        self._ours.succeed(tracked, generation + 1, number, filled)
        tracked.lots = wanted.lots
        tracked.limit_ticks, tracked.stop_ticks = wanted.limit_ticks, wanted.stop_ticks
        tracked.is_waiting = wanted.order.order_type.has_trigger
        await self._tell_replaced(wanted.order, tracked, int(new["transactTime"]))

    async def _tell_replaced(self, order: OrderSubmitted, tracked: Tracked, ms: int) -> None:
        await self._tell(
            VenueReport(
                kind=ReportKind.REPLACED, client_order_id=order.client_order_id,
                instrument=order.instrument, side=order.side, ts_venue=ms * NS_PER_MS,
                venue_order_id=tracked.venue_order_id, lots=tracked.lots,
                limit_ticks=tracked.limit_ticks, stop_ticks=tracked.stop_ticks,
                filled_lots=tracked.all_filled_lots,
            )
        )  # fmt: skip

    async def _end(self, wanted: _Wanted, tracked: Tracked, canceled: dict[str, Any],
                   reason: str) -> None:  # fmt: skip
        """The old order is canceled, and nothing has taken its place."""
        order = wanted.order
        filled = to_lots(wanted.instrument, canceled["executedQty"]) + tracked.earlier_lots
        self._ours.end(order.client_order_id)
        await self._tell(
            VenueReport(
                kind=ReportKind.CANCELED, client_order_id=order.client_order_id,
                instrument=order.instrument, side=order.side,
                venue_order_id=tracked.venue_order_id, filled_lots=filled,
                ts_venue=int(canceled.get("transactTime", 0)) * NS_PER_MS,
                reason=f"canceled to be changed, and not sent anew: {reason}",
            )
        )  # fmt: skip

    async def _refuse(self, order: OrderSubmitted, reason: str) -> None:
        await self._tell(
            VenueReport(
                kind=ReportKind.REPLACE_REJECTED, client_order_id=order.client_order_id,
                instrument=order.instrument, side=order.side, reason=reason,
                code=RejectCode.QUANTITY_BELOW_FILLED,
            )
        )  # fmt: skip


class _Wanted:
    """What an order shall become: lots in all, and prices."""

    def __init__(self, order: OrderSubmitted, instrument: Instrument, lots: int,
                 limit_ticks: int, stop_ticks: int) -> None:  # fmt: skip
        self.order = order
        self.instrument = instrument
        self.lots = lots
        self.limit_ticks = limit_ticks
        self.stop_ticks = stop_ticks
