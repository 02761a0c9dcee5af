"""`@compiled`: a function of ours that runs under Numba only, with checked arithmetic."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba import njit

from onetape.domain.checked import rewrite_checked
from onetape.domain.rule_definition import parse_function
from onetape.domain.rules import registered_rules

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """`function` compiled on its first call, and kept on disk.

    Its module binds the names of `onetape.domain.checked.NAMES`.
    """
    definition = rewrite_checked(parse_function(function)[1])
    ast.increment_lineno(definition, function.__code__.co_firstlineno - 1)
    scope: dict[str, Any] = function.__globals__
    kept = scope.get(function.__name__)
    code = compile(ast.Module([definition], []), function.__code__.co_filename, "exec")
    exec(code, scope)  # noqa: S102 - the source of the function itself
    twin = scope.pop(function.__name__)
    if kept is not None:
        scope[function.__name__] = kept
    try:
        return njit(cache=True, nogil=True)(twin)
    except RuntimeError:  # no folder to cache in is writable
        return njit(nogil=True)(twin)


@cache
def compute_code_hash() -> str:
    """SHA-256 (16 hex digits) of the source of every rule's module and of the compiled host.

    Numba looks at the file of a cached function alone; this is what makes a change of anything that
    it calls visible in the types it is compiled for.
    """
    here = Path(__file__).parent
    files = set(here.glob("*.py"))
    for rule in registered_rules().values():
        if rule.__module__.startswith("onetape."):
            files.add(Path(rule.__code__.co_filename))
    for name in ("checked", "rule_compiler", "rule_definition"):
        files.add(here.parent.parent / "domain" / f"{name}.py")
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
