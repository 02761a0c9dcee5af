"""Features of a longer timeframe on shorter bars: known once a bar of it has closed."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from onetape.domain.bar_buckets import (
    Ints,
    compute_bucket,
    compute_bucket_open,
    fold_column,
    reduce_column,
)
from onetape.domain.errors import StrategyError
from onetape.features.estimator import Estimator, Expression
from onetape.features.plan import Plan
from onetape.features.state import FloatColumn, State

NAN = math.nan

_TIMES = ("ts_open", "ts_close", "session_close")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_SESSION = "1d"
_TICK_NS = 1_000
"""What is not longer is a tick; times are float64 here, which hold 256 ns of today's."""


class TimeframedState(State):
    """State of `Timeframed`: the bar that is being made, and where the feature inside stands.

    `length_ns` 0 means that a bar is a session. `values` are the inputs of the feature inside over
    the bar so far, `is_open` whether the feature has still to see them.
    """

    length_ns: int
    columns: list[str]
    update: Callable[..., float]
    inside: Any
    key: int = -1
    is_open: bool = False
    values: list[float] = msgspec.field(default_factory=list)
    value: float = NAN


def update_timeframed(state: TimeframedState, *columns: float) -> float:
    """The value of the feature inside at the newest closed bar of its timeframe."""
    *inputs, ts_open, ts_close, session_close = columns
    length = state.length_ns
    key = compute_bucket(int(ts_open), length) if length else int(session_close)
    end = compute_bucket_open(key + 1, length) if length else key
    if key != state.key:
        if state.is_open:  # its last bar is missing: the next one shows that it is over
            state.value = state.update(state.inside, *state.values)
        state.key = key
        state.is_open = True
        state.values = inputs
    else:
        state.values = [
            fold_column(name, before, now)
            for name, before, now in zip(state.columns, state.values, inputs, strict=True)
        ]
    if state.is_open and int(ts_close) >= end and ts_close - ts_open > _TICK_NS:
        state.is_open = False
        state.value = state.update(state.inside, *state.values)
    return state.value


class Timeframed(Expression, frozen=True):
    """A feature on bars of a longer timeframe: `Timeframed(Sma(20), "1h")`.

    Its bars are made of the session's own: first open, highest high, lowest low, last close, sum of
    volumes, last of any other column. Bars of seconds, minutes and hours (`15m`, `4h`) begin at
    whole multiples since 1970, UTC; `1d` is a trading session. A value stands from the bar on that
    ends its bar; where that one is missing, from the next one on. A bar that is not closed is never
    seen. A tick ends no bar, since another one of its time may follow: the first tick
    of the next bar shows that one is over.

    NaN policy: that of the feature inside.

    Raises:
        StrategyError: Not a timeframe, or the feature reads the times of bars.
    """

    feature: Estimator
    timeframe: str

    update = staticmethod(update_timeframed)

    def __post_init__(self) -> None:
        if not isinstance(self.feature, Estimator):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise StrategyError(f"is of {self.feature!r}", where=type(self).__name__,
                                remedy="give it a feature")  # fmt: skip
        self._check_inputs()

    def build(self) -> Estimator:
        """Itself."""
        return self

    def _list_columns(self) -> tuple[str, ...]:
        self.length_ns  # noqa: B018 - which refuses what is no timeframe
        own = tuple(dict.fromkeys(self.feature.inputs))
        timed = [each for each in own if each in _TIMES]
        if timed:
            raise StrategyError(
                f"reads {timed[0]}, which bars of a longer timeframe don't have",
                where=repr(self.feature),
                remedy="use it on the session's own bars",
            )
        return (*own, *_TIMES)

    @property
    def length_ns(self) -> int:
        """Length of a bar; 0: a bar is a session."""
        if self.timeframe == _SESSION:
            return 0
        parsed = re.fullmatch(r"([1-9]\d{0,5})([smh])", str(self.timeframe))
        if parsed is None:
            raise StrategyError(
                f"{self.timeframe!r} is no timeframe",
                where=repr(self.feature),
                remedy="a count of s, m or h, such as 15m, or 1d for a trading session",
            )
        return int(parsed[1]) * _SECONDS[parsed[2]] * 1_000_000_000

    @property
    def warm_up(self) -> int:
        """That of the feature inside, if each bar of its timeframe were one of the session's."""
        return self.feature.warm_up

    @property
    def version(self) -> str:
        """16 hex digits that change with the timeframe or the version of the feature inside."""
        whole = (type(self).__name__, self.feature.version, self.timeframe)
        return hashlib.sha256(msgspec.json.encode(whole)).hexdigest()[:16]

    def add_to(self, plan: Plan) -> int:
        """Add it as one step."""
        return plan.add(self, tuple(map(plan.columns.index, self.inputs)))

    def start_state(self) -> TimeframedState:
        """No bar yet."""
        return TimeframedState(
            length_ns=self.length_ns,
            columns=list(self.inputs[: -len(_TIMES)]),
            update=self._update_inside,
            inside=self.feature.start_state(),
        )

    def _update_inside(self, state: Any, *values: float) -> float:
        named = dict(zip(self.inputs, values, strict=False))
        return type(self.feature).update(state, *(named[each] for each in self.feature.inputs))

    def dump_state(self, state: Any) -> Any:
        """The bar so far and the state inside as plain data."""
        inside = self.feature.dump_state(state.inside)
        return [state.key, state.is_open, list(state.values), state.value, inside]

    def load_state(self, plain: Any) -> TimeframedState:
        """The state that `dump_state` made plain data of."""
        state = self.start_state()
        state.key, state.is_open, state.values, state.value = plain[:4]
        state.inside = self.feature.load_state(plain[4])
        return state

    def compute_column(
        self,
        inputs: tuple[FloatColumn, ...],
        compute_inside: Callable[[Estimator, tuple[FloatColumn, ...]], FloatColumn],
    ) -> FloatColumn:
        """Its value at every bar of the session.

        Args:
            inputs: Its columns, each of shape (rows,).
            compute_inside: A host: an estimator's column from the columns of its inputs.
        """
        bars = LongerBars(self)
        bars.add(inputs)
        bars.close(compute_inside)
        return bars.values(len(inputs[0]))


