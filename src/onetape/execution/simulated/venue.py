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

import math
from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReduced,
    OrderRejected,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    OrderTriggered,
    VenueCommand,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.legs import market_of
from onetape.domain.market import Bar, TradingStatus
from onetape.domain.notional import compute_fill_notional, compute_notional
from onetape.domain.numbers import E8, INT64_MAX, MAX_LOTS, compute_ratio_floor, compute_ticks
from onetape.domain.orders import LiquiditySide, OrderType, RejectCode, TimeInForce
from onetape.domain.ports import AccountView
from onetape.domain.timestamps import to_iso
from onetape.execution.simulated.bar_matching import (
    FILL_AT_OPEN,
    FILL_INSIDE,
    NO_FILL,
    compute_bar_capacity_lots,
    compute_day_end,
    compute_fill_time,
    compute_limit_fill,
    compute_liquidity_side,
    compute_shown_lots,
)
from onetape.execution.simulated.fee_rules import (
    MonthVolume,
    add_month_volume,
    compute_affordable_lots,
    compute_fill_fee,
    compute_volume,
    flat_ratio_e8,
)
from onetape.execution.simulated.fill_terms import FillTerms, MarketPrice
from onetape.execution.simulated.halts import TradedSpan, TradingHalts
from onetape.execution.simulated.latency import compute_latency_ns
from onetape.execution.simulated.order_matching import (
    RANK_CLOSE,
    STRAIGHT,
    BarPrices,
    Place,
    can_walk,
    match_child,
    match_order,
    match_part,
    place_on_way,
    split_bar,
)
from onetape.execution.simulated.resting import Book, RestingOrder, follow_end, follow_fill
from onetape.execution.simulated.routes import RouteTerms, compute_delay_ns, connection_of
from onetape.execution.simulated.slippage import (
    SlippageTerms,
    compute_bounded_ticks,
    compute_slipped_ticks,
)
from onetape.execution.simulated.terms import VenueTerms

_LIQUIDITY = tuple(LiquiditySide)
_FILLS = (FILL_AT_OPEN, FILL_INSIDE)
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_AUCTIONS = (TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE)
_AT_ONCE = (*_IMMEDIATE, *_AUCTIONS)
_OF_A_SESSION = (TimeInForce.DAY, TimeInForce.AT_THE_CLOSE)
_MARKET, _LIMIT, _STOP = OrderType.MARKET, OrderType.LIMIT, OrderType.STOP
_GTC, _FOK, _AT_THE_OPEN = TimeInForce.GTC, TimeInForce.FOK, TimeInForce.AT_THE_OPEN


def _no_session(_: InstrumentId) -> int:
    return 0


def _no_bar(_: InstrumentId) -> Bar | None:
    return None


def _rank(met: tuple[Place, RestingOrder]) -> float:
    return met[0].rank


def _without_close(order: RestingOrder, place: Place | None, bar: Bar) -> Place | None:
    """The place of an order in a bar that ends in a halt, so that it closes with no auction."""
    is_closing = (
        order.command.time_in_force is TimeInForce.AT_THE_CLOSE
        and not order.held
        and order.arrival < bar.ts_close
        and bar.ts_open < bar.session_close <= bar.ts_close
    )
    if is_closing:
        return Place(RANK_CLOSE, NO_FILL, 0, bar.ts_close)
    if place is not None and place.rank == RANK_CLOSE:
        return place._replace(code=NO_FILL)
    return place


class TakenLots(NamedTuple):
    """Lots of a level that our orders have taken, while row `stamp` tells its size."""

    instrument: InstrumentId
    is_bid: bool
    ticks: int
    stamp: int
    lots: int


