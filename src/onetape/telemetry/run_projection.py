"""What happened in a session, folded from its tape in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from onetape.domain.errors import DataError
from onetape.domain.events import (
    BreakerTripped,
    CapitalDeposited,
    CashPosted,
    Event,
    FeatureDrifted,
    MarginStatusChanged,
    OrderAccepted,
    OrderAdopted,
    OrderCanceled,
    OrderCancelRejected,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReduced,
    OrderRejected,
    OrderReleased,
    OrderReplaced,
    OrderReplaceRejected,
    OrderReport,
    OrderSubmitted,
    PositionAdjusted,
    PositionChanged,
    PositionClosed,
    PositionOpened,
    PositionSettled,
    SessionStarted,
    SessionStopped,
    StrategyQuarantined,
    StrayFilled,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.orders import OrderStatus, OrderType, Side, TimeInForce
from onetape.execution.oms import CLASSIC, MOVES, OPEN
from onetape.portfolio.equity_curve import TimedAccountEvent


class OrderState(msgspec.Struct, gc=False, kw_only=True):
    """An order as its newest event left it. Money in minor units, times ns UTC.

    `lots` is the total quantity, 0 while the venue has yet to size it; prices are ticks, 0 where
    the order has none. `reason` is why it was rejected, canceled or expired; `ts_accepted` None
    while the venue has not taken it. Of an adopted order that begins with its adoption: what had
    filled before, `adopted_lots`, is in no other field.
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
    status: OrderStatus
    filled_lots: int
    filled_notional: int
    fee: int
    ts_submitted: int
    ts_last: int
    reason: str
    ts_accepted: int | None = None
    adopted_lots: int = 0

    @property
    def classic_status(self) -> str:
        """One of pending, submitted, partially filled, filled, rejected, canceled."""
        return CLASSIC[self.status]


