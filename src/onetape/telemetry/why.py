"""Why did that happen? The chain of causes around an order or an event, folded from the tape.

A chain is found in one pass over the records and keeps nothing else. Causes lie in the record of
what they caused, because a decision is made in the step of the event that it answers; an order's
own events are found in later records by its id.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from onetape.domain import events as on_tape
from onetape.domain.errors import DataError
from onetape.domain.events import (
    Event,
    OrderAdopted,
    OrderApproved,
    OrderDenied,
    Payload,
    PositionChanged,
)
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import (
    BAR_FLOAT_COLUMNS,
    ContractExpiry,
    CorporateAction,
    CorporateActionKind,
    FundingRate,
    MarkPrice,
    SessionSettlement,
    TickKind,
    TradingStatus,
)
from onetape.domain.nearest import nearest
from onetape.domain.numbers import show_minor
from onetape.domain.orders import (
    CancelIntent,
    ConvertIntent,
    ExerciseIntent,
    OrderConditions,
    OrderIntent,
    OrderType,
    QuantityBasis,
    ReplaceIntent,
)
from onetape.domain.timestamps import to_iso
from onetape.domain.venue import VenueReport
from onetape.marketdata.timeline import Timeline
from onetape.tape.block import Record
from onetape.tape.envelope import TYPES, expand

Records = Callable[[], Iterable[Record]]
"""The engine steps of a tape from the first on, as often as it is called."""

FeatureColumns = Mapping[str, Mapping[str, npt.NDArray[np.float64]]]
"""By strategy and name: a column in the order of the timeline, NaN while not warm."""

_NAMED_MAX = 1000
"""How many orders are looked through for the one that was meant."""


class Chain(msgspec.Struct, frozen=True, kw_only=True):
    """What belongs together: events in the order of the tape, and the market rows behind them.

    `order` is the client order id, empty where there is no order. `rows` holds the row of the
    pinned timeline for each market event (by seq) that caused an event of the chain.
    """

    order: str = ""
    events: tuple[Event, ...] = ()
    rows: dict[int, int] = {}


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a chain in words. `kind` is an event type, `market` or `features`; `ts` ns UTC.

    `row` is the row of the timeline that a market step tells of, else -1.
    """

    seq: int
    ts: int
    kind: str
    text: str
    row: int = -1

    def __str__(self) -> str:
        return f"{self.seq:>9}  {to_iso(self.ts)}  {self.kind:<22} {self.text}"


def trace_order(records: Records, client_order_id: str) -> Chain:
    """Everything on a tape that belongs to one order, what made it, and what it made happen.

    Raises:
        DataError: The tape has no such order (the nearest is named), or can't be read.
    """
    found: list[Event] = []
    rows: dict[int, int] = {}
    known: dict[str, None] = {}
    for record in records():
        own: set[int] = set()
        for seq, (payload, _, _) in enumerate(record.events, record.first_seq):
            identity = getattr(payload, "client_order_id", "")
            if identity == client_order_id:
                own.add(seq)
            elif isinstance(payload, OrderApproved | OrderAdopted) and len(known) < _NAMED_MAX:
                known[identity] = None
        if own:
            found += _around(record, own, rows)
    if not found:
        raise DataError(
            f"no order {client_order_id!r} is on the tape",
            remedy=nearest(client_order_id, list(known)) if known else "it has no orders",
        )
    return Chain(order=client_order_id, events=tuple(found), rows=rows)


def trace_event(records: Records, seq: int) -> Chain:
    """The chain of the event `seq`: that of its order if it belongs to one, else its own step.

    `seq` may be that of a pinned bar; then the chain is all of its step.

    Raises:
        DataError: The tape ends before it, or can't be read.
    """
    before = last = 0
    for record in records():
        last = record.last_seq
        if last < seq:
            before += len(record.events)
            continue
        if record.first_seq > seq:
            rows = {seq: seq - before}
            if record.first_seq > seq + 1 or record.market_index < 0:
                return Chain(rows=rows)
            step = set(range(record.first_seq, record.last_seq + 1))
            return Chain(events=tuple(_around(record, step, rows)), rows=rows)
        order = _order_of(record, seq)
        if order:
            return trace_order(records, order)
        rows = {}
        return Chain(events=tuple(_around(record, {seq}, rows)), rows=rows)
    raise DataError(f"there is no event {seq}: the tape ends with event {last}")


