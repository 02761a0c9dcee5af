"""The simulated venue: a book of orders that meets bars.

Fills when: a market order at the open of the first bar it can use, plus slippage; a stop when the
bar touches it, at the stop or the worse open, plus slippage; a limit when the bar trades through it
(or touches it, by setting), at the limit or the better open. Inside one bar orders run in the
pessimistic sequence: what executes at the open, then stops, then limits. A trade print is met as a
bar of one price that lasts the nanosecond before it.
Ignores: the queue ahead of a limit order, the path inside a bar beyond that sequence, and market
impact on later bars.
Units: ticks, lots, minor units, ns UTC.
Source: ours; `docs/fills.md` and the acceptance cases against peers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter

import msgspec

from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    OrderTriggered,
    VenueCommand,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import Bar
from onetape.domain.numbers import E8, INT64_MAX, MAX_LOTS, compute_ratio_floor, compute_ticks
from onetape.domain.orders import LiquiditySide, OrderType, RejectCode, TimeInForce
from onetape.domain.ports import AccountView
from onetape.execution.simulated.bar_matching import (
    FILL_AT_OPEN,
    FILL_INSIDE,
    NO_FILL,
    WINDOW_NONE,
    WINDOW_WHOLE,
    compute_bar_capacity_lots,
    compute_bar_fill,
    compute_bar_window,
    compute_fill_time,
    compute_limit_fill,
    compute_liquidity_side,
)
from onetape.execution.simulated.fees import (
    MonthNotional,
    add_month_notional,
    compute_affordable_lots,
    compute_fill_fee,
    flat_ratio_e8,
)
from onetape.execution.simulated.latency import compute_latency_ns
from onetape.execution.simulated.slippage import SlippageTerms, compute_slipped_ticks
from onetape.execution.simulated.terms import VenueTerms

_LIQUIDITY = tuple(LiquiditySide)
_FILLS = (FILL_AT_OPEN, FILL_INSIDE)
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_MARKET, _LIMIT, _STOP, _STOP_LIMIT = OrderType
_GTC, _DAY, _GTD, _IOC, _FOK = TimeInForce


class _Resting(msgspec.Struct, gc=False):
    """An order on this venue's book.

    A plain one is a market or limit order of a given size that is good till canceled, may open a
    position, and meets neither slippage nor a bound on volume.
    """

    command: OrderSubmitted
    order_type: OrderType
    arrival: int
    leaves: int
    limit_ticks: int
    stop_ticks: int
    ts_expire: int
    is_plain: bool
    bars_waited: int = 0
    filled_lots: int = 0
    filled_notional: int = 0
    changes: list[tuple[int, OrderCancelPending | OrderReplacePending]] = []


class _FillTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What fills of one instrument need: looked up once.

    `factor` is its `minor_per_tick_lot`, `ratios_e8` the `flat_ratio_e8` of each `LiquiditySide`.
    """

    factor: int
    tick_size: float
    ratios_e8: tuple[int | None, ...]


_Met = tuple[int, _Resting, int, int, int]
"""(rank inside the bar, order, code, ticks, ts_fill) of an order that may use the bar."""


