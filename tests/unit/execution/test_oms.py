"""The table of moves: every pair of status and event, and what an order keeps."""

from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    OrderAccepted,
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
    OrderTriggered,
    OrderUnknown,
)
from onetape.domain.orders import (
    LiquiditySide,
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    RejectCode,
    Side,
    TimeInForce,
)
from onetape.execution.oms import CLASSIC, MOVES, OPEN, Oms, Order
from onetape.risk.approval import RiskApproved, RiskEngine
from tests.support.risk_input import AAPL, make_risk_input

S = OrderStatus
CLOSED = (S.FILLED, S.CANCELED, S.EXPIRED, S.REJECTED)


def approve(number: int = 1, **changes: Any) -> RiskApproved:
    fields: dict[str, Any] = {
        "strategy": "s", "intent": number, "instrument": AAPL.id, "side": Side.BUY,
        "basis": QuantityBasis.LOTS, "amount": 100, "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC, "limit_ticks": 10_000, **changes,
    }  # fmt: skip
    verdict = RiskEngine(()).check(
        make_risk_input(intent=OrderIntent(**fields), client_order_id=f"s-{number}")
    )
    assert isinstance(verdict, RiskApproved)
    return verdict


def make_order(**changes: Any) -> tuple[Oms, Order]:
    oms = Oms()
    order, _ = oms.submit(approve(**changes), 10_000, 5)
    return oms, order


def fill(lots: int, leaves: int, fee: int = 0) -> OrderFilled:
    kind = OrderPartiallyFilled if leaves else OrderFilled
    return kind(
        "s-1", "s", AAPL.id, Side.BUY, lots, 10_000, lots * 10**10, fee, LiquiditySide.MAKER,
        leaves, 0,
    )  # fmt: skip


REPORTS: dict[type[OrderReport], OrderReport] = {
    OrderAccepted: OrderAccepted("s-1", "v-1"),
    OrderRejected: OrderRejected("s-1", RejectCode.INSUFFICIENT_FUNDS, "no money"),
    OrderCancelRejected: OrderCancelRejected("s-1", RejectCode.ORDER_CLOSED, "late"),
    OrderReplaceRejected: OrderReplaceRejected("s-1", RejectCode.QUANTITY_BELOW_FILLED, "few"),
    OrderFilled: fill(100, 0),
    OrderPartiallyFilled: fill(40, 60),
    OrderTriggered: OrderTriggered("s-1", 9_900),
    OrderCancelPending: OrderCancelPending("s-1"),
    OrderCanceled: OrderCanceled("s-1", "requested"),
    OrderReplacePending: OrderReplacePending("s-1", 120, 10_100, 0),
    OrderReplaced: OrderReplaced("s-1", 120, 10_100, 0),
    OrderReduced: OrderReduced("s-1", 80, "one updates the other"),
    OrderExpired: OrderExpired("s-1", "time in force"),
    OrderUnknown: OrderUnknown("s-1"),
    OrderEmulated: OrderEmulated("s-1", "order lists"),
    OrderReleased: OrderReleased("s-1", OrderType.LIMIT, TimeInForce.DAY, 70, 9_800, 0),
}


def reach(oms: Oms, order: Order, status: OrderStatus) -> None:
    """Brings a new order to `status` by legal events, with nothing filled where possible."""
    path: dict[OrderStatus, list[type[OrderReport]]] = {
        S.SUBMITTED: [],
        S.ACCEPTED: [OrderAccepted],
        S.PARTIALLY_FILLED: [OrderAccepted, OrderPartiallyFilled],
        S.CANCEL_PENDING: [OrderAccepted, OrderCancelPending],
        S.REPLACE_PENDING: [OrderAccepted, OrderReplacePending],
        S.UNKNOWN: [OrderUnknown],
        S.EMULATED: [OrderEmulated],
        S.FILLED: [OrderFilled],
        S.CANCELED: [OrderAccepted, OrderCanceled],
        S.EXPIRED: [OrderAccepted, OrderExpired],
        S.REJECTED: [OrderRejected],
    }
    for number, kind in enumerate(path[status], 10):
        oms.move(order, REPORTS[kind], number)
    assert order.status is status


