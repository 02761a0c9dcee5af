"""What became of every decision of a session, read from the records of its tape."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from onetape.domain.errors import InvariantBroken
from onetape.domain.events import (
    CapitalDeposited,
    CashPosted,
    OrderApproved,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderSubmitted,
    Payload,
    PositionAdjusted,
    PositionChanged,
    PositionSettled,
    SettlementKind,
)
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import CorporateAction
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import CancelIntent, Intent, OrderIntent, ReplaceIntent, Side
from onetape.domain.venue import BarClosed, RowHeard, TickHeard

_encode = msgspec.msgpack.Encoder().encode

Line = tuple[str, InstrumentId]
"""A strategy and an instrument: what orders are compared within."""


class Fill(msgspec.Struct, frozen=True):
    """One fill: `row` is that of the bar that made it, -1 where a venue told of it.

    `ts` ns UTC, `notional` and `fee` minor units.
    """

    ts: int
    row: int
    lots: int
    ticks: int
    notional: int
    fee: int


class OrderPath(msgspec.Struct, kw_only=True):
    """An order, or a decision of which none became, from its decision to its end.

    Attributes:
        client_order_id: Empty where our risk denied it.
        line: Whose it is and of what.
        side: Which way; of a denied one as it was asked for.
        lots: As submitted; 0: sized at the fill.
        fills: In order.
        fee_in_lots: What fees that were taken in lots cost: (change of lots, cash) each.
        ending: How it ended, for people; empty while it is open.
        ended_by_venue: Whether the venue refused it, or took it off at nobody's wish.
        denied: The refusal of our risk.
    """

    line: Line
    side: Side
    client_order_id: str = ""
    lots: int = 0
    fills: list[Fill] = []
    fee_in_lots: list[tuple[int, int]] = []
    ending: str = ""
    ended_by_venue: bool = False
    denied: OrderDenied | None = None


class Decision(msgspec.Struct, kw_only=True):
    """One intent of a strategy.

    `ts` is when (ns UTC), `slices` how many time slices had come, history included. `order` is what
    became of one that asks for an order, `likeness` the intent without the numbers that others
    before it may have shifted.
    """

    intent: Intent
    ts: int
    slices: int
    likeness: bytes = b""
    order: OrderPath | None = None

    def is_same(self, other: Decision) -> bool:
        """Whether both ask for the same; an order may expire as long after its decision."""
        one, two = self.intent, other.intent
        if isinstance(one, OrderIntent) and isinstance(two, OrderIntent) and (
            one.ts_expire - self.ts == two.ts_expire - other.ts
        ):  # fmt: skip
            two = msgspec.structs.replace(two, ts_expire=one.ts_expire)
        return one == two


class SessionPaths:
    """Reads records as they come, and forgets them: it is the tape of a session run again.

    Args:
        pinned: The bars or ticks of a session whose rows don't stand on its tape, in their order.

    Attributes:
        rows: How many bars or ticks it has heard.
        has_ticks: Whether they are ticks.
        doubtful: How many of them are flagged.
        decisions: Of each strategy, in order.
        closings: Orders that no strategy decided: an operator's.
        cash: Of each strategy, as its books said last, minor units.
        capital: What it began with.
        currency: Of both.
        lots: Signed lots that it holds, as its books said last.
        receivable: Dividends of each strategy that are not paid yet, minor units.
        actions: Corporate actions, in order.
        adjusted: What they have done to each position: lots that it got, and minor units.
        events: How many were read.
    """

    def __init__(self, pinned: Iterable[RowHeard] = ()) -> None:
        self.rows = self.doubtful = 0
        self.has_ticks = False
        self._pinned = iter(pinned)
        self._coming = next(self._pinned, None)
        self._slices = self._ts_slice = 0
        self._digest = sha256()
        self.decisions: dict[str, list[Decision]] = {}
        self.closings: list[OrderPath] = []
        self.cash: dict[str, int] = {}
        self.capital: dict[str, int] = {}
        self.currency: dict[str, str] = {}
        self.lots: dict[Line, int] = {}
        self.receivable: dict[str, int] = {}
        self.actions: list[CorporateAction] = []
        self.adjusted: dict[Line, tuple[int, int]] = {}
        self.events = 0
        self._orders: dict[str, OrderPath] = {}
        self._asked: dict[tuple[str, int], Decision] = {}

    def append(
        self, first_seq: int, ts: int, market_index: int, events: Sequence[tuple[Payload, int, int]]
    ) -> None:
        """Read one step (see `TapeWriter`)."""
        del first_seq
        self._hear_pinned(ts)
        self.events += len(events)
        filled: OrderPath | None = None
        for payload, _, _ in events:
            match payload:
                case BarClosed() | TickHeard():
                    self._hear(payload)
                case CapitalDeposited(strategy=strategy, currency=currency, amount=amount):
                    self.decisions[strategy] = []
                    self.currency[strategy] = currency
                    self.capital[strategy] = self.cash[strategy] = amount
                    self.receivable[strategy] = 0
                case OrderIntent() | CancelIntent() | ReplaceIntent():
                    self._decide(payload, ts)
                case OrderApproved() | OrderDenied():
                    self._judge(payload)
                case OrderSubmitted():
                    self._submit(payload)
                case OrderFilled():
                    filled = self._orders[payload.client_order_id]
                    filled.fills.append(
                        Fill(payload.ts_fill, market_index, payload.lots, payload.ticks,
                             payload.notional, payload.fee)
                    )  # fmt: skip
                    if not payload.leaves:
                        filled.ending = filled.ending or "filled"
                case OrderRejected() | OrderCanceled() | OrderExpired():
                    self._end(payload)
                case CorporateAction():
                    self.actions.append(payload)
                case PositionAdjusted():
                    self._adjust(payload)
                case PositionChanged():
                    self._book(payload)
                case PositionSettled():
                    self._book(payload)
                    if payload.kind is not SettlementKind.BASE_FEE or filled is None:
                        raise InvariantBroken(f"{payload.kind.value} in a paper or live session")
                    filled.fee_in_lots.append((payload.traded, payload.amount - payload.fee))
                case CashPosted():
                    raise InvariantBroken(f"{payload.kind.value} in a paper or live session")
                case _:
                    pass

    def commit(self) -> None:
        """Nothing waits to be written."""

    @property
    def digest(self) -> bytes:
        """Of all rows, whenever they were heard: two sessions with the same have the same rows."""
        self._hear_pinned(INT64_MAX)
        return self._digest.digest()

    def _hear_pinned(self, ts: int) -> None:
        while self._coming is not None and self._coming.ts_known <= ts:
            self._hear(self._coming)
            self._coming = next(self._pinned, None)

    def _hear(self, row: RowHeard) -> None:
        self.rows += 1
        self.has_ticks = isinstance(row, TickHeard)
        self.doubtful += row.quality != 0
        self._digest.update(_encode(row.known_at(0)))
        if row.ts_known > self._ts_slice:
            self._ts_slice = row.ts_known
            self._slices += 1

    def _decide(self, intent: OrderIntent | CancelIntent | ReplaceIntent, ts: int) -> None:
        decision = Decision(intent=intent, ts=ts, slices=self._slices)
        if isinstance(intent, OrderIntent):
            decision.likeness = _liken(intent, ts)
            decision.order = OrderPath(
                line=(intent.strategy, intent.instrument), side=intent.side, lots=intent.amount
            )
        self.decisions[intent.strategy].append(decision)
        self._asked[intent.strategy, intent.intent] = decision

    def _judge(self, verdict: OrderApproved | OrderDenied) -> None:
        decision = self._asked.get((verdict.strategy, verdict.intent))
        if decision is None or decision.order is None:
            return  # an operator's order, or a change of one that stands
        if isinstance(verdict, OrderDenied):
            decision.order.denied = verdict
            decision.order.ending = f"denied: {verdict.code.value}"
        else:
            self._orders[verdict.client_order_id] = decision.order

    def _submit(self, order: OrderSubmitted) -> None:
        path = self._orders.get(order.client_order_id)
        if path is None:
            path = OrderPath(line=(order.strategy, order.instrument), side=order.side)
            self._orders[order.client_order_id] = path
            self.closings.append(path)
        path.client_order_id = order.client_order_id
        path.side, path.lots = order.side, order.lots

    def _end(self, event: OrderRejected | OrderCanceled | OrderExpired) -> None:
        path = self._orders[event.client_order_id]
        match event:
            case OrderRejected():
                path.ending, path.ended_by_venue = f"rejected: {event.reason}", True
            case OrderCanceled():
                path.ending = f"canceled: {event.reason}"
                path.ended_by_venue = event.reason != "requested"
            case OrderExpired():
                path.ending = f"expired: {event.reason}"

    def _adjust(self, event: PositionAdjusted) -> None:
        strategy = event.strategy
        self.cash[strategy] = event.cash
        self.receivable[strategy] += event.receivable
        amount = event.amount + event.receivable
        for instrument, lots in ((event.instrument, event.lots), (event.other, event.other_lots)):
            if not instrument:
                continue
            line = (strategy, instrument)
            before = self.adjusted.get(line, (0, 0))
            got = lots - self.lots.get(line, 0)
            self.adjusted[line] = before[0] + got, before[1] + amount
            self.lots[line] = lots
            amount = 0

    def _book(self, books: PositionChanged | PositionSettled) -> None:
        self.cash[books.strategy] = books.cash
        self.lots[books.strategy, books.instrument] = books.lots


def _liken(intent: OrderIntent, ts: int) -> bytes:
    terms = intent.conditions
    if terms is not None:
        terms = msgspec.structs.replace(
            terms, parent="parent" if terms.parent else "", group="group" if terms.group else ""
        )
    expiry = intent.ts_expire - ts if intent.ts_expire else 0
    return _encode(msgspec.structs.replace(intent, intent=0, ts_expire=expiry, conditions=terms))
