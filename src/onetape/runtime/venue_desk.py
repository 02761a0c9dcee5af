"""Follows the account at a real venue: what it says becomes moves of orders, books and pauses."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager

from onetape.domain.corporate_actions import compute_terms
from onetape.domain.events import OrderReport, OrderSubmitted, StrayFilled
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import CorporateAction
from onetape.domain.orders import OrderStatus, TimeInForce
from onetape.domain.venue import Discrepancy, VenueOrder, VenueReport, VenueSnapshot
from onetape.execution.expected_actions import expect_cash, expect_position
from onetape.execution.oms import Oms
from onetape.execution.reconciliation import (
    ReconciliationPolicy,
    catch_up,
    compare,
    tell_suspect,
)
from onetape.execution.venue_memory import VenueMemory
from onetape.execution.venue_reports import BaseFee, Outcome, VenueReports
from onetape.runtime.order_desk import OrderDesk
from onetape.runtime.runner import Runner
from onetape.runtime.step_log import StepLog

RECONCILIATION = "reconciliation"
"""Who pauses while our books and the venue's are not known to agree."""

Settle = Callable[[OrderReport | StrayFilled], None]


class VenueDesk:
    """Applies what one venue says to the orders and books of a session.

    Nothing may open a position before the venue's books have been seen to agree with ours: at the
    start, when a process begins anew, and when the venue is there again.

    Args:
        instruments: Of the session.
        oms: The open orders.
        runners: The strategies, which share the account.
        desk: Orders and books.
        log: Where it stands on the tape.
        policy: What to do about what can't be explained.
        cancel: Takes an order that is closed here and open there, as it would be submitted.
    """

    __slots__ = ("_cancel", "_desk", "_log", "_oms", "_policy", "_reports", "_runners")

    def __init__(
        self,
        instruments: Iterable[Instrument],
        oms: Oms,
        runners: Mapping[str, Runner],
        desk: OrderDesk,
        log: StepLog,
        policy: ReconciliationPolicy,
        cancel: Callable[[OrderSubmitted], None],
    ) -> None:
        self._reports = VenueReports(instruments)
        self._oms = oms
        self._runners = runners
        self._desk = desk
        self._log = log
        self._policy = policy
        self._cancel = cancel

    def save(self) -> VenueMemory:
        """What it remembers between two steps."""
        return self._reports.memory

    def restore(self, state: VenueMemory) -> None:
        """Go on where `state` was saved."""
        self._reports.memory = state

    @property
    def wants_look(self) -> bool:
        """Whether something is unclear until the venue is asked for its books."""
        return self._reports.memory.wants_look

    @property
    def look_since(self) -> int:
        """From when on fills are to be told again, ns UTC of the venue."""
        return self._reports.memory.ts_horizon

    def list_differences(self) -> list[str]:
        """What a person has to look at before anything may open again, for people."""
        suspects = self._reports.memory.suspects
        return [tell_suspect(key, each.told) for key, each in suspects.items() if each.blocks]

    def doubt(self) -> None:
        """From now on nothing opens anything, until a look finds the books equal."""
        self._desk.pause(self._runners, RECONCILIATION)

    @contextmanager
    def expect(self, action: CorporateAction) -> Generator[None]:
        """What is booked inside the block the venue may book earlier, later, or rounded."""
        memory, identity = self._reports.memory, action.instrument
        unit = self._reports.lot_units[identity]
        lots, cash = self._sum_lots(), self._sum_cash()
        yield
        after = self._sum_lots()
        dust = sum(each.get(identity, 0) for each in memory.dust.values())
        expect_position(
            memory, action, compute_terms(action, self._reports.instruments[identity]), unit,
            lots.get(identity, 0) * unit + dust, after.get(identity, 0) * unit + dust,
        )  # fmt: skip
        for currency, amount in self._sum_cash().items():
            expect_cash(memory, action, currency, cash[currency], amount)

    def take_report(self, report: VenueReport, settle: Settle, seq: int) -> None:
        """What a report means for the order that it is of; `seq` is that of its event."""
        order = self._oms.open.get(report.client_order_id)
        for outcome in self._reports.translate(report, order, self._log.now):
            self._apply(outcome, settle, seq)

    def take_snapshot(self, snapshot: VenueSnapshot, settle: Settle, seq: int) -> None:
        """What the venue's books say beside ours; `seq` is that of its event."""
        log = self._log
        there = {
            name: each
            for name, each in self._oms.open.items()
            if each.status is not OrderStatus.EMULATED  # those are held here
        }
        found = catch_up(snapshot, there, self._reports, self._policy, log.now)
        cause = seq
        for each in found:
            if isinstance(each, Discrepancy):
                cause = log.emit(each, log.origin, seq)
            elif isinstance(each, VenueOrder):
                self._cancel_stray(each)
            else:
                self._apply(each, settle, cause)
        for each in compare(
            snapshot, self._sum_lots(), self._sum_cash(), self._reports, self._policy, log.now
        ):
            log.emit(each, log.origin, seq)
        memory = self._reports.memory
        # Whoever doubts goes on doubting while a difference may or may not be something under way.
        is_unsure = memory.wants_look and self._is_doubting
        self._desk.pause(self._runners if memory.is_blocked or is_unsure else (), RECONCILIATION)

    @property
    def _is_doubting(self) -> bool:
        return any(RECONCILIATION in self._desk.pausers(name) for name in self._runners)

    def _cancel_stray(self, order: VenueOrder) -> None:
        """That it is sent stands on the tape in the difference that it is for."""
        track = self._reports.memory.orders[order.client_order_id]
        self._cancel(
            OrderSubmitted(
                order.client_order_id, track.strategy, order.instrument, order.side,
                order.order_type, TimeInForce.GTC, order.lots, order.limit_ticks,
                order.stop_ticks, 0,
            )
        )  # fmt: skip

    def _apply(self, outcome: Outcome, settle: Settle, cause: int) -> None:
        if isinstance(outcome, BaseFee):
            self._desk.books.pay_in_lots(outcome, cause)
        else:
            settle(outcome)

    def _sum_lots(self) -> dict[InstrumentId, int]:
        """Signed lots of each instrument over the strategies."""
        lots: dict[InstrumentId, int] = {}
        for runner in self._runners.values():
            for identity, position in runner.ledger.held.items():
                lots[identity] = lots.get(identity, 0) + position.lots
        return lots

    def _sum_cash(self) -> dict[str, int]:
        """Cash of each currency over the strategies, minor units."""
        cash: dict[str, int] = {}
        for runner in self._runners.values():
            currency = runner.ledger.currency
            cash[currency] = cash.get(currency, 0) + runner.ledger.cash
        return cash