TABLE = """
                  Acc Rej Fil Par Tri CanP Can CanR RepP Rep RepR Exp Unk  Red Emu Rel
SUBMITTED         acc REJ FIL par -   can  CAN -    rep  -   -    EXP unk  -   emu -
ACCEPTED          -   -   FIL par acc can  CAN -    rep  acc acc  EXP unk  acc -   -
PARTIALLY_FILLED  -   -   FIL par -   can  CAN -    rep  acc acc  EXP unk  par -   -
CANCEL_PENDING    can REJ FIL can can -    CAN acc  -    can can  EXP unk  can can -
REPLACE_PENDING   rep REJ FIL rep rep can  CAN -    -    acc acc  EXP unk  rep emu -
UNKNOWN           acc REJ FIL par -   -    CAN acc  -    acc acc  EXP -    -   -   -
EMULATED          -   -   -   -   emu can  CAN -    emu  emu emu  EXP -    emu -   sub
"""
"""What every event makes of an order that is not closed; `-`: no move. Written by hand.

Columns: Accepted, Rejected, Filled, PartiallyFilled, Triggered, CancelPending, Canceled,
CancelRejected, ReplacePending, Replaced, ReplaceRejected, Expired, Unknown, Reduced, Emulated,
Released.
"""

WORDS = {
    "acc": S.ACCEPTED, "par": S.PARTIALLY_FILLED, "can": S.CANCEL_PENDING, "rep": S.REPLACE_PENDING,
    "unk": S.UNKNOWN, "emu": S.EMULATED, "sub": S.SUBMITTED, "FIL": S.FILLED, "CAN": S.CANCELED,
    "EXP": S.EXPIRED, "REJ": S.REJECTED,
}  # fmt: skip


def read_table() -> dict[tuple[OrderStatus, type[OrderReport]], OrderStatus]:
    events = (OrderAccepted, OrderRejected, OrderFilled, OrderPartiallyFilled, OrderTriggered,
              OrderCancelPending, OrderCanceled, OrderCancelRejected, OrderReplacePending,
              OrderReplaced, OrderReplaceRejected, OrderExpired, OrderUnknown,
              OrderReduced, OrderEmulated, OrderReleased)  # fmt: skip
    return {
        (S[row.split()[0]], event): WORDS[word]
        for row in TABLE.strip().splitlines()[1:]
        for event, word in zip(events, row.split()[1:], strict=True)
        if word != "-"
    }


EXPECTED = read_table()


def test_moves_cover_every_kind_of_report_and_no_closed_order() -> None:
    assert {event for _, event in MOVES} == set(get_args(OrderReport)) == set(REPORTS)
    assert {status for status, _ in MOVES} == set(OPEN)
    assert set(OPEN) | set(CLOSED) | {S.DENIED} == set(S) == set(CLASSIC)


PAIRS = list(product([*OPEN, *CLOSED], REPORTS))


@pytest.mark.parametrize(
    ("status", "event"), PAIRS, ids=[f"{s.name}-{e.__name__}" for s, e in PAIRS]
)
def test_move_of_every_pair_follows_the_table_or_raises(
    status: OrderStatus, event: type[OrderReport]
) -> None:
    oms, order = make_order()
    reach(oms, order, status)
    report = REPORTS[event]
    if isinstance(report, OrderFilled) and order.filled_lots:
        report = fill(60, 0) if event is OrderFilled else fill(10, 50)
    if (status, event) not in EXPECTED:
        before = (order.status, order.filled_lots, order.lots)
        with pytest.raises(
            InvariantBroken, match=f"{event.__name__} is no move from {status.name}"
        ):
            oms.move(order, report, 99)
        assert (order.status, order.filled_lots, order.lots) == before
        return
    oms.move(order, report, 99)
    expected = EXPECTED[status, event]
    if expected is S.ACCEPTED and order.filled_lots:
        expected = S.PARTIALLY_FILLED
    assert order.status is expected
    assert order.causation_id == 99
    assert ("s-1" in oms.open) == (order.status in OPEN)


@pytest.mark.parametrize(
    ("ask", "refusal"),
    [(OrderCancelPending, OrderCancelRejected), (OrderReplacePending, OrderReplaceRejected)],
)
def test_move_of_a_partly_filled_order_never_says_accepted(
    ask: type[OrderReport], refusal: type[OrderReport]
) -> None:
    oms, order = make_order()
    reach(oms, order, S.PARTIALLY_FILLED)
    oms.move(order, REPORTS[ask], 20)
    oms.move(order, REPORTS[refusal], 21)
    assert order.status is S.PARTIALLY_FILLED


def test_replace_that_is_answered_after_a_cancel_was_sent_leaves_the_cancel_pending() -> None:
    """Commands travel in order: the answer to the replace comes while the cancel is under way."""
    oms, order = make_order()
    for seq, kind in enumerate((OrderAccepted, OrderReplacePending, OrderCancelPending), 10):
        oms.move(order, REPORTS[kind], seq)
    oms.move(order, OrderReplaced("s-1", 120, 10_100, 0), 13)
    assert order.status is S.CANCEL_PENDING
    assert (order.lots, order.limit_ticks) == (120, 10_100)
    oms.move(order, REPORTS[OrderCanceled], 14)
    assert oms.open == {}


