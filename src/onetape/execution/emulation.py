"""Orders that a venue lacks: they wait here, and leave for it as plain ones.

The emulator stands between the session and its venue, real or simulated, and is the same code for
both. What the venue can do by itself passes through; the rest is held, and told by
`order.emulated`. When its time has come a held order leaves as a market or limit order under its
own client order id (`order.released`), and is from then on like any other.

| held                                | leaves                                                   |
| ----------------------------------- | -------------------------------------------------------- |
| a trigger that the venue has not    | when a bar has met it, as what it is when triggered      |
| a child of another order            | when that one is over, for the lots that it has filled   |
| one of a group (OCO, OUO)           | while no other of the group is at the venue: a limit at  |
|                                     | once, an order with a trigger when a bar has met it      |
| GTD, or DAY, that the venue has not | at once as GTC; its cancel leaves when its time is over  |

One order of a group is at the venue at the most, so two of them can't both fill. One that is met
while another rests there has that canceled, and leaves when the venue has confirmed it, for what is
left of it then. One that is met while its parent still works has the rest of that canceled first.

Fills when: its trigger is met by the same rules by which the simulated venue triggers, on the bars
    of the session; it leaves at the close of that bar, when it is known, and fills at the venue
    from there on. So it triggers in the bar in which a venue would, and fills later.
Ignores: the way of prices inside a bar. What rests at the venue may fill in a bar that has met the
    trigger before. While no process runs, and in rows of history, nothing triggers.
Units: ticks, lots, ns UTC.
Source: ours.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from onetape.domain.events import (
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderEmulated,
    OrderExpired,
    OrderFilled,
    OrderReduced,
    OrderRejected,
    OrderReleased,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    OrderTriggered,
    StrayFilled,
    VenueCommand,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import Bar
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import (
    Contingency,
    OrderConditions,
    OrderType,
    RejectCode,
    TimeInForce,
)
from onetape.domain.ports import AccountView, SimulatedExchange
from onetape.execution.gateway import Capabilities
from onetape.execution.oms import MOVES, Oms
from onetape.execution.simulated.bar_matching import LIMIT_TOUCHED, NO_FILL, compute_day_end
from onetape.execution.simulated.fill_terms import FillTerms
from onetape.execution.simulated.order_matching import BarPrices, Place, match_order
from onetape.execution.simulated.resting import RestingOrder, follow_end, follow_fill

_NONE = OrderConditions()
_ENDS = (OrderCanceled, OrderExpired, OrderRejected)
_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT
_DAY, _GTD = TimeInForce.DAY, TimeInForce.GTD
_AT_A_TOUCH = FillTerms(limit_reach=LIMIT_TOUCHED)
"""A limit that is not at the venue is met where the price comes to it."""


class EmulatedOrder(RestingOrder, gc=False):
    """An order that the emulator knows, held or at the venue.

    Attributes:
        is_here: It is held, and not at the venue.
        is_met: A bar has met it (a market order always is), so it leaves as soon as it may.
        is_timed: We end it at `ts_expire`, and not the venue.
        is_over: Its time is over, and its cancel is to leave.
    """

    is_here: bool = False
    is_met: bool = False
    is_timed: bool = False
    is_over: bool = False


class EmulatorState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an `OrderEmulator` holds between two steps, oldest first."""

    orders: list[EmulatedOrder]


class Authority(AccountView, Protocol):
    """What is known here of the account and its venue."""

    @property
    def halted(self) -> Mapping[InstrumentId, object]:
        """Instruments that the venue has halted; nothing leaves for them."""
        ...

    def is_paused(self, strategy: str) -> bool:
        """Whether a strategy may only reduce what it holds."""
        ...


Book = dict[str, EmulatedOrder]


