"""Timelines whose rows from some row on are other ones: changed, thinned out, or gone."""

from __future__ import annotations

import math
from bisect import bisect_left
from enum import Enum
from functools import cache

import msgspec
import numpy as np

from onetape.domain.errors import DataError
from onetape.domain.instrument import InstrumentId
from onetape.domain.market import (
    BOOK,
    QUOTES,
    ContractExpiry,
    ContractStep,
    CorporateAction,
    TickKind,
    TradingStatus,
)
from onetape.domain.numbers import INT64_MAX
from onetape.marketdata.bars import BAR_COLUMNS, BarColumns, BoolArray
from onetape.marketdata.membership import Membership
from onetape.marketdata.ticks import TICK_COLUMNS, stand
from onetape.marketdata.timeline import Timeline
from onetape.marketdata.trades import TRADE_COLUMNS, add_bar_columns

PRICE_FACTOR_MAX = 2.0
"""A changed close is between 1/2 and 2 times what it was, each row by itself."""

TICKS = (QUOTES, BOOK)
"""Kinds of timelines whose rows tell what stands behind them."""

_SHAPE = 0.05
_GAP_RATIO = 0.3


class Change(Enum):
    """What is done to the rows. `CHANGED`: prices and volumes; `GAPS`: 3 rows of 10 are dropped.

    Where rows are changed or deleted, the corporate actions among them are left out; where they are
    changed, members of the universe are out from then on and others in, where they are deleted,
    nobody comes or goes any more.
    """

    CHANGED = "changed"
    GAPS = "gaps"
    DELETED = "deleted"


class Perturbation(msgspec.Struct, frozen=True):
    """A change of all instruments, or of one. `variant` gives other numbers and other gaps."""

    change: Change
    instrument: InstrumentId | None = None
    variant: int = 0


class Perturber:
    """Makes the timelines. What a row becomes depends on the row and the variant alone.

    So the data changed after a later row is the data changed after an earlier one, less the rows
    between, and a bisection over rows asks a question of one answer.
    """

    def __init__(self, timeline: Timeline, seed: int = 0) -> None:
        self._timeline = timeline
        self._seed = seed
        self._ids = [each.id for each in timeline.instruments]
        self._changed = cache(self._change)
        self._dropped = cache(self._drop)

    def apply(self, perturbation: Perturbation, rows: int) -> Timeline:
        """The timeline with its first `rows` rows as they are.

        It has the instruments, pins and provenance of the original, and of `CHANGED` its times.
        """
        timeline = self._apply(perturbation, rows)
        if timeline.universe is not None and perturbation.change is not Change.GAPS:
            timeline.universe = self._move_members(timeline.universe, perturbation, rows)
        return timeline

    def _move_members(
        self, universe: Membership, perturbation: Perturbation, rows: int
    ) -> Membership:
        """From the first row that may be changed on: who is in is out, or nobody comes or goes."""
        known = self._timeline.columns["ts_known"]
        ts = int(known[rows]) if rows < len(known) else INT64_MAX

        def move(instrument: InstrumentId, times: tuple[int, ...]) -> tuple[int, ...]:
            if perturbation.instrument not in (None, instrument):
                return times
            at = bisect_left(times, ts)
            if perturbation.change is Change.DELETED:
                return times[:at]
            later = times[at:]
            return (*times[:at], *((ts, *later) if ts not in later[:1] else later[1:]))

        return universe.change(move)

    def _apply(self, perturbation: Perturbation, rows: int) -> Timeline:
        timeline = self._timeline
        after = np.arange(len(timeline)) >= rows
        if perturbation.instrument is not None:
            after &= timeline.instrument_index == self._ids.index(perturbation.instrument)
        if perturbation.change is Change.CHANGED:
            changed = self._changed(perturbation.variant)
            columns = {
                name: np.where(after, changed[name], column) if name in changed else column
                for name, column in timeline.columns.items()
            }
            whole = np.ones(len(timeline), dtype=np.bool_)
            moved = _with_rows(
                timeline, columns, whole, self._actions(perturbation, rows),
                self._steps(perturbation, rows),
            )  # fmt: skip
            return stand_again(moved) if timeline.kind in TICKS else moved
        if perturbation.change is Change.GAPS:
            kept = ~(after & self._dropped(perturbation.variant))
            left = _with_rows(timeline, timeline.columns, kept)
            return stand_again(left) if timeline.kind in TICKS else left
        return _with_rows(
            timeline, timeline.columns, ~after, self._actions(perturbation, rows),
            self._steps(perturbation, rows),
        )  # fmt: skip

    def _steps(self, perturbation: Perturbation, rows: int) -> tuple[ContractStep, ...]:
        """The contract steps that were known before the first row that may be changed.

        The venue knows of a halt when it happens, before the bar around it tells us.
        """
        known = self._timeline.columns["ts_known"]
        ts = int(known[rows]) if rows < len(known) else INT64_MAX
        return tuple(
            step
            for step in self._timeline.steps
            if (step.ts_event if isinstance(step, TradingStatus) else step.ts_known) < ts
            or perturbation.instrument not in (None, step.instrument)
        )

    def _actions(self, perturbation: Perturbation, rows: int) -> tuple[CorporateAction, ...]:
        """The corporate actions that were known before the first row that may be changed."""
        known = self._timeline.columns["ts_known"]
        ts = int(known[rows]) if rows < len(known) else INT64_MAX
        return tuple(
            action
            for action in self._timeline.actions
            if action.ts_known < ts
            or perturbation.instrument not in (None, action.instrument, action.new_instrument)
        )

    def _drop(self, variant: int) -> BoolArray:
        """The rows that a gap takes: never the last, so that time goes on to its end.

        Nor changes of the depth: without one of them the book could not be.
        """
        random = np.random.default_rng([self._seed, variant, 1])
        dropped = random.random(len(self._timeline)) < _GAP_RATIO
        dropped[-1] = False
        if self._timeline.kind in TICKS:
            dropped &= self._timeline.columns["what"] != TickKind.DELTA
            dropped &= _is_again(self._timeline)
        return dropped

    def _change(self, variant: int) -> BarColumns:
        """Every price and volume replaced, bars still bars; NaN stays NaN, zero stays zero."""
        columns = self._timeline.columns
        random = np.random.default_rng([self._seed, variant, 0])
        rows = len(self._timeline)
        reach = math.log(PRICE_FACTOR_MAX)
        close = columns["close"] * np.exp(random.uniform(-reach, reach, rows))
        volume = columns["volume"] * np.exp(random.uniform(-1.0, 1.0, rows))
        if self._timeline.kind == "trades":
            prints = {name: columns[name] for name in TRADE_COLUMNS}
            changed = add_bar_columns({**prints, "price": close, "size": volume})
            return {name: changed[name] for name in changed if not name.startswith("ts_")}
        if self._timeline.kind in TICKS:
            return _change_ticks(self._timeline, random)
        open_ = close * np.exp(random.uniform(-_SHAPE, _SHAPE, rows))
        high = np.maximum(open_, close) * np.exp(random.uniform(0.0, _SHAPE, rows))
        low = np.minimum(open_, close) * np.exp(random.uniform(-_SHAPE, 0.0, rows))
        figures = {
            name: column * np.exp(random.uniform(-1.0, 1.0, rows))
            for name, column in columns.items()
            if name not in BAR_COLUMNS
        }
        bars = {"open": open_, "high": high, "low": low, "close": close, "volume": volume}
        return {**bars, **figures}