def explain(chain: Chain, timeline: Timeline, features: FeatureColumns) -> list[Link]:
    """The chain in words, in the order in which it happened.

    Args:
        chain: What `trace_order` or `trace_event` found.
        timeline: The market data of the session.
        features: What its strategies computed from it.
    """
    words = _Words(timeline)
    told: set[tuple[int, int]] = set()
    links: list[Link] = []

    def tell_market(seq: int, row: int) -> None:
        if (seq, row) not in told:
            told.add((seq, row))
            links.append(words.market(seq, row))

    for event in chain.events:
        row = chain.rows.get(event.causation_id, -1)
        payload = event.payload
        if row >= 0:
            decides = isinstance(payload, OrderIntent | CancelIntent | ReplaceIntent)
            if isinstance(payload, OrderIntent):
                row = words.newest_row(payload.instrument, row)
            tell_market(event.causation_id, row)
            columns = features.get(payload.strategy, {}) if decides else {}
            if columns:
                values = ", ".join(f"{name} {column[row]!s}" for name, column in columns.items())
                links.append(
                    Link(seq=event.causation_id, ts=event.ts_event, kind="features",
                         text=f"{getattr(payload, 'strategy', '')} knows {values}")
                )  # fmt: skip
        links.append(
            Link(seq=event.seq, ts=event.ts_event, kind=event.type, text=words.event(payload))
        )
    if not chain.events:
        for seq, row in chain.rows.items():
            tell_market(seq, row)
            links.append(
                Link(seq=seq, ts=links[-1].ts, kind="", text="nothing on the tape follows")
            )
    return links


def _numbered(record: Record) -> Iterator[tuple[int, tuple[Payload, int, int]]]:
    return enumerate(record.events, record.first_seq)


def _around(record: Record, own: set[int], rows: dict[int, int]) -> Iterator[Event]:
    """`own` events of a record, their causes in it up to the market, and their direct effects.

    The row of a market event that is among the causes goes into `rows`.
    """
    chosen = set(own)
    for seq in own:
        cause = record.events[seq - record.first_seq][2]
        while cause and cause >= record.first_seq:  # 0: no cause
            chosen.add(cause)
            cause = record.events[cause - record.first_seq][2]
    chosen |= {seq for seq, (_, _, cause) in _numbered(record) if cause in own}
    for event in expand(record):
        if event.seq in chosen:
            if record.market_index >= 0 and event.causation_id == record.first_seq - 1:
                rows[event.causation_id] = record.market_index
            yield event


def _order_of(record: Record, seq: int) -> str:
    """Id of the order that the event `seq` of `record` belongs to; empty when there is none."""
    payload, _, cause = record.events[seq - record.first_seq]
    identity = getattr(payload, "client_order_id", "")
    if identity:
        return identity
    if isinstance(payload, PositionChanged | OrderDenied) and cause >= record.first_seq:
        identity = getattr(record.events[cause - record.first_seq][0], "client_order_id", "")
    if isinstance(payload, OrderIntent):
        for answer, _, its_cause in record.events:
            if its_cause == seq and isinstance(answer, OrderApproved):
                return answer.client_order_id
    return identity


