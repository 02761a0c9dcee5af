"""A strategy that stays in Python, in a session that compiled code runs.

Its callbacks get the `Context` of every other session. What they read is in the engine's record;
what they ask for is put there as words, where the loop finds it as if compiled callbacks had.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import InvariantBroken
from onetape.domain.instrument import Instrument, InstrumentId
from onetape.domain.market import TimeSlice
from onetape.domain.orders import (
    CancelIntent,
    OrderIntent,
    OrderStatus,
    OrderType,
    QuantityBasis,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.domain.rule_compiler import Packed
from onetape.marketdata.timeline import Timeline
from onetape.runtime.compiled.engine import CANCEL, REPLACE, SUBMIT
from onetape.runtime.compiled.python_calls import CALLS, PythonStrategyType, register_table
from onetape.runtime.feature_rows import FeatureRows
from onetape.runtime.market_state import MarketState
from onetape.runtime.session_view import view_order
from onetape.runtime.set_outcome import GivenUp
from onetape.strategy.context import Context, OpenOrder, OptionExercise
from onetape.strategy.sdk import Strategy

_BLOCK_ROWS = 8_192
_LABELS_MAX = 4_096
_LOTS, _MARKET, _GTC = QuantityBasis.LOTS, OrderType.MARKET, TimeInForce.GTC
_STOP_LIMIT, _FOK = OrderType.STOP_LIMIT, TimeInForce.FOK

NOT_CARRIED = ("on_market_event", "on_order_update", "generate_orders")
"""Callbacks that compiled code does not make, of strategies in Python."""


class EngineView:
    """Implements the `Surroundings` of a `Context` over the record of a compiled session."""

    def __init__(
        self, engine: Packed, timeline: Timeline, features: FeatureRows, order_prefix: str
    ) -> None:
        self.market = MarketState(timeline)
        self.words = memoryview(engine.words).cast("B").cast("q")
        self._engine = engine
        self._features = features
        self._order_prefix = order_prefix
        self._instruments = timeline.instruments
        self._index = {each.id: at for at, each in enumerate(timeline.instruments)}
        self._ts_known = timeline.columns["ts_known"]
        self._factor = timeline.instruments[0].minor_per_tick_lot
        self._cash, self._net, self._now = map(self.place, ("cash", "net", "now"))
        self._lots = self.first("position_lots")

    def place(self, field: str) -> int:
        """The word of a number."""
        return self._engine.record.find(field)[1]

    def first(self, field: str) -> int:
        """The first word of an array."""
        return self.words[self.place(field)]

    def now(self) -> int:
        """Engine time, ns UTC."""
        row = self.market.row
        now = self.words[self._now]
        return now if row < 0 else max(now, self._ts_known.item(row))

    def mark(self, instrument: InstrumentId) -> float:
        """Newest close; NaN before the first bar."""
        return self.market.close(self._index[instrument])

    def cash(self, _strategy: str) -> int:
        """Cash in minor units."""
        return self.words[self._cash]

    def cash_in(self, _strategy: str, currency: str) -> int:
        """Cash of the one currency there is."""
        is_own = currency == self._instruments[0].settlement_currency
        return self.words[self._cash] if is_own else 0

    def settled_cash(self, _strategy: str) -> int:
        """Cash: everything settles at once."""
        return self.words[self._cash]

    def equity(self, _strategy: str) -> int:
        """Equity at the marks, in minor units."""
        words = self.words
        if len(self._instruments) > 1:
            return words[self._cash] + words[self._net]
        lots = words[self._lots]
        held = lots * self._factor * self.market.mark_ticks(0) if lots else 0
        return words[self._cash] + held

    def contract(self, _option: InstrumentId) -> OptionExercise | None:
        """None: no instrument is an option."""
        return None

    def is_halted(self, _instrument: InstrumentId) -> bool:
        """Never."""
        return False

    def features_of(self, _strategy: str, instrument: InstrumentId) -> Any:
        """Features of the instrument's newest bar; None before its first."""
        row = self.market.last_row(self._index[instrument])
        return self._features.at(row) if row >= 0 else None

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a bar column, oldest first."""
        return self.market.history(instrument, column, count)

    def members(self) -> Container[InstrumentId] | None:
        """None: there is no universe."""
        return None

    def open_orders(self, _strategy: str) -> list[OpenOrder]:
        """Open orders, oldest first."""
        read = self._engine.read
        slots = read("open_slots")[: read("open_count")]
        names = ("number", "instrument", "side", "type", "status", "lots", "estimated", "filled",
                 "limit", "stop")  # fmt: skip
        columns = [read(f"order_{name}")[slots].tolist() for name in names]
        return [
            view_order(
                self._instruments[instrument], f"{self._order_prefix}{number}", Side(side),
                OrderType(kind), OrderStatus(status), lots or estimated, filled, limit, stop,
            )
            for number, instrument, side, kind, status, lots, estimated, filled, limit, stop
            in zip(*columns, strict=True)
        ]  # fmt: skip


class PythonStrategy:
    """One strategy's callables, as the loop of a compiled session calls them.

    Whatever a callable raises but `MemoryError` (there are too few slots) is a `GivenUp`: what
    becomes of a strategy that raises is for the Python host to say.

    Args:
        name: Of the strategy in the session.
        strategy: A fresh object; it is the one that changes.
        timeline: The market data.
        columns: Its features by name, float64 of shape (rows,).
        engine: The session.
        order_prefix: What client order ids begin with.
        labels: What its orders are called, by number; grows.

    Attributes:
        kind: Its Numba type.
        address: Of the table of its callables.
    """

    def __init__(
        self,
        name: str,
        strategy: Strategy,
        timeline: Timeline,
        columns: Mapping[str, npt.NDArray[np.float64]],
        engine: Packed,
        order_prefix: str,
        labels: list[str],
    ) -> None:
        self.strategy = strategy
        self.kind = find_type(type(strategy), timeline)
        features = FeatureRows(columns)
        self._view = view = EngineView(engine, timeline, features, order_prefix)
        self._context = Context(name, timeline.instruments, view, order_prefix)
        self._writer = IntentWriter(engine, view, timeline.instruments, order_prefix, labels)
        self._on_row = getattr(strategy, _ROW_CALLBACKS[timeline.kind])
        self._hears_rows = _ROW_CALLBACKS[timeline.kind] in self.kind.heard
        self._hears_slices = "on_slice" in self.kind.heard
        self._slice_end = timeline.row_ends
        self._slice: list[Any] = []
        self._taken = 0
        self._events = _list_events(timeline)
        self._features = _list_features(timeline, features)
        self._place_row = view.place("row")
        self._place_stop = view.place("quiet_stop")
        self._place_fills = view.place("fills")
        self._fills = 0
        self._units = engine.read("position_units")
        calls: dict[str, Callable[[], None]] = {
            "on_start": self._start,
            "on_bar": self._hear_row,
            "on_trade": self._hear_row,
            "on_slice": self._hear_slice,
            "on_stop": self._stop,
            "quiet_rows": self._hear_quiet_rows,
        }
        self._calls = [_giving_up(calls[each]) for each in CALLS]
        self._table = np.array([id(each) for each in self._calls], dtype=np.int64)
        self.address: int = self._table.ctypes.data

    def _start(self) -> None:
        self.strategy.on_start(self._context)
        self._hand_over()

    def _stop(self) -> None:
        self._look()
        self.strategy.on_stop(self._context)
        self._context.queue.clear()  # nothing is sent any more

    def _look(self) -> None:
        """See what has happened since the last call."""
        words, view = self._view.words, self._view
        view.market.row = words[self._place_row]
        fills = words[self._place_fills]
        if fills != self._fills:
            self._fills = fills
            self._context.units.update(
                zip(self._context.instruments, self._units.tolist(), strict=True)
            )

    def _hear_row(self) -> None:
        self._look()
        event = self._take()
        if self._hears_slices:
            self._slice.append(event)
        self._on_row(event, self._context)
        if self._context.queue:
            self._hand_over()

    def _take(self) -> Any:
        """The next row."""
        self._taken += 1
        self._context.features = next(self._features)
        return next(self._events)

    def _hear_slice(self) -> None:
        """The slice that ends at this row."""
        self._look()
        self._tell_slice(self._view.market.row)
        if self._context.queue:
            self._hand_over()

    def _tell_slice(self, row: int) -> None:
        bars = self._slice
        while self._taken <= row:
            bars.append(self._take())
        self._slice = []
        self.strategy.on_slice(TimeSlice(bars[-1].ts_known, tuple(bars)), self._context)

    def _hear_quiet_rows(self) -> None:
        """Rows at which nothing else happens, until the strategy asks for something."""
        self._look()
        words = self._view.words
        market, context = self._view.market, self._context
        queue, on_row = context.queue, self._on_row
        rows = range(market.row, words[self._place_stop])
        if self._hears_rows and not self._hears_slices:
            for row, event, features in zip(rows, self._events, self._features):  # noqa: B905
                market.row = row
                context.features = features
                on_row(event, context)
                if queue:
                    break
        else:
            for row in rows:
                market.row = row
                if self._hears_rows:
                    self._slice.append(self._take())
                    on_row(self._slice[-1], context)
                if self._slice_end[row]:
                    self._tell_slice(row)
                if queue:
                    break
        words[self._place_row] = market.row
        if queue:
            self._hand_over()

    def _hand_over(self) -> None:
        """Give the engine what the strategy has asked for."""
        context = self._context
        self._writer.write(context.queue, context.intent_count)
        context.queue.clear()


register_table(PythonStrategy)

_ROW_CALLBACKS = {"bars": "on_bar", "trades": "on_trade"}


def find_type(strategy: type[Strategy], timeline: Timeline) -> PythonStrategyType:
    """What the loop calls of a class, in a session on this data.

    Raises:
        GivenUp: The class has a callback that compiled code does not make.
    """

    def has(name: str) -> bool:
        return getattr(strategy, name) is not getattr(Strategy, name)

    for each in NOT_CARRIED:
        if has(each):
            raise GivenUp(f"{each} is not carried")
    rows = _ROW_CALLBACKS[timeline.kind]
    slices = ("on_slice",) if timeline.kind == "bars" else ()
    heard = {each for each in ("on_start", rows, *slices, "on_stop") if has(each)}
    if heard & {rows, *slices}:
        heard.add("quiet_rows")
    return PythonStrategyType(frozenset(heard))


def _giving_up(call: Callable[[], None]) -> Callable[[], None]:
    def called() -> None:
        try:
            call()
        except (GivenUp, MemoryError, InvariantBroken):
            raise
        except (Exception, SystemExit) as error:  # the edge to user code
            raise GivenUp(f"{type(error).__name__}: {error}") from error

    return called


def _list_events(timeline: Timeline) -> Iterator[Any]:
    """What is heard of each row."""
    return chain.from_iterable(block.events() for block in timeline.blocks(_BLOCK_ROWS))


def _list_features(timeline: Timeline, features: FeatureRows) -> Iterator[Any]:
    """The features of each row."""
    rows = len(timeline)
    return chain.from_iterable(
        features.between(start, min(start + _BLOCK_ROWS, rows))
        for start in range(0, rows, _BLOCK_ROWS)
    )


class IntentWriter:
    """Writes intents as the words of the engine that `queue_intent` writes for compiled callbacks.

    Args:
        engine: The session.
        view: Its words.
        instruments: In the order of the timeline.
        order_prefix: What client order ids begin with.
        labels: What orders are called, by number; grows.
    """

    def __init__(
        self,
        engine: Packed,
        view: EngineView,
        instruments: Sequence[Instrument],
        order_prefix: str,
        labels: list[str],
    ) -> None:
        self._words = view.words
        self._queued, self._count = view.place("queued"), view.place("intent_count")
        self._slots = engine.read("slots")
        self._columns = [view.first(f"intent_{each}") for each in _INTENT_FIELDS]
        self._index = {each.id: at for at, each in enumerate(instruments)}
        self._prefix = order_prefix
        self._labels = labels
        self._numbers = {each: at for at, each in enumerate(labels)}

    def write(self, queue: Sequence[Any], count: int) -> None:
        """Put down what a strategy has asked for in this step, whose newest number is `count`.

        Raises:
            GivenUp: An intent is one that compiled code does not carry.
            MemoryError: There are too few slots.
        """
        if len(queue) > self._slots:
            raise MemoryError("too many intents in a step")
        words = self._words
        at = words[self._queued]
        for at, each in enumerate(queue, at):
            for column, word in zip(self._columns, self._to_words(each), strict=True):
                words[column + at] = word
        words[self._queued] = at + 1 if queue else at
        words[self._count] = count

    def _to_words(self, intent: Any) -> tuple[int, ...]:
        if type(intent) is OrderIntent:
            is_plain = intent.basis is _LOTS or (
                intent.order_type is _MARKET
                and intent.time_in_force is _GTC
                and not intent.reduce_only
            )
            if (
                is_plain
                and intent.conditions is None
                and intent.order_type <= _STOP_LIMIT
                and intent.time_in_force <= _FOK
            ):
                return (
                    SUBMIT, intent.intent, self._index[intent.instrument], intent.side,
                    intent.basis, intent.amount, intent.order_type, intent.time_in_force,
                    intent.limit_ticks, intent.stop_ticks, intent.ts_expire, intent.reduce_only, 0,
                    self._number_label(intent.label),
                )  # fmt: skip
        elif type(intent) is CancelIntent:
            target = self._number_order(intent.client_order_id)
            return CANCEL, intent.intent, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, target, 0
        elif type(intent) is ReplaceIntent:
            target = self._number_order(intent.client_order_id)
            return (REPLACE, intent.intent, 0, 0, 0, intent.lots, 0, 0, intent.limit_ticks,
                    intent.stop_ticks, 0, 0, target, 0)  # fmt: skip
        raise GivenUp(f"{intent} is not carried")

    def _number_order(self, text: str) -> int:
        if not text:
            return 0
        number = text.removeprefix(self._prefix)
        if number == text or not number.isdecimal() or str(int(number)) != number:
            raise GivenUp(f"{text!r} is no order id of this strategy")
        return int(number)

    def _number_label(self, label: str) -> int:
        number = self._numbers.get(label)
        if number is None:
            number = len(self._labels)
            if number >= _LABELS_MAX:
                raise GivenUp(f"its orders have more than {_LABELS_MAX} labels")
            self._labels.append(label)
            self._numbers[label] = number
        return number


_INTENT_FIELDS = (
    "kind", "number", "instrument", "side", "basis", "amount", "type", "time_in_force", "limit",
    "stop", "ts_expire", "reduce_only", "target", "label",
)  # fmt: skip
