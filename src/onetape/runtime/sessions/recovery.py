"""State = fold(tape): books and orders from a tape alone, without catalog, strategies or venue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

from onetape.domain.errors import DataError, InvariantBroken
from onetape.domain.events import (
    BreakerRearmed,
    BreakerTripped,
    CapitalDeposited,
    CashPosted,
    CashSettling,
    ContractAdjusted,
    KillSwitchSet,
    MarginStatus,
    MarginStatusChanged,
    OrderAdopted,
    OrderApproved,
    OrderCancelRejected,
    OrderFilled,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    Payload,
    PositionAdjusted,
    PositionSettled,
    SessionStarted,
    SessionStopped,
    StrategyQuarantined,
    StrayFilled,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import TradingStatus
from onetape.domain.numbers import INT64_MAX
from onetape.execution.oms import Oms, Order
from onetape.portfolio.currency_ledger import open_ledger
from onetape.portfolio.ledger import Ledger
from onetape.portfolio.option_adjustment import Deliverable
from onetape.risk.kill_switch import KillSwitch
from onetape.runtime.sessions.realtime import decode_realtime
from onetape.runtime.sessions.session_state import SessionState, decode_state
from onetape.tape.reader import BlockReader
from onetape.tape.snapshot import Snapshot


def find_seq(snapshot: Snapshot, header: SessionStarted) -> int:
    """The seq of the newest event before a snapshot; pinned rows have seqs too."""
    pinned_rows = snapshot.rows if header.mode == "backtest" else 0
    return pinned_rows + snapshot.events - 1


class FoldedState:
    """Books and orders of a session behind the event `seq`, as its tape tells them.

    What an open order can cost at the most follows from marks, which are not on the tape of a
    backtest: `Order.lot_cost` is that of the snapshot that the fold began with, or 0.

    Attributes:
        header: What the session ran on.
        seq: The newest event; -1 before any.
        ts: Its engine time, ns UTC.
        folded: Events that were folded, those of the snapshot not among them.
        orders: The open ones, oldest first, by client order id.
        ledgers: Of each strategy.
        unsettled: Proceeds of sales of each strategy that have not settled yet, if it has any.
        unsettled_in: The same by (strategy, currency) where foreign cash is held.
        kill_switch: Whether it is set, and why.
        quarantined: Strategies that have raised.
        breakers: Circuit breakers that are tripped, by (place, strategy, instrument).
        halted: Instruments that are halted at their venue.
        margin: Status of (strategy, instrument) where it is not `sufficient`.
        options: What actions of their underlyings have made of options.
        is_complete: The session has stopped.
    """

    def __init__(self, header: SessionStarted) -> None:
        self.header = header
        self.seq = -1
        self.ts = 0
        self.folded = 0
        self.ledgers: dict[str, Ledger] = {}
        self.unsettled: dict[str, int] = {}
        self.unsettled_in: dict[tuple[str, str], int] = {}
        self.kill_switch = KillSwitch()
        self.quarantined: list[StrategyQuarantined] = []
        self.breakers: dict[tuple[int, str, str], BreakerTripped] = {}
        self.margin: dict[tuple[str, InstrumentId], MarginStatus] = {}
        self.halted: dict[InstrumentId, TradingStatus] = {}
        self.options: dict[InstrumentId, Deliverable] = {}
        self.is_complete = False
        self.instruments: dict[str, Instrument] = {each.id: each for each in header.instruments}
        self._oms = Oms()
        self._approved: dict[str, OrderApproved] = {}
        self._folds: dict[type, Callable[[Any, int, int], None]] = {
            CapitalDeposited: self._deposit,
            OrderApproved: self._approve,
            OrderSubmitted: self._submit,
            OrderAdopted: self._adopt,
            KillSwitchSet: self._set_kill_switch,
            BreakerTripped: self._trip,
            BreakerRearmed: self._rearm,
            StrategyQuarantined: self._quarantine,
            StrayFilled: self._take_stray,
            SessionStopped: self._stop,
            PositionAdjusted: self._adjust,
            PositionSettled: self._settle,
            CashPosted: self._post,
            MarginStatusChanged: self._note_margin,
            ContractAdjusted: self._note_contract,
            CashSettling: self._note_settling,
            TradingStatus: self._note_status,
            **dict.fromkeys(_REPORTS, self._move),
        }

    @property
    def orders(self) -> dict[str, Order]:
        """Open orders by client order id, oldest first."""
        return self._oms.open

    def begin_at(self, snapshot: Snapshot) -> None:
        """Take over books and orders of a snapshot.

        Raises:
            DataError: It is of another version of onetape.
            InvariantBroken: Its books don't balance.
        """
        is_pinned = self.header.mode == "backtest"
        state = decode_state(snapshot.state) if is_pinned else decode_realtime(snapshot.state)
        self.orders.update((each.client_order_id, each) for each in state.desk.orders)
        self.kill_switch.active = state.desk.kill_active
        self.kill_switch.reason = state.desk.kill_reason
        self.quarantined += state.pipeline.quarantined
        if state.pipeline.breakers is not None:
            for each in state.pipeline.breakers.watched:
                if each.trip is not None:
                    self.breakers[each.breaker, each.strategy, each.instrument] = each.trip
        if isinstance(state, SessionState):
            self.margin = {(each.strategy, each.instrument): each.status for each in state.margin}
            self.halted = {each.instrument: each for each in state.halted}
            self.options = {each.instrument: each.deliverable for each in state.options}
            for each in state.proceeds:
                if each.currency:
                    key = each.strategy, each.currency
                    self.unsettled_in[key] = self.unsettled_in.get(key, 0) + each.amount
                    continue
                self.unsettled[each.strategy] = self.unsettled.get(each.strategy, 0) + each.amount
        for name, runner in state.pipeline.strategies.items():
            self.ledgers[name] = self._open_ledger(name, runner.currency)
            self.ledgers[name].restore(runner.ledger)
        self.seq = find_seq(snapshot, self.header)
        self.ts = snapshot.ts

    def apply(self, payload: Payload, seq: int, correlation_id: int) -> None:
        """Fold one event.

        Raises:
            InvariantBroken: It can't follow what came before.
        """
        fold = self._folds.get(type(payload))
        if fold is not None:
            fold(payload, seq, correlation_id)
        self.seq = seq
        self.folded += 1

    def _open_ledger(self, strategy: str, currency: str) -> Ledger:
        return open_ledger(strategy, currency, self.header.instruments)

    def _deposit(self, event: CapitalDeposited, _seq: int, _origin: int) -> None:
        ledger = self.ledgers.get(event.strategy)
        if ledger is None:
            ledger = self._open_ledger(event.strategy, event.currency)
            self.ledgers[event.strategy] = ledger
        ledger.deposit(event.amount)

    def _approve(self, event: OrderApproved, _seq: int, _origin: int) -> None:
        self._approved[event.client_order_id] = event

    def _submit(self, event: OrderSubmitted, seq: int, origin: int) -> None:
        approved = self._approved.pop(event.client_order_id)
        self.orders[event.client_order_id] = Order(
            event.client_order_id, event.strategy, event.instrument, event.side, event.order_type,
            event.time_in_force, event.lots, event.limit_ticks, event.stop_ticks, event.ts_expire,
            event.reduce_only, approved.lots, 0, origin, seq, conditions=event.conditions,
        )  # fmt: skip

    def _adopt(self, event: OrderAdopted, seq: int, origin: int) -> None:
        self._oms.adopt(event, 0, origin, seq)

    def _move(self, event: OrderReport, seq: int, _origin: int) -> None:
        order = self.orders.get(event.client_order_id)
        if order is None:
            if isinstance(event, OrderCancelRejected | OrderReplaceRejected):
                return  # it closed while the command was under way
            raise DataError(f"seq {seq}: no open order {event.client_order_id}",
                            remedy="audit the tape")  # fmt: skip
        if isinstance(event, OrderReplacePending):
            self._approved.pop(event.client_order_id, None)
            order.asked_lots = event.lots
        self._oms.move(order, event, seq)
        if isinstance(event, OrderFilled):
            self.ledgers[order.strategy].apply(event)

    def _take_stray(self, event: StrayFilled, _seq: int, _origin: int) -> None:
        self.ledgers[event.strategy].apply(event)

    def _adjust(self, event: PositionAdjusted, _seq: int, _origin: int) -> None:
        self.ledgers[event.strategy].follow(event)

    def _settle(self, event: PositionSettled, seq: int, _origin: int) -> None:
        ledger = self.ledgers[event.strategy]
        ledger.follow_settled(event)
        cash = ledger.cash_of(event.instrument)
        if cash != event.cash:
            raise InvariantBroken(
                f"seq {seq}: cash of {event.strategy} is {event.cash} minor units on the tape, and "
                f"{cash} by its events"
            )

    def _post(self, event: CashPosted, seq: int, _origin: int) -> None:
        ledger = self.ledgers[event.strategy]
        posted = ledger.post(
            event.kind, event.amount, event.instrument, event.reason, event.currency
        )
        if posted != event:
            raise InvariantBroken(
                f"seq {seq}: cash of {event.strategy} is {event.cash} {event.currency} minor units "
                f"on the tape, and {posted.cash} {posted.currency} by its postings"
            )

    def _note_margin(self, event: MarginStatusChanged, _seq: int, _origin: int) -> None:
        key = (event.strategy, event.instrument)
        if event.status is MarginStatus.SUFFICIENT:
            self.margin.pop(key, None)
        else:
            self.margin[key] = event.status

    def _note_contract(self, event: ContractAdjusted, _seq: int, _origin: int) -> None:
        self.options[event.instrument] = Deliverable(
            strike=event.strike, top=event.top, bottom=event.bottom, cash=event.cash
        )

    def _note_settling(self, event: CashSettling, _seq: int, _origin: int) -> None:
        if event.currency == self.ledgers[event.strategy].currency:
            self.unsettled[event.strategy] = event.unsettled
        else:
            self.unsettled_in[event.strategy, event.currency] = event.unsettled

    def _note_status(self, event: TradingStatus, _seq: int, _origin: int) -> None:
        if event.is_halted:
            self.halted[event.instrument] = event
        else:
            self.halted.pop(event.instrument, None)

    def _set_kill_switch(self, event: KillSwitchSet, _seq: int, _origin: int) -> None:
        self.kill_switch.apply(event)

    def _trip(self, event: BreakerTripped, _seq: int, _origin: int) -> None:
        self.breakers[event.breaker, event.strategy, event.instrument] = event

    def _rearm(self, event: BreakerRearmed, _seq: int, _origin: int) -> None:
        self.breakers.pop((event.breaker, event.strategy, event.instrument), None)

    def _quarantine(self, event: StrategyQuarantined, _seq: int, _origin: int) -> None:
        self.quarantined.append(event)

    def _stop(self, _event: SessionStopped, _seq: int, _origin: int) -> None:
        self.is_complete = True


_REPORTS: tuple[type[OrderReport], ...] = get_args(OrderReport)


def fold_tape(
    reader: BlockReader, until_seq: int = INT64_MAX, *, use_snapshots: bool = True
) -> FoldedState:
    """Books and orders behind the event `until_seq`, from the newest snapshot before it on.

    Raises:
        DataError: The tape can't be read, or names no instruments (of an older onetape).
        InvariantBroken: Its events can't follow one another.
        TryAgain: The tape is locked.
    """
    header = reader.header
    if not header.instruments:
        raise DataError(
            f"the tape of session {header.session} does not say what its instruments are",
            remedy="it is of an older onetape: see `onetape replay`, which reads the catalog",
        )
    state = FoldedState(header)
    snapshot = _snapshot_before(reader, until_seq) if use_snapshots else None
    if snapshot is not None:
        state.begin_at(snapshot)
    first = state.seq + 1
    for record in reader.records(first):
        for seq, (payload, correlation_id, _) in enumerate(record.events, record.first_seq):
            if seq > until_seq:
                return state
            if seq >= first:
                state.apply(payload, seq, correlation_id)
        state.ts = record.ts
    return state


def _snapshot_before(reader: BlockReader, until_seq: int) -> Snapshot | None:
    """The newest snapshot that is not behind `until_seq`."""
    newest = reader.newest_snapshot(events=until_seq)
    while newest is not None and find_seq(newest, reader.header) > until_seq:
        newest = reader.newest_snapshot(events=newest.events - 1)
    return newest
