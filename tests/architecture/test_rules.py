"""Every `@rule` runs as plain Python and compiles unchanged."""

from __future__ import annotations

import ast
import inspect
import math
import types
from typing import Any, NewType

import numba
import pytest
from numba import boolean, float64, int64, njit

from onetape.domain.rules import registered_rules
from tests.architecture.rule_subset import (
    Rule,
    find_violations,
    parameter_types,
    parse_rule,
    result_types,
)
from tests.architecture.source_tree import import_all

NUMBA_TYPES = {int: int64, float: float64, bool: boolean}


@pytest.fixture(scope="module")
def rules() -> dict[str, types.FunctionType]:
    list(import_all())
    return {
        name: function
        for name, function in registered_rules().items()
        if isinstance(function, types.FunctionType) and function.__module__.startswith("onetape.")
    }


def test_rules_stay_inside_the_subset(rules: dict[str, types.FunctionType]) -> None:
    known: set[Rule] = set(rules.values())
    assert [
        f"{name}: {violation}"
        for name, rule in rules.items()
        for violation in find_violations(parse_rule(rule), rule.__globals__, known)
    ] == []


def test_scalar_rules_compile_to_their_annotated_type(rules: dict[str, types.FunctionType]) -> None:
    """A rule of a record needs its host's record type: the tests of that host compile those."""
    compiled = 0
    wrong: list[str] = []
    for name, rule in rules.items():
        definition = parse_rule(rule)
        parameters = parameter_types(definition, rule.__globals__)
        if not all(parameter in NUMBA_TYPES for parameter in parameters):
            continue
        signature = tuple(NUMBA_TYPES[parameter] for parameter in parameters)
        results = [NUMBA_TYPES[result] for result in result_types(definition, rule.__globals__)]
        actual = compile_rule(rule, set(rules.values()), signature)
        if actual != (results[0] if len(results) == 1 else numba.types.Tuple(results)):
            wrong.append(f"{name} gives {actual}")
        compiled += 1
    assert wrong == []
    assert compiled >= 3


def compile_rule(rule: types.FunctionType, rules: set[Rule], signature: tuple[Any, ...]) -> Any:
    """Compile `rule`, and with it the rules it calls, in nopython mode; its result's type."""

    def with_compiled_callees(function: types.FunctionType) -> Any:
        namespace = dict(function.__globals__)
        for name in function.__code__.co_names:
            callee = namespace.get(name)
            if inspect.isfunction(callee) and callee in rules:
                namespace[name] = with_compiled_callees(callee)
        return njit(types.FunctionType(function.__code__, namespace, function.__name__))

    dispatcher = with_compiled_callees(rule)
    dispatcher.compile(signature)
    return dispatcher.overloads[signature].signature.return_type


class Record:
    level: float
    ring: list[float]


def callee(size: int) -> int:
    return size


def stranger(size: int) -> int:
    return size


NAMESPACE = {
    "math": math,
    "Quantity": NewType("Quantity", int),
    "Record": Record,
    "callee": callee,
    "stranger": stranger,
    "LIMIT": 10,
    "limit": 10,
    "TABLE": {1: 2},
}


def violations(source: str) -> list[str]:
    (definition,) = ast.parse(source).body
    assert isinstance(definition, ast.FunctionDef)
    return find_violations(definition, NAMESPACE, {callee})


# fmt: off
REFUSED = [
    ("def f(a: int = 1) -> int: return a",            "parameters: a: int=1"),
    ("def f(*, a: int) -> int: return a",             "parameters: *, a: int"),
    ("def f(*a: int) -> int: return 1",               "parameters: *a: int"),
    ("def f(a) -> int: return a",                     "parameter: a"),
    ("def f(a: str) -> int: return 1",                "parameter: a: str"),
    ("def f(a: list[int]) -> int: return a[0]",       "parameter: a: list[int]"),
    ("def f(a: int): return a",                       "result: no type"),
    ("def f(a: int) -> str: return a",                "result: str"),
    ("def f(a: int) -> tuple[int, str]: return a, ''", "result: tuple[int, str]"),
    ("def f(a: int) -> tuple[int, ...]: return a, a", "result: tuple[int, ...]"),
    ("def f(a: int) -> int: return max((a, 1))",      "Tuple"),
    ("def f(a: int) -> int: raise ValueError",        "Raise"),
    ("def f(a: int) -> int: assert a",                "Assert"),
    ("def f(a: int) -> int: return [a][0]",           "List"),
    ("def f(a: int) -> int:\n for _ in range(a): pass", "For"),
    ("def f(a: int) -> int: return a ** 2",           "Pow"),
    ("def f(a: int) -> int: return ~a",               "Invert"),
    ("def f(a: int) -> bool: return a in TABLE",      "In"),
    ("def f(a: int) -> int: return (lambda: a)()",    "Lambda"),
    ("def f(a: int) -> int: global limit",            "Global"),
    ("def f(a: int) -> bool: return f'{a}' == '1'",   "JoinedStr"),
    ("def f(a: int) -> bool: return a == 'buy'",      "constant: 'buy'"),
    ("def f(a: int) -> bool: return a == None",       "constant: None"),
    ("def f(a: float) -> float: return math.log(a)",  "call: math.log(a)"),
    ("def f(a: int) -> int: return stranger(a)",      "call: stranger(a)"),
    ("def f(a: int) -> int: return callee(size=a)",   "call: callee(size=a)"),
    ("def f(a: float) -> bool: return a.is_integer()", "call: a.is_integer()"),
    ("def f(a: int) -> int: return round(a)",         "call: round(a)"),
    ("def f(a: int) -> int: return a + limit",        "name: limit"),
    ("def f(a: int) -> int: return TABLE[a]",         "name: TABLE"),
    ("def f(a: int) -> int: return unheard_of",       "name: unheard_of"),
]
# fmt: on


@pytest.mark.parametrize(("source", "violation"), REFUSED)
def test_subset_refuses_what_not_every_host_runs(source: str, violation: str) -> None:
    assert violation in violations(source)


def test_subset_takes_everything_that_rules_may_use() -> None:
    assert (
        violations('''
def rule(order: Record, size: Quantity, price: float, is_buy: bool) -> float:
    """The whole subset."""
    best: float = order.ring[size % LIMIT] * -price
    while best > 1e-9 and not is_buy:
        best /= 2
        if math.isnan(best):
            break
    order.level = max(best, float(callee(int(best))))
    order.ring[0] = order.level if best < 0.0 else abs(math.sqrt(best)) // 3
    return order.level
''')
        == []
    )
    assert violations("def rule(order: Record) -> None: order.level = 1.0") == []
    assert (
        violations("""
def rule(size: int) -> tuple[int, float]:
    low, high = callee(size)
    return (low & 255 ^ high >> 3, 1.0) if low > high else (1, 2.0)
""")
        == []
    )
