"""After ten million bars at scales from 1e12 to 1e-12 a windowed feature is as exact as at first.

The formulas are those of the prefix tests.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from onetape.features import AccumulationDistribution, Obv
from onetape.features.columns import select_inputs
from onetape.features.compiled import compute_column_compiled
from tests.property import test_feature_formulas as formulas
from tests.property.test_feature_formulas import Case, Row, is_near

Column = npt.NDArray[np.float64]

ROWS = 10_000_000
WINDOW = 20


@pytest.fixture(scope="module")
def bars() -> dict[str, Column]:
    """Closes of one scale for a quarter each: 1e12, 1, 1e-12, and all of them mixed."""
    rng = np.random.default_rng(11)
    close = np.exp(rng.normal(0, 0.1, ROWS))
    quarter = ROWS // 4
    close[:quarter] *= 1e12
    close[2 * quarter : 3 * quarter] *= 1e-12
    close[3 * quarter :] *= 10.0 ** rng.integers(-12, 13, ROWS - 3 * quarter)
    high = close * (1 + 0.1 * rng.random(ROWS))
    low = close * (1 - 0.1 * rng.random(ROWS))
    volume = rng.integers(0, 1000, ROWS).astype(np.float64)
    return {"open": close, "high": high, "low": low, "close": close, "volume": volume}


@pytest.mark.parametrize("case", formulas.WINDOWED, ids=formulas.name_case)
def test_windowed_feature_after_ten_million_bars_is_its_formula(
    case: Case, bars: dict[str, Column]
) -> None:
    feature = case.make(WINDOW)
    ours = compute_column_compiled(feature, select_inputs("it", feature, bars))
    rng = np.random.default_rng(12)
    sampled = [*rng.integers(WINDOW, ROWS, 60), *rng.integers(ROWS - 1000, ROWS, 20), ROWS - 1]
    for last in map(int, sampled):
        seen = slice(last + 1 - feature.warm_up, last + 1)
        opens, highs, lows, closes, volumes = (
            bars[name][seen].tolist() for name in ("open", "high", "low", "close", "volume")
        )
        rows = list(map(Row, opens, highs, lows, closes, volumes, [0.0] * len(opens)))
        expected = case.formula(rows, WINDOW)
        assert is_near(float(ours[last]), expected), (last, ours[last], expected)


def test_totals_of_ten_million_bars_are_exact_sums(bars: dict[str, Column]) -> None:
    """Cumulative ones have no window: they sum with what rounding loses (Neumaier)."""
    rng = np.random.default_rng(13)
    volume = rng.random(ROWS) * 10.0 ** rng.integers(-3, 9, ROWS)
    columns = {**bars, "volume": volume}
    obv = compute_column_compiled(Obv(), select_inputs("it", Obv(), columns))
    signs = np.sign(np.diff(bars["close"]))
    assert obv[-1] == math.fsum((signs * volume[1:]).tolist())
    assert np.cumsum(signs * volume[1:])[-1] != obv[-1]
    line = AccumulationDistribution()
    ours = compute_column_compiled(line, select_inputs("it", line, columns))
    high, low, close = (bars[name] for name in ("high", "low", "close"))
    flows = ((close - low) - (high - close)) / (high - low) * volume
    assert ours[-1] == math.fsum(flows.tolist())
