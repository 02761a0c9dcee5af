"""A feature's column in pieces that follow each other: memory is that of a piece."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from onetape.features.columns import compute_column
from onetape.features.estimator import Estimator, Expression
from onetape.features.state import FloatColumn
from onetape.features.timeframe import LongerBars, Timeframed

Inputs = tuple[FloatColumn, ...]
Move = Callable[[Inputs], FloatColumn]


class ColumnPieces:
    """A feature on its way through pieces of rows, with the bits of the whole column.

    Args:
        estimator: The feature.
        is_compiled: Whether the compiled host moves it; the result is the same.
        twice: Whether all pieces are given to `prepare` before the first is taken. A `Timeframed`
            then has the bits of its whole column where several rows end a bar at one time, too:
            live, the first of them ends it.

    Attributes:
        is_timed: Whether `prepare` has anything to do.
    """

    def __init__(self, estimator: Estimator, *, is_compiled: bool, twice: bool = False) -> None:
        self._estimator = estimator
        self._is_compiled = is_compiled
        self._start = _start_compiled if is_compiled else _start_python
        self._moves: list[Move] = []
        self._bars: dict[int, tuple[LongerBars, tuple[int, ...]]] = {}
        if twice and isinstance(estimator, Timeframed):
            self._bars[0] = LongerBars(estimator), tuple(range(len(estimator.inputs)))
        elif twice and isinstance(estimator, Expression):
            for place, node in enumerate(estimator.plan.nodes):
                if isinstance(node.estimator, Timeframed):
                    self._bars[place] = LongerBars(node.estimator), node.sources
        self.is_timed = bool(self._bars)

    def prepare(self, inputs: Inputs) -> None:
        """The inputs at the next rows, for the first time."""
        for bars, sources in self._bars.values():  # it reads columns of bars, and no other node
            bars.add(tuple(inputs[at] for at in sources))

    def begin(self) -> None:
        """All pieces were given to `prepare`."""
        compute = compute_column
        if self._bars and self._is_compiled:
            from onetape.features.compiled import compute_column_compiled as compute
        for bars, _ in self._bars.values():
            bars.close(compute)

    def take(self, inputs: Inputs) -> FloatColumn:
        """The values at the next rows.

        Args:
            inputs: As `select_inputs` gives them.
        """
        estimator = self._estimator
        if not isinstance(estimator, Expression) or isinstance(estimator, Timeframed):
            return self._move(0, estimator, inputs)
        places = iter(range(len(estimator.plan.nodes)))  # a plan asks its nodes in their order

        def compute(node: Estimator, used: Inputs) -> FloatColumn:
            return self._move(next(places), node, used)

        return estimator.plan.compute(inputs, compute)

    def _move(self, place: int, node: Estimator, inputs: Inputs) -> FloatColumn:
        if place == len(self._moves):
            bars = self._bars.get(place)
            self._moves.append(self._start(node) if bars is None else _look_up(bars[0]))
        return self._moves[place](inputs)


def _look_up(bars: LongerBars) -> Move:
    return lambda inputs: bars.values(len(inputs[0]))


def _start_python(estimator: Estimator) -> Move:
    update = partial(type(estimator).update, estimator.start_state())

    def move(inputs: Inputs) -> FloatColumn:
        values = map(update, *(column.tolist() for column in inputs))
        return np.fromiter(values, dtype=np.float64, count=len(inputs[0]))

    return move


def _start_compiled(estimator: Estimator) -> Move:
    if isinstance(estimator, Timeframed):  # it has no record; its rows are few and those inside
        return _start_python(estimator)
    from onetape.features.compiled import PackedState, fill_piece

    state = PackedState(estimator)

    def move(inputs: Inputs) -> FloatColumn:
        out = np.empty(len(inputs[0]))
        fill_piece(state, inputs, out)
        return out

    return move
