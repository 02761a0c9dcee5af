"""A strategy that stays in Python, in a session that compiled code runs.

Its callbacks get the `Context` of every other session. What they read is in the engine's record;
what they ask for is put there as words, where the loop finds it as if compiled callbacks had.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable, Container, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from operator import length_hint
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import ConfigError, InvariantBroken
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import TimeSlice
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import (
    CancelIntent,
    Intent,
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
from onetape.runtime.compiled.state import ASKED_WIDTH
from onetape.runtime.feature_rows import FeatureRows
from onetape.runtime.market_state import MarketState
from onetape.runtime.session_view import view_order
from onetape.runtime.set_outcome import GivenUp
from onetape.strategy.context import Context, OpenOrder, OptionExercise
from onetape.strategy.sdk import Strategy

_BLOCK_ROWS = 4_096
"""Few enough that what is made of them stays in the processor's cache."""
_LABELS_MAX = 4_096
_WORD_BYTES = 8
_ASKED_BYTES = _WORD_BYTES * ASKED_WIDTH
_LOTS, _MARKET, _GTC = QuantityBasis.LOTS, OrderType.MARKET, TimeInForce.GTC
_STOP_LIMIT, _FOK = OrderType.STOP_LIMIT, TimeInForce.FOK

_OTHER_CALLBACKS = ("on_market_event", "on_order_update", "generate_orders")
"""Callbacks of a carried session that compiled code does not make."""

_OTHER_REQUESTS = frozenset(("signal", "set_timer", "bracket", "exercise", "convert"))
"""Methods of `ctx` that ask for what compiled code does not do."""


class EngineView:
    """Implements the `Surroundings` of a `Context` over the record of a compiled session.

    Attributes:
        market: The market; where it stands is right after `follow`.
        words: The engine's record.
        quiet_left: Counts the rows before `quiet_stop` that the strategy has still to hear, of a
            stretch in which nothing else happens; None: there is no such stretch.
    """

    def __init__(
        self,
        engine: Packed,
        timeline: Timeline,
        close_ticks: Sequence[int],
        features: FeatureRows,
        order_prefix: str,
    ) -> None:
        self.market = MarketState(timeline, close_ticks=close_ticks)
        self.quiet_stop = 0
        self.quiet_left: Iterator[None] | None = None
        self.words = memoryview(engine.words.data).cast("B").cast("q")
        self._engine = engine
        self._features = features
        self._order_prefix = order_prefix
        self.slots: int = engine.read("slots")
        self._instruments = timeline.instruments
        self._index = {each.id: at for at, each in enumerate(timeline.instruments)}
        self._ts_known = timeline.columns["ts_known"]
        self._factor = timeline.instruments[0].minor_per_tick_lot
        self._cash, self._net, self._now = map(self.place, ("cash", "net", "now"))
        self._lots = self.first("position_lots")

    def follow(self) -> MarketState:
        """The market at the row that the strategy hears."""
        market = self.market
        if self.quiet_left is not None:
            market.row = self.quiet_stop - 1 - length_hint(self.quiet_left)
        return market

    def place(self, field: str) -> int:
        """The word of a number."""
        return self._engine.record.find(field)[1]

    def first(self, field: str) -> int:
        """The first word of an array."""
        return self.words[self.place(field)]

    def now(self) -> int:
        """Engine time, ns UTC."""
        row = self.follow().row
        now = self.words[self._now]
        return now if row < 0 else max(now, self._ts_known.item(row))

    def mark(self, instrument: InstrumentId) -> float:
        """Newest close; NaN before the first bar."""
        return self.follow().close(self._index[instrument])

    def cash(self, strategy: str) -> int:
        """Cash in minor units."""
        return self.words[self._cash]

    def cash_in(self, strategy: str, currency: str) -> int:
        """Cash of the one currency there is."""
        is_own = currency == self._instruments[0].settlement_currency
        return self.words[self._cash] if is_own else 0

    def settled_cash(self, strategy: str) -> int:
        """Cash: everything settles at once."""
        return self.words[self._cash]

    def equity(self, strategy: str) -> int:
        """Equity at the marks, in minor units."""
        words = self.words
        if len(self._instruments) > 1:
            return words[self._cash] + words[self._net]
        lots = words[self._lots]
        held = lots * self._factor * self.follow().mark_ticks(0) if lots else 0
        return words[self._cash] + held

    def contract(self, option: InstrumentId) -> OptionExercise | None:
        """None: no instrument is an option."""
        return None

    def is_halted(self, instrument: InstrumentId) -> bool:
        """Never."""
        return False

    def features_of(self, strategy: str, instrument: InstrumentId) -> Any:
        """Features of the instrument's newest bar; None before its first."""
        row = self.follow().last_row(self._index[instrument])
        return self._features.at(row) if row >= 0 else None

    def history(self, instrument: InstrumentId, column: str, count: int) -> npt.NDArray[np.float64]:
        """The newest `count` values of a bar column, oldest first."""
        return self.follow().history(instrument, column, count)

    def members(self) -> Container[InstrumentId] | None:
        """None: there is no universe."""
        return None

    def open_orders(self, strategy: str) -> list[OpenOrder]:
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


