"""`Hurst` looks at the corners of the path only; it is as if it had looked at every point."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from onetape.features import Hurst
from onetape.features.columns import compute_column
from onetape.features.compiled import compute_column_compiled

Column = npt.NDArray[np.float64]

ROWS = 700
RNG = np.random.default_rng(31)
STEPS = np.arange(ROWS) / ROWS
PATHS: dict[str, npt.NDArray[Any]] = {
    "walk": np.cumsum(RNG.normal(0, 0.01, ROWS)),
    "grid": np.cumsum(RNG.integers(-1, 2, ROWS)) * 0.5,
    "convex": 3 * STEPS**2,
    "concave": np.sqrt(STEPS),
    "waves": np.sin(40 * STEPS),
    "trend": 5 * STEPS + 1e-4 * RNG.normal(size=ROWS),
    "turns": np.arange(ROWS) % 2 * 0.01 + 1e-6 * RNG.normal(size=ROWS),
    "jumps": np.cumsum(RNG.normal(0, 1e-3, ROWS) + 5.0 * (RNG.random(ROWS) < 0.02)),
    "quiet": np.where(STEPS < 0.5, 0.0, np.cumsum(RNG.normal(0, 1e-5, ROWS))),
}
"""Logarithms of prices: with few corners, with every point a corner, with ties, and outliers."""


def look_at_every_point(close: Column, window: int) -> Column:
    """The rescaled range by its definition, for each window by itself."""
    good = np.where((close > 0) & (close < math.inf), close, math.nan)
    changes = np.log(good[1:] / good[:-1])
    found = np.full(len(close), math.nan)
    for last in range(window, len(close)):
        part = changes[last - window : last]
        off = part - part.mean()
        path = np.concatenate([[0.0], np.cumsum(off)])
        if np.ptp(part) > 1e-9:
            ratio = float(np.ptp(path)) / float(np.sqrt(np.mean(off**2)))
            found[last] = math.log(ratio) / math.log(window / 2)
    return found


@pytest.mark.parametrize("path", PATHS)
def test_hurst_is_that_of_every_point_of_its_window(path: str) -> None:
    close: Column = 100 * np.exp(PATHS[path])
    for window in (8, 9, 33, 100, 250):
        ours = compute_column_compiled(Hurst(window), (close,))
        expected = look_at_every_point(close, window)
        known = ~np.isnan(expected)
        assert known.any()
        np.testing.assert_allclose(ours[known], expected[known], rtol=0, atol=1e-8)
        assert np.isnan(ours[:window]).all()


def test_hurst_has_the_same_bits_in_python_and_forgets_what_is_no_price() -> None:
    close: Column = 100 * np.exp(PATHS["walk"])
    close[[90, 99, 100, 101, 333, 450, 451]] = [math.nan, 0.0, -1.0, math.inf, 0.0, math.nan, 1e308]
    for window in (8, 33):
        ours = compute_column_compiled(Hurst(window), (close,))
        assert ours.tobytes() == compute_column(Hurst(window), (close,)).tobytes()
        expected = look_at_every_point(close, window)
        assert (np.isnan(ours) == np.isnan(expected)).all()
        np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-8)
