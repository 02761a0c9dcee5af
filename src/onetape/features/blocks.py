"""Features over rows that come in blocks: state goes on from block to block.

The values are those of the whole columns, bit for bit, since both run the same `update` on the same
numbers. Memory is that of a block, and of the longer bars of a `Timeframed`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.features.columns import compute_column, pays_to_compile, select_inputs
from onetape.features.estimator import Estimator, Expression, FeatureMap, FloatColumn
from onetape.features.timeframe import LongerBars, Timeframed

Inputs = tuple[FloatColumn, ...]
Compute = Callable[[Inputs], FloatColumn]
Columns = Mapping[str, npt.NDArray[Any]]


class BlockFeatures:
    """The features of one instrument, block by block.

    Args:
        features: Estimators by name.
        rows_total: Rows of all instruments that are about to be computed with these features: it
            decides the host, not the result.

    Attributes:
        looks_ahead: Whether all blocks must be given to `prepare` before the first is computed: a
            `Timeframed` has to know which row is the last of its bar.
    """

    def __init__(self, features: FeatureMap, rows_total: int) -> None:
        self._features = dict(features)
        is_compiled = pays_to_compile(features, rows_total)
        self._running = {name: _Running(each, is_compiled) for name, each in features.items()}
        self.looks_ahead = any(each.timed for each in self._running.values())

    def prepare(self, columns: Columns) -> None:
        """Bar columns of the next rows, for the first time."""
        for name, each in self._running.items():
            if each.timed:
                each.prepare(select_inputs(name, self._features[name], columns))

    def close(self) -> None:
        """All rows were given to `prepare`."""
        for each in self._running.values():
            each.close()

    def compute(self, columns: Columns) -> dict[str, FloatColumn]:
        """The value of every feature at the next rows.

        Raises:
            StrategyError: A feature needs a column that is not there.
            DataError: A column holds no numbers.
        """
        return {
            name: each.compute(select_inputs(name, self._features[name], columns))
            for name, each in self._running.items()
        }


class _Running:
    """One estimator on its way: the nodes of its plan, each with its state."""

    def __init__(self, estimator: Estimator, is_compiled: bool) -> None:
        nodes = (
            [(estimator, tuple(range(len(estimator.inputs))))]
            if not isinstance(estimator, Expression) or isinstance(estimator, Timeframed)
            else [(node.estimator, node.sources) for node in estimator.plan.nodes]
        )
        self._is_compiled = is_compiled
        self._width = len(estimator.inputs)
        self.timed: list[tuple[LongerBars, tuple[int, ...]]] = []
        self._nodes: list[tuple[Compute, tuple[int, ...]]] = []
        for each, sources in nodes:
            if isinstance(each, Timeframed):
                bars = LongerBars(each)
                self.timed.append((bars, sources))
                self._nodes.append((partial(_look_up, bars), sources))
            else:
                self._nodes.append((_start(each, is_compiled), sources))

    def prepare(self, inputs: Inputs) -> None:
        for bars, sources in self.timed:  # which reads columns of bars only
            bars.add(tuple(inputs[at] for at in sources))

    def close(self) -> None:
        compute = compute_column
        if self.timed and self._is_compiled:
            from onetape.features.compiled import compute_column_compiled as compute
        for bars, _ in self.timed:
            bars.close(compute)

    def compute(self, inputs: Inputs) -> FloatColumn:
        columns = list(inputs)
        for compute, sources in self._nodes:
            columns.append(compute(tuple(columns[at] for at in sources)))
        return columns[-1]


def _look_up(bars: LongerBars, inputs: Inputs) -> FloatColumn:
    return bars.values(len(inputs[0]))


def _start(estimator: Estimator, is_compiled: bool) -> Compute:
    if is_compiled:
        from onetape.features.compiled import start_compiled

        return start_compiled(estimator)
    update = partial(type(estimator).update, estimator.start_state())

    def compute(inputs: Inputs) -> FloatColumn:
        values = map(update, *(each.tolist() for each in inputs))
        return np.fromiter(values, dtype=np.float64, count=len(inputs[0]))

    return compute
