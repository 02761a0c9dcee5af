"""Which figure ranks sets, and which way is better."""

from __future__ import annotations

from decimal import Decimal

import pytest

from onetape.domain.errors import ConfigError
from onetape.portfolio.performance_summary import PerformanceSummary
from onetape.research.sweep_metric import METRICS, SAME_IN_ALL_SETS, SHORT_NAMES, find_metric


def test_every_figure_is_a_metric_or_the_same_in_all_sets() -> None:
    assert set(METRICS) | SAME_IN_ALL_SETS == set(PerformanceSummary.__struct_fields__)
    assert set(METRICS) & SAME_IN_ALL_SETS == set()


@pytest.mark.parametrize(
    ("name", "field", "higher"),
    [
        ("sharpe", "sharpe_ratio", True),
        ("sortino", "sortino_ratio", True),
        ("calmar", "calmar_ratio", True),
        ("return", "total_return", True),
        ("drawdown", "max_drawdown", True),
        ("volatility", "annual_volatility", False),
        ("fees", "fees", False),
        ("win_ratio", "win_ratio", True),
    ],
)
def test_metric_is_found_by_short_and_by_full_name(name: str, field: str, higher: bool) -> None:
    metric = find_metric(name)
    assert (metric.field, metric.higher_is_better) == (field, higher)
    assert find_metric(field) is metric


def test_short_names_lead_to_metrics() -> None:
    assert set(SHORT_NAMES.values()) <= set(METRICS)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("sharp", "did you mean 'sharpe'?"),
        ("max_drawdwn", "did you mean 'max_drawdown'?"),
        ("", "known: sharpe, sortino"),
        ("returns_clock", "is the same in all sets"),
        ("deposited", "is the same in all sets"),
    ],
)
def test_another_name_is_an_error_with_the_nearest(name: str, part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_metric(name)
    assert part in str(caught.value)


def test_rank_is_a_number_of_which_more_is_better() -> None:
    sharpe, fees = find_metric("sharpe"), find_metric("fees")
    assert sharpe.rank(1.5) == 1.5
    assert fees.rank(Decimal("1.5")) == -1.5
    assert sharpe.rank(float("nan")) is sharpe.rank(None) is None


def test_values_are_shown_in_their_unit() -> None:
    shown = {name: find_metric(name).show(0.125) for name in ("sharpe", "return", "profit")}
    assert shown == {"sharpe": "0.12", "return": "12.50 %", "profit": "0.12"}
    assert find_metric("max_drawdown_duration_ns").show(86_400_000_000_000) == "1 d"
    assert find_metric("round_trips").show(1234) == "1,234"
    assert find_metric("sharpe").show(float("nan")) == find_metric("fees").show(None) == "–"
