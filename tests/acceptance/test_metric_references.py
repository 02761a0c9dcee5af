"""Our statistics against numbers from the tests of empyrical-reloaded (`metrics/` of the data)."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest

from onetape.portfolio import performance
from tests.support.shared_data import SHARED, needs_shared

REFERENCE = SHARED / "metrics" / "reference_metrics.json"
DATA: dict[str, Any] = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {"cases": []}

FUNCTIONS = {
    "cum_return_final": performance.cumulative_return,
    "max_drawdown": performance.max_drawdown,
    "annual_return": performance.annual_return,
    "annual_volatility": performance.annual_volatility,
    "sharpe_ratio": performance.sharpe_ratio,
    "sortino_ratio": performance.sortino_ratio,
    "calmar_ratio": performance.calmar_ratio,
    "downside_risk": performance.downside_risk,
    "value_at_risk": performance.value_at_risk,
}


def series(case: dict[str, Any], key: str = "series") -> np.ndarray:
    values = case["values"] if "values" in case else DATA["series"][case[key]]
    return np.array([np.nan if each is None else each for each in values], dtype=np.float64)


@needs_shared
def test_reference_metrics_are_all_there() -> None:
    assert len(DATA["cases"]) == 13


@needs_shared
@pytest.mark.parametrize(
    "case", DATA["cases"], ids=lambda case: f"{case['metric']}-{case.get('series', 'values')}"
)
def test_metric_on_reference_series_gives_reference_value(case: dict[str, Any]) -> None:
    if case["metric"] == "beta":
        value = performance.beta(case["scale"] * series(case), series(case, "benchmark_series"))
    else:
        function = FUNCTIONS[case["metric"]]
        known = inspect.signature(function).parameters
        value = function(series(case), **{name: case[name] for name in known if name in case})
    assert value == pytest.approx(case["expected"], abs=case["tol"], rel=0)
