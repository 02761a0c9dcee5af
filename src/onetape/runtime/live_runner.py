"""A strategy in a live session: its features move row by row, by the rules that batches run."""

from __future__ import annotations

import math
import traceback
from collections.abc import Iterator, Mapping, Sequence
from itertools import repeat
from typing import Any

import msgspec
import numpy as np

from onetape.domain.errors import InvariantBroken, StrategyError, StrategyStuck
from onetape.domain.instrument import InstrumentId
from onetape.domain.venue import BarClosed
from onetape.features.columns import select_inputs
from onetape.features.cross_section import CrossSection, split_cross_sections
from onetape.features.estimator import FeatureMap, RunningEstimator
from onetape.marketdata.session_rows import Row
from onetape.runtime.live_market import LiveMarket
from onetape.runtime.runner import Runner, RunnerState

NAN = float("nan")
BAR_FIELDS = tuple(
    each for each in BarClosed.__struct_fields__ if each not in ("instrument", "source")
)
"""Fields of a bar that a feature may read."""
_OURS = __name__.partition(".")[0]


class LiveFeaturesState(msgspec.Struct, frozen=True, kw_only=True):
    """What `LiveFeatures` remember: by instrument and feature, its state and its newest value.

    `is_broken`: one of them has failed, and none is moved any more.
    """

    running: dict[str, dict[str, Any]]
    values: dict[str, list[float]]
    is_broken: bool = False


class FeatureFailed(Exception):
    """The feature `name` raised `error`, or did not come back."""

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(name)
        self.name = name
        self.error = error

    @property
    def text(self) -> str:
        """What was raised."""
        error = self.error
        if isinstance(error, StrategyError | StrategyStuck):
            return str(error)
        return f"{type(error).__name__}: {error}"

    @property
    def place(self) -> str:
        """Where: the innermost function that is not ours, and the line within it.

        A feature that runs by an archived definition has the same place: no file is told.
        """
        place = ""
        for frame, line in traceback.walk_tb(self.error.__traceback__):
            module = str(frame.f_globals.get("__name__"))
            if module.partition(".")[0] != _OURS:
                code = frame.f_code
                place = f"{code.co_name}, line {line - code.co_firstlineno + 1}"
        return place