class VenueState(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a `SimulatedVenue` holds between two steps.

    `orders` are those on the books, by instrument and then oldest first; `queue` the commands that
    have not arrived, with their arrival (ns UTC); `left` by instrument the close (ns UTC) of its
    newest bar that orders have met, and the lots that it can still give; `taken` what has been
    taken of quotes and levels that still stand.
    """

    orders: list[RestingOrder]
    months: dict[str, MonthVolume]
    queue: list[tuple[int, VenueCommand]]
    last_arrival: int
    received: int
    accepted: int
    last_arrivals: dict[str, int] = {}
    left: dict[str, tuple[int, int]] = {}
    taken: list[TakenLots] = []


class _FillTerms(msgspec.Struct, frozen=True, kw_only=True):
    """What fills of one instrument need: looked up once.

    `factor` is its `minor_per_tick_lot`, `inverse_factor` its own, `ratios_e8` the `flat_ratio_e8`
    of each `LiquiditySide`, `plain_types` the order types that `_meet_alone` can meet.
    `max_volume_ratio` is the share of a bar that fills may take, None without a bound.
    """

    factor: int
    inverse_factor: int
    tick_size: float
    ratios_e8: tuple[int | None, ...]
    fill: FillTerms
    slippage: SlippageTerms
    max_volume_ratio: float | None
    plain_types: tuple[OrderType, ...]


class SimulatedVenue:
    """Takes commands, meets bars, answers with reports.

    Commands arrive in the order they were sent: a delay shorter than that of the command before it
    is stretched, as on one connection. Under `VenueTerms.routes` each strategy has its own.

    Args:
        instruments: What it trades.
        terms: How it fills and what it charges.
        newest_bar: The newest known bar of an instrument; for fills at the close of a decision.
        account: Whose orders these are; for the same.
        halts: When its instruments are halted. Nothing fills then; orders that rest stay, cancels
            are carried out, new orders and changes are rejected (or held, by `VenueTerms`). None:
            they never are.

    Attributes:
        next_arrival: When the next command arrives, ns UTC; the largest int64 when none is due.
        active: How many orders and commands this venue holds.
    """

    __slots__ = (
        "_accepted", "_account", "_book_of", "_books", "_capacity", "_ended", "_fill_terms",
        "_fills_at_close", "_halts", "_instruments", "_is_instant", "_last_arrival",
        "_last_arrivals", "_left", "_months", "_newest_bar", "_queue", "_received", "_slips",
        "_terms", "active", "next_arrival",
    )  # fmt: skip

    def __init__(
        self,
        instruments: Sequence[Instrument],
        terms: VenueTerms,
        newest_bar: Callable[[InstrumentId], Bar | None] = _no_bar,
        account: AccountView | None = None,
        halts: TradingHalts | None = None,
    ) -> None:
        self._halts = halts
        self._instruments = {each.id: each for each in instruments}
        self._terms = terms
        self._books: dict[InstrumentId, Book] = {}
        for each in instruments:  # legs share the book of their instrument, which comes before them
            self._books[each.id] = self._books.get(market_of(each.id), {})
        self._book_of: dict[str, Book] = {}
        self._months: dict[str, MonthVolume] = {}
        self._queue: deque[tuple[int, VenueCommand]] = deque()
        self._last_arrival = 0
        self._received = 0
        self._accepted = 0
        self._last_arrivals: dict[str, int] = {}
        self._is_instant = (
            terms.latency.mean_ns == terms.latency.std_ns == 0 and terms.routes is None
        )
        self._slips = any(terms.slippage_of(each.id) != SlippageTerms() for each in instruments)
        self._fill_terms = {
            each.id: _FillTerms(
                factor=each.minor_per_tick_lot,
                inverse_factor=each.inverse_factor,
                tick_size=each.tick_float,
                ratios_e8=tuple(flat_ratio_e8(terms.fees[each.id], side) for side in _LIQUIDITY),
                fill=terms.fill_of(each.id),
                slippage=terms.slippage_of(each.id),
                max_volume_ratio=terms.max_volume_ratio_of(each.id),
                plain_types=self._find_plain_types(each.id),
            )
            for each in instruments
        }
        self._capacity = INT64_MAX
        self._newest_bar = newest_bar
        self._account = account
        self._fills_at_close = any(
            each.fill.market is MarketPrice.SAME_CLOSE for each in self._fill_terms.values()
        )
        self._left: dict[InstrumentId, tuple[int, int]] = {}
        self._ended: list[RestingOrder] = []
        self.active = 0
        self.next_arrival = INT64_MAX

    def _find_plain_types(self, instrument: InstrumentId) -> tuple[OrderType, ...]:
        terms, fill = self._terms, self._terms.fill_of(instrument)
        slips = terms.slippage_of(instrument) != SlippageTerms()
        if terms.max_volume_ratio_of(instrument) is not None or fill.path in STRAIGHT:
            return ()
        if slips and terms.limit_slippage:
            return ()
        if slips or fill.market is not MarketPrice.NEXT_OPEN:
            return (_LIMIT,)
        return (_MARKET, _LIMIT)

    def save(self) -> VenueState:
        """Books and commands under way, between two steps."""
        return VenueState(
            orders=[
                order
                for name, book in self._books.items()
                if market_of(name) == name
                for order in book.values()
            ],
            months=dict(sorted(self._months.items())),
            queue=list(self._queue),
            last_arrival=self._last_arrival,
            received=self._received,
            accepted=self._accepted,
            last_arrivals=dict(self._last_arrivals),
            left={str(each): left for each, left in self._left.items()},
        )

    def restore(self, state: VenueState) -> None:
        """Go on where `state` was saved."""
        for order in state.orders:
            book = self._book_of[order.identity] = self._books[order.command.instrument]
            book[order.identity] = order
        self._months = state.months
        self._queue = deque(state.queue)
        self._last_arrival = state.last_arrival
        self._received = state.received
        self._accepted = state.accepted
        self._last_arrivals = dict(state.last_arrivals)
        self._left = {InstrumentId(each): left for each, left in state.left.items()}
        waiting = sum(len(order.changes) for order in state.orders)
        self.active = len(state.orders) + waiting + len(self._queue)
        self.next_arrival = self._queue[0][0] if self._queue else INT64_MAX

    def receive(self, commands: Sequence[VenueCommand], now: int) -> None:
        """Commands leave us at `now`; each arrives after its latency."""
        queue = self._queue
        if self._terms.routes is not None:
            self._route(self._terms.routes, commands, now)
            return
        is_instant = self._is_instant
        for command in commands:
            queue.append((now if is_instant else self._delay(command, now), command))
        self.next_arrival = queue[0][0]
        self.active += len(commands)

    def _route(self, routes: RouteTerms, commands: Sequence[VenueCommand], now: int) -> None:
        """Commands on the connections of their strategies, into the queue by their arrival."""
        for command in commands:
            connection = connection_of(command.client_order_id)
            arrival = self._last_arrivals.get(connection, 0)
            conditions = command.conditions if isinstance(command, OrderSubmitted) else None
            if conditions is None or not conditions.parent:  # else one message with its parent
                arrival = max(arrival, now + compute_delay_ns(routes, command, now))
                self._last_arrivals[connection] = arrival
            at = len(self._queue)
            while at and self._queue[at - 1][0] > arrival:
                at -= 1
            self._queue.insert(at, (arrival, command))
        self.next_arrival = self._queue[0][0]
        self.active += len(commands)

    def _delay(self, command: VenueCommand, now: int) -> int:
        conditions = command.conditions if isinstance(command, OrderSubmitted) else None
        if conditions is not None and conditions.parent:
            return self._last_arrival  # one message with its parent
        self._received += 1
        arrival = now + compute_latency_ns(self._terms.latency, self._received)
        self._last_arrival = arrival = max(arrival, self._last_arrival)
        return arrival

    def arrive(
        self,
        ts: int,
        last_close: Callable[[InstrumentId], int],
        session_close: Callable[[InstrumentId], int] = _no_session,
    ) -> Iterable[OrderReport]:
        """Take every command that has arrived by `ts` and answer it.

        A cancel or replace that arrives after `last_close`, the close of the newest known bar of
        the instrument, waits for the next bar: only that tells whether the order has filled before.
        `session_close` is the end of that bar's session.
        """
        reports = self._take_arrived(ts, last_close, session_close)
        return reports if not self._fills_at_close else self._fill_at_close(reports, ts)

    def _take_arrived(
        self,
        ts: int,
        last_close: Callable[[InstrumentId], int],
        session_close: Callable[[InstrumentId], int],
    ) -> list[OrderReport]:
        queue = self._queue
        reports: list[OrderReport] = []
        while queue and queue[0][0] <= ts:
            arrival, command = queue.popleft()
            identity = command.client_order_id
            if type(command) is OrderSubmitted:
                reports += self._accept(command, arrival, session_close)
                continue
            book = self._book_of.get(identity)
            order = book[identity] if book is not None else None
            if order is not None and arrival > last_close(order.command.instrument):
                order.changes.append((arrival, command))
            else:
                reports.append(self._change(book, command, arrival))
                if book is not None and self._ended:
                    reports += self._end_children(book)
        self.next_arrival = queue[0][0] if queue else INT64_MAX
        return reports

    def _fill_at_close(self, reports: list[OrderReport], ts: int) -> Iterator[OrderReport]:
        """What has arrived, then the market orders among it that fill at the close of `ts`.

        Each report is processed before the next is asked for, as those of `on_bar`.
        """
        accepted = [each.client_order_id for each in reports if isinstance(each, OrderAccepted)]
        yield from reports
        for identity in accepted:
            book = self._book_of.get(identity)
            if book is None:
                continue
            order = book[identity]
            instrument = order.command.instrument
            terms = self._fill_terms[instrument]
            bar = self._newest_bar(instrument)
            if (
                bar is None
                or bar.ts_close != order.arrival
                or 0 < order.ts_expire <= order.arrival
                or order.held
                or order.order_type is not _MARKET
                or order.command.time_in_force in _AUCTIONS
                or terms.fill.market is not MarketPrice.SAME_CLOSE
                or self._account is None
                or self._is_halted_around(instrument, order.arrival)
            ):
                continue
            self._capacity = self._capacity_of(bar)
            met_ts, left = self._left.get(bar.instrument, (0, 0))
            if met_ts == ts:
                self._capacity = left
            ticks = compute_ticks(bar.close, terms.tick_size, order.command.side)
            place = Place(RANK_CLOSE, FILL_AT_OPEN, ticks, bar.ts_close)
            yield from self._execute(book, order, place, bar, self._account)
            yield from self._end_children(book)
            self._left[bar.instrument] = (ts, self._capacity)

    def _is_halted(self, instrument: InstrumentId, ts: int) -> bool:
        return self._find_halt(instrument, ts) is not None

    def _find_halt(self, instrument: InstrumentId, ts: int) -> TradingStatus | None:
        return self._halts.find(market_of(instrument), ts) if self._halts is not None else None

    def _is_halted_around(self, instrument: InstrumentId, ts: int) -> bool:
        """Whether an instrument is halted at `ts`, or was right before it."""
        return self._is_halted(instrument, ts) or self._is_halted(instrument, ts - 1)

    def _capacity_of(self, bar: Bar) -> int:
        """Lots that all our orders together may fill in a bar."""
        ratio = self._fill_terms[bar.instrument].max_volume_ratio
        if ratio is None:
            return INT64_MAX
        lot = self._instruments[bar.instrument].lot_float
        return compute_bar_capacity_lots(bar.volume, lot, ratio)

    def cancel_all(
        self, instrument: InstrumentId, reason: str, strategy: str = ""
    ) -> Iterator[OrderReport]:
        """Take every order of an instrument (and `strategy`) off, on its book or on its way here.

        A change of one that has arrived is answered; one on its way will find no order.
        """
        book = self._books[instrument]
        resting = [
            each
            for each in book.values()
            if instrument in (each.command.instrument, market_of(each.command.instrument))
            and strategy in ("", each.command.strategy)
        ]
        for order in resting:
            self._remove(book, order.identity)
        self._ended.clear()  # what they were parents of goes with them
        coming = [
            (arrival, command)
            for arrival, command in self._queue
            if isinstance(command, OrderSubmitted)
            and instrument in (command.instrument, market_of(command.instrument))
            and strategy in ("", command.strategy)
        ]
        for each in coming:
            self._queue.remove(each)
            self.active -= 1
        self.next_arrival = self._queue[0][0] if self._queue else INT64_MAX
        for order in resting:
            yield OrderCanceled(order.identity, reason)
            yield from self._answer_changes(book, order)
        for _, command in coming:
            yield OrderCanceled(command.client_order_id, reason)

    def _accept(
        self, command: OrderSubmitted, arrival: int, session_close: Callable[[InstrumentId], int]
    ) -> tuple[OrderReport, ...]:
        identity, kind, lots = command.client_order_id, command.order_type, command.lots
        if self._halts is not None:
            refusal = self._refuse_halted(command.instrument, arrival, command.time_in_force)
            if refusal:
                self.active -= 1
                return (OrderRejected(identity, RejectCode.HALTED, refusal),)
        is_plain = (
            lots > 0
            and kind in self._fill_terms[command.instrument].plain_types
            and command.time_in_force is _GTC
            and not command.reduce_only
            and command.conditions is None
        )
        book = self._book_of[identity] = self._books[command.instrument]
        order = book[identity] = RestingOrder(
            command, kind, arrival, lots, command.limit_ticks, command.stop_ticks,
            command.ts_expire, is_plain,
        )  # fmt: skip
        self._accepted += 1
        accepted = OrderAccepted(identity, f"sim-{self._accepted}")
        if command.time_in_force is _AT_THE_OPEN:
            order.session_close = session_close(command.instrument)
        elif command.time_in_force in _OF_A_SESSION:
            order.ts_expire = compute_day_end(arrival, session_close(command.instrument))
        if command.conditions is not None and command.conditions.parent:
            parent = book.get(command.conditions.parent)
            if parent is None:
                self._remove(book, identity)
                return accepted, OrderCanceled(identity, "its parent is not on the book")
            parent.is_plain = False
            parent.is_parent = order.held = True
        return (accepted,)

    def _refuse_halted(
        self, instrument: InstrumentId, arrival: int, time_in_force: TimeInForce = _GTC
    ) -> str:
        """Why an order (or a change of one) that arrives is rejected; empty: it is not.

        What can't wait is rejected even where others are held.
        """
        halt = self._find_halt(instrument, arrival)
        if halt is None or (self._terms.holds_in_halts and time_in_force not in _IMMEDIATE):
            return ""
        reason = f" ({halt.reason})" if halt.reason else ""
        return f"halted since {to_iso(halt.ts_event)}{reason}"

    def _change(
        self,
        book: Book | None,
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
        if refusal := self._refuse_halted(order.command.instrument, arrival):
            return OrderReplaceRejected(identity, RejectCode.HALTED, refusal)
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

    def _remove(self, book: Book, client_order_id: str) -> None:
        order = book.pop(client_order_id)
        del self._book_of[client_order_id]
        self.active -= 1
        if order.is_parent:
            self._ended.append(order)

    def on_bar(self, bar: Bar, account: AccountView) -> Iterable[OrderReport]:
        """Meet the book of an instrument with its next bar.

        Each report must be processed before the next is asked for: an order sized at its fill sees
        the books as the fills before it left them.
        """
        book = self._books[bar.instrument]
        if not book:
            return ()
        if self._halts is not None:
            span = self._halts.find_span(bar.instrument, bar.ts_open, bar.ts_close)
            return self._meet(bar, account, span) if span else self._pass_halted(book, bar)
        if len(book) == 1:
            (order,) = book.values()
            if order.is_plain and not order.changes:
                return self._meet_alone(bar, account, book, order)
        return self._meet(bar, account)

    def _meet_alone(
        self, bar: Bar, account: AccountView, book: Book, order: RestingOrder
    ) -> Iterable[OrderReport]:
        """`_meet` where one plain order is all that the book holds: it fills whole or not at all.

        `tests/parity/test_short_cuts.py` shows that the reports are those of `_meet`.
        """
        ts_open, open_, high, low = bar.reach()
        if ts_open < order.arrival:  # it may not use the whole bar
            return self._meet(bar, account)
        command = order.command
        kind = order.order_type
        terms = self._fill_terms[command.instrument]
        if kind is _MARKET:
            code, ticks = FILL_AT_OPEN, compute_ticks(open_, terms.tick_size, command.side)
        else:
            code, ticks = compute_limit_fill(
                command.side, order.limit_ticks, open_, high, low, terms.tick_size,
                terms.fill.limit_reach,
            )  # fmt: skip
            if code == NO_FILL:
                order.bars_waited += 1
                return ()
        ts_fill = compute_fill_time(code, ts_open, bar.read("ts_close"))
        return (self._fill(book, order, kind, code, ticks, ts_fill, order.leaves, 0),)

    def _meet(
        self, bar: Bar, account: AccountView, span: TradedSpan | None = None
    ) -> Iterator[OrderReport]:
        """Meet any book with a bar, in the sequence that its path says.

        Of a bar that touches a halt only the `span` is met that traded: as a bar from there to
        there, whose close is no price to wait for where it ends in the halt.
        """
        book = self._books[bar.instrument]
        terms = self._fill_terms[bar.instrument]
        tick_size, fill = terms.tick_size, terms.fill
        vwap = bar.vwap if fill.market is MarketPrice.VWAP else math.nan
        prices = BarPrices(*bar.values())
        if span is not None:
            prices = prices._replace(ts_open=span.ts_open, ts_close=span.ts_close)
        parts = split_bar(prices, fill.path) if fill.path in STRAIGHT else None
        walkers: list[RestingOrder] = []
        met: list[tuple[Place, RestingOrder]] = []
        changed: list[RestingOrder] = []
        for order in list(book.values()):
            if order.identity not in book:  # it went with its parent
                continue
            if order.changes:
                while order.changes and order.changes[0][0] <= prices.ts_open:
                    arrival, change = order.changes.pop(0)
                    yield self._change(book, change, arrival)
                    yield from self._end_children(book)
                if order.identity not in book:
                    yield from self._answer_changes(book, order)
                    continue
                if order.changes:
                    changed.append(order)
            if 0 < order.ts_expire <= prices.ts_open:
                self._remove(book, order.identity)
                yield OrderExpired(order.identity, "time in force")
                yield from self._answer_changes(book, order)
                yield from self._end_children(book)
                continue
            if (
                order.command.time_in_force in _OF_A_SESSION
                and not order.ts_expire
                and order.arrival < bar.ts_close
            ):
                order.ts_expire = prices.session_close
            changes = order.changes and order.changes[0][0] < prices.ts_close
            is_cut = bool(changes) or 0 < order.ts_expire < prices.ts_close
            walks = parts is not None and not is_cut and can_walk(order, prices, fill)
            met_part = parts[0] if walks and parts is not None else prices
            place = match_order(order, met_part, tick_size, fill, vwap) if not order.held else None
            if span is not None and span.ends_halted:
                place = _without_close(order, place, bar)
            if place is None:
                continue
            if place.rank and is_cut:
                # It ends or changes inside the bar: only the open is surely before.
                place = place._replace(code=NO_FILL)
            if walks:
                place = place_on_way(place, met_part, tick_size)
                walkers.append(order)
            met.append((place, order))
        if len(met) > 1:
            met.sort(key=_rank)
        self._capacity = self._capacity_of(bar)
        held = [order.identity for order in book.values() if order.held]
        if parts is not None:
            yield from self._walk(book, met, walkers, parts, bar, account)
            met = []
        while met:
            born: list[tuple[Place, RestingOrder]] = []
            for place, order in met:
                if order.identity not in book:
                    continue
                yield from self._meet_one(book, order, place, bar, account)
                if order.is_parent and place.rank < RANK_CLOSE and order.filled_lots:
                    born += [
                        (match_child(child, place, prices, tick_size, fill), child)
                        for child in book.values()
                        if child.identity in held and child.conditions.parent == order.identity
                    ]
            met = sorted(born, key=_rank)
        for order in changed:
            over = order.identity not in book
            yield from self._answer_changes(book, order, INT64_MAX if over else bar.ts_close)
        if self._fills_at_close and terms.max_volume_ratio is not None:
            self._left[bar.instrument] = (bar.ts_close, self._capacity)

    def _pass_halted(self, book: Book, bar: Bar) -> Iterator[OrderReport]:
        """A bar in which nothing traded: changes are answered, orders end, the others stay.

        An opening waits until trading goes on; a closing auction that falls in the halt is none.
        """
        ts_close, session_close = bar.ts_close, bar.session_close
        for order in list(book.values()):
            if order.identity not in book:
                continue
            yield from self._answer_changes(book, order, ts_close)
            time_in_force = order.command.time_in_force
            if time_in_force in _OF_A_SESSION and not order.ts_expire and order.arrival < ts_close:
                order.ts_expire = session_close
            report: OrderReport | None = None
            if order.identity not in book:
                yield from self._answer_changes(book, order)
            elif time_in_force in _IMMEDIATE:
                report = OrderCanceled(order.identity, "not filled at once")
            elif time_in_force is TimeInForce.AT_THE_CLOSE and session_close <= ts_close:
                report = OrderCanceled(order.identity, "not filled in the auction")
            elif 0 < order.ts_expire <= ts_close:
                report = OrderExpired(order.identity, "time in force")
            else:
                order.bars_waited += 1
            if report is not None:
                self._remove(book, order.identity)
                yield report
                yield from self._answer_changes(book, order)
                yield from self._end_children(book)

    def _walk(
        self,
        book: Book,
        met: list[tuple[Place, RestingOrder]],
        walkers: list[RestingOrder],
        parts: Sequence[BarPrices],
        bar: Bar,
        account: AccountView,
    ) -> Iterator[OrderReport]:
        """Meet a book along a straight way: each order where the way passes it.

        `met` is sorted; `walkers` are those of it that see the whole bar.
        """
        terms = self._fill_terms[bar.instrument]
        tick_size, fill = terms.tick_size, terms.fill
        late = [each for each in met if each[0].rank == RANK_CLOSE]
        pending = met[: len(met) - len(late)]
        waiting = {each.identity for each in book.values() if each.held}
        for number, part in enumerate(parts):
            if number:
                pending = [
                    (match_part(order, part, tick_size, fill), order)
                    for order in walkers
                    if order.identity in book
                ]
                pending.sort(key=_rank)
            is_last = number == len(parts) - 1
            fresh = number == 0
            born: set[str] = set()
            while pending:
                place, order = pending.pop(0)
                if order.identity not in book:
                    continue
                if place.code == NO_FILL and not (fresh or is_last or order.identity in born):
                    continue
                ends = is_last or not any(each is order for each in walkers)
                yield from self._meet_one(book, order, place, bar, account, ends=ends)
                if not order.is_parent or not order.filled_lots:
                    continue
                for child in book.values():
                    if child.identity in waiting and child.conditions.parent == order.identity:
                        waiting.remove(child.identity)
                        born.add(child.identity)
                        walkers.append(child)
                        insort(
                            pending,
                            (match_child(child, place, part, tick_size, fill), child),
                            key=_rank,
                        )
        for place, order in late:
            if order.identity in book:
                yield from self._meet_one(book, order, place, bar, account)

    def _meet_one(
        self,
        book: Book,
        order: RestingOrder,
        place: Place,
        bar: Bar,
        account: AccountView,
        *,
        ends: bool = True,
    ) -> Iterator[OrderReport]:
        """What becomes of one order at its place in a bar, or in a part of it that `ends` it."""
        identity, time_in_force = order.identity, order.command.time_in_force
        code = place.code
        reason = ""
        if time_in_force in _IMMEDIATE and code != FILL_AT_OPEN:
            reason = "not filled at once"
        elif time_in_force in _AUCTIONS and code == NO_FILL:
            reason = "not filled in the auction"
        elif order.conditions.post_only and code == FILL_AT_OPEN and not order.bars_waited:
            reason = "post only, and it would take"
        if reason:
            self._remove(book, identity)
            yield OrderCanceled(identity, reason)
            yield from self._end_children(book)
            return
        if code != NO_FILL:
            yield from self._execute(book, order, place, bar, account)
            yield from self._end_children(book)
        order.bars_waited += 1
        if ends and 0 < order.ts_expire <= bar.ts_close and identity in book:
            self._remove(book, identity)
            yield OrderExpired(identity, "time in force")
            yield from self._end_children(book)

    def _end_children(self, book: Book) -> Iterator[OrderReport]:
        """Tell the children of orders that have ended, and theirs."""
        while self._ended:
            for report in follow_end(book, self._ended.pop(0)):
                yield from self._bind(book, report)

    def _bind(self, book: Book, report: OrderCanceled | OrderReduced) -> Iterator[OrderReport]:
        """A report about an order that follows from another one; a canceled one is taken off."""
        order = book[report.client_order_id]
        if isinstance(report, OrderCanceled):
            self._remove(book, report.client_order_id)
            yield report
            yield from self._answer_changes(book, order)
        else:
            yield report

    def _answer_changes(
        self, book: Book, order: RestingOrder, ts: int = INT64_MAX
    ) -> Iterator[OrderReport]:
        """Carry out the changes of an order that have arrived by `ts`."""
        while order.changes and order.changes[0][0] <= ts:
            arrival, change = order.changes.pop(0)
            yield self._change(book, change, arrival)
            yield from self._end_children(book)

    def _execute(
        self,
        book: Book,
        order: RestingOrder,
        place: Place,
        bar: Bar,
        account: AccountView,
        *,
        is_only: bool = True,
    ) -> Iterator[OrderReport]:
        """What becomes of an order that the bar reaches: trigger, fill, cancel of what can't wait.

        Each report is processed before what follows from it is looked at. `is_only` is False where
        it may find more in other places at once, so that what can't wait is not canceled yet.
        """
        command = order.command
        identity = command.client_order_id
        kind = order.order_type
        code, ticks = place.code, place.ticks
        short = (0, 0)
        if kind >= _STOP:
            order.order_type = kind.triggered
            yield OrderTriggered(identity, order.stop_ticks)
        if code in _FILLS:
            wanted = order.leaves
            capacity = min(self._capacity, order.ready)
            if order.conditions.display_lots and (code != FILL_AT_OPEN or order.bars_waited):
                capacity = min(capacity, self._shown_lots(order, kind, place, bar))
            reducible = INT64_MAX
            if command.reduce_only:
                held = account.position_lots(command.strategy, command.instrument)
                reducible = max(0, -held * command.side)
                capacity = min(capacity, reducible)
            if not command.lots or (self._slips and self._may_slip(order, kind, code)):
                ticks, wanted = self._price(order, ticks, capacity, bar, account)
                if not wanted:
                    self._remove(book, identity)
                    yield OrderCanceled(identity, "the budget buys nothing")
                    return
            lots = wanted if wanted < capacity else capacity
            if not command.lots:
                wanted = lots  # what the bar can't give is not waited for
            if lots < wanted and command.time_in_force is _FOK and is_only:
                short, lots = (wanted, lots), 0
            if lots > 0:
                self._capacity -= lots
                if order.ready != INT64_MAX:
                    order.ready -= lots
                leaves = wanted - lots
                yield self._fill(book, order, kind, code, ticks, place.ts_fill, lots, leaves)
                if order.is_parent or command.conditions is not None:
                    for report in follow_fill(book, order, lots):
                        yield from self._bind(book, report)
            if identity in book and lots == reducible and order.conditions.parent not in book:
                self._remove(book, identity)
                yield OrderCanceled(identity, "nothing to reduce")
        if is_only and command.time_in_force in _AT_ONCE and identity in book:
            self._remove(book, identity)
            yield OrderCanceled(identity, "not filled at once", *short)

    def _may_slip(self, order: RestingOrder, kind: OrderType, code: int) -> bool:
        """Whether slippage counts: at market, and by setting for a limit that takes in no auction.

        `kind` is the order's type before the bar.
        """
        return order.order_type is _MARKET or (
            self._terms.limit_slippage
            and order.command.time_in_force not in _AUCTIONS
            and compute_liquidity_side(kind, order.bars_waited, code) == LiquiditySide.TAKER
        )

    def _shown_lots(self, order: RestingOrder, kind: OrderType, place: Place, bar: Bar) -> int:
        """What a resting iceberg may fill; one slice where it rests from inside the bar on."""
        shown = order.conditions.display_lots
        if kind is _LIMIT and (order.bars_waited or not order.conditions.parent):
            high, low = (bar.close, bar.close) if place.rank == RANK_CLOSE else (bar.high, bar.low)
            tick_size = self._fill_terms[bar.instrument].tick_size
            shown = compute_shown_lots(
                shown, order.command.side, order.limit_ticks, high, low, tick_size
            )
        if shown == order.conditions.display_lots:
            if order.ts_shown == bar.ts_close:
                return 0
            order.ts_shown = bar.ts_close
        return shown

    def _price(
        self, order: RestingOrder, ticks: int, capacity: int, bar: Bar, account: AccountView
    ) -> tuple[int, int]:
        """Ticks after slippage and lots wanted, sizing an order that is sized at its fill."""
        command = order.command
        instrument = self._instruments[command.instrument]
        sized = command.lots != 0
        wanted = order.leaves if sized else self._affordable(order, ticks, account)
        if order.order_type is not _MARKET:  # a stop has become one by now
            if self._slips and self._terms.limit_slippage:
                slipped = self._slip(order, ticks, min(wanted, capacity), bar)
                return compute_bounded_ticks(slipped, command.side, order.limit_ticks), wanted
            return ticks, wanted
        slipped = self._slip(order, ticks, min(wanted, capacity), bar)
        if not sized:
            wanted = self._affordable(order, slipped, account)
            wanted = min(wanted, instrument.max_lots or MAX_LOTS)
            if wanted < instrument.min_lots:
                wanted = 0
            slipped = self._slip(order, ticks, min(wanted, capacity), bar)
        return slipped, wanted

    def _slip(self, order: RestingOrder, ticks: int, lots: int, bar: Bar) -> int:
        quantity = lots * self._instruments[bar.instrument].lot_float
        slippage = self._fill_terms[bar.instrument].slippage
        return compute_slipped_ticks(slippage, ticks, order.command.side, quantity, bar.volume)

    def _affordable(self, order: RestingOrder, ticks: int, account: AccountView) -> int:
        command = order.command
        budget = command.budget
        if command.budget_is_ratio:
            equity = account.equity_at(command.strategy, command.instrument, ticks)
            budget = compute_ratio_floor(max(equity, 0), budget)
        factor = self._fill_terms[command.instrument].factor
        inverse_factor = self._fill_terms[command.instrument].inverse_factor
        if inverse_factor:
            ticks, factor = 1, compute_notional(1, ticks, 0, inverse_factor)
        return compute_affordable_lots(
            self._terms.fees[command.instrument], LiquiditySide.TAKER, budget, ticks, factor, 0
        )

    def _fill(
        self,
        book: Book,
        order: RestingOrder,
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
        if terms.inverse_factor:
            notional = compute_fill_notional(lots, ticks, 0, terms.inverse_factor, command.side)
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

    def _fee(
        self, order: RestingOrder, liquidity: int, lots: int, notional: int, ts_fill: int
    ) -> int:
        command = order.command
        schedule = self._terms.fees[command.instrument]
        month = 0
        if schedule.tiers > 1:
            whose = self._terms.month_of(command.strategy, command.instrument)
            record = self._months.setdefault(whose, MonthVolume())
            month = add_month_volume(record, ts_fill, compute_volume(schedule, lots, notional))
        return compute_fill_fee(
            schedule, command.side, liquidity, order.filled_lots, order.filled_notional, lots,
            notional, month, ts_fill,
        )  # fmt: skip