class OrderEmulator:
    """A venue in front of a venue, for the session; see the head of this module.

    Args:
        inner: The venue.
        instruments: What it trades.
        capabilities: What the venue can do by itself.
        oms: The orders of the session; only read.
        account: Positions and pauses.
        now: Engine time, ns UTC.

    Attributes:
        next_arrival: When something is due here or at the venue, ns UTC.
        active: How many orders and commands both hold.
    """

    __slots__ = (
        "_account", "_arrived", "_books", "_capabilities", "_has_news", "_inner", "_instruments",
        "_now", "_oms", "_outgoing", "_pending", "active", "next_arrival",
    )  # fmt: skip

    def __init__(
        self,
        inner: SimulatedExchange,
        instruments: Sequence[Instrument],
        capabilities: Capabilities,
        oms: Oms,
        account: Authority,
        now: Callable[[], int],
    ) -> None:
        self._inner = inner
        self._instruments = {each.id: each for each in instruments}
        self._capabilities = capabilities
        self._oms = oms
        self._account = account
        self._now = now
        self._books: dict[InstrumentId, Book] = {each.id: {} for each in instruments}
        self._arrived: deque[VenueCommand] = deque()
        self._pending: deque[OrderReport] = deque()
        self._outgoing: list[VenueCommand] = []
        self._has_news = False
        self.active = 0
        self.next_arrival = INT64_MAX

    def save(self) -> EmulatorState:
        """The orders that it knows, between two steps."""
        return EmulatorState(
            orders=[order for book in self._books.values() for order in book.values()]
        )

    def restore(self, state: EmulatorState) -> None:
        """Go on where `state` was saved; the venue has been restored."""
        for order in state.orders:
            self._books[order.command.instrument][order.identity] = order
        self._refresh()

    def _refresh(self) -> None:
        """Say anew what is due and how much is held."""
        orders = [order for book in self._books.values() for order in book.values()]
        waiting = len(self._arrived) + len(self._pending) + len(self._outgoing) + self._has_news
        self.active = self._inner.active + len(orders) + waiting
        due = [each.ts_expire for each in orders if each.is_timed and each.ts_expire]
        self.next_arrival = 0 if waiting else min([self._inner.next_arrival, *due])

    # The port of a venue.

    def receive(self, commands: Sequence[VenueCommand], now: int) -> None:
        """Commands leave the session: what the venue can do goes on, the rest waits here.

        What left here in the step that gave them goes before them.
        """
        through, self._outgoing = self._outgoing, []
        for command in commands:
            if isinstance(command, OrderSubmitted):
                is_here = bool(self._find_lacking(command))
                self._books[command.instrument][command.client_order_id] = EmulatedOrder(
                    command, command.order_type, now, command.lots, command.limit_ticks,
                    command.stop_ticks, 0, is_plain=False, is_here=is_here,
                )  # fmt: skip
            else:
                order = self._find(command.client_order_id)
                is_here = order is not None and order.is_here
            if is_here:
                self._arrived.append(command)
            else:
                through.append(command)
        if through:
            self._inner.receive(through, now)
        self._refresh()

    def arrive(
        self,
        ts: int,
        last_close: Callable[[InstrumentId], int],
        session_close: Callable[[InstrumentId], int],
    ) -> Iterable[OrderReport]:
        """What is due by `ts`, here and at the venue; what leaves is on the tape before."""
        outgoing, self._outgoing = self._outgoing, []
        if outgoing:
            self._inner.receive(outgoing, self._now())
        while self._arrived:
            yield from self._take(self._arrived.popleft(), session_close)
        if self._inner.next_arrival <= ts:
            yield from self._follow(self._inner.arrive(ts, last_close, session_close))
        for book in self._books.values():
            for order in list(book.values()):
                if order.is_timed and 0 < order.ts_expire <= ts and order.identity in book:
                    order.ts_expire, order.is_over = 0, True
        yield from self._work()
        self._refresh()

    def cancel_all(
        self, instrument: InstrumentId, reason: str, strategy: str = ""
    ) -> Iterable[OrderReport]:
        """Take every order of an instrument (and `strategy`) off, here and at the venue."""
        book = self._books[instrument]
        for order in list(book.values()):
            if order.is_here and strategy in ("", order.command.strategy):
                del book[order.identity]
                yield OrderCanceled(order.identity, reason)
        yield from self._follow(self._inner.cancel_all(instrument, reason, strategy))
        yield from self._work()
        self._refresh()

    def on_bar(self, bar: Bar, account: AccountView) -> Iterable[OrderReport]:
        """What the venue makes of a bar, then what it has met here."""
        yield from self._follow(self._inner.on_bar(bar, account))
        yield from self._work()
        book = self._books[bar.instrument]
        prices = BarPrices(*bar.values())
        tick_size = self._instruments[bar.instrument].tick_float
        is_halted = bar.instrument in self._account.halted  # such a bar has no trades
        met: list[tuple[Place, EmulatedOrder]] = []
        for order in book.values():
            is_day = order.is_timed and order.command.time_in_force is _DAY
            if is_day and not order.ts_expire and order.arrival < bar.ts_close:
                order.ts_expire = bar.session_close
            is_waiting = order.is_here and not order.is_met and not order.held
            if not is_waiting or is_halted or order.order_type is _MARKET:
                continue
            place = match_order(order, prices, tick_size, _AT_A_TOUCH, 0.0)
            if place is not None and place.code != NO_FILL and not self._is_kept_back(order):
                met.append((place, order))
        met.sort(key=lambda each: each[0].rank)
        for _, order in met:
            order.is_met = True
            yield from self._push(book, order)
        yield from self._work()
        self._refresh()

    def hear(self, report: OrderReport | StrayFilled) -> None:
        """A report of the venue that the session has processed."""
        order = self._find(report.client_order_id)
        if order is None or isinstance(report, StrayFilled | OrderCancelRejected):
            return  # a refused cancel is asked again at the next event, not at once
        self._has_news = True
        book = self._books[order.command.instrument]
        if isinstance(report, OrderFilled):
            order.filled_lots += report.lots
            order.leaves = report.leaves
            if not report.leaves:
                del book[order.identity]
            for each in book.values():  # a child uses nothing that was before its parent's fill
                if each.held and each.conditions.parent == order.identity:
                    each.arrival = max(each.arrival, report.ts_fill)
            self._bind(book, follow_fill(book, order, report.lots))
            if not report.leaves:
                self._bind(book, follow_end(book, order))
        elif isinstance(report, _ENDS):
            del book[order.identity]
            self._bind(book, follow_end(book, order))
        elif isinstance(report, OrderReplaced):
            self._change(order, report.lots, report.limit_ticks, report.stop_ticks)
        elif isinstance(report, OrderReduced):
            order.leaves = report.lots - order.filled_lots
        self._refresh()

    def _follow(self, reports: Iterable[OrderReport]) -> Iterator[OrderReport]:
        for report in reports:
            yield report
            self.hear(report)

    def _find(self, identity: str) -> EmulatedOrder | None:
        for book in self._books.values():
            if identity in book:
                return book[identity]
        return None

    # What comes here.

    def _find_lacking(self, command: OrderSubmitted) -> str:
        return self._capabilities.find_lacking(
            command.order_type, command.time_in_force, command.conditions or _NONE
        )

    def _take(
        self, command: VenueCommand, session_close: Callable[[InstrumentId], int]
    ) -> Iterator[OrderReport]:
        """Carry out a command for an order that was held when it was given."""
        identity = command.client_order_id
        order = self._find(identity)
        if isinstance(command, OrderSubmitted):
            if order is not None:
                yield from self._hold(order, session_close(command.instrument))
        elif order is None:
            rejected = (
                OrderCancelRejected
                if isinstance(command, OrderCancelPending)
                else OrderReplaceRejected
            )
            yield rejected(identity, RejectCode.ORDER_CLOSED, "no such order is held")
        elif isinstance(command, OrderCancelPending):
            book = self._books[order.command.instrument]
            yield from self._end(book, order, OrderCanceled(identity, "requested"))
        else:
            yield self._replace(order, command)

    def _hold(self, order: EmulatedOrder, session_close: int) -> Iterator[OrderReport]:
        command, terms = order.command, order.conditions
        book = self._books[command.instrument]
        order.is_met = order.order_type is _MARKET
        order.is_timed = command.time_in_force not in self._capabilities.times_in_force
        if order.is_timed and command.time_in_force is _GTD:
            order.ts_expire = command.ts_expire
        elif order.is_timed and command.time_in_force is _DAY:
            order.ts_expire = compute_day_end(order.arrival, session_close)
        yield OrderEmulated(order.identity, self._find_lacking(command))
        if not terms.parent:
            return
        parent = book.get(terms.parent)
        if parent is None:
            reason = "its parent is not on the book"
            yield from self._end(book, order, OrderCanceled(order.identity, reason))
            return
        parent.is_parent = order.held = True

    def _replace(self, order: EmulatedOrder, command: OrderReplacePending) -> OrderReport:
        self._change(order, command.lots, command.limit_ticks, command.stop_ticks)
        order.arrival = self._now()
        order.is_met = order.order_type is _MARKET
        return OrderReplaced(order.identity, command.lots, command.limit_ticks, command.stop_ticks)

    def _change(self, order: EmulatedOrder, lots: int, limit_ticks: int, stop_ticks: int) -> None:
        order.leaves = lots - order.filled_lots
        order.limit_ticks = limit_ticks
        order.stop_ticks = stop_ticks

    # What follows from what.

    def _bind(self, book: Book, reports: Sequence[OrderCanceled | OrderReduced]) -> None:
        """Orders that end or shrink because of another; one that is at the venue is canceled."""
        for report in reports:
            order = book.get(report.client_order_id)
            if order is None:
                continue  # it went with one before it, as its child
            if not order.is_here:
                order.is_over = True
                continue
            self._pending.append(report)
            if isinstance(report, OrderCanceled):
                del book[order.identity]
                self._bind(book, follow_end(book, order))

    def _end(
        self, book: Book, order: EmulatedOrder, report: OrderCanceled | OrderExpired
    ) -> Iterator[OrderReport]:
        """Close an order that is held."""
        del book[order.identity]
        yield report
        self._bind(book, follow_end(book, order))

    def _work(self) -> Iterator[OrderReport]:
        """Do whatever can be done now; each report is processed before the next is asked for."""
        self._has_news = False
        while True:
            while self._pending:
                yield self._pending.popleft()
            for book in self._books.values():
                for order in list(book.values()):
                    if order.identity not in book:
                        continue
                    if not order.is_here:
                        if order.is_over:
                            yield from self._cancel(order)
                    elif order.is_over:
                        ended = OrderExpired(order.identity, "time in force")
                        yield from self._end(book, order, ended)
                    elif not order.held:
                        yield from self._push(book, order)
            if not self._pending:
                return

    def _push(self, book: Book, order: EmulatedOrder) -> Iterator[OrderReport]:
        """Let an order leave if it may, or make room for one that was met."""
        if order.command.instrument in self._account.halted:
            return
        parent = book.get(order.conditions.parent)
        if not order.is_met and (parent is not None or not self._can_rest(book, order)):
            return
        if parent is not None:
            if order.order_type is not _MARKET:  # one at market waits for all of its parent
                yield from self._cancel(parent)
            return
        rivals = [
            each for each in book.values() if not each.is_here and self._are_bound(order, each)
        ]
        if not rivals:
            yield from self._release(book, order)
        elif order.is_met:
            for each in rivals:
                if not each.is_met:
                    yield from self._cancel(each)

    def _can_rest(self, book: Book, order: EmulatedOrder) -> bool:
        """Whether an order that no bar has met can be at the venue as it is."""
        others = [each for each in book.values() if self._are_bound(order, each)]
        if order.order_type is not _LIMIT:
            is_bound = order.conditions.contingency is not Contingency.NONE
            return order.order_type in self._capabilities.order_types and not is_bound
        return not any(each.is_met for each in others)

    def _are_bound(self, order: EmulatedOrder, other: EmulatedOrder) -> bool:
        own, theirs = order.conditions, other.conditions
        return (
            other is not order
            and bool(own.group)
            and own.group == theirs.group
            and own.contingency is not Contingency.NONE
            and order.command.strategy == other.command.strategy
        )

    def _cancel(self, order: EmulatedOrder) -> Iterator[OrderReport]:
        """Have an order at the venue canceled, unless that is under way or can't be asked now."""
        known = self._oms.open.get(order.identity)
        if known is not None and (known.status, OrderCancelPending) in MOVES:
            command = OrderCancelPending(order.identity)
            self._outgoing.append(command)
            yield command

    # What leaves.

    def _release(self, book: Book, order: EmulatedOrder) -> Iterator[OrderReport]:
        """Send an order to the venue as a plain one, for what it may still trade."""
        command, identity, kind = order.command, order.identity, order.order_type
        if self._is_kept_back(order):
            order.is_met = kind is _MARKET  # it has to be met again
            return
        if command.reduce_only:
            held, free = self._reducible(order)
            if held <= 0:
                yield from self._end(book, order, OrderCanceled(identity, "nothing to reduce"))
                return
            if free <= 0:
                return
            if free < order.leaves:
                order.leaves = free
                yield OrderReduced(identity, free, "no more to reduce")
        terms = msgspec.structs.replace(
            order.conditions, parent="", group="", contingency=Contingency.NONE
        )
        if order.is_met and kind.has_trigger:
            yield OrderTriggered(identity, order.stop_ticks)
            kind = order.order_type = kind.triggered
            order.stop_ticks = 0
            terms = msgspec.structs.replace(terms, trail_ticks=0, trail_ratio_e8=0, offset_ticks=0)
        time_in_force = TimeInForce.GTC if order.is_timed else command.time_in_force
        order.is_here = False
        self._outgoing.append(
            msgspec.structs.replace(
                command, order_type=kind, time_in_force=time_in_force, lots=order.leaves,
                limit_ticks=order.limit_ticks, stop_ticks=order.stop_ticks, ts_expire=0,
                conditions=None if terms == _NONE else terms,
            )
        )  # fmt: skip
        yield OrderReleased(
            identity, kind, time_in_force, order.leaves, order.limit_ticks, order.stop_ticks
        )

    def _is_kept_back(self, order: EmulatedOrder) -> bool:
        """Whether it would open a position while its strategy may only reduce."""
        command = order.command
        if command.reduce_only or not self._account.is_paused(command.strategy):
            return False
        held = self._account.position_lots(command.strategy, command.instrument)
        return order.leaves > -held * command.side

    def _reducible(self, order: EmulatedOrder) -> tuple[int, int]:
        """Lots that a reduce-only order finds, and those that no other at the venue may take.

        The venue may not trim it, so whatever else is there of its side is taken off.
        """
        command = order.command
        held = -self._account.position_lots(command.strategy, command.instrument) * command.side
        taken = sum(
            each.leaves
            for each in self._oms.open.values()
            if each.strategy == command.strategy
            and each.instrument == command.instrument
            and each.side is command.side
            and (known := self._find(each.client_order_id)) is not None
            and not known.is_here
        )
        return held, held - taken
