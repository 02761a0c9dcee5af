"""Feature columns: each estimator's `update` run over the bars of one instrument.

Two hosts give the same bits: a Python loop, and the compiled loop of the same function. Python is
faster for little data: importing Numba and its first load from disk cost as much as a million
Python updates (0.4 s), and once that is paid, loading one more loop costs as much as 20,000.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from onetape.domain.errors import DataError, OnetapeError, StrategyError
from onetape.features.cross_section import CrossSection
from onetape.features.estimator import Estimator, Expression, FeatureMap, FloatColumn
from onetape.features.timeframe import Timeframed

COLD_UPDATES_MIN = 1_000_000
"""From this many updates (rows x features) on it pays to import the compiled host."""

WARM_UPDATES_MIN = 20_000
"""From this many updates on it pays to use the compiled host once it is imported."""


def compute_feature_columns(
    features: FeatureMap,
    columns: Mapping[str, npt.NDArray[Any]],
    *,
    rows_total: int | None = None,
) -> dict[str, FloatColumn]:
    """The value of every feature at every bar of one instrument.

    Args:
        features: Estimators by name.
        columns: Bar columns in time order, each of shape (rows,).
        rows_total: Rows of all instruments that are about to be computed with these features: it
            decides the host, not the result. Left out, the rows of `columns`.

    Returns:
        A float64 column of shape (rows,) a feature, in the order of `features`; NaN where there is
        no value.

    Raises:
        StrategyError: A feature needs a column that is not there, compares instruments, or raises.
        DataError: The columns of a feature differ in length, or one holds no numbers.
    """
    for each in features.values():
        if isinstance(each, CrossSection):
            each.start_state()  # says why it can't be
    inputs = {name: select_inputs(name, each, columns) for name, each in features.items()}
    rows = max((len(each[0]) for each in inputs.values()), default=0)
    updates = sum(map(count_updates, features.values())) * (
        rows if rows_total is None else rows_total
    )
    if pays_to_compile(updates):
        from onetape.features.compiled import compute_column_compiled as compute
    else:
        compute = compute_column
    found: dict[str, FloatColumn] = {}
    for name, each in inputs.items():
        with naming(name):
            found[name] = compute(features[name], each)
    return found


@contextmanager
def naming(feature: str) -> Generator[None]:
    """What `update` raises in the block becomes a `StrategyError` that names the feature."""
    try:
        yield
    except OnetapeError:
        raise
    except Exception as error:
        raise StrategyError(
            f"raises {type(error).__name__}: {error}",
            where=f"feature {feature}",
            remedy="give math.nan where there is no value; to see it, move it over a few rows by "
            "hand: feature.start().update(...)",
        ) from error


def pays_to_compile(updates: int) -> bool:
    """Whether so many updates are worth the compiled host: it decides the time, not the result."""
    warm = "onetape.features.compiled" in sys.modules
    return updates >= (WARM_UPDATES_MIN if warm else COLD_UPDATES_MIN)


def count_updates(estimator: Estimator) -> int:
    """How many times a bar calls `update`: once for each estimator of an expression."""
    return len(estimator.plan.nodes) if isinstance(estimator, Expression) else 1


def compute_column(estimator: Estimator, inputs: tuple[FloatColumn, ...]) -> FloatColumn:
    """The estimator's value at every row of its inputs, by the Python host."""
    if isinstance(estimator, Timeframed):
        return estimator.compute_column(inputs, compute_column)
    if isinstance(estimator, Expression):
        return estimator.plan.compute(inputs, compute_column)
    update = partial(type(estimator).update, estimator.start_state())
    values = map(update, *(column.tolist() for column in inputs))
    return np.fromiter(values, dtype=np.float64, count=len(inputs[0]))


def select_inputs(
    feature: str, estimator: Estimator, columns: Mapping[str, npt.NDArray[Any]]
) -> tuple[FloatColumn, ...]:
    """The inputs of one estimator as writable contiguous float64 columns of one length.

    Raises:
        StrategyError: It needs a column that is not there.
        DataError: Its columns differ in length, or one holds no numbers.
    """
    for name in estimator.inputs:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            meant = f"did you mean {near[0]}? " if near else ""
            raise StrategyError(
                f"there is no column {name!r}",
                where=f"feature {feature}",
                remedy=f"{meant}columns: {', '.join(columns)}",
            )
        if columns[name].dtype.kind not in "iufb":
            raise DataError(
                f"column {name!r} is of {columns[name].dtype}",
                where=f"feature {feature}",
                remedy="features are of numbers: float64 or whole",
            )
    # Writable, because the compiled host would compile once more for read-only columns.
    inputs = tuple(
        np.require(columns[name], np.float64, ["C", "A", "W"]) for name in estimator.inputs
    )
    lengths = {name: len(column) for name, column in zip(estimator.inputs, inputs, strict=True)}
    if len(set(lengths.values())) > 1:
        raise DataError(f"columns differ in length: {lengths}", where=f"feature {feature}")
    return inputs
