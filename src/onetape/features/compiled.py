"""The compiled host of estimators: the same `update`, compiled by Numba over a block of memory.

Importing this module imports Numba (a quarter of a second or more): import it where it is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from numba import njit
from numba.extending import models, overload, register_model

from onetape.domain.rule_compiler import Packed, RecordType, copy_head, make_compilable
from onetape.domain.rule_definition import Layout, Rule, compute_definition_hash, compute_layout
from onetape.features.estimator import Estimator, Expression, FloatColumn
from onetape.features.kernels import KERNELS
from onetape.features.timeframe import Timeframed

_UPDATES: dict[str, Rule] = {}
"""The update rule of each definition hash that was packed in this process."""


class StateType(RecordType):
    """Numba type of the state of one definition, which its hash names."""

    def __init__(self, definition: str, layout: Layout) -> None:
        self.definition = definition
        kinds = {"array": "float_view"}
        fields = tuple((name, kinds.get(kind, kind)) for name, kind in layout)
        super().__init__(f"State({definition})", fields)


register_model(StateType)(models.OpaqueModel)


class PackedState(Packed):
    """The state of an estimator before its first bar, as compiled code takes it."""

    __slots__ = ()

    def __init__(self, estimator: Estimator) -> None:
        update = type(estimator).update
        state = estimator.start_state()
        layout = compute_layout(type(state))
        definition = compute_definition_hash(update, layout)
        super().__init__(StateType(definition, layout), msgspec.structs.asdict(state))
        make_compilable(update, inline=True)
        _UPDATES[definition] = update


def advance(state: Any, *inputs: float) -> float:
    """In compiled code: the `update` that belongs to `state`, with the next bar's inputs."""
    raise NotImplementedError("advance is for compiled code only")


@overload(advance, jit_options={"forceinline": True})
def _compile_advance(state: Any, *inputs: Any) -> Callable[..., float]:  # noqa: ARG001
    update = _UPDATES[state.definition]

    def call(state: Any, *inputs: Any) -> float:
        return update(state, *inputs)

    return call


def _fill(state: Any, inputs: tuple[FloatColumn, ...], out: FloatColumn) -> None:
    row = 0
    state = copy_head(state)  # and never back: a packed state serves one column
    for values in zip(*inputs):  # noqa: B905  (Numba knows no `strict`; lengths are checked before)
        out[row] = advance(state, *values)
        row += 1  # noqa: SIM113  (`enumerate` over a star-zip does not compile)


def _fill_piece(state: Any, inputs: tuple[FloatColumn, ...], out: FloatColumn) -> None:
    row = 0
    for values in zip(*inputs):  # noqa: B905  (as above)
        out[row] = advance(state, *values)
        row += 1  # noqa: SIM113  (as above)


try:
    fill_column = njit(cache=True, nogil=True)(_fill)
    fill_piece = njit(cache=True, nogil=True)(_fill_piece)
except RuntimeError:  # no folder to cache in is writable
    fill_column = njit(nogil=True)(_fill)
    fill_piece = njit(nogil=True)(_fill_piece)


def compute_column_compiled(estimator: Estimator, inputs: tuple[FloatColumn, ...]) -> FloatColumn:
    """The estimator's value at every row of its inputs, by the compiled host.

    The inputs are contiguous, writable and of one length.
    """
    if isinstance(estimator, Timeframed):
        inside = estimator.compute_column(inputs, compute_column_compiled)
        return np.ascontiguousarray(inside)
    out = np.empty(len(inputs[0]))
    kernel = KERNELS.get(type(estimator))
    if kernel is not None and kernel(estimator, inputs, out):
        return out
    if isinstance(estimator, Expression):
        return estimator.plan.compute(inputs, compute_column_compiled)
    fill_column(PackedState(estimator), inputs, out)
    return out
