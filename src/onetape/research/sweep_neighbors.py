"""How stable a set is: the metric over its neighbors in the grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from onetape.research.grid import Axis, Value
from onetape.research.sweep_frame import NUMBER, name_column, ranking
from onetape.research.sweep_metric import Metric

if TYPE_CHECKING:
    import polars as pl

MEANING = (
    "Where the neighbors of a set (at most one step away in each param) do about as well, it "
    "stands on a plateau; where they fall off, its figure is more likely luck."
)


class Neighborhood(NamedTuple):
    """The metric over the neighbors of a set that have one; None where none has.

    Attributes:
        sets: How many they are.
        median: Of the metric.
        worst: The metric of the worst of them.
    """

    sets: int
    median: float | None
    worst: float | None


def find_neighborhoods(
    sets: pl.LazyFrame, axes: Sequence[Axis], metric: Metric, rows: pl.DataFrame
) -> list[Neighborhood]:
    """The neighborhood of each of `rows`, which are sets of `sets`.

    A step leads to the next larger or smaller value of a number. Text and yes-or-no params have no
    order, so neighbors have the same.
    """
    import polars as pl

    wanted = [
        sets.filter(_is_near(axes, row) & (pl.col(NUMBER) != row[NUMBER]))
        .select(rank=ranking(metric))
        .drop_nulls()
        for row in rows.iter_rows(named=True)
    ]
    found: list[Neighborhood] = []
    for frame in pl.collect_all(wanted, engine="streaming"):
        ranks = frame["rank"].to_numpy()
        if len(ranks):
            median, worst = metric.value(float(np.median(ranks))), metric.value(float(ranks.min()))
            found.append(Neighborhood(len(ranks), median, worst))
        else:
            found.append(Neighborhood(0, None, None))
    return found


def _is_near(axes: Sequence[Axis], row: dict[str, Any]) -> pl.Expr:
    import polars as pl

    return pl.all_horizontal(
        pl.col(name_column(axis.name)).is_in(_around(axis, row[name_column(axis.name)]))
        for axis in axes
    )


def _around(axis: Axis, value: Value) -> list[Value]:
    """A value, and those beside it."""
    if isinstance(value, bool | str):
        return [value]
    values = sorted(axis.values) if isinstance(axis.values, tuple) else axis.values
    at = values.index(value)
    return [values[near] for near in range(max(at - 1, 0), min(at + 2, len(values)))]
