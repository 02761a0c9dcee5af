"""Interactive Brokers behind the port of a venue."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from onetape.domain.errors import ConfigError, VenueUnavailable
from onetape.domain.events import OrderCancelPending, OrderReplacePending, OrderSubmitted
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.orders import RejectCode
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.domain.venue import (
    ConnectionChanged,
    ConnectionPart,
    ReportKind,
    VenueReport,
    VenueSnapshot,
    find_manual,
)
from onetape.execution.gateway import Capabilities, Hear, Heard
from onetape.execution.ibkr.looking import Looker
from onetape.execution.ibkr.tracking import OrdersAtIb, Tracked
from onetape.execution.ibkr.translation import (
    CANCELED,
    CAPABILITIES,
    NOT_CANCELABLE,
    NOT_THERE,
    REFUSALS,
    REJECTED,
    change_order,
    find_problem,
    get_fields,
    to_order,
    to_reject_code,
)
from onetape.marketdata.feeds.backoff import Backoff
from onetape.marketdata.feeds.ibkr_contracts import (
    by_contract,
    find_details,
    read_instrument,
)
from onetape.marketdata.feeds.ibkr_link import (
    CLIENT_ID_TAKEN,
    OrderStanding,
    TwsAccess,
    TwsGone,
    TwsLink,
    TwsListener,
    TwsRefusal,
    TwsSilent,
    check_account,
    explain_taken,
)

if TYPE_CHECKING:
    from ib_async.contract import Contract
    from ib_async.objects import CommissionReport, Execution
    from ib_async.order import Order, OrderState

_LOST = frozenset({1100, 2110})
_BACK = frozenset({1101, 1102})
_Answer = TypeVar("_Answer")
_ATTEMPTS = 3
_FEE_ATTEMPTS = 3
_SENDING_LIMIT_S = 3_600.0
"""An order's last command is remembered for so long."""


