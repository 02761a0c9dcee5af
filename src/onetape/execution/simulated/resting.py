"""An order on a book, and what happens to the orders that are bound to it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from onetape.domain.events import (
    OrderCanceled,
    OrderCancelPending,
    OrderReduced,
    OrderReplacePending,
    OrderSubmitted,
)
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import Contingency, OrderConditions, OrderType

_NONE = OrderConditions()


class RestingOrder(msgspec.Struct, gc=False):
    """An order on the simulated venue's book.

    Attributes:
        is_plain: A market or limit order of a given size, good till canceled, that may open a
            position, meets neither slippage nor a bound on volume, and is bound to no other.
        is_parent: Other orders wait for its fills.
        held: It waits for the first fill of its parent.
        ready: Lots that may fill because its parent has filled them.
        session_close: End (ns UTC) of the newest session that it has seen, for AT_THE_OPEN.
        ts_shown: Close (ns UTC) of the newest bar that a slice of an iceberg has met.
        is_placed: It has met what stood at its arrival; for quotes, depth and queues.
        ahead: Lots before it at its limit; the largest int64 where that is not known.
        traded: Lots that prints took there since the level changed last.
        changes: Cancels and replaces with their arrivals that wait for the next bar.
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
    is_parent: bool = False
    held: bool = False
    ready: int = INT64_MAX
    session_close: int = 0
    is_placed: bool = False
    ahead: int = 0
    traded: int = 0
    changes: list[tuple[int, OrderCancelPending | OrderReplacePending]] = []
    ts_shown: int = 0

    @property
    def identity(self) -> str:
        """Its client order id."""
        return self.command.client_order_id

    @property
    def conditions(self) -> OrderConditions:
        """What only some orders have."""
        return self.command.conditions or _NONE


Book = dict[str, RestingOrder]
"""The orders of one instrument by client order id, oldest first."""


def follow_fill(
    book: Mapping[str, RestingOrder], order: RestingOrder, lots: int
) -> list[OrderCanceled | OrderReduced]:
    """What a fill of `lots` of `order` does to the orders that are bound to it.

    Its children may fill as many lots more. The others of its group are canceled (OCO) or lose as
    many lots (OUO). A canceled order is still in the book: the caller takes it off.
    """
    reports: list[OrderCanceled | OrderReduced] = []
    own = order.conditions
    for other in book.values():
        theirs = other.conditions
        if other is order:
            continue
        if theirs.parent == order.identity:
            other.ready = lots if other.held else other.ready + lots
            other.held = False
        elif (
            own.contingency is not Contingency.NONE
            and theirs.group == own.group
            and other.command.strategy == order.command.strategy
            and other.command.instrument == order.command.instrument  # of one leg, where it has two
        ):
            if own.contingency is Contingency.OCO:
                reports.append(OrderCanceled(other.identity, "one cancels the other"))
                continue
            if other.ready != INT64_MAX:
                other.ready = max(0, other.ready - lots)
            reports.append(_reduce(other, other.leaves - lots, "one updates the other"))
    return reports


def follow_end(
    book: Mapping[str, RestingOrder], order: RestingOrder
) -> list[OrderCanceled | OrderReduced]:
    """What the end of `order` does to its children: nothing more will fill there.

    A child keeps what the parent has filled; without a fill it is canceled. A canceled order is
    still in the book: the caller takes it off.
    """
    reports: list[OrderCanceled | OrderReduced] = []
    for child in book.values():
        if child.conditions.parent != order.identity:
            continue
        ready = 0 if child.held else child.ready
        child.held, child.ready = False, INT64_MAX
        if child.leaves > ready:
            reports.append(_reduce(child, ready, "its parent has ended"))
    return reports


def _reduce(order: RestingOrder, leaves: int, reason: str) -> OrderCanceled | OrderReduced:
    if leaves <= 0:
        return OrderCanceled(order.identity, reason)
    order.leaves = leaves
    return OrderReduced(order.identity, order.filled_lots + leaves, reason)
