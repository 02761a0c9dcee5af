"""A server on loopback that speaks TWS's socket protocol over a local exchange.

The handshake and login, contract details and market rules, historical bars and bars of five
seconds, orders with their statuses, executions and commissions, completed orders, positions,
account summaries and the clock. ib_async runs against it as it is.

*Does as IB*: any client id may be used once at a time, and only the one that gave an order may
change it; an order id that is used again changes the order; `orderRef` is taken any number of
times; a commission comes in its own message behind its fill; more than 50 messages a second are
refused.
*Ignores*: other kinds than stocks, attached orders and OCA groups, ticks and depth, market data of
longer bars than the replayed ones, the delay of the account's figures.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import InstrumentKind
from onetape.domain.market import Bar
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.runtime.local_venues.accounts import ExchangeRules
from onetape.runtime.local_venues.exchange import LocalExchange
from onetape.runtime.local_venues.faults import FaultKind, FaultSchedule
from onetape.runtime.local_venues.ibkr_connection import TwsConnection
from onetape.runtime.local_venues.ibkr_orders import OrderDesk
from onetape.runtime.local_venues.ibkr_questions import Questions
from onetape.runtime.local_venues.ibkr_wire import (
    SERVER_VERSION,
    Field,
    read_versions,
    show_error,
)
from onetape.runtime.local_venues.messages import MarketRow, OrderUpdate
from onetape.runtime.local_venues.replay import Player

RULES = ExchangeRules(can_short=True, leverage=2)
"""What Interactive Brokers does otherwise than other venues: Reg T margin of a US account."""

TWS_ACCOUNT = "DU1000001"
"""The code of the account; a paper account's begins with D."""

PIECE_S = 5
_START_API, _PLACE, _CANCEL = 71, 3, 4
_WINDOW_S = 1.0
_RATE_WORDS = "Max rate of messages per second has been exceeded:max=50 rec=51 (1)"
_PROCESSING = 322
_FARMS = (
    (2104, "Market data farm connection is OK:usfarm"),
    (2106, "HMDS data farm connection is OK:ushmds"),
    (2158, "Sec-def data farm connection is OK:secdefil"),
)  # fmt: skip