def test_replace_that_is_refused_after_a_cancel_was_sent_leaves_the_cancel_pending() -> None:
    oms, order = make_order()
    for seq, kind in enumerate((OrderAccepted, OrderReplacePending, OrderCancelPending), 10):
        oms.move(order, REPORTS[kind], seq)
    oms.move(order, REPORTS[OrderReplaceRejected], 13)
    assert order.status is S.CANCEL_PENDING


def test_fills_add_up_and_close_the_order() -> None:
    oms, order = make_order()
    oms.move(order, fill(30, 70, fee=5), 10)
    oms.move(order, fill(69, 1, fee=-2), 11)
    assert (order.filled_lots, order.leaves, order.fee) == (99, 1, 3)
    oms.move(order, fill(1, 0), 12)
    assert (order.filled_lots, order.status, oms.open) == (100, S.FILLED, {})


@pytest.mark.parametrize(
    ("first", "second"),
    [((60, 40), (60, 0)), ((60, 40), (40, 1)), ((101, 0), None), ((60, 41), None)],
    ids=["more than ordered", "leaves too many", "one fill too large", "does not add up"],
)
def test_fills_that_do_not_make_the_order_are_refused(
    first: tuple[int, int], second: tuple[int, int] | None
) -> None:
    oms, order = make_order()
    if second is not None:
        oms.move(order, fill(*first), 10)
    with pytest.raises(InvariantBroken, match="left of 100"):
        oms.move(order, fill(*(second or first)), 11)


def test_filled_report_that_leaves_lots_open_is_refused() -> None:
    oms, order = make_order()
    report = OrderFilled(
        "s-1", "s", AAPL.id, Side.BUY, 60, 10_000, 60 * 10**10, 0, LiquiditySide.MAKER, 40, 0
    )
    with pytest.raises(InvariantBroken):
        oms.move(order, report, 10)


def test_partial_report_that_leaves_nothing_open_is_refused() -> None:
    oms, order = make_order()
    report = OrderPartiallyFilled(
        "s-1", "s", AAPL.id, Side.BUY, 100, 10_000, 10**12, 0, LiquiditySide.MAKER, 0, 0
    )
    with pytest.raises(InvariantBroken):
        oms.move(order, report, 10)


def test_order_sized_at_the_fill_counts_its_estimate_until_the_venue_says() -> None:
    oms = Oms()
    approved = approve(basis=QuantityBasis.NOTIONAL_AT_FILL, amount=10**12, limit_ticks=0,
                       order_type=OrderType.MARKET)  # fmt: skip
    order, command = oms.submit(approved, 10_000, 5)
    assert (command.lots, command.budget, command.budget_is_ratio) == (0, 10**12, False)
    assert (order.lots, order.leaves) == (0, 100)  # the estimate that risk has checked
    oms.move(order, fill(70, 20), 10)
    assert (order.lots, order.leaves) == (90, 20)
    with pytest.raises(InvariantBroken, match="left of 90"):
        oms.move(order, fill(21, 0), 11)


def test_replaced_order_has_the_new_fields_and_keeps_what_is_filled() -> None:
    oms, order = make_order()
    oms.move(order, fill(40, 60), 10)
    oms.move(order, OrderReplacePending("s-1", 50, 10_050, 0), 11)
    oms.move(order, OrderReplaced("s-1", 50, 10_050, 0), 12)
    assert (order.lots, order.limit_ticks, order.leaves) == (50, 10_050, 10)
    assert order.status is S.PARTIALLY_FILLED


def test_submit_of_a_taken_id_raises() -> None:
    oms, _ = make_order()
    with pytest.raises(InvariantBroken, match="s-1 is used twice"):
        oms.submit(approve(), 10_000, 5)


def test_submit_sends_what_was_approved() -> None:
    approved = approve(side=Side.SELL, stop_ticks=9_000, order_type=OrderType.STOP_LIMIT,
                       time_in_force=TimeInForce.GTD, ts_expire=77, reduce_only=True)  # fmt: skip
    order, command = Oms().submit(approved, 10_000, 5)
    assert command.side is order.side is approved.side  # of the approval, not of the intent
    assert (command.limit_ticks, command.stop_ticks, command.ts_expire) == (10_000, 9_000, 77)
    assert command.reduce_only
    assert order.reduce_only
    assert (order.status, order.correlation_id, order.lot_cost) == (S.SUBMITTED, 5, 10_000)
