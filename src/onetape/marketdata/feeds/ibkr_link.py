"""One connection to TWS or IB Gateway: ib_async's client on the wire, and our reading of it.

ib_async's `Client` makes the connection, the handshake, the messages and their decoding, and keeps
to the rate. Its `IB` class is not used: it guesses that orders have ended, and it goes on where a
handler failed. Here every message reaches whoever waits for it, and what can't be read ends the
connection, so that what was missed is asked for.

Source: Interactive Brokers, "TWS API": Connection, Message codes, Pacing limitations.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from onetape.domain.errors import ConfigError
from onetape.marketdata.feeds.backoff import Backoff
from onetape.marketdata.sources.extras import needs_extra

if TYPE_CHECKING:
    from ib_async.client import Client
    from ib_async.contract import Contract, ContractDetails
    from ib_async.objects import BarData, CommissionReport, Execution, PriceIncrement
    from ib_async.order import Order, OrderState

logging.getLogger("ib_async").addHandler(logging.NullHandler())

PAPER_PORTS = {7497: "TWS", 4002: "IB Gateway"}
LIVE_PORTS = {7496: "TWS", 4001: "IB Gateway"}
CLIENT_ID_TAKEN = 326
NO_SECURITY = 200
NO_HISTORY = 162
_NOT_CONNECTED = (502, 504)
_PASSING = frozenset({322})
"""Codes behind which a question may be asked again."""
_ATTEMPTS = 3
_LOGINS = 6
"""So often a client id is asked for that TWS may have of a connection of ours: half a minute."""


class TwsAccess(msgspec.Struct, frozen=True, kw_only=True):
    """How TWS or IB Gateway is reached. It is logged in already: there are no keys.

    Attributes:
        host: Where it runs.
        port: Its socket: 7497 (TWS) and 4002 (IB Gateway) are paper's, 7496 and 4001 live's.
        client_id: Of this connection; no other one may have it, and only the one that gave an order
            may change it. 0 may change what was given in TWS itself.
        account: Code of the account; empty: the only one of the login.
        is_paper: Whether orders go to a paper account, whose codes begin with D.
        answer_s: Without an answer for so long there is none.
        settle_s: A command of a connection that broke may still be carried out for so long.
        fee_wait_s: A fill waits so long for its commission before it is asked for.
        skew_s_max: Clocks further apart are refused; None: not looked at.
        first_wait_s: Before the first attempt to connect again.
        longest_wait_s: Before any attempt.
        silence_s: So long without a bar while a market is open means that the feed is down.
        late_s: A bar whose last seconds never came is over so long behind its end.
        per_second: Messages; TWS takes 50, and closes the connection of whoever sends more.
        history_requests: In ten minutes; TWS takes 60.
        seed: Of the waits' part that is left to chance.
    """

    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 1
    account: str = ""
    is_paper: bool = True
    answer_s: float = 10.0
    settle_s: float = 5.0
    fee_wait_s: float = 2.0
    skew_s_max: float | None = 5.0
    first_wait_s: float = 1.0
    longest_wait_s: float = 30.0
    silence_s: float = 60.0
    late_s: float = 10.0
    per_second: int = 45
    history_requests: int = 60
    seed: int = 0

    @property
    def is_of_tws(self) -> bool:
        """Whether orders that are given in TWS itself can be bound to this connection."""
        return self.client_id == 0

    @property
    def address(self) -> str:
        """For people."""
        return f"{self.host}:{self.port}"


class TwsRefusal(Exception):
    """TWS refuses a request, by its code and words."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message.strip()} ({code})")
        self.code = code
        self.message = message.strip()


class TwsGone(Exception):
    """The connection is gone, or no answer came in time: nothing is known of what was asked."""


class OrderStanding(NamedTuple):
    """An `orderStatus`; `perm_id` is 0 until IB has given one."""

    order_id: int
    status: str
    filled: float
    perm_id: int
    client_id: int

    @property
    def key(self) -> tuple[int, int]:
        """Which order it is of."""
        return order_key(self.perm_id, self.client_id, self.order_id)


def order_key(perm_id: int, client_id: int, order_id: int) -> tuple[int, int]:
    """What tells orders of all clients from each other."""
    return (perm_id, 0) if perm_id else (-1 - client_id, order_id)


class TwsSilent(TwsGone):
    """No answer came in time, though the connection stands."""


