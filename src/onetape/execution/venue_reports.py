"""What a venue says, which may come twice, late, early or with gaps, as legal moves of our OMS.

| the venue says      | and the order is          | then                                           |
| ------------------- | ------------------------- | ---------------------------------------------- |
| anything            | unheard of at the venue   | `accepted` goes before it                      |
| filled              | open                      | the fill; a stop is triggered before           |
|                     | too small for it          | it was replaced: that goes before              |
|                     | full, a replace unknown   | the replace is taken for done, till it is told |
|                     | closed                    | `order.filled_stray`: the books take it        |
| a known execution   | any                       | dropped                                        |
| canceled, expired   | filled as the venue says  | closed                                         |
|                     | short of fills            | waits for them, and the venue is asked         |
| rejected            | not accepted              | rejected                                       |
|                     | accepted or partly filled | canceled, with the reason                      |
| replaced            | to be replaced like this  | replaced                                       |
|                     | as it says already        | dropped                                        |
|                     | other                     | not believed by itself: the venue is asked     |
| unanswered          | waiting for an answer     | unknown: at its worst until the venue is asked |
| not found           | open                      | the venue is asked; see `reconciliation`       |

The venue's books are the measure: fees in lots and improvements below a tick are booked so that
cash and holdings agree to the last unit.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from typing import cast

import msgspec

from onetape.domain.errors import ConfigError
from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelRejected,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderRejected,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReport,
    OrderTriggered,
    OrderUnknown,
    StrayFilled,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.notional import compute_fill_notional
from onetape.domain.numbers import E8
from onetape.domain.orders import OrderStatus, RejectCode, Side
from onetape.domain.rules import rule
from onetape.domain.venue import ReportKind, VenueReport, find_manual
from onetape.execution.oms import MOVES, Oms, Order
from onetape.execution.venue_memory import Drop, ManualTrack, OrderTrack, VenueMemory

S = OrderStatus
K = ReportKind
_WAITING = (S.SUBMITTED, S.CANCEL_PENDING, S.REPLACE_PENDING)
_GONE = (RejectCode.ORDER_CLOSED, RejectCode.UNKNOWN_ORDER)
_VAGUE = (*_GONE, RejectCode.NOT_RECEIVED)
"""Refusals of a change that do not say that the order is there: venues say one word of closed and
of unheard of, and what was not received did not come to the venue."""


class BaseFee(msgspec.Struct, frozen=True):
    """A fee that was taken in the base currency: `traded` lots (signed) go for their price.

    The position changes by `traded` at `ticks` for `notional`, and `fee` is as much: no cash moves.
    """

    strategy: str
    instrument: InstrumentId
    traded: int
    ticks: int
    notional: int
    fee: int


Outcome = OrderReport | StrayFilled | BaseFee
"""What is to be applied: moves of the OMS, fills for the books alone, fees in lots."""


@rule
def compute_fee_lots(dust_units: int, fee_units: int, lot_units: int) -> tuple[int, int]:
    """Lots that pay a fee in the base currency, and the dust that is left: (lots, dust). Ours.

    The smallest number of lots that makes the dust not negative again, so what is booked is never
    more than what is held. A rebate gives lots (negative) as soon as it makes whole ones.

    Args:
        dust_units: What is held below a lot, 1e-8 units, from 0 to below a lot; below 2**62.
        fee_units: The fee, 1e-8 units; below 2**62.
        lot_units: 1e-8 units in a lot.
    """
    rest = dust_units - fee_units
    lots = -(rest // lot_units)
    return lots, rest + lots * lot_units


class OrderShadow:
    """An order as it will be when the outcomes so far are applied; None is closed.

    The moves are made on a copy by the OMS itself, so what comes out is legal or raises.
    """

    __slots__ = ("_oms", "order", "outcomes")

    def __init__(self, order: Order | None, outcomes: list[Outcome]) -> None:
        self._oms = Oms()
        self.order = None
        self.outcomes = outcomes
        if order is not None:
            self.order = self._oms.open[order.client_order_id] = msgspec.structs.replace(order)

    def emit(self, event: OrderReport) -> None:
        """Apply an event, and remember it."""
        order = cast("Order", self.order)
        self._oms.move(order, event, order.causation_id)
        self.outcomes.append(event)
        if not self._oms.open:
            self.order = None

    def can(self, kind: type[OrderReport]) -> bool:
        """Whether an event would be a legal move now."""
        return self.order is not None and (self.order.status, kind) in MOVES


class VenueReports:
    """Reads what one venue says of the orders of one account.

    Args:
        instruments: What the session trades there.

    Raises:
        ConfigError: A lot is not a whole number of 1e-8 units, so holdings can't be compared.

    `memory` is all that it remembers; save it with a snapshot, and set it to go on from there.
    """

    __slots__ = ("instruments", "lot_units", "memory")

    def __init__(self, instruments: Iterable[Instrument]) -> None:
        self.instruments = {each.id: each for each in instruments}
        self.lot_units: dict[InstrumentId, int] = {}
        for each in self.instruments.values():
            units = each.lot_size * E8
            if units != units.to_integral_value():
                raise ConfigError(
                    f"lot {each.lot_size:f} of {each.id} is not a whole number of 1e-8 units",
                    remedy="choose a coarser lot",
                )
            self.lot_units[each.id] = int(units)
        self.memory = VenueMemory()

    def translate(self, report: VenueReport, order: Order | None, now: int) -> list[Outcome]:
        """What a report makes of our orders and books; to be applied in order, all of it.

        Args:
            report: What the venue says.
            order: The open order of its client order id; None where there is none. It stays as it
                is.
            now: Engine time, ns UTC; a fill is never later.
        """
        outcomes: list[Outcome] = []
        self.read(report, OrderShadow(order, outcomes), now)
        return outcomes

    def read(self, report: VenueReport, shadow: OrderShadow, now: int) -> None:
        """`translate` into a shadow, for several reports of one order after another."""
        memory = self.memory
        memory.ts_newest = max(memory.ts_newest, report.ts_venue)
        order = shadow.order
        track = memory.orders.get(report.client_order_id) if order is None else memory.track(order)
        if track is None:
            self._hear_foreign(report)
            return
        track.ts_last = max(track.ts_last, report.ts_venue or memory.ts_newest)
        if report.kind is K.FILLED:
            self._fill(report, track, shadow, now)
        elif shadow.order is None:
            self._hear_of_closed(report, track)
        else:
            self._move(report, track, shadow, shadow.order)
        if shadow.order is None:
            track.is_closed = True

    def _move(
        self, report: VenueReport, track: OrderTrack, shadow: OrderShadow, order: Order
    ) -> None:
        """What is not a fill, of an order that is open."""
        memory, identity = self.memory, order.client_order_id
        match report.kind:
            case K.ACCEPTED:
                if track.has_arrived:
                    memory.drop(Drop.DUPLICATE)
                else:
                    _arrive(report, track, shadow)
            case K.REJECTED if not track.has_arrived and shadow.can(OrderRejected):
                shadow.emit(OrderRejected(identity, report.code, report.reason))
            case K.REJECTED | K.CANCELED | K.EXPIRED:
                self._end(report, track, shadow)
            case K.TRIGGERED:
                _arrive(report, track, shadow)
                if order.order_type.has_trigger:
                    _trigger(order, shadow, report.stop_ticks)
                else:
                    memory.drop(Drop.DUPLICATE)
            case K.REPLACED:
                self._replace(report, track, shadow, order)
            case K.REPLACE_REJECTED:
                is_newer = _is_newer(report, track)
                if is_newer and track.is_filled_unless_replaced:
                    self.finish(shadow)
                elif is_newer and order.asked_lots:
                    if report.code not in _VAGUE:
                        _arrive(report, track, shadow)
                    shadow.emit(OrderReplaceRejected(identity, report.code, report.reason))
                else:
                    memory.drop(Drop.STALE)
                memory.wants_look |= report.code in _GONE
            case K.CANCEL_REJECTED:
                if shadow.can(OrderCancelRejected):
                    shadow.emit(OrderCancelRejected(identity, report.code, report.reason))
                else:
                    memory.drop(Drop.STALE)
                memory.wants_look |= report.code in _GONE
            case K.UNANSWERED:
                memory.wants_look = True
                if order.status in _WAITING:
                    shadow.emit(OrderUnknown(identity))
                else:
                    memory.drop(Drop.STALE)
            case K.NOT_FOUND:
                memory.wants_look = True
            case K.FILLED:
                pass  # `_fill`'s

    def _hear_of_closed(self, report: VenueReport, track: OrderTrack) -> None:
        """What is not a fill, of an order that the OMS has closed."""
        told = max(track.told_lots, report.filled_lots)
        lives = report.kind is K.ACCEPTED and not track.has_arrived
        if lives or told > max(track.told_lots, track.booked_lots):
            self.memory.wants_look = True
        track.told_lots = told
        self.memory.drop(Drop.STALE if lives else Drop.DUPLICATE)

    def _fill(self, report: VenueReport, track: OrderTrack, shadow: OrderShadow, now: int) -> None:
        memory = self.memory
        execution = report.execution_id
        if not execution and report.filled_lots >= 0:
            execution = f"at {report.filled_lots}"  # the count tells it from the others
        if not execution or report.lots <= 0:
            memory.wants_look = True
            memory.drop(Drop.UNREADABLE)
            return
        if execution in track.executions or execution in memory.foreign:
            memory.drop(Drop.DUPLICATE)
            return
        if _is_of_before(report, track):
            self._hear_foreign(report)
            return
        track.executions[execution] = report.lots
        track.booked_lots += report.lots
        track.told_lots = max(track.told_lots, report.filled_lots)
        leaves = self._make_room(report, track, shadow)
        kind = OrderPartiallyFilled if leaves else OrderFilled
        if shadow.order is None:
            kind = StrayFilled
            memory.wants_look = True
        instrument = self.instruments[track.instrument]
        notional = compute_fill_notional(
            report.lots, report.ticks, instrument.minor_per_tick_lot, instrument.inverse_factor,
            track.side.value,
        )  # fmt: skip
        fee = report.fee - _improvement(instrument, report, notional, track.side)
        fill = kind(
            report.client_order_id, track.strategy, track.instrument, track.side, report.lots,
            report.ticks, notional, fee, report.liquidity, leaves, min(report.ts_venue or now, now),
        )  # fmt: skip
        if isinstance(fill, StrayFilled):
            shadow.outcomes.append(fill)
        else:
            shadow.emit(fill)
        if report.fee_units:
            self._take_fee(report, track, instrument, shadow)
        if track.told_lots > track.booked_lots:
            memory.wants_look = True
        elif track.ending is not None and shadow.order is not None:
            ending, track.ending = track.ending, None
            self._end(ending, track, shadow)

    def _make_room(self, report: VenueReport, track: OrderTrack, shadow: OrderShadow) -> int:
        """Bring an order to where a fill is legal; returns the lots that stay open behind it."""
        order = shadow.order
        if order is None:
            return 0
        identity = order.client_order_id
        _arrive(report, track, shadow)
        if order.order_type.has_trigger:
            _trigger(order, shadow, 0)
        filled = order.filled_lots + report.lots
        if order.lots and (filled > order.lots or filled == order.lots < order.asked_lots):
            if order.asked_lots >= filled:  # the replace that was asked for has come through
                if filled == order.lots:  # or it is too late: then it will be refused
                    track.assumed_lots = filled
                    self.memory.wants_look = True
                lots, limit = order.asked_lots, order.asked_limit_ticks or order.limit_ticks
                stop = order.asked_stop_ticks or order.stop_ticks
                track.ts_changed = max(track.ts_changed, report.ts_venue)
            else:
                lots, limit, stop = filled, order.limit_ticks, order.stop_ticks
                self.memory.wants_look = True
            shadow.emit(OrderReplaced(identity, lots, limit, stop))
        return max(0, (order.lots or order.estimated_lots) - filled)

    def _take_fee(
        self, report: VenueReport, track: OrderTrack, instrument: Instrument, shadow: OrderShadow
    ) -> None:
        """A fee in the base currency is paid by lots at the price of the fill."""
        dust = self.memory.dust.setdefault(track.strategy, {})
        identity = track.instrument
        lots, dust[identity] = compute_fee_lots(
            dust.get(identity, 0), report.fee_units, self.lot_units[identity]
        )
        if lots:
            fee = lots * report.ticks * instrument.minor_per_tick_lot
            shadow.outcomes.append(
                BaseFee(track.strategy, identity, -lots, report.ticks, abs(fee), fee)
            )

    def _replace(
        self, report: VenueReport, track: OrderTrack, shadow: OrderShadow, order: Order
    ) -> None:
        memory = self.memory
        asked = (
            order.asked_lots, order.asked_limit_ticks or order.limit_ticks,
            order.asked_stop_ticks or order.stop_ticks,
        )  # fmt: skip
        base = asked if order.asked_lots else (order.lots, order.limit_ticks, order.stop_ticks)
        told = (
            report.lots or base[0], report.limit_ticks or base[1], report.stop_ticks or base[2],
        )  # fmt: skip
        if not _is_newer(report, track):
            memory.drop(Drop.DUPLICATE)
        elif told == asked:  # nothing asked for is no lots, which no order has
            _arrive(report, track, shadow)
            self.change(order, track, shadow, told)
        elif told == (order.lots, order.limit_ticks, order.stop_ticks):
            track.assumed_lots = 0
            memory.drop(Drop.DUPLICATE)
        else:
            memory.wants_look = True
            memory.drop(Drop.STALE)

    def change(
        self, order: Order, track: OrderTrack, shadow: OrderShadow, fields: tuple[int, int, int]
    ) -> None:
        """The order has other (lots, limit ticks, stop ticks) at the venue."""
        if fields[0] > order.filled_lots:
            shadow.emit(OrderReplaced(order.client_order_id, *fields))
            return
        self.memory.wants_look = True
        shadow.emit(OrderCanceled(order.client_order_id, "replaced by what is filled"))
        track.is_closed = True

    def finish(self, shadow: OrderShadow) -> None:
        """All had filled before a replace came to the venue."""
        order = cast("Order", shadow.order)
        shadow.emit(OrderCanceled(order.client_order_id, "filled before its replace arrived"))

    def _end(self, report: VenueReport, track: OrderTrack, shadow: OrderShadow) -> None:
        """The order is off the book, for good: closed as soon as its fills are known."""
        order = cast("Order", shadow.order)
        track.told_lots = max(track.told_lots, report.filled_lots)
        if track.ending is not None:
            self.memory.drop(Drop.DUPLICATE)
            return
        if track.told_lots > track.booked_lots:
            track.ending = report
            self.memory.wants_look = True
            return
        if 0 <= report.filled_lots < track.booked_lots:
            self.memory.wants_look = True
        identity = order.client_order_id
        if report.kind is K.EXPIRED:
            shadow.emit(OrderExpired(identity, report.reason or "time in force"))
        elif report.kind is K.REJECTED:
            reason = f"refused after it was accepted: {report.reason or report.code.value}"
            shadow.emit(OrderCanceled(identity, reason))
        else:
            ours = order.status is S.CANCEL_PENDING
            reason = "requested" if ours else report.reason or "by the venue"
            shadow.emit(OrderCanceled(identity, reason))

    def _hear_foreign(self, report: VenueReport) -> None:
        """An order that is not ours, or a fill of before it was: it belongs to no strategy."""
        memory = self.memory
        ts = report.ts_venue or memory.ts_newest
        is_new = report.kind is K.FILLED and report.execution_id not in memory.foreign
        if find_manual(report.client_order_id) and report.client_order_id not in memory.orders:
            track = memory.manual.setdefault(report.client_order_id, ManualTrack())
            track.hear(report, ts, is_new=is_new)
        if report.kind is not K.FILLED:
            memory.drop(Drop.FOREIGN)
            return
        if not is_new:
            memory.drop(Drop.DUPLICATE)
            return
        if ts < memory.ts_horizon:
            memory.drop(Drop.STALE)
            return
        memory.drop(Drop.FOREIGN)
        memory.foreign[report.execution_id] = ts
        instrument = self.instruments.get(report.instrument)
        if instrument is None:
            return
        side, identity = report.side.value, instrument.id
        if identity in memory.unallocated_units:
            memory.unallocated_units[identity] += (
                side * report.lots * self.lot_units[identity] - report.fee_units
            )
        currency = instrument.settlement_currency
        if currency in memory.unallocated_cash and not instrument.is_margined:
            notional = report.lots * report.ticks * instrument.minor_per_tick_lot
            fee = report.fee - _improvement(instrument, report, notional, report.side)
            memory.unallocated_cash[currency] -= side * notional + fee


def _is_of_before(fill: VenueReport, track: OrderTrack) -> bool:
    """Whether an execution came before its order was adopted: by its count, or nothing is missing.

    What is filled then was counted as filled, so a fill that says no count can be a new one only
    where the venue counts more than was booked.
    """
    if not track.adopted_lots:
        return False
    if fill.filled_lots >= 0:
        return fill.filled_lots <= track.adopted_lots
    return track.told_lots <= track.booked_lots


def _arrive(report: VenueReport, track: OrderTrack, shadow: OrderShadow) -> None:
    """The venue knows the order, whatever it says of it."""
    if track.has_arrived:
        return
    track.has_arrived = True
    if shadow.can(OrderAccepted):
        shadow.emit(OrderAccepted(report.client_order_id, report.venue_order_id))


def _trigger(order: Order, shadow: OrderShadow, stop_ticks: int) -> None:
    """A stop has met its price; what is unknown of it is known to live by that."""
    if order.status is S.UNKNOWN:
        shadow.emit(OrderAccepted(order.client_order_id, order.venue_order_id))
    shadow.emit(OrderTriggered(order.client_order_id, stop_ticks or order.stop_ticks))


def _is_newer(report: VenueReport, track: OrderTrack) -> bool:
    """Whether an answer to a replace is not one that was heard; one without time is direct."""
    ts = report.ts_venue
    if ts and ts <= track.ts_changed:
        return False
    track.ts_changed = max(track.ts_changed, ts)
    return True


def _improvement(instrument: Instrument, report: VenueReport, notional: int, side: Side) -> int:
    """What the exact price was better than its tick, minor units, rounded down."""
    if not report.price or instrument.is_inverse:
        return 0
    try:
        price = Decimal(report.price)
    except InvalidOperation:
        return 0
    exact = price * report.lots * instrument.lot_size * instrument.multiplier * E8
    return max(0, int((notional - exact) * side.value)) if price.is_finite() else 0
