"""What makes a definition the same one: its source text, the rules and numbers it uses, its state.

The text is hashed rather than bytecode, so a version holds across processes, machines and Python
versions, and changes with any edit of the rule or of a rule that it calls.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import linecache
import math
import textwrap
from collections.abc import Callable
from functools import cache, lru_cache
from importlib.abc import ExecutionLoader, FileLoader
from typing import Any

import msgspec

from onetape.domain.errors import StrategyError
from onetape.domain.rules import registered_rules

Rule = Callable[..., Any]

Layout = tuple[tuple[str, str], ...]
"""Name and kind ("int", "float" or "array") of each field of a state, in order."""

_KINDS: dict[object, str] = {int: "int", float: "float", list[float]: "array"}


@cache
def compute_layout(state_type: type[msgspec.Struct]) -> Layout:
    """The fields of a state class.

    Raises:
        StrategyError: A field is neither int, float nor list[float].
    """
    layout: list[tuple[str, str]] = []
    for field in msgspec.structs.fields(state_type):
        if field.type not in _KINDS:
            raise StrategyError(
                f"field {field.name!r} of {state_type.__name__} can't be state",
                remedy="state fields are int, float or list[float]",
            )
        layout.append((field.name, _KINDS[field.type]))
    return tuple(layout)


@cache
def list_rules(update: Rule) -> tuple[Rule, ...]:
    """`update` and every rule that it calls, directly or not, each once.

    Raises:
        StrategyError: One of them is no `@rule`, has no readable source, closes over variables, or
            uses a name that is neither a rule, a number nor the `math` module.
    """
    found: dict[Rule, None] = {}
    waiting = [update]
    while waiting:
        function = waiting.pop()
        if function not in found:
            found[function] = None
            waiting += [value for value in list_globals(function).values() if callable(value)]
    return tuple(found)


@cache
def compute_definition_hash(update: Rule, layout: Layout) -> str:
    """SHA-256 (hex) of the source of `update`, of all that it uses, and of the state layout.

    Raises:
        StrategyError: As `list_rules`.
    """
    parts: list[object] = [layout]
    for function in list_rules(update):
        numbers = [
            (name, repr(value))
            for name, value in list_globals(function).items()
            if isinstance(value, int | float)
        ]
        parts.append((parse_function(function)[0], numbers))
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


def list_globals(function: Rule) -> dict[str, object]:
    """The module-level names that the body of a rule uses, sorted, with what they stand for."""
    where = f"{function.__module__}.{function.__qualname__}"
    if where not in registered_rules():
        raise StrategyError("is not a rule", where=where, remedy="mark it with @rule")
    if function.__code__.co_freevars:
        names = ", ".join(function.__code__.co_freevars)
        raise StrategyError(
            f"uses {names} of an enclosing function", where=where, remedy="put it into the state"
        )
    names = {
        node.id
        for statement in parse_function(function)[1].body
        for node in ast.walk(statement)
        if isinstance(node, ast.Name)
    } - set(function.__code__.co_varnames)
    used = {
        name: function.__globals__[name] for name in sorted(names) if name in function.__globals__
    }
    for name, value in used.items():
        if (
            value is not math
            and not isinstance(value, int | float)
            and not inspect.isfunction(value)
        ):
            raise StrategyError(
                f"uses {name!r}, which a rule can't",
                where=where,
                remedy="use other rules, module-level numbers and math only",
            )
    return used


def parse_function(function: Rule) -> tuple[str, ast.FunctionDef]:
    """Source text of a function, and what it means: a new tree, with lines counted from 1.

    Raises:
        StrategyError: There is no source to read, or the function is no `def`.
    """
    lines = _read_lines(function)
    place = _find_functions("".join(lines)).get(function.__code__.co_firstlineno)
    definition = None
    source = ""
    if place is not None:
        source = textwrap.dedent("".join(lines[place[0] : place[1]]))
        definition = ast.parse(source).body[0]
    if not isinstance(definition, ast.FunctionDef):
        raise StrategyError(
            "has no source text to read",
            where=f"{function.__module__}.{function.__qualname__}",
            remedy="define it with def, in a file or a notebook cell",
        )
    return source, definition


def _read_lines(function: Rule) -> list[str]:
    """The file of a function: as its loader remembers it, which outlives an edit, else as it is."""
    name, loader = map(function.__globals__.get, ("__name__", "__loader__"))
    if isinstance(loader, ExecutionLoader) and not isinstance(loader, FileLoader):
        text = loader.get_source(str(name))
        if text is not None:
            return [f"{line}\n" for line in text.split("\n")]
    return linecache.getlines(function.__code__.co_filename, function.__globals__)


@lru_cache(maxsize=64)
def _find_functions(text: str) -> dict[int, tuple[int, int]]:
    """The lines [start, stop) of every `def` of a file, by the line (from 1) it begins at."""
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return {}
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            found[first] = first - 1, node.end_lineno or first
    return found