class TwsListener:
    """What comes without being asked for, in the order of the wire; nothing happens by default.

    It is called in the middle of reading, so it only takes notes.
    """

    def on_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        """An order as it stands."""

    def on_status(self, standing: OrderStanding) -> None:
        """The status of an order."""

    def on_execution(self, contract: Contract, execution: Execution) -> None:
        """A fill, whose commission follows."""

    def on_commission(self, report: CommissionReport) -> None:
        """What a fill cost."""

    def on_bar(self, request: int, ts_s: int, values: tuple[float, ...]) -> None:
        """Five seconds that begin at `ts_s` (s UTC): open, high, low, close, volume."""

    def on_error(self, request: int, code: int, message: str) -> None:
        """An error of an order or subscription, or (-1) of the connection."""

    def on_closed(self, reason: str) -> None:
        """The connection has ended."""


class _Asked:
    """A request that waits for its end."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self.done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(self.items)

    def fail(self, error: Exception) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class TwsLink:
    """Connects when it is told to, asks, and tells what comes by itself.

    Args:
        access: Where.
        listener: Told what comes by itself.

    Attributes:
        client: ib_async's, for messages that have no answer of their own.
        accounts: Codes of the accounts of the login.
        has_been_up: Whether there was a connection.

    Raises:
        ConfigError: ib_async is not installed.
    """

    def __init__(self, access: TwsAccess, listener: TwsListener) -> None:
        with needs_extra("live", "ibkr"):
            from ib_async.client import Client
        self._access = access
        self.listener = listener
        self.accounts: list[str] = []
        self._asked: dict[int | str, _Asked] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._highest_id = 0
        self._is_up = self.has_been_up = False
        self._may_be_there = False
        self._ended: asyncio.Future[None] | None = None
        self._reason = ""
        self.client: Client = Client(_Wrapper(self))
        self.client.MaxRequests = access.per_second
        # What its decoder can't read it only logs: nobody would miss the message.
        logger = logging.Logger("ib_async.decoder")
        logger.addHandler(_Doubts(self))
        self.client.decoder.logger = logger

    @property
    def is_up(self) -> bool:
        """Whether requests can be sent."""
        return self._is_up

    async def connect(self) -> None:
        """Connect and log in, once.

        Behind a connection of ours that was lost or given up the client id is asked for again: TWS
        may not have noticed yet that it has ended.

        Raises:
            TwsRefusal: Somebody has the client id.
            TwsGone: Nobody answers there.
        """
        waits = Backoff(self._access.first_wait_s, self._access.longest_wait_s, self._access.seed)
        for attempt in range(1, _LOGINS + 1):
            try:
                await self._log_in()
                return
            except TwsRefusal:
                if attempt == _LOGINS or not self._may_be_there:
                    raise
                await asyncio.sleep(waits.next_wait())

    async def _log_in(self) -> None:
        if self._is_up:
            return
        self._reason = ""
        ended = self._ended = asyncio.get_running_loop().create_future()
        access = self._access
        connecting = asyncio.create_task(
            self.client.connectAsync(access.host, access.port, access.client_id, access.answer_s)
        )
        try:
            await asyncio.wait({connecting, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not connecting.done():
                connecting.cancel()
                await asyncio.gather(connecting, return_exceptions=True)
        error = None if connecting.cancelled() else connecting.exception()
        if connecting.cancelled() or error is not None or not self.client.isReady():
            self._may_be_there |= isinstance(error, TimeoutError)
            await self._cut()
            if self._reason.endswith(f"({CLIENT_ID_TAKEN})"):
                raise TwsRefusal(CLIENT_ID_TAKEN, f"client id {access.client_id} is in use")
            said = self._reason or (str(error) or type(error).__name__ if error else "it closed")
            raise TwsGone(f"{access.address}: {said}")
        # An id that was given once is given to no other order: TWS may not have seen the first.
        self.client.updateReqId(self._highest_id + 1)
        self.accounts = self.client.getAccounts()
        self._is_up = self.has_been_up = self._may_be_there = True

    def next_id(self) -> int:
        """A number for an order or request that none had before.

        Raises:
            TwsGone: There is no connection.
        """
        if not self._is_up:
            raise TwsGone("not connected")
        self._highest_id = self.client.getReqId()
        return self._highest_id

    async def ask(self, send: Callable[[int], None]) -> list[Any]:
        """Ask a question under a number, again where it was not answered; all of the answer.

        Raises:
            TwsRefusal: TWS refuses it.
            TwsGone: No answer came.
        """

        async def once() -> list[Any]:
            number = self.next_id()
            return await self._wait(number, lambda: send(number))

        return await self._insist(once)

    async def ask_named(self, name: str, send: Callable[[], None]) -> list[Any]:
        """The same for one without a number, of which one at a time is under way."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            return await self._insist(lambda: self._wait(name, send))

    async def _insist(self, once: Callable[[], Awaitable[list[Any]]]) -> list[Any]:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await once()
            except TwsSilent:
                if attempt == _ATTEMPTS:
                    raise
            except TwsRefusal as refusal:
                if refusal.code not in _PASSING or attempt == _ATTEMPTS:
                    raise
                await asyncio.sleep(self._access.first_wait_s / 10)
        raise TwsGone("not asked")

    async def _wait(self, key: int | str, send: Callable[[], None]) -> list[Any]:
        if not self._is_up:
            raise TwsGone("not connected")
        asked = self._asked[key] = _Asked()
        try:
            send()
            async with asyncio.timeout(self._access.answer_s):
                return await asked.done
        except TimeoutError:
            raise TwsSilent(f"no answer in {self._access.answer_s:g} s") from None
        except ConnectionError as error:
            raise TwsGone(str(error)) from None
        finally:
            del self._asked[key]

    def drop(self, reason: str) -> None:
        """End the connection, because what comes over it can't be trusted."""
        self._reason = reason
        self.client.disconnect()

    async def close(self) -> None:
        """End it, and wait until it has ended."""
        if self._ended is not None:
            await self._cut()

    async def _cut(self) -> None:
        self._is_up = False
        self.client.disconnect()
        for _ in range(100):  # its transport closes in one of the next rounds of the loop
            if not self.client.conn.isConnected():
                return
            await asyncio.sleep(0)

    # What `_Wrapper` hears.

    def hear_item(self, key: int | str, item: Any) -> bool:
        """A part of an answer; False where nobody has asked for it."""
        asked = self._asked.get(key)
        if asked is not None:
            asked.items.append(item)
        return asked is not None

    def hear_end(self, key: int | str) -> None:
        """The answer is whole."""
        asked = self._asked.get(key)
        if asked is not None:
            asked.end()

    def hear_error(self, request: int, code: int, message: str) -> None:
        """An error, or a message about the connection."""
        if code == CLIENT_ID_TAKEN or code in _NOT_CONNECTED:
            self._reason = str(TwsRefusal(code, message))
        asked = self._asked.get(request)
        if asked is None:
            self.listener.on_error(request, code, message)
        elif not is_notice(code):
            asked.fail(TwsRefusal(code, message))

    def hear_closed(self) -> None:
        """The connection has ended."""
        reason = self._reason or "the connection ended"
        was_up, self._is_up = self._is_up, False
        for each in self._asked.values():
            each.fail(TwsGone(reason))
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if was_up:
            self._reason = ""
            self.listener.on_closed(reason)


