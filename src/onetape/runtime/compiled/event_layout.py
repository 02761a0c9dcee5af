"""What each event of the log is on the tape: one table, field by field.

The log holds whole numbers (`engine.begin_log`). A layout says which payload they make, where each
of its fields comes from, and what has caused it. What also takes a calculation or free text (a
refusal with its figures, an operator's command, header and footer) is `TOLD` by Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from onetape.domain.events import (
    KillSwitchSet,
    OrderAccepted,
    OrderApproved,
    OrderCanceled,
    OrderCancelPending,
    OrderCancelRejected,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderPartiallyFilled,
    OrderReplaced,
    OrderReplacePending,
    OrderReplaceRejected,
    OrderSubmitted,
    OrderTriggered,
    Payload,
    PositionChanged,
    PositionClosed,
    PositionOpened,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.numbers import E8
from onetape.domain.orders import (
    CancelIntent,
    DenialCode,
    OrderIntent,
    OrderType,
    QuantityBasis,
    RejectCode,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.risk.input import RiskInput
from onetape.runtime.compiled import engine
from onetape.runtime.compiled.gate_limits import GateLimits

# What has caused an event.

(
    ALONE, DECIDED, FOLLOWS, SUBMITS, CHANGES, REPORTED, BOOKED,
) = range(7)  # fmt: skip
"""Where correlation and causation ids come from, as `OrderDesk` and `StepLog` give them.

