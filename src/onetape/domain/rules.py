"""`@rule`: the mark of a function of money or matching that both hosts run.

A rule is a pure function of scalars (int, float, bool) and records of scalars. It is written once,
runs as plain Python in the Python host, and compiles unchanged in the compiled host, bit for bit
equal. So a rule uses only arithmetic, comparison, `min`, `max`, `abs`, `math.sqrt`, `math.floor`,
`math.ceil`, `int`, `float` and other rules: no containers, strings, exceptions, keyword arguments,
globals that change, or functions whose last bit depends on a C library (`exp`, `log`, `pow`, ...).
An architecture test reads every registered rule and refuses anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_RULES: dict[str, Callable[..., object]] = {}


def rule(function: Callable[P, R]) -> Callable[P, R]:
    """Register `function` as a rule and return it unchanged (no call overhead)."""
    _RULES[f"{function.__module__}.{function.__qualname__}"] = function
    return function


def registered_rules() -> dict[str, Callable[..., object]]:
    """Every rule of the modules imported so far, by qualified name."""
    return dict(_RULES)
