"""Checked arithmetic gives what Python gives, to the last bit, or raises where int64 ends."""

from __future__ import annotations

import ast
import math
import struct
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from onetape.domain import checked
from onetape.domain.checked import rewrite_checked, round_count, round_decimal, sum_compensated
from onetape.domain.orders import OrderType, Side
from onetape.domain.rule_compiler import OPTIONS, Packed, RecordType, rehome
from onetape.domain.rule_definition import parse_function

LEAST, MOST = -(2**63), 2**63 - 1
EDGES = (
    0, 1, -1, 2, 3, 62, 63, 64, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**62, MOST, MOST - 1,
    LEAST, LEAST + 1, -(2**53) - 1, 3_037_000_500, -3_037_000_500,
)  # fmt: skip

words = st.one_of(st.sampled_from(EDGES), st.integers(-70, 70), st.integers(LEAST, MOST))
floats = st.one_of(
    st.sampled_from((0.0, -0.0, 0.5, -0.5, 1.5, 2.5, 2.0**53, 2.0**63, -(2.0**63), math.inf)),
    st.floats(-1e6, 1e6), st.floats(allow_nan=True, allow_infinity=True),
)  # fmt: skip


examples = settings(max_examples=200, deadline=None)  # the first call compiles


@cache
def compile_checked(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as a rule or a callback compiles it."""
    return njit(rehome(function, f"test_{function.__name__}"), **OPTIONS)


def bits(value: Any) -> Any:
    """Equal for the same type and bits only; every NaN is the same."""
    if isinstance(value, float):
        return "nan" if value != value else struct.pack("<d", value)
    return type(value).__name__, value


def attempt(function: Callable[..., Any], *inputs: Any) -> Any:
    """The result, or the class of what is raised."""
    try:
        return bits(function(*inputs))
    except (ArithmeticError, ValueError) as error:
        return type(error).__name__


def expect(function: Callable[..., Any], *inputs: Any) -> Any:
    """What Python says, with an error where a whole number leaves int64."""
    try:
        value = function(*inputs)
    except (ArithmeticError, ValueError) as error:
        return type(error).__name__
    if isinstance(value, int) and not LEAST <= value <= MOST:
        return "OverflowError"
    return bits(int(value) if isinstance(value, Side) else value)


# Two numbers.


def whole(code: int, a: int, b: int) -> int:
    """Operations on whole numbers that give one."""
    if code == 0:
        return a + b
    elif code == 1:
        return a - b
    elif code == 2:
        return a * b
    elif code == 3:
        return a // b
    elif code == 4:
        return a % b
    elif code == 5:
        return a >> b
    elif code == 6:
        a += b
        a *= 2
        a -= b
        return a
    return (a & b) ^ (a | 3)


def shift(a: int, b: int) -> int:
    return a << b


def fraction(code: int, a: float, b: float) -> float:
    """Operations that give a float where one number is a float, and division."""
    if code == 0:
        return a + b
    elif code == 1:
        return a - b
    elif code == 2:
        return a * b
    elif code == 3:
        return a // b
    elif code == 4:
        return a % b
    elif code == 5:
        a += b
        a *= b
        return a
    return a / b


def divide(a: int, b: int) -> float:
    return a / b


def compare(code: int, a: float, b: float) -> bool:
    if code <= 0:
        return a == b
    elif code == 1:
        return a != b
    elif code == 2:
        return a < b
    elif code == 3:
        return a <= b
    elif code == 4:
        return a > b
    elif code == 5:
        return a >= b
    elif code == 6:
        return -3 < a <= b < 9e15
    return -3 < abs(a) <= abs(b) < 9e15


@settings(examples, max_examples=600)
@given(st.integers(0, 7), words, words)
@example(0, MOST, 1)
@example(1, LEAST, 1)
@example(2, LEAST, -1)
@example(3, LEAST, -1)
@example(4, LEAST, -1)
@example(5, MOST, 64)
@example(6, 2**62, -1)
def test_whole_numbers_give_what_python_gives_or_raise_where_int64_ends(
    code: int, a: int, b: int
) -> None:
    expected = expect(whole, code, a, b)
    if code == 6 and not (LEAST <= a + b <= MOST and LEAST <= (a + b) * 2 <= MOST):
        expected = "OverflowError"
    assert attempt(compile_checked(whole), code, a, b) == expected


@examples
@given(words, words)
@example(1, 62)
@example(1, 63)
@example(-1, 62)
@example(0, 70)
def test_shift_left_is_by_0_to_62_bits(a: int, b: int) -> None:
    expected = expect(shift, a, b) if 0 <= b <= 62 else "OverflowError"
    assert attempt(compile_checked(shift), a, b) == expected


@settings(examples, max_examples=600)
@given(words, words)
@example(1_340_597_821_108_328_549, 1_000_000_007)
@example(MOST, 3)
@example(2**53 + 1, 1)
@example(1, MOST)
@example(0, LEAST + 1)
@example(2**62 + 2**9, 2**53)
def test_division_of_whole_numbers_is_correctly_rounded(a: int, b: int) -> None:
    expected = expect(divide, a, b)
    if b and LEAST in (a, b):
        expected = "OverflowError"
    assert attempt(compile_checked(divide), a, b) == expected


SMALL = (True, False, Side.BUY, Side.SELL, 3, -3)


@pytest.mark.parametrize("a", SMALL, ids=repr)
@pytest.mark.parametrize("b", SMALL, ids=repr)
def test_bools_and_members_of_int_enums_count_as_whole_numbers(a: int, b: int) -> None:
    for code in range(5):
        assert attempt(compile_checked(whole), code, a, b) == expect(whole, code, a, b)
    assert attempt(compile_checked(divide), a, b) == expect(divide, a, b)


MIXES = (
    st.tuples(floats, floats), st.tuples(words, floats), st.tuples(floats, words),
    st.tuples(st.booleans(), floats),
)  # fmt: skip


@settings(examples, max_examples=600)
@given(st.integers(0, 6), st.one_of(*MIXES))
def test_a_float_makes_floats_of_both_as_in_python(code: int, pair: tuple[Any, Any]) -> None:
    assert attempt(compile_checked(fraction), code, *pair) == expect(fraction, code, *pair)


def weigh(side: Side, a: float) -> float:
    return side * a + (a - side) * -side


def test_member_of_an_int_enum_counts_beside_a_float() -> None:
    assert compile_checked(weigh)(Side.SELL, 2.5) == weigh(Side.SELL, 2.5) == 1.0
    assert compile_checked(compare)(2, Side.SELL, 2.5) is True
    assert compile_checked(compare)(0, Side.SELL, OrderType.LIMIT) is False
    assert compile_checked(compare)(0, Side.BUY, OrderType.LIMIT) is True


def test_member_compared_with_a_float_leaves_comparisons_of_whole_numbers_as_they_are() -> None:
    """Numba keeps the code of a comparison by the types that its signature names."""

    def compile_anew(name: str) -> Callable[..., Any]:
        return njit(rehome(compare, f"test_compare_{name}"), **OPTIONS)

    assert compile_anew("first")(0, 2**53 + 1, 2.0**53) is False
    assert compile_anew("member")(0, Side.SELL, 2.5) is False
    assert compile_anew("last")(0, 2**53 + 1, 2.0**53) is False


near_words = st.one_of(words, st.integers(-3, 3).map(lambda off: 2**62 + off))


@settings(examples, max_examples=1_000)
@given(st.integers(0, 7), near_words, floats, st.booleans(), st.booleans())
@example(4, MOST, 2.0**63, False, False)
@example(0, LEAST, -(2.0**63), False, False)
@example(0, 2**53 + 1, 2.0**53, False, True)
def test_whole_numbers_are_compared_with_floats_as_they_are(
    code: int, word: int, other: float, is_near: bool, is_turned: bool
) -> None:
    if is_near:
        other = float(word)
    pair = (other, word) if is_turned else (word, other)
    if code == 7 and word == LEAST:
        code = 6
    assert attempt(compile_checked(compare), code, *pair) == expect(compare, code, *pair)


@examples
@given(st.integers(0, 7), words, words)
def test_whole_numbers_are_compared_as_in_python(code: int, a: int, b: int) -> None:
    if code == 7 and LEAST in (a, b):
        code = 6
    if code >= 6 and abs(b) > 2**53:
        b = 5
    assert attempt(compile_checked(compare), code, a, b) == expect(compare, code, a, b)


# One number.


def convert(code: int, a: float) -> int:
    if code == 0:
        return int(a)
    elif code == 1:
        return math.floor(a)
    elif code == 2:
        return math.ceil(a)
    return round(a)


def negate(a: Any) -> Any:
    return -a


def magnitude(a: Any) -> Any:
    return abs(a)


def root(a: float) -> float:
    return math.sqrt(a)


@settings(examples, max_examples=400)
@given(st.integers(0, 3), st.one_of(floats, words, st.booleans()))
@example(0, 2.0**63)
@example(1, math.nextafter(2.0**63, 0))
@example(2, -(2.0**63))
@example(3, 2.5)
@example(3, -0.5)
def test_conversion_to_a_whole_number_is_python_inside_of_int64(code: int, a: float) -> None:
    expected = expect(convert, code, a)
    if isinstance(a, float) and not -(2.0**63) <= a < 2.0**63:
        expected = "OverflowError"  # of NaN, Python raises ValueError
    assert attempt(compile_checked(convert), code, a) == expected


@examples
@given(st.one_of(words, floats, st.booleans(), st.sampled_from(Side)))
@example(LEAST)
def test_negation_and_magnitude_raise_for_the_least_number_alone(a: Any) -> None:
    for function in (negate, magnitude):
        assert attempt(compile_checked(function), a) == expect(function, a)


@examples
@given(st.one_of(floats, words))
def test_square_root_raises_for_a_negative_number(a: float) -> None:
    assert attempt(compile_checked(root), a) == expect(root, a)


# Rounding.

to_count = njit(lambda value, digits: round_count(value, digits))
to_decimal = njit(lambda value, digits: round_decimal(value, digits))


def tie(digits: int) -> st.SearchStrategy[float]:
    """Numbers near a tie: float64s beside k + 1/2 units of the last digit."""
    return st.builds(
        lambda count, steps: step_away((count + 0.5) / 10**digits, steps),
        st.integers(-(10**9), 10**9), st.integers(-2, 2),
    )  # fmt: skip


def step_away(value: float, steps: int) -> float:
    for _ in range(abs(steps)):
        value = math.nextafter(value, math.copysign(math.inf, steps))
    return value


rounded = st.integers(0, 22).flatmap(
    lambda digits: st.tuples(
        st.one_of(
            tie(digits),
            st.floats(-1e3, 1e3),
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(-(2**54), 2**54).map(lambda count: count / 2**digits),
        ),
        st.just(digits),
    )
)


@settings(examples, max_examples=3_000)
@given(rounded)
@example((2.675, 2))
@example((0.5, 0))
@example((1.5, 0))
@example((-0.0, 3))
@example((-0.001, 2))
@example((5e-324, 22))
@example((2.0**52 + 0.5, 0))
@example((-0.49999999999999994, 0))
@example((1e-22, 22))
@example((-0.049999999999999996, 1))
def test_round_to_digits_is_python(pair: tuple[float, int]) -> None:
    value, digits = pair
    if abs(value * 10.0**digits) < 2.0**53:
        assert bits(to_decimal(value, digits)) == bits(round(value, digits))
        assert to_count(value, digits) == round(Fraction(value) * 10**digits)
    else:
        with pytest.raises(OverflowError, match="15 digits"):
            to_decimal(value, digits)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_round_to_digits_keeps_what_is_not_finite(value: float) -> None:
    assert bits(to_decimal(value, 2)) == bits(round(value, 2))
    with pytest.raises(OverflowError):
        to_count(value, 2)


@pytest.mark.parametrize("digits", [-1, 23])
def test_round_knows_0_to_22_digits(digits: int) -> None:
    with pytest.raises(OverflowError, match="0 to 22 digits"):
        to_decimal(1.0, digits)


def round_any(a: float) -> float:
    return round(a, 2) + round(a, None) + 3


def test_round_without_digits_gives_a_whole_number() -> None:
    assert compile_checked(round_any)(2.675) == 2.67 + 3 + 3


# Lists, sums and targets.


def add_lists(n: int) -> tuple[list[float], list[float], int]:
    values = [1.0]
    other = values
    other += [2.0] * n
    longer = values + [3.0]  # noqa: RUF005
    longer *= 2
    return values, longer, len(other)


def test_lists_are_added_and_grown_in_place() -> None:
    got = compile_checked(add_lists)(2)
    assert got == add_lists(2) == ([1.0, 2.0, 2.0], [1.0, 2.0, 2.0, 3.0] * 2, 3)


def add_up(values: Any, start: Any) -> Any:
    return sum([each for each in values], start)  # noqa: C416


def add_some(values: Any) -> Any:
    return sum([each for each in values]) + sum(range(4)) + sum((1, 2))  # noqa: C416


@examples
@given(st.lists(words, min_size=1, max_size=4), words)
@example([2**62, 2**62], 0)
@example([MOST], 1)
def test_sum_of_whole_numbers_raises_where_int64_ends(values: list[int], start: int) -> None:
    expected = expect(add_up, values, start)
    total = start
    for each in values:
        total += each
        if not LEAST <= total <= MOST:
            expected = "OverflowError"
    assert attempt(compile_checked(add_up), np.array(values), start) == expected


@examples
@given(st.lists(st.floats(-1e9, 1e9), min_size=1))
@example([0.1] * 10)
@example([1e16, 1.0, -1e16])
def test_sum_of_floats_adds_as_this_python_does(values: list[float]) -> None:
    assert bits(compile_checked(add_up)(np.array(values), 0.5)) == bits(add_up(values, 0.5))
    assert bits(compile_checked(add_some)(np.array(values))) == bits(float(add_some(values)))


def test_sum_of_bools_counts_them() -> None:
    assert compile_checked(add_some)(np.array([True, False, True])) == 2 + 6 + 3


@examples
@given(st.lists(st.floats(-1e300, 1e300), max_size=30))
@example([0.1] * 10)
@example([1e16, 1.0, -1e16])
@example([1e308, 1e308, -1e308])
def test_compensated_sum_is_as_near_as_python_3_12_documents(values: list[float]) -> None:
    total = sum_compensated(values, 0.0)
    if math.isfinite(sum(values)) and math.isfinite(sum(map(abs, values))):
        exact = math.fsum(values)
        size = math.fsum(map(abs, values))
        assert abs(total - exact) <= abs(exact) * 2**-52 + size * len(values) ** 2 * 2**-104
    else:
        assert bits(total) == bits(sum(values))


def test_sum_in_python_3_12_keeps_what_rounding_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    def compensated(a: float, b: float) -> float:
        return sum((a, a, a, a, a, a, a, a, a, a)) + sum((1e16, b, -1e16))

    monkeypatch.setattr(checked, "_COMPENSATES", True)
    assert compile_checked(compensated)(0.1, 1.0) == 2.0


RECORD = RecordType("CheckedTest", (("count", "int"), ("ratio", "float"), ("items", "ints")))


def change(record: Any, by: int) -> int:
    record.count += by
    record.count *= 2
    record.ratio -= by
    record.ratio /= 4
    record.items[1] += by
    record.items[by % 2 + 1] -= 3
    record.items[2] //= 2
    return record.count


def test_augmented_assignment_of_attributes_and_items() -> None:
    packed = Packed(RECORD, {"count": 5, "ratio": 1.5, "items": [10, 20, 30]})
    assert compile_checked(change)(packed, 3) == 16
    assert packed.read("ratio") == -0.375
    assert packed.read("items").tolist() == [10, 23, 13]


@pytest.mark.parametrize(
    ("count", "items", "by"), [(MOST, [0, 0, 0], 1), (0, [0, MOST, 0], 1), (0, [0, 0, LEAST], 1)]
)
def test_augmented_assignment_raises_where_int64_ends(
    count: int, items: list[int], by: int
) -> None:
    packed = Packed(RECORD, {"count": count, "ratio": 0.0, "items": items})
    with pytest.raises(OverflowError):
        compile_checked(change)(packed, by)


def draw_number(record: Any) -> int:
    record.count += 1
    return record.count


def compute_once(record: Any) -> int:
    values = [1, 2, 3, 4]
    values[draw_number(record)] += 10 * draw_number(record)
    values[draw_number(record)] <<= 2
    return values[0] + 100 * values[1] + 10_000 * values[2] + 1_000_000 * values[3]


def test_target_of_an_augmented_assignment_is_computed_once_and_first() -> None:
    home = {"draw_number": compile_checked(draw_number)}
    twin = njit(rehome(compute_once, "test_compute_once_", home), **OPTIONS)
    packed = Packed(RECORD, {"count": 0, "ratio": 0.0, "items": [0, 0, 0]})
    assert twin(packed) == 1 + 100 * 22 + 10_000 * 3 + 1_000_000 * 16
    assert packed.read("count") == 3


# The source.


def commented(a: int, b: int = 3) -> int:
    """Says nothing."""
    a += b
    values: list[int] = [a]
    values[0] -= a * b
    return values[0]


def test_rewritten_source_keeps_its_lines() -> None:
    before = {getattr(each, "lineno", 3) for each in ast.walk(parse_function(commented)[1])}
    rewritten = rewrite_checked(parse_function(commented)[1], exact=True)
    lines = {
        each.value.lineno: ast.unparse(each.value)
        for each in ast.walk(rewritten)
        if isinstance(each, ast.Assign)
    }
    assert lines == {
        3: "__checked_iadd(a, b)", 4: "[a]", 5: "__checked_isub(values[0], __checked_mul(a, b))",
    }  # fmt: skip
    for each in ast.walk(rewritten):
        assert getattr(each, "lineno", 3) in before


def test_numpy_keeps_its_own_division_and_comparison_without_exact() -> None:
    source = ast.unparse(rewrite_checked(parse_function(divide)[1]))
    assert "return a / b" in source
    source = ast.unparse(rewrite_checked(parse_function(compare)[1]))
    assert "a == b" in source


def test_every_name_is_one_that_rewritten_code_calls() -> None:
    source = ast.unparse(rewrite_checked(parse_function(call_all)[1], exact=True))
    assert all(f"{name}(" in source for name in checked.NAMES)


def call_all(a: int, b: int) -> tuple[bool, ...]:
    a += b * -a + b - a // b << a >> b
    a -= b
    a *= b
    abs(a) + int(a) + round(a) + sum([a]) + math.floor(a) + math.ceil(a) + math.sqrt(a / b)
    return a == b, a != b, a < b, a <= b, a > b, a >= b