class IbkrGateway(TwsListener):
    """One account at Interactive Brokers; see `VenueGateway`.

    TWS is asked, and it asks IB: "down" is either connection. Orders are IB's under `orderRef`, our
    client order id, which IB takes any number of times. So an order is sent once, and only where no
    order of today has its `orderRef`; what was not answered is asked for by `look`.

    A fill waits for its commission, which comes in its own message a moment later; one that does
    not come is asked for, and after that the fill is told without. A correction of an execution is
    told as a connection that is up again, so that the session asks for the truth by `look`.

    Args:
        access: The account, and a client id that no other connection has. It must stay the same:
            IB lets only the client id that gave an order change it.
        clock: Ours, ns UTC.

    Raises:
        ConfigError: ib_async is not installed.
    """

    name = "IBKR"
    capabilities: Capabilities = CAPABILITIES

    def __init__(self, access: TwsAccess, clock: Callable[[], int]) -> None:
        self._access = access
        self._clock = clock
        self._link = TwsLink(access, self)
        self._waits = Backoff(access.first_wait_s, access.longest_wait_s, access.seed)
        self._orders = OrdersAtIb({}, access.client_id, clock, self._tell)
        self._by_id: dict[InstrumentId, Instrument] = {}
        self._contracts: dict[InstrumentId, Contract] = {}
        self._sent_at_s: dict[str, float] = {}
        self._account = ""
        self._looker: Looker | None = None
        self._hear: Hear | None = None
        self._queue: asyncio.Queue[Heard] = asyncio.Queue()
        self._closed = asyncio.Event()
        self._reason = ""
        self._is_up: bool | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def define(self, instruments: Sequence[InstrumentId]) -> tuple[Instrument, ...]:
        """What IB says of instruments; see the port."""

        async def ask() -> tuple[Instrument, ...]:
            return tuple([await read_instrument(self._link, each) for each in instruments])

        return await self._insist(ask)

    async def open(self, instruments: Sequence[Instrument], hear: Hear) -> None:
        """Log in, check account and clock, and listen; see the port."""
        self._by_id = {each.id: each for each in instruments}
        known = by_contract(instruments)
        self._orders = OrdersAtIb(known, self._access.client_id, self._clock, self._tell)
        self._hear = hear

        async def ask() -> Looker:
            for each in instruments:
                contract: Any = (await find_details(self._link, each.id)).contract
                contract.exchange = "SMART"
                self._contracts[each.id] = contract
            looker = Looker(self._link, self._access, self._account, self._orders, known)
            await self._check_clock(looker)
            await self._learn(looker)
            return looker

        self._looker = await self._insist(ask)
        self._spawn(self._pass_on())
        self._spawn(self._keep_up())
        self._tell_change(is_up=True, reason="logged in, reports are heard")

    async def _insist(self, ask: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """An answer at the beginning; what was lost on its way is asked again."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._connect()
                return await ask()
            except TwsRefusal as refusal:
                raise self._explain(refusal) from None
            except TwsGone as gone:
                was_lost = self._link.has_been_up and not self._link.is_up
                if attempt == _ATTEMPTS or not was_lost:
                    raise self._explain(gone) from None
                await asyncio.sleep(self._waits.next_wait())
        raise VenueUnavailable("IB was not asked")

    async def _connect(self) -> None:
        self._closed.clear()
        await self._link.connect()
        if self._access.is_of_tws:
            self._link.client.reqAutoOpenOrders(True)
        self._account = check_account(self._access, self._link.accounts)

    async def _check_clock(self, looker: Looker) -> None:
        limit = self._access.skew_s_max
        if limit is None:
            return
        skew = (await looker.read_clock() - self._clock()) / NS_PER_SECOND
        if abs(skew) > limit + 1:  # IB tells whole seconds
            raise VenueUnavailable(
                f"TWS's clock is {skew:+,.1f} s from ours, more than {limit:g} s",
                remedy="set this machine's clock",
            )

    async def _learn(self, looker: Looker) -> None:
        """The names of today's orders: what is there already is not sent again."""
        await looker.list_open()
        for each in await looker.list_ended():
            tracked = self._orders.know(each.contract, each.order)
            if tracked is not None:
                tracked.is_ended = tracked.is_told = True

    async def submit(self, order: OrderSubmitted) -> None:
        """Send a new order; see the port. One that is there already is not sent twice."""
        instrument = self._by_id[order.instrument]
        problem = find_problem(order, instrument)
        if problem:
            self._say(ReportKind.REJECTED, order, reason=problem)
            return
        known = self._orders.find(order.client_order_id)
        if known is not None:  # an earlier sending had arrived
            known.submitted = order
            self._tell(self._orders.make_report(ReportKind.ACCEPTED, known))
            self._tell_look("an order was there already")
            return
        try:
            tracked = self._orders.submit(order, instrument, self._link.next_id())
        except TwsGone as gone:
            self._say(ReportKind.UNANSWERED, order, reason=f"submit: {gone}")
            return
        wire = to_order(
            order, instrument, self._account, lots=order.lots, limit_ticks=order.limit_ticks,
            stop_ticks=order.stop_ticks,
        )  # fmt: skip
        try:
            await self._place(tracked, "submit", self._contracts[order.instrument], wire)
        except TwsRefusal as refusal:
            code = to_reject_code(refusal.code, refusal.message)
            self._orders.end(tracked, ReportKind.REJECTED, reason=f"IB: {refusal}", code=code)
        except TwsGone as gone:
            self._say(ReportKind.UNANSWERED, order, reason=f"submit: {gone}")

    async def cancel(self, command: OrderCancelPending, order: OrderSubmitted) -> None:
        """Cancel an order; see the port."""
        self._remember_sending(order.client_order_id)
        try:
            tracked = await self._follow(order, ReportKind.CANCEL_REJECTED)
            if tracked is None:
                return
            tracked.begin("cancel")
            client, order_id = self._link.client, tracked.order_id
            await self._command(tracked, lambda: client.cancelOrder(order_id))
        except TwsRefusal as refusal:
            code = to_reject_code(refusal.code, refusal.message)
            self._say(ReportKind.CANCEL_REJECTED, order, code=code, reason=f"IB: {refusal}")
        except TwsGone as gone:
            self._say(ReportKind.UNANSWERED, order, reason=f"cancel: {gone}")

    async def replace(self, command: OrderReplacePending, order: OrderSubmitted) -> None:
        """Change an order in its place; see the port."""
        try:
            tracked = await self._follow(order, ReportKind.REPLACE_REJECTED)
            if tracked is None:
                return
            lots = command.lots or tracked.lots
            limit = command.limit_ticks or tracked.limit_ticks
            stop = command.stop_ticks or tracked.stop_ticks
            if lots <= tracked.filled_lots:
                self._say(ReportKind.REPLACE_REJECTED, order,
                          code=RejectCode.QUANTITY_BELOW_FILLED,
                          reason=f"{tracked.filled_lots} lots are filled")  # fmt: skip
                return
            if find_manual(order.client_order_id):  # it has what no order of ours has
                standing = await self._find_open(tracked)
                if standing is None:
                    self._say(ReportKind.REPLACE_REJECTED, order, code=RejectCode.ORDER_CLOSED,
                              reason="it is closed")  # fmt: skip
                    return
                wire = change_order(standing, order.order_type, tracked.instrument, lots=lots,
                                    limit_ticks=limit, stop_ticks=stop)  # fmt: skip
            else:
                wire = to_order(order, tracked.instrument, self._account, lots=lots,
                                limit_ticks=limit, stop_ticks=stop)  # fmt: skip
            tracked.wanted = (lots, limit, stop)
            try:
                contract = self._contracts[order.instrument]
                await self._place(tracked, "replace", contract, wire)
            except TwsRefusal as refusal:
                await self._settle_replace(order, tracked, refusal)
        except TwsGone as gone:
            self._say(ReportKind.UNANSWERED, order, reason=f"replace: {gone}")

    async def _settle_replace(
        self, order: OrderSubmitted, tracked: Tracked, refusal: TwsRefusal
    ) -> None:
        """A change was refused, and IB does not say by that whether the order stands.

        Raises:
            TwsGone: IB does not answer.
        """
        code = to_reject_code(refusal.code, refusal.message)
        reason = f"IB: {refusal}"
        wanted, tracked.wanted = tracked.wanted, None
        standing = await self._find_open(tracked)
        if standing is None:
            code = RejectCode.ORDER_CLOSED
        elif get_fields(standing, tracked.order_type, tracked.instrument) == wanted:
            return  # it was changed all the same, and that was told when the order was read
        self._say(ReportKind.REPLACE_REJECTED, order, code=code, reason=reason)

    async def _follow(self, order: OrderSubmitted, refused: ReportKind) -> Tracked | None:
        """The order as far as it can be changed, else the refusal is told.

        Raises:
            TwsGone: IB does not answer.
        """
        tracked = self._orders.find(order.client_order_id)
        if tracked is not None and tracked.is_ended:
            self._say(refused, order, code=RejectCode.ORDER_CLOSED, reason="it is closed")
            return None
        if tracked is None or not tracked.order_id:
            await self._find_open(tracked)
            tracked = self._orders.find(order.client_order_id)
        if tracked is None or not tracked.order_id:
            self._say(refused, order, code=RejectCode.UNKNOWN_ORDER,
                      reason="IB has no such open order")  # fmt: skip
            return None
        tracked.submitted = order
        if tracked.client_id != self._access.client_id:
            self._say(
                refused, order,
                reason=f"client id {tracked.client_id} gave it, and this is "
                f"{self._access.client_id}: cancel it in TWS",
            )  # fmt: skip
            return None
        return tracked

    async def _find_open(self, tracked: Tracked | None) -> Order | None:
        """An order among those that are open; reading them brings what is known up to date.

        Raises:
            TwsGone: IB does not answer.
        """
        if self._looker is None:
            raise TwsGone("not connected")
        try:
            listed = await self._looker.list_open()
        except TwsRefusal as refusal:
            raise TwsGone(f"IB does not tell its orders: {refusal}") from None
        return next(
            (each.order for each in listed
             if tracked is not None and self._orders.know(each.contract, each.order) is tracked),
            None,
        )  # fmt: skip

    async def _place(self, tracked: Tracked, what: str, contract: Contract, wire: Order) -> None:
        """Send an order or its change, and wait for the answer.

        Raises:
            TwsRefusal: It is refused.
            TwsGone: Nothing is known of it.
        """
        self._remember_sending(tracked.reference)
        tracked.begin(what)
        client, order_id = self._link.client, tracked.order_id

        def send() -> None:
            client.placeOrder(order_id, contract, wire)

        await self._command(tracked, send)

    async def _command(self, tracked: Tracked, send: Callable[[], None]) -> None:
        answer = tracked.answer
        if answer is None:
            raise TwsGone("nothing was begun")
        try:
            if not self._link.is_up:
                raise TwsGone("not connected")
            send()
            async with asyncio.timeout(self._access.answer_s):
                await answer
        except TimeoutError:
            raise TwsGone(f"no answer in {self._access.answer_s:g} s") from None
        except ConnectionError as error:
            raise TwsGone(str(error)) from None
        finally:
            if tracked.answer is answer:
                tracked.command, tracked.answer = "", None

    async def look(
        self, reason: str, orders: Sequence[OrderSubmitted], since: int
    ) -> VenueSnapshot:
        """Ask for everything; see the port."""
        if self._looker is None:
            raise VenueUnavailable("IB is not connected")
        try:
            snapshot = await self._looker.look(self.name, reason, orders, since)
            missing = [each.client_order_id for each in snapshot.reports
                       if each.kind is ReportKind.NOT_FOUND]  # fmt: skip
            wait_s = max((self._settles_in(each) for each in missing), default=0.0)
            if wait_s > 0:  # "no such order" is believed when nothing sent can be on its way
                await asyncio.sleep(wait_s)
                snapshot = await self._looker.look(self.name, reason, orders, since)
        except TwsRefusal as refusal:
            raise VenueUnavailable(f"IB does not tell the account: {refusal}") from None
        except TwsGone as gone:
            raise VenueUnavailable(f"IB can't be reached: {gone}") from None
        return snapshot

    async def close(self) -> None:
        """Stop listening; orders stay."""
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._link.close()

    # The connection.

    async def _keep_up(self) -> None:
        """Connects again whenever the connection has ended."""
        while True:
            await self._closed.wait()
            for each in self._orders.under_way():
                each.finish(TwsGone(self._reason))
            self._tell_change(is_up=False, reason=self._reason)
            told = ""
            while not self._link.is_up:
                await asyncio.sleep(self._waits.next_wait())
                try:
                    await self._connect()
                except (TwsRefusal, TwsGone, ConfigError) as error:
                    await self._link.close()
                    problem = self._explain(error)
                    if isinstance(problem, ConfigError) and str(problem) != told:
                        told = str(problem)  # that it is down is known, that a person must act not
                        self._note_change(is_up=False, reason=told)
            self._waits.reset()
            self._tell_change(is_up=True, reason="connected again, reports are heard")

    async def _pass_on(self) -> None:
        """What was noted while reading, to the session; waits while that is behind."""
        while True:
            heard = await self._queue.get()
            if self._hear is not None:
                await self._hear(heard)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="ibkr-gateway")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What TWS says by itself.

    def on_order(self, contract: Contract, order: Order, state: OrderState) -> None:
        """See `TwsListener`."""
        self._orders.read_order(contract, order, state.status)

    def on_status(self, standing: OrderStanding) -> None:
        """See `TwsListener`."""
        self._orders.read_status(standing)

    def on_execution(self, contract: Contract, execution: Execution) -> None:
        """See `TwsListener`."""
        try:
            base = self._orders.read_execution(contract, execution)
        except LookupError as correction:
            self._tell_look(str(correction.args[0]))
            return
        if base:
            self._spawn(self._await_fee(base))

    def on_commission(self, report: CommissionReport) -> None:
        """See `TwsListener`."""
        self._orders.read_commission(report)

    def on_error(self, request: int, code: int, message: str) -> None:
        """See `TwsListener`."""
        refusal = TwsRefusal(code, message)
        if code in _LOST:
            self._tell_change(is_up=False, reason=str(refusal))
        elif code in _BACK:
            self._tell_change(is_up=True, reason=str(refusal))
        # -1 is of no request; those that TWS gave itself are counted downwards behind it.
        tracked = self._orders.find_order(request) if request not in (0, -1) else None
        if tracked is None:
            return
        tracked.said = str(refusal)
        if code == CANCELED:
            return  # its status follows
        if tracked.command == "cancel":
            if code in NOT_THERE or (code in NOT_CANCELABLE and "pending" not in message.lower()):
                self._orders.refuse(tracked, code, message)
        elif tracked.command:
            if code in REFUSALS:
                self._orders.refuse(tracked, code, message)
        elif code == REJECTED:  # an order that IB had taken
            self._orders.end(
                tracked, ReportKind.REJECTED, reason=f"IB: {refusal}",
                code=to_reject_code(code, message),
            )  # fmt: skip

    def on_closed(self, reason: str) -> None:
        """See `TwsListener`."""
        self._reason = reason
        self._closed.set()

    async def _await_fee(self, base: str) -> None:
        """Ask for a commission that does not come; without one the fill is told all the same.

        One that was lost with the connection is asked for over the next one.
        """
        attempts = 0
        while attempts < _FEE_ATTEMPTS:
            await asyncio.sleep(self._access.fee_wait_s)
            waiting = self._orders.waiting.get(base)
            if waiting is None:
                return
            if self._looker is None or not self._link.is_up:
                continue
            since = int(waiting.execution.time.timestamp()) * NS_PER_SECOND
            try:
                await self._looker.list_executions(since)
            except (TwsRefusal, TwsSilent):
                pass
            except TwsGone:
                continue
            attempts += 1
        if base in self._orders.waiting:
            self._orders.release(base)

    # Telling.

    def _tell(self, report: VenueReport) -> None:
        self._queue.put_nowait(report)

    def _say(
        self, kind: ReportKind, order: OrderSubmitted, *,
        code: RejectCode = RejectCode.UNSUPPORTED, reason: str = "",
    ) -> None:  # fmt: skip
        tracked = self._orders.find(order.client_order_id)
        self._tell(
            VenueReport(
                kind=kind, client_order_id=order.client_order_id, instrument=order.instrument,
                side=order.side, code=code, reason=reason,
                venue_order_id=str(tracked.perm_id or "") if tracked is not None else "",
                filled_lots=tracked.filled_lots if tracked is not None else -1,
            )
        )  # fmt: skip

    def _tell_change(self, *, is_up: bool, reason: str) -> None:
        if self._is_up == is_up:
            return
        self._is_up = is_up
        self._note_change(is_up=is_up, reason=reason)

    def _tell_look(self, reason: str) -> None:
        """Let the session ask: it does when the venue is there again."""
        self._note_change(is_up=True, reason=reason)

    def _note_change(self, *, is_up: bool, reason: str) -> None:
        self._queue.put_nowait(ConnectionChanged(ConnectionPart.VENUE, self.name, is_up, reason))

    # Being sure.

    def _remember_sending(self, reference: str) -> None:
        now = asyncio.get_running_loop().time()
        self._sent_at_s.pop(reference, None)
        self._sent_at_s[reference] = now
        while now - self._sent_at_s[oldest := next(iter(self._sent_at_s))] > _SENDING_LIMIT_S:
            del self._sent_at_s[oldest]

    def _settles_in(self, reference: str) -> float:
        """Seconds until a command of an order can't be under way any more."""
        sent_at = self._sent_at_s.get(reference)
        if sent_at is None:
            return 0.0
        return sent_at + self._access.settle_s - asyncio.get_running_loop().time()

    def _explain(self, error: TwsRefusal | TwsGone | ConfigError) -> ConfigError | VenueUnavailable:
        if isinstance(error, ConfigError):
            return error
        if isinstance(error, TwsRefusal) and error.code == CLIENT_ID_TAKEN:
            return explain_taken(self._access, "execution.connection.client_id")
        if isinstance(error, TwsRefusal):
            return VenueUnavailable(f"IB refuses: {error}")
        return VenueUnavailable(
            f"IB can't be reached: {error}",
            remedy="start TWS or IB Gateway, log in, and let its API settings allow sockets",
        )
