"""Every rule gives the same bits under Numba as in Python, and raises where a number leaves int64.

The reference for an overflow is the rule's own source with every operation looked at in Python.
"""

from __future__ import annotations

import ast
import copy
import math
import struct
import types
from collections.abc import Callable
from functools import cache
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit

from onetape.domain.checked import rewrite_checked
from onetape.domain.rule_compiler import Packed, RecordType, make_compilable
from onetape.domain.rule_definition import list_rules, parse_function
from onetape.domain.rules import registered_rules
from tests.architecture.source_tree import import_all

Rule = Callable[..., Any]

LEAST, MOST = -(2**63), 2**63 - 1
EDGES = (0, 1, -1, 2, 10**8, -(10**8), 2**31 - 1, 2**31, 2**53, MOST // 10**8, MOST, LEAST,
         LEAST + 1)  # fmt: skip
ARRAY = 4
"""Items of every array of a record, so that small indices are inside and others are not."""

list(import_all())
RULES = {
    name: function
    for name, function in registered_rules().items()
    if function.__module__.startswith("onetape.") and isinstance(function, types.FunctionType)
}

ints = st.one_of(
    st.sampled_from(EDGES), st.integers(0, 5), st.integers(-(10**6), 10**6),
    st.integers(-(10**13), 10**13), st.integers(LEAST, MOST),
)  # fmt: skip
floats = st.one_of(
    st.sampled_from((0.0, -0.0, 1.0, 0.01, 100.0, math.nan, math.inf, -math.inf, 1e-12, 1e300)),
    st.floats(0.01, 1000.0), st.floats(allow_nan=True, allow_infinity=True),
)  # fmt: skip
KINDS: dict[object, tuple[Any, st.SearchStrategy[Any]]] = {
    int: ("int", ints),
    float: ("float", floats),
    bool: ("bool", st.booleans()),
    list[int]: ("ints", st.lists(ints, min_size=ARRAY, max_size=ARRAY)),
    list[float]: ("floats", st.lists(floats, min_size=ARRAY, max_size=ARRAY)),
    tuple[int, ...]: ("ints", st.lists(ints, min_size=ARRAY, max_size=ARRAY)),
}


class Overflow(Exception):
    """A whole number has left int64."""


def keep(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and not LEAST <= value <= MOST:
        raise Overflow
    return value


def to_word(convert: Callable[[float], int]) -> Callable[[Any], Any]:
    def word(value: Any) -> Any:
        if isinstance(value, float) and not -(2.0**63) <= value < 2.0**63:
            raise Overflow
        return keep(convert(value))

    return word


LOOKED_AT: dict[str, Any] = {
    "__checked_abs": lambda value: keep(abs(value)),
    "__checked_add": lambda a, b: keep(a + b),
    "__checked_ceil": to_word(math.ceil),
    "__checked_floor": to_word(math.floor),
    "__checked_iadd": lambda a, b: keep(a + b),
    "__checked_imul": lambda a, b: keep(a * b),
    "__checked_int": to_word(int),
    "__checked_isub": lambda a, b: keep(a - b),
    "__checked_mul": lambda a, b: keep(a * b),
    "__checked_neg": lambda value: keep(-value),
    "__checked_quotient": lambda a, b: keep(a // b),
    "__checked_round": to_word(round),
    "__checked_shift": lambda value, count: keep(value << count),
    "__checked_shift_right": lambda value, count: value >> count,
    "__checked_sqrt": math.sqrt,
    "__checked_sub": lambda a, b: keep(a - b),
}


@cache
def look_at(rule: Rule) -> Rule:
    """The rule in Python, raising `Overflow` where a whole number leaves int64."""
    definition = rewrite_checked(parse_function(rule)[1])
    home = {**rule.__globals__, **LOOKED_AT}
    for each in list_rules(rule):
        if each is not rule:
            home[each.__name__] = look_at(each)
    exec(compile(ast.Module([definition], []), rule.__code__.co_filename, "exec"), home)
    return home[rule.__name__]


def parameters(rule: Rule) -> list[type[Any]]:
    """Scalar types and record classes; a state's class is that of the estimator's annotation."""
    hints = get_type_hints(rule)
    hints.pop("return", None)
    return list(hints.values())


class Record:
    """A drawn record: as a Python object and as a block."""

    def __init__(self, kind: type[Any], values: dict[str, Any]) -> None:
        fields = tuple((name, KINDS[hint][0]) for name, hint in get_fields(kind))
        self.object = types.SimpleNamespace(**copy.deepcopy(values))
        self.packed = Packed(RecordType(f"Test({kind.__name__})", fields), values)
        self.names = [name for name, _ in fields]

    def ended(self) -> list[Any]:
        return [bits(getattr(self.object, name)) for name in self.names]

    def ended_packed(self) -> list[Any]:
        values = [self.packed.read(name) for name in self.names]
        return [bits(each.tolist() if hasattr(each, "tolist") else each) for each in values]


def get_fields(kind: type[Any]) -> list[tuple[str, Any]]:
    return [(name, hint) for name, hint in get_type_hints(kind).items() if hint in KINDS]


def draw(data: st.DataObject, kind: type[Any]) -> Any:
    if kind in KINDS:
        return data.draw(KINDS[kind][1])
    assert issubclass(kind, msgspec.Struct)
    return Record(kind, {name: data.draw(KINDS[hint][1]) for name, hint in get_fields(kind)})


def bits(value: Any) -> Any:
    """Something that is equal for the same bits only; every NaN is the same."""
    if isinstance(value, list | tuple):
        return [bits(each) for each in value]
    if isinstance(value, float):
        return "nan" if value != value else struct.pack("<d", value)
    return value


def attempt(function: Rule, inputs: list[Any]) -> Any:
    """What it gives, or the class of error that it raises."""
    try:
        return bits(function(*inputs))
    except (Overflow, OverflowError):
        return "overflow"
    except ZeroDivisionError:
        return "division by zero"
    except IndexError:
        return "index"
    except ValueError:
        return "value"


@cache
def compile_rule(rule: Rule) -> Rule:
    make_compilable(rule)
    names = ", ".join(f"a{at}" for at in range(len(parameters(rule))))
    home = {"rule": rule}
    exec(f"def call({names}):\n    return rule({names})\n", home)
    return njit(home["call"])


@pytest.mark.parametrize("name", sorted(RULES))
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_rule_gives_the_same_in_both_hosts(name: str, data: st.DataObject) -> None:
    rule = RULES[name]
    drawn = [draw(data, kind) for kind in parameters(rule)]
    packed = [each.packed if isinstance(each, Record) else each for each in drawn]
    plain = [each.object if isinstance(each, Record) else each for each in drawn]
    looked_at = copy.deepcopy(plain)
    expected = attempt(look_at(rule), looked_at)
    assert attempt(compile_rule(rule), packed) == expected
    if isinstance(expected, str) and expected != "nan":
        return  # nobody reads a record after an error
    assert attempt(rule, plain) == expected
    for each in drawn:
        if isinstance(each, Record):
            assert each.ended_packed() == each.ended()


def test_there_are_rules() -> None:
    assert len(RULES) > 40