class _Unusual(Exception):
    """An order that waits in the queue as an intent."""


class EngineContext(Context):
    """A `Context` whose intents go where compiled code takes them from.

    An order or a cancel of the usual kind becomes the arguments of `queue_intent` at once, and its
    number stands for it in the queue. Whatever else is asked for waits there until `hand_over`,
    which is outside of the strategy's own code and so can raise.

    Args:
        name: Of the strategy.
        timeline: The market data.
        view: The session.
        order_prefix: What client order ids begin with.
        labels: What orders are called, by number; grows.
    """

    __slots__ = (
        "_asked", "_first", "_handed_over", "_index", "_label_numbers", "_labels", "_newest",
        "_newest_id", "_pack", "_packed", "_prefix_size", "_room", "_words",
    )  # fmt: skip

    def __init__(
        self, name: str, timeline: Timeline, view: EngineView, order_prefix: str, labels: list[str]
    ) -> None:
        super().__init__(name, timeline.instruments, view, order_prefix)
        self._words = view.words
        self._asked = view.place("asked_count")
        self._first = _WORD_BYTES * view.first("asked")
        self._room = view.slots
        self._pack = struct.Struct(f"={ASKED_WIDTH}q").pack_into
        self._index = {each.id: at for at, each in enumerate(timeline.instruments)}
        self._prefix_size = len(order_prefix)
        self._labels = labels
        self._label_numbers = {each: at for at, each in enumerate(labels)}
        self._handed_over = self._packed = 0
        self._newest, self._newest_id = 0, ""

    def hand_over(self) -> None:
        """Give the engine what the strategy has asked for since the last time.

        Raises:
            GivenUp: Something is not what compiled code carries.
            MemoryError: There are too few slots.
        """
        queue: list[Any] = self.queue
        count = len(queue)
        if self._packed != count:
            self._pack_others(queue)
        self._packed = 0
        self._handed_over = self.intent_count
        self._words[self._asked] = count
        queue.clear()

    def _pack_others(self, queue: list[Any]) -> None:
        if len(queue) > self._room:
            raise MemoryError("too many intents in a step")
        if len(queue) != self.intent_count - self._handed_over:
            raise GivenUp("a timer or a signal is not carried")
        for at, intent in enumerate(queue):
            if type(intent) is not int:
                self._write(at, intent)

    def _write(self, at: int, intent: Intent) -> None:
        place = self._first + at * _ASKED_BYTES
        try:
            self._pack(self._words, place, *self._to_words(intent))
        except struct.error as too_large:
            raise GivenUp(f"{intent} has a number beyond int64") from too_large

    def _to_words(self, intent: Intent) -> tuple[int, ...]:
        """The arguments of `queue_intent`.

        Raises:
            GivenUp: Compiled code does not carry it.
        """
        match intent:
            case OrderIntent(conditions=None) if self._is_carried(intent):
                return (
                    SUBMIT, self._index[intent.instrument], intent.side, intent.basis,
                    intent.amount, intent.order_type, intent.time_in_force, intent.limit_ticks,
                    intent.stop_ticks, intent.ts_expire, intent.reduce_only, 0,
                    self._number_label(intent.label),
                )  # fmt: skip
            case CancelIntent():
                target = self._number_order(intent.client_order_id)
                if target >= 0:
                    return CANCEL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, target, 0
            case ReplaceIntent():
                target = self._number_order(intent.client_order_id)
                if target >= 0:
                    return (REPLACE, 0, 0, 0, intent.lots, 0, 0, intent.limit_ticks,
                            intent.stop_ticks, 0, 0, target, 0)  # fmt: skip
            case _:
                pass
        raise GivenUp(f"{intent} is not carried")

    @staticmethod
    def _is_carried(order: OrderIntent) -> bool:
        if order.basis is _LOTS:
            return order.order_type <= _STOP_LIMIT and order.time_in_force <= _FOK
        return order.order_type is _MARKET and order.time_in_force is _GTC and not order.reduce_only

    def _put_order(
        self,
        instrument: InstrumentId,
        side: Side,
        lots: int,
        kind: OrderType,
        time_in_force: TimeInForce,
        limit_ticks: int,
        stop_ticks: int,
        ts_expire: int,
        reduce_only: bool,
        label: str,
    ) -> str:
        queue: list[Any] = self.queue
        at = len(queue)
        called = self._label_numbers.get(label, -1) if label else 0
        try:
            if at >= self._room or called < 0 or time_in_force > _FOK:
                raise _Unusual
            self._pack(
                self._words, self._first + at * _ASKED_BYTES, SUBMIT, self._index[instrument], side,
                0, lots, kind, time_in_force, limit_ticks, stop_ticks, ts_expire, reduce_only, 0,
                called,
            )  # fmt: skip
        except (_Unusual, struct.error):  # or a number beyond int64
            return super()._put_order(
                instrument, side, lots, kind, time_in_force, limit_ticks, stop_ticks, ts_expire,
                reduce_only, label,
            )  # fmt: skip
        self._packed += 1
        self.intent_count = self._newest = number = self.intent_count + 1
        queue.append(number)
        self._newest_id = text = f"{self._order_prefix}{number}"
        return text

    def _put_cancel(self, client_order_id: str) -> None:
        queue: list[Any] = self.queue
        at = len(queue)
        target = self._newest
        if client_order_id != self._newest_id:
            target = self._number_order(client_order_id)
        if at >= self._room or target < 0:
            super()._put_cancel(client_order_id)
            return
        self._pack(
            self._words, self._first + at * _ASKED_BYTES, CANCEL, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            target, 0,
        )  # fmt: skip
        self._packed += 1
        self.intent_count = number = self.intent_count + 1
        queue.append(number)

    def _number_order(self, text: str) -> int:
        """The number of an order of this strategy; 0 for no text, -1 for any other text."""
        if not text:
            return 0
        digits = text[self._prefix_size :]
        if not digits.isdecimal() or f"{self._order_prefix}{int(digits)}" != text:
            return -1
        number = int(digits)
        return number if number <= INT64_MAX else -1

    def _number_label(self, label: str) -> int:
        number = self._label_numbers.get(label)
        if number is None:
            number = len(self._labels)
            if number >= _LABELS_MAX:
                raise GivenUp(f"its orders have more than {_LABELS_MAX} labels")
            self._labels.append(label)
            self._label_numbers[label] = number
        return number