class LongerBars:
    """The bars of a `Timeframed` over rows that come in blocks, and its value at each row.

    First all blocks are added, then the values are asked for in the same order.
    """

    def __init__(self, feature: Timeframed) -> None:
        self._feature = feature
        self._rows = self._given = 0
        self._key: int | None = None
        self._open: list[float] = []
        self._known_open = 0
        self._parts: list[list[FloatColumn]] = []
        self._known_parts: list[Ints] = []
        self._known = np.zeros(0, dtype=np.int64)
        self._inside = np.zeros(0)

    def add(self, inputs: tuple[FloatColumn, ...]) -> None:
        """The inputs of the feature over the next rows."""
        rows = len(inputs[0])
        if not rows:
            return
        length = self._feature.length_ns
        names = self._feature.inputs[:-3]
        ts_open, ts_close, session_close = (each.astype(np.int64) for each in inputs[-3:])
        keys = compute_bucket(ts_open, length) if length else session_close
        ends = compute_bucket_open(keys + 1, length) if length else keys
        columns = inputs[:-3]
        goes_on = self._key is not None and int(keys[0]) == self._key
        if goes_on:  # the bar so far is as good as its first row
            columns = tuple(
                np.concatenate(([value], column))
                for value, column in zip(self._open, columns, strict=True)
            )
        elif self._key is not None:
            self._end([np.array([value]) for value in self._open], np.array([self._known_open]))
        starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
        last = np.concatenate([starts[1:], [rows]]) - 1
        is_told = (ts_close[last] >= ends[last]) & (ts_close[last] - ts_open[last] > _TICK_NS)
        known = np.where(is_told, last, last + 1) + self._rows
        shift = len(columns[0]) - rows if columns else 0
        starts, last = np.concatenate(([0], starts[1:] + shift)), last + shift
        bars = [
            reduce_column(name, column, starts, last)
            for name, column in zip(names, columns, strict=True)
        ]
        self._end([each[:-1] for each in bars], known[:-1])
        self._open, self._known_open = [float(each[-1]) for each in bars], int(known[-1])
        self._key = int(keys[-1])
        self._rows += rows

    def _end(self, bars: list[FloatColumn], known: Ints) -> None:
        self._parts.append(bars)
        self._known_parts.append(known)

    def close(
        self, compute_inside: Callable[[Estimator, tuple[FloatColumn, ...]], FloatColumn]
    ) -> None:
        """No more rows come; see `Timeframed.compute_column`."""
        if self._key is None:
            return
        self._end([np.array([value]) for value in self._open], np.array([self._known_open]))
        whole = [np.concatenate(each) for each in zip(*self._parts, strict=True)]
        named = dict(zip(self._feature.inputs, whole, strict=False))
        feature = self._feature.feature
        self._known = np.concatenate(self._known_parts)
        self._inside = compute_inside(feature, tuple(named[each] for each in feature.inputs))

    def values(self, rows: int) -> FloatColumn:
        """The values at the next so many rows."""
        if not rows:
            return np.empty(0)
        own = np.arange(self._given, self._given + rows)
        self._given += rows
        at = np.searchsorted(self._known, own, side="right") - 1
        return np.where(at >= 0, self._inside[np.maximum(at, 0)], NAN)