def _change_ticks(timeline: Timeline, random: np.random.Generator) -> BarColumns:
    """Prices and sizes of quotes and prints, and sizes of the levels of a book, replaced.

    A level keeps its price, so that the book stays one, and is there or not as before.
    """
    columns = timeline.columns
    rows = len(timeline)
    reach = math.log(PRICE_FACTOR_MAX)
    is_depth = columns["what"] == TickKind.DELTA
    factor = np.where(is_depth, 1.0, np.exp(random.uniform(-reach, reach, rows)))
    lots = np.array([each.lot_float for each in timeline.instruments])[timeline.instrument_index]
    grown = columns["size"] * np.exp(random.uniform(-1.0, 1.0, rows))
    whole = np.maximum(np.round(grown / lots), 1.0) * lots
    kept = is_depth & (columns["size"] == 0.0)
    return {
        "price": columns["price"] * factor,
        "bid": columns["bid"] * factor,
        "ask": columns["ask"] * factor,
        "size": np.where(kept, 0.0, np.where(is_depth, whole, grown)),
        "bid_size": columns["bid_size"] * np.exp(random.uniform(-1.0, 1.0, rows)),
        "ask_size": columns["ask_size"] * np.exp(random.uniform(-1.0, 1.0, rows)),
    }


def _is_again(timeline: Timeline) -> BoolArray:
    """True but on the first row of each instrument: something must stand before the others."""
    again = np.ones(len(timeline), dtype=np.bool_)
    for each in timeline.instruments:
        again[timeline.rows_of(each.id)[:1]] = False
    return again


def stand_again(timeline: Timeline) -> Timeline:
    """The best bid and ask behind every row of quotes or depth, told anew."""
    columns = {name: column.copy() for name, column in timeline.columns.items()}
    for each in timeline.instruments:
        rows = timeline.rows_of(each.id)
        own = {name: timeline.columns[name][rows] for name in TICK_COLUMNS}
        for name, column in stand(each, own).items():
            columns[name][rows] = column
    whole = np.ones(len(timeline), dtype=np.bool_)
    return _with_rows(timeline, columns, whole)


def cut_before(timeline: Timeline, rows: int) -> Timeline:
    """The rows from `rows` on: the same data with a shorter history.

    Corporate actions before them are left out, but for those that end their instrument.

    Raises:
        DataError: The rows are changes of a book, which begins with the first of them.
    """
    if timeline.kind == "book":
        raise DataError("a book can't begin in the middle", remedy="begin with a snapshot")
    actions = tuple(
        action
        for action, before in zip(timeline.actions, timeline.action_rows, strict=True)
        if before > rows or action.kind.ends
    )
    kept = np.arange(len(timeline)) >= rows
    steps = tuple(
        step
        for step, before in zip(timeline.steps, timeline.step_rows, strict=True)
        if before > rows or isinstance(step, ContractExpiry | TradingStatus)
    )
    return _with_rows(timeline, timeline.columns, kept, actions, steps)


def _with_rows(
    timeline: Timeline,
    columns: BarColumns,
    keep: BoolArray,
    actions: tuple[CorporateAction, ...] | None = None,
    steps: tuple[ContractStep, ...] | None = None,
) -> Timeline:
    index = timeline.instrument_index[keep]
    rows = {each.id: np.flatnonzero(index == at) for at, each in enumerate(timeline.instruments)}
    moved = Timeline(
        timeline.instruments,
        index,
        {name: column[keep] for name, column in columns.items()},
        rows,
        datasets=timeline.datasets,
        source=timeline.source,
        timeframe=timeline.timeframe,
        kind=timeline.kind,
        actions=timeline.actions if actions is None else actions,
        action_pins=timeline.action_pins,
        steps=timeline.steps if steps is None else steps,
    )
    moved.universe = timeline.universe
    return moved
