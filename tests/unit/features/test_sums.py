from __future__ import annotations

import math

import numpy as np

from onetape.features.sums import SumState, TotalState, update_sum, update_total


def test_window_sum_forgets_what_has_left() -> None:
    state = SumState(window=3, ring=[math.nan] * 3)
    values = [update_sum(state, value) for value in (1.0, 2.0, 4.0, 1e300, 5.0, 6.0, 7.0)]
    assert all(map(math.isnan, values[:2]))
    assert values[2] == 7.0
    assert values[-1] == 18.0


def test_total_keeps_what_rounding_loses() -> None:
    noise = np.random.default_rng(1).normal(0, 1, 10_000).tolist()
    for values in ([1e100, 1.0, -1e100], [1.0, 1e100, -1e100], noise):
        state = TotalState()
        totals = [update_total(state, value) for value in values]
        assert totals[-1] == math.fsum(values)
