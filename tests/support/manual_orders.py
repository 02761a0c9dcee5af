"""Somebody else who trades the account of a session: at the broker's screen, or with a program."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Protocol

from onetape.domain.instrument import Instrument
from onetape.domain.orders import OrderType, Side
from onetape.domain.venue import name_manual
from onetape.marketdata.feeds.binance_client import BinanceClient
from onetape.runtime.local_venues.alpaca_shapes import to_uuid
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.ibkr_shapes import PERM_ID_FIRST
from onetape.runtime.local_venues.messages import Changes, NewOrder, PlacedOrder, Refusal
from tests.support.alpaca_venue import ACCOUNT, KEY, SECRET, LocalAlpaca
from tests.support.binance_live import World, make_settings
from tests.support.ibkr_venue import LocalTws
from tests.support.local_venues import ME


class Hand(Protocol):
    """Gives, changes and cancels limit orders; orders are known by the exchange's number.

    `name` is the client order id that a session knows an order by, `account` the exchange's.
    """

    account: str

    async def place(self, instrument: Instrument, side: Side, lots: int, ticks: int) -> int: ...

    async def cancel(self, number: int) -> None: ...

    async def replace(self, number: int, lots: int, ticks: int) -> int: ...

    def name(self, order: PlacedOrder) -> str: ...

    async def close(self) -> None: ...


def name_at_alpaca(exchange: LocalExchange, order: PlacedOrder) -> str:
    """What a session calls an order that somebody gave at Alpaca: the first of its chain."""
    while order.replaces:
        before = exchange.find(ACCOUNT, number=order.replaces)
        assert before is not None
        order = before
    return name_manual(to_uuid(1, order.number))


def name_at_binance(order: PlacedOrder) -> str:
    """The same at Binance, where numbers are of a symbol."""
    return name_manual(f"{order.instrument.partition('.')[0]}:{order.number}")


def name_in_tws(order: PlacedOrder) -> str:
    """The same at IBKR: its permanent id."""
    return name_manual(str(PERM_ID_FIRST + order.number))


class AlpacaHand:
    """Alpaca's own client library, whose orders have client order ids that Alpaca makes up."""

    account = ACCOUNT

    def __init__(self, world: LocalAlpaca) -> None:
        with warnings.catch_warnings():  # it imports what websockets deprecates
            warnings.simplefilter("ignore", DeprecationWarning)
            from alpaca.trading.client import TradingClient

        self._client = TradingClient(KEY, SECRET, url_override=world.server.rest_url)
        self._exchange = world.exchange

    async def _ask(self, what: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.to_thread(what, *args)

    async def place(self, instrument: Instrument, side: Side, lots: int, ticks: int) -> int:
        from alpaca.trading.enums import OrderSide, TimeInForce
        from alpaca.trading.requests import LimitOrderRequest

        request = LimitOrderRequest(
            symbol=instrument.symbol, qty=float(instrument.lots_to_quantity(lots)),
            side=OrderSide.BUY if side is Side.BUY else OrderSide.SELL,
            time_in_force=TimeInForce.GTC, limit_price=float(instrument.ticks_to_price(ticks)),
        )  # fmt: skip
        return number_of((await self._ask(self._client.submit_order, request)).id)

    async def cancel(self, number: int) -> None:
        await self._ask(self._client.cancel_order_by_id, to_uuid(1, number))

    async def replace(self, number: int, lots: int, ticks: int) -> int:
        from alpaca.trading.requests import ReplaceOrderRequest

        order = self._exchange.find(self.account, number=number)
        assert order is not None
        instrument = next(
            each for each in self._exchange.instruments.values() if each.id == order.instrument
        )
        request = ReplaceOrderRequest(
            qty=int(instrument.lots_to_quantity(lots)),
            limit_price=float(instrument.ticks_to_price(ticks)),
        )  # fmt: skip
        changed = await self._ask(self._client.replace_order_by_id, to_uuid(1, number), request)
        return number_of(changed.id)

    def name(self, order: PlacedOrder) -> str:
        return name_at_alpaca(self._exchange, order)

    async def close(self) -> None:
        pass


def number_of(identity: Any) -> int:
    """The exchange's number in Alpaca's id."""
    return int(str(identity).rpartition("-")[2], 16)


class BinanceHand:
    """ccxt with a connection of its own. A change cancels, and gives an order of no relation."""

    account = ME

    def __init__(self, world: World) -> None:
        self._client = BinanceClient(make_settings(world.server))
        self._exchange = world.exchange

    def _fields(self, instrument: Instrument, side: Side, lots: int, ticks: int) -> dict[str, Any]:
        return {
            "symbol": instrument.symbol, "side": side.name, "type": "LIMIT", "timeInForce": "GTC",
            "quantity": f"{instrument.lots_to_quantity(lots):f}",
            "price": f"{instrument.ticks_to_price(ticks):f}",
        }  # fmt: skip

    async def place(self, instrument: Instrument, side: Side, lots: int, ticks: int) -> int:
        fields = self._fields(instrument, side, lots, ticks)
        return int((await self._client.ask("POST", "order", fields, signed=True))["orderId"])

    def _find(self, number: int) -> tuple[PlacedOrder, Instrument]:
        order = self._exchange.find(self.account, number=number)
        assert order is not None
        return order, next(
            each for each in self._exchange.instruments.values() if each.id == order.instrument
        )

    async def cancel(self, number: int) -> None:
        _, instrument = self._find(number)
        fields = {"symbol": instrument.symbol, "orderId": str(number)}
        await self._client.ask("DELETE", "order", fields, signed=True)

    async def replace(self, number: int, lots: int, ticks: int) -> int:
        order, instrument = self._find(number)
        fields = self._fields(instrument, order.side, lots, ticks) | {
            "cancelReplaceMode": "STOP_ON_FAILURE", "cancelOrderId": str(number),
        }  # fmt: skip
        answer = await self._client.ask("POST", "order/cancelReplace", fields, signed=True)
        return int(answer["newOrderResponse"]["orderId"])

    def name(self, order: PlacedOrder) -> str:
        return name_at_binance(order)

    async def close(self) -> None:
        await self._client.close()


class TwsHand:
    """Somebody at the screen of TWS."""

    account = ACCOUNT

    def __init__(self, world: LocalTws) -> None:
        self._exchange: LocalExchange = world.exchange
        self._given = 0

    async def place(self, instrument: Instrument, side: Side, lots: int, ticks: int) -> int:
        self._given += 1
        placed = self._exchange.submit(
            self.account,
            NewOrder(
                symbol=instrument.symbol, client_order_id=f"by hand {self._given}", side=side,
                order_type=OrderType.LIMIT, quantity=instrument.lots_to_quantity(lots),
                limit=instrument.ticks_to_price(ticks),
            ),
        )  # fmt: skip
        assert not isinstance(placed, Refusal), placed
        return placed.number

    async def cancel(self, number: int) -> None:
        assert not isinstance(self._exchange.cancel(self.account, number), Refusal)

    async def replace(self, number: int, lots: int, ticks: int) -> int:
        order = self._exchange.find(self.account, number=number)
        assert order is not None
        instrument = next(
            each for each in self._exchange.instruments.values() if each.id == order.instrument
        )
        answer = self._exchange.replace(
            self.account, number,
            Changes(quantity=instrument.lots_to_quantity(lots), limit=Decimal(
                instrument.ticks_to_price(ticks)), client_order_id=order.client_order_id),
        )  # fmt: skip
        assert not isinstance(answer, Refusal), answer
        return number

    def name(self, order: PlacedOrder) -> str:
        return name_in_tws(order)

    async def close(self) -> None:
        pass
