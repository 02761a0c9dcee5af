"""The `Context` of a strategy in Python, in a session that compiled code runs."""

from __future__ import annotations

import struct
from typing import Any

from onetape.domain.instrument import InstrumentId
from onetape.domain.numbers import INT64_MAX
from onetape.domain.orders import (
    CancelIntent,
    Intent,
    OrderIntent,
    OrderType,
    QuantityBasis,
    ReplaceIntent,
    Side,
    TimeInForce,
)
from onetape.marketdata.timeline import Timeline
from onetape.runtime.compiled.engine import CANCEL, REPLACE, SUBMIT
from onetape.runtime.compiled.engine_view import EngineView
from onetape.runtime.compiled.state import ASKED_WIDTH
from onetape.runtime.set_outcome import GivenUp
from onetape.strategy.context import Context

_LABELS_MAX = 4_096
_WORD_BYTES = 8
_ASKED_BYTES = _WORD_BYTES * ASKED_WIDTH
_LOTS, _MARKET, _GTC = QuantityBasis.LOTS, OrderType.MARKET, TimeInForce.GTC
_STOP_LIMIT, _FOK = OrderType.STOP_LIMIT, TimeInForce.FOK


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