def is_notice(code: int) -> bool:
    """Whether a message code only informs."""
    return 2100 <= code < 2200


def explain_taken(access: TwsAccess, where: str) -> ConfigError:
    """The client id is in use; `where` it is configured."""
    return ConfigError(
        f"TWS at {access.address} has a client {access.client_id} already: another program, or a "
        "connection before this one that it has not given up",
        where=where, remedy="give another number, or end the other one",
    )  # fmt: skip


def check_account(access: TwsAccess, accounts: list[str]) -> str:
    """The account to trade in.

    Raises:
        ConfigError: It is not there, it is not said which, or it is of the other endpoint.
    """
    where = "execution.connection.account"
    listed = ", ".join(accounts)
    if access.account and access.account not in accounts:
        raise ConfigError(f"TWS has no account {access.account!r}", where=where,
                          remedy=f"it has {listed}")  # fmt: skip
    if not access.account and len(accounts) != 1:
        raise ConfigError(f"TWS has {len(accounts)} accounts", where=where,
                          remedy=f"say which of {listed}")  # fmt: skip
    account = access.account or accounts[0]
    if account.startswith("D") != access.is_paper:
        what = "real money" if access.is_paper else "a paper account"
        raise ConfigError(
            f"{account} at {access.address} is {what}, and the endpoint is "
            f"{'paper' if access.is_paper else 'live'}",
            where="execution.connection.endpoint",
            remedy="log TWS in to the other account, or name its port and endpoint",
        )
    return account


class _Doubts(logging.Handler):
    """Hears what ib_async's decoder could not handle."""

    def __init__(self, link: TwsLink) -> None:
        super().__init__(logging.ERROR)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        """A message was lost: the connection ends."""
        why = record.exc_info[1] if record.exc_info else ""
        self._link.drop(f"a message of TWS can't be read: {type(why).__name__} {why}".rstrip())


