"""`hidden-state`: memory outside of declared state, which no checkpoint keeps."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from onetape.strategy.checks.finding import DECLARE_STATE, Finding, at
from onetape.strategy.checks.source_tree import (
    Function,
    assigned_names,
    assigned_targets,
    bound_names,
    called_name,
    imported_names,
    root_name,
    walk_functions,
)

_CONTAINERS = {"bytearray", "defaultdict", "deque", "dict", "list", "set"}
_MUTATORS = {
    "add", "append", "appendleft", "clear", "discard", "extend", "insert", "pop", "popitem",
    "popleft", "remove", "reverse", "setdefault", "sort", "update",
}  # fmt: skip


def is_mutable(node: ast.AST | None) -> bool:
    """Whether an expression makes a container that can change."""
    displays = ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp
    return isinstance(node, displays) or called_name(node) in _CONTAINERS


def find_hidden_state(tree: ast.Module) -> Iterator[Finding]:
    """Every place in `tree` where a function changes what outlives the call and is not declared."""
    of_module = set(imported_names(tree))
    for statement in tree.body:
        of_module |= assigned_names(statement)
        if isinstance(statement, ast.ClassDef):
            of_module.add(statement.name)
    outside_of: dict[Function, set[str]] = {}
    for node, around in walk_functions(tree):
        if isinstance(node, Function):
            yield from _check_defaults(node)
            outside_of[node] = (of_module - bound_names(node)) | {"ctx"}
        if not around or not isinstance(node, ast.stmt | ast.expr):
            continue
        outside = outside_of[around[0]]
        for what in _changed_outside(node, outside):
            yield at(node, "hidden-state", what, DECLARE_STATE)


def _check_defaults(function: Function) -> Iterator[Finding]:
    for default in [*function.args.defaults, *function.args.kw_defaults]:
        if default is not None and is_mutable(default):
            message = f"the mutable default of {function.name}() is shared by all calls"
            yield at(default, "hidden-state", message, "use None or a tuple")


def _changed_outside(node: ast.stmt | ast.expr, outside: set[str]) -> Iterator[str]:
    match node:
        case ast.Global(names=names) | ast.Nonlocal(names=names):
            yield f"{type(node).__name__.lower()} {', '.join(names)}"
        case ast.Call(func=ast.Attribute(value=owner, attr=attr)) if attr in _MUTATORS:
            if root_name(owner) in outside:
                yield f"{root_name(owner)}, which outlives the call, is changed with {attr}()"
        case _:
            pass
    for target in assigned_targets(node):
        if isinstance(target, ast.Attribute | ast.Subscript) and root_name(target) in outside:
            yield f"{root_name(target)}, which outlives the call, is changed"
        elif isinstance(target, ast.Attribute) and _is_class_of(target.value):
            yield f"attribute {target.attr} of the class is changed for all instances"


def _is_class_of(node: ast.expr) -> bool:
    return called_name(node) == "type" or (
        isinstance(node, ast.Attribute) and node.attr == "__class__"
    )
