"""Reports duplicated, reordered, delayed and dropped, looks that are late: books end up equal."""

from __future__ import annotations

from itertools import count
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from onetape.domain.events import (
    OrderCancelPending,
    OrderFilled,
    OrderReplacePending,
    SettlementKind,
    StrayFilled,
)
from onetape.domain.orders import (
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    Side,
    TimeInForce,
)
from onetape.domain.venue import Discrepancy, ReportKind, VenueReport, VenueSnapshot
from onetape.execution.oms import Oms, Order
from onetape.execution.reconciliation import ReconciliationPolicy, catch_up, compare
from onetape.execution.venue_memory import VenueMemory
from onetape.execution.venue_reports import BaseFee, Outcome, VenueReports
from onetape.portfolio.ledger import Ledger
from onetape.risk.approval import RiskApproved, RiskEngine
from tests.support.model_venue import BTC, LOT_UNITS, ModelVenue
from tests.support.risk_input import make_risk_input

CAPITAL = 10**18
PLACES = st.integers(0, 10**6)
FEES = st.sampled_from((0, 1, 999, 1_000, 1_001, 2_500))
POLICY = ReconciliationPolicy()
CHANGEABLE = (OrderStatus.ACCEPTED, OrderStatus.PARTIALLY_FILLED)


class Machine(RuleBasedStateMachine):
    """Two strategies, one account, and a wire that can't be trusted."""

    def __init__(self) -> None:
        super().__init__()
        self.venue = ModelVenue(cash=2 * CAPITAL + 55, units=234)
        self.oms = Oms()
        self.reports = VenueReports([BTC])
        self.books = {name: Ledger(name, "USDT", [BTC]) for name in "ab"}
        for book in self.books.values():
            book.deposit(CAPITAL)
        self.numbers = count(1)
        self.commands: list[tuple[Any, ...]] = []
        self.wire: list[VenueReport] = []
        self.heard = 0
        self.look: VenueSnapshot | None = None
        self.take_look()
        self.hear_look(fresh=False)
        assert not self.reports.memory.wants_look

    # What we do.

    @rule(name=st.sampled_from("ab"), side=st.sampled_from(Side), lots=st.integers(1, 6))
    def submit(self, name: str, side: Side, lots: int) -> None:
        number = next(self.numbers)
        intent = OrderIntent(
            name, number, BTC.id, side, QuantityBasis.LOTS, lots, OrderType.LIMIT,
            TimeInForce.GTC, limit_ticks=100,
        )  # fmt: skip
        approved = RiskEngine(()).check(
            make_risk_input(
                intent=intent, instrument=BTC, lots=lots, side_sign=side.value,
                client_order_id=f"{name}-{number}",
            )
        )  # fmt: skip
        assert isinstance(approved, RiskApproved)
        order, _ = self.oms.submit(approved, 1, 0)
        self.commands.append(("new", order.client_order_id, side, lots))

    def _changeable(self) -> list[Order]:
        return [
            each
            for each in self.oms.open.values()
            if each.status in CHANGEABLE and not each.asked_lots
        ]

    @precondition(lambda self: self._changeable())
    @rule(at=PLACES, more=st.integers(-2, 3), limit=st.integers(99, 102))
    def replace(self, at: int, more: int, limit: int) -> None:
        found = self._changeable()
        order = found[at % len(found)]
        lots = max(order.filled_lots + 1, order.lots + more)
        order.asked_lots, order.asked_lot_cost = lots, 1
        pending = OrderReplacePending(order.client_order_id, lots, limit, 0)
        self.oms.move(order, pending, 0)
        self.commands.append(("replace", order.client_order_id, lots, limit))

    @precondition(lambda self: self.oms.open)
    @rule(at=PLACES)
    def cancel(self, at: int) -> None:
        order = list(self.oms.open.values())[at % len(self.oms.open)]
        if order.status not in (OrderStatus.CANCEL_PENDING, OrderStatus.UNKNOWN):
            self.oms.move(order, OrderCancelPending(order.client_order_id), 0)
            self.commands.append(("cancel", order.client_order_id))

    # What becomes of it.

    @precondition(lambda self: self.commands)
    @rule(refused=st.booleans(), lost=st.booleans(), answered=st.booleans())
    def arrive(self, refused: bool, lost: bool, answered: bool) -> None:
        kind, name, *rest = self.commands.pop(0)
        if lost and (kind == "new" or name in self.venue.orders):
            answered = False
        elif kind == "new":
            if refused:
                self.venue.refuse(name, rest[0])
            else:
                self.venue.take(name, rest[0], rest[1], 100)
        elif name in self.venue.orders:
            getattr(self.venue, kind)(name, *rest)
        else:
            answered = False
        self._collect()
        if not answered:
            self._hear(
                VenueReport(kind=ReportKind.UNANSWERED, client_order_id=name, instrument=BTC.id)
            )

    @precondition(lambda self: any(each.is_open for each in self.venue.orders.values()))
    @rule(at=PLACES, lots=st.integers(1, 6), ticks=st.integers(98, 101), fee=FEES,
          tells=st.booleans())  # fmt: skip
    def fill(self, at: int, lots: int, ticks: int, fee: int, tells: bool) -> None:
        found = [each for each in self.venue.orders.values() if each.is_open]
        order = found[at % len(found)]
        self.venue.fill(order, min(lots, order.lots - order.filled), ticks, fee, tells)
        self._collect()

    @precondition(lambda self: any(each.is_open for each in self.venue.orders.values()))
    @rule(at=PLACES, expires=st.booleans())
    def end(self, at: int, expires: bool) -> None:
        found = [each for each in self.venue.orders.values() if each.is_open]
        kind = ReportKind.EXPIRED if expires else ReportKind.CANCELED
        self.venue.end(found[at % len(found)], kind)
        self._collect()

    @rule(side=st.sampled_from(Side), lots=st.integers(1, 3))
    def trade_by_hand(self, side: Side, lots: int) -> None:
        self.venue.trade_by_hand(side, lots, 100)
        self._collect()

    # What we hear of it.

    @precondition(lambda self: self.wire)
    @rule(at=PLACES)
    def deliver(self, at: int) -> None:
        self._hear(self.wire.pop(at % len(self.wire)))

    @precondition(lambda self: self.wire)
    @rule()
    def deliver_oldest(self) -> None:
        self._hear(self.wire.pop(0))

    @precondition(lambda self: self.wire)
    @rule(at=PLACES)
    def deliver_and_keep(self, at: int) -> None:
        self._hear(self.wire[at % len(self.wire)])

    @precondition(lambda self: self.wire)
    @rule(at=PLACES)
    def drop(self, at: int) -> None:
        self.wire.pop(at % len(self.wire))

    @precondition(lambda self: self.venue.said)
    @rule(at=PLACES)
    def deliver_again(self, at: int) -> None:
        self._hear(self.venue.said[: self.heard][at % self.heard])

    @precondition(lambda self: self.look is None)
    @rule()
    def take_look(self) -> None:
        since = self.reports.memory.ts_horizon
        self.look = self.venue.show(list(self.oms.open), since)

    @precondition(lambda self: self.look is not None)
    @rule(fresh=st.booleans())
    def hear_look(self, fresh: bool) -> None:
        look, self.look = self.look, None
        assert look is not None
        if fresh:
            look = msgspec.structs.replace(
                look, positions=self.venue.positions(), balances=self.venue.balances()
            )
        for each in catch_up(look, self.oms.open, self.reports, POLICY, self.venue.clock):
            if not isinstance(each, Discrepancy):
                self._apply(each)
        lots = {BTC.id: sum(each.positions[BTC.id].lots for each in self.books.values())}
        cash = {"USDT": sum(each.cash for each in self.books.values())}
        compare(look, lots, cash, self.reports, POLICY, 0)

    @rule()
    def save_and_restore(self) -> None:
        memory = self.reports.memory
        blob = msgspec.msgpack.encode(memory)
        self.reports = VenueReports([BTC])
        self.reports.memory = msgspec.msgpack.decode(blob, type=VenueMemory)
        assert self.reports.memory == memory

    def _collect(self) -> None:
        self.wire += self.venue.said[self.heard :]
        self.heard = len(self.venue.said)

    def _hear(self, report: VenueReport) -> None:
        order = self.oms.open.get(report.client_order_id)
        for each in self.reports.translate(report, order, self.venue.clock):
            self._apply(each)

    def _apply(self, outcome: Outcome) -> None:
        if isinstance(outcome, BaseFee):
            settled = self.books[outcome.strategy].settle(
                BTC.id,
                SettlementKind.BASE_FEE,
                outcome.traded,
                outcome.ticks,
                outcome.notional,
                outcome.fee,
            )
            assert settled.amount == settled.fee
            return
        if not isinstance(outcome, StrayFilled):
            self.oms.move(self.oms.open[outcome.client_order_id], outcome, 0)
        if isinstance(outcome, OrderFilled):
            self.books[outcome.strategy].apply(outcome)

    # What holds.

    @invariant()
    def the_worst_case_covers_what_the_venue_can_do(self) -> None:
        for name, theirs in self.venue.orders.items():
            if theirs.is_open:
                ours = self.oms.open[name]
                assert ours.filled_lots + ours.leaves >= theirs.lots
        for kind, name, *rest in self.commands:
            ours = self.oms.open.get(name)
            if kind == "new":
                assert ours is not None
            if kind == "replace" and ours is not None:
                assert ours.filled_lots + ours.leaves >= rest[0]

    @invariant()
    def nothing_is_booked_twice(self) -> None:
        for name, track in self.reports.memory.orders.items():
            theirs = self.venue.orders.get(name)
            assert track.booked_lots <= (theirs.filled if theirs is not None else 0)
            assert sum(track.executions.values()) == track.booked_lots

    @invariant()
    def dust_is_less_than_a_lot(self) -> None:
        for held in self.reports.memory.dust.values():
            assert all(0 <= units < LOT_UNITS for units in held.values())

    def teardown(self) -> None:
        while self.commands:
            self.arrive(refused=False, lost=False, answered=True)
        self.wire.clear()
        if self.look is not None:
            self.hear_look(fresh=False)
        for _ in range(3 * POLICY.same_looks):
            self.venue.clock += 10**9
            for name, order in list(self.oms.open.items()):  # whoever waited has a time-out
                if order.status in (OrderStatus.SUBMITTED, OrderStatus.REPLACE_PENDING):
                    self._hear(
                        VenueReport(
                            kind=ReportKind.UNANSWERED, client_order_id=name, instrument=BTC.id
                        )
                    )  # fmt: skip
            self.take_look()
            self.hear_look(fresh=False)
        memory = self.reports.memory
        assert not memory.is_blocked
        assert not memory.wants_look
        open_there = {n: e for n, e in self.venue.orders.items() if e.is_open}
        assert self.oms.open.keys() == open_there.keys()
        for name, theirs in open_there.items():
            ours = self.oms.open[name]
            assert (ours.lots, ours.filled_lots) == (theirs.lots, theirs.filled)
            assert ours.limit_ticks == theirs.limit
            assert ours.asked_lots == 0 or ours.status is OrderStatus.CANCEL_PENDING
        held = sum(each.positions[BTC.id].lots for each in self.books.values()) * LOT_UNITS
        held += sum(units for each in memory.dust.values() for units in each.values())
        assert held + memory.unallocated_units[BTC.id] == self.venue.units
        cash = sum(each.cash for each in self.books.values())
        assert cash + memory.unallocated_cash["USDT"] == self.venue.cash
        for book in self.books.values():
            book.check()


TestVenueReports = Machine.TestCase
TestVenueReports.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
