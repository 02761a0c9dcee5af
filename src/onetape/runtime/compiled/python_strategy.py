"""A strategy that stays in Python, in a session that compiled code runs.

Its callbacks get the `Context` of every other session. What they read is in the engine's record;
what they ask for is put there as words, where the loop finds it as if compiled callbacks had.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, repeat
from types import FunctionType
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import ConfigError, InvariantBroken
from onetape.domain.market import TimeSlice
from onetape.domain.rule_compiler import Packed
from onetape.marketdata.timeline import Timeline
from onetape.runtime.compiled.engine_context import EngineContext
from onetape.runtime.compiled.engine_view import EngineView
from onetape.runtime.compiled.python_calls import CALLS, PythonStrategyType, register_table
from onetape.runtime.feature_rows import FeatureRows
from onetape.runtime.set_outcome import GivenUp
from onetape.strategy.sdk import Strategy

_BLOCK_ROWS = 4_096
"""Few enough that what is made of them stays in the processor's cache."""

_ROW_CALLBACKS = {"bars": "on_bar", "trades": "on_trade"}

_OTHER_CALLBACKS = ("on_market_event", "on_order_update", "generate_orders")
"""Callbacks of a carried session that compiled code does not make."""

_OTHER_REQUESTS = frozenset(("signal", "set_timer", "bracket", "exercise", "convert"))
"""Methods of `ctx` that ask for what compiled code does not do."""


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
        units = view.first("position_units")
        self._positions = [(each.id, at) for at, each in enumerate(timeline.instruments, units)]
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
            self._see_positions()

    def _see_positions(self) -> None:
        self._fills = self._words[self._place_fills]
        units, held = self._context.units, self._view.floats
        for name, place in self._positions:
            units[name] = held[place]

    def _hear_row(self) -> None:
        words = self._words
        if words[self._place_fills] != self._fills:
            self._see_positions()
        self._market.row = words[self._place_row]
        context = self._context
        context.features = next(self._features)
        try:
            self._on_row(next(self._events), context)
        except (Exception, SystemExit) as error:
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
        if self._hears_rows:  # features are those of a bar that it hears
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
        if self._hears_slices:
            self._hear_quiet_slices()
        else:
            self._hear_quiet_events()
        if self._queue:
            self._context.hand_over()

    def _hear_quiet_events(self) -> None:
        words, view = self._words, self._view
        if words[self._place_fills] != self._fills:
            self._see_positions()
        context, queue, on_row = self._context, self._queue, self._on_row
        view.quiet_stop = stop = words[self._place_stop]
        view.quiet_left = left = repeat(None, stop - words[self._place_row])  # counted in C
        try:
            for _, event, context.features in zip(left, self._events, self._features):  # noqa: B905
                on_row(event, context)
                if queue:
                    break
        except (Exception, SystemExit) as error:
            raise _give_up(error) from error
        words[self._place_row] = view.follow().row
        view.quiet_left = None

    def _hear_quiet_slices(self) -> None:
        self._look()
        market, words = self._market, self._words
        for row in range(market.row, words[self._place_stop]):
            market.row = words[self._place_row] = row
            if self._hears_rows:
                self._tell_row()
            if self._slice_end[row]:
                self._tell_slice(row)
            if self._queue:
                break


register_table(PythonStrategy)


def find_type(strategy: type[Strategy], timeline: Timeline) -> PythonStrategyType:
    """What the loop calls of a class, in a session on this data.

    Raises:
        ConfigError: The class has a callback that compiled code does not make, or seems to ask for
            what it does not do. What can be seen only when it is asked for is given up then.
    """

    def has(name: str) -> bool:
        return getattr(strategy, name) is not getattr(Strategy, name)

    declared = {*strategy.declared_params, *strategy.declared_state}
    other = [each for each in _OTHER_CALLBACKS if has(each)]
    other += [f"ctx.{each}" for each in sorted(_names_of(strategy) & _OTHER_REQUESTS - declared)]
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
