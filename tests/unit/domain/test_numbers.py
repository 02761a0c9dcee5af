"""`count_steps` answers as `to_grid` does, or leaves it to it."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import FixInput
from onetape.domain.instrument import make_equity
from onetape.domain.numbers import INT64_MAX, count_steps, to_grid, to_minor

PER_UNIT = st.integers(0, 8).map(lambda digits: 10**digits)


def count_exactly(value: float, per_unit: int) -> int | None:
    try:
        return to_grid(value, 1 / Decimal(per_unit), "it")
    except FixInput:
        return None


@given(st.floats() | st.floats(-1e9, 1e9) | st.integers(), PER_UNIT)
def test_count_steps_of_any_number_says_what_to_grid_says_or_nothing(value, per_unit):
    assert count_steps(value, per_unit) in (None, count_exactly(value, per_unit))


@given(st.integers(-(2**51), 2**51), PER_UNIT)
def test_count_steps_of_the_float_nearest_to_a_step_finds_it(count, per_unit):
    value = count / per_unit
    assert count_steps(value, per_unit) == count == count_exactly(value, per_unit)
    assert count_steps(np.float64(value), per_unit) == count


@pytest.mark.parametrize(
    ("value", "per_unit", "count"),
    [
        (0.07, 100, 7),  # 0.07 * 100 is 7.000000000000001
        (-0.29, 100, -29),
        (0.0, 100, 0),
        (3, 100, 300),
        (INT64_MAX, 1, INT64_MAX),
        (INT64_MAX, 2, None),
        (0.075, 100, None),
        (4.6e15, 1, None),  # there the shortest number decides
        (1.0, 0, None),
        (1, 0, None),
        (float("inf"), 1, None),
        (float("nan"), 1, None),
        (True, 1, None),
        ("7", 1, None),
    ],
)
def test_count_steps_of_a_value_counts_or_leaves_it(value, per_unit, count):
    assert count_steps(value, per_unit) == count
    assert type(count_steps(value, per_unit)) is type(count)


def test_amount_finer_than_a_minor_unit_is_refused():
    assert to_minor(1234.5, "cash") == 123_450_000_000
    with pytest.raises(FixInput, match="cash 1e-09 is off the grid"):
        to_minor(1e-9, "cash")


@given(st.integers(0, 2**52 - 1))
def test_ticks_as_float_are_the_float_nearest_to_the_price(ticks):
    for tick_size in ("0.01", "0.00000001", "0.3"):
        instrument = make_equity("AAPL.XNAS", tick_size=tick_size, lot_size="100000000")
        assert instrument.ticks_to_float(ticks) == float(instrument.ticks_to_price(ticks))
