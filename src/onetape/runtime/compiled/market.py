"""The market of a compiled session: a timeline as columns of `Engine`, made once for all sets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import ConfigError
from onetape.domain.instrument import Instrument
from onetape.features.columns import select_inputs
from onetape.features.compiled import compute_column_compiled
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import Estimator
from onetape.marketdata.timeline import Timeline
from onetape.portfolio.equity_curve import mark_ticks
from onetape.portfolio.performance_summary import ReturnsClock, period_ends
from onetape.runtime.trading_day import find_day_starts

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

FEATURE_BYTES_MAX = 96 * 1024 * 1024
"""Feature columns that are kept for the next sets, in bytes; those in use are beyond it."""


class Market:
    """The columns of a timeline.

    Args:
        timeline: Bars or prints.
        clock: How equity is sampled into returns.

    Attributes:
        values: The market's fields of `Engine`, and those of its instruments.
        ts_known: When each row was known, shape (rows,).
        ends: The rows that end the first and the last slice.
        close_ticks: The close of each row, in ticks.

    Raises:
        ConfigError: An instrument's grid is not one that compiled code can count on.
        DataError: A close can't be counted in ticks.
    """

    def __init__(
        self, timeline: Timeline, clock: ReturnsClock, trading_day: str | None = None
    ) -> None:
        self._timeline = timeline
        self._columns: OrderedDict[Estimator, Floats] = OrderedDict()
        self._lock = Lock()
        columns = timeline.columns
        self.ts_known = columns["ts_known"]
        all_end = bool(timeline.slice_end.all())
        starts = find_day_starts(timeline, trading_day)
        if all_end:
            self.ends = 0, len(timeline) - 1
            ends = period_ends(self.ts_known, clock)
        else:
            slices = np.flatnonzero(timeline.slice_end)
            self.ends = int(slices[0]), int(slices[-1])
            ends = slices[period_ends(self.ts_known[slices], clock)]
        self.periods = len(ends)
        single = len(timeline.instruments) == 1
        prints = timeline.kind == "trades"
        ints = ("ts_open", "ts_close", "ts_known", "session_close")
        floats = ("open", "high", "low", "close", "volume")
        self.values: dict[str, Any] = {
            **{name: _column(columns[name], np.int64) for name in ints},
            **{name: _column(columns[name], np.float64) for name in floats},
            "rows": len(timeline),
            "ticks": _count_ticks(timeline),
            "instrument": _NONE if single else _column(timeline.instrument_index, np.int64),
            "slice_end": _NONE if all_end else _column(timeline.slice_end, np.int64),
            "sessions": len(starts),
            "session_starts": starts,
            "periods": len(ends),
            "period_ends": _column(ends, np.int64),
            "aggressor": _column(columns["aggressor"], np.int64) if prints else _NONE,
            "is_single": single,
            "all_end": all_end,
            **_describe_instruments(timeline.instruments),
        }
        self.close_ticks: Sequence[int] = self.values["ticks"].data
        self.ts_start = int(columns["ts_open"].min())

    def features(self, estimators: dict[str, Estimator]) -> list[Floats]:
        """The column of each feature over all rows, computed once for all sets that use it."""
        return [self._column_of(each) for each in estimators.values()]

    def _column_of(self, estimator: Estimator) -> Floats:
        with self._lock:
            column = self._columns.get(estimator)
            if column is not None:
                self._columns.move_to_end(estimator)
                return column
        column = self._compute(estimator)
        with self._lock:
            self._columns[estimator] = column
            kept = sum(each.nbytes for each in self._columns.values())
            while kept > FEATURE_BYTES_MAX and len(self._columns) > 1:
                kept -= self._columns.popitem(last=False)[1].nbytes
        return column

    def _compute(self, estimator: Estimator) -> Floats:
        timeline = self._timeline
        name = type(estimator).__name__
        if isinstance(estimator, CrossSection):
            return estimator.compute_slices(self._column_of(estimator.feature), timeline.slice_end)
        if len(timeline.instruments) == 1:
            inputs = select_inputs(name, estimator, timeline.columns)
            return compute_column_compiled(estimator, inputs)
        merged = np.full(len(timeline), np.nan)
        whole = select_inputs(name, estimator, timeline.columns)
        for each in timeline.instruments:
            rows = timeline.rows_of(each.id)
            merged[rows] = compute_column_compiled(
                estimator, tuple(column[rows] for column in whole)
            )
        return merged


_NONE: Ints = np.zeros(0, dtype=np.int64)


def _column(values: npt.NDArray[Any], kind: type[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(values, dtype=kind)


def _count_ticks(timeline: Timeline) -> Ints:
    """The mark of each row in ticks, as `MarketState` counts it."""
    if len(timeline.instruments) == 1:
        return mark_ticks(timeline.columns["close"], timeline.instruments[0])
    ticks = np.zeros(len(timeline), dtype=np.int64)
    for each in timeline.instruments:
        rows = timeline.rows_of(each.id)
        ticks[rows] = mark_ticks(timeline.columns["close"][rows], each)
    return ticks


def _describe_instruments(instruments: tuple[Instrument, ...]) -> dict[str, Any]:
    """The terms of each instrument, as the fields of `Engine`."""
    whole_lots: list[int] = []
    for each in instruments:
        whole = int(each.lot_size) if each.lot_size == each.lot_size.to_integral_value() else 0
        if not each.ticks_per_unit or not (each.lots_per_unit or whole):
            raise ConfigError(
                f"{each.id} has tick {each.tick_size:f} and lot {each.lot_size:f}",
                remedy="the compiled host needs a whole number of ticks, and of lots, in one unit",
            )
        whole_lots.append(whole)
    return {
        "instruments": len(instruments),
        "instrument_factor": [each.minor_per_tick_lot for each in instruments],
        "instrument_tick": [each.tick_float for each in instruments],
        "instrument_lot": [each.lot_float for each in instruments],
        "instrument_ticks_per_unit": [each.ticks_per_unit for each in instruments],
        "instrument_lots_per_unit": [each.lots_per_unit for each in instruments],
        "instrument_whole_lot": whole_lots,
        "instrument_min_lots": [each.min_lots for each in instruments],
        "instrument_max_lots": [each.max_lots or 0 for each in instruments],
        "instrument_is_picky": [int(each.is_picky) for each in instruments],
        "instrument_min_notional": [
            int((each.min_notional * 100_000_000).to_integral_value(rounding="ROUND_CEILING"))
            for each in instruments
        ],
    }
