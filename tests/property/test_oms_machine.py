"""The OMS under random legal and illegal events: it never leaves its table."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

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
from onetape.execution.oms import MOVES, OPEN, Oms, Order
from onetape.risk.approval import RiskApproved, RiskEngine
from tests.support.risk_input import AAPL, make_risk_input

SIMPLE: tuple[type[Any], ...] = (OrderAccepted, OrderRejected, OrderTriggered, OrderCancelPending,
                                 OrderCanceled, OrderCancelRejected, OrderReplaceRejected,
                                 OrderExpired, OrderUnknown, OrderEmulated)  # fmt: skip


def make_simple(kind: type[Any], identity: str) -> OrderReport:
    """A report of `kind` without numbers that matter."""
    rest: dict[type[Any], tuple[Any, ...]] = {
        OrderAccepted: ("v",),
        OrderRejected: (RejectCode.INSUFFICIENT_FUNDS, "no money"),
        OrderCancelRejected: (RejectCode.ORDER_CLOSED, "late"),
        OrderReplaceRejected: (RejectCode.ORDER_CLOSED, "late"),
        OrderTriggered: (1,),
        OrderCanceled: ("requested",),
        OrderExpired: ("time in force",),
        OrderEmulated: ("order lists",),
    }
    return kind(identity, *rest.get(kind, ()))


class OmsMachine(RuleBasedStateMachine):
    """Random events against a model that knows the table and counts lots."""

    orders = Bundle("orders")

    def __init__(self) -> None:
        super().__init__()
        self.oms = Oms()
        self.count = 0
        self.seq = 0
        self.status: dict[str, OrderStatus] = {}
        self.lots: dict[str, int] = {}
        self.filled: dict[str, int] = {}

    @rule(target=orders, lots=st.integers(1, 5), at_fill=st.booleans())
    def submit(self, lots: int, at_fill: bool) -> Order:
        self.count += 1
        basis = QuantityBasis.NOTIONAL_AT_FILL if at_fill else QuantityBasis.LOTS
        intent = OrderIntent(
            "s", self.count, AAPL.id, Side.BUY, basis, lots, OrderType.MARKET, TimeInForce.GTC
        )
        name = f"s-{self.count}"
        approved = RiskEngine(()).check(
            make_risk_input(intent=intent, lots=lots, client_order_id=name)
        )
        assert isinstance(approved, RiskApproved)
        order, _ = self.oms.submit(approved, 1, 0)
        self.status[name] = OrderStatus.SUBMITTED
        self.lots[name] = 0 if at_fill else lots
        self.filled[name] = 0
        with pytest.raises(InvariantBroken):
            self.oms.submit(approved, 1, 0)
        return order

    @rule(order=orders, kind=st.sampled_from(SIMPLE))
    def report(self, order: Order, kind: type[Any]) -> None:
        self._move(order, make_simple(kind, order.client_order_id))

    @rule(order=orders, lots=st.integers(1, 6), leaves=st.integers(0, 6))
    def fill_at_random(self, order: Order, lots: int, leaves: int) -> None:
        self._fill(order, lots, leaves)

    @rule(order=orders, data=st.data())
    def fill_what_is_open(self, order: Order, data: st.DataObject) -> None:
        name = order.client_order_id
        rest = (self.lots[name] or 5) - self.filled[name]
        if rest > 0:
            lots = data.draw(st.integers(1, rest))
            self._fill(order, lots, rest - lots)

    @rule(order=orders, lots=st.integers(1, 9))
    def ask_for_replace(self, order: Order, lots: int) -> None:
        self._move(order, OrderReplacePending(order.client_order_id, lots, 1, 0))

    @rule(order=orders, more=st.integers(1, 4))
    def replace(self, order: Order, more: int) -> None:
        name = order.client_order_id
        lots = self.filled[name] + more
        if self._move(order, OrderReplaced(name, lots, 1, 0)):
            self.lots[name] = lots

    @rule(order=orders, more=st.integers(1, 4))
    def release(self, order: Order, more: int) -> None:
        name = order.client_order_id
        lots = self.filled[name] + more
        kind, time_in_force = OrderType.LIMIT, TimeInForce.GTC
        if self._move(order, OrderReleased(name, kind, time_in_force, lots, 1, 0)):
            self.lots[name] = lots

    def _fill(self, order: Order, lots: int, leaves: int) -> None:
        name = order.client_order_id
        kind = OrderPartiallyFilled if leaves else OrderFilled
        fill = kind(name, "s", AAPL.id, Side.BUY, lots, 1, lots, 0, LiquiditySide.TAKER, leaves, 0)
        total = self.filled[name] + lots + leaves
        fits = not self.lots[name] or total == self.lots[name]
        if (self.status[name], kind) in MOVES and not fits:
            with pytest.raises(InvariantBroken, match="left of"):
                self.oms.move(order, fill, self.seq)
            # The session stops there; to go on, the order is taken out of the machine.
            self.oms.open.pop(name)
            self.status[name] = order.status = OrderStatus.REJECTED
            order.filled_lots = self.filled[name]
            return
        if self._move(order, fill):
            self.filled[name] += lots
            self.lots[name] = total

    def _move(self, order: Order, event: OrderReport) -> bool:
        """Whether the table knows the move; the OMS must agree."""
        self.seq += 1
        name = order.client_order_id
        after = MOVES.get((self.status[name], type(event)))
        if after is None:
            with pytest.raises(InvariantBroken, match="is no move from"):
                self.oms.move(order, event, self.seq)
            return False
        self.oms.move(order, event, self.seq)
        filled = self.filled[name] + (event.lots if isinstance(event, OrderFilled) else 0)
        if after is OrderStatus.ACCEPTED and filled:
            after = OrderStatus.PARTIALLY_FILLED
        self.status[name] = after
        assert order.status is after
        assert order.causation_id == self.seq
        return True

    @invariant()
    def open_holds_exactly_what_is_not_closed(self) -> None:
        assert list(self.oms.open) == [n for n, status in self.status.items() if status in OPEN]

    @invariant()
    def filled_never_exceeds_lots(self) -> None:
        for name, order in self.oms.open.items():
            assert order.filled_lots == self.filled[name]
            assert order.lots == self.lots[name]
            assert order.leaves > 0
            assert order.filled_lots <= (order.lots or order.estimated_lots)


TestOmsMachine = OmsMachine.TestCase
TestOmsMachine.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