class SimulatedVenue:
    """Takes commands, meets bars, answers with reports.

    Commands arrive in the order they were sent: a delay shorter than that of the command before it
    is stretched, as on one connection.

    Attributes:
        next_arrival: When the next command arrives, ns UTC; the largest int64 when none is due.
        active: How many orders and commands this venue holds.
    """

    __slots__ = (
        "_accepted", "_books", "_fill_terms", "_instruments", "_is_instant", "_last_arrival",
        "_months", "_plain_types", "_queue", "_received", "_slips", "_terms", "active",
        "next_arrival",
    )  # fmt: skip

    def __init__(self, instruments: Sequence[Instrument], terms: VenueTerms) -> None:
        self._instruments = {each.id: each for each in instruments}
        self._terms = terms
        self._books: dict[InstrumentId, dict[str, _Resting]] = {each.id: {} for each in instruments}
        self._months: dict[str, MonthNotional] = {}
        self._queue: deque[tuple[int, VenueCommand]] = deque()
        self._last_arrival = 0
        self._received = 0
        self._accepted = 0
        self._is_instant = terms.latency.mean_ns == terms.latency.std_ns == 0
        self._slips = terms.slippage != SlippageTerms()
        self._plain_types = (
            () if terms.max_volume_ratio is not None
            else (_LIMIT,) if self._slips else (_MARKET, _LIMIT)
        )  # fmt: skip
        self._fill_terms = {
            each.id: _FillTerms(
                factor=each.minor_per_tick_lot,
                tick_size=each.tick_float,
                ratios_e8=tuple(flat_ratio_e8(terms.fees[each.id], side) for side in _LIQUIDITY),
            )
            for each in instruments
        }
        self.active = 0
        self.next_arrival = INT64_MAX

    def receive(self, commands: Sequence[VenueCommand], now: int) -> None:
        """Commands leave us at `now`; each arrives after the latency of its number."""
        queue = self._queue
        is_instant = self._is_instant
        for command in commands:
            queue.append((now if is_instant else self._delay(now), command))
        self.next_arrival = queue[0][0]
        self.active += len(commands)

    def _delay(self, now: int) -> int:
        self._received += 1
        arrival = now + compute_latency_ns(self._terms.latency, self._received)
        self._last_arrival = arrival = max(arrival, self._last_arrival)
        return arrival

    def arrive(self, ts: int, last_close: Callable[[InstrumentId], int]) -> list[OrderReport]:
        """Take every command that has arrived by `ts` and answer it.

        A cancel or replace that arrives after `last_close`, the close of the newest known bar of
        the instrument, waits for the next bar: only that tells whether the order has filled before.
        """
        queue = self._queue
        reports: list[OrderReport] = []
        while queue and queue[0][0] <= ts:
            arrival, command = queue.popleft()
            identity = command.client_order_id
            if isinstance(command, OrderSubmitted):
                reports.append(self._accept(command, arrival))
                continue
            book = self._book_of(identity)
            order = book[identity] if book is not None else None
            if order is not None and arrival > last_close(order.command.instrument):
                order.changes.append((arrival, command))
            else:
                reports.append(self._change(book, command, arrival))
        self.next_arrival = queue[0][0] if queue else INT64_MAX
        return reports

    def _accept(self, command: OrderSubmitted, arrival: int) -> OrderAccepted:
        identity, kind, lots = command.client_order_id, command.order_type, command.lots
        is_plain = (
            lots > 0
            and kind in self._plain_types
            and command.time_in_force is _GTC
            and not command.reduce_only
        )
        self._books[command.instrument][identity] = _Resting(
            command, kind, arrival, lots, command.limit_ticks, command.stop_ticks,
            command.ts_expire, is_plain,
        )  # fmt: skip
        self._accepted += 1
        return OrderAccepted(identity, f"sim-{self._accepted}")

    def _change(
        self,
        book: dict[str, _Resting] | None,
        command: OrderCancelPending | OrderReplacePending,
        arrival: int,
    ) -> OrderReport:
        """Carry out a cancel or replace, or say why not."""
        self.active -= 1
        identity = command.client_order_id
        order = book.get(identity) if book is not None else None
        cancel = isinstance(command, OrderCancelPending)
        if book is None or order is None:
            rejected = OrderCancelRejected if cancel else OrderReplaceRejected
            return rejected(identity, RejectCode.ORDER_CLOSED, "no such order on the book")
        if cancel:
            self._remove(book, identity)
            return OrderCanceled(identity, "requested")
        if command.lots <= order.filled_lots:
            return OrderReplaceRejected(
                identity, RejectCode.QUANTITY_BELOW_FILLED,
                f"{order.filled_lots} lots are filled already",
            )  # fmt: skip
        order.leaves = command.lots - order.filled_lots
        order.limit_ticks = command.limit_ticks
        order.stop_ticks = command.stop_ticks
        order.arrival = arrival
        order.bars_waited = 0
        return OrderReplaced(identity, command.lots, command.limit_ticks, command.stop_ticks)

    def _book_of(self, client_order_id: str) -> dict[str, _Resting] | None:
        for book in self._books.values():
            if client_order_id in book:
                return book
        return None

    def _remove(self, book: dict[str, _Resting], client_order_id: str) -> None:
        del book[client_order_id]
        self.active -= 1

    def on_bar(self, bar: Bar, account: AccountView) -> Iterable[OrderReport]:
        """Meet the book of an instrument with its next bar.

        Each report must be processed before the next is asked for: an order sized at its fill sees
        the books as the fills before it left them.
        """
        book = self._books[bar.instrument]
        if not book:
            return ()
        if len(book) == 1:
            (order,) = book.values()
            if order.is_plain and not order.changes:
                return self._meet_alone(bar, account, book, order)
        return self._meet(bar, account)

    def _meet_alone(
        self, bar: Bar, account: AccountView, book: dict[str, _Resting], order: _Resting
    ) -> Iterable[OrderReport]:
        """`_meet` where one plain order is all that the book holds: it fills whole or not at all.

        `tests/parity/test_short_cuts.py` shows that the reports are those of `_meet`.
        """
        ts_open, ts_close, _, open_, high, low, _, _ = bar.values()
        if ts_open < order.arrival:  # it may not use the whole bar
            return self._meet(bar, account)
        command = order.command
        kind = order.order_type
        tick_size = self._fill_terms[command.instrument].tick_size
        if kind is _MARKET:
            code, ticks = FILL_AT_OPEN, compute_ticks(open_, tick_size, command.side)
        else:
            code, ticks = compute_limit_fill(
                command.side, order.limit_ticks, open_, high, low, tick_size,
                self._terms.limit_reach,
            )  # fmt: skip
            if code == NO_FILL:
                order.bars_waited += 1
                return ()
        ts_fill = compute_fill_time(code, ts_open, ts_close)
        return (self._fill(book, order, kind, code, ticks, ts_fill, order.leaves, 0),)

    def _meet(self, bar: Bar, account: AccountView) -> Iterator[OrderReport]:
        """Meet any book with a bar, in the pessimistic sequence."""
        book = self._books[bar.instrument]
        instrument = self._instruments[bar.instrument]
        tick_size = instrument.tick_float
        ts_open, ts_close, session_close, open_, high, low, close, volume = bar.values()
        reach = self._terms.limit_reach
        met: list[_Met] = []
        changed: list[_Resting] = []
        for order in list(book.values()):
            command = order.command
            if order.changes:
                while order.changes and order.changes[0][0] <= ts_open:
                    arrival, change = order.changes.pop(0)
                    yield self._change(book, change, arrival)
                if command.client_order_id not in book:
                    yield from self._answer_changes(book, order)
                    continue
                if order.changes:
                    changed.append(order)
            if 0 < order.ts_expire <= ts_open:
                self._remove(book, command.client_order_id)
                yield OrderExpired(command.client_order_id, "time in force")
                yield from self._answer_changes(book, order)
                continue
            window = compute_bar_window(order.arrival, ts_open, ts_close)
            if window == WINDOW_NONE:
                continue
            if command.time_in_force is _DAY and not order.ts_expire:
                order.ts_expire = session_close
            kind = order.order_type
            if window == WINDOW_WHOLE:
                code, ticks = compute_bar_fill(
                    kind, command.side, order.limit_ticks, order.stop_ticks, open_, high, low,
                    close, tick_size, reach,
                )  # fmt: skip
                ts_fill = compute_fill_time(code, ts_open, ts_close)
                rank = 0 if code == FILL_AT_OPEN else 2 if kind is _LIMIT else 1
            else:
                code, ticks = compute_bar_fill(
                    kind, command.side, order.limit_ticks, order.stop_ticks, close, close, close,
                    close, tick_size, reach,
                )  # fmt: skip
                ts_fill = ts_close
                rank = 3
            changes = order.changes and order.changes[0][0] < ts_close
            if rank and (changes or 0 < order.ts_expire < ts_close):
                code = NO_FILL  # it ends or changes inside the bar: only the open is surely before
            met.append((rank, order, code, ticks, ts_fill))
        if len(met) > 1:
            met.sort(key=itemgetter(0))
        capacity = INT64_MAX
        if self._terms.max_volume_ratio is not None:
            capacity = compute_bar_capacity_lots(
                volume, instrument.lot_float, self._terms.max_volume_ratio
            )
        for _, order, code, ticks, ts_fill in met:
            command = order.command
            immediate = command.time_in_force in _IMMEDIATE
            if immediate and code != FILL_AT_OPEN:
                self._remove(book, command.client_order_id)
                yield OrderCanceled(command.client_order_id, "not filled at once")
                continue
            if code != NO_FILL:
                before = order.filled_lots
                yield from self._execute(book, order, code, ticks, ts_fill, capacity, bar, account)
                capacity -= order.filled_lots - before
            order.bars_waited += 1
            if 0 < order.ts_expire <= ts_close and command.client_order_id in book:
                self._remove(book, command.client_order_id)
                yield OrderExpired(command.client_order_id, "time in force")
        for order in changed:
            over = order.command.client_order_id not in book
            yield from self._answer_changes(book, order, INT64_MAX if over else ts_close)

    def _answer_changes(
        self, book: dict[str, _Resting], order: _Resting, ts: int = INT64_MAX
    ) -> Iterator[OrderReport]:
        """Carry out the changes of an order that have arrived by `ts`."""
        while order.changes and order.changes[0][0] <= ts:
            arrival, change = order.changes.pop(0)
            yield self._change(book, change, arrival)

    def _execute(
        self,
        book: dict[str, _Resting],
        order: _Resting,
        code: int,
        ticks: int,
        ts_fill: int,
        capacity: int,
        bar: Bar,
        account: AccountView,
    ) -> list[OrderReport]:
        """What becomes of one order in one bar: trigger, fill, cancel of what may not wait."""
        command = order.command
        identity = command.client_order_id
        kind = order.order_type
        reports: list[OrderReport] = []
        if kind >= _STOP:
            order.order_type = _MARKET if kind is _STOP else _LIMIT
            reports.append(OrderTriggered(identity, order.stop_ticks))
        if code in _FILLS:
            wanted = order.leaves
            reducible = INT64_MAX
            if command.reduce_only:
                held = account.position_lots(command.strategy, command.instrument)
                reducible = max(0, -held * command.side)
                capacity = min(capacity, reducible)
            if not command.lots or (self._slips and (kind is _MARKET or kind is _STOP)):
                ticks, wanted = self._price(order, ticks, capacity, bar, account)
                if not wanted:
                    self._remove(book, identity)
                    return [OrderCanceled(identity, "the budget buys nothing")]
            lots = wanted if wanted < capacity else capacity
            if not command.lots:
                wanted = lots  # what the bar can't give is not waited for
            if lots < wanted and command.time_in_force is _FOK:
                lots = 0
            if lots > 0:
                fill = self._fill(book, order, kind, code, ticks, ts_fill, lots, wanted - lots)
                reports.append(fill)
            if identity in book and lots == reducible:
                self._remove(book, identity)
                reports.append(OrderCanceled(identity, "nothing to reduce"))
        if command.time_in_force in _IMMEDIATE and identity in book:
            self._remove(book, identity)
            reports.append(OrderCanceled(identity, "not filled at once"))
        return reports

    def _price(
        self, order: _Resting, ticks: int, capacity: int, bar: Bar, account: AccountView
    ) -> tuple[int, int]:
        """Ticks after slippage and lots wanted, sizing an order that is sized at its fill."""
        command = order.command
        instrument = self._instruments[command.instrument]
        sized = command.lots != 0
        wanted = order.leaves if sized else self._affordable(order, ticks, account)
        if order.order_type is not _MARKET:  # a stop has become one by now
            return ticks, wanted
        slipped = self._slip(order, ticks, min(wanted, capacity), bar)
        if not sized:
            wanted = self._affordable(order, slipped, account)
            wanted = min(wanted, instrument.max_lots or MAX_LOTS)
            if wanted < instrument.min_lots:
                wanted = 0
            slipped = self._slip(order, ticks, min(wanted, capacity), bar)
        return slipped, wanted

    def _slip(self, order: _Resting, ticks: int, lots: int, bar: Bar) -> int:
        quantity = lots * self._instruments[bar.instrument].lot_float
        return compute_slipped_ticks(
            self._terms.slippage, ticks, order.command.side, quantity, bar.volume
        )

    def _affordable(self, order: _Resting, ticks: int, account: AccountView) -> int:
        command = order.command
        budget = command.budget
        if command.budget_is_ratio:
            equity = account.equity_at(command.strategy, command.instrument, ticks)
            budget = compute_ratio_floor(max(equity, 0), budget)
        return compute_affordable_lots(
            self._terms.fees[command.instrument], LiquiditySide.TAKER, budget, ticks,
            self._instruments[command.instrument].minor_per_tick_lot, 0,
        )  # fmt: skip

    def _fill(
        self,
        book: dict[str, _Resting],
        order: _Resting,
        kind: OrderType,
        code: int,
        ticks: int,
        ts_fill: int,
        lots: int,
        leaves: int,
    ) -> OrderFilled:
        command = order.command
        identity, strategy, instrument = (
            command.client_order_id, command.strategy, command.instrument
        )  # fmt: skip
        terms = self._fill_terms[instrument]
        notional = lots * ticks * terms.factor
        liquidity = compute_liquidity_side(kind, order.bars_waited, code)
        ratio_e8 = terms.ratios_e8[liquidity]
        if ratio_e8 is not None and not order.filled_lots:
            fee = -(-notional * ratio_e8 // E8)
        else:
            fee = self._fee(order, liquidity, lots, notional, ts_fill)
        order.filled_lots += lots
        order.filled_notional += notional
        order.leaves = leaves
        if not leaves:
            self._remove(book, identity)
        return (OrderPartiallyFilled if leaves else OrderFilled)(
            identity, strategy, instrument, command.side, lots, ticks, notional, fee,
            _LIQUIDITY[liquidity], leaves, ts_fill,
        )  # fmt: skip

    def _fee(self, order: _Resting, liquidity: int, lots: int, notional: int, ts_fill: int) -> int:
        command = order.command
        schedule = self._terms.fees[command.instrument]
        month = 0
        if schedule.tiers > 1:
            record = self._months.setdefault(command.strategy, MonthNotional())
            month = add_month_notional(record, ts_fill, notional)
        return compute_fill_fee(
            schedule, liquidity, order.filled_lots, order.filled_notional, lots, notional, month
        )
