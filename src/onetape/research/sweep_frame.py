"""The rows of sets.parquet: number and params of a set, every figure, and what became of it.

Columns are named as in `PerformanceSummary`. Money is there twice: `x_minor` as exact integers in
1e-8 of the currency (null beyond int64), `x` as float64. A param with the name of another column
has `param_` before its name. A set that could not be run has no figures, and says why in `failed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

from onetape.domain.numbers import E8, INT64_MAX
from onetape.portfolio.performance import Floats
from onetape.portfolio.performance_summary import PerformanceSummary
from onetape.research.grid import Grid
from onetape.research.sweep_metric import Metric
from onetape.research.sweep_pool import NumberedSet
from onetape.research.sweep_worker import SetResult

if TYPE_CHECKING:
    import polars as pl

NUMBER = "set"
RETURNS = "returns"
_HINTS = get_type_hints(PerformanceSummary)
_MONEY = frozenset(name for name, hint in _HINTS.items() if Decimal in (hint, *get_args(hint)))
_FIGURES = tuple(_HINTS)
_OTHERS = (NUMBER, "orders", "denied", "quarantined", "failed", RETURNS)
_TAKEN = {*_FIGURES, *(f"{name}_minor" for name in _MONEY), *_OTHERS}


class SetRows:
    """Builds frames of the sets of a grid.

    Args:
        grid: What varies.
        kinds: Type name of each param that varies.
    """

    def __init__(self, grid: Grid, kinds: Sequence[str]) -> None:
        import polars as pl

        types: dict[str, Any] = {
            "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "str": pl.String,
        }  # fmt: skip
        self.params = tuple(name_column(name) for name in grid.names)
        self._schema: dict[str, Any] = {NUMBER: pl.Int64}
        self._schema |= {name: types[kind] for name, kind in zip(self.params, kinds, strict=True)}
        for name in _FIGURES:
            if name in _MONEY:
                self._schema |= {f"{name}_minor": pl.Int64, name: pl.Float64}
            elif name.startswith("ts_"):
                self._schema[name] = pl.Datetime("ns", "UTC")
            else:
                kinds_of = (_HINTS[name], *get_args(_HINTS[name]))
                self._schema[name] = types["int" if int in kinds_of else kinds_of[0].__name__]
        self._schema |= dict.fromkeys(("orders", "denied"), pl.Int64)
        self._schema |= dict.fromkeys(("quarantined", "failed"), pl.String)

    def make(self, each: NumberedSet, result: SetResult) -> tuple[Any, ...]:
        """The row of a set."""
        return (each.number, *each.values, *_cells(result))

    def build(self, rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
        """A frame of rows."""
        import polars as pl

        return pl.DataFrame(rows, schema=self._schema, orient="row")

    def add_returns(self, frame: pl.DataFrame, returns: Mapping[int, Floats]) -> pl.DataFrame:
        """The frame with the returns of some sets, by number, as a last column of lists."""
        import polars as pl

        lists = [
            pl.Series(returns[number]) if number in returns else None for number in frame[NUMBER]
        ]
        return frame.with_columns(pl.Series(RETURNS, lists, dtype=pl.List(pl.Float64)))


def name_column(param: str) -> str:
    """The column of a param."""
    return f"param_{param}" if param in _TAKEN else param


def rank_result(result: SetResult, metric: Metric) -> float | None:
    """The metric of a result such that more is better; None where `ranking` is null."""
    if isinstance(result, str) or result.quarantined:
        return None
    return metric.rank(getattr(result.summary, metric.field))


def ranking(metric: Metric) -> pl.Expr:
    """The metric such that more is better; null where it is undefined or the strategy raised."""
    import polars as pl

    value = pl.col(metric.field).cast(pl.Float64)
    counts = value.is_not_nan() & (pl.col("quarantined") == "") & (pl.col("failed") == "")
    return pl.when(counts).then(value if metric.higher_is_better else -value)


def best_first(frame: pl.LazyFrame, metric: Metric, count: int) -> pl.LazyFrame:
    """The best sets, best first; what can't be ranked comes last, ties in the order of the grid."""
    import polars as pl

    keys = (ranking(metric), pl.col("failed") != "", pl.col(NUMBER))
    return frame.sort(*keys, descending=[True, False, False], nulls_last=True).head(count)


def _cells(result: SetResult) -> tuple[Any, ...]:
    """The cells of a row behind its params."""
    if isinstance(result, str):
        return (*[None] * (len(_FIGURES) + len(_MONEY) + 2), "", result)
    cells: list[Any] = []
    for name in _FIGURES:
        value = getattr(result.summary, name)
        if name not in _MONEY:
            cells.append(value)
        elif value is None:
            cells += (None, None)
        else:
            minor = int(value * E8)
            cells += (minor if abs(minor) <= INT64_MAX else None, float(value))
    return (*cells, result.orders, result.denied, result.quarantined, "")