class _Words:
    """What events and market rows say, in the units of their instruments."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._instruments = {each.id: each for each in timeline.tradable}
        self._of_order: dict[str, Instrument] = {}

    def newest_row(self, instrument: InstrumentId, row: int) -> int:
        """The newest row of `instrument` at `row`; `row` itself before its first."""
        rows = self._timeline.rows_of(instrument)
        at = int(np.searchsorted(rows, row, side="right"))
        return int(rows[at - 1]) if at else row

    def market(self, seq: int, row: int) -> Link:
        """One row of the timeline."""
        columns = self._timeline.columns
        name = self._timeline.instruments[int(self._timeline.instrument_index[row])].id
        if self._timeline.kind == "bars":
            values = ", ".join(f"{each} {columns[each][row]!s}" for each in BAR_FLOAT_COLUMNS)
            text = f"bar {name} closed {to_iso(int(columns['ts_close'][row]))}: {values}"
        else:
            text = _tell_tick(columns, name, row)
        ts = int(columns["ts_known"][row])
        return Link(seq=seq, ts=ts, kind="market", text=text, row=row)

    def event(self, payload: Payload) -> str:
        """What an event says."""
        match payload:
            case OrderIntent():
                return self._intent(payload)
            case OrderApproved():
                return f"risk says yes to {payload.side.name} {payload.lots:,} lots"
            case OrderDenied():
                return (
                    f"risk refuses: {payload.code.value}, {payload.actual:,.10g} against a limit "
                    f"of {payload.limit:,.10g} {payload.unit}"
                )
            case OrderAdopted():
                return self._adopted(payload)
            case on_tape.OrderShrunk():
                return (
                    f"risk leaves {payload.lots:,} of {payload.asked_lots:,} lots: "
                    f"{payload.code.value}, {payload.actual:,.10g} against a limit of "
                    f"{payload.limit:,.10g} {payload.unit}"
                )
            case on_tape.BreakerTripped():
                whose = payload.strategy or "the account"
                what = f" of {payload.instrument}" if payload.instrument else ""
                return (
                    f"breaker {payload.kind.value}{what} trips for {whose}: {payload.actual:,.10g} "
                    f"against a limit of {payload.limit:,.10g} {payload.unit}; "
                    f"it does {payload.action.value}"
                )
            case on_tape.OrderSubmitted():
                instrument = self._instruments[payload.instrument]
                self._of_order[payload.client_order_id] = instrument
                size = _quantity(instrument, payload.lots) if payload.lots else "sized at the fill"
                terms = self._terms(
                    instrument, payload.order_type, payload.limit_ticks, payload.stop_ticks
                )
                return (
                    f"{payload.side.name} {size} {payload.instrument} {terms} leaves for the venue"
                )
            case on_tape.OrderFilled():
                instrument = self._instruments[payload.instrument]
                return (
                    f"{payload.side.name} {_quantity(instrument, payload.lots)} "
                    f"{payload.instrument} at {instrument.ticks_to_price(payload.ticks):,f} as "
                    f"{payload.liquidity.name.lower()}, notional {show_minor(payload.notional)}, "
                    f"fee {show_minor(payload.fee)}, {_quantity(instrument, payload.leaves)} left"
                )
            case PositionChanged():
                instrument = self._instruments[payload.instrument]
                return (
                    f"{payload.strategy} holds {_quantity(instrument, payload.lots)} "
                    f"{payload.instrument}, cost {show_minor(payload.cost)}, realized "
                    f"{show_minor(payload.realized)}, cash {show_minor(payload.cash)}"
                )
            case on_tape.PositionAdjusted():
                instrument = self._instruments[payload.instrument]
                verb = "pays" if payload.amount < 0 else "receives"
                moved = f" {verb} {show_minor(abs(payload.amount))} and" if payload.amount else ""
                return (
                    f"{payload.strategy}{moved} holds {_quantity(instrument, payload.lots)} "
                    f"{payload.instrument}, cost {show_minor(payload.cost)}, cash "
                    f"{show_minor(payload.cash)}{self._other_side(payload)}"
                )
            case on_tape.CashPosted():
                verb = "pays" if payload.amount < 0 else "receives"
                of = f" for {payload.instrument}" if payload.instrument else ""
                reason = f" ({payload.reason})" if payload.reason else ""
                return (
                    f"{payload.strategy} {verb} {show_minor(abs(payload.amount))} "
                    f"{payload.currency} as {payload.kind.value}{of}{reason}, cash "
                    f"{show_minor(payload.cash)}"
                )
            case on_tape.PositionSettled():
                return self._settled(payload)
            case on_tape.ContractAdjusted():
                return (
                    f"{payload.contracts} contracts of {payload.instrument} for one after a "
                    f"{payload.kind.value} of {payload.underlying}: strike "
                    f"{show_minor(payload.strike)}, {payload.top / payload.bottom:,.10g} units and "
                    f"{show_minor(payload.cash)} in cash each"
                )
            case on_tape.MarginStatusChanged():
                whose = f" in {payload.instrument}" if payload.instrument else ""
                return (
                    f"margin of {payload.strategy}{whose}: {payload.status.value}, equity "
                    f"{show_minor(payload.equity)} against a maintenance margin of "
                    f"{show_minor(payload.maintenance)}"
                )
            case ConvertIntent():
                return (
                    f"{payload.strategy} converts {show_minor(payload.amount)} {payload.source} "
                    f"into {payload.target}"
                )
            case ExerciseIntent():
                instrument = self._instruments[payload.instrument]
                quantity = _quantity(instrument, payload.lots)
                return f"{payload.strategy} exercises {quantity} {payload.instrument}"
            case FundingRate():
                return f"funding of {payload.instrument}: longs pay shorts {payload.rate!r}"
            case MarkPrice():
                return f"the venue marks {payload.instrument} at {payload.price!r}"
            case SessionSettlement():
                return f"a session of {payload.instrument} ends"
            case ContractExpiry():
                return f"{payload.instrument} expires"
            case TradingStatus():
                what = "is halted" if payload.is_halted else "trades again"
                reason = f" ({payload.reason})" if payload.reason else ""
                return f"{payload.instrument} {what}{reason}"
            case CorporateAction():
                return _tell_action(payload)
            case VenueReport():
                lots = f" {payload.lots:,} lots" if payload.lots else ""
                price = f" at {payload.price}" if payload.price else ""
                reason = f": {payload.reason}" if payload.reason else ""
                return f"the venue says {payload.kind.value}{lots}{price}{reason}"
            case on_tape.OrderAccepted():
                return f"the venue has it as {payload.venue_order_id}"
            case on_tape.OrderRejected() | on_tape.OrderCancelRejected():
                return f"the venue refuses: {payload.code.value}, {payload.reason}"
            case on_tape.OrderReplaceRejected():
                return f"the venue refuses the change: {payload.code.value}, {payload.reason}"
            case on_tape.OrderCanceled() if payload.wanted:
                found, wanted = f"{payload.found:,}", f"{payload.wanted:,}"
                return f"off the book: {payload.reason}, {found} of {wanted} lots were there"
            case on_tape.OrderCanceled() | on_tape.OrderExpired():
                return f"off the book: {payload.reason}"
            case on_tape.OrderReduced():
                instrument = self._of_order.get(payload.client_order_id)
                if instrument is None:
                    return _fields(payload)
                return f"down to {_quantity(instrument, payload.lots)}: {payload.reason}"
            case on_tape.OrderEmulated():
                return f"held here, because the venue lacks {payload.lacking}"
            case on_tape.OrderReleased():
                return f"leaves for the venue as {payload.order_type.name.lower()}"
            case on_tape.StrategyQuarantined():
                return f"{payload.strategy} raised in {payload.callback}: {payload.error}"
            case CancelIntent():
                return f"{payload.strategy} asks to cancel {payload.client_order_id}"
            case ReplaceIntent() | on_tape.OrderReplacePending() | on_tape.OrderReplaced():
                return self._change(payload)
            case _:
                return _fields(payload)

    def _adopted(self, order: OrderAdopted) -> str:
        instrument = self._of_order[order.client_order_id] = self._instruments[order.instrument]
        terms = self._terms(instrument, order.order_type, order.limit_ticks, order.stop_ticks)
        before = ""
        if order.filled_lots:
            before = f", {_quantity(instrument, order.filled_lots)} of it filled before"
        broken = ""
        if order.breaks is not None:
            broken = (
                f"; it breaks {order.breaks.value}: {order.actual:,.10g} against a limit of "
                f"{order.limit:,.10g} {order.unit}"
            )
        return (
            f"given by hand, {order.strategy} has it from now on: {order.side.name} "
            f"{_quantity(instrument, order.lots)} {order.instrument} {terms} "
            f"{order.time_in_force.name}{self._conditions(instrument, order.conditions)}"
            f"{before}{broken}"
        )

    def _other_side(self, change: on_tape.PositionAdjusted) -> str:
        """What is to be paid, and what came of another instrument."""
        text = ""
        if change.income and change.receivable:
            verb = "owes" if change.receivable < 0 else "is owed"
            due = show_minor(abs(change.receivable))
            text += f"; {verb} {due} until {to_iso(change.ts_pay)}"
        if change.other:
            instrument = self._instruments[change.other]
            text += (
                f"; receives {_quantity(instrument, change.received)} {change.other} that carry "
                f"{show_minor(change.carried)} of the cost"
            )
        return text

    def _settled(self, settled: on_tape.PositionSettled) -> str:
        instrument = self._instruments[settled.instrument]
        verb = "pays" if settled.amount < 0 else "receives"
        traded = ""
        if settled.traded:
            side = "buys" if settled.traded > 0 else "sells"
            traded = f"{side} {_quantity(instrument, abs(settled.traded))} "
        fee = f" less a fee of {show_minor(settled.fee)}" if settled.fee else ""
        return (
            f"{settled.kind.value}: {settled.strategy} {traded}{settled.instrument} at "
            f"{instrument.ticks_to_price(settled.ticks):,f}, {verb} "
            f"{show_minor(abs(settled.amount))}{fee}, holds "
            f"{_quantity(instrument, settled.lots)}, cash {show_minor(settled.cash)}"
        )

    def _intent(self, intent: OrderIntent) -> str:
        instrument = self._instruments[intent.instrument]
        terms = self._terms(instrument, intent.order_type, intent.limit_ticks, intent.stop_ticks)
        match intent.basis:
            case QuantityBasis.LOTS:
                what = f"{intent.side.name} {_quantity(instrument, intent.amount)}"
            case QuantityBasis.TARGET_LOTS:
                what = f"hold {_quantity(instrument, intent.amount)}"
            case QuantityBasis.TARGET_WEIGHT:
                what = f"hold {show_minor(intent.amount)} of equity in"
            case QuantityBasis.NOTIONAL_AT_FILL:
                what = f"{intent.side.name} for {show_minor(intent.amount)}"
            case QuantityBasis.EQUITY_AT_FILL:
                what = f"{intent.side.name} for {show_minor(intent.amount)} of equity"
        label = f", label {intent.label!r}" if intent.label else ""
        reduce = ", reduce-only" if intent.reduce_only else ""
        special = self._conditions(instrument, intent.conditions)
        return (
            f"{intent.strategy} asks: {what} {intent.instrument} {terms} "
            f"{intent.time_in_force.name}{reduce}{special}{label}"
        )

    def _conditions(self, instrument: Instrument, terms: OrderConditions | None) -> str:
        if terms is None:
            return ""
        parts: list[str] = []
        if terms.trail_ticks:
            parts.append(f"trails by {instrument.ticks_to_price(terms.trail_ticks):,f}")
        if terms.trail_ratio_e8:
            parts.append(f"trails by {show_minor(terms.trail_ratio_e8)} of the price")
        if terms.offset_ticks:
            parts.append(f"limit {instrument.ticks_to_price(terms.offset_ticks):,f} beyond")
        if terms.post_only:
            parts.append("post-only")
        if terms.display_lots:
            parts.append(f"shows {_quantity(instrument, terms.display_lots)}")
        if terms.parent:
            parts.append(f"once {terms.parent} fills")
        if terms.group:
            parts.append(f"{terms.contingency.name} in {terms.group!r}")
        return "".join(f", {each}" for each in parts)

    def _change(
        self, change: ReplaceIntent | on_tape.OrderReplacePending | on_tape.OrderReplaced
    ) -> str:
        instrument = self._of_order.get(change.client_order_id)
        if instrument is None:
            return _fields(change)
        parts = [f"quantity {_quantity(instrument, change.lots)}"] if change.lots else []
        for name, ticks in (("limit", change.limit_ticks), ("stop", change.stop_ticks)):
            if ticks:
                parts.append(f"{name} {instrument.ticks_to_price(ticks):,f}")
        asks = "asked for" if not isinstance(change, on_tape.OrderReplaced) else "now"
        return f"{asks}: {', '.join(parts)}"

    def _terms(
        self, instrument: Instrument, order_type: OrderType, limit_ticks: int, stop_ticks: int
    ) -> str:
        text = order_type.name.lower().replace("_", "-")
        if stop_ticks:
            text += f" stop {instrument.ticks_to_price(stop_ticks):,f}"
        if limit_ticks:
            text += f" limit {instrument.ticks_to_price(limit_ticks):,f}"
        return text


def _tell_action(action: CorporateAction) -> str:
    match action.kind:
        case CorporateActionKind.SPLIT:
            what = f"splits, {action.value!r} new for {action.divisor!r} old"
        case CorporateActionKind.CASH_DIVIDEND:
            what = f"goes ex dividend, {action.value!r} a share"
        case CorporateActionKind.DELISTING:
            what = f"is delisted at {action.value!r} a share"
        case CorporateActionKind.SYMBOL_CHANGE:
            what = f"is {action.new_instrument} from now on"
        case CorporateActionKind.STOCK_DIVIDEND:
            what = f"pays {action.value!r} new for {action.divisor!r} old as a dividend"
        case CorporateActionKind.SPIN_OFF:
            what = f"spins off {action.value!r} {action.new_instrument} for {action.divisor!r}"
        case CorporateActionKind.MERGER:
            parts = [f"{action.cash!r} in cash"] if action.cash else []
            if action.new_instrument:
                parts.append(f"{action.value!r} {action.new_instrument} for {action.divisor!r}")
            what = f"is merged: {' and '.join(parts)}"
        case CorporateActionKind.DIVIDEND_PAYMENT:
            what = f"pays its dividend of {action.value!r} a share"
    return f"{action.instrument} {what}"


def _quantity(instrument: Instrument, lots: int) -> str:
    return f"{instrument.lots_to_quantity(lots):,f}"


def _fields(payload: Payload) -> str:
    values = msgspec.to_builtins(payload)
    names: Sequence[str] = payload.__struct_fields__
    parts = zip(names, values[1:], strict=True)
    return ", ".join(f"{name} {value}" for name, value in parts) or TYPES[type(payload)]


_NOUNS = {TickKind.PRINT: "print", TickKind.DELTA: "depth"}


def _tell_tick(columns: Mapping[str, npt.NDArray[Any]], name: str, row: int) -> str:
    """A row of a timeline that is no bar."""
    kind = TickKind(int(columns["what"][row])) if "what" in columns else TickKind.PRINT
    if kind is TickKind.QUOTE:
        sides = (
            f"{side} {columns[side][row]!s}, size {columns[f'{side}_size'][row]!s}"
            for side in ("bid", "ask")
        )
        return f"quote {name}: {', '.join(sides)}"
    side = ""
    if kind is TickKind.DELTA:
        side = " bid" if columns["side"][row] > 0 else " ask"
    price, size = columns["price"][row], columns["size"][row]
    return f"{_NOUNS[kind]} {name}:{side} price {price!s}, size {size!s}"