| cause    | correlation   | causation                                                   |
| -------- | ------------- | ----------------------------------------------------------- |
| ALONE    | 0             | 0                                                           |
| DECIDED  | market event  | market event                                                |
| FOLLOWS  | market event  | the event before it                                         |
| SUBMITS  | market event  | the event before it; its order begins here                  |
| CHANGES  | of its order  | the event before it                                         |
| REPORTED | of its order  | market event of its step, else newest event of its order;   |
|          |               | 0 and 0 where its order is closed                           |
| BOOKED   | of its order  | the event before it, which stays the newest of its order    |
"""

# Where a field comes from.


class Word(msgspec.Struct, frozen=True):
    """The whole number at `at` of the event."""

    at: int


class Choice(msgspec.Struct, frozen=True):
    """The value that the number at `at` chooses; `values` may grow while a session runs."""

    at: int
    values: Sequence[object]


class Numbered(msgspec.Struct, frozen=True):
    """`prefix` and the number at `at`; the empty text for 0."""

    at: int
    prefix: str

    def read(self, event: Sequence[int]) -> str:
        """The text of an event."""
        return f"{self.prefix}{event[self.at]}" if event[self.at] else ""


class Const(msgspec.Struct, frozen=True):
    """Always `value`."""

    value: object


Source = Word | Choice | Numbered | Const
Tell = Callable[[Sequence[int]], Payload]


class Layout(msgspec.Struct, frozen=True):
    """One kind of event.

    Attributes:
        cause: Where its ids come from.
        payload: What it is on the tape.
        fields: Its fields, in their order.
    """

    cause: int
    payload: type[Payload]
    fields: tuple[Source, ...]


class Told(msgspec.Struct, frozen=True):
    """One kind of event whose payload Python makes of the numbers."""

    cause: int
    tell: Tell


_GATE_FIELDS = (
    "ts", "side_sign", "lots", "lot_notional", "notional", "equity", "cash", "session_start_equity",
    "peak_equity", "fee", "position_lots", "open_buy_notional", "end_lots", "end_notional",
    "gross_notional", "net_notional",
)  # fmt: skip


class EventLayouts:
    """The layouts of one session's events.

    Args:
        instruments: Those of the timeline, in its order.
        strategy: Its name.
        order_prefix: What its client order ids begin with.
        gates: The gates that refuse.
        labels: What orders are called, by number; the first is empty. It may grow.

    Attributes:
        table: By kind of the log.
    """

    def __init__(
        self,
        instruments: Sequence[Instrument],
        strategy: str,
        order_prefix: str,
        gates: GateLimits,
        labels: Sequence[str],
    ) -> None:
        self._instruments = instruments
        self._strategy = strategy
        self._gates = gates
        self._order = Numbered(0, order_prefix)
        self.instrument_ids = tuple(each.id for each in instruments)
        name = Const(strategy)
        order = self._order
        no, yes = False, True
        instrument = Choice(1, self.instrument_ids)
        submitted = (order, name, instrument, *_words(2, 10), Choice(10, (no, yes)),
                     Choice(11, (no, yes)), Const(None))  # fmt: skip
        filled = (order, name, instrument, *_words(2, 10))
        position = (name, Choice(0, self.instrument_ids), *_words(1, 5))
        changed = (order, *_words(1, 4))
        self.table: dict[int, Layout | Told] = {
            engine.LOG_INTENT: Layout(DECIDED, OrderIntent, (
                name, Word(0), instrument, *_words(2, 10), Choice(10, (no, yes)),
                Choice(11, labels), Const(None),
            )),
            engine.LOG_CANCEL_INTENT: Layout(DECIDED, CancelIntent, (
                name, Word(0), Numbered(1, order_prefix),
            )),
            engine.LOG_REPLACE_INTENT: Layout(DECIDED, ReplaceIntent, (
                name, Word(0), Numbered(1, order_prefix), *_words(2, 5),
            )),
            engine.LOG_GATE_DENIED: Told(FOLLOWS, self._tell_gate),
            engine.LOG_DENIED: Told(FOLLOWS, self._tell_denial),
            engine.LOG_APPROVED: Layout(FOLLOWS, OrderApproved, (
                name, Word(0), Numbered(1, order_prefix), *_words(2, 4),
            )),
            engine.LOG_SUBMITTED: Layout(SUBMITS, OrderSubmitted, submitted),
            engine.LOG_CANCEL_PENDING: Layout(CHANGES, OrderCancelPending, (order,)),
            engine.LOG_REPLACE_PENDING: Layout(CHANGES, OrderReplacePending, changed),
            engine.LOG_ACCEPTED: Layout(REPORTED, OrderAccepted, (order, Numbered(1, "sim-"))),
            engine.LOG_FILLED: Layout(REPORTED, OrderFilled, filled),
            engine.LOG_PARTIALLY_FILLED: Layout(REPORTED, OrderPartiallyFilled, filled),
            engine.LOG_TRIGGERED: Layout(REPORTED, OrderTriggered, (order, Word(1))),
            engine.LOG_CANCELED: Layout(REPORTED, OrderCanceled, (
                order, Choice(1, engine.CANCELED_REASONS), *_words(2, 4),
            )),
            engine.LOG_EXPIRED: Layout(REPORTED, OrderExpired, (order, Const("time in force"))),
            engine.LOG_CANCEL_REJECTED: Layout(REPORTED, OrderCancelRejected, (
                order, Const(RejectCode.ORDER_CLOSED), Const(_NO_ORDER),
            )),
            engine.LOG_REPLACED: Layout(REPORTED, OrderReplaced, changed),
            engine.LOG_REPLACE_REJECTED: Told(REPORTED, self._tell_replace_rejection),
            engine.LOG_POSITION_OPENED: Layout(BOOKED, PositionOpened, position),
            engine.LOG_POSITION_CHANGED: Layout(BOOKED, PositionChanged, position),
            engine.LOG_POSITION_CLOSED: Layout(BOOKED, PositionClosed, position),
        }  # fmt: skip

    def order_id(self, number: int) -> str:
        """The client order id of an order number; empty for 0."""
        return self._order.read((number,))

    def with_inputs(
        self, header: Payload, deposit: Payload, footer: Payload,
        controls: Sequence[KillSwitchSet],
    ) -> dict[int, Layout | Told]:  # fmt: skip
        """The table, with what a session is given and not computed."""
        return self.table | {
            engine.LOG_STARTED: Told(ALONE, lambda _: header),
            engine.LOG_DEPOSITED: Told(ALONE, lambda _: deposit),
            engine.LOG_STOPPED: Told(ALONE, lambda _: footer),
            engine.LOG_KILL_SWITCH: Told(ALONE, lambda event: controls[event[0]]),
        }

    def _tell_gate(self, event: Sequence[int]) -> OrderDenied:
        gate = self._gates.gates[event[2]]
        instrument = self._instruments[event[1]]
        limit = gate.limit_for(instrument)
        intent = OrderIntent(
            self._strategy, event[0], instrument.id, Side.BUY, QuantityBasis.LOTS, 0,
            OrderType.MARKET, TimeInForce.GTC,
        )  # fmt: skip
        fields = dict(zip(_GATE_FIELDS, event[3:], strict=False))
        order = RiskInput(intent=intent, instrument=instrument, client_order_id="", **fields)
        return gate.deny(order, limit)

    def _tell_denial(self, event: Sequence[int]) -> OrderDenied:
        code = engine.DENIALS[event[1]]
        instrument = InstrumentId("") if event[2] < 0 else self.instrument_ids[event[2]]
        actual: float = event[3]
        limit: float = event[4]
        match code:
            case DenialCode.NO_MARK:
                unit = "bars"
            case DenialCode.MIN_NOTIONAL:
                terms = self._instruments[event[2]]
                actual = event[3] / E8
                limit = float(terms.min_notional)
                unit = terms.quote_currency
            case DenialCode.NOT_REPLACEABLE:
                unit = OrderType(event[3]).name
                actual = limit = 0
            case DenialCode.ALREADY_PENDING | DenialCode.ORDER_CLOSED | DenialCode.UNKNOWN_ORDER:
                unit = self.order_id(event[3])
                actual = limit = 0
            case _:
                unit = "lots"
        return OrderDenied(self._strategy, event[0], instrument, code, actual, limit, unit)

    def _tell_replace_rejection(self, event: Sequence[int]) -> OrderReplaceRejected:
        if event[1] == engine.REJECTED_CLOSED:
            code, reason = RejectCode.ORDER_CLOSED, _NO_ORDER
        else:
            code, reason = RejectCode.QUANTITY_BELOW_FILLED, f"{event[2]} lots are filled already"
        return OrderReplaceRejected(self.order_id(event[0]), code, reason)


_NO_ORDER = "no such order on the book"


def _words(first: int, stop: int) -> tuple[Word, ...]:
    return tuple(Word(at) for at in range(first, stop))