class LiveFeatures:
    """The features of one strategy over its instruments, moved by each row once.

    `values` are those of the newest row of each instrument before the slice that was pushed last.

    Args:
        features: By name.
        instruments: Those that it is subscribed to.
        columns: What rows have.

    Raises:
        StrategyError: A feature reads what rows don't have.
    """

    def __init__(
        self,
        features: FeatureMap,
        instruments: Sequence[InstrumentId],
        columns: Sequence[str] = BAR_FIELDS,
    ) -> None:
        self.features = features
        single, self._crossing = split_cross_sections(dict(features))
        self.names = tuple(features)
        empty = {name: np.zeros(0) for name in columns}
        for name, each in single.items():
            select_inputs(name, each, empty)
        self._running: dict[InstrumentId, dict[str, RunningEstimator]] = {
            each: {name: feature.start() for name, feature in single.items()}
            for each in instruments
        }
        self.values: dict[InstrumentId, list[float]] = {}
        self._pushed: list[tuple[InstrumentId, list[float]]] = []
        self.is_broken = False

    def push(self, bars: Sequence[Row]) -> list[list[float] | None]:
        """Take the rows of a slice; the features of each, None of one that is not subscribed.

        Raises:
            FeatureFailed: One raised or did not come back. Its state is between two rows then, and
                in a run of the same rows between two others: none is moved any more.
        """
        if self.is_broken:
            return [None] * len(bars)
        rows: list[list[float] | None] = []
        row: list[float] = []
        try:
            for bar in bars:
                running = self._running.get(bar.instrument)
                if running is None:
                    rows.append(None)
                    continue
                row = []
                for each in running.values():
                    columns = each.estimator.inputs
                    row.append(each.update(*(float(getattr(bar, name)) for name in columns)))
                rows.append(row)
        except InvariantBroken:
            raise
        except (Exception, StrategyStuck) as error:
            self.drop()
            raise FeatureFailed(self.names[len(row)], error) from error
        for name, cross in self._crossing.items():
            self._compare(self.names.index(name), cross, rows)
        self.commit()
        self._pushed = [
            (bar.instrument, row) for bar, row in zip(bars, rows, strict=True) if row is not None
        ]
        return rows

    @property
    def cold(self) -> list[str]:
        """The features that have no value yet, of one instrument at least."""
        newest = self.values | dict(self._pushed)
        return [
            name
            for at, name in enumerate(self.names)
            if any(each not in newest or math.isnan(newest[each][at]) for each in self._running)
        ]

    def drop(self) -> None:
        """Forget where features stand: no slice moves them any more."""
        self.commit()
        self.is_broken = True
        self._running.clear()

    def commit(self) -> None:
        """The slice that was pushed is over: its values are the newest."""
        self.values.update(self._pushed)
        self._pushed = []

    def _compare(self, at: int, cross: CrossSection, rows: list[list[float] | None]) -> None:
        values = cross.compute_slice([NAN if each is None else each[at] for each in rows])
        for row, value in zip(rows, values, strict=True):
            if row is not None:
                row[at] = value

    def save(self) -> LiveFeaturesState:
        """What is needed to go on from here; between two slices."""
        self.commit()
        return LiveFeaturesState(
            running={
                str(instrument): {name: each.snapshot() for name, each in running.items()}
                for instrument, running in self._running.items()
            },
            values={str(each): row for each, row in self.values.items()},
            is_broken=self.is_broken,
        )

    def restore(self, state: LiveFeaturesState) -> None:
        """Go on where `state` was saved.

        Raises:
            StrategyError: A feature is another one than then.
        """
        if state.is_broken:
            self.drop()
        for instrument, running in self._running.items():
            saved: Mapping[str, Any] = state.running.get(instrument, {})
            if saved.keys() != running.keys():
                raise StrategyError(
                    f"its features of {instrument} are not those of the snapshot",
                    remedy="bring back the strategy that the session began with",
                )
            for name, each in running.items():
                each.restore(saved[name])
        self.values = {InstrumentId(each): row for each, row in state.values.items()}


class LiveRunner(Runner):
    """A `Runner` whose feature rows come as the bars do.

    Attributes:
        live: Its features.
    """

    __slots__ = ("_first", "_rows", "live", "market")

    live: LiveFeatures
    market: LiveMarket

    def attach(self, live: LiveFeatures, market: LiveMarket) -> None:
        """Give it its features and the market whose rows they are of; once, when it is built."""
        self.live = live
        self.market = market
        self._first = 0
        self._rows: list[list[float] | None] = []

    def begin_slice(self, first_row: int, bars: Sequence[Row]) -> None:
        """The rows of the next slice.

        Raises:
            FeatureFailed: As `LiveFeatures.push`; its rows have no values then.
        """
        self._first = first_row
        self._rows = [None] * len(bars) if self.columns else []
        if self.columns:
            self._rows = self.live.push(bars)

    @property
    def slice_values(self) -> Sequence[list[float] | None]:
        """The feature row of each row of the newest slice; empty without features."""
        return self._rows

    def feature_rows(self, start: int, stop: int) -> Iterator[Any]:
        """Feature rows of rows of the newest slice."""
        if not self.columns:
            return repeat(None, stop - start)
        return map(self.feature_row, range(start, stop))

    def feature_row(self, row: int) -> Any:
        """The feature row of a row of the newest slice, or the newest of its instrument before."""
        if not self.columns or row < 0:
            return None
        if row >= self._first:
            values = self._rows[row - self._first]
            return self.rows.make(*(values or repeat(NAN, len(self.columns))))
        return self._newest_before(row)

    def _newest_before(self, row: int) -> Any:
        for instrument in self.context.instruments:
            if self.market.newest_row(instrument) == row:
                return self.rows.make(*self.live.values[instrument])
        return None

    def _feature_bytes(self, row: int) -> bytes:
        return b""

    def restore(self, state: RunnerState, row: int, heard_row: int) -> None:
        """Go on after `row`; its features have been restored before."""
        self._first = row + 1
        super().restore(state, row, heard_row)
