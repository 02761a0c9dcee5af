from __future__ import annotations

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.features.exponential import compute_exp


@settings(max_examples=2_000, deadline=None)
@given(st.floats(-700, 700) | st.floats(-1, 1))
def test_exponential_is_within_two_units_of_the_last_place(value: float) -> None:
    expected = math.exp(value)
    assert abs(compute_exp(value) - expected) <= 2 * math.ulp(expected)


def test_exponential_at_the_ends() -> None:
    assert compute_exp(0.0) == 1.0
    assert compute_exp(-701.0) == compute_exp(-math.inf) == 0.0
    assert math.isnan(compute_exp(701.0))
    assert math.isnan(compute_exp(math.nan))