class PythonStrategy:
    """One strategy's callables, as the loop of a compiled session calls them.

    Whatever a callable raises but `MemoryError` (there are too few slots) is a `GivenUp`: what
    becomes of a strategy that raises is for the Python host to say.

    Args:
        name: Of the strategy in the session.
        strategy: A fresh object; it is the one that changes.
        timeline: The market data.
        close_ticks: The close of each row, in ticks.
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
        close_ticks: Sequence[int],
        columns: Mapping[str, npt.NDArray[np.float64]],
        engine: Packed,
        order_prefix: str,
        labels: list[str],
    ) -> None:
        self.strategy = strategy
        self.kind = find_type(type(strategy), timeline)
        features = FeatureRows(columns)
        self._view = view = EngineView(engine, timeline, close_ticks, features, order_prefix)
        self._market = view.market
        self._words = view.words
        self._context = EngineContext(name, timeline, view, order_prefix, labels)
        self._queue = self._context.queue
        self._on_row = getattr(strategy, _ROW_CALLBACKS[timeline.kind])
        self._hears_rows = _ROW_CALLBACKS[timeline.kind] in self.kind.heard
        self._hears_slices = "on_slice" in self.kind.heard
        self._slice_end = timeline.row_ends if self._hears_slices else ()
        self._slice: list[Any] = []
        self._taken = 0
        self._events = _list_events(timeline)
        self._features = _list_features(timeline, features)
        self._place_row = view.place("row")
        self._place_stop = view.place("quiet_stop")
        self._place_fills = view.place("fills")
        self._fills = 0
        self._units = engine.read("position_units")
        hear_row = self._hear_row_of_slice if self._hears_slices else self._hear_row
        calls: dict[str, Callable[[], None]] = {
            "on_start": self._start,
            "on_bar": hear_row,
            "on_trade": hear_row,
            "on_slice": self._hear_slice,
            "on_stop": self._stop,
            "quiet_rows": self._hear_quiet_rows,
        }
        self._table = (ctypes.py_object * len(CALLS))(*(calls[each] for each in CALLS))
        self.address = ctypes.addressof(self._table)

    def _start(self) -> None:
        with _giving_up():
            self.strategy.on_start(self._context)
        self._context.hand_over()

    def _stop(self) -> None:
        self._look()
        with _giving_up():
            self.strategy.on_stop(self._context)
        self._queue.clear()  # nothing is sent any more

    def _look(self) -> None:
        """See what has happened since the last call."""
        self._market.row = self._words[self._place_row]
        if self._words[self._place_fills] != self._fills:
            self._fills = self._words[self._place_fills]
            context = self._context
            context.units.update(zip(context.instruments, self._units.tolist(), strict=True))

    def _hear_row(self) -> None:
        words = self._words
        if words[self._place_fills] != self._fills:
            self._look()
        self._market.row = words[self._place_row]
        context = self._context
        context.features = next(self._features)
        try:
            self._on_row(next(self._events), context)
        except Exception as error:
            raise _give_up(error) from error
        if self._queue:
            self._context.hand_over()

    def _hear_row_of_slice(self) -> None:
        self._look()
        self._tell_row()
        if self._queue:
            self._context.hand_over()

    def _tell_row(self) -> None:
        event = self._take()
        self._slice.append(event)
        with _giving_up():
            self._on_row(event, self._context)

    def _take(self) -> Any:
        """The next row."""
        self._taken += 1
        self._context.features = next(self._features)
        return next(self._events)

    def _hear_slice(self) -> None:
        """The slice that ends at this row."""
        self._look()
        self._tell_slice(self._market.row)
        if self._queue:
            self._context.hand_over()

    def _tell_slice(self, row: int) -> None:
        bars = self._slice
        while self._taken <= row:
            bars.append(self._take())
        self._slice = []
        with _giving_up():
            self.strategy.on_slice(TimeSlice(bars[-1].ts_known, tuple(bars)), self._context)

    def _hear_quiet_rows(self) -> None:
        """Rows at which nothing else happens, until the strategy asks for something."""
        self._look()
        first, stop = self._market.row, self._words[self._place_stop]
        if self._hears_slices:
            self._hear_quiet_slices(first, stop)
        else:
            context, queue, on_row = self._context, self._queue, self._on_row
            self._view.quiet_stop = stop
            self._view.quiet_left = left = repeat(None, stop - first)  # counted in C
            try:
                for _, event, context.features in zip(left, self._events, self._features):  # noqa: B905
                    on_row(event, context)
                    if queue:
                        break
            except Exception as failure:
                raise _give_up(failure) from failure
            self._view.follow()
            self._view.quiet_left = None
        self._words[self._place_row] = self._market.row
        if self._queue:
            self._context.hand_over()

    def _hear_quiet_slices(self, first: int, stop: int) -> None:
        for self._market.row in range(first, stop):
            if self._hears_rows:
                self._tell_row()
            if self._slice_end[self._market.row]:
                self._tell_slice(self._market.row)
            if self._queue:
                break


register_table(PythonStrategy)

_ROW_CALLBACKS = {"bars": "on_bar", "trades": "on_trade"}


def find_type(strategy: type[Strategy], timeline: Timeline) -> PythonStrategyType:
    """What the loop calls of a class, in a session on this data.

    Raises:
        ConfigError: The class has a callback that compiled code does not make, or seems to ask for
            what it does not do. What can be seen only when it is asked for is given up then.
    """

    def has(name: str) -> bool:
        return getattr(strategy, name) is not getattr(Strategy, name)

    other = [each for each in _OTHER_CALLBACKS if has(each)]
    other += [f"ctx.{each}" for each in sorted(_names_of(strategy) & _OTHER_REQUESTS)]
    if other:
        raise ConfigError(
            f"{strategy.__name__} uses {other[0]}, which compiled code does not carry",
            remedy="run it in the Python host",
        )
    rows = _ROW_CALLBACKS[timeline.kind]
    slices = ("on_slice",) if timeline.kind == "bars" else ()
    heard = {each for each in ("on_start", rows, *slices, "on_stop") if has(each)}
    if heard & {rows, *slices}:
        heard.add("quiet_rows")
    return PythonStrategyType(frozenset(heard))


def _names_of(strategy: type[Strategy]) -> set[str]:
    """Every name that the methods of a class use."""
    return {
        name
        for owner in strategy.__mro__
        if issubclass(owner, Strategy) and owner is not Strategy
        for function in vars(owner).values()
        if isinstance(function, FunctionType)
        for name in function.__code__.co_names
    }


@contextmanager
def _giving_up() -> Generator[None]:
    """What user code raises is a `GivenUp`."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise _give_up(error) from error


def _give_up(error: BaseException) -> Exception:
    if isinstance(error, InvariantBroken):
        return error
    return GivenUp(f"{type(error).__name__}: {error}")


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
