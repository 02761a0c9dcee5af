"""Metrics: the figures by which the sets of a sweep are ranked, and which way is better."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

from onetape.domain.errors import ConfigError
from onetape.domain.nearest import nearest
from onetape.portfolio.performance_summary import PerformanceSummary
from onetape.research import report_format as text

_COUNT: Callable[[Any], str] = lambda value: text.count(int(value))  # noqa: E731
_SPAN: Callable[[Any], str] = lambda value: text.duration(int(value))  # noqa: E731


class Metric(NamedTuple):
    """A figure of `PerformanceSummary` that ranks sets.

    Attributes:
        field: Its name there and in sets.parquet.
        label: Its name for people.
        higher_is_better: Which way the best set lies.
        format: Its value as text.
    """

    field: str
    label: str
    higher_is_better: bool
    format: Callable[[Any], str]

    @property
    def kind(self) -> str:
        """How an axis of a chart shows it, as a format of d3; empty: as plain numbers."""
        return ".0%" if self.format is text.percent else ""

    def show(self, value: Any) -> str:
        """A value as text; a dash where it is not defined."""
        return text.DASH if value is None or value != value else self.format(value)

    def rank(self, value: float | Decimal | None) -> float | None:
        """The value as a number of which more is better; None where it is not defined."""
        if value is None or value != value:
            return None
        return float(value) if self.higher_is_better else -float(value)

    def value(self, rank: float | None) -> float:
        """The value of a rank; NaN where there is none."""
        if rank is None:
            return math.nan
        return rank if self.higher_is_better else -rank


METRICS = {
    each.field: each
    for each in (
        Metric("sharpe_ratio", "Sharpe", True, text.ratio),
        Metric("sortino_ratio", "Sortino", True, text.ratio),
        Metric("calmar_ratio", "Calmar", True, text.ratio),
        Metric("total_return", "Total return", True, text.percent),
        Metric("annual_return", "Annual return", True, text.percent),
        Metric("annual_volatility", "Volatility, annual", False, text.percent),
        Metric("max_drawdown", "Max drawdown", True, text.percent),
        Metric("max_drawdown_duration_ns", "Drawdown length", False, _SPAN),
        Metric("max_drawdown_slices", "Drawdown slices", False, _COUNT),
        Metric("net_profit", "Net profit", True, text.money),
        Metric("equity", "Final equity", True, text.money),
        Metric("time_exposure_ratio", "Time in market", False, text.percent),
        Metric("average_gross_exposure_ratio", "Average exposure", False, text.percent),
        Metric("annual_turnover_ratio", "Turnover a year", False, text.ratio),
        Metric("round_trips", "Round trips", True, _COUNT),
        Metric("open_round_trips", "Open round trips", False, _COUNT),
        Metric("win_ratio", "Win rate", True, text.percent),
        Metric("profit_factor", "Profit factor", True, text.ratio),
        Metric("expectancy", "Expectancy", True, text.money),
        Metric("average_duration_ns", "Average trip", True, _SPAN),
        Metric("best_round_trip", "Best trip", True, text.money),
        Metric("worst_round_trip", "Worst trip", True, text.money),
        Metric("fills", "Fills", True, _COUNT),
        Metric("traded_notional", "Traded notional", True, text.money),
        Metric("fees", "Fees", False, text.money),
        Metric("fee_turnover_ratio", "Fees of traded notional", False, text.percent),
    )
}
"""By field. Reward and activity rank upwards; risk and cost downwards."""

SAME_IN_ALL_SETS = frozenset(
    {"ts_start", "ts_end", "slices", "returns_clock", "periods_per_year", "periods", "deposited"}
)
"""Figures that follow from data and capital, so they rank nothing."""

SHORT_NAMES = {
    "sharpe": "sharpe_ratio",
    "sortino": "sortino_ratio",
    "calmar": "calmar_ratio",
    "return": "total_return",
    "drawdown": "max_drawdown",
    "volatility": "annual_volatility",
    "profit": "net_profit",
}


def find_metric(name: str) -> Metric:
    """The metric of a field or a short name.

    Raises:
        ConfigError: There is none; the nearest is named.
    """
    metric = METRICS.get(SHORT_NAMES.get(name, name))
    if metric is None:
        if name in PerformanceSummary.__struct_fields__:
            raise ConfigError(f"--metric {name} is the same in all sets",
                              remedy="rank by another figure, like sharpe")  # fmt: skip
        raise ConfigError(f"--metric {name!r} is no figure of a run",
                          remedy=nearest(name, [*SHORT_NAMES, *METRICS]))  # fmt: skip
    return metric
