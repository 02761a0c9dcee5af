"""The simulated venue on quotes, on the levels of a book, and on prints with a queue.

Fills when: an order meets what stands at its arrival: a market order, and a limit order that
    crosses, takes the best opposite price (of a book: level by level). What is left of a limit
    order rests and fills at its limit, from prints and from opposite prices that come to it, as
    `limit_reach` and the queue model say. Stops and if-touched orders are triggered by the price
    that `Trigger` names, and then meet what stands. What our orders have taken is not there again
    until the venue tells another size.
Ignores: auctions; hidden orders; that our orders change what others do.
Units: ticks, lots, ns UTC.
Source: ours; the queue models name theirs.

Where rows are known later than they happen, what stands at an arrival is known with the next row
only, and the venue answers then. An order fills only from rows that happened after its arrival,
except for what stood at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from onetape.domain.events import (
    OrderCanceled,
    OrderCancelPending,
    OrderExpired,
    OrderReplaced,
    OrderReplacePending,
    OrderReport,
    OrderTriggered,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import Bar, TickKind
from onetape.domain.numbers import INT64_MAX, compute_ticks
from onetape.domain.orders import OrderType, TimeInForce
from onetape.domain.ports import AccountView, StandingMarket
from onetape.domain.trailing import compute_trailing_stop
from onetape.execution.simulated.bar_matching import FILL_AT_OPEN, FILL_INSIDE
from onetape.execution.simulated.fill_terms import FillTerms, QueueModel, RestOfOrder, Trigger
from onetape.execution.simulated.halts import TradingHalts
from onetape.execution.simulated.order_matching import RANK_OPEN, Place
from onetape.execution.simulated.queue_rules import (
    compute_ahead,
    compute_print_fill,
    compute_walked_ticks,
    is_crossed,
    is_triggered,
)
from onetape.execution.simulated.resting import Book, RestingOrder
from onetape.execution.simulated.terms import VenueTerms
from onetape.execution.simulated.venue import SimulatedVenue, TakenLots, VenueState

_MARKET, _LIMIT = OrderType.MARKET, OrderType.LIMIT
_IMMEDIATE = (TimeInForce.IOC, TimeInForce.FOK)
_AUCTIONS = (TimeInForce.AT_THE_OPEN, TimeInForce.AT_THE_CLOSE)
_PRINT = TickKind.PRINT.value
_UNSEEN = INT64_MAX
_ON_TICK = 1e-6

Reports = Iterator[OrderReport]


class _Met(msgspec.Struct, frozen=True):
    """Where an order meets the market: the book that it is on, what stands, when, and the row."""

    book: Book
    depth: StandingMarket
    ts: int
    bar: Bar
    fill: FillTerms


class TickVenue(SimulatedVenue):
    """Takes commands, meets rows of quotes, depth or prints, answers with reports.

    Args:
        instruments: What it trades.
        terms: How it fills and what it charges.
        newest_bar: The newest known row of an instrument.
        account: Whose orders these are.
        standing: What stands after that row.
        halts: When its instruments are halted; None: they never are.
    """

    __slots__ = ("_client", "_standing", "_taken")

    def __init__(
        self,
        instruments: Sequence[Instrument],
        terms: VenueTerms,
        newest_bar: Callable[[InstrumentId], Bar | None],
        account: AccountView,
        standing: Callable[[InstrumentId], StandingMarket],
        halts: TradingHalts | None = None,
    ) -> None:
        super().__init__(instruments, terms, newest_bar, account, halts)
        self._client = account
        self._standing = standing
        self._taken: dict[tuple[InstrumentId, bool, int], TakenLots] = {}

    def save(self) -> VenueState:
        """Books, commands under way and what was taken, between two steps."""
        return msgspec.structs.replace(super().save(), taken=list(self._taken.values()))

    def restore(self, state: VenueState) -> None:
        """Go on where `state` was saved."""
        super().restore(state)
        self._taken = {(each.instrument, each.is_bid, each.ticks): each for each in state.taken}

    def arrive(
        self,
        ts: int,
        last_close: Callable[[InstrumentId], int],
        session_close: Callable[[InstrumentId], int] = lambda _: 0,
    ) -> Iterable[OrderReport]:
        """Take every command that has arrived by `ts`, and let new orders meet what stands.

        A cancel or a replace is answered at once, unless rows are known late: then by the next row.
        """

        def known(instrument: InstrumentId) -> int:
            is_late = self._standing(instrument).is_late
            return last_close(instrument) if is_late else INT64_MAX

        yield from self._take_arrived(ts, known, session_close)
        for instrument, book in self._books.items():
            if all(order.is_placed for order in book.values()):
                continue
            depth, bar = self._standing(instrument), self._newest_bar(instrument)
            if bar is None or depth.is_late or not depth.is_whole or not depth.has_quotes:
                continue
            for order in list(book.values()):
                if not order.is_placed and order.identity in book:
                    met = self._met(book, depth, order.arrival, bar)
                    yield from self._place(met, order)

    def on_bar(self, bar: Bar, account: AccountView) -> Iterable[OrderReport]:
        """Meet the book of an instrument with its next row."""
        book = self._books[bar.instrument]
        return self._meet_row(book, bar) if book else ()

    def _met(self, book: Book, depth: StandingMarket, ts: int, bar: Bar) -> _Met:
        return _Met(book, depth, ts, bar, self._fill_terms[bar.instrument].fill)

    def _change(
        self, book: Book | None, command: OrderCancelPending | OrderReplacePending, arrival: int
    ) -> OrderReport:
        """Carry out a cancel or replace. Another price or more lots lose the place in the queue."""
        order = book.get(command.client_order_id) if book is not None else None
        before = (order.limit_ticks, order.stop_ticks, order.leaves) if order is not None else None
        report = super()._change(book, command, arrival)
        if order is not None and before is not None and isinstance(report, OrderReplaced):
            limit, stop, leaves = before
            if (order.limit_ticks, order.stop_ticks) != (limit, stop) or order.leaves > leaves:
                order.is_placed = False
        return report

    # A row.

    def _meet_row(self, book: Book, bar: Bar) -> Reports:
        depth = self._standing(bar.instrument)
        met = self._met(book, depth, bar.ts_close, bar)
        yield from self._catch_up(met)
        sizes = {
            order.identity: depth.lots_at(order.limit_ticks, is_bid=order.command.side > 0)
            for order in book.values()
            if order.is_placed and order.order_type is _LIMIT
        }
        depth.step()
        for order in list(book.values()):
            self._follow_session(order, bar)
        is_halted = self._is_halted(bar.instrument, bar.ts_open)
        if depth.what == _PRINT:
            if not is_halted:
                yield from self._meet_print(met)
        else:
            self._follow_levels(met, sizes)
            if depth.is_whole and not is_halted:
                yield from self._meet_state(met)
        for order in list(book.values()):
            if 0 < order.ts_expire <= met.ts and order.identity in book:
                yield from self._expire(book, order)

    def _catch_up(self, met: _Met) -> Reports:
        """What has arrived before the row and could not be answered until it was known."""
        book, depth, ts = met.book, met.depth, met.ts
        for order in list(book.values()):
            if order.identity in book and not order.is_placed and not order.held:
                is_known = depth.row >= 0 and depth.is_whole and depth.has_quotes
                if is_known and order.arrival < ts:
                    yield from self._place(self._met(book, depth, order.arrival, met.bar), order)
            yield from self._answer_changes(book, order, ts - 1)
            if order.identity not in book:
                yield from self._answer_changes(book, order)
            elif 0 < order.ts_expire < ts:
                yield from self._expire(book, order)

    def _expire(self, book: Book, order: RestingOrder) -> Reports:
        self._remove(book, order.identity)
        yield OrderExpired(order.identity, "time in force")
        yield from self._answer_changes(book, order)
        yield from self._end_children(book)

    def _follow_session(self, order: RestingOrder, bar: Bar) -> None:
        is_day = order.command.time_in_force is TimeInForce.DAY
        if is_day and not order.ts_expire and order.arrival < bar.ts_close:
            order.ts_expire = bar.session_close

    def _meet_state(self, met: _Met) -> Reports:
        """Orders meet what stands after a whole row."""
        for order in list(met.book.values()):
            if order.identity not in met.book or order.held:
                continue
            if not order.is_placed:
                if order.arrival <= met.ts:
                    yield from self._place(met, order)
            elif order.arrival < met.ts:
                kind = order.order_type
                if kind is _MARKET:
                    yield from self._take(met, order)
                elif kind is _LIMIT:
                    yield from self._cross(met, order)
                elif met.fill.trigger is not Trigger.LAST:
                    yield from self._watch(met, order, self._trigger_price(met, order))

    def _meet_print(self, met: _Met) -> Reports:
        price, lots, aggressor = met.depth.trade()
        free = self._capacity_of(met.bar)
        used = 0
        for order in list(met.book.values()):
            if order.identity not in met.book or order.held or order.arrival >= met.ts:
                continue
            kind, side = order.order_type, order.command.side
            if not order.is_placed:
                if met.depth.has_quotes:
                    continue  # nothing has stood yet
                order.is_placed = True
                order.ahead = self._ahead(met, order)
                if self._is_stuck(order):
                    yield from self._cancel(met, order, "no auctions in prints")
                    continue
                if kind is _LIMIT and (price - order.limit_ticks) * side < 0:
                    if order.conditions.post_only:
                        reason = "post only, and it would take"
                        yield from self._cancel(met, order, reason)
                        continue
                    kind = _MARKET
            filled = order.filled_lots
            if kind is _MARKET and not met.depth.has_quotes:
                ticks = compute_ticks(price, 1.0, side)
                yield from self._fill_here(met, order, FILL_AT_OPEN, ticks, free)
            elif kind is _LIMIT:
                given, ahead = compute_print_fill(
                    side, order.limit_ticks, price, lots, aggressor, met.fill.queue,
                    met.fill.limit_reach, order.ahead,
                )  # fmt: skip
                if abs(price - order.limit_ticks) < _ON_TICK and aggressor != side:
                    order.traded += lots
                order.ahead = ahead
                if given != INT64_MAX:
                    given = max(0, given - used)
                yield from self._fill_here(
                    met, order, FILL_INSIDE, order.limit_ticks, min(given, free)
                )
                if order.conditions.display_lots and order.filled_lots > filled:
                    order.ahead, order.traded = self._ahead(met, order), 0  # the next slice
            elif kind >= OrderType.STOP and (
                met.fill.trigger is Trigger.LAST or not met.depth.has_quotes
            ):
                yield from self._watch(met, order, price)
                is_bare = order.identity in met.book and not met.depth.has_quotes
                if is_bare and order.order_type is _MARKET:
                    ticks = compute_ticks(price, 1.0, side)
                    yield from self._fill_here(met, order, FILL_AT_OPEN, ticks, free)
            taken = order.filled_lots - filled
            used += taken
            free -= taken if free != INT64_MAX else 0
            if not met.depth.has_quotes:
                yield from self._end_at_once(met, order)

    # What stands.

    def _place(self, met: _Met, order: RestingOrder) -> Reports:
        """An order meets what stands at its arrival, `met.ts`."""
        if order.held or self._is_halted(met.bar.instrument, met.ts):
            return
        order.is_placed = True
        if self._is_stuck(order):
            yield from self._cancel(met, order, "no auctions in quotes or depth")
            return
        if order.order_type is _MARKET:
            yield from self._take(met, order)
        elif order.order_type is _LIMIT:
            yield from self._come_in(met, order)
        elif met.fill.trigger is not Trigger.LAST:
            yield from self._watch(met, order, self._trigger_price(met, order))
        yield from self._end_at_once(met, order)

    def _come_in(self, met: _Met, order: RestingOrder) -> Reports:
        """A limit order takes what it crosses, and joins the queue with the rest."""
        side, limit = order.command.side, order.limit_ticks
        best = met.depth.best(is_bid=side < 0)
        if best is not None and (limit - best[0]) * side >= 0:
            if order.conditions.post_only:
                yield from self._cancel(met, order, "post only, and it would take")
                return
            yield from self._take(met, order)
        order.ahead = self._ahead(met, order)
        order.traded = 0

    def _ahead(self, met: _Met, order: RestingOrder) -> int:
        if met.fill.queue is QueueModel.NONE:
            return 0
        lots = met.depth.lots_at(order.limit_ticks, is_bid=order.command.side > 0)
        if lots is None or not met.depth.has_quotes:
            lots = met.fill.queue_ahead
        return _UNSEEN if lots is None else lots

    def _take(self, met: _Met, order: RestingOrder) -> Reports:
        """Take the opposite side: all that stands, of a limit order up to its limit."""
        side = order.command.side
        limit = order.limit_ticks if order.order_type is _LIMIT else None
        sized = order.command.lots > 0
        if (
            met.fill.rest is RestOfOrder.WALK
            and not met.depth.has_levels
            and limit is None
            and sized
        ):
            yield from self._walk_quote(met, order)
            return
        if sized and order.command.time_in_force is TimeInForce.FOK:
            found = sum(lots for _, lots in self._free_levels(met, is_bid=side < 0, limit=limit))
            if found < (wanted := self._wanted(met, order)):
                yield from self._cancel(met, order, "not filled at once", (wanted, found))
                return
        for ticks, free in self._free_levels(met, is_bid=side < 0, limit=limit):
            if order.identity not in met.book:
                return
            filled = order.filled_lots
            yield from self._fill_here(met, order, FILL_AT_OPEN, ticks, free)
            taken = order.filled_lots - filled
            if not taken:
                return
            self._use(met, is_bid=side < 0, ticks=ticks, lots=taken)

    def _walk_quote(self, met: _Met, order: RestingOrder) -> Reports:
        """A market order takes the best price of a quote and what is taken to be behind it."""
        side = order.command.side
        best = met.depth.best(is_bid=side < 0)
        wanted = self._wanted(met, order)
        if best is None or not wanted:
            return
        top, size = best
        free = next(self._free_levels(met, is_bid=side < 0), (top, 0))[1]
        average = compute_walked_ticks(side, top, free, size, wanted)
        filled = order.filled_lots
        yield from self._fill_here(met, order, FILL_AT_OPEN, average, wanted)
        taken = min(order.filled_lots - filled, free)
        if taken:
            self._use(met, is_bid=side < 0, ticks=top, lots=taken)

    def _cross(self, met: _Met, order: RestingOrder) -> Reports:
        """The opposite side comes to a resting limit order: it fills at its limit."""
        side, limit = order.command.side, order.limit_ticks
        for ticks, free in self._free_levels(met, is_bid=side < 0):
            if order.identity not in met.book:
                return
            if not is_crossed(side, limit, ticks, met.fill.limit_reach):
                return
            filled = order.filled_lots
            yield from self._fill_here(met, order, FILL_INSIDE, limit, free)
            taken = order.filled_lots - filled
            if not taken:
                return
            self._use(met, is_bid=side < 0, ticks=ticks, lots=taken)

    def _wanted(self, met: _Met, order: RestingOrder) -> int:
        """Lots that an order of a given size may fill now."""
        wanted = min(order.leaves, order.ready)
        command = order.command
        if command.reduce_only:
            held = self._client.position_lots(command.strategy, command.instrument)
            wanted = min(wanted, max(0, -held * command.side))
        return wanted

    def _free_levels(
        self, met: _Met, *, is_bid: bool, limit: int | None = None
    ) -> Iterator[tuple[int, int]]:
        """(ticks, lots) of a side, the best first, without what our orders have taken of it.

        Up to the `limit` (ticks) of an order on the other side.
        """
        instrument, depth = met.bar.instrument, met.depth
        side = -1 if is_bid else 1
        for ticks, lots in depth.levels(is_bid=is_bid):
            if limit is not None and (ticks - limit) * side > 0:
                return
            taken = self._taken.get((instrument, is_bid, ticks))
            if taken is not None and taken.stamp == depth.stamp(ticks, is_bid=is_bid):
                lots -= taken.lots  # noqa: PLW2901 - what is left of it
            if lots > 0:
                yield ticks, lots

    def _use(self, met: _Met, *, is_bid: bool, ticks: int, lots: int) -> None:
        """Remember that `lots` of a level are ours now."""
        instrument = met.bar.instrument
        stamp = met.depth.stamp(ticks, is_bid=is_bid)
        key = (instrument, is_bid, ticks)
        before = self._taken.get(key)
        if before is not None and before.stamp == stamp:
            lots += before.lots
        self._taken[key] = TakenLots(instrument, is_bid, ticks, stamp, lots)

    def _follow_levels(self, met: _Met, sizes: dict[str, int | None]) -> None:
        """Queues of resting orders after quotes or the depth have changed."""
        fill = met.fill
        if fill.queue is QueueModel.NONE:
            return
        for order in met.book.values():
            if order.identity not in sizes or order.arrival >= met.ts:
                continue
            after = met.depth.lots_at(order.limit_ticks, is_bid=order.command.side > 0)
            before = sizes[order.identity]
            if after is None or after == before:
                continue
            order.ahead = compute_ahead(
                fill.queue, fill.queue_power, order.ahead, order.traded,
                after if before is None else before, after,
            )  # fmt: skip
            order.traded = 0

    # Triggers.

    def _trigger_price(self, met: _Met, order: RestingOrder) -> float | None:
        """The price in ticks that a trigger looks at; None where there is none."""
        if met.fill.trigger is Trigger.MID:
            return met.depth.mark()
        best = met.depth.best(is_bid=order.command.side < 0)
        return None if best is None else float(best[0])

    def _watch(self, met: _Met, order: RestingOrder, price: float | None) -> Reports:
        """Trigger an order where the price is there, or move its trail."""
        if price is None:
            return
        kind, side = order.order_type, order.command.side
        if not is_triggered(kind, side, order.stop_ticks, price):
            if kind.is_trailing:
                terms = order.conditions
                order.stop_ticks = compute_trailing_stop(
                    side, order.stop_ticks, terms.trail_ticks, terms.trail_ratio_e8, price, price,
                    1.0,
                )  # fmt: skip
            return
        if kind is OrderType.TRAILING_STOP_LIMIT:
            order.limit_ticks = order.stop_ticks + side * order.conditions.offset_ticks
        order.order_type = kind.triggered
        yield OrderTriggered(order.identity, order.stop_ticks)
        if order.identity not in met.book or not met.depth.has_quotes:
            return
        if order.order_type is _MARKET:
            yield from self._take(met, order)
        else:
            yield from self._come_in(met, order)

    # Ends.

    def _fill_here(
        self, met: _Met, order: RestingOrder, code: int, ticks: int, lots: int
    ) -> Reports:
        """Fill up to `lots` at a price; what was bound to the order meets what stands."""
        if lots <= 0:
            return
        self._capacity = lots
        place = Place(RANK_OPEN, code, ticks, met.ts)
        yield from self._execute(met.book, order, place, met.bar, self._client, is_only=False)
        yield from self._end_children(met.book)
        if not order.is_parent:
            return
        for child in list(met.book.values()):
            is_born = child.conditions.parent == order.identity and not child.held
            if is_born and not child.is_placed:
                child.arrival = met.ts
                if met.depth.has_quotes and met.depth.is_whole:
                    yield from self._place(met, child)

    def _is_stuck(self, order: RestingOrder) -> bool:
        return order.command.time_in_force in _AUCTIONS

    def _end_at_once(self, met: _Met, order: RestingOrder) -> Reports:
        if order.command.time_in_force in _IMMEDIATE and order.identity in met.book:
            yield from self._cancel(met, order, "not filled at once")

    def _cancel(
        self, met: _Met, order: RestingOrder, reason: str, short: tuple[int, int] = (0, 0)
    ) -> Reports:
        self._remove(met.book, order.identity)
        yield OrderCanceled(order.identity, reason, *short)
        yield from self._end_children(met.book)