class IbkrServer:
    """One local TWS.

    Args:
        exchange: Accounts and matching, with the rules `RULES`.
        player: Of that exchange.
        account: The exchange's account.
        code: What TWS calls it.
        faults: What goes wrong; None: nothing.
        per_second: Messages of a client; more are refused.

    Attributes:
        port: Where it listens, once it has started.

    Raises:
        ConfigError: An instrument is no stock, or the rows are no bars of whole five seconds.
    """

    def __init__(
        self,
        exchange: LocalExchange,
        player: Player,
        *,
        account: str,
        code: str = TWS_ACCOUNT,
        faults: FaultSchedule | None = None,
        per_second: int = 50,
    ) -> None:
        for each in exchange.instruments.values():
            if each.kind is not InstrumentKind.EQUITY:
                raise ConfigError(
                    f"{each.id} is of kind {each.kind.value}, and the local Interactive Brokers "
                    "trades stocks", remedy="leave it out",
                )  # fmt: skip
        self._exchange = exchange
        self._player = player
        self._code = code
        self._faults = faults
        self._per_second = per_second
        self._connections: dict[int, TwsConnection] = {}
        self._all: dict[TwsConnection, asyncio.Task[None] | None] = {}
        self._orders = OrderDesk(exchange, account, code, self._find_client)
        self._questions = Questions(exchange, self._orders, account, code, self._skew_s)
        self._down_until_s = 0.0
        self._outage_rows = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        if faults is not None:
            exchange.split_fill = lambda lots: faults.split_fill(lots, exchange.now)
        exchange.listen(self._on_happening)
        player.barriers.append(self._drain)

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> int:
        """Serve; returns the port."""
        self._server = await asyncio.start_server(self._serve, host, port)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def close(self) -> None:
        """Stop serving; the exchange stays as it is."""
        self._exchange.forget(self._on_happening)
        self._player.barriers.remove(self._drain)
        if self._server is not None:
            self._server.close()
        served = [each for each in self._all.values() if each is not None]
        self._cut()
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, *served, return_exceptions=True)

    async def restart(self, down_s: float) -> None:
        """Drop all connections, and serve nobody for so long; the books stay."""
        self._down_until_s = asyncio.get_running_loop().time() + down_s
        self._cut()

    @property
    def clients(self) -> int:
        """Clients that are logged in."""
        return len(self._connections)

    def tell_all(self, code: int, words: str) -> None:
        """A message about the connection to IB, such as 1100 and 1102."""
        for each in self._connections.values():
            each.tell(show_error(-1, code, words))

    def _find_client(self, client_id: int) -> TwsConnection | None:
        return self._connections.get(client_id)

    def _skew_s(self) -> float:
        return self._faults.skew_s if self._faults else 0.0

    def _cut(self) -> None:
        for each in list(self._all):
            each.cut()

    async def _drain(self) -> None:
        """Returns when everything that was said has been sent."""
        for each in list(self._connections.values()):
            await each.drained()

    # What the exchange says.

    def _on_happening(self, happening: OrderUpdate | MarketRow) -> None:
        if isinstance(happening, MarketRow):
            self._on_row(happening)
        else:
            self._orders.on_update(happening)

    def _on_row(self, row: MarketRow) -> None:
        fault = self._faults.on_row(row.ts) if self._faults else None
        if fault is not None and fault.kind is FaultKind.RESTART:
            self._spawn(self.restart(fault.value))
        elif fault is not None and fault.kind is FaultKind.OUTAGE:
            self._outage_rows = int(fault.value)
        if self._outage_rows:
            self._outage_rows -= 1
            return
        if isinstance(row.event, Bar):
            symbol = row.event.instrument.rpartition(".")[0]
            pieces = show_pieces(row.event)
            for each in self._connections.values():
                for request, wanted in each.bars.items():
                    if wanted == symbol:
                        each.tell(*([50, 3, request, *piece] for piece in pieces))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Clients.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = TwsConnection(reader, writer, self._faults, lambda: self._exchange.now)
        if asyncio.get_running_loop().time() < self._down_until_s:
            connection.cut()
            return
        self._all[connection] = asyncio.current_task()
        sender = asyncio.create_task(connection.send())
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, ValueError):
                if await self._log_in(connection):
                    await self._listen(connection)
        finally:
            if self._connections.get(connection.client_id) is connection:
                del self._connections[connection.client_id]
            connection.cut()
            await sender
            self._all.pop(connection, None)

    async def _log_in(self, connection: TwsConnection) -> bool:
        """Handshake and login; False where the client can't be served."""
        if await connection.read_prefix(4) != b"API\0":
            return False
        lowest, highest = read_versions(await connection.read_body())
        if not lowest <= SERVER_VERSION <= highest:
            return False
        now_s = self._exchange.now // NS_PER_SECOND
        connection.answer([SERVER_VERSION, now_s])
        message = await connection.read()
        if int(message[0]) != _START_API:
            return False
        client_id = int(message[2])
        if client_id in self._connections:
            words = "Unable to connect as the client id is already in use. Retry with a unique one."
            connection.answer(show_error(-1, 326, words))
            await connection.finish()
            return False
        connection.client_id = client_id
        self._connections[client_id] = connection
        connection.answer(
            [15, 1, self._code], [9, 1, self._orders.next_id(client_id)],
            *(show_error(-1, code, words) for code, words in _FARMS),
        )  # fmt: skip
        return True

    async def _listen(self, connection: TwsConnection) -> None:
        """Requests of a client, one after the other, until it is gone."""
        sent_s: deque[float] = deque()
        while True:
            message = await connection.read()
            now_s = asyncio.get_running_loop().time()
            while sent_s and now_s - sent_s[0] >= _WINDOW_S:
                sent_s.popleft()
            sent_s.append(now_s)
            if len(sent_s) > self._per_second:
                connection.answer(show_error(-1, 100, _RATE_WORDS))
                await connection.finish()
                return
            self._player.sync()
            await self._handle(connection, message)

    async def _handle(self, connection: TwsConnection, message: list[str]) -> None:
        """One request, and what goes wrong with it."""
        kind = int(message[0])
        work = self._find_work(connection, message, kind)
        if work is None:
            return
        request = self._find_number(message, kind)
        if self._faults is None:
            work()
            return
        subject = f"message {kind}"
        fault = self._faults.on_request(subject, self._exchange.now, is_order=kind == _PLACE)
        if fault is not None:
            match fault.kind:
                case FaultKind.THROTTLE:
                    connection.answer(show_error(-1, 100, _RATE_WORDS))
                    return
                case FaultKind.UNAVAILABLE:
                    connection.answer(show_error(request, _PROCESSING, "Error processing request"))
                    return
                case FaultKind.REJECT:
                    words = "Order rejected - reason:it is refused"
                    connection.answer(show_error(request, 201, words))
                    return
                case _:
                    await asyncio.sleep(fault.value)
                    self._player.sync()
        mark = connection.mark()
        work()
        fault = self._faults.on_answer(subject, self._exchange.now)
        if fault is None:
            return
        match fault.kind:
            case FaultKind.LOST_ACK:
                connection.cut()
            case FaultKind.VAGUE_ACK:
                connection.take_back(mark)
                connection.answer(show_error(request, _PROCESSING, "Error processing request"))
            case _:
                await asyncio.sleep(fault.value)  # what comes behind it waits

    def _find_work(
        self, connection: TwsConnection, message: list[str], kind: int
    ) -> Callable[[], None] | None:
        """What a request wants to have done; None for what is not served."""
        if kind == _PLACE:
            return lambda: self._orders.place(connection, message)
        if kind == _CANCEL:
            return lambda: self._orders.cancel(connection, int(message[2]))
        return self._questions.find(connection, message, kind)

    @staticmethod
    def _find_number(message: list[str], kind: int) -> int:
        """The number of an order or request; -1 where it has none."""
        place = {_PLACE: 1, _CANCEL: 2, 20: 1, 81: 1, 9: 2, 7: 2, 50: 2, 62: 2}.get(kind)
        return int(message[place]) if place is not None else -1


def show_pieces(bar: Bar) -> list[list[Field]]:
    """Bars of five seconds (time, o, h, l, c, volume, average, count) that make up a bar.

    All that was traded is in the first one; the last one is its close, and those between are left
    out: nothing happened in them.
    """
    first, last = bar.ts_open // NS_PER_SECOND, bar.ts_close // NS_PER_SECOND - PIECE_S
    prices: list[Field] = [bar.open, bar.high, bar.low, bar.close, bar.volume]
    pieces: list[list[Field]] = [[first, *prices, bar.close, 1]]
    if last > first:
        close = bar.close
        pieces.append([last, close, close, close, close, 0.0, close, 0])
    return pieces
