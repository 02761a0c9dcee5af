"""Values of params as people write them, and every combination of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onetape.domain.errors import ConfigError, FixInput
from onetape.research.grid import Axis, Grid, Steps, read_axis, split_param
from onetape.strategy.declaration import Param

INT = Param(10, ge=2, le=1_000, type_name="int")
FLOAT = Param(1.0, gt=0, type_name="float")
BOOL = Param(default=False, type_name="bool")
TEXT = Param("ema", choices=("ema", "sma"), type_name="str")
WIDE = Param(0.0, type_name="float")


def values(given: object, declared: Param = INT) -> list[Any]:
    return list(read_axis("p", given, declared).values)


@pytest.mark.parametrize(
    ("text", "declared", "wanted"),
    [
        ("5:50:5", INT, [5, 10, 15, 20, 25, 30, 35, 40, 45, 50]),
        ("5:50:20", INT, [5, 25, 45]),
        ("50:5:-15", INT, [50, 35, 20, 5]),
        ("7:7:3", INT, [7]),
        ("10", INT, [10]),
        ("10, 5 ,20", INT, [10, 5, 20]),
        ("1e2,2", INT, [100, 2]),
        ("0.1:0.5:0.1", FLOAT, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("0.1:0.55:0.1", FLOAT, [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("2", FLOAT, [2.0]),
        ("1e-05,0.3", FLOAT, [1e-05, 0.3]),
        ("-1:1:0.5", WIDE, [-1.0, -0.5, 0.0, 0.5, 1.0]),
        ("true,false", BOOL, [True, False]),
        ("sma,ema", TEXT, ["sma", "ema"]),
    ],
)
def test_text_becomes_values_of_the_declared_type(
    text: str, declared: Param, wanted: list[Any]
) -> None:
    found = values(text, declared)
    assert found == wanted
    assert [*map(type, found)] == [*map(type, wanted)]


@pytest.mark.parametrize(
    ("given", "declared", "wanted"),
    [
        (range(5, 51, 15), INT, [5, 20, 35, 50]),
        (range(1, 4), FLOAT, [1.0, 2.0, 3.0]),
        ([5, 10], INT, [5, 10]),
        (np.array([5, 10]), INT, [5, 10]),
        (np.linspace(0.5, 1.5, 3), FLOAT, [0.5, 1.0, 1.5]),
        ((np.int64(3), np.int32(4)), INT, [3, 4]),
        (7, INT, [7]),
        (np.float64(0.5), FLOAT, [0.5]),
        (True, BOOL, [True]),
        ((each for each in (2, 3)), INT, [2, 3]),
    ],
)
def test_python_values_become_values_of_the_declared_type(
    given: object, declared: Param, wanted: list[Any]
) -> None:
    found = values(given, declared)
    assert found == wanted
    assert [*map(type, found)] == [*map(type, wanted)]


@pytest.mark.parametrize(
    ("given", "declared", "part"),
    [
        ("5:50", INT, "'5:50' is not start:stop:step"),
        ("5:50:5:5", INT, "is not start:stop:step"),
        ("5:50:0", INT, "never gets from 5 to 50"),
        ("5:50:-5", INT, "never gets from 5 to 50"),
        ("5:ten:5", INT, "'ten' is not a number"),
        ("5:50:2.5", INT, "2.5 is not a whole number"),
        ("5:50:nan", INT, "is not finite"),
        ("5,,6", INT, "'5,,6' has an empty value"),
        ("2.5", INT, "2.5 is not a whole number"),
        ("5,6,5", INT, "5 comes twice"),
        ("1,2", INT, "1 is out of range (must be >= 2, <= 1000)"),
        ("2:1001:1", INT, "1001 is out of range"),
        ("1:2000:7", INT, "1 is out of range"),
        ("2:1e12:0.1", INT, "has 9,999,999,999,981 values"),
        ("0:1e30:1", WIDE, "values (give a larger step)"),
        ("1e999999999", WIDE, "is more than a float64 holds"),
        ("0:1:1e-999999999", WIDE, "is more than a float64 holds"),
        ("yes", BOOL, "'yes' is not true or false"),
        ("wma", TEXT, "'wma' is out of range (must be one of 'ema', 'sma')"),
        ([], INT, "there are no values"),
        (range(0), INT, "there are no values"),
        ({5, 6}, INT, "a set has no order"),
        ([5.0], INT, "5.0 is not of type int"),
        (["5"], INT, "'5' is not of type int"),
        ([None], INT, "None is not of type int"),
        ([float("inf")], WIDE, "inf is not finite"),
        ([float("nan")], WIDE, "nan is not of type float"),
        ([2**63], Param(1, type_name="int"), "is more than int64 holds"),
        (range(2**63 - 2, 2**63 + 1), Param(1, type_name="int"), "is more than int64 holds"),
    ],
)
def test_values_that_make_no_sense_are_one_error_that_names_the_param(
    given: object, declared: Param, part: str
) -> None:
    with pytest.raises(FixInput) as caught:
        read_axis("p", given, declared)
    assert part in str(caught.value)
    assert "--param p" in str(caught.value)


@pytest.mark.parametrize("text", ["fast", "fast=", "=5", ""])
def test_param_without_name_or_values_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="is not name=values"):
        split_param(text)


def test_param_is_split_at_its_first_sign() -> None:
    assert split_param("mode = a=b") == ("mode", "a=b")


def test_a_long_range_is_neither_listed_nor_checked_one_by_one() -> None:
    axis = read_axis("p", "0:100000:0.000001", Param(0.0, ge=0, le=100_000, type_name="float"))
    assert len(axis.values) == 100_000_000_001
    assert axis.values[-1] == 100_000.0
    assert axis.values[3] == 0.000003
    assert axis.describe() == {
        "name": "p", "first": 0.0, "second": 1e-06, "last": 100_000.0, "count": 100_000_000_001,
    }  # fmt: skip


def test_a_range_that_choices_do_not_hold_ends_at_the_first_wrong_value() -> None:
    with pytest.raises(FixInput, match=r"3.0 is out of range"):
        read_axis("p", "1:1e11:1", Param(1.0, choices=(1.0, 2.0), type_name="float"))


def test_a_grid_of_trillions_gives_its_first_combinations_at_once() -> None:
    grid = Grid([Axis("a", range(10**9)), Axis("b", range(10**9)), Axis("c", (1, 2))])
    assert grid.combinations == 2 * 10**18
    assert list(itertools.islice(grid, 3)) == [(0, 0, 1), (0, 0, 2), (0, 1, 1)]


def scalars() -> st.SearchStrategy[Any]:
    return st.one_of(st.integers(-5, 5), st.floats(-2, 2), st.booleans(), st.text(max_size=2))


@given(st.lists(st.lists(scalars(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_grid_has_the_combinations_of_itertools_product(columns: list[list[Any]]) -> None:
    grid = Grid([Axis(f"p{at}", column) for at, column in enumerate(columns)])
    wanted = list(itertools.product(*columns))
    assert list(grid) == wanted
    assert list(grid) == wanted  # again: nothing is used up
    assert grid.combinations == len(wanted)
    assert grid.names == tuple(f"p{at}" for at in range(len(columns)))


def naive_range(start: Decimal, stop: Decimal, step: Decimal) -> Iterator[Fraction]:
    value = Fraction(start)
    while value <= Fraction(stop) if step > 0 else value >= Fraction(stop):
        yield value
        value += Fraction(step)


numbers = st.decimals(-10, 10, places=2)


@given(numbers, numbers, st.decimals("0.01", 5, places=2), st.booleans())
def test_range_has_the_values_of_a_naive_loop(
    start: Decimal, stop: Decimal, step: Decimal, down: bool
) -> None:
    low, high = sorted((start, stop))
    start, stop, step = (high, low, -step) if down else (low, high, step)
    found = values(f"{start}:{stop}:{step}", WIDE)
    assert found == [float(value) for value in naive_range(start, stop, step)]


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 20))
def test_range_of_whole_numbers_is_that_of_python(start: int, stop: int, step: int) -> None:
    low, high = sorted((start, stop))
    declared = Param(0, type_name="int")
    assert values(f"{low}:{high}:{step}", declared) == list(range(low, high + 1, step))


@given(st.fractions(-3, 3, max_denominator=100), st.integers(1, 30), st.integers(0, 40))
def test_steps_find_the_position_of_their_values_and_of_no_other(
    start: Fraction, count: int, at: int
) -> None:
    steps = Steps(start, Fraction(1, 7), count)
    assert [steps.index(value) for value in steps] == list(range(count))
    if at >= count:
        with pytest.raises(ValueError, match="not on the axis"):
            steps.index(float(start + Fraction(at, 7)))
    with pytest.raises(ValueError, match="not on the axis"):
        steps.index(steps[0] + 0.01)
    assert steps[-1] == steps[count - 1]
    assert steps[: count // 2] == list(steps)[: count // 2]
    with pytest.raises(IndexError):
        steps[count]
