"""The order management system: one table of moves, and the orders that follow it.

`MOVES[status, event]` is the status that an order has after the event; a pair that is not in the
table is refused. `docs/orders.md` draws this table.
"""

from __future__ import annotations

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderEmulated,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReduced,
    OrderRejected,
    OrderReleased,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    OrderTriggered,
    OrderUnknown,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import (
    OrderConditions,
    OrderStatus,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.risk.approval import RiskApproved

S = OrderStatus

OPEN = (
    S.SUBMITTED, S.ACCEPTED, S.PARTIALLY_FILLED, S.CANCEL_PENDING, S.REPLACE_PENDING, S.UNKNOWN,
    S.EMULATED,
)  # fmt: skip

BEYOND_CANCEL = (S.CANCEL_PENDING, S.UNKNOWN)
"""No cancel is asked for: one is under way, or the venue has to say first what the order is."""

_ON_BOOK = {
    OrderPartiallyFilled: S.PARTIALLY_FILLED,
    OrderFilled: S.FILLED,
    OrderCanceled: S.CANCELED,
    OrderExpired: S.EXPIRED,
    OrderCancelPending: S.CANCEL_PENDING,
    OrderReplacePending: S.REPLACE_PENDING,
    OrderUnknown: S.UNKNOWN,
}
_WHILE_CHANGING = {
    OrderFilled: S.FILLED,
    OrderCanceled: S.CANCELED,
    OrderExpired: S.EXPIRED,
    OrderRejected: S.REJECTED,
    OrderUnknown: S.UNKNOWN,
}

MOVES: dict[tuple[OrderStatus, type[OrderReport]], OrderStatus] = {
    (S.SUBMITTED, OrderAccepted): S.ACCEPTED,
    (S.SUBMITTED, OrderRejected): S.REJECTED,
    **{(S.SUBMITTED, event): status for event, status in _ON_BOOK.items()},
    **{(S.ACCEPTED, event): status for event, status in _ON_BOOK.items()},
    (S.ACCEPTED, OrderTriggered): S.ACCEPTED,
    **{
        (status, OrderReduced): status
        for status in (S.ACCEPTED, S.PARTIALLY_FILLED, S.CANCEL_PENDING, S.REPLACE_PENDING)
    },
    **{(S.PARTIALLY_FILLED, event): status for event, status in _ON_BOOK.items()},
    **{(S.CANCEL_PENDING, event): status for event, status in _WHILE_CHANGING.items()},
    (S.CANCEL_PENDING, OrderAccepted): S.CANCEL_PENDING,
    (S.CANCEL_PENDING, OrderPartiallyFilled): S.CANCEL_PENDING,
    (S.CANCEL_PENDING, OrderTriggered): S.CANCEL_PENDING,
    (S.CANCEL_PENDING, OrderReplaced): S.CANCEL_PENDING,
    (S.CANCEL_PENDING, OrderReplaceRejected): S.CANCEL_PENDING,
    (S.CANCEL_PENDING, OrderCancelRejected): S.ACCEPTED,
    **{(S.REPLACE_PENDING, event): status for event, status in _WHILE_CHANGING.items()},
    (S.REPLACE_PENDING, OrderAccepted): S.REPLACE_PENDING,
    (S.REPLACE_PENDING, OrderPartiallyFilled): S.REPLACE_PENDING,
    (S.REPLACE_PENDING, OrderTriggered): S.REPLACE_PENDING,
    (S.REPLACE_PENDING, OrderReplaced): S.ACCEPTED,
    (S.REPLACE_PENDING, OrderReplaceRejected): S.ACCEPTED,
    (S.REPLACE_PENDING, OrderCancelPending): S.CANCEL_PENDING,
    (S.UNKNOWN, OrderAccepted): S.ACCEPTED,
    (S.UNKNOWN, OrderRejected): S.REJECTED,
    (S.UNKNOWN, OrderPartiallyFilled): S.PARTIALLY_FILLED,
    (S.UNKNOWN, OrderFilled): S.FILLED,
    (S.UNKNOWN, OrderCanceled): S.CANCELED,
    (S.UNKNOWN, OrderExpired): S.EXPIRED,
    (S.UNKNOWN, OrderCancelRejected): S.ACCEPTED,
    **{
        (status, event): S.ACCEPTED
        for status in (S.ACCEPTED, S.PARTIALLY_FILLED, S.UNKNOWN)
        for event in (OrderReplaced, OrderReplaceRejected)
    },
    (S.SUBMITTED, OrderEmulated): S.EMULATED,
    (S.REPLACE_PENDING, OrderEmulated): S.EMULATED,
    (S.CANCEL_PENDING, OrderEmulated): S.CANCEL_PENDING,
    (S.EMULATED, OrderReleased): S.SUBMITTED,
    (S.EMULATED, OrderCancelPending): S.CANCEL_PENDING,
    (S.EMULATED, OrderCanceled): S.CANCELED,
    (S.EMULATED, OrderExpired): S.EXPIRED,
    **{
        (S.EMULATED, event): S.EMULATED
        for event in (
            OrderTriggered,
            OrderReduced,
            OrderReplacePending,
            OrderReplaced,
            OrderReplaceRejected,
        )
    },
}

_MOVES_FROM: tuple[dict[type[OrderReport], OrderStatus], ...] = tuple(
    {event: after for (before, event), after in MOVES.items() if before is status}
    for status in OrderStatus
)

CLASSIC = {
    S.SUBMITTED: "submitted",
    S.ACCEPTED: "submitted",
    S.PARTIALLY_FILLED: "partially filled",
    S.CANCEL_PENDING: "submitted",
    S.REPLACE_PENDING: "submitted",
    S.UNKNOWN: "pending",
    S.FILLED: "filled",
    S.CANCELED: "canceled",
    S.EXPIRED: "canceled",
    S.REJECTED: "rejected",
    S.DENIED: "rejected",
    S.EMULATED: "submitted",
}
"""The classic six statuses, as a projection of ours."""


_ACCEPTED = S.ACCEPTED
_FIRST_AT_FILL = QuantityBasis.NOTIONAL_AT_FILL
_EQUITY_AT_FILL = QuantityBasis.EQUITY_AT_FILL
_FIRST_CLOSED = S.FILLED
_EMULATED = S.EMULATED
FILLS = frozenset({OrderFilled, OrderPartiallyFilled})
"""What fills an order. Looked up, because `isinstance` is slow where it says no."""

_ONLY_MOVES = frozenset({
    OrderCancelPending, OrderCanceled, OrderCancelRejected, OrderExpired, OrderRejected,
    OrderUnknown, OrderEmulated,
})  # fmt: skip
"""What says nothing of an order but where it stands."""

_OF_A_CHANGE = frozenset({
    OrderReplacePending, OrderReplaced, OrderReplaceRejected, OrderReduced, OrderTriggered,
    OrderReleased,
})  # fmt: skip


class Order(msgspec.Struct, gc=False):
    """An order as we track it. Only `Oms` changes it.

    `lots` 0 means that the venue sizes it at the fill. `lot_cost` is what a lot can cost at the
    most as far as we know (minor units); `asked_*` is what a replace under way would make of it,
    `beside_lots` what may fill beside that, where the venue counts a replacement from its start.
    Of an adopted order `adopted_lots` had filled before.
    `correlation_id` is the seq of the market event or command that started it, `causation_id` the
    seq of its newest event.
    """

    client_order_id: str
    strategy: str
    instrument: InstrumentId
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    lots: int
    limit_ticks: int
    stop_ticks: int
    ts_expire: int
    reduce_only: bool
    estimated_lots: int
    lot_cost: int
    correlation_id: int
    causation_id: int = 0
    status: OrderStatus = S.SUBMITTED
    filled_lots: int = 0
    fee: int = 0
    venue_order_id: str = ""
    asked_lots: int = 0
    asked_lot_cost: int = 0
    conditions: OrderConditions | None = None
    asked_limit_ticks: int = 0
    asked_stop_ticks: int = 0
    beside_lots: int = 0
    adopted_lots: int = 0

    @property
    def leaves(self) -> int:
        """Lots that may still fill, at the worst: a replace under way may or may not succeed."""
        ordered = self.lots or self.estimated_lots
        asked = self.asked_lots + self.beside_lots
        return (asked if asked > ordered else ordered) - self.filled_lots

    @property
    def worst_lot_cost(self) -> int:
        """What a lot can cost at the most as far as we know, in minor units."""
        cost, asked = self.lot_cost, self.asked_lot_cost
        return asked if asked > cost else cost


class Oms:
    """The open orders of a session. A closed order lives on on the tape, not here."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open: dict[str, Order] = {}

    def submit(
        self, approved: RiskApproved, lot_cost: int, correlation_id: int, causation_id: int = 0
    ) -> tuple[Order, OrderSubmitted]:
        """Make an order, and the command that sends it, out of an approval.

        Raises:
            InvariantBroken: The id is taken.
        """
        intent = approved.intent
        identity = approved.client_order_id
        if identity in self.open:
            raise InvariantBroken(f"client order id {identity} is used twice")
        side = approved.side
        estimated = approved.lots
        lots, budget = estimated, 0
        basis = intent.basis
        if basis >= _FIRST_AT_FILL:
            lots, budget = 0, intent.amount
        strategy, instrument, kind = intent.strategy, intent.instrument, intent.order_type
        time_in_force, ts_expire = intent.time_in_force, intent.ts_expire
        limit_ticks, stop_ticks = intent.limit_ticks, intent.stop_ticks
        reduce_only = intent.reduce_only
        command = OrderSubmitted(
            identity, strategy, instrument, side, kind, time_in_force, lots, limit_ticks,
            stop_ticks, ts_expire, budget, basis is _EQUITY_AT_FILL, reduce_only,
            intent.conditions,
        )  # fmt: skip
        order = Order(
            identity, strategy, instrument, side, kind, time_in_force, lots, limit_ticks,
            stop_ticks, ts_expire, reduce_only, estimated, lot_cost, correlation_id, causation_id,
        )  # fmt: skip
        order.conditions = intent.conditions
        self.open[identity] = order
        return order, command

    def adopt(
        self, event: OrderAdopted, lot_cost: int, correlation_id: int, causation_id: int
    ) -> Order:
        """Track an order that stands at the venue already; the one way past an approval.

        Raises:
            InvariantBroken: The id is taken, or nothing of it is open.
        """
        identity = event.client_order_id
        if identity in self.open or event.lots <= event.filled_lots:
            raise InvariantBroken(f"order {identity} can't be adopted")
        order = self.open[identity] = Order(
            identity, event.strategy, event.instrument, event.side, event.order_type,
            event.time_in_force, event.lots, event.limit_ticks, event.stop_ticks, event.ts_expire,
            reduce_only=False, estimated_lots=event.lots, lot_cost=lot_cost,
            correlation_id=correlation_id, causation_id=causation_id,
            status=S.PARTIALLY_FILLED if event.filled_lots else S.ACCEPTED,
            filled_lots=event.filled_lots, venue_order_id=event.venue_order_id,
            conditions=event.conditions, adopted_lots=event.filled_lots,
        )  # fmt: skip
        return order

    def move(self, order: Order, event: OrderReport, seq: int) -> None:
        """Move an order by an event that has taken `seq` on the tape.

        Raises:
            InvariantBroken: A move outside the table, or more filled than ordered.
        """
        kind = type(event)
        after = _MOVES_FROM[order.status].get(kind)
        if after is None:
            raise InvariantBroken(
                f"order {order.client_order_id}: {kind.__name__} is no move from "
                f"{order.status.name}"
            )
        order.causation_id = seq
        if kind in _ONLY_MOVES:
            pass
        elif isinstance(event, OrderAccepted):
            order.venue_order_id = event.venue_order_id
        elif isinstance(event, OrderFilled):
            order.filled_lots = filled = order.filled_lots + event.lots
            order.fee += event.fee
            leaves = event.leaves
            if not order.lots:
                order.lots = filled + leaves
            if filled + leaves != order.lots or (kind is OrderFilled) != (leaves == 0):
                raise InvariantBroken(
                    f"order {order.client_order_id}: {kind.__name__} with {filled} filled and "
                    f"{leaves} left of {order.lots}"
                )
        elif kind in _OF_A_CHANGE:
            self._change(order, event)
        if after is _ACCEPTED and order.filled_lots:
            after = S.PARTIALLY_FILLED
        order.status = after
        if after >= _FIRST_CLOSED and after is not _EMULATED:
            del self.open[order.client_order_id]

    def _change(self, order: Order, event: OrderReport) -> None:
        """What an event makes of the order's own fields."""
        if isinstance(event, OrderReplacePending):
            order.asked_limit_ticks = event.limit_ticks
            order.asked_stop_ticks = event.stop_ticks
        elif isinstance(event, OrderReplaced):
            order.lot_cost = _cost_after(order, event.limit_ticks)
            order.lots = event.lots
            order.limit_ticks = event.limit_ticks
            order.stop_ticks = event.stop_ticks
            _forget_asked(order)
        elif isinstance(event, OrderReplaceRejected):
            _forget_asked(order)
        elif isinstance(event, OrderReduced):
            order.lots = event.lots
        elif isinstance(event, OrderTriggered):
            order.stop_ticks = event.stop_ticks
            order.order_type = order.order_type.triggered
        elif isinstance(event, OrderReleased):
            order.order_type = event.order_type
            order.time_in_force = event.time_in_force
            order.lots = event.lots
            order.limit_ticks = event.limit_ticks
            order.stop_ticks = event.stop_ticks


def _cost_after(order: Order, limit_ticks: int) -> int:
    """The most that a lot can cost when a replace is through.

    It is what risk counted for it. A limit that nobody here asked for, above the one that was
    counted, costs more in proportion, rounded up: notional and fees don't grow faster than it.
    """
    if order.asked_lots:
        cost, counted = order.asked_lot_cost, order.asked_limit_ticks
    else:
        cost, counted = order.lot_cost, order.limit_ticks
    return -(-cost * limit_ticks // counted) if limit_ticks > counted > 0 else cost


def _forget_asked(order: Order) -> None:
    order.asked_lots = order.asked_lot_cost = order.beside_lots = 0
    order.asked_limit_ticks = order.asked_stop_ticks = 0