class _Wrapper:
    """What ib_async's decoder calls, by the names of IB's `EWrapper`."""

    TimezoneTWS = ""
    defaultTimezone = UTC  # noqa: N815

    def __init__(self, link: TwsLink) -> None:
        self._link = link
        self.ib = self

    def connectAck(self) -> None:  # noqa: N802
        """The handshake is over; the login follows."""

    def setEventsDone(self) -> None:  # noqa: N802
        """The socket has closed, in whatever state."""
        self._link.hear_closed()

    def connectionClosed(self) -> None:  # noqa: N802
        """The same behind a login."""

    def error(self, reqId: int, errorCode: int, errorString: str, _: str) -> None:  # noqa: N803
        """An error or notice."""
        self._link.hear_error(reqId, errorCode, errorString)

    def contractDetails(self, reqId: int, details: ContractDetails) -> None:  # noqa: N802, N803
        """A contract that fits."""
        self._link.hear_item(reqId, details)

    def contractDetailsEnd(self, reqId: int) -> None:  # noqa: N802, N803
        """All of them."""
        self._link.hear_end(reqId)

    def symbolSamples(self, reqId: int, found: list[Any]) -> None:  # noqa: N802, N803
        """Contracts with a name like the one asked for."""
        for each in found:
            self._link.hear_item(reqId, each)
        self._link.hear_end(reqId)

    def marketRule(self, ruleId: int, steps: list[PriceIncrement]) -> None:  # noqa: N802, N803
        """Steps of prices."""
        for each in steps:
            self._link.hear_item(f"rule {ruleId}", each)
        self._link.hear_end(f"rule {ruleId}")

    def historicalData(self, reqId: int, bar: BarData) -> None:  # noqa: N802, N803
        """A bar."""
        self._link.hear_item(reqId, bar)

    def historicalDataEnd(self, reqId: int, _start: str, _end: str) -> None:  # noqa: N802, N803
        """All of them."""
        self._link.hear_end(reqId)

    def currentTime(self, seconds: int) -> None:  # noqa: N802
        """TWS's clock."""
        self._link.hear_item("time", seconds)
        self._link.hear_end("time")

    def position(self, account: str, contract: Contract, size: float, _cost: float) -> None:
        """What an account holds of a contract."""
        self._link.hear_item("positions", (account, contract, size))

    def positionEnd(self) -> None:  # noqa: N802
        """All of them."""
        self._link.hear_end("positions")

    def accountSummary(  # noqa: N802
        self, reqId: int, account: str, tag: str, value: str, currency: str,  # noqa: N803
    ) -> None:  # fmt: skip
        """A figure of an account."""
        self._link.hear_item(reqId, (account, tag, value, currency))

    def accountSummaryEnd(self, reqId: int) -> None:  # noqa: N802, N803
        """All of them."""
        self._link.hear_end(reqId)

    def openOrder(  # noqa: N802
        self, _id: int, contract: Contract, order: Order, state: OrderState
    ) -> None:
        """An open order, asked for or not."""
        self._link.hear_item("orders", (contract, order, state))
        self._link.listener.on_order(contract, order, state)

    def openOrderEnd(self) -> None:  # noqa: N802
        """All of them."""
        self._link.hear_end("orders")

    def orderStatus(  # noqa: N802
        self, orderId: int, status: str, filled: float, _remaining: float, _price: float,  # noqa: N803
        permId: int, _parent: int, _last: float, clientId: int, *_: Any,  # noqa: N803
    ) -> None:  # fmt: skip
        """How far an order is."""
        standing = OrderStanding(orderId, status, filled, permId, clientId)
        self._link.hear_item("orders", standing)
        self._link.listener.on_status(standing)

    def completedOrder(self, contract: Contract, order: Order, state: OrderState) -> None:  # noqa: N802
        """An order of today that has ended."""
        self._link.hear_item("completed", (contract, order, state))

    def completedOrdersEnd(self) -> None:  # noqa: N802
        """All of them."""
        self._link.hear_end("completed")

    def execDetails(self, reqId: int, contract: Contract, execution: Execution) -> None:  # noqa: N802, N803
        """A fill: a part of an answer, or of this moment."""
        if not self._link.hear_item(reqId, (contract, execution)) and reqId < 0:
            self._link.listener.on_execution(contract, execution)

    def execDetailsEnd(self, reqId: int) -> None:  # noqa: N802, N803
        """All of them."""
        self._link.hear_end(reqId)

    def commissionReport(self, report: CommissionReport) -> None:  # noqa: N802
        """What a fill cost."""
        self._link.listener.on_commission(report)

    def realtimeBar(  # noqa: N802
        self, reqId: int, time: int, opened: float, high: float, low: float, close: float,  # noqa: N803
        volume: float, *_: Any,
    ) -> None:  # fmt: skip
        """Five seconds."""
        self._link.listener.on_bar(reqId, time, (opened, high, low, close, volume))
