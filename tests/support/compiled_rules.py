"""Rules as the compiled host will run them: the same functions under Numba, structs as records."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import msgspec
import numba
import numpy as np

from onetape.domain.rules import registered_rules

_compiled: dict[Callable[..., Any], Callable[..., Any]] = {}


def compile_rule(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` and every rule that it calls, compiled."""
    if function not in _compiled:
        rules = set(registered_rules().values())
        scope = dict(function.__globals__)
        for name in function.__code__.co_names:
            if isinstance(scope.get(name), types.FunctionType) and scope[name] in rules:
                scope[name] = compile_rule(scope[name])
        clone = types.FunctionType(function.__code__, scope, function.__name__)
        _compiled[function] = numba.njit(clone)
    return _compiled[function]


def make_record(struct: msgspec.Struct) -> Any:
    """The scalars and number arrays of `struct` as one record that compiled code can change."""
    fields: list[tuple[Any, ...]] = []
    values: list[Any] = []
    for name, value in msgspec.structs.asdict(struct).items():
        if isinstance(value, bool):
            fields.append((name, np.bool_))
        elif isinstance(value, int):
            fields.append((name, np.int64))
        elif isinstance(value, tuple | list):
            fields.append((name, np.int64, (len(value),)))
        else:
            continue
        values.append(value)
    return np.rec.array([tuple(values)], dtype=fields)[0]
