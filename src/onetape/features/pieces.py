"""A feature's column in pieces that follow each other: memory is that of a piece."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from onetape.features.estimator import Estimator, Expression
from onetape.features.state import FloatColumn
from onetape.features.timeframe import Timeframed

Inputs = tuple[FloatColumn, ...]
Move = Callable[[Inputs], FloatColumn]


class ColumnPieces:
    """A feature on its way through pieces of rows, with the bits of the whole column.

    Args:
        estimator: The feature.
        is_compiled: Whether the compiled host moves it; the result is the same.
    """

    def __init__(self, estimator: Estimator, *, is_compiled: bool) -> None:
        self._estimator = estimator
        self._start = _start_compiled if is_compiled else _start_python
        self._moves: list[Move] = []

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
            self._moves.append(self._start(node))
        return self._moves[place](inputs)


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
