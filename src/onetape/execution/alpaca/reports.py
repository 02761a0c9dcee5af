"""What Alpaca says of an order, as reports.

Executions have one id in `trade_updates` (`execution_id`) and another in the account's activities
(`<time>::<uuid>`), and no documentation says that they agree. Both say the order's filled quantity
behind the execution (`order.filled_qty`, `cum_qty`), and no two executions of an order have the
same one. So ours is `<order id>/<filled quantity>`, the same from both.

Alpaca tells no fees with an execution: those of the exchanges and of pairs are taken later.
"""

from __future__ import annotations

from decimal import Decimal

from onetape.domain.orders import RejectCode, TimeInForce
from onetape.domain.venue import ReportKind, VenueOrder, VenueReport, find_manual
from onetape.execution.alpaca.chains import Chain
from onetape.execution.alpaca.translation import (
    find_strange,
    to_lots,
    to_order_type,
    to_side,
    to_ticks,
    to_time_in_force,
    to_ts,
)
from onetape.execution.alpaca.wire import WireActivity, WireOrder

_ENDS = {
    "canceled": ReportKind.CANCELED,
    "expired": ReportKind.EXPIRED,
    "rejected": ReportKind.REJECTED,
}


def report(
    kind: ReportKind,
    order: WireOrder,
    chain: Chain,
    *,
    ts_venue: int = 0,
    code: RejectCode = RejectCode.UNSUPPORTED,
    reason: str = "",
) -> VenueReport:
    """A report that is no fill and no replace."""
    return VenueReport(
        kind=kind,
        client_order_id=chain.client_order_id,
        venue_order_id=order.id,
        instrument=chain.instrument.id,
        side=to_side(order.side),
        ts_venue=ts_venue,
        filled_lots=chain.filled_with(order),
        code=code,
        reason=reason,
    )


def report_fill(
    order: WireOrder,
    chain: Chain,
    *,
    quantity: str,
    price: str,
    filled_quantity: str,
    ts_venue: int,
) -> VenueReport:
    """An execution of `quantity`, behind which the link has `filled_quantity`."""
    instrument, side = chain.instrument, to_side(order.side)
    return VenueReport(
        kind=ReportKind.FILLED,
        client_order_id=chain.client_order_id,
        venue_order_id=order.id,
        instrument=instrument.id,
        side=side,
        ts_venue=ts_venue,
        execution_id=f"{order.id}/{Decimal(filled_quantity).normalize():f}",
        lots=to_lots(quantity, instrument),
        ticks=to_ticks(price, instrument, side),
        price=price,
        filled_lots=chain.filled_before(order.id) + to_lots(filled_quantity, instrument),
    )


def report_activity(activity: WireActivity, order: WireOrder, chain: Chain) -> VenueReport:
    """An execution of the account's history."""
    return report_fill(
        order, chain, quantity=activity.qty, price=activity.price,
        filled_quantity=activity.cum_qty, ts_venue=to_ts(activity.transaction_time),
    )  # fmt: skip


def report_missing_fill(
    order: WireOrder, chain: Chain, told: list[WireActivity]
) -> VenueReport | None:
    """What a link has filled behind `told`, its activities; None when nothing is missing.

    The history may lag behind the order. The rest is one execution at the price that leads to the
    order's average; where more than one make it up, the parts are known by `filled_lots` when they
    come.
    """
    filled = Decimal(order.filled_qty)
    tail = filled - max((Decimal(each.cum_qty) for each in told), default=Decimal(0))
    if tail <= 0 or order.filled_avg_price is None:
        return None
    rest = filled - sum((Decimal(each.qty) for each in told), Decimal(0))
    paid = sum((Decimal(each.qty) * Decimal(each.price) for each in told), Decimal(0))
    price = (Decimal(order.filled_avg_price) * filled - paid) / rest
    return report_fill(
        order, chain, quantity=str(tail), price=f"{price.normalize():f}",
        filled_quantity=order.filled_qty, ts_venue=to_ts(order.filled_at),
    )  # fmt: skip


def report_end(order: WireOrder, chain: Chain) -> VenueReport | None:
    """How the order ended; None while it is open, and where its fills have said it."""
    kind = _ENDS.get(order.status)
    if kind is None:
        return None
    at = order.canceled_at or order.expired_at or order.failed_at
    return report(kind, order, chain, ts_venue=to_ts(at), reason=f"Alpaca: {order.status}")


def report_filled(chain: Chain, lots: int) -> VenueReport | None:
    """That an order is off the book, filled with other `lots` than it was submitted with.

    Its fills alone don't say so to who has not heard of its change; None where they do.
    """
    current = chain.current
    total = chain.total(current)
    if current.status != "filled" or total == lots:
        return None
    return report(
        ReportKind.CANCELED, current, chain, ts_venue=to_ts(current.filled_at),
        reason=f"filled as it was changed, to {total} lots",
    )  # fmt: skip


def report_replaced(order: WireOrder, chain: Chain, ts_venue: int) -> VenueReport:
    """The link has taken the place of the one before it."""
    instrument = chain.instrument
    side = to_side(order.side)
    return VenueReport(
        kind=ReportKind.REPLACED,
        client_order_id=chain.client_order_id,
        venue_order_id=order.id,
        instrument=instrument.id,
        side=side,
        ts_venue=ts_venue,
        lots=chain.total(order),
        filled_lots=chain.filled_before(order.id),
        limit_ticks=to_ticks(order.limit_price, instrument, side),
        stop_ticks=to_ticks(order.stop_price, instrument, side),
    )


def to_venue_order(order: WireOrder, chain: Chain) -> VenueOrder:
    """An open order."""
    instrument, side = chain.instrument, to_side(order.side)
    is_manual = bool(find_manual(chain.client_order_id))
    time_in_force = to_time_in_force(order.time_in_force) if is_manual else None
    return VenueOrder(
        client_order_id=chain.client_order_id,
        venue_order_id=order.id,
        instrument=instrument.id,
        side=side,
        order_type=to_order_type(order.type),
        lots=chain.total(order),
        filled_lots=chain.filled_with(order),
        limit_ticks=to_ticks(order.limit_price, instrument, side),
        stop_ticks=to_ticks(order.stop_price, instrument, side),
        time_in_force=time_in_force or TimeInForce.GTC,
        problem=find_strange(order, instrument) if is_manual else "",
    )