class RunProjection:
    """The fold of a tape.

    Attributes:
        header: What the session was.
        stopped: How it ended; None: the tape is incomplete.
        orders: Every submitted or adopted order in its final state by id, in that order.
        account_events: Deposits, fills, what corporate actions made of positions and other
            postings of cash, with their engine time, in tape order.
        fills: (seq, engine time, fill) each.
        positions: (engine time, what a fill made of its position) each.
        adjustments: (seq, engine time, what a corporate action made of a position) each.
        settlements: (seq, engine time, what a contract's position was settled by) each.
        margin: (engine time, another status of a strategy's margin) each.
        postings: (seq, engine time, cash that moved without a fill) each.
        cash: What the books of each (strategy, currency) said last, in minor units.
        denied: (engine time, refusal of our risk) each.
        quarantined: (engine time, failure of a strategy) each.
        breakers: (engine time, breaker that tripped) each.
        drifted: (engine time, alert of a feature) each.
        counts: How many events there are of each type.
        ts_last: Engine time of the last event, ns UTC.
    """

    def __init__(self, header: SessionStarted) -> None:
        self.header = header
        self.stopped: SessionStopped | None = None
        self.orders: dict[str, OrderState] = {}
        self.account_events: list[TimedAccountEvent] = []
        self.fills: list[tuple[int, int, OrderFilled]] = []
        self.positions: list[tuple[int, PositionChanged]] = []
        self.adjustments: list[tuple[int, int, PositionAdjusted]] = []
        self.settlements: list[tuple[int, int, PositionSettled]] = []
        self.margin: list[tuple[int, MarginStatusChanged]] = []
        self.postings: list[tuple[int, int, CashPosted]] = []
        self.cash: dict[tuple[str, str], int] = {}
        self._quotes = {each.id: each.settlement_currency for each in header.instruments}
        self._homes: dict[str, str] = {}
        self.denied: list[tuple[int, OrderDenied]] = []
        self.quarantined: list[tuple[int, StrategyQuarantined]] = []
        self.breakers: list[tuple[int, BreakerTripped]] = []
        self.drifted: list[tuple[int, FeatureDrifted]] = []
        self.counts: Counter[str] = Counter()
        self.ts_last = 0
        self._folds: dict[type, Callable[[Event, Any], None]] = {
            **{report: self._move for _, report in MOVES},
            OrderSubmitted: self._open,
            OrderAdopted: self._adopt,
            OrderFilled: self._fill,
            OrderPartiallyFilled: self._fill,
            StrayFilled: self._take_stray,
            PositionChanged: self._position,
            PositionOpened: self._position,
            PositionClosed: self._position,
            PositionAdjusted: self._adjust,
            PositionSettled: self._settle,
            MarginStatusChanged: self._note_margin,
            CashPosted: self._post,
            OrderDenied: self._deny,
            CapitalDeposited: self._deposit,
            StrategyQuarantined: self._quarantine,
            BreakerTripped: self._trip,
            FeatureDrifted: self._drift,
            SessionStopped: self._stop,
        }

    def apply(self, event: Event) -> None:
        """Take the next event of the tape.

        Raises:
            DataError: An order event that can't follow what came before.
        """
        self.counts[event.type] += 1
        self.ts_last = event.ts_event
        fold = self._folds.get(type(event.payload))
        if fold is not None:
            fold(event, event.payload)

    def _fill(self, event: Event, fill: OrderFilled) -> None:
        self.account_events.append((event.ts_event, fill))
        self.fills.append((event.seq, event.ts_event, fill))
        self._move(event, fill)

    def _take_stray(self, event: Event, fill: StrayFilled) -> None:
        self.account_events.append((event.ts_event, fill))
        self.fills.append((event.seq, event.ts_event, fill))
        order = self.orders[fill.client_order_id]
        order.filled_lots += fill.lots
        order.filled_notional += fill.notional
        order.fee += fill.fee
        order.lots = max(order.lots, order.filled_lots)

    def _position(self, event: Event, change: PositionChanged) -> None:
        self.positions.append((event.ts_event, change))
        self.cash[change.strategy, self._currency_of(change)] = change.cash

    def _adjust(self, event: Event, change: PositionAdjusted) -> None:
        self.account_events.append((event.ts_event, change))
        self.adjustments.append((event.seq, event.ts_event, change))
        self.cash[change.strategy, self._currency_of(change)] = change.cash

    def _currency_of(self, change: PositionChanged | PositionAdjusted | PositionSettled) -> str:
        return self._quotes.get(change.instrument) or self._homes[change.strategy]

    def _settle(self, event: Event, settled: PositionSettled) -> None:
        self.account_events.append((event.ts_event, settled))
        self.settlements.append((event.seq, event.ts_event, settled))
        self.cash[settled.strategy, self._currency_of(settled)] = settled.cash

    def _note_margin(self, event: Event, status: MarginStatusChanged) -> None:
        self.margin.append((event.ts_event, status))

    def _post(self, event: Event, posted: CashPosted) -> None:
        self.account_events.append((event.ts_event, posted))
        self.postings.append((event.seq, event.ts_event, posted))
        self.cash[posted.strategy, posted.currency] = posted.cash

    def _deny(self, event: Event, refusal: OrderDenied) -> None:
        self.denied.append((event.ts_event, refusal))

    def _deposit(self, event: Event, deposit: CapitalDeposited) -> None:
        self.account_events.append((event.ts_event, deposit))
        self._homes.setdefault(deposit.strategy, deposit.currency)

    def _quarantine(self, event: Event, failure: StrategyQuarantined) -> None:
        self.quarantined.append((event.ts_event, failure))

    def _trip(self, event: Event, tripped: BreakerTripped) -> None:
        self.breakers.append((event.ts_event, tripped))

    def _drift(self, event: Event, drifted: FeatureDrifted) -> None:
        self.drifted.append((event.ts_event, drifted))

    def _stop(self, _event: Event, stopped: SessionStopped) -> None:
        self.stopped = stopped

    def _open(self, event: Event, order: OrderSubmitted | OrderAdopted) -> None:
        self.orders[order.client_order_id] = OrderState(
            client_order_id=order.client_order_id,
            strategy=order.strategy,
            instrument=order.instrument,
            side=order.side,
            order_type=order.order_type,
            time_in_force=order.time_in_force,
            lots=order.lots,
            limit_ticks=order.limit_ticks,
            stop_ticks=order.stop_ticks,
            status=OrderStatus.SUBMITTED,
            filled_lots=0,
            filled_notional=0,
            fee=0,
            ts_submitted=event.ts_event,
            ts_last=event.ts_event,
            reason="",
        )

    def _adopt(self, event: Event, order: OrderAdopted) -> None:
        self._open(event, order)
        state = self.orders[order.client_order_id]
        state.status, state.ts_accepted = OrderStatus.ACCEPTED, event.ts_event
        state.lots, state.adopted_lots = order.lots - order.filled_lots, order.filled_lots

    def _move(self, event: Event, report: OrderReport) -> None:
        order = self.orders.get(report.client_order_id)
        is_late = isinstance(report, OrderCancelRejected | OrderReplaceRejected)
        if order is not None and is_late and order.status not in OPEN:
            return  # it closed while the cancel or replace was under way
        after = MOVES.get((order.status, type(report))) if order else None
        if order is None or after is None:
            state = order.status.name if order else "never submitted"
            raise DataError(
                f"order {report.client_order_id} is {state} and {event.type} can't follow",
                where=f"seq {event.seq} of the tape",
                remedy="audit the tape",
            )
        order.ts_last = event.ts_event
        match report:
            case OrderAccepted():
                order.ts_accepted = event.ts_event
            case OrderFilled():
                order.filled_lots += report.lots
                order.filled_notional += report.notional
                order.fee += report.fee
                order.lots = order.filled_lots + report.leaves
            case OrderReplaced():
                order.lots = report.lots - order.adopted_lots
                order.limit_ticks = report.limit_ticks
                order.stop_ticks = report.stop_ticks
            case OrderReduced():
                order.lots = report.lots - order.adopted_lots
            case OrderReleased():
                order.lots = report.lots - order.adopted_lots
                order.limit_ticks = report.limit_ticks
            case OrderRejected() if after is OrderStatus.REJECTED:
                order.reason = f"{report.code.value}: {report.reason}"
            case OrderCanceled() | OrderExpired():
                order.reason = report.reason
            case _:
                pass
        order.status = after
        if after is OrderStatus.ACCEPTED and order.filled_lots:
            order.status = OrderStatus.PARTIALLY_FILLED


def project_run(events: Iterable[Event]) -> RunProjection:
    """Fold a whole tape.

    Raises:
        DataError: The tape is empty, does not begin with session.started, or holds an order event
            that can't follow what came before.
    """
    source = iter(events)
    first = next(source, None)
    if first is None or not isinstance(first.payload, SessionStarted):
        raise DataError(
            f"the tape {'starts with ' + first.type if first else 'is empty'}",
            remedy="a tape starts with session.started; this session did not get that far",
        )
    projection = RunProjection(first.payload)
    projection.apply(first)
    for event in source:
        projection.apply(event)
    return projection
