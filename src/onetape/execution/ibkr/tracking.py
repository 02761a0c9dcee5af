"""What the gateway remembers of orders, and what a message of TWS means with it.

IB's order id counts per client id, and a cancel or change needs it; its permanent id stays with the
order for ever; `orderRef` is our own id. All three lead to the order here. One that no session has
given is known by its permanent id, marked (`name_manual`), whatever its `orderRef` says.

A fill is told with its commission, which comes in a message of its own behind it: until then the
fill waits, and so does the end of its order.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from onetape.domain.events import OrderSubmitted
from onetape.domain.instrument import Instrument
from onetape.domain.orders import LiquiditySide, OrderType, RejectCode, Side, TimeInForce
from onetape.domain.timestamps import NS_PER_SECOND
from onetape.domain.venue import ReportKind, VenueReport, is_of_a_session, name_manual
from onetape.execution.ibkr.translation import (
    get_fields,
    is_told,
    to_decimal,
    to_fee,
    to_lots,
    to_order_type,
    to_side,
    to_ticks,
)
from onetape.marketdata.feeds.ibkr_contracts import find_instrument
from onetape.marketdata.feeds.ibkr_link import OrderStanding, TwsRefusal
from onetape.marketdata.session_times import SessionTimes

if TYPE_CHECKING:
    from ib_async.contract import Contract
    from ib_async.objects import CommissionReport, Execution
    from ib_async.order import Order

WORKING = frozenset({"PreSubmitted", "Submitted"})
OPEN = WORKING | {"PendingSubmit", "ApiPending", "PendingCancel", "Inactive"}
CANCELED = frozenset({"Cancelled", "ApiCancelled"})
_ADDED = 1
_REMEMBERED = 20_000
_OF_THE_DAY = (TimeInForce.DAY, TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE)

Tell = Callable[[VenueReport], None]


class Tracked(msgspec.Struct, kw_only=True):
    """An order at IB.

    Attributes:
        reference: Our client order id: `orderRef`, or the marked permanent id. Empty: neither has
            been told.
        submitted: How it was submitted; None where we only heard of it.
        order_id: IB's, under `client_id`; 0: not known.
        perm_id: IB's for ever; 0: not known.
        lots: In all.
        filled_lots: As far as IB has said.
        is_told: Its acceptance was told.
        is_waiting: A stop that IB holds until its price is met.
        is_ended: Nothing more comes but late fills.
        held: Base ids of executions that wait for their commission.
        ending: The report of its end, while executions wait.
        wanted: (lots, limit ticks, stop ticks) of a change that is under way.
        command: What is under way: submit, cancel or replace; empty: nothing.
        answer: Set when that was answered.
        said: The words of IB's newest error about it.
    """

    reference: str
    instrument: Instrument
    side: Side
    order_type: OrderType
    submitted: OrderSubmitted | None = None
    order_id: int = 0
    client_id: int = 0
    perm_id: int = 0
    lots: int = 0
    limit_ticks: int = 0
    stop_ticks: int = 0
    filled_lots: int = 0
    is_told: bool = False
    is_waiting: bool = False
    is_ended: bool = False
    held: list[str] = msgspec.field(default_factory=list)
    ending: VenueReport | None = None
    wanted: tuple[int, int, int] | None = None
    command: str = ""
    answer: asyncio.Future[None] | None = None
    said: str = ""

    def begin(self, command: str) -> asyncio.Future[None]:
        """A command is under way; returns what its answer sets."""
        self.command = command
        self.answer = asyncio.get_running_loop().create_future()
        return self.answer

    def finish(self, error: Exception | None = None) -> None:
        """It was answered."""
        self.command = ""
        answer, self.answer = self.answer, None
        if answer is None or answer.done():
            return
        if error is None:
            answer.set_result(None)
        else:
            answer.set_exception(error)


class Waiting(msgspec.Struct, frozen=True):
    """An execution whose commission has not come."""

    tracked: Tracked
    contract: Any
    execution: Any


class OrdersAtIb:
    """The orders of one account, by all their names.

    Args:
        instruments: By IB's symbol and currency.
        client_id: Ours.
        clock: Ours, ns UTC.
        tell: Takes reports, in order.
    """

    def __init__(
        self,
        instruments: Mapping[tuple[str, str], Instrument],
        client_id: int,
        clock: Callable[[], int],
        tell: Tell,
    ) -> None:
        self._instruments = dict(instruments)
        self._client_id = client_id
        self._clock = clock
        self._tell = tell
        self._times: dict[str, SessionTimes] = {}
        self._by_reference: OrderedDict[str, Tracked] = OrderedDict()
        self._by_order: dict[int, Tracked] = {}
        self._by_perm: dict[int, Tracked] = {}
        self._told: OrderedDict[str, None] = OrderedDict()
        self._fees: OrderedDict[str, CommissionReport] = OrderedDict()
        self.waiting: dict[str, Waiting] = {}

    def find(self, reference: str) -> Tracked | None:
        """An order by our id."""
        return self._by_reference.get(reference)

    def find_order(self, order_id: int) -> Tracked | None:
        """One of this client id by IB's number."""
        return self._by_order.get(order_id)

    def under_way(self) -> list[Tracked]:
        """Those that a command waits for."""
        return [each for each in self._by_reference.values() if each.command]

    def submit(self, order: OrderSubmitted, instrument: Instrument, order_id: int) -> Tracked:
        """A new order of ours is about to be sent."""
        made = Tracked(
            reference=order.client_order_id, instrument=instrument, side=order.side,
            order_type=order.order_type, submitted=order, order_id=order_id,
            client_id=self._client_id, lots=order.lots, limit_ticks=order.limit_ticks,
            stop_ticks=order.stop_ticks,
        )  # fmt: skip
        self._by_reference[made.reference] = self._by_order[order_id] = made
        self._forget()
        return made

    def remember(self, order: OrderSubmitted) -> None:
        """How an open order was given, where only IB had told of it so far."""
        tracked = self.find(order.client_order_id)
        if tracked is not None and tracked.submitted is None:
            tracked.submitted = order

    def know(self, contract: Contract, order: Order) -> Tracked | None:
        """The order of a message, with its names; None where it is of no instrument of ours."""
        tracked = self._by_perm.get(order.permId) if order.permId else None
        if tracked is None and order.clientId == self._client_id and order.orderId:
            tracked = self._by_order.get(order.orderId)
        reference = name_order(order.orderRef, order.permId)
        if tracked is None and reference:
            tracked = self._by_reference.get(reference)
        if tracked is None:
            instrument = find_instrument(self._instruments, contract)
            if instrument is None:
                return None
            kind = to_order_type(order.orderType)
            lots, limit, stop = get_fields(order, kind, instrument)
            tracked = Tracked(
                reference=reference, instrument=instrument, side=to_side(order.action),
                order_type=kind, lots=lots, limit_ticks=limit, stop_ticks=stop,
            )  # fmt: skip
            self._forget()
        self._name(tracked, reference)
        if order.permId:
            tracked.perm_id = order.permId
            self._by_perm[order.permId] = tracked
        if order.orderId:
            tracked.order_id, tracked.client_id = order.orderId, order.clientId
            if order.clientId == self._client_id:
                self._by_order[order.orderId] = tracked
        return tracked

    def _name(self, tracked: Tracked, reference: str) -> None:
        """What an order is called may be told later than the order."""
        tracked.reference = tracked.reference or reference
        if tracked.reference:
            self._by_reference.setdefault(tracked.reference, tracked)

    def _forget(self) -> None:
        """The oldest that have ended go where there are too many."""
        if len(self._by_reference) <= _REMEMBERED:
            return
        for each in [one for one in self._by_reference.values() if one.is_ended][:1_000]:
            del self._by_reference[each.reference]
            self._by_order.pop(each.order_id, None)
            self._by_perm.pop(each.perm_id, None)

    # Messages.

    def read_order(self, contract: Contract, order: Order, status: str) -> None:
        """An `openOrder`: its fields, and where it stands."""
        tracked = self.know(contract, order)
        if tracked is None:
            return
        if status in WORKING:
            self._compare(tracked, get_fields(order, tracked.order_type, tracked.instrument))
        self._advance(tracked, status)

    def read_status(self, standing: OrderStanding) -> None:
        """An `orderStatus`."""
        tracked = self._by_perm.get(standing.perm_id)
        if tracked is None and standing.client_id == self._client_id:
            tracked = self._by_order.get(standing.order_id)
        if tracked is None:
            return
        if standing.perm_id:
            tracked.perm_id = standing.perm_id
            self._by_perm[standing.perm_id] = tracked
        filled_lots = to_lots(standing.filled, tracked.instrument)
        tracked.filled_lots = max(tracked.filled_lots, filled_lots)
        self._advance(tracked, standing.status)

    def _compare(self, tracked: Tracked, fields: tuple[int, int, int]) -> None:
        """The fields that the order has now."""
        known = (tracked.lots, tracked.limit_ticks, tracked.stop_ticks)
        if tracked.order_type.is_trailing:  # its stop moves by itself
            fields = (*fields[:2], known[2])
        is_ours = tracked.wanted is not None and fields == tracked.wanted
        if fields == known and not is_ours:
            return
        tracked.lots, tracked.limit_ticks, tracked.stop_ticks = fields
        if tracked.is_ended:
            return
        self._tell(
            self.make_report(
                ReportKind.REPLACED, tracked, lots=fields[0], limit_ticks=fields[1],
                stop_ticks=fields[2], filled_lots=tracked.filled_lots,
            )
        )  # fmt: skip
        if is_ours:
            tracked.wanted = None
            if tracked.command == "replace":
                tracked.finish()

    def _advance(self, tracked: Tracked, status: str) -> None:
        if tracked.is_ended:
            return
        if status in WORKING:
            self._accept(tracked)
            if tracked.is_waiting and status == "Submitted":
                tracked.is_waiting = False
                self._tell(self.make_report(ReportKind.TRIGGERED, tracked))
            elif status == "PreSubmitted":
                tracked.is_waiting = tracked.order_type.has_trigger
        elif status == "PendingCancel":
            if tracked.command == "cancel":
                tracked.finish()  # its end follows
        elif status in CANCELED:
            is_over = self._is_over(tracked)
            kind = ReportKind.EXPIRED if is_over else ReportKind.CANCELED
            self.end(tracked, kind, reason=tracked.said or ("" if is_over else "by IB"))
        elif status == "Filled":
            self._accept(tracked)
            tracked.is_ended = True
            tracked.finish()

    def _accept(self, tracked: Tracked) -> None:
        if not tracked.is_told:
            tracked.is_told = True
            self._tell(self.make_report(ReportKind.ACCEPTED, tracked))
        if tracked.command == "submit":
            tracked.finish()

    def _is_over(self, tracked: Tracked) -> bool:
        """Whether the time of an order is over that was canceled though nobody asked for it."""
        order = tracked.submitted
        if order is None or tracked.command == "cancel":
            return False
        now = self._clock()
        if order.time_in_force is TimeInForce.GTD:
            return now >= order.ts_expire
        if order.time_in_force not in _OF_THE_DAY:
            return False
        calendar = tracked.instrument.calendar
        times = self._times.get(calendar)
        if times is None:
            times = self._times[calendar] = SessionTimes(calendar)
        return not times.is_open(now)

    def end(
        self, tracked: Tracked, kind: ReportKind, *, reason: str,
        code: RejectCode = RejectCode.UNSUPPORTED,
    ) -> None:  # fmt: skip
        """The order is off the book; told behind fills that wait for their commission."""
        if tracked.is_ended:
            return
        tracked.is_ended = True
        report = self.make_report(
            kind, tracked, filled_lots=tracked.filled_lots, reason=reason, code=code
        )
        if tracked.held:
            tracked.ending = report
        else:
            self._tell(report)
        tracked.finish()

    # Executions.

    def read_execution(self, contract: Contract, execution: Execution) -> str:
        """An `execDetails`: the base id of one that waits for its commission; empty: none does.

        Raises:
            LookupError: It corrects an execution that was told, which no book of ours can follow.
        """
        base, revision = split_id(execution.execId)
        if base in self._told:
            if revision > 1:
                raise LookupError(f"IB has corrected the execution {base}")
            return ""
        if base in self.waiting:
            return ""
        tracked = self.know_execution(contract, execution)
        if tracked is None:
            return ""
        self.waiting[base] = Waiting(tracked, contract, execution)
        tracked.held.append(base)
        if base in self._fees:
            self.release(base)
            return ""
        return base

    def know_execution(self, contract: Contract, execution: Execution) -> Tracked | None:
        """The order of an execution."""
        tracked = self._by_perm.get(execution.permId) if execution.permId else None
        if tracked is None and execution.clientId == self._client_id and execution.orderId:
            tracked = self._by_order.get(execution.orderId)
        reference = name_order(execution.orderRef, execution.permId)
        if tracked is None and reference:
            tracked = self._by_reference.get(reference)
        if tracked is None:
            instrument = find_instrument(self._instruments, contract)
            if instrument is None:
                return None
            tracked = Tracked(
                reference=reference, instrument=instrument, side=to_side(execution.side),
                order_type=OrderType.MARKET, perm_id=execution.permId,
            )  # fmt: skip
            if execution.permId:
                self._by_perm[execution.permId] = tracked
        return tracked

    def read_commission(self, report: CommissionReport) -> None:
        """A `commissionReport`: the fill that waited for it is told."""
        base, _ = split_id(report.execId)
        self._fees[base] = report
        if len(self._fees) > _REMEMBERED:
            self._fees.popitem(last=False)
        if base in self.waiting:
            self.release(base)

    def has_fee(self, execution: Execution) -> bool:
        """Whether its commission is known."""
        return split_id(execution.execId)[0] in self._fees

    def release(self, base: str) -> None:
        """Tell an execution that has waited, with its commission or without one."""
        waiting = self.waiting.pop(base)
        tracked = waiting.tracked
        tracked.held.remove(base)
        self._told[base] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        tracked.is_told = True
        report = self.make_fill(tracked, waiting.execution)
        tracked.filled_lots = max(tracked.filled_lots, report.filled_lots)
        self._tell(report)
        if tracked.ending is not None and not tracked.held:
            ending, tracked.ending = tracked.ending, None
            self._tell(ending)

    def make_fill(self, tracked: Tracked, execution: Execution) -> VenueReport:
        """The report of an execution; its fee is 0 where IB has told none that can be booked."""
        instrument, side = tracked.instrument, to_side(execution.side)
        base, _ = split_id(execution.execId)
        told = self._fees.get(base)
        fee, reason = 0, ""
        if told is None or not is_told(told.commission):
            reason = "IB has told no commission"
        elif told.currency != instrument.settlement_currency:
            reason = f"its commission is {to_decimal(told.commission)} {told.currency}"
        else:
            fee = to_fee(told.commission)
        return VenueReport(
            kind=ReportKind.FILLED, client_order_id=tracked.reference, instrument=instrument.id,
            side=side, venue_order_id=str(execution.permId),
            ts_venue=int(execution.time.timestamp()) * NS_PER_SECOND, execution_id=base,
            lots=to_lots(execution.shares, instrument),
            ticks=to_ticks(execution.price, instrument, side),
            price=f"{to_decimal(execution.price):f}",
            filled_lots=to_lots(execution.cumQty, instrument), fee=fee, reason=reason,
            liquidity=LiquiditySide.MAKER if execution.lastLiquidity == _ADDED
            else LiquiditySide.TAKER,
        )  # fmt: skip

    def make_report(self, kind: ReportKind, tracked: Tracked, **fields: Any) -> VenueReport:
        """A report about an order."""
        return VenueReport(
            kind=kind, client_order_id=tracked.reference, instrument=tracked.instrument.id,
            side=tracked.side, venue_order_id=str(tracked.perm_id or ""), **fields,
        )  # fmt: skip

    def refuse(self, tracked: Tracked, code: int, message: str) -> None:
        """A command that is under way is refused."""
        tracked.finish(TwsRefusal(code, message))


def name_order(reference: str, perm_id: int) -> str:
    """Our client order id of an order, from its `orderRef` and its permanent id (0: not told)."""
    if is_of_a_session(reference):
        return reference
    return name_manual(str(perm_id)) if perm_id else ""


def split_id(execution_id: str) -> tuple[str, int]:
    """(base, revision) of an id of IB: a correction has the same base, and a higher last number.

    Source: "TWS API", Executions and commissions: `execId` and corrections.
    """
    base, _, revision = execution_id.rpartition(".")
    return (base, int(revision)) if base and revision.isdigit() else (execution_id, 1)
