"""`@compiled`: a function of ours that runs under Numba only, with checked arithmetic."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba import njit, types

from onetape.domain.checked import rewrite_checked
from onetape.domain.rule_definition import parse_function

P = ParamSpec("P")
R = TypeVar("R")

_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
_SOURCES = ("domain", "execution", "portfolio", "risk", "runtime/compiled")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` for other compiled functions to call; compiled on first use and kept on disk.

    Its module binds the names of `onetape.domain.checked.NAMES`.
    """
    return _compile(function, _INSIDE)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, for the one place that calls it: a part of that function, compiled with it.

    A function of its own is optimized again with each that it is a part of.
    """
    return _compile(function, {**_INSIDE, "inline": "always"})


def entry_point(function: Callable[P, R]) -> Callable[P, R]:
    """As `compiled`, for Python to call; it runs without the interpreter's lock."""
    return _compile(function, {"nogil": True})


def _compile(function: Callable[P, R], options: dict[str, Any]) -> Callable[P, R]:
    definition = rewrite_checked(parse_function(function)[1])
    ast.increment_lineno(definition, function.__code__.co_firstlineno - 1)
    scope: dict[str, Any] = function.__globals__
    code = compile(ast.Module([definition], []), function.__code__.co_filename, "exec")
    exec(code, scope)
    twin = scope.pop(function.__name__)
    try:
        dispatcher: Any = njit(cache=True, **options)(twin)
    except RuntimeError:  # no folder to cache in is writable
        dispatcher = njit(**options)(twin)
    resolve = dispatcher.get_call_template

    def get_call_template(inputs: Any, named: Any) -> Any:
        """Compiled once for all values: Numba would compile anew for each constant given."""
        return resolve(tuple(types.unliteral(each) for each in inputs), named)

    dispatcher.get_call_template = get_call_template
    return dispatcher


@cache
def compute_code_hash() -> str:
    """SHA-256 (16 hex digits) of the source of everything that compiled code may call of ours.

    Numba looks at the file of a cached function alone; this is what makes a change of anything that
    it calls visible in the types it is compiled for.
    """
    home = Path(__file__).parents[2]
    digest = hashlib.sha256()
    for folder in _SOURCES:
        for path in sorted((home / folder).rglob("*.py")):
            name = path.relative_to(home).as_posix()
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
