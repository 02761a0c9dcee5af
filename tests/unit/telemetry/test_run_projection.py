from __future__ import annotations

import pytest

from onetape.domain.errors import DataError
from onetape.domain.events import (
    OrderAccepted,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDenied,
    OrderExpired,
    OrderRejected,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderUnknown,
    Payload,
    StrategyQuarantined,
)
from onetape.domain.instrument import InstrumentId, make_equity
from onetape.domain.numbers import E8
from onetape.domain.orders import DenialCode, OrderStatus, RejectCode, Side
from onetape.telemetry.run_projection import OrderState, RunProjection, project_run
from tests.support.runs import EventLog

A = make_equity("A.X")
ID = "s-1"


def project(*payloads: Payload, filled: int = 0) -> OrderState:
    """An order of ten lots, `filled` of them, then `payloads`."""
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    log.submit(2, "s", A.id, Side.BUY, 10)
    if filled:
        log.fill(3, ID, "s", A.id, Side.BUY, filled, 1000, fee=5, leaves=10 - filled)
    for ts, payload in enumerate(payloads, start=4):
        log.emit(ts, payload)
    return project_run(log.events).orders[ID]


REJECTED = OrderRejected(ID, RejectCode.ORDER_CLOSED, "too late")


@pytest.mark.parametrize(
    ("payloads", "filled", "status", "classic", "reason"),
    [
        ([], 0, OrderStatus.ACCEPTED, "submitted", ""),
        ([], 4, OrderStatus.PARTIALLY_FILLED, "partially filled", ""),
        ([], 10, OrderStatus.FILLED, "filled", ""),
        ([OrderExpired(ID, "day is over")], 4, OrderStatus.EXPIRED, "canceled", "day is over"),
        ([OrderCancelPending(ID)], 4, OrderStatus.CANCEL_PENDING, "submitted", ""),
        ([OrderCancelPending(ID), OrderCanceled(ID, "strategy")], 0,
         OrderStatus.CANCELED, "canceled", "strategy"),
        ([OrderCancelPending(ID), OrderCancelRejected(ID, RejectCode.ORDER_CLOSED, "late")], 4,
         OrderStatus.PARTIALLY_FILLED, "partially filled", ""),
        ([OrderReplacePending(ID, 20, 0, 0), OrderReplaced(ID, 20, 0, 0)], 0,
         OrderStatus.ACCEPTED, "submitted", ""),
        ([OrderUnknown(ID)], 0, OrderStatus.UNKNOWN, "pending", ""),
        ([OrderUnknown(ID), REJECTED], 0, OrderStatus.REJECTED, "rejected",
         "order_closed: too late"),
    ],
)  # fmt: skip
def test_order_ends_where_its_events_lead(payloads, filled, status, classic, reason) -> None:
    order = project(*payloads, filled=filled)
    assert (order.status, order.classic_status, order.reason) == (status, classic, reason)
    assert (order.filled_lots, order.filled_notional) == (filled, filled * 10 * E8)
    assert order.fee == (5 if filled else 0)
    assert order.ts_submitted == 2
    assert order.ts_last == (3 + len(payloads) if payloads else 3 if filled else 2)


def test_order_takes_the_numbers_of_a_replace() -> None:
    order = project(OrderReplacePending(ID, 20, 5, 0), OrderReplaced(ID, 20, 5, 7))
    assert (order.lots, order.limit_ticks, order.stop_ticks) == (20, 5, 7)


@pytest.mark.parametrize("late", [OrderCancelRejected, OrderReplaceRejected])
def test_order_that_closed_before_its_change_arrived_stays_closed(late) -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    log.submit(2, "s", A.id, Side.BUY, 10)
    log.emit(3, OrderCancelPending(ID))
    log.fill(4, ID, "s", A.id, Side.BUY, 10, 1000)
    log.emit(5, late(ID, RejectCode.ORDER_CLOSED, "no such order on the book"))
    order = project_run(log.events).orders[ID]
    assert (order.status, order.filled_lots, order.ts_last) == (OrderStatus.FILLED, 10, 4)


def test_order_sized_at_the_fill_has_the_lots_of_the_fill() -> None:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    log.submit(2, "s", A.id, Side.BUY, 0)
    log.fill(3, ID, "s", A.id, Side.BUY, 7, 1000, leaves=2)
    assert project_run(log.events).orders[ID].lots == 9


@pytest.mark.parametrize(
    ("payloads", "words"),
    [
        ([OrderAccepted("s-9", "v9")], r"seq 5 of the tape: order s-9 is never submitted"),
        (
            [OrderRejected(ID, RejectCode.UNSUPPORTED, "")],
            r"order s-1 is ACCEPTED and order.rejected can't follow",
        ),
    ],
)
def test_order_event_that_cannot_follow_is_refused(payloads, words) -> None:
    with pytest.raises(DataError, match=words):
        project(*payloads)


def make_projection(*, stop: bool) -> RunProjection:
    log = EventLog([A])
    log.start(1)
    log.deposit(1, "s")
    log.trade(2, "s", A.id, Side.BUY, 10, 1000)
    log.emit(3, OrderDenied("s", 2, InstrumentId("A.X"), DenialCode.LEVERAGE, 2.5, 2.0, "x"))
    log.emit(4, StrategyQuarantined("s", "on_bar", "ValueError: no", "s.py:3"))
    if stop:
        log.stop(5)
    return project_run(log.events)


def test_projection_collects_what_happened_with_its_time() -> None:
    projection = make_projection(stop=True)
    assert projection.header.session == "made-0123abcd"
    assert [(ts, type(each).__name__) for ts, each in projection.account_events] == [
        (1, "CapitalDeposited"), (2, "OrderFilled"),
    ]  # fmt: skip
    assert [(seq, ts, fill.lots) for seq, ts, fill in projection.fills] == [(5, 2, 10)]
    assert [(ts, each.lots) for ts, each in projection.positions] == [(2, 10)]
    assert [(ts, each.code) for ts, each in projection.denied] == [(3, DenialCode.LEVERAGE)]
    assert [(ts, each.where) for ts, each in projection.quarantined] == [(4, "s.py:3")]
    assert projection.counts["order.filled"] == projection.counts["position.opened"] == 1
    assert sum(projection.counts.values()) == 10


def test_projection_without_session_stopped_is_incomplete() -> None:
    assert make_projection(stop=False).stopped is None
    assert make_projection(stop=False).ts_last == 4
    assert make_projection(stop=True).stopped is not None


def test_tape_that_does_not_begin_with_its_header_is_refused() -> None:
    with pytest.raises(DataError, match="the tape is empty"):
        project_run([])
    log = EventLog([A])
    log.deposit(1, "s")
    with pytest.raises(DataError, match=r"starts with account\.deposited"):
        project_run(log.events)
